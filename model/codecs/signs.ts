/** The signs of the rotated values (RaBitQ): a bit each, 1 for what is above 0. */
import type { Direction } from "./residual.js";

export class Signs implements Direction {
  readonly kind = "signs";
  readonly rotated = true;

  constructor(private readonly d: number) {}

  encode(z: Float32Array): Uint8Array {
    const bytes = new Uint8Array(Math.ceil(this.d / 8));
    for (const [i, value] of z.entries()) if (value > 0) bytes[i >> 3] |= 1 << (i % 8);
    return bytes;
  }

  expand(code: Uint8Array): Float32Array {
    return Float32Array.from({ length: this.d }, (_, i) => ((code[i >> 3] >> (i % 8)) & 1 ? 1 : -1));
  }
}
