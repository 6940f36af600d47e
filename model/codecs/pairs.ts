/**
 * Rotated values in pairs, each the nearest of up to 256 centroids that all pairs share; and what that leaves by equal
 * steps, entropy coded.
 */
import { EntropyTable } from "../entropy.js";
import { f32, floatsAt } from "./f32.js";
import { Ladder, ROUGH } from "./ladder.js";
import { nearest } from "./nearest.js";
import type { Direction } from "./residual.js";

const CENTROIDS = 256;

export class Pairs implements Direction {
  readonly kind = "pairs";
  readonly rotated = true;
  private readonly centroids: Float32Array;
  private readonly ladder: Ladder;
  private readonly residualBytes: number;
  private readonly table: EntropyTable;
  /** Residuals are -half to half steps. */
  private readonly half: number;
  private readonly pairs: number;

  /**
   * @param body 256 x 2 centroids (f32) of which `count` are used, the usual step (f32), the bytes of a record's
   *   residuals (u32), the entropy coder's table
   */
  constructor(
    private readonly d: number,
    private readonly count: number,
    body: Uint8Array,
  ) {
    const at = 8 * CENTROIDS;
    this.pairs = Math.ceil(d / 2);
    this.centroids = floatsAt(body, 0, 2 * count);
    this.ladder = new Ladder(floatsAt(body, at, 1)[0]);
    this.residualBytes = new DataView(body.buffer, body.byteOffset).getUint32(at + 4, true);
    this.table = EntropyTable.read(body.subarray(at + 8))!;
    this.half = (this.table.alphabet - 1) / 2;
  }

  encode(z: Float32Array): Uint8Array {
    const code = new Uint8Array(1 + this.pairs + this.residualBytes);
    const left = new Float32Array(2 * this.pairs);
    left.set(z);
    for (let pair = 0; pair < this.pairs; pair++) {
      const values = left.subarray(2 * pair, 2 * pair + 2);
      const c = nearest(values, this.centroids);
      code[1 + pair] = c;
      for (const i of [0, 1]) values[i] -= this.centroids[2 * c + i];
    }
    const residuals = left.subarray(0, this.d);
    const finest = this.ladder.finest((step) => this.encodeResiduals(residuals, step));
    code[0] = finest?.number ?? ROUGH;
    if (finest) code.set(finest.found, 1 + this.pairs);
    return code;
  }

  /** Undefined where one is cut, or where they do not fit, by the coder's estimate and a byte to spare, or in fact. */
  private encodeResiduals(residuals: Float32Array, step: number): Uint8Array | undefined {
    const { half, table, residualBytes } = this;
    const inverse = f32(1 / step);
    if (residuals.some((value) => f32(Math.abs(value) * inverse) > half + 0.5)) return undefined;
    const symbols = Uint8Array.from(residuals, (value) => {
      const steps = f32(f32(value * inverse) + (half + 0.5));
      return Math.floor(Math.min(2 * half, Math.max(0, steps)));
    });
    if (table.bits(symbols) + 8 > 8 * residualBytes) return undefined;
    const bytes = table.encode(symbols);
    return bytes.length <= residualBytes ? bytes : undefined;
  }

  expand(code: Uint8Array): Float32Array | undefined {
    const l = new Float32Array(2 * this.pairs);
    for (let pair = 0; pair < this.pairs; pair++) {
      const c = code[1 + pair];
      if (c >= this.count) return undefined;
      l.set(this.centroids.subarray(2 * c, 2 * c + 2), 2 * pair);
    }
    if (code[0] !== ROUGH) {
      const from = 1 + this.pairs;
      const symbols = this.table.decode(code.subarray(from, from + this.residualBytes), this.d);
      if (symbols === undefined) return undefined;
      const step = this.ladder.step(code[0]);
      for (const [i, symbol] of symbols.entries()) l[i] += f32((symbol - this.half) * step);
    }
    return l.subarray(0, this.d);
  }
}
