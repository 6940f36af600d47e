/** Filtered search: recall within the filter, and speed against the same call without one. */

import type { Index, SearchOptions } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { type CurvePoint, median, speedAt } from "../stats.js";
import { kthDistances, recallOf } from "../truth.js";
import { queryRows } from "./engine.js";
import { BUCKETS, bucketsOf } from "./hebb.js";

export interface FilterResult {
  /** Share of rows the filter is made to admit (the buckets are drawn at random, so `admitted` is near it). */
  selectivity: number;
  admitted: number;
  /** The first search with this filter, which compiles its bitmap. Milliseconds. */
  firstMs: number;
  filtered: CurvePoint[];
  /** The same call on the same queries without a filter, its passes between those of the filtered one. */
  unfiltered: CurvePoint[];
  /** Filtered over unfiltered queries/s at the smallest ef where the filtered recall is at least `atRecall`. */
  atEqualEf: { ef: number; recall: number; ratio: number } | undefined;
  /** Both curves at recall `atRecall`. */
  atEqualRecall: number | undefined;
  atRecall: number;
}

const AT_RECALL = 0.95;

export async function measureFilters(
  index: Index,
  whole: AnnSet,
  {
    efs,
    queries,
    repeats,
    selectivities,
  }: { efs: number[]; queries: number; repeats: number; selectivities: number[] },
): Promise<FilterResult[]> {
  const nq = Math.min(queries, whole.nq);
  const set: AnnSet = {
    ...whole,
    nq,
    queries: whole.queries.subarray(0, nq * whole.d),
    kth: whole.kth.subarray(0, nq),
  };
  const rows = queryRows(set);
  const buckets = bucketsOf(set.n);
  // Payloads would be read for each hit with and without a filter alike: left out, they cannot hide a slow filter.
  const pass = (options: SearchOptions) => {
    const found = new Int32Array(nq * set.k).fill(-1);
    const start = performance.now();
    for (let query = 0; query < nq; query++) {
      const hits = index.search(rows[query], options);
      for (let i = 0; i < hits.length; i++) found[query * set.k + i] = hits[i].id as number;
    }
    return { found, seconds: (performance.now() - start) / 1e3 };
  };

  return selectivities.map((selectivity) => {
    const below = Math.max(1, Math.round(BUCKETS * selectivity));
    const filter = { bucket: { $lt: below } };
    const admits = (row: number) => buckets[row] < below;
    const admitted = buckets.reduce((sum, bucket) => sum + (bucket < below ? 1 : 0), 0);
    const kth = kthDistances(set.base, set.queries, set.d, Math.min(set.k, admitted), admits);

    const start = performance.now();
    index.search(rows[0], { k: set.k, ef: efs[0], filter });
    const firstMs = performance.now() - start;

    const filtered: CurvePoint[] = [];
    const unfiltered: CurvePoint[] = [];
    for (const ef of efs) {
      const seconds: { with: number[]; without: number[] } = { with: [], without: [] };
      let recall = 1;
      let recallWithout = 1;
      for (let repeat = 0; repeat < repeats; repeat++) {
        const yes = pass({ k: set.k, ef, filter, include: [] });
        const no = pass({ k: set.k, ef, include: [] });
        seconds.with.push(yes.seconds);
        seconds.without.push(no.seconds);
        // The lowest of the repeats: what a timed run returned is what it is judged by.
        recall = Math.min(recall, recallOf(yes.found, set, kth, admits, admitted));
        recallWithout = Math.min(recallWithout, recallOf(no.found, set, set.kth));
      }
      filtered.push({ ef, recall, queriesPerSecond: nq / median(seconds.with) });
      unfiltered.push({ ef, recall: recallWithout, queriesPerSecond: nq / median(seconds.without) });
    }
    const at = filtered.findIndex(({ recall }) => recall >= AT_RECALL);
    const [with_, without] = [speedAt(filtered, AT_RECALL), speedAt(unfiltered, AT_RECALL)];
    return {
      selectivity,
      admitted,
      firstMs,
      filtered,
      unfiltered,
      atEqualEf:
        at < 0
          ? undefined
          : {
              ef: efs[at],
              recall: filtered[at].recall,
              ratio: filtered[at].queriesPerSecond / unfiltered[at].queriesPerSecond,
            },
      atEqualRecall: with_ && without ? with_ / without : undefined,
      atRecall: AT_RECALL,
    };
  });
}
