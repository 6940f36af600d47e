/**
 * Steps 1 to 3 of a checkpoint (index-file.ts): what is to be written, at one moment; blocks that are new to their section;
 * and the journal.
 */

import { assert } from "../base/assert.js";
import { breathe } from "../base/slices.js";
import type { Json } from "../base/types.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES, type Region } from "../native/index.js";
import { cut, fileBlockOf, grown, PAGES_PER_BLOCK, pageOffset, runsFrom, Space } from "./extents.js";
import type { StoredFile } from "./files.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  capacityBlocks,
  encodeChecksumPage,
  encodeSlot,
  endBlock,
  type Meta,
  type SectionEntry,
  ZERO_BLOCK_CHECKSUM,
} from "./format.js";
import type { Committed, JournalWriter } from "./journal.js";
import type { Poison } from "./poison.js";
import { extentsOf, type SectionSpec } from "./sections.js";

/** Blocks that are taken from the region in one go: copying them and summing them up takes half a millisecond. */
const TAKEN_BLOCKS = 16;

/** What a checkpoint is about to make true: the region at one moment. */
export interface Snapshot {
  meta: Meta;
  /** For each section in the region: */
  parts: {
    /** Bytes from its start that no discard had reached. */
    kept: number;
    /** Blocks of the file, from its start, that stay where they are. The others move, or come in addition. */
    stay: number;
    /** Behind `stay`, up to here, blocks move; what comes in addition begins. */
    moveEnd: number;
    /** Changed pages. */
    pages: Uint32Array;
  }[];
}

/**
 * Step 1: all that changed since checkpoint `before`, as memory is now, as of log record `lsn`. Nothing may change the
 * region during the call.
 * @param states the section tables that somebody may still read by
 */
export function takeSnapshot(
  region: Region,
  specs: readonly SectionSpec[],
  before: Meta,
  states: readonly (readonly SectionEntry[])[],
  lsn: number,
  config: Json,
): Snapshot {
  const space = new Space(states);
  const sections = before.sections.map((entry) => ({ ...entry }));
  const parts = specs.map((spec, i) => {
    let entry = sections.find(({ kind }) => kind === spec.kind);
    if (entry === undefined) {
      entry = { kind: spec.kind, name: spec.name, stride: spec.stride, length: 0, extents: [] };
      sections.push(entry);
    }
    const pages = region.dirtyPages(i);
    const end = (pages.at(-1) ?? -1) + 1;
    const kept = region.kept(i);
    const most = Math.ceil(spec.reserveBytes / BLOCK_BYTES);
    const left = cut(entry.extents, kept / BLOCK_BYTES);
    const { extents, stay } = grown(left, Math.ceil(end / PAGES_PER_BLOCK), most, space);
    entry.length = Math.max(Math.min(entry.length, kept), end * PAGE_BYTES);
    entry.extents = extents;
    return { kept, stay, moveEnd: Math.max(stay, capacityBlocks(left)), pages };
  });
  growChecksums(sections, space);
  const meta = { ...before, generation: before.generation + 1, lsn, sections, config };
  encodeSlot(meta); // throws where it does not fit, before anything is taken
  for (const [i, { stay, moveEnd }] of parts.entries()) {
    region.snapshot(i);
    region.include(i, stay, moveEnd - stay);
  }
  return { meta, parts };
}

/** Room for a checksum of every block, those that hold checksums included. */
function growChecksums(sections: readonly SectionEntry[], space: Space): void {
  const checksums = sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
  let end: number;
  for (let before = -1; ; before = end) {
    end = endBlock(sections);
    if (end === before) break;
    const pages = Math.ceil(end / CHECKSUMS_PER_PAGE);
    checksums.length = pages * PAGE_BYTES;
    const blocks = Math.ceil(pages / PAGES_PER_BLOCK);
    const { extents, stay } = grown(checksums.extents, blocks, Number.MAX_SAFE_INTEGER, space);
    assert(stay === capacityBlocks(checksums.extents), "checksums are never cut, so none of them moves");
    checksums.extents = extents;
  }
}

export class CheckpointWriter {
  /** Checksums of the file's blocks, by block, as they will be. */
  readonly table: Uint32Array;

  /** @param sums checksums of the blocks as of checkpoint `before` */
  constructor(
    private readonly region: Region,
    private readonly specs: readonly SectionSpec[],
    private readonly before: Meta,
    private readonly sums: Uint32Array,
    private readonly snapshot: Snapshot,
  ) {
    this.table = new Uint32Array(endBlock(snapshot.meta.sections));
    this.table.set(sums.subarray(0, this.table.length));
  }

