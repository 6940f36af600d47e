import type { Command } from "commander";
import { print } from "../print.js";
import { formatDuration } from "../progress.js";
import { withStore } from "../store.js";

export function checkCommand(program: Command): void {
  program
    .command("check")
    .summary("verify every byte of a store")
    .description(
      "Verifies every checksum, the catalog, and that the parts agree. Changes nothing. Exit code 1 where there is a fault.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb check notes.hebb")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const start = performance.now();
      const result = await withStore(store, { readOnly: true }, (index) => index.check());
      print(json, result, () => {
        const took = formatDuration((performance.now() - start) / 1000);
        if (result.ok) return `${store}: no faults (${took})`;
        const lines = result.faults.map(
          ({ code, section, offset, message }) => `${code} ${section} at ${offset}: ${message}`,
        );
        return `${lines.join("\n")}\n${store}: ${result.faults.length} faults (${took})`;
      });
      if (!result.ok) process.exitCode = 1;
    });
}
