/** Recall and speed of searches, against exact ones. */
import type { Prng } from "../../base/prng.js";
import type { Id, Index } from "../index.js";

export const EFS = [10, 16, 32, 64, 128, 256];
/** Noise on a stored vector that makes it a query, as a share of its length. */
const NOISE = 0.1;

/** What searches with one ef found, and how long they took. */
export interface Measured {
  ef: number;
  /** Share of the exact k nearest that were found. */
  recall: number;
  queriesPerSecond: number;
  p50Ms: number;
  p99Ms: number;
}

/** A stored vector with noise of 10% of its length: a query that is near something. */
export function withNoise(vector: Float32Array, random: Prng): Float32Array {
  const length = Math.hypot(...vector);
  const noise = (NOISE * length) / Math.sqrt(vector.length);
  return vector.map((x) => x + noise * random.gaussian());
}

/** The value below which a share `q` of the values lies. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

/** Searches for all queries once to warm caches, then once by the clock, on this thread. */
export function measure(
  index: Index,
  queries: readonly Float32Array[],
  truth: readonly ReadonlySet<Id>[],
  k: number,
  ef: number,
): Measured {
  for (const query of queries) index.search(query, { k, ef, include: [] }); // warms caches
  const latencies: number[] = [];
  let found = 0;
  let expected = 0;
  queries.forEach((query, i) => {
    const start = performance.now();
    const hits = index.search(query, { k, ef, include: [] });
    latencies.push(performance.now() - start);
    found += hits.filter((hit) => truth[i]!.has(hit.id)).length;
    expected += truth[i]!.size;
  });
  const total = latencies.reduce((sum, ms) => sum + ms, 0);
  return {
    ef,
    recall: found / expected,
    queriesPerSecond: (1000 * queries.length) / total,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}
