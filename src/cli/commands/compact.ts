import type { Command } from "commander";
import { print } from "../print.js";
import { formatBytes } from "../progress.js";
import { withStore } from "../store.js";

export function compactCommand(program: Command): void {
  program
    .command("compact")
    .summary("give free space in a store back to the disk")
    .description(
      "Writes the index anew without the space that deleted rows and moved vectors left free. Nobody else may have the store open. Needs room for a second copy of the index meanwhile.",
    )
    .argument("<store>", "directory of the store")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb compact notes.hebb")
    .action(async (store: string, { json }: { json?: boolean }) => {
      const sizes = await withStore(store, {}, async (index) => {
        const before = index.stats().bytes.file;
        await index.compact();
        return { before, after: index.stats().bytes.file };
      });
      print(json, { store, ...sizes }, () => `index: ${formatBytes(sizes.before)} -> ${formatBytes(sizes.after)}`);
    });
}
