/** The same on real vectors, held to exhaustive search and to the live graph. */
import { atLeast, type Claim } from "../claims.js";
import { times } from "../table.js";
import { BITS, type Contest, ratio, runContest, timed } from "./contest.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stores } from "./stores.js";

/** Speed of a scan over that of exhaustive search, and of mode graph over that of the live index. */
const SCAN_OVER_EXACT = 5;
const GRAPH_OVER_LIVE = 0.9;

export async function measureMnist(stores: Stores, options: FrozenOptions, claims: Claim[]): Promise<Contest> {
  const contest = await runContest(stores, options.real, options, claims);
  const { data, kernels } = contest;
  for (const one of [...kernels].reverse()) {
    const name = `${data} ${one.kernel}:`;
    const [exact, graph, live] = [timed(one, "exact"), timed(one, `graph, ${inBits(BITS[0])}`), timed(one, "live")];
    for (const bits of BITS) {
      const over = ratio(timed(one, `scan, ${inBits(bits)}`), exact);
      claims.push(
        atLeast(`${name} speed of a scan over exhaustive search, ${inBits(bits)}`, over, SCAN_OVER_EXACT, times),
      );
    }
    claims.push(atLeast(`${name} speed of mode graph over the live index`, ratio(graph, live), GRAPH_OVER_LIVE, times));
  }
  return contest;
}
