/**
 * Filters as node bitmaps, cached and kept up to date: node n matches where bit n is set.
 * Bounded in number and bytes, the least recently used out first.
 */
import type { Payload } from "../../base/types.js";
import type { Matcher } from "./filter.js";

const MOST_BITMAPS = 64;
const MOST_BYTES = 64 << 20;

/** Bit `node & 31` of word `node >>> 5`; a node past the end does not match. */
export interface Bitmap {
  /** Changes with the catalog; replaced when it grows. Ask again after every change. */
  bits: Uint32Array;
  /** How many bits are set. */
  count: number;
}

interface CachedBitmap extends Bitmap {
  matches: Matcher;
}

export class Bitmaps {
  /** In the order of use: the first is the next to go. */
  readonly #cached = new Map<string, CachedBitmap>();

  get size(): number {
    return this.#cached.size;
  }

  /** The cached bitmap, covering at least `nodes` nodes. */
  get(key: string, nodes: number): Bitmap | undefined {
    const bitmap = this.#cached.get(key);
    if (bitmap === undefined) return undefined;
    this.#cached.delete(key);
    this.#cached.set(key, bitmap);
    if (bitmap.bits.length * 32 < nodes) grow(bitmap, nodes);
    return { bits: bitmap.bits, count: bitmap.count };
  }

  put(key: string, matches: Matcher, bitmap: Bitmap): void {
    this.#cached.set(key, { ...bitmap, matches });
    let bytes = 0;
    for (const { bits } of this.#cached.values()) bytes += bits.byteLength;
    for (const [oldest, { bits }] of this.#cached) {
      if (this.#cached.size <= MOST_BITMAPS && (bytes <= MOST_BYTES || oldest === key)) break;
      this.#cached.delete(oldest);
      bytes -= bits.byteLength;
    }
  }

  /** A row was inserted or has another payload. */
  set(node: number, payload: Payload | undefined): void {
    for (const bitmap of this.#cached.values()) mark(bitmap, node, bitmap.matches(payload));
  }

  /** A row is gone. */
  remove(node: number): void {
    for (const bitmap of this.#cached.values()) mark(bitmap, node, false);
  }

  clear(): void {
    this.#cached.clear();
  }
}

/** Whether a node's bit is set. */
export const hasBit = (bits: Uint32Array, node: number): boolean => ((bits[node >>> 5] >>> (node & 31)) & 1) === 1;

/** Sets or clears one bit. */
export function mark(bitmap: Bitmap, node: number, value: boolean): void {
  const word = node >>> 5;
  const bit = 1 << (node & 31);
  if (word >= bitmap.bits.length) {
    if (!value) return;
    grow(bitmap, node + 1);
  }
  const old = bitmap.bits[word];
  const isSet = (old & bit) !== 0;
  if (isSet === value) return;
  bitmap.bits[word] = old ^ bit;
  bitmap.count += value ? 1 : -1;
}

function grow(bitmap: Bitmap, nodes: number): void {
  const bits = new Uint32Array(Math.max(Math.ceil(nodes / 32), bitmap.bits.length * 2));
  bits.set(bitmap.bits);
  bitmap.bits = bits;
}
