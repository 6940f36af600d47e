import type { Command } from "commander";
import { print } from "../print.js";
import { during } from "../progress.js";
import { withStore } from "../store.js";

export function backupCommand(program: Command): void {
  program
    .command("backup")
    .summary("copy a store while it is in use")
    .description(
      "Copies a store into a new or empty directory, as it is at one moment, while others read it and write to it. The copy is a store like any other. Damage is never copied: it is an error.",
    )
    .argument("<store>", "directory of the store")
    .argument("<directory>", "directory of the copy")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb backup notes.hebb /backup/notes-monday.hebb")
    .action(async (store: string, directory: string, { json }: { json?: boolean }) => {
      const result = await withStore(store, { readOnly: true }, (index) => during("copying", index.backup(directory)));
      print(json, { store, directory, ...result }, () => `${directory}: a copy of ${store} up to change ${result.lsn}`);
    });
}
