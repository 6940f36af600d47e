/** Hits as the judge takes them. */
import type { Hit } from "../../src/index.js";

/** k a query: ids, which are base rows, -1 where fewer came back; and distances. */
export interface Found {
  rows: Int32Array;
  distances: Float32Array;
}

export function foundIn(lists: readonly Hit[][], k: number): Found {
  const [rows, distances] = [new Int32Array(lists.length * k).fill(-1), new Float32Array(lists.length * k)];
  lists.forEach((hits, query) => {
    hits.forEach(({ id, distance }, i) => {
      rows[query * k + i] = id as number;
      distances[query * k + i] = distance;
    });
  });
  return { rows, distances };
}
