/** The graph's own edges as message passing weighs them. */
import type { Metric } from "../base/types.js";

/**
 * Weights of edges by the scores between their ends: w = sigmoid(alpha (sim - 1) + b), where sim is the score in its
 * unit, and under l2 1 less the squared distance in it: 1 is a vector itself. b = ln(1 + s) is what use added, s being
 * the strength of a learned edge (model/edges.ts), which fades to 0.
 * alpha = 8: an edge between strangers weighs about a hundredth of one between twins.
 */
export function edgeWeights(
  scores: Float32Array,
  metric: Metric,
  scale: number,
  strengths?: Float32Array,
): Float32Array {
  return scores.map((score, i) => {
    const apart = metric === "l2" ? -score / scale : 1 - score / scale;
    return 1 / (1 + Math.exp(ALPHA * apart) / (1 + (strengths?.[i] ?? 0)));
  });
}

const ALPHA = 8;
