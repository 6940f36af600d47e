/**
 * Entropy-coded scalar quantization: rotated values by equal steps. The index of a step is cut into an upper part,
 * which is entropy coded, and lower bits, which are worth a bit each and are kept as they are.
 */
import { EntropyTable } from "../entropy.js";
import { f32, floatsAt } from "./f32.js";
import { Ladder, ROUGH } from "./ladder.js";
import type { Direction } from "./residual.js";

export class Ecsq implements Direction {
  readonly kind = "ecsq";
  readonly rotated = true;
  private readonly ladder: Ladder;
  private readonly table: EntropyTable;
  /** Of the indices, which stands for 0; between two of them. */
  private readonly middle: number;
  private readonly lowerBytes: number;
  private readonly upperBytes: number;

  /**
   * @param bits the lower ones: 0, 1, 2 or 4
   * @param codeBytes that a record has for all of it
   * @param body the usual step (f32), the entropy coder's table
   */
  constructor(
    private readonly d: number,
    private readonly bits: number,
    codeBytes: number,
    body: Uint8Array,
  ) {
    this.ladder = new Ladder(floatsAt(body, 0, 1)[0]);
    this.table = EntropyTable.read(body.subarray(4))!;
    this.middle = (this.table.alphabet * 2 ** bits - 1) / 2;
    this.lowerBytes = Math.ceil((d * bits) / 8);
    this.upperBytes = codeBytes - 1 - this.lowerBytes;
  }

  encode(z: Float32Array): Uint8Array {
    const code = new Uint8Array(1 + this.lowerBytes + this.upperBytes);
    const finest = this.ladder.finest((step) => {
      const indices = this.indices(z, step);
      const upper = indices && this.encodeUpper(indices);
      return upper && { indices, upper };
    });
    code[0] = finest?.number ?? ROUGH;
    if (!finest) return code;
    const { indices, upper } = finest.found;
    for (const [i, index] of indices.entries()) {
      const { at, shift } = this.lowerPlace(i);
      if (this.bits > 0) code[1 + at] |= (index % 2 ** this.bits) << shift;
    }
    code.set(upper, 1 + this.lowerBytes);
    return code;
  }

  /** Undefined where a value is cut. */
  private indices(z: Float32Array, step: number): Uint32Array | undefined {
    const { middle } = this;
    if (z.some((value) => Math.abs(value) > f32((middle + 0.5) * step))) return undefined;
    const inverse = f32(1 / step);
    return Uint32Array.from(z, (value) => {
      const steps = f32(f32(value * inverse) + (middle + 0.5));
      return Math.floor(Math.min(2 * middle, Math.max(0, steps)));
    });
  }

  /** Undefined where they do not fit, by the coder's estimate and a byte to spare, or in fact. */
  private encodeUpper(indices: Uint32Array): Uint8Array | undefined {
    const symbols = Uint8Array.from(indices, (index) => index >> this.bits);
    if (this.table.bits(symbols) + 8 > 8 * this.upperBytes) return undefined;
    const bytes = this.table.encode(symbols);
    return bytes.length <= this.upperBytes ? bytes : undefined;
  }

  /** Byte i has those of values i, i + lowerBytes, i + 2 lowerBytes and so on, the first in its lowest bits. */
  private lowerPlace(i: number): { at: number; shift: number } {
    return { at: i % this.lowerBytes, shift: this.bits * Math.floor(i / this.lowerBytes) };
  }

  expand(code: Uint8Array): Float32Array | undefined {
    const l = new Float32Array(this.d);
    if (code[0] === ROUGH) return l;
    const from = 1 + this.lowerBytes;
    const upper = this.table.decode(code.subarray(from, from + this.upperBytes), this.d);
    if (upper === undefined) return undefined;
    const step = this.ladder.step(code[0]);
    for (let i = 0; i < this.d; i++) {
      const { at, shift } = this.lowerPlace(i);
      const lower = this.bits > 0 ? (code[1 + at] >> shift) % 2 ** this.bits : 0;
      l[i] = f32((lower - this.middle) * step) + f32(upper[i] * f32(step * 2 ** this.bits));
    }
    return l;
  }
}
