import { type Command, Option } from "commander";
import { TIERS } from "../../../base/types.js";
import { type FreezeOptions, type FrozenStats, openFrozen } from "../../index.js";
import { integerOf } from "../arguments.js";
import { print, table } from "../print.js";
import { during, formatBytes, formatCount, formatDuration } from "../progress.js";
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
  const frozen = await during("verifying", openFrozen(bundle, { verify: "eager" }));
  try {
    const stats = frozen.stats();
    if (witness !== undefined) frozen.expectWitness(witness);
    const took = formatDuration((performance.now() - start) / 1000);
    print(json, { bundle, ...stats }, () => `${bundleText(bundle, stats)}\nwhole (${took})`);
  } finally {
    await frozen.close();
  }
}

function bundleText(bundle: string, stats: FrozenStats): string {
  const { size, dimensions, metric, rotation, seed, bits, tier, codes, bytes, generation, lineage, witness } = stats;
  return table([
    ["bundle", bundle],
    ["witness", witness],
    ["rows", `${formatCount(size)} of ${dimensions} dimensions, ${metric}, tier ${tier}`],
    ["codes", `${bits} bits, ${rotation}, seed ${seed}: ${codes.bytesPerVector.toFixed(1)} bytes a vector`],
    ["bytes", formatBytes(bytes.total)],
    ["generation", `${generation} of ${lineage}`],
    ...(stats.memoryClass === undefined ? [] : [["memory class", stats.memoryClass]]),
    ...(stats.overlay === undefined
      ? []
      : [["pinned", `adapter of ${stats.overlay.adapterRank} directions, ${stats.overlay.shifted} shifted rows`]]),
  ]);
}
