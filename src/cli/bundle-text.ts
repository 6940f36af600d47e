/** What `hebb freeze` and `hebb verify` say of a bundle. */
import type { FrozenStats } from "../index.js";
import { table } from "./print.js";
import { formatBytes, formatCount } from "./progress.js";

export function bundleText(bundle: string, stats: FrozenStats): string {
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
