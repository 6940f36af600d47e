/** Tier warm: IEEE half precision. What is beyond its range becomes its greatest; the engine scales what is. */
import { viewOf } from "../../base/bytes.js";
import type { Codec } from "./codec.js";

const MOST_HALF = 65_504;
/** What halves below 2^-14 are multiples of. */
const LEAST_HALF = 2 ** -24;

/** The nearest half, the even one of two. */
function toHalf(x: number): number {
  const size = Math.min(Math.abs(x), MOST_HALF);
  let doublings = 0; // of the step between halves
  while (size >= 2048 * LEAST_HALF * 2 ** doublings) doublings++;
  const steps = size / (LEAST_HALF * 2 ** doublings);
  const below = Math.floor(steps);
  const up = steps - below > 0.5 || (steps - below === 0.5 && below % 2 === 1);
  return (x < 0 || Object.is(x, -0) ? 0x8000 : 0) + 1024 * doublings + below + (up ? 1 : 0);
}

/** Infinite or NaN where the exponent is the greatest. */
function fromHalf(bits: number): number {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? mantissa * LEAST_HALF : (1024 + mantissa) * 2 ** (exponent - 25);
  return (bits & 0x8000 ? -1 : 1) * (exponent === 31 ? Number.POSITIVE_INFINITY : size);
}

export class HalfCodec implements Codec {
  readonly kind = "half";

  encode(x: Float32Array): Uint8Array {
    const record = new DataView(new ArrayBuffer(2 * x.length));
    for (const [i, value] of x.entries()) record.setUint16(2 * i, toHalf(value), true);
    return new Uint8Array(record.buffer);
  }

  decode(record: Uint8Array): Float32Array | undefined {
    const view = viewOf(record);
    const x = Float32Array.from({ length: record.length / 2 }, (_, i) => fromHalf(view.getUint16(2 * i, true)));
    return x.every(Number.isFinite) ? x : undefined;
  }
}
