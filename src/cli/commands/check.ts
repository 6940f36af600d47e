import { type Command, CommanderError } from "commander";
import { print } from "../print.js";
import { during, formatDuration } from "../progress.js";
import { withStore } from "../store.js";

/** The code of the error that `hebb check` ends with, once it has listed the faults. */
export const FAULTS_FOUND = "hebb.faults";

export function checkCommand(program: Command): void {
  program
    .command("check")
    .summary("verify every byte of a store")
    .description(
      "Verifies every checksum, the catalog, and that the parts agree. Changes nothing, but brings a store whose writer was killed up to its log first, as every command does. Exit code 1 where there is a fault.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb check notes.hebb")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const start = performance.now();
      const result = await withStore(store, { readOnly: true }, (index) => during("checking", index.check()));
      print(json, result, () => {
        const took = formatDuration((performance.now() - start) / 1000);
        if (result.ok) return `${store}: no faults (${took})`;
        const lines = result.faults.map(
          ({ code, section, offset, message }) => `${code} ${section} at ${offset}: ${message}`,
        );
        return `${lines.join("\n")}\n${store}: ${result.faults.length} faults (${took})`;
      });
      if (!result.ok) throw new CommanderError(1, FAULTS_FOUND, "the store has faults");
    });
}
