/**
 * Search one can differentiate through: a softmax over the candidates' scores, the mean of their
 * vectors under it, and the gradients of that mean. Which candidates there are stays a hard choice.
 *
 * Shapes: d dimensions, c candidates. q: d, v: c x d, s, g and w: c.
 *
 *   s_i = cos(q, v_i), q . v_i or -|q - v_i|^2, by metric      w = softmax(s / temperature + g)
 *
 *   soft               g = 0; the vector is sum_i w_i v_i
 *   straight-through   the vector is the v_i of the largest s_i; backward is that of `soft`
 *                      (Bengio, Leonard & Courville 2013)
 *   gumbel             the vector is sum_i w_i v_i with g_i = -log(-log u_i), u_i uniform in (0, 1): a relaxed sample
 *                      (Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017). The largest w_i belongs to candidate i
 *                      exactly as often as `soft` weighs it.
 *
 * Scores carry a unit, noise does not: so the temperature divides the scores alone, and lowering it anneals both
 * the softmax and its samples to the nearest candidate.
 */
import { Prng } from "../../base/prng.js";
import type { Metric } from "../../base/types.js";
import { axpy, dot, type Floats, score } from "../../model/scoring.js";
import type { Estimator } from "../types.js";

export interface SoftSettings {
  metric: Metric;
  /** > 0 */
  temperature: number;
  estimator: Estimator;
  /** Of the noise of `gumbel`. */
  seed: number;
}

export interface SoftResult {
  /** d values. */
  vector: Float64Array;
  /** From dL/dvector to dL/dq and each dL/dv_i. */
  backward: (gradient: Floats) => { query: Float64Array; candidates: Float64Array[] };
}

/** @param candidates at least one; under cosine none of them is zero, nor is the query */
export function softSearch(query: Floats, candidates: readonly Floats[], settings: SoftSettings): SoftResult {
  const { metric, temperature, estimator, seed } = settings;
  const d = query.length;
  const queryLength = lengthOf(query, metric);
  const lengths = candidates.map((v) => lengthOf(v, metric));
  const scores = candidates.map((v, i) => score(metric, query, v) / (queryLength * lengths[i]));
  const most = largest(scores);
  const noise = estimator === "gumbel" ? gumbelNoise(seed) : () => 0;
  const weights = softmax(scores.map((s) => (s - most) / temperature + noise()));
  const vector = new Float64Array(d);
  if (estimator === "straight-through") vector.set(candidates[scores.indexOf(most)]);
  else candidates.forEach((v, i) => void axpy(weights[i], v, vector));

  const backward = (gradient: Floats) => {
    // vector = sum w_i v_i  =>  dL/dw_i = gradient . v_i, dL/ds_i = w_i (dL/dw_i - sum_j w_j dL/dw_j) / temperature
    const byWeight = candidates.map((v) => dot(gradient, v));
    const middle = byWeight.reduce((sum, g, i) => sum + g * weights[i], 0);
    const byQuery = new Float64Array(d);
    const byCandidate = candidates.map((v, i) => {
      const byScore = (weights[i] * (byWeight[i] - middle)) / temperature;
      const out = Float64Array.from(gradient, (g) => weights[i] * g);
      if (metric === "dot") {
        axpy(byScore, v, byQuery);
        axpy(byScore, query, out);
      } else if (metric === "l2") {
        for (let x = 0; x < d; x++) {
          const slope = 2 * byScore * (query[x] - v[x]);
          byQuery[x] -= slope;
          out[x] += slope;
        }
      } else {
        // ds/dq = v / (|q| |v|) - s q / |q|^2, and the same the other way round
        const share = byScore / (queryLength * lengths[i]);
        axpy(share, v, byQuery);
        axpy(share, query, out);
        axpy((-byScore * scores[i]) / queryLength ** 2, query, byQuery);
        axpy((-byScore * scores[i]) / lengths[i] ** 2, v, out);
      }
      return out;
    });
    return { query: byQuery, candidates: byCandidate };
  };
  return { vector, backward };
}

/** What a score is divided by for each of its two vectors. */
const lengthOf = (v: Floats, metric: Metric): number => (metric === "cosine" ? Math.sqrt(dot(v, v)) : 1);

const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));

function softmax(logits: readonly number[]): number[] {
  const most = largest(logits);
  const powers = logits.map((l) => Math.exp(l - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / total);
}

/** Draws from the standard Gumbel distribution. */
function gumbelNoise(seed: number): () => number {
  const prng = new Prng(seed);
  return () => -Math.log(-Math.log((prng.uint32() + 0.5) / 2 ** 32));
}
