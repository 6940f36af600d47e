/** The few statistics the benches report. Every random one is seeded. */
import { Prng } from "../base/prng.js";

export const mean = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return values.length ? sum / values.length : 0;
};

/** The value below which a share `q` (0-1) lies, by nearest rank. */
export function percentile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

export const median = (values: ArrayLike<number>): number => percentile(values, 0.5);

/** A point of a recall/speed curve. */
export interface CurvePoint {
  ef: number;
  recall: number;
  queriesPerSecond: number;
}

/**
 * Queries/s at a recall: between the two measured points around it, linear in recall and
 * logarithmic in speed. A curve that begins above `recall` gives its first point (what one gets
 * when asking for less than the smallest ef delivers); one that never reaches it, undefined.
 */
export function speedAt(curve: readonly CurvePoint[], recall: number): number | undefined {
  const sorted = [...curve].sort((a, b) => a.recall - b.recall);
  const above = sorted.findIndex((point) => point.recall >= recall);
  if (above < 0) return undefined;
  if (above === 0) return sorted[0].queriesPerSecond;
  const [low, high] = [sorted[above - 1], sorted[above]];
  const weight = (recall - low.recall) / (high.recall - low.recall);
  return Math.exp(Math.log(low.queriesPerSecond) * (1 - weight) + Math.log(high.queriesPerSecond) * weight);
}

/** What is best of several curves: the points that no other one beats in recall and speed together. */
export function envelope(curves: readonly (readonly CurvePoint[])[]): CurvePoint[] {
  const all = curves.flat();
  return all
    .filter(
      (point) =>
        !all.some(
          (other) =>
            other.recall >= point.recall &&
            other.queriesPerSecond >= point.queriesPerSecond &&
            (other.recall > point.recall || other.queriesPerSecond > point.queriesPerSecond),
        ),
    )
    .sort((a, b) => a.recall - b.recall);
}

/** The exponent of a power law through positive points: least squares on logarithms. NaN below two different x. */
export function growthExponent(points: readonly { x: number; y: number }[]): number {
  const logs = points.map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }));
  const centre = { x: mean(logs.map(({ x }) => x)), y: mean(logs.map(({ y }) => y)) };
  let both = 0;
  let square = 0;
  for (const { x, y } of logs) {
    both += (x - centre.x) * (y - centre.y);
    square += (x - centre.x) ** 2;
  }
  return both / square;
}

/** Mean of paired differences with a percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13). */
export function bootstrapInterval(
  differences: ArrayLike<number>,
  { level = 0.95, resamples = 10_000, seed = 1 } = {},
): { mean: number; low: number; high: number } {
  const n = differences.length;
  const random = new Prng(seed);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += differences[random.below(n)];
    means[r] = n ? sum / n : 0;
  }
  const tail = (1 - level) / 2;
  return { mean: mean(differences), low: percentile(means, tail), high: percentile(means, 1 - tail) };
}

/** A share `hits` of `n`, with Wilson's 95% interval (1927), which holds near 0 too. */
export function shareInterval(hits: number, n: number): { share: number; low: number; high: number } {
  const z = 1.959964;
  const share = hits / n;
  const middle = (share + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const half = (z / (1 + z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + z ** 2 / (4 * n ** 2));
  return { share, low: hits === 0 ? 0 : middle - half, high: hits === n ? 1 : middle + half };
}

/**
 * Two-sided p-value of the paired randomisation test: how often random signs on the differences
 * give a mean at least as far from 0 (Smucker, Allan & Carterette 2007). Never 0: the observed
 * signs count as one draw.
 */
export function randomisationTest(differences: ArrayLike<number>, { draws = 10_000, seed = 1 } = {}): number {
  const random = new Prng(seed);
  const observed = Math.abs(mean(differences)) * differences.length;
  let reached = 1;
  for (let draw = 0; draw < draws; draw++) {
    let sum = 0;
    for (let i = 0; i < differences.length; i++) sum += random.uint32() & 1 ? differences[i] : -differences[i];
    if (Math.abs(sum) >= observed - 1e-12) reached++;
  }
  return reached / (draws + 1);
}
