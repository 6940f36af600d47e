/** How good a ranking is, over all documents and over those that feedback never named. */

/** nDCG@k with linear gains (Jarvelin & Kekalainen 2002, log base 2); 0 where nothing is relevant. */
export function ndcg(ranking: readonly number[], gains: ReadonlyMap<number, number>, k = 10): number {
  const discounted = (sum: number, gain: number, i: number) => sum + gain / Math.log2(i + 2);
  const ideal = [...gains.values()]
    .sort((a, b) => b - a)
    .slice(0, k)
    .reduce(discounted, 0);
  const reached = ranking
    .slice(0, k)
    .map((document) => gains.get(document) ?? 0)
    .reduce(discounted, 0);
  return ideal > 0 ? reached / ideal : 0;
}

export interface Judged {
  /** nDCG@10 over everything. */
  all: number;
  /** nDCG@10 with every document that was a training positive taken out of ranking and judgements; NaN where none is left. */
  disjoint: number;
}

export function judge(
  ranking: readonly number[],
  gains: ReadonlyMap<number, number>,
  trained: ReadonlySet<number>,
): Judged {
  const left = new Map([...gains].filter(([document]) => !trained.has(document)));
  return {
    all: ndcg(ranking, gains),
    disjoint:
      left.size === 0
        ? Number.NaN
        : ndcg(
            ranking.filter((document) => !trained.has(document)),
            left,
          ),
  };
}
