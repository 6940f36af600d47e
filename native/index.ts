/**
 * The kernel's typed face. C++ owns mapped memory, distances and the graph; everything that is
 * not an inner loop is TypeScript. Nothing here does file I/O: callers hand in descriptors.
 */
import { HebbError, reasonOf } from "../base/errors.js";
import { addonAs } from "./loader.js";

const addon = addonAs<{
  kernelName: string;
  kernelDeterministic: boolean;
  kernelMaxDimension: number;
  crc32c: typeof crc32c;
  firstNonFinite: typeof firstNonFinite;
  l2: typeof l2;
  dot: typeof dot;
  scoreRows: typeof scoreRows;
  tryLock: typeof tryLock;
  allocate: typeof allocate;
  Region: new (reserveBytes: number[]) => Region;
}>();

/** Which compiled kernel runs: the best this processor has, or the one `HEBB_KERNEL` forces. */
export const kernelName: string = addon.kernelName;

/** What a kernel says of itself. */
export interface KernelTraits {
  id: string;
  /** Whether it gives, bit for bit, what all others give that say so. */
  deterministic: boolean;
  /** Values of a vector, at most, for which its integer sums are exact. */
  maxDimension: number;
}

/** Of the kernel that runs. */
export const kernelTraits: KernelTraits = {
  id: kernelName,
  deterministic: addon.kernelDeterministic,
  maxDimension: addon.kernelMaxDimension,
};

/** CRC-32C (Castagnoli, iSCSI polynomial) of `bytes`, continuing from `seed` (default 0). */
export const crc32c: (bytes: Uint8Array, seed?: number) => number = addon.crc32c;

/**
 * Takes a lock on an open descriptor (flock, held by the open file and so dying with the process).
 * Two descriptors of one process exclude each other too. Never waits.
 * @returns false where someone else holds it
 */
export const tryLock: (fd: number, mode: "exclusive" | "shared") => boolean = addon.tryLock;

/** Reserves disk for [offset, offset + length) of a file, so that no later write there can find the disk full. Returns 0 or the errno. */
export const allocate: (fd: number, offset: number, length: number) => number = addon.allocate;

export { BLOCK_BYTES, PAGE_BYTES } from "./layout.js";

/**
 * Sections of memory, each one contiguous range of addresses that never moves. A range is backed
 * by a file (private and copy-on-write: changes never reach the file by themselves) or by nothing
 * (zeros until written). Changed pages are remembered until cleaned.
 */
export interface Region {
  /**
   * Backs [at, at + length) of a section with a file, from `fileOffset`. Multiples of PAGE_BYTES. Whatever was there is
   * replaced, but for pages that were changed since the last snapshot, which keep their bytes.
   */
  map(section: number, at: number, length: number, fd: number, fileOffset: number): void;
  /** Copies bytes in without marking them as changed: for files that cannot be mapped, and for recovery. */
  load(section: number, at: number, bytes: Uint8Array): void;
  /** States the checksums (CRC-32C) of blocks from `firstBlock` on; each is verified when first touched. */
  expectChecksums(section: number, firstBlock: number, checksums: Uint32Array): void;
  /** A copy of bytes, verified. */
  read(section: number, at: number, length: number): Uint8Array;
  /** Changes bytes (verified first) and marks their pages. */
  write(section: number, at: number, bytes: Uint8Array): void;
  /** Numbers of the section's changed pages, ascending. */
  dirtyPages(section: number): Uint32Array;
  /** Changed pages of all sections. */
  dirtyCount(): number;
  /**
   * Gives up a section's bytes from `from` (a multiple of BLOCK_BYTES) to its end: they are zeros from
   * now on, neither changed nor backed by a file, and their memory is given back. Reading them
   * meanwhile is harmless; nothing may write there. The next checkpoint shortens the section in the file.
   */
  discard(section: number, from: number): void;
  /** Bytes from a section's start that no discard reached since its last snapshot; all that is reserved where there was none. */
  kept(section: number): number;
  /**
   * The section's changed pages, ascending, which count as unchanged from now on, as do discards. Their blocks can be
   * taken as they are at this moment, whatever is written meanwhile. Nothing may be writing during the call.
   */
  snapshot(section: number): Uint32Array;
  /** More blocks of that moment, right after `snapshot`. */
  include(section: number, firstBlock: number, blocks: number): void;
  /** Whole blocks of the snapshot, one after the other in the given order. Each can be taken once. */
  takeBlocks(section: number, blocks: Uint32Array): Uint8Array;
  /** Where what was taken came to nothing: the pages count as changed again, and `kept` (as before the snapshot) as cut. */
  restore(section: number, pages: Uint32Array, kept: number): void;
  /** Lets go of what the snapshots of all sections still hold. */
  forgetSnapshot(): void;
  /**
   * Gives the private copies of pages back that were not changed since the snapshot. Their content must be in the file by
   * now, and the file mapped. Nothing may be writing during the call.
   */
  dropPages(section: number, pages: Uint32Array): void;
  /** Bytes of a section that are in memory now; without one, of all of them. */
  residentBytes(section?: number): number;
  /** Blocks with a checksum of theirs, and those of them that were touched, and so verified, since they were stated. */
  blocks(): { all: number; touched: number };
  /**
   * The error (IO_ERROR) for the first page of the mapped files that could not be read any more, because a file ends
   * before it or the disk failed; undefined where there is none. From then on everything that reads the region throws it.
   */
  loss(): HebbError | undefined;
  /** Unmaps everything; any later use throws. */
  close(): void;
}

/**
 * Reserves address space (not memory) for sections of at most `reserveBytes[i]` bytes.
 * @throws {HebbError} IO_ERROR where the system refuses it
 */
export function createRegion(reserveBytes: number[]): Region {
  try {
    return new addon.Region(reserveBytes);
  } catch (cause) {
    throw new HebbError("IO_ERROR", reasonOf(cause), { reserveBytes }, cause);
  }
}

/** Index of the first value that is NaN or infinite, or -1. */
export const firstNonFinite: (values: Float32Array) => number = addon.firstNonFinite;

/** Squared L2 distance of two vectors of one length. */
export const l2: (a: Float32Array, b: Float32Array) => number = addon.l2;

/** Dot product of two vectors of one length. */
export const dot: (a: Float32Array, b: Float32Array) => number = addon.dot;

/**
 * Scores of many rows for a query in one call: that of the row at `slots[i]` of `rows`, each of query.length values, goes
 * to `out[places[i]]`. Dot products, or minus squared L2 distances; the same bits whatever kernel runs.
 */
export const scoreRows: (
  isL2: boolean,
  query: Float32Array,
  rows: Float32Array,
  slots: Uint32Array,
  out: Float64Array,
  places: Uint32Array,
) => void = addon.scoreRows;
