/** Asking by example: what one vector stands for "more like these, unlike those". */
import type { Metric } from "../../base/types.js";
import { relative } from "../../model/scoring.js";

/** Share of the step away from what is disliked (gamma in Rocchio 1971, with beta = 1). */
const NEGATIVE_SHARE = 0.5;

export interface Example {
  vector: Float32Array;
  weight: number;
}

/**
 * Rocchio's query: the weighted mean of the positives, moved away from the mean of the negatives
 * by half of what lies between both means. Under cosine each example counts with unit length.
 * @throws {RangeError} where the examples cancel each other out under cosine
 */
export function exampleVector(
  positive: readonly Example[],
  negative: readonly Example[],
  metric: Metric,
): Float32Array {
  const likes = mean(positive, metric);
  const query = Float32Array.from(likes);
  if (negative.length > 0) {
    const dislikes = mean(negative, metric);
    for (let i = 0; i < query.length; i++) query[i] += NEGATIVE_SHARE * (likes[i] - dislikes[i]);
  }
  if (metric === "cosine" && norm(query) < 1e-12) {
    throw new RangeError(
      "the examples cancel each other out; expected a direction: leave some out, or weigh them differently",
    );
  }
  return query;
}

function mean(examples: readonly Example[], metric: Metric): Float64Array {
  const sum = new Float64Array(examples[0].vector.length);
  let total = 0;
  const weights = relative(examples.map(({ weight }) => weight));
  for (const [at, { vector }] of examples.entries()) {
    const weight = weights[at];
    const factor = metric === "cosine" ? weight / norm(vector) : weight;
    for (let i = 0; i < sum.length; i++) sum[i] += factor * vector[i];
    total += weight;
  }
  return sum.map((x) => x / total);
}

/** Euclidean length. */
function norm(v: ArrayLike<number>): number {
  let square = 0;
  for (let i = 0; i < v.length; i++) square += v[i] * v[i];
  return Math.sqrt(square);
}
