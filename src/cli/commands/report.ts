import { type Command, InvalidArgumentError } from "commander";
import { integerOf } from "../arguments.js";
import { print } from "../print.js";
import { formatBytes, formatDuration } from "../progress.js";
import { gather, type ReportOptions } from "../report/gather.js";
import { checkOutput, writeOutput } from "../report/output.js";
import { page } from "../report/page.js";
import { withStore } from "../store.js";
import { versionOf } from "../version.js";

/** Of queries, results and points: as many as a search or a survey gives. */
const MOST = 1_000_000;

interface ReportCommandOptions {
  queries: number;
  k: number;
  points: number;
  color?: string;
  force?: boolean;
  json?: boolean;
}

export function reportCommand(program: Command): void {
  program
    .command("report")
    .summary("one page with plots of a store")
    .description(
      "Writes one HTML page that shows a store: recall against exact search and time, measured on its own vectors, tiers, the graph, what was learned, and a map. The page needs no network. It holds ids and the beginnings of payloads. Reads one state of the store, beside a writer, and changes nothing there, but brings a store whose writer was killed up to its log first, as every command does. A former report is replaced; any other file only with --force, and what is no regular file never.",
    )
    .argument("<store>", "directory of the store")
    .argument("<page>", "file to write, such as report.html")
    .option("-q, --queries <n>", "how many queries recall and time are measured with", countOf, 200)
    .option("-k, --k <n>", "results per query", countOf, 10)
    .option("-p, --points <n>", "rows of the map, at most", countOf, 1000)
    .option("-c, --color <field>", "payload field that colours the map, dotted where it is nested (the tier)")
    .option("--force", "replace a file that is no former report")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb report notes.hebb notes.html --color lang")
    .action(report);
}

async function report(
  store: string,
  out: string,
  { queries, k, points, color, force = false, json }: ReportCommandOptions,
): Promise<void> {
  const started = performance.now();
  const options: ReportOptions = { queries, k, points, colour: color };
  const data = await withStore(store, { readOnly: true }, async (index) => {
    checkOutput(out, store, force); // before what may take minutes
    if (index.size === 0) throw new RangeError(`${store} is empty; there is nothing to show`);
    return { store, at: new Date(), version: versionOf(), ...(await gather(index, options)) };
  });
  const text = page(data);
  checkOutput(out, store, force); // somebody may have put something there meanwhile
  writeOutput(out, text);
  const bytes = Buffer.byteLength(text);
  const { recall, health, map } = data;
  print(
    json,
    { store, page: out, bytes, recall: recall ?? null, health: health ?? null, points: map?.points.length ?? 0 },
    () => {
      const took = formatDuration((performance.now() - started) / 1000);
      return `${out}: a report of ${store}, ${formatBytes(bytes)} (${took})`;
    },
  );
}

function countOf(text: string): number {
  const count = integerOf(text);
  if (count < 1) throw new InvalidArgumentError("expected at least 1");
  if (count > MOST) throw new InvalidArgumentError(`expected at most ${MOST}`);
  return count;
}
