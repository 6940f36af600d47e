import { type Command, Option } from "commander";
import { METRICS } from "../../../base/types.js";
import { type Metric, type OpenOptions, open } from "../../index.js";
import { integerOf } from "../arguments.js";
import { print } from "../print.js";
import { checkIsFree, warn } from "../store.js";

/** Of the built-in text encoder, where none are given: see docs/decisions/0014-text-encoder.md. */
const TEXT_DIMENSIONS = 384;

interface CreateOptions {
  dimensions?: number;
  metric: Metric;
  text?: boolean;
  config?: string;
  index?: string[];
  json?: boolean;
}

export function createCommand(program: Command): void {
  program
    .command("create")
    .summary("make an empty store")
    .description("Makes an empty store in a new directory.")
    .argument("<store>", "directory to make")
    .option("-d, --dimensions <n>", `values per vector, 1-65536 (with --text: default ${TEXT_DIMENSIONS})`, integerOf)
    .addOption(new Option("-m, --metric <metric>", "how distances are measured").choices(METRICS).default("cosine"))
    .option("-t, --text", "for texts: the built-in encoder, which knows words, not meanings")
    .option("-c, --config <file>", "settings, laid out like config.toml")
    .option("-i, --index <field...>", "payload fields that filters will use often")
    .option("--json", "print one line of JSON")
    .addHelpText(
      "after",
      `
Examples:
  hebb create notes.hebb --text
  hebb create images.hebb --dimensions 512 --metric l2 --index year camera`,
    )
    .action(create);
}

async function create(store: string, { dimensions, metric, text, config, index, json }: CreateOptions): Promise<void> {
  checkIsFree(store);
  const values = dimensions ?? (text ? TEXT_DIMENSIONS : undefined);
  if (values === undefined)
    throw new RangeError("a store needs --dimensions <n>, or --text for the built-in text encoder");
  const options: OpenOptions = {
    dimensions: values,
    metric,
    ...(text && { encoder: "hashed-tfidf" }),
    ...(config !== undefined && { config }),
    ...(index && { indexes: index }),
  };
  const made = await open(store, options);
  const { encoder, warnings } = made.stats();
  await made.close();
  warn(warnings);
  print(json, { store, dimensions: values, metric, encoder: encoder ?? null }, () => {
    const kind = encoder === undefined ? "vectors" : "texts and vectors";
    return `${store}: an empty store for ${kind}, ${values} dimensions, ${metric}`;
  });
}
