/** How good a ranking is. */
import type { Id } from "../index.js";

/**
 * nDCG at 10 with one relevant id: 1 / log2(1 + its rank), ranks from 1; 0 below the tenth
 * (Jarvelin & Kekalainen 2002; the ideal ranking has it first, which is 1).
 */
export function ndcgAt10(ranking: readonly Id[], relevant: Id): number {
  const at = ranking.slice(0, 10).indexOf(relevant);
  return at < 0 ? 0 : 1 / Math.log2(at + 2);
}

export const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, x) => sum + x, 0) / values.length;
