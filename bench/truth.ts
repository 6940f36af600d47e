/** The judge: exact neighbours by brute force, and recall against them. Nothing here knows an engine. */

/** Squared L2 between row `i` of `a` and row `j` of `b`, both of `d` columns. */
export function squaredL2(a: Float32Array, i: number, b: Float32Array, j: number, d: number): number {
  let s0 = 0;
  let s1 = 0;
  let x = i * d;
  let y = j * d;
  // Two sums, so that one addition need not wait for the other.
  const pairs = x + (d & ~1);
  while (x < pairs) {
    const u = a[x++] - b[y++];
    const v = a[x++] - b[y++];
    s0 += u * u;
    s1 += v * v;
  }
  if (d & 1) {
    const u = a[x] - b[y];
    s0 += u * u;
  }
  return s0 + s1;
}

/** Squared distance of the k-th nearest of the rows that `admits` lets in, for each query; Infinity where fewer than k are. */
export function kthDistances(
  base: Float32Array,
  queries: Float32Array,
  d: number,
  k: number,
  admits: (row: number) => boolean = () => true,
): Float64Array {
  const rows = Uint32Array.from({ length: base.length / d }, (_, row) => row).filter(admits);
  const nearest = new Float64Array(k);
  return Float64Array.from({ length: queries.length / d }, (_, query) => {
    nearest.fill(Number.POSITIVE_INFINITY);
    for (const row of rows) {
      const distance = squaredL2(queries, query, base, row, d);
      if (distance >= nearest[k - 1]) continue;
      let at = k - 1;
      for (; at > 0 && nearest[at - 1] > distance; at--) nearest[at] = nearest[at - 1];
      nearest[at] = distance;
    }
    return nearest[k - 1];
  });
}

/**
 * recall@k of `results` (k rows a query, -1 where fewer came back): the share whose true distance
 * is at most the true k-th, with room for rounding, so that ties are fair. A row named twice for
 * one query counts once; `admits` says which rows may count at all, and `possible` how many of
 * them there are (fewer than k: the share is of those).
 */
export function recallOf(
  results: Int32Array,
  set: { base: Float32Array; queries: Float32Array; d: number; k: number },
  kth: Float64Array,
  admits: (row: number) => boolean = () => true,
  possible = Number.POSITIVE_INFINITY,
): number {
  const { base, queries, d, k } = set;
  const wanted = Math.min(k, possible);
  if (wanted === 0 || kth.length === 0) return 1;
  let found = 0;
  for (let query = 0; query < kth.length; query++) {
    const limit = kth[query] * (1 + 1e-4) + 1e-6;
    const seen = new Set<number>();
    for (let at = query * k; at < (query + 1) * k; at++) {
      const row = results[at];
      if (row < 0 || seen.has(row) || !admits(row)) continue;
      seen.add(row);
      if (squaredL2(queries, query, base, row, d) <= limit) found++;
    }
  }
  return found / (wanted * kth.length);
}
