/** What tests of the tiers share: data that codes can tell apart, what tiers are said to hold and do hold, and damage. */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import { Prng } from "../../base/prng.js";
import type { Index, Tier } from "../../src/index.js";
import { changeBytes, offsetOf, sectionOf } from "./damage.js";

export const TIERS = ["hot", "warm", "cool", "cold", "archive"] as const satisfies readonly Tier[];
/** The half-life that accesses have by default, in ms. */
export const HALF_LIFE = 3_600_000;

export type Counts = Record<Tier, number>;
export const counts = (given: Partial<Counts>): Counts => ({ hot: 0, warm: 0, cool: 0, cold: 0, archive: 0, ...given });

/** n x d values around a few centres, as real vectors lie; the centres are the same for every seed. */
export function clusteredRows(n: number, d: number, seed: number, centres = 20): Float32Array {
  const places = new Prng(1);
  const centre = Float32Array.from({ length: centres * d }, () => 2 * places.gaussian());
  const prng = new Prng(seed + 2);
  const rows = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const at = prng.below(centres) * d;
    for (let j = 0; j < d; j++) rows[i * d + j] = centre[at + j] + 0.6 * prng.gaussian();
  }
  return rows;
}

export const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);

/** Rows in each tier, as stats() says. */
export function countsOf(index: Index): Counts {
  const { tiers } = index.stats();
  return Object.fromEntries(TIERS.map((tier) => [tier, tiers[tier].count])) as Counts;
}

/** Rows in each tier, one by one. */
export function seenIn(index: Index): Counts {
  const seen = counts({});
  for (const { tier } of index.entries()) seen[tier]++;
  return seen;
}

/** What stats() says is what there is, and the check finds nothing. */
export async function expectSound(index: Index): Promise<void> {
  // What was used a moment ago may be on its way up: the counts are compared while nothing moves.
  let [before, seen] = [countsOf(index), seenIn(index)];
  for (let i = 0; i < 20 && !isDeepStrictEqual(before, countsOf(index)); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    [before, seen] = [countsOf(index), seenIn(index)];
  }
  expect(before).toEqual(seen);
  expect(Object.values(countsOf(index)).reduce((a, b) => a + b)).toBe(index.size);
  expect((await index.check()).faults).toEqual([]);
}

/** Length of a - b relative to b's. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [error, square] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i] - b[i]) ** 2;
    square += b[i] ** 2;
  }
  return Math.sqrt(error / square);
}

/** Bytes that a section of a closed store has. */
export const sectionBytes = (directory: string, name: string): number => sectionOf(directory, name).length;

/** Flips a bit of a closed store, at an offset of a section. */
export function flipBit(directory: string, name: string, offset: number): void {
  changeBytes(join(directory, "index.hebb"), offsetOf(directory, name, offset), 1, (byte) => byte ^ 0x10);
}
