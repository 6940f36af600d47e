/**
 * Each rotated value the nearest of up to 16 levels that all share; and where there is room, values far out kept aside,
 * as place and size.
 */
import { f32, floatsAt } from "./f32.js";
import { Magnitude } from "./magnitude.js";
import { packed, unpacked } from "./nibbles.js";
import type { Direction } from "./residual.js";

const LEVELS = 16;
const MOST_OUTLIERS = 256;

export class Levels implements Direction {
  readonly kind = "levels";
  readonly rotated = true;
  private readonly levels: Float32Array;
  private readonly threshold: number;
  private readonly sizes: Magnitude;
  private readonly slots: number;
  /** Of an outlier's bits, those of its size: the low ones. Its place is above them. */
  private readonly sizeBits: 6 | 8;
  private readonly slotBytes: 2 | 3;

  /**
   * @param count of levels, 2-16
   * @param codeBytes that a record has for all of it: outliers get what the levels leave
   * @param body 16 ascending levels (f32), the threshold (f32), base and step (u32) of the outliers' sizes
   */
  constructor(
    private readonly d: number,
    private readonly count: number,
    codeBytes: number,
    body: Uint8Array,
  ) {
    this.slotBytes = d <= 1024 ? 2 : 3;
    this.sizeBits = d <= 1024 ? 6 : 8;
    this.slots = Math.min(MOST_OUTLIERS, Math.floor((codeBytes - Math.ceil(d / 2)) / this.slotBytes));
    this.levels = floatsAt(body, 0, count);
    this.threshold = floatsAt(body, 4 * LEVELS, 1)[0];
    const [base, step] = [0, 4].map((at) => new DataView(body.buffer, body.byteOffset).getUint32(68 + at, true));
    this.sizes = new Magnitude(base, step, this.sizeBits);
  }

  encode(z: Float32Array): Uint8Array {
    const numbers = Uint8Array.from(z, (value) => {
      let level = 0; // as many as there are middles below
      while (level + 1 < this.count && value > f32(0.5 * f32(this.levels[level] + this.levels[level + 1]))) level++;
      return level;
    });
    const outliers = this.outliers(z);
    for (const place of outliers) numbers[place] = z[place] < 0 ? 0 : this.count - 1; // its sign
    const half = Math.ceil(this.d / 2);
    const code = new Uint8Array(half + outliers.length * this.slotBytes);
    code.set(packed(numbers));
    for (const [slot, place] of outliers.entries()) {
      const word = (place << this.sizeBits) | this.sizes.code(Math.abs(z[place]));
      for (let i = 0; i < this.slotBytes; i++) code[half + slot * this.slotBytes + i] = word >> (8 * i);
    }
    return code;
  }

  expand(code: Uint8Array): Float32Array | undefined {
    const numbers = unpacked(code, this.d);
    const l = Float32Array.from(numbers, (level) => this.levels[Math.min(level, this.count - 1)]);
    for (let slot = 0; slot < this.slots; slot++) {
      let word = 0;
      for (let i = 0; i < this.slotBytes; i++) {
        word |= code[Math.ceil(this.d / 2) + slot * this.slotBytes + i] << (8 * i);
      }
      const [place, size] = [word >> this.sizeBits, word % 2 ** this.sizeBits];
      if (size === 0) continue;
      if (place >= this.d) return undefined;
      l[place] = (2 * numbers[place] < this.count ? -1 : 1) * this.sizes.value(size);
    }
    return l;
  }

  /** Places of values beyond the threshold, farthest first, as many as there are slots. */
  private outliers(z: Float32Array): number[] {
    const places = [...z.keys()].filter((i) => Math.abs(z[i]) > this.threshold);
    return places.sort((a, b) => Math.abs(z[b]) - Math.abs(z[a])).slice(0, this.slots); // stable: the first of equals
  }
}
