/**
 * How often a scan's result is not that of exhaustive search: what an estimate may be off by is bounded by three standard
 * deviations, and what lies beyond is lost.
 */
import { type FrozenIndex, open } from "../../src/index.js";
import type { Claim } from "../claims.js";
import { shareInterval } from "../stats.js";
import { count, table } from "../table.js";
import { BITS } from "./contest.js";
import { type Found, foundIn } from "./hits.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stored, Stores } from "./stores.js";

const FACTORS = [1024, 20] as const;
/** How often a normal value is more than three deviations above its mean. */
const BEYOND = 0.00135;

export interface ExactFigures {
  data: string;
  bits: number;
  rerankFactor: number;
  seeds: number;
  /** Asked under all seeds. */
  queries: number;
  /** Queries of whose distances any differs, bit for bit; neighbours that are missing in them. */
  differ: number;
  missing: number;
  share: number;
  /** Of the share, 95%. */
  low: number;
  high: number;
}

export async function measureExact(
  stores: Stores,
  { generated, real, exact }: FrozenOptions,
  claims: Claim[],
): Promise<ExactFigures[]> {
  const nobody = new Float64Array(0); // the truth comes from exhaustive search
  const sets = [
    { stored: await stores.of({ ...generated, queries: exact.queries }, nobody), seeds: 1 },
    { stored: await stores.of({ ...real, queries: exact.queries }, nobody), seeds: exact.seeds },
  ];
  const results: ExactFigures[] = [];
  for (const { stored, seeds } of sets) {
    const truth = await exhaustive(stored);
    for (const bits of BITS) {
      const found = FACTORS.map(() => ({ differ: 0, missing: 0 }));
      for (let seed = 0; seed < seeds; seed++) {
        await stores.withBundle(stored.path, { bits, seed }, async (frozen) => {
          for (const [i, rerankFactor] of FACTORS.entries()) {
            const some = await compare(frozen, stored, truth, rerankFactor);
            found[i].differ += some.differ;
            found[i].missing += some.missing;
          }
        });
      }
      for (const [i, rerankFactor] of FACTORS.entries()) {
        const queries = seeds * stored.set.nq;
        const { differ, missing } = found[i];
        const interval = shareInterval(differ, queries);
        results.push({ data: stored.set.name, bits, rerankFactor, seeds, queries, differ, missing, ...interval });
      }
    }
  }
  report(results);
  for (const one of results) if (one.rerankFactor === FACTORS[0]) claims.push(claimOf(one, generated.k));
  return results;
}

async function exhaustive({ path, set }: Stored): Promise<Found> {
  const index = await open(path, { readOnly: true });
  try {
    return foundIn(await index.searchMany(set.queries, { k: set.k, exact: true, include: [] }), set.k);
  } finally {
    await index.close();
  }
}

/** By distances, so that it does not matter which of equally near rows is named. */
async function compare(frozen: FrozenIndex, { set }: Stored, truth: Found, rerankFactor: number) {
  const { k, nq, queries } = set;
  const { distances } = foundIn(await frozen.searchMany(queries, { k, rerankFactor, include: [] }), k);
  let [differ, missing] = [0, 0];
  for (let query = 0; query < nq; query++) {
    const [wanted, own] = [truth.distances, distances].map((all) => all.subarray(query * k, (query + 1) * k));
    if (wanted.every((distance, i) => distance === own[i])) continue;
    differ++;
    missing += own.filter((distance) => !(distance <= wanted[k - 1])).length;
  }
  return { differ, missing };
}

const percent = (share: number): string => `${(100 * share).toFixed(3)}%`;

function report(results: readonly ExactFigures[]): void {
  const lines = results.map((one) => [
    `${one.data}, ${inBits(one.bits)}, rerankFactor ${one.rerankFactor}`,
    count(one.queries),
    String(one.seeds),
    String(one.differ),
    percent(one.share),
    `${percent(one.low)} to ${percent(one.high)}`,
    String(one.missing),
  ]);
  console.log("\nresults that are not those of exhaustive search");
  console.log(table(["", "queries", "seeds", "differ", "share", "95%", "neighbours missed"], lines));
}

/**
 * A neighbour is lost where an estimate of it is too high by more than three deviations: the one by one bit, or the one
 * by more. What a lower cap of vectors cuts off is another matter.
 */
function claimOf({ data, bits, rerankFactor, differ, queries, share, low, high }: ExactFigures, k: number): Claim {
  const most = k * BEYOND * (bits === 1 ? 1 : 2);
  return {
    name: `${data}, ${inBits(bits)}, rerankFactor ${rerankFactor}: other results than exhaustive search's at most ${percent(most)}, as three deviations imply`,
    kind: "assertion",
    holds: low <= most,
    figure: `${percent(share)} [${percent(low)}, ${percent(high)}], ${differ} of ${count(queries)}`,
  };
}
