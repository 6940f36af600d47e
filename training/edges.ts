/** What an event teaches the learned edges. */
import type { Edges, Seed } from "../model/edges.js";
import type { Example } from "./examples.js";

/** Examples' weights count with this exponent: what somebody liked long ago still belongs with what they choose now. */
const FLATTENED = 0.5;
/** An edge back from what was chosen to an example, beside the one to it. */
const BACK = 0.45;
/** Rows near the question, of those that stand for it, that lead to what was chosen. */
const ROUTES = 5;

/**
 * From the rows that stand for the question to what was chosen; back where they were given as examples,
 * as those are liked themselves; and between what was chosen together. Yields after each chosen document.
 * @param now tick of the edges' clock
 */
export function* learnEdges(
  edges: Edges,
  seeds: readonly Seed[],
  example: Example,
  now: number,
): Generator<void, void> {
  const { chosen, weights } = example;
  const given = example.seeds.length > 0;
  const most = seeds.reduce((max, { weight }) => Math.max(max, weight), 0);
  const grades = [...chosen.values()].reduce((sum, grade) => sum + grade, 0);
  const routes = given
    ? seeds.map(({ node, weight }) => ({ node, strength: (weight / most) ** FLATTENED }))
    : seeds.slice(0, ROUTES).map(({ node, weight }) => ({ node, strength: weight }));
  for (const [i, node] of [...chosen.keys()].entries()) {
    const amount = weights[i]! * chosen.size; // 1 for each of several with equal grades
    edges.choose(node, amount, now);
    for (const { node: seed, strength } of routes) {
      edges.add(seed, node, strength * amount, now);
      if (given) edges.add(node, seed, BACK * strength * amount, now);
    }
    for (const [other, otherGrade] of chosen) edges.add(node, other, otherGrade / grades, now);
    yield;
  }
}
