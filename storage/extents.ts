/**
 * Where a section's bytes lie in index.hebb. A section is one array to its owner; in the file it is
 * a list of extents, one after the other. Each is at least a quarter of what comes before it, so that
 * a section of any size has few: 65 for 200 GiB. Blocks in no extent are free.
 */
import { BLOCK_BYTES, PAGE_BYTES } from "../native/index.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  capacityBlocks,
  type Extent,
  endBlock,
  type SectionEntry,
} from "./format.js";

export const PAGES_PER_BLOCK = BLOCK_BYTES / PAGE_BYTES;

/**
 * The blocks that a checkpoint may give to sections: those free in the last one, and those behind the
 * file's end. What this checkpoint itself frees is not among them, for the last one needs it until
 * this one is committed.
 */
export class Space {
  private readonly free: Extent[] = [];
  private end: number;

  /** @param states the section tables that somebody may still read by: what is free is free in all of them */
  constructor(states: readonly (readonly SectionEntry[])[]) {
    const extents = states.flat().flatMap((section) => section.extents);
    let at = 1; // block 0 holds the slots
    for (const { fileBlock, blocks } of extents.sort((a, b) => a.fileBlock - b.fileBlock)) {
      if (fileBlock > at) this.free.push({ fileBlock: at, blocks: fileBlock - at });
      at = Math.max(at, fileBlock + blocks);
    }
    this.end = Math.max(...states.map(endBlock));
  }

  /** The first `blocks` free blocks that lie together. */
  take(blocks: number): Extent {
    const run = this.free.find((one) => one.blocks >= blocks);
    return this.takeFrom(run?.fileBlock ?? this.end, blocks)!;
  }

  /** The `blocks` blocks from `fileBlock` on, where they are free. */
  takeFrom(fileBlock: number, blocks: number): Extent | undefined {
    if (fileBlock === this.end) {
      this.end += blocks;
      return { fileBlock, blocks };
    }
    const run = this.free.find((one) => one.fileBlock === fileBlock && one.blocks >= blocks);
    if (run === undefined) return undefined;
    run.fileBlock += blocks;
    run.blocks -= blocks;
    return { fileBlock, blocks };
  }
}

/**
 * The extents of a section that must hold at least `blocks`. What is added is a quarter of the section
 * or more. An end that a cut left smaller than that, and that cannot grow where it is, moves.
 * @param most blocks that the section may have at all
 * @returns the same list where nothing is needed; and how many blocks stay where they are
 */
export function grown(
  extents: Extent[],
  blocks: number,
  most: number,
  space: Space,
): { extents: Extent[]; stay: number } {
  const capacity = capacityBlocks(extents);
  if (blocks <= capacity) return { extents, stay: capacity };
  const added = Math.max(blocks - capacity, Math.min(quarterOf(capacity), most - capacity));
  const last = extents.at(-1);
  if (last === undefined) return { extents: [space.take(added)], stay: 0 };
  const longer = space.takeFrom(last.fileBlock + last.blocks, added);
  if (longer !== undefined) return { extents: joined(extents, longer), stay: capacity };
  const stay = capacity - last.blocks;
  if (last.blocks >= quarterOf(stay)) return { extents: joined(extents, space.take(added)), stay: capacity };
  return { extents: joined(extents.slice(0, -1), space.take(last.blocks + added)), stay };
}

/** Extents and one more, as one with the last where the two touch. */
function joined(extents: readonly Extent[], next: Extent): Extent[] {
  const last = extents.at(-1);
  if (last === undefined || last.fileBlock + last.blocks !== next.fileBlock) return [...extents, next];
  return [...extents.slice(0, -1), { fileBlock: last.fileBlock, blocks: last.blocks + next.blocks }];
}

function quarterOf(blocks: number): number {
  return Math.ceil(blocks / 4);
}

/** The first `blocks` blocks of a section. */
export function cut(extents: readonly Extent[], blocks: number): Extent[] {
  const left: Extent[] = [];
  for (const extent of extents) {
    if (blocks <= 0) break;
    left.push({ fileBlock: extent.fileBlock, blocks: Math.min(extent.blocks, blocks) });
    blocks -= extent.blocks;
  }
  return left;
}

/**
 * The section table of a file without a free or spare block. It is the smallest there can be.
 * Sections keep their order.
 */
export function dense(sections: readonly SectionEntry[]): SectionEntry[] {
  const used = ({ length }: SectionEntry) => Math.ceil(length / BLOCK_BYTES);
  const others = sections.filter(({ kind }) => kind !== CHECKSUMS_KIND);
  const data = others.reduce((sum, section) => sum + used(section), 1);
  let pages = 0;
  if (data > 1) {
    // The checksums' own blocks count too.
    for (let before = -1; before !== pages; ) {
      before = pages;
      pages = Math.ceil((data + Math.ceil(pages / PAGES_PER_BLOCK)) / CHECKSUMS_PER_PAGE);
    }
  }
  let fileBlock = 1;
  return sections.map((section) => {
    const length = section.kind === CHECKSUMS_KIND ? pages * PAGE_BYTES : section.length;
    const blocks = used({ ...section, length });
    const extents = blocks === 0 ? [] : [{ fileBlock, blocks }];
    fileBlock += blocks;
    return { ...section, length, extents };
  });
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

/** The file offset of a section's byte; undefined where no extent has it. */
export function placeInFile(extents: readonly Extent[], at: number): number | undefined {
  const block = Math.floor(at / BLOCK_BYTES);
  return block < capacityBlocks(extents) ? fileBlockOf(extents, block) * BLOCK_BYTES + (at % BLOCK_BYTES) : undefined;
}

/** The file offset of a section's page. */
export function pageOffset(extents: readonly Extent[], page: number): number {
  const block = fileBlockOf(extents, Math.floor(page / PAGES_PER_BLOCK));
  return block * BLOCK_BYTES + (page % PAGES_PER_BLOCK) * PAGE_BYTES;
}
