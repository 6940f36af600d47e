/**
 * A seeded random rotation of d values: two rounds of sign flips, a Walsh-Hadamard transform of the first power of two
 * of them, in the second round the last one, and, where d is no power of two, Givens rotations by 45 degrees between
 * two halves of the first 32 floor(d / 32). Below 16 values it leaves all as it is.
 */
import { f32 } from "./f32.js";

const ROUNDS = 2;

/** splitmix64 (Steele, Lea & Flood 2014). */
function mix(x: bigint): bigint {
  const low = (value: bigint) => BigInt.asUintN(64, value);
  let y = low(x + 0x9e3779b97f4a7c15n);
  y = low((y ^ (y >> 30n)) * 0xbf58476d1ce4e5b9n);
  y = low((y ^ (y >> 27n)) * 0x94d049bb133111ebn);
  return y ^ (y >> 31n);
}

/** In place, of a power of two of values. */
function hadamard(x: Float32Array): void {
  for (let h = 1; h < x.length; h *= 2) {
    for (let i = 0; i < x.length; i++) {
      if (i & h) continue;
      const [a, b] = [x[i], x[i + h]];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  }
  const unit = f32(1 / f32(Math.sqrt(x.length)));
  for (let i = 0; i < x.length; i++) x[i] *= unit;
}

/** In place: the sum and the difference of two halves. */
function halves(x: Float32Array): void {
  const unit = f32(Math.sqrt(0.5));
  const half = x.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b] = [x[i], x[i + half]];
    x[i] = f32(a + b) * unit;
    x[i + half] = f32(a - b) * unit;
  }
}

export class Frame {
  private readonly power: number;
  private readonly halved: number;
  /** By round and value. */
  private readonly flipped: boolean[][];

  constructor(
    private readonly d: number,
    seed: bigint,
  ) {
    this.power = d < 16 ? 0 : 2 ** Math.floor(Math.log2(d));
    this.halved = this.power < d ? 32 * Math.floor(d / 32) : 0;
    const room = 16 * Math.ceil(d / 16); // a round's share of the bits
    const words = Array.from({ length: Math.ceil((ROUNDS * room) / 64) }, (_, i) => mix(seed ^ mix(BigInt(i))));
    this.flipped = Array.from({ length: ROUNDS }, (_, round) =>
      Array.from({ length: d }, (_, i) => {
        const bit = round * room + i;
        return ((words[Math.floor(bit / 64)] >> BigInt(bit % 64)) & 1n) === 1n;
      }),
    );
  }

  /** In place, d values. */
  apply(x: Float32Array): void {
    if (this.power === 0) return;
    for (let round = 0; round < ROUNDS; round++) {
      this.flip(x, round);
      hadamard(this.transformed(x, round));
      halves(x.subarray(0, this.halved));
    }
  }

  invert(x: Float32Array): void {
    if (this.power === 0) return;
    for (let round = ROUNDS - 1; round >= 0; round--) {
      halves(x.subarray(0, this.halved));
      hadamard(this.transformed(x, round));
      this.flip(x, round);
    }
  }

  private transformed(x: Float32Array, round: number): Float32Array {
    const from = round % 2 === 0 ? 0 : this.d - this.power;
    return x.subarray(from, from + this.power);
  }

  private flip(x: Float32Array, round: number): void {
    for (let i = 0; i < this.d; i++) if (this.flipped[round][i]) x[i] = -x[i];
  }
}
