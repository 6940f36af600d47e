/**
 * Where a section's bytes lie in index.hebb. A section is one array to its owner; in the file it is
 * a list of extents, one after the other. New extents are a quarter of the section, so that a section
 * of any size has few: 65 for 200 GiB.
 */
import { assert } from "../base/assert.js";
import { BLOCK_BYTES, PAGE_BYTES, type Region } from "../native/index.js";
import { capacityBlocks, type Extent } from "./format.js";

export const PAGES_PER_BLOCK = BLOCK_BYTES / PAGE_BYTES;

/**
 * The extents of a section that must hold at least `blocks`, when the file now ends at block `end`.
 * @param most blocks that the section may have at all
 * @returns the same list where nothing is needed, and the file's new end
 */
export function grown(
  extents: Extent[],
  blocks: number,
  most: number,
  end: number,
): { extents: Extent[]; end: number } {
  const capacity = capacityBlocks(extents);
  if (blocks <= capacity) return { extents, end };
  const quarter = Math.min(Math.ceil(capacity / 4), most - capacity);
  const added = Math.max(blocks - capacity, quarter);
  const last = extents.at(-1);
  if (last !== undefined && last.fileBlock + last.blocks === end) {
    const longer = { fileBlock: last.fileBlock, blocks: last.blocks + added };
    return { extents: [...extents.slice(0, -1), longer], end: end + added };
  }
  return { extents: [...extents, { fileBlock: end, blocks: added }], end: end + added };
}

/** A run of blocks that follow each other in the section and in the file. */
export interface Run {
  sectionBlock: number;
  fileBlock: number;
  blocks: number;
}

/** The section's blocks from `fromBlock` on, as runs. */
export function runsFrom(extents: readonly Extent[], fromBlock: number): Run[] {
  const runs: Run[] = [];
  let sectionBlock = 0;
  for (const { fileBlock, blocks } of extents) {
    const skip = Math.max(0, fromBlock - sectionBlock);
    if (skip < blocks) {
      runs.push({ sectionBlock: sectionBlock + skip, fileBlock: fileBlock + skip, blocks: blocks - skip });
    }
    sectionBlock += blocks;
  }
  return runs;
}

/** The block of the file that holds a section's block. */
export function fileBlockOf(extents: readonly Extent[], block: number): number {
  let sectionBlock = 0;
  for (const { fileBlock, blocks } of extents) {
    if (block < sectionBlock + blocks) return fileBlock + block - sectionBlock;
    sectionBlock += blocks;
  }
  throw new RangeError(`block ${block} is behind the section's ${sectionBlock} blocks`);
}

/** The file offset of a section's page. */
export function pageOffset(extents: readonly Extent[], page: number): number {
  const block = fileBlockOf(extents, Math.floor(page / PAGES_PER_BLOCK));
  return block * BLOCK_BYTES + (page % PAGES_PER_BLOCK) * PAGE_BYTES;
}

/** Pages copied, written and checked in one go; the event loop runs in between. */
const SLICE_PAGES = 1024;

/**
 * Hands over the contents of pages (ascending) with their file offsets, in runs of at most 4 MiB that
 * lie together in the file. `bytes` is valid until `write` resolves.
 */
export async function eachRun(
  region: Region,
  section: number,
  extents: readonly Extent[],
  pages: Uint32Array,
  write: (offset: number, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < pages.length; from += SLICE_PAGES) {
    const slice = pages.subarray(from, from + SLICE_PAGES);
    const bytes = region.copyPages(section, slice);
    assert(bytes.length === slice.length * PAGE_BYTES, "copyPages returns whole pages");
    const offsets = Array.from(slice, (page) => pageOffset(extents, page));
    for (let i = 0; i < slice.length; ) {
      let end = i + 1;
      while (end < slice.length && offsets[end] === offsets[end - 1] + PAGE_BYTES) end++;
      await write(offsets[i], bytes.subarray(i * PAGE_BYTES, end * PAGE_BYTES));
      i = end;
    }
  }
}

/** Lets the event loop run. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
