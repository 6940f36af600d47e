/** One size of a growing index: the truth from an exact search, the ef that reaches a recall, and what a query costs at it. */
import type { AnnSet } from "../data.js";
import { median, percentile } from "../stats.js";
import { kthDistances, recallOf, squaredL2 } from "../truth.js";
import type { HebbEngine } from "./hebb.js";
import { passOneByOne, passTogether } from "./pass.js";
import { peakResident } from "./peak.js";

export interface ReachSettings {
  /** Rising; the first that reaches `recall` is timed. */
  efs: number[];
  recall: number;
  repeats: number;
}

export interface Reach {
  /** Of the exact search of all queries on all cores. */
  truthSeconds: number;
  /** Whether brute force outside the index finds the same k-th distances, for the first queries. */
  truthHolds: boolean;
  /** Recall at each ef until one reaches what was asked for. */
  tried: { ef: number; recall: number }[];
  ef: number;
  recall: number;
  /** Each timed pass at that ef, one thread. */
  passes: { queriesPerSecond: number; p50Ms: number; p99Ms: number }[];
  queriesPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** All queries at once on all threads, each timed pass. */
  many: number[];
  queriesPerSecondMany: number;
  /** The highest the resident set was since the build began, the input vectors included; undefined where the system does not tell. */
  highWaterBytes: number | undefined;
  /** Of the input vectors. */
  inputBytes: number;
}

const PROVEN_QUERIES = 10;

export async function measureReach(
  engine: HebbEngine,
  unjudged: AnnSet,
  { efs, recall, repeats }: ReachSettings,
): Promise<Reach> {
  const start = performance.now();
  const kth = await exactKth(engine, unjudged);
  const truthSeconds = (performance.now() - start) / 1e3;
  const set = { ...unjudged, kth };
  const tried: Reach["tried"] = [];
  for (const ef of efs) {
    engine.useEf(ef);
    tried.push({ ef, recall: recallOf(passOneByOne(engine, set).rows, set, kth) });
    if (tried.at(-1)!.recall >= recall) break;
  }
  const passes: Reach["passes"] = [];
  const many: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    globalThis.gc?.();
    const { seconds, latenciesMs } = passOneByOne(engine, set);
    passes.push({
      queriesPerSecond: set.nq / seconds,
      p50Ms: percentile(latenciesMs, 0.5),
      p99Ms: percentile(latenciesMs, 0.99),
    });
    many.push(set.nq / (await passTogether(engine, set))!.seconds);
  }
  return {
    truthSeconds,
    truthHolds: provesTruth(set),
    tried,
    ...tried.at(-1)!,
    passes,
    queriesPerSecond: median(passes.map(({ queriesPerSecond }) => queriesPerSecond)),
    p50Ms: median(passes.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(passes.map(({ p99Ms }) => p99Ms)),
    many,
    queriesPerSecondMany: median(many),
    highWaterBytes: peakResident(),
    inputBytes: set.base.buffer.byteLength,
  };
}

/** The k-th distance of each query from a search that compares with every vector, computed again in doubles. */
async function exactKth(engine: HebbEngine, { queries, d, k, base }: AnnSet): Promise<Float64Array> {
  const many = await engine.index().searchMany(queries, { k, exact: true, include: [] });
  return Float64Array.from(many, (hits, query) =>
    hits.length < k
      ? Number.POSITIVE_INFINITY
      : Math.max(...hits.map(({ id }) => squaredL2(queries, query, base, id as number, d))),
  );
}

function provesTruth({ base, queries, d, k, nq, kth }: AnnSet): boolean {
  const proven = Math.min(nq, PROVEN_QUERIES);
  const own = kthDistances(base, queries.subarray(0, proven * d), d, k);
  return own.every((distance, query) => Math.abs(kth[query] - distance) <= 1e-4 * distance);
}
