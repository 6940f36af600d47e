/**
 * How often keys were seen, lately, in a few bytes a key: a count-min sketch (Cormode & Muthukrishnan
 * 2005) with conservative update (Estan & Varghese 2002). Its counters are f32, so that it can hold
 * heats in forward form (heat.ts) and decay at no cost. An estimate is never below what was added,
 * rounding aside; collisions make some larger.
 */
import { Prng } from "../base/prng.js";
import { rebase } from "./heat.js";

const ROWS = 4;
const NARROWEST = 1024;
const WIDEST = 1 << 22; // 64 MiB

/** Counters of a row: a power of two, which one key in ROWS has to itself. */
function widthFor(keys: number): number {
  const wanted = Math.ceil(Math.log2(Math.max(1, keys / ROWS)));
  return Math.min(WIDEST, Math.max(NARROWEST, 2 ** wanted));
}

export class FrequencySketch {
  private counters: Float32Array;
  private readonly seeds = new Uint32Array(ROWS);
  private width: number;
  private readonly at = new Uint32Array(ROWS);

  /**
   * @param expectedKeys how many keys there may be; about 4 bytes each, from 16 KiB to 64 MiB in all
   * @param seed picks the hash functions
   */
  constructor(expectedKeys: number, seed: number) {
    this.width = widthFor(expectedKeys);
    this.counters = new Float32Array(ROWS * this.width);
    const random = new Prng(seed);
    for (let row = 0; row < ROWS; row++) this.seeds[row] = random.uint32();
  }

  get bytes(): number {
    return this.counters.byteLength;
  }

  /** Adds `amount` > 0 for a key, a u32; returns its estimate then. */
  add(key: number, amount: number): number {
    const sum = this.estimate(key) + amount;
    for (const i of this.at) if (this.counters[i]! < sum) this.counters[i] = sum;
    return sum;
  }

  /** At least what was added for the key. */
  estimate(key: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let row = 0; row < ROWS; row++) {
      let x = Math.imul(key ^ this.seeds[row]!, 0x9e3779b1); // the finalizer of murmur3 after a multiplication
      x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
      x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
      const i = row * this.width + (((x ^ (x >>> 16)) >>> 0) & (this.width - 1));
      this.at[row] = i;
      if (this.counters[i]! < least) least = this.counters[i]!;
    }
    return least;
  }

  /**
   * Makes room for more keys, where that takes it; never for fewer. A key's counters come from the low bits of its
   * hashes, so each half of a row that doubles starts as what the whole was, and estimates stay what they are.
   */
  expect(keys: number): void {
    const width = widthFor(keys);
    if (width <= this.width) return;
    const counters = new Float32Array(ROWS * width);
    for (let row = 0; row < ROWS; row++) {
      const old = this.counters.subarray(row * this.width, (row + 1) * this.width);
      for (let at = row * width; at < (row + 1) * width; at += this.width) counters.set(old, at);
    }
    this.counters = counters;
    this.width = width;
  }

  /** Moves forward values to a base that is `by` half-lives later. */
  rebase(by: number): void {
    rebase(this.counters, by);
  }

  clear(): void {
    this.counters.fill(0);
  }
}
