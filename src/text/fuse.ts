/**
 * One ranking from two: reciprocal rank fusion (Cormack, Clarke & Buettcher 2009). It looks at ranks
 * alone, so that scores of different kinds (BM25, cosine) need no common scale.
 */

/**
 * Ranks below it hardly count: the constant of the paper, found there to be near the best on every collection tried.
 */
const RRF_K = 60;

/**
 * score(x) = the sum over the rankings that have x of 1 / (k + rank), ranks from 1.
 *
 * @param rankings each from best to worst, without duplicates
 * @param k higher flattens the differences between ranks; at least 0, default 60
 * @returns best first; of equal scores, what the earlier ranking has first (or higher)
 * @throws {RangeError} when k is not a number of at least 0
 */
export function fuseRankings<T>(rankings: readonly (readonly T[])[], k: number = RRF_K): { item: T; score: number }[] {
  if (!(k >= 0 && k < Infinity)) throw new RangeError(`k is ${k}; expected a number of at least 0`);
  const scores = new Map<T, number>();
  for (const ranking of rankings) {
    ranking.forEach((item, i) => {
      scores.set(item, (scores.get(item) ?? 0) + 1 / (k + i + 1));
    });
  }
  return Array.from(scores, ([item, score]) => ({ item, score })).sort((a, b) => b.score - a.score);
}
