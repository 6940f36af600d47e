/**
 * Positive numbers in a few bits, by nearly equal ratios: the bits of an f32 grow with its logarithm, nearly, and are
 * counted from `base` in steps. Code 0 is zero.
 */
import { bitsOf, ofBits } from "./f32.js";

export class Magnitude {
  private readonly most: number;

  /** @param bits of a code */
  constructor(
    private readonly base: number,
    private readonly step: number,
    bits: number,
  ) {
    this.most = 2 ** bits - 1;
  }

  /** What is out of range gets the nearest code that is in it; 0 and below 0. */
  code(x: number): number {
    if (!(x > 0)) return 0;
    return Math.min(this.most, 1 + Math.floor(Math.max(0, bitsOf(x) - this.base) / this.step));
  }

  /** The middle of what gets that code. */
  value(code: number): number {
    return code === 0 ? 0 : ofBits(this.base + (code - 1) * this.step + Math.floor(this.step / 2));
  }
}
