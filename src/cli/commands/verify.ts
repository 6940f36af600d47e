import type { Command } from "commander";
import { openFrozen } from "../../index.js";
import { bundleText } from "../bundle-text.js";
import { print } from "../print.js";
import { during, formatDuration } from "../progress.js";

export function verifyCommand(program: Command): void {
  program
    .command("verify")
    .summary("hold every byte of a frozen bundle to its witness")
    .description(
      "Reads every byte of a frozen bundle and holds it to its witness. Exit code 1, and the section that differs, where it does not hold.",
    )
    .argument("<bundle>", "directory of the bundle")
    .option("-w, --witness <hex>", "the witness that it must have")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb verify notes.frozen")
    .action(verify);
}

async function verify(bundle: string, { witness, json }: { witness?: string; json?: boolean }): Promise<void> {
  const start = performance.now();
  const frozen = await openFrozen(bundle);
  try {
    if (witness !== undefined) frozen.expectWitness(witness); // before all is read
    await during("verifying", frozen.verify());
    const stats = frozen.stats();
    const took = formatDuration((performance.now() - start) / 1000);
    print(json, { bundle, ...stats }, () => `${bundleText(bundle, stats)}\nwhole (${took})`);
  } finally {
    await frozen.close();
  }
}
