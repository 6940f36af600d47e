/**
 * What the codecs below warm share: all but how a direction is kept.
 *
 * A record is of the residual r of a vector from the codebook's mean, in units of 1 / scale, plain or rotated. It keeps
 * u, which is |r| / sqrt(d) in the rotated frame and 1 in the plain one; the direction z = r / u as some L near it; and
 * where much is lost, the ratio p = |z|^2 / <z, L> (RaBitQ, arXiv 2405.12497).
 */
import { viewOf } from "../../base/bytes.js";
import type { Codec } from "./codec.js";
import { dot, f32, MOST } from "./f32.js";
import type { Frame } from "./frame.js";
import type { Magnitude } from "./magnitude.js";

/** Residuals are cut to this size, so that squares stay finite. */
const FARTHEST = f32(1e15);
/** A length up to it counts as 0. */
const LEAST = f32(1e-15);

/** Where residuals are from. */
export interface Origin {
  dimensions: number;
  /** A power of two. */
  scale: number;
  /** Of the sample, scaled. */
  mean: Float32Array;
  frame: Frame;
}

/** How a direction becomes bytes, and these a vector near it, both of d values. */
export interface Direction {
  readonly kind: Codec["kind"];
  readonly rotated: boolean;
  /** What is left of the record behind it is zeros. */
  encode(z: Float32Array): Uint8Array;
  /** Undefined where the bytes are no code. */
  expand(code: Uint8Array): Float32Array | undefined;
}

/** The factors in front of a code, and how many bits each has. */
export const FACTORED = {
  /** L is r. */
  none: { bytes: 0, lengthBits: 16, ratioBits: 16 },
  /** |r|; L is z. */
  length: { bytes: 2, lengthBits: 16, ratioBits: 16 },
  /** |r| and p in one word, |r| in its upper bits. */
  short: { bytes: 2, lengthBits: 10, ratioBits: 6 },
  /** |r|, then p. */
  long: { bytes: 4, lengthBits: 16, ratioBits: 16 },
} as const;
export type Factored = keyof typeof FACTORED;

export interface Factoring {
  factored: Factored;
  length: Magnitude;
  ratio: Magnitude;
}

export class ResidualCodec implements Codec {
  readonly kind: Codec["kind"];
  private readonly corrected: boolean;

  constructor(
    private readonly origin: Origin,
    private readonly direction: Direction,
    readonly factoring: Factoring,
    private readonly bytes: number,
  ) {
    this.kind = direction.kind;
    this.corrected = factoring.factored === "short" || factoring.factored === "long";
  }

  encode(x: Float32Array): Uint8Array {
    const { origin, direction } = this;
    const { factored, length: lengths, ratio: ratios } = this.factoring;
    const record = new Uint8Array(this.bytes);
    const view = new DataView(record.buffer);
    const z = x.map((value, i) => {
      const r = f32(f32(value * origin.scale) - origin.mean[i]);
      return Math.min(FARTHEST, Math.max(-FARTHEST, r));
    });
    if (factored === "none") {
      record.set(direction.encode(z));
      return record;
    }
    const length = f32(Math.sqrt(dot(z, z)));
    const lengthCode = length > LEAST ? lengths.code(length) : 0;
    if (lengthCode === 0) return record;
    if (direction.rotated) {
      origin.frame.apply(z);
      const inverse = f32(1 / this.unitOf(lengths.value(lengthCode)));
      for (let i = 0; i < z.length; i++) z[i] *= inverse;
    }
    const code = record.subarray(FACTORED[factored].bytes);
    code.set(direction.encode(z));
    const ratioCode = this.corrected ? ratios.code(this.ratioOf(z, code)) : 0;
    if (factored === "short") view.setUint16(0, (lengthCode << FACTORED.short.ratioBits) | ratioCode, true);
    else view.setUint16(0, lengthCode, true);
    if (factored === "long") view.setUint16(2, ratioCode, true);
    return record;
  }

  /** The mean and (|r|^2 / (u p |L|^2)) L, which comes nearest to r; without a ratio, u L. */
  decode(record: Uint8Array): Float32Array | undefined {
    const { dimensions, frame } = this.origin;
    const { length, ratio } = this.factors(record);
    if (length === 0) return this.restored(new Float32Array(dimensions), 0);
    const l = this.direction.expand(record.subarray(FACTORED[this.factoring.factored].bytes));
    if (l === undefined) return undefined;
    const unit = this.unitOf(length);
    let times = 1;
    if (this.corrected) {
      const along = f32(f32(unit * ratio) * dot(l, l));
      times = along > 0 ? f32(f32(length * length) / along) : 0;
      if (times >= FARTHEST) times = 0;
    } else {
      for (let i = 0; i < l.length; i++) l[i] *= unit;
    }
    if (this.direction.rotated) frame.invert(l);
    return this.restored(l, times);
  }

  private factors(record: Uint8Array): { length: number; ratio: number } {
    const { factored, length: lengths, ratio: ratios } = this.factoring;
    if (factored === "none") return { length: 1, ratio: 0 };
    const view = viewOf(record);
    let lengthCode = view.getUint16(0, true);
    let ratioCode = 0;
    if (factored === "long") ratioCode = view.getUint16(2, true);
    if (factored === "short") {
      ratioCode = lengthCode % 2 ** FACTORED.short.ratioBits;
      lengthCode >>= FACTORED.short.ratioBits;
    }
    return { length: lengths.value(lengthCode), ratio: ratios.value(ratioCode) };
  }

  private unitOf(length: number): number {
    return this.direction.rotated ? f32(length * f32(1 / f32(Math.sqrt(this.origin.dimensions)))) : 1;
  }

  private ratioOf(z: Float32Array, code: Uint8Array): number {
    const l = this.direction.expand(code)!; // what was just encoded
    const along = dot(z, l);
    return along > 0 ? f32(dot(z, z) / along) : MOST;
  }

  /** `times` r and the mean, in the vector's units, cut to what is finite. */
  private restored(r: Float32Array, times: number): Float32Array {
    const { mean, scale } = this.origin;
    return r.map((value, i) => {
      const x = f32(f32(f32(value * times) + mean[i]) * f32(1 / scale));
      return Number.isNaN(x) ? -MOST : Math.min(MOST, Math.max(-MOST, x));
    });
  }
}
