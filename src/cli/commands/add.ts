import type { Command } from "commander";
import { type Entry, HebbError, type OpenOptions } from "../../index.js";
import { print } from "../print.js";
import { counted, formatCount, formatDuration, Progress } from "../progress.js";
import { type Input, openInput } from "../read-input.js";
import { noEncoder, warn, withStore } from "../store.js";

interface AddOptions {
  config?: string;
  json?: boolean;
}

export function addCommand(program: Command): void {
  program
    .command("add")
    .summary("add files to a store")
    .description("Adds what is in files and folders; an id that is there already gets the new content.")
    .argument("<store>", "directory of the store")
    .argument("<input...>", "files and folders")
    .option("-c, --config <file>", "settings, laid out like config.toml")
    .option("--json", "print one line of JSON")
    .addHelpText(
      "after",
      `
Inputs:
  .jsonl .ndjson       a line each: {"id": 1, "vector": [...]} or {"id": "a", "text": "..."};
                       other fields, and those of "payload", become the payload
  .npy .fvecs          a row each, with its number as the id
  .rbpx                a container of ids and vectors (docs/frozen-format.md)
  .md .txt .rst ...    a text each, with its name as the id
  a folder             all text files below it, with their relative paths as the ids

.jsonl, .npy and .fvecs may be gzipped (.gz). Rows are committed per 1,000.

Examples:
  hebb add notes.hebb ~/notes
  hebb add images.hebb vectors.npy.gz`,
    )
    .action(add);
}

async function add(store: string, paths: string[], { config, json }: AddOptions): Promise<void> {
  const inputs: Input[] = [];
  for (const path of paths) inputs.push(await openInput(path));
  const options: OpenOptions = config === undefined ? {} : { config };

  const report = await withStore(store, options, async (index) => {
    if (index.stats().encoder === undefined && inputs.some((input) => input.isText)) throw noEncoder(store);
    const before = index.size;
    const progress = new Progress("adding", "rows");
    let rows = 0;
    let isInterrupted = false;
    const interrupt = () => {
      isInterrupted = true;
    };
    async function* untilInterrupted(entries: AsyncIterable<Entry>): AsyncGenerator<Entry> {
      for await (const entry of entries) {
        if (isInterrupted) return;
        yield entry;
      }
    }
    process.once("SIGINT", interrupt); // a second one kills
    try {
      for (const [i, input] of inputs.entries()) {
        const start = rows;
        const onProgress = (done: number) => {
          rows = start + done;
          progress.update(rows, (i + input.fraction()) / inputs.length);
        };
        await index.putMany(untilInterrupted(input.entries), { onProgress });
      }
      await index.settle();
    } catch (error) {
      const isUntouched = rows === 0 && error instanceof HebbError && error.details.committed === 0;
      throw isUntouched ? error.cause : error;
    } finally {
      process.off("SIGINT", interrupt);
      progress.stop();
    }
    if (isInterrupted)
      throw new HebbError("ABORTED", `interrupted; ${counted(rows, "row")} went in and stay`, { rows });
    const { warnings } = index.stats();
    return { rows, new: index.size - before, size: index.size, seconds: progress.seconds, warnings };
  });

  const skipped = inputs.flatMap((input) => input.skipped);
  warn(report.warnings);
  if (skipped.length > 0) warn([`passed over ${counted(skipped.length, "file")} without text, such as ${skipped[0]}`]);
  print(
    json,
    { store, rows: report.rows, new: report.new, size: report.size, skipped, seconds: report.seconds },
    () => {
      const rate = formatCount(Math.round(report.rows / Math.max(report.seconds, 1e-3)));
      return `${counted(report.rows, "row")} added in ${formatDuration(report.seconds)} (${rate}/s), ${formatCount(report.new)} of them new; the store holds ${formatCount(report.size)}`;
    },
  );
}
