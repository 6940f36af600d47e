import { type Command, InvalidArgumentError } from "commander";
import { HebbError, type Inspection, type QueryInput } from "../../index.js";
import { idOf, integerOf, vectorOf } from "../arguments.js";
import { inspectionText } from "../inspection-text.js";
import { print } from "../print.js";
import { withStore } from "../store.js";
import { canvasOf } from "../terminal.js";

interface InspectCommandOptions {
  explain?: QueryInput;
  k?: number;
  json?: boolean;
}

export function inspectCommand(program: Command): void {
  program
    .command("inspect")
    .summary("one row: its neighbours, and why it ranks where it ranks")
    .description(
      "Shows what the index keeps about a row: payload, tier, heat, neighbours with distances and weights, shift. With --explain, what the store's metric says of it for a query, what each learner that serves adds to that, and its ranks with and without.",
    )
    .argument("<store>", "directory of the store")
    .argument("<id>", `id of the row (digits are a number; '"42"' is a string)`)
    .option("-x, --explain <query>", "a query: words, or a vector as a JSON array of numbers", queryOf)
    .option("-k, --k <n>", "with --explain: ranks are looked for among so many (100)", integerOf)
    .option("--json", "print one line of JSON")
    .addHelpText(
      "after",
      `
Examples:
  hebb inspect notes.hebb todo.md --explain "what is left to do"
  hebb inspect images.hebb 42 --explain '[0.1,0.7,0.2]' --json`,
    )
    .action(async (store: string, given: string, { explain, k, json }: InspectCommandOptions) => {
      const id = idOf(given);
      const seen = await withStore(store, { readOnly: true }, (index) =>
        index.inspect(id, { ...(explain && { explain }), ...(k !== undefined && { k }) }),
      );
      if (seen === undefined) throw unknown(store, given);
      print(json, seen, () => inspectionText(seen satisfies Inspection, canvasOf()));
    });
}

function unknown(store: string, given: string): HebbError {
  const id = idOf(given);
  const other = typeof id === "number" ? `; for the string, write '"${given}"'` : "";
  return new HebbError("UNKNOWN_ID", `id ${JSON.stringify(id)} is not in ${store}${other}`, { id });
}

/** Words, unless they are a JSON array. */
function queryOf(text: string): QueryInput {
  const words = text.trim();
  if (words === "") throw new InvalidArgumentError("expected words, or a JSON array of numbers");
  return words.startsWith("[") && words.endsWith("]") ? { vector: vectorOf(words) } : { text: words };
}
