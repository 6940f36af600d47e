import { type Command, CommanderError } from "commander";
import { bareMessage, DAMAGE_CODES } from "../../../base/errors.js";
import { type CheckResult, HebbError } from "../../index.js";
import { print } from "../print.js";
import { counted, during, formatDuration } from "../progress.js";
import { warn, withStore } from "../store.js";

/** The code of the error that `hebb check` ends with, once it has listed the faults. */
export const FAULTS_FOUND = "hebb.faults";

export function checkCommand(program: Command): void {
  program
    .command("check")
    .summary("verify every byte of a store")
    .description(
      "Verifies every checksum, the log, the catalog, the graph and what was learned, and that the parts agree. Changes nothing, but brings a store whose writer was killed up to its log first, as every command does. Exit code 1 where there is a fault; `hebb repair` tells what can be done then.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb check notes.hebb")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const start = performance.now();
      const result = await check(store);
      print(json, result, () => {
        const took = formatDuration((performance.now() - start) / 1000);
        if (result.ok) return `${store}: no faults (${took})`;
        return `${result.faults.map(faultLine).join("\n")}\n${store}: ${counted(result.faults.length, "fault")} (${took})`;
      });
      warn(result.notes ?? []);
      if (!result.ok) throw new CommanderError(1, FAULTS_FOUND, "the store has faults");
    });
}

export const faultLine = ({ code, section, offset, message }: CheckResult["faults"][number]): string =>
  `${code} ${section} at ${offset}: ${message}`;

/** A store that is too damaged to be opened has a fault, too: the first that opening came upon. */
async function check(store: string): Promise<CheckResult> {
  try {
    return await withStore(store, { readOnly: true }, (index) => during("checking", index.check()));
  } catch (error) {
    if (!(error instanceof HebbError && DAMAGE_CODES.includes(error.code))) throw error;
    const { code, details } = error;
    const file = { INDEX_CORRUPT: "index.hebb", JOURNAL_CORRUPT: "journal", WAL_CORRUPT: "wal" }[code as string];
    const section = typeof details.section === "string" ? details.section : (file ?? "catalog");
    const offset = typeof details.offset === "number" ? details.offset : 0;
    return {
      ok: false,
      faults: [{ code, section, offset, message: `${bareMessage(error)} (the store cannot be opened)` }],
    };
  }
}
