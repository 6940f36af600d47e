/** How fast bundles of generated vectors are scanned. */
import { availableParallelism } from "node:os";
import { atLeast, type Claim } from "../claims.js";
import { count, times } from "../table.js";
import { BITS, type Contest, ratio, runContest, timed } from "./contest.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stores } from "./stores.js";

/** Queries/s on one thread, whatever the bits. */
const TARGETS: { [kernel: string]: number | undefined } = { avx512: 20_000, avx2: 10_000 };

export async function measureSpeed(stores: Stores, options: FrozenOptions, claims: Claim[]): Promise<Contest> {
  const contest = await runContest(stores, options.generated, options, claims);
  const { data, kernels } = contest;
  for (const one of [...kernels].reverse()) {
    const wanted = TARGETS[one.kernel];
    if (wanted === undefined) continue;
    for (const bits of BITS) {
      const name = `${data} ${one.kernel}: scans/s, ${inBits(bits)}`;
      claims.push(atLeast(name, timed(one, `scan, ${inBits(bits)}`).queriesPerSecond, wanted, count));
    }
  }
  if (availableParallelism() > 1) {
    const best = kernels[kernels.length - 1];
    const gain = ratio(timed(best, `scanMany, ${inBits(BITS[0])}`), timed(best, `scan, ${inBits(BITS[0])}`));
    claims.push(atLeast(`${data} ${best.kernel}: searchMany on all cores over search on one`, gain, 1.8, times));
  }
  return contest;
}
