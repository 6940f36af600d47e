/**
 * What a score is, and the few vector operations that everything learned is made of.
 *
 * A score is larger where a document fits better: the cosine of two unit vectors, the dot product,
 * or minus the squared Euclidean distance. Shapes: d is the number of dimensions.
 */
import type { Metric } from "../base/types.js";

/** Production code uses f32 throughout; f64 serves the gradient checks. */
export type Floats = Float32Array | Float64Array;

/** Sum of a_i b_(at + i). Four sums side by side: the compiler keeps them in registers. */
export function dot(a: Floats, b: Floats, at = 0): number {
  const n = a.length;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (let j = at; i + 3 < n; i += 4, j += 4) {
    s0 += a[i]! * b[j]!;
    s1 += a[i + 1]! * b[j + 1]!;
    s2 += a[i + 2]! * b[j + 2]!;
    s3 += a[i + 3]! * b[j + 3]!;
  }
  for (; i < n; i++) s0 += a[i]! * b[at + i]!;
  return s0 + s1 + (s2 + s3);
}

/** y_(yAt + i) += alpha x_(xAt + i) for n values. */
export function axpy(alpha: number, x: Floats, y: Floats, xAt = 0, yAt = 0, n = y.length): void {
  for (let i = 0; i < n; i++) y[yAt + i] = y[yAt + i]! + alpha * x[xAt + i]!;
}

/** Makes `x` a unit vector in place and returns the length it had; a zero vector stays as it is. */
export function normalize(x: Floats): number {
  const length = Math.sqrt(dot(x, x));
  if (length > 0) for (let i = 0; i < x.length; i++) x[i] = x[i]! / length;
  return length;
}

/**
 * Numbers > 0 that mean something beside each other only, in units of a power of two, so that the greatest is about 1:
 * their ratios keep all bits, and however large they were their sum is finite.
 */
export function relative(values: readonly number[]): number[] {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const unit = 2 ** Math.min(1023, Math.floor(Math.log2(most)));
  return values.map((value) => value / unit);
}

/**
 * Score of a document's row for a query; under cosine both are unit vectors. Larger is better.
 * @param at where in `row` the row begins
 */
export function score(metric: Metric, query: Floats, row: Floats, at = 0): number {
  return metric === "l2" ? -squaredDistance(query, row, at) : dot(query, row, at);
}

/** Sum of (a_i - b_(at + i))^2, added up as `dot` does. */
function squaredDistance(a: Floats, b: Floats, at: number): number {
  const n = a.length;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (let j = at; i + 3 < n; i += 4, j += 4) {
    const x0 = a[i]! - b[j]!;
    const x1 = a[i + 1]! - b[j + 1]!;
    const x2 = a[i + 2]! - b[j + 2]!;
    const x3 = a[i + 3]! - b[j + 3]!;
    s0 += x0 * x0;
    s1 += x1 * x1;
    s2 += x2 * x2;
    s3 += x3 * x3;
  }
  for (; i < n; i++) s0 += (a[i]! - b[at + i]!) ** 2;
  return s0 + s1 + (s2 + s3);
}

/**
 * From the gradient with respect to a unit vector y = x / |x| back to x, in place:
 * g <- (g - y (y . g)) / |x|.
 */
export function normalizeBackward(y: Floats, length: number, g: Floats): void {
  const along = dot(y, g);
  const inverse = length > 0 ? 1 / length : 0;
  for (let i = 0; i < g.length; i++) g[i] = (g[i]! - y[i]! * along) * inverse;
}