  /**
   * Step 2: blocks that are new to their section go where they will stay, and are synced.
   * @param end block where the file ends for all who may read it
   */
  async writeAdded(file: StoredFile, end: number, poison: Poison): Promise<void> {
    const { table } = this;
    const { meta, parts } = this.snapshot;
    const newEnd = endBlock(meta.sections);
    let written = newEnd > end;
    if (newEnd > end) await file.allocate(end * BLOCK_BYTES, (newEnd - end) * BLOCK_BYTES);
    const zeros = new Uint8Array(TAKEN_BLOCKS * BLOCK_BYTES);
    for (const [i, { kind }] of this.specs.entries()) {
      const { stay, moveEnd, pages } = parts[i];
      const before = extentsOf(this.before, kind);
      const changed = new Set(blocksOf(pages));
      for (const { fileBlock, blocks } of runsFrom(before, stay)) table.fill(0, fileBlock, fileBlock + blocks); // free now
      for (const run of runsFrom(extentsOf(meta, kind), stay)) {
        written = true;
        for (let done = 0; done < run.blocks; ) {
          const block = run.sectionBlock + done;
          const isTaken = (one: number) => one < moveEnd || changed.has(one);
          let count = 1;
          while (count < TAKEN_BLOCKS && done + count < run.blocks && isTaken(block + count) === isTaken(block))
            count++;
          const at = run.fileBlock + done;
          if (isTaken(block)) {
            const taken = Uint32Array.from({ length: count }, (_, j) => block + j);
            const bytes = this.region.takeBlocks(i, taken);
            for (const [j, one] of taken.entries()) {
              // What only moves keeps the checksum that it had: damage is never sealed under a fresh one.
              table[at + j] = changed.has(one)
                ? crc32c(bytes.subarray(j * BLOCK_BYTES, (j + 1) * BLOCK_BYTES))
                : this.sums[fileBlockOf(before, one)];
            }
            await file.pwrite(bytes, at * BLOCK_BYTES);
          } else {
            table.fill(ZERO_BLOCK_CHECKSUM, at, at + count);
            // Free blocks hold what somebody left there; behind the old end there are zeros.
            if (at < end) await file.pwrite(zeros.subarray(0, count * BLOCK_BYTES), at * BLOCK_BYTES);
          }
          done += count;
          await breathe();
        }
      }
    }
    if (written) await poison.sync(file);
  }

  /** Step 3: the other changed pages and the checksum pages go to the journal, whose sync is the commit point. */
  async writeJournal(writer: JournalWriter, poison: Poison): Promise<Committed> {
    const { table } = this;
    const { meta, parts } = this.snapshot;
    for (const [i, { kind }] of this.specs.entries()) {
      const { stay, pages } = parts[i];
      const extents = extentsOf(this.before, kind);
      const staying = pages.subarray(0, pagesBelow(pages, stay));
      const blocks = blocksOf(staying);
      for (let from = 0, next = 0; from < blocks.length; from += TAKEN_BLOCKS) {
        const taken = blocks.subarray(from, from + TAKEN_BLOCKS);
        const bytes = this.region.takeBlocks(i, taken);
        for (const [j, block] of taken.entries()) {
          const at = j * BLOCK_BYTES;
          const fileBlock = fileBlockOf(extents, block);
          table[fileBlock] = crc32c(bytes.subarray(at, at + BLOCK_BYTES));
          while (next < staying.length && Math.floor(staying[next] / PAGES_PER_BLOCK) === block) {
            const first = staying[next] % PAGES_PER_BLOCK;
            let count = 1;
            while (staying[next + count] === staying[next] + count && first + count < PAGES_PER_BLOCK) count++;
            const part = bytes.subarray(at + first * PAGE_BYTES, at + (first + count) * PAGE_BYTES);
            await writer.add(fileBlock * BLOCK_BYTES + first * PAGE_BYTES, part);
            next += count;
          }
        }
        await breathe();
      }
    }
    const extents = extentsOf(meta, CHECKSUMS_KIND);
    for (let page = 0; page * CHECKSUMS_PER_PAGE < table.length; page++) {
      if (checksumsOfPage(table, page).equals(checksumsOfPage(this.sums, page))) continue;
      await writer.add(pageOffset(extents, page), encodeChecksumPage(table, page));
    }
    return writer.commit(poison);
  }
}

function checksumsOfPage(table: Uint32Array, page: number): Buffer {
  const part = table.subarray(page * CHECKSUMS_PER_PAGE, (page + 1) * CHECKSUMS_PER_PAGE);
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}

/** How many of these pages (ascending) lie before a block. */
export function pagesBelow(pages: Uint32Array, block: number): number {
  const behind = pages.findIndex((page) => page >= block * PAGES_PER_BLOCK);
  return behind < 0 ? pages.length : behind;
}

/** The blocks that hold these pages (ascending), each once. */
function blocksOf(pages: Uint32Array): Uint32Array {
  const blocks = new Uint32Array(pages.length);
  let count = 0;
  for (const page of pages) {
    const block = Math.floor(page / PAGES_PER_BLOCK);
    if (count === 0 || blocks[count - 1] !== block) blocks[count++] = block;
  }
  return blocks.subarray(0, count);
}
