/** A map of vectors in two dimensions: their two principal axes, by power iteration. */
import { Prng } from "../../../base/prng.js";

/** Passes over the vectors for an axis. Axes of nearly the same variance are not told apart by more either. */
const PASSES = 24;
const SEED = 1;

export interface FlatMap {
  /** Of each vector, along the first and the second axis, from the mean of all. */
  points: { x: number; y: number }[];
  /** Shares of the variance that the axes have, 0 to 1. */
  shares: [number, number];
}

/** @param unit whether directions count alone, as under cosine */
export function flatMap(vectors: readonly Float32Array[], unit: boolean): FlatMap {
  const rows = centred(vectors, unit);
  const total = rows.reduce((sum, row) => sum + dot(row, row), 0);
  const [x, y] = [0, 1].map(() => {
    const axis = principalAxis(rows);
    const along = rows.map((row) => dot(row, axis));
    for (const [i, row] of rows.entries()) for (let j = 0; j < row.length; j++) row[j]! -= along[i]! * axis[j]!;
    return along;
  }) as [number[], number[]];
  const share = (along: number[]) => (total > 0 ? along.reduce((sum, a) => sum + a * a, 0) / total : 0);
  return { points: x.map((a, i) => ({ x: a, y: y[i]! })), shares: [share(x), share(y)] };
}

function centred(vectors: readonly Float32Array[], unit: boolean): Float64Array[] {
  const rows = vectors.map((vector) => {
    // By the greatest value first: squares of large ones have no room.
    const most = vector.reduce((max, x) => Math.max(max, Math.abs(x)), 0) || 1;
    const row = Float64Array.from(vector, (x) => (unit ? x / most : x));
    const length = unit ? Math.sqrt(dot(row, row)) || 1 : 1;
    return row.map((x) => x / length);
  });
  const mean = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let j = 0; j < row.length; j++) mean[j]! += row[j]! / rows.length;
  for (const row of rows) for (let j = 0; j < row.length; j++) row[j]! -= mean[j]!;
  return rows;
}

/** The direction of most variance, of length 1, its greatest value above 0; zero where there is no variance. */
function principalAxis(rows: readonly Float64Array[]): Float64Array {
  const random = new Prng(SEED);
  let axis = Float64Array.from({ length: rows[0]?.length ?? 0 }, () => random.gaussian());
  for (let pass = 0; pass < PASSES; pass++) {
    const next = new Float64Array(axis.length);
    for (const row of rows) {
      const along = dot(row, axis);
      for (let j = 0; j < row.length; j++) next[j]! += along * row[j]!;
    }
    const length = Math.sqrt(dot(next, next));
    if (!(length > 1e-12)) return new Float64Array(axis.length);
    axis = next.map((x) => x / length);
  }
  const greatest = axis.reduce((max, x) => (Math.abs(x) > Math.abs(max) ? x : max), 0);
  return greatest < 0 ? axis.map((x) => -x) : axis;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
