/**
 * Codecs of the tiers, the reference for native/quantize/: what a record is, byte by byte, one value at a time.
 * docs/format.md has the same in words.
 *
 * Bytes of a codebook are taken at their word: refusing damaged ones is the kernel's.
 */
import type { Tier } from "../../base/types.js";

export interface Codec {
  readonly kind: "half" | "scalar" | "levels" | "signs" | "product" | "pairs" | "ecsq";
  /** The record of d finite values, as the metric compares them (unit length under cosine). */
  encode(x: Float32Array): Uint8Array;
  /** d finite values; undefined where the bytes are no record of this codec. */
  decode(record: Uint8Array): Float32Array | undefined;
}

/**
 * Bytes of a record of d values. What factors take leaves a colder tier of few dimensions no smaller than a warmer one.
 */
export function recordBytes(tier: Tier, d: number): number {
  const cool = d;
  const cold = Math.min(cool, Math.max(Math.floor((40 * d) / 76), Math.ceil(d / 2) + 2));
  const archive = Math.min(cold, Math.max(Math.floor((4 * d) / 26), Math.ceil(d / 8) + 4));
  return { hot: 4 * d, warm: 2 * d, cool, cold, archive }[tier];
}
