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

export class FrequencySketch {
  private readonly counters: Float32Array;
  private readonly seeds = new Uint32Array(ROWS);
  private readonly width: number;
  private readonly at = new Uint32Array(ROWS);

  /**
   * @param expectedKeys how many keys there may be; about 4 bytes each, from 16 KiB to 64 MiB in all
   * @param seed picks the hash functions
   */
  constructor(expectedKeys: number, seed: number) {
    const wanted = Math.ceil(Math.log2(Math.max(1, expectedKeys / ROWS)));
    this.width = Math.min(WIDEST, Math.max(NARROWEST, 2 ** wanted));
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

  /** Moves forward values to a base that is `by` half-lives later. */
  rebase(by: number): void {
    rebase(this.counters, by);
  }

  clear(): void {
    this.counters.fill(0);
  }
}
