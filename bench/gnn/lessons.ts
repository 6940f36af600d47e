/** Events to learn from, where only vectors are known: somebody liked the fourth of what they were shown. */
import type { Feedback, Index } from "../../src/index.js";

const SHOWN = 10;
const CHOSEN = 3;

export function lessons(index: Index, queries: Float32Array, d: number, n: number): Feedback[] {
  return Array.from({ length: n }, (_, i) => {
    const at = (i % (queries.length / d)) * d;
    const query = queries.slice(at, at + d);
    const shown = index.search(query, { k: SHOWN, include: [] }).map(({ id }) => id);
    return { query, chosen: [shown[Math.min(CHOSEN, shown.length - 1)]], shown, source: `s${i % 7}`, time: 1.7e12 + i };
  });
}
