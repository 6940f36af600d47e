import { type Command, Option } from "commander";
import { TIERS } from "../../../base/types.js";
import type { FreezeOptions } from "../../index.js";
import { integerOf } from "../arguments.js";
import { bundleText } from "../bundle-text.js";
import { print } from "../print.js";
import { during, formatCount, formatDuration } from "../progress.js";
import { warn, withStore } from "../store.js";

interface FreezeCommandOptions extends FreezeOptions {
  rbpx?: string;
  json?: boolean;
}

export function freezeCommand(program: Command): void {
  program
    .command("freeze")
    .summary("write an immutable, deterministic snapshot of a store")
    .description(
      "Writes the rows of a store as a frozen bundle: a directory that answers the same, bit for bit, on every machine, with a witness of what it holds. A bundle that is there already is replaced at once and whole.",
    )
    .argument("<store>", "directory of the store")
    .argument("<bundle>", "directory of the bundle; made when missing")
    .addOption(new Option("-r, --rotation <kind>", "rotation of the codes").choices(["hadamard", "haar"]))
    .option("-s, --seed <n>", "of rotation and clusters (0)", integerOf)
    .option("-b, --bits <n>", "of a value in a code, 1-8 (4)", integerOf)
    .option("--rerank-factor <n>", "standard of searches: vectors compared, at most so many times k (20)", integerOf)
    .addOption(new Option("-t, --tier <tier>", "precision of the vectors (hot)").choices(TIERS))
    .option("--overlay", "pin what serves of the query adapter and of shifted rows")
    .option("--no-settle", "leave rows out that are not linked yet, instead of waiting for them")
    .option("--generation <text>", "which state of the store this is (the number of its last change)")
    .option("--lineage <text>", "which store this is (its own id)")
    .option("--memory-class <text>", "a tag of yours, not covered by the witness")
    .option("--rbpx <file>", "also write ids and vectors as an rbpx0001 container")
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb freeze notes.hebb notes.frozen --seed 42 && hebb verify notes.frozen")
    .action(freeze);
}

async function freeze(store: string, bundle: string, { rbpx, json, ...options }: FreezeCommandOptions): Promise<void> {
  const start = performance.now();
  const stats = await withStore(store, {}, async (index) => {
    const frozen = await during("freezing", index.freeze(bundle, options));
    try {
      if (rbpx !== undefined) await during("exporting", frozen.exportRbpx(rbpx));
      return frozen.stats();
    } finally {
      await frozen.close();
    }
  });
  if (stats.leftOut > 0) warn([`${formatCount(stats.leftOut)} rows are not linked yet, and not in the bundle`]);
  const took = formatDuration((performance.now() - start) / 1000);
  print(json, { bundle, ...stats }, () => `${bundleText(bundle, stats)}\n${took}`);
}
