/** What tests of the public surface share: places on disk, rows to put there, and the truth by comparing everything. */
import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { Prng } from "../../base/prng.js";
import type { Metric } from "../../src/index.js";

/** Paths for stores; all is gone after the file's tests. */
export function scratch(within = tmpdir()): (name: string) => string {
  const directory = realpathSync(mkdtempSync(join(within, "hebb-test-")));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return (name) => join(directory, name);
}

/** As `scratch`, in memory where the system has a place for it: what survives there is the test's to say, syncs take no time. */
export function memoryScratch(): (name: string) => string {
  return scratch(existsSync("/dev/shm") ? "/dev/shm" : tmpdir());
}

/** n x d normal values. */
export function randomRows(n: number, d: number, seed: number): Float32Array {
  const prng = new Prng(seed);
  return Float32Array.from({ length: n * d }, () => prng.gaussian());
}

export const rowOf = (rows: Float32Array, i: number, d: number): Float32Array => rows.subarray(i * d, (i + 1) * d);

/** As the contract defines distances, in float64. */
export function distanceOf(metric: Metric, a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [square, dot, aa, bb] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    square += (a[i] - b[i]) ** 2;
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  if (metric === "l2") return square;
  return metric === "dot" ? -dot : 1 - dot / Math.sqrt(aa * bb);
}

/** The error that something throws or rejects with. */
export async function errorOf(work: () => unknown): Promise<Error & { code?: string; details?: object }> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`what was thrown is no error: ${String(error)}`);
  }
  throw new Error("nothing was thrown");
}
