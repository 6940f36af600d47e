/**
 * Search one can differentiate through: a softmax over the candidates' scores, the mean of their
 * vectors under it, and the gradients of that mean. Which candidates there are stays a hard
 * choice, as in the specification (the straight-through estimator's backward pass).
 *
 * Shapes: d dimensions, c candidates. q: d, v: c x d, s and w: c.
 */
import type { Metric } from "../../base/types.js";
import { norm } from "./examples.js";

export interface SoftResult {
  /** sum_i w_i v_i; d values. */
  vector: Float32Array;
  backward: (gradient: Float32Array) => { query: Float32Array; candidates: Float32Array[] };
}

/**
 * w = softmax(s / temperature) with s_i = cos(q, v_i), q . v_i or -|q - v_i|^2, by metric.
 * @param candidates at least one
 */
export function softSearch(
  query: Float32Array,
  candidates: readonly Float32Array[],
  metric: Metric,
  temperature: number,
): SoftResult {
  const d = query.length;
  const scores = candidates.map((v) => score(query, v, metric));
  const most = Math.max(...scores);
  const powers = scores.map((s) => Math.exp((s - most) / temperature));
  const total = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((p) => p / total);
  const vector = new Float32Array(d);
  candidates.forEach((v, i) => {
    for (let x = 0; x < d; x++) vector[x] += weights[i] * v[x];
  });
  const backward = (gradient: Float32Array) => {
    if (!(gradient instanceof Float32Array) || gradient.length !== d) {
      throw new TypeError(`gradient is not a Float32Array of ${d} values, one for each of the soft vector's`);
    }
    // vector = sum w_i v_i  =>  dL/dw_i = g . v_i, dL/ds_i = w_i (dL/dw_i - sum_j w_j dL/dw_j) / temperature
    const byWeight = candidates.map((v) => dotOf(gradient, v));
    const middle = byWeight.reduce((sum, g, i) => sum + g * weights[i], 0);
    const query64 = new Float64Array(d);
    const byCandidate = candidates.map((v, i) => {
      const byScore = (weights[i] * (byWeight[i] - middle)) / temperature;
      const slope = scoreGradients(query, v, metric, scores[i]);
      const out = new Float32Array(d);
      for (let x = 0; x < d; x++) {
        query64[x] += byScore * slope.query[x];
        out[x] = weights[i] * gradient[x] + byScore * slope.candidate[x];
      }
      return out;
    });
    return { query: Float32Array.from(query64), candidates: byCandidate };
  };
  return { vector, backward };
}

function dotOf(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function score(q: Float32Array, v: Float32Array, metric: Metric): number {
  if (metric === "dot") return dotOf(q, v);
  if (metric === "cosine") return dotOf(q, v) / (norm(q) * norm(v));
  let square = 0;
  for (let i = 0; i < q.length; i++) square += (q[i] - v[i]) ** 2;
  return -square;
}

/** ds/dq and ds/dv. */
function scoreGradients(
  q: Float32Array,
  v: Float32Array,
  metric: Metric,
  s: number,
): { query: Float64Array; candidate: Float64Array } {
  const query = new Float64Array(q.length);
  const candidate = new Float64Array(q.length);
  const [nq, nv] = metric === "cosine" ? [norm(q), norm(v)] : [1, 1];
  for (let x = 0; x < q.length; x++) {
    if (metric === "dot") {
      query[x] = v[x];
      candidate[x] = q[x];
    } else if (metric === "cosine") {
      query[x] = v[x] / (nq * nv) - (s * q[x]) / (nq * nq);
      candidate[x] = q[x] / (nq * nv) - (s * v[x]) / (nv * nv);
    } else {
      query[x] = -2 * (q[x] - v[x]);
      candidate[x] = 2 * (q[x] - v[x]);
    }
  }
  return { query, candidate };
}
