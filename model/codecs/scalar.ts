/** Plain numbers: each dimension by equal steps from a lowest value of its own, in 8 or 4 bits. */
import { f32, floatsAt } from "./f32.js";
import { packed, unpacked } from "./nibbles.js";
import type { Direction } from "./residual.js";

export class Scalar implements Direction {
  readonly kind = "scalar";
  readonly rotated = false;
  private readonly lowest: Float32Array;
  private readonly steps: Float32Array;

  /** @param body the lowest values of all dimensions, then their steps */
  constructor(
    private readonly d: number,
    private readonly bits: 4 | 8,
    body: Uint8Array,
  ) {
    this.lowest = floatsAt(body, 0, d);
    this.steps = floatsAt(body, 4 * d, d);
  }

  encode(z: Float32Array): Uint8Array {
    const numbers = Uint8Array.from(z, (value, i) => {
      const inverse = this.steps[i] > f32(1e-30) ? f32(1 / this.steps[i]) : 0;
      const steps = f32(f32(f32(value - this.lowest[i]) * inverse) + 0.5);
      return Math.floor(Math.min(2 ** this.bits - 1, Math.max(0, steps)));
    });
    return this.bits === 8 ? numbers : packed(numbers);
  }

  expand(code: Uint8Array): Float32Array {
    const numbers = this.bits === 8 ? code : unpacked(code, this.d);
    return this.lowest.map((lowest, i) => lowest + f32(this.steps[i] * numbers[i]));
  }
}
