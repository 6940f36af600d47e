/**
 * index.hebb: fixed-stride records in sections, mapped privately. Changing memory never changes the
 * file; a checkpoint writes all changed pages, through the journal, so that the file holds one whole
 * checkpoint after another and never a mixture.
 *
 * A checkpoint, in the order that makes it safe:
 * 1. Blocks that are new to their section are written where they will stay, and synced: free ones, or
 *    ones behind the file's end. Nothing refers to them yet.
 * 2. All other changed pages, the checksum pages and the new meta go to the journal; its sync is the
 *    commit point. A failure up to here leaves the old checkpoint, and every page marked as changed.
 * 3. The journal is put in place and emptied (journal.ts). A failure here leaves it to be put in
 *    place by the next checkpoint or the next opening.
 * 4. Changed pages are given back; from now on they are read from the file. Free blocks at the
 *    file's end are cut off.
 *
 * A section that was discarded from some block on keeps the blocks before it. The others are free once
 * the checkpoint is committed, and not before: a later checkpoint writes into them without the
 * journal, which is safe because the journal has been emptied by then, and nothing is mapped from them.
 *
 * Compaction writes the whole file anew beside the old one and renames it: one moment at which all of
 * it becomes true, with nothing to redo. Moving extents within the file would need no second copy on
 * the disk, but many checkpoints, and would leave sections in pieces.
 */
import { dirname, join } from "node:path";
import { assert } from "../base/assert.js";
import { HebbError } from "../base/errors.js";
import type { Json } from "../base/types.js";
import { BLOCK_BYTES, crc32c, createRegion, PAGE_BYTES, type Region } from "../native/index.js";
import { checkIndex, type Fault, readChecksums } from "./check.js";
import {
  breathe,
  cut,
  dense,
  eachRun,
  eachRunOf,
  fileBlockOf,
  grown,
  PAGES_PER_BLOCK,
  pageOffset,
  type Run,
  runsFrom,
  Space,
} from "./extents.js";
import type { Files, StoredFile } from "./files.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  capacityBlocks,
  type Extent,
  encodeChecksumPage,
  encodeSlot,
  endBlock,
  hex,
  type Meta,
  SLOTS,
  ZERO_BLOCK_CHECKSUM,
} from "./format.js";
import { applyJournal, emptyJournal, type Journal, JournalWriter, type PatchedFile } from "./journal.js";
import type { Poison } from "./poison.js";
import { recoverIndex } from "./recover.js";

/** A section as its owner wants it. */
export interface SectionSpec {
  /** 1 or more, for ever. */
  kind: number;
  /** For messages and `check`; at most 24 bytes of UTF-8. */
  name: string;
  /** Bytes per record; verified against the file. */
  stride: number;
  /** Addresses to reserve: the section can never be larger. */
  reserveBytes: number;
}

/** What a checkpoint is about to make true. */
interface Plan {
  meta: Meta;
  table: Uint32Array;
  /** Pages of the checksums section that change. */
  checksumPages: number[];
  /** For each section in the region: */
  parts: {
    /** Blocks from its start that the file has and no discard reached. */
    kept: number;
    /** Those of them, from the start, that stay where they are in the file. The others move. */
    stay: number;
    /** Changed pages in blocks that stay. */
    changed: Uint32Array;
    /** Changed pages in blocks that move or come in addition. */
    added: Uint32Array;
  }[];
}

/** The names of a store's files in its directory. */
export const INDEX_NAME = "index.hebb";
export const JOURNAL_NAME = "index.hebb-journal";
/** index.hebb until it is whole, at creation and at compaction. */
export const NEW_INDEX_NAME = "index.hebb-new";

const SLICE_BYTES = 4 << 20;
const SLICE_BLOCKS = SLICE_BYTES / BLOCK_BYTES;
/** Blocks whose checksums are computed in one go. */
const CHECKSUM_BATCH = 64;

export class IndexFile {
  /** A committed journal is not in place yet. */
  private pending: Journal | undefined;
  /** The journal is not empty, or the file longer than it need be. */
  private leftovers = false;

  private constructor(
    private readonly files: Files,
    private file: StoredFile,
    private readonly journal: StoredFile | undefined,
    /** The file, as a committed journal that a read-only handle may not put in place changes it. */
    private view: StoredFile,
    /** As of the last checkpoint. */
    public meta: Meta,
    private table: Uint32Array,
    private readonly specs: readonly SectionSpec[],
    /** Section i is the i-th of the specs. */
    readonly region: Region,
    private readonly poison: Poison,
    /** What opening had to put right, in words. */
    readonly recovered: readonly string[],
    /** Sections are copies of the file, not mapped from it. */
    private readonly copied: boolean,
  ) {}

  /** Writes an index without records to `path`, durably except for its name. */
  static async create(
    files: Files,
    path: string,
    identity: Omit<Meta, "generation" | "lsn" | "sections">,
  ): Promise<void> {
    const checksums = { kind: CHECKSUMS_KIND, name: "checksums", stride: PAGE_BYTES, length: 0, extents: [] };
    const slot = encodeSlot({ ...identity, generation: 1, lsn: 0, sections: [checksums] });
    const file = await files.open(path, "create");
    try {
      await file.truncate(0);
      for (const at of SLOTS) await file.pwrite(slot, at);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /**
   * Recovers what a crash left half-way, reads the meta and maps the sections.
   * @param sectionsFor the sections wanted in a store of this meta
   * @param safeReads reads the sections into memory instead
   * @throws {HebbError} NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, INDEX_CORRUPT, JOURNAL_CORRUPT
   */
  static async open(
    files: Files,
    directory: string,
    sectionsFor: (meta: Meta) => readonly SectionSpec[],
    readOnly: boolean,
    poison: Poison,
    safeReads = false,
  ): Promise<IndexFile> {
    const opened: { close(): void | Promise<void> }[] = [];
    try {
      const file = await files.open(join(directory, INDEX_NAME), readOnly ? "read" : "write");
      opened.push(file);
      const journal = await openJournal(files, directory, readOnly);
      if (journal !== undefined) opened.push(journal);
      const { meta, view, notes } = await recoverIndex(file, journal, readOnly, poison);
      if (!readOnly) await removeUnfinished(files, directory);
      const table = await readChecksums(view, meta);
      const specs = sectionsFor(meta);
      checkSections(meta, specs);
      const region = createRegion(specs.map(({ reserveBytes }) => Math.ceil(reserveBytes / BLOCK_BYTES) * BLOCK_BYTES));
      opened.push(region);
      poison.watch(() => region.loss());
      const copied = safeReads || view.fd < 0;
      const index = new IndexFile(files, file, journal, view, meta, table, specs, region, poison, notes, copied);
      await index.map();
      return index;
    } catch (error) {
      await closeAll(opened).catch(() => {}); // the first error tells more
      throw error;
    }
  }

  /** Fills the region from the file and states the checksums that its blocks must have. */
  private async map(): Promise<void> {
    const { view } = this;
    const patches = (view as Partial<PatchedFile>).patches ?? [];
    for (const [section, spec] of this.specs.entries()) {
      for (const { sectionBlock, fileBlock, blocks } of runsFrom(this.extentsOf(spec.kind), 0)) {
        const [at, offset, length] = [sectionBlock, fileBlock, blocks].map((n) => n * BLOCK_BYTES);
        if (!this.copied) {
          this.region.map(section, at, length, view.fd, offset);
          for (const [i, patch] of patches.entries()) {
            if (patch.offset < offset || patch.offset >= offset + length) continue;
            this.region.load(section, at + patch.offset - offset, await (view as PatchedFile).patch(i));
          }
        } else {
          for (let done = 0; done < length; done += SLICE_BYTES) {
            const bytes = await view.pread(Math.min(SLICE_BYTES, length - done), offset + done);
            this.region.load(section, at + done, bytes);
          }
        }
        this.region.expectChecksums(section, sectionBlock, this.table.slice(fileBlock, fileBlock + blocks));
      }
    }
  }

  /** Whether any page changed, or went, since the last checkpoint. */
  isChanged(): boolean {
    return this.specs.some(
      ({ kind }, section) =>
        this.region.dirtyPages(section).length > 0 ||
        this.region.kept(section) < capacityBlocks(this.extentsOf(kind)) * BLOCK_BYTES,
    );
  }

  /** Bytes by which `compact` would make the file smaller, as of the last checkpoint. */
  get spareBytes(): number {
    const { sections } = this.meta;
    return (endBlock(sections) - endBlock(dense(sections))) * BLOCK_BYTES;
  }

  /**
   * Makes the file hold what memory holds, as of log record `lsn`. Nothing may change the region
   * meanwhile; reading goes on.
   */
  async checkpoint(lsn: number, config: Json): Promise<void> {
    this.poison.check();
    await this.checkLength();
    await this.settle();
    const plan = await this.plan(lsn, config);
    this.leftovers = true;
    let journal: Journal;
    try {
      await this.writeAdded(plan);
      journal = await this.writeJournal(plan);
    } catch (error) {
      // Gives the disk space back; where that fails too, the next checkpoint tries again.
      if (this.poison.cause === undefined) await this.discardLeftovers().catch(() => {});
      throw error;
    }
    // Committed. What is new to a section is mapped before its old blocks can be used again.
    this.meta = plan.meta;
    this.table = plan.table;
    await this.poison.guard(async () => this.mapAdded(plan));
    await this.finish(journal);
    for (const [i, { changed }] of plan.parts.entries()) this.region.cleanPages(i, changed, !this.copied);
    await this.discardLeftovers();
  }

  private async plan(lsn: number, config: Json): Promise<Plan> {
    const { region, specs } = this;
    const space = new Space(this.meta.sections);
    const sections = this.meta.sections.map((entry) => ({ ...entry }));
    const parts = specs.map((spec, i) => {
      let entry = sections.find(({ kind }) => kind === spec.kind);
      if (entry === undefined) {
        entry = { kind: spec.kind, name: spec.name, stride: spec.stride, length: 0, extents: [] };
        sections.push(entry);
      }
      const dirty = region.dirtyPages(i);
      const pages = (dirty.at(-1) ?? -1) + 1;
      const bytes = region.kept(i);
      const most = Math.ceil(spec.reserveBytes / BLOCK_BYTES);
      const left = cut(entry.extents, bytes / BLOCK_BYTES);
      const kept = capacityBlocks(left);
      const { extents, stay } = grown(left, Math.ceil(pages / PAGES_PER_BLOCK), most, space);
      entry.length = Math.max(Math.min(entry.length, bytes), pages * PAGE_BYTES);
      entry.extents = extents;
      const behind = dirty.findIndex((page) => page >= stay * PAGES_PER_BLOCK);
      const changed = behind < 0 ? dirty.length : behind;
      return { kept, stay, changed: dirty.subarray(0, changed), added: dirty.subarray(changed) };
    });
    const checksums = sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
    let end: number;
    for (let before = -1; ; before = end) {
      end = endBlock(sections); // the checksums' own blocks count too
      if (end === before) break;
      const pages = Math.ceil(end / CHECKSUMS_PER_PAGE);
      checksums.length = pages * PAGE_BYTES;
      const blocks = Math.ceil(pages / PAGES_PER_BLOCK);
      const { extents, stay } = grown(checksums.extents, blocks, Number.MAX_SAFE_INTEGER, space);
      assert(stay === capacityBlocks(checksums.extents), "checksums are never cut, so none of them moves");
      checksums.extents = extents;
    }
    const meta = { ...this.meta, generation: this.meta.generation + 1, lsn, sections, config };
    encodeSlot(meta); // throws where it does not fit, before anything is written

    const table = new Uint32Array(end);
    table.set(this.table.subarray(0, end));
    const touched = new Set<number>();
    const put = (block: number, checksum: number) => {
      if (block >= end) return; // cut off
      table[block] = checksum;
      touched.add(Math.floor(block / CHECKSUMS_PER_PAGE));
    };
    for (const [i, { kind }] of specs.entries()) {
      const { kept, stay, changed, added } = parts[i];
      const { extents } = sections.find((entry) => entry.kind === kind)!;
      const before = this.extentsOf(kind);
      for (const { sectionBlock, fileBlock, blocks } of runsFrom(extents, stay)) {
        for (let j = 0; j < blocks; j++) {
          const block = sectionBlock + j;
          put(fileBlock + j, block < kept ? this.table[fileBlockOf(before, block)] : ZERO_BLOCK_CHECKSUM);
        }
      }
      for (const { fileBlock, blocks } of runsFrom(before, stay)) {
        for (let j = 0; j < blocks; j++) put(fileBlock + j, 0); // free now
      }
      for (const pages of [changed, added]) {
        const blocks = blocksOf(pages);
        for (let from = 0; from < blocks.length; from += CHECKSUM_BATCH) {
          const batch = blocks.subarray(from, from + CHECKSUM_BATCH);
          const sums = region.checksumsOf(i, batch);
          batch.forEach((block, j) => {
            put(fileBlockOf(extents, block), sums[j]);
          });
          await breathe();
        }
      }
    }
    // Pages that come into use, or out of it in part.
    const from = Math.min(this.table.length, end);
    for (let page = Math.floor(from / CHECKSUMS_PER_PAGE); page * CHECKSUMS_PER_PAGE < end; page++) touched.add(page);
    return { meta, table, checksumPages: [...touched].sort((a, b) => a - b), parts };
  }

  /**
   * A file that somebody cut must not be made longer again: what was mapped behind its end, changed pages included, would
   * read as zeros from then on, and no fault would tell.
   */
  private async checkLength(): Promise<void> {
    const [found, expected] = [await this.file.size(), endBlock(this.meta.sections) * BLOCK_BYTES];
    if (found >= expected) return;
    const message = `${this.file.path} has ${found} bytes; expected at least ${expected}. It was cut while it was open: close this handle and put it back from a copy`;
    const error = new HebbError("IO_ERROR", message, { path: this.file.path, found, expected });
    await this.poison.guard(() => Promise.reject(error));
  }

  /** Ends what a checkpoint that failed left to do. */
  private async settle(): Promise<void> {
    if (this.pending !== undefined) await this.finish(this.pending);
    if (this.leftovers) await this.discardLeftovers();
  }

  private extentsOf(kind: number, meta = this.meta): Extent[] {
    return meta.sections.find((entry) => entry.kind === kind)?.extents ?? [];
  }

  /** Step 1. */
  private async writeAdded({ meta, parts }: Plan): Promise<void> {
    const end = endBlock(this.meta.sections);
    const newEnd = endBlock(meta.sections);
    let written = newEnd > end;
    if (newEnd > end) await this.file.allocate(end * BLOCK_BYTES, (newEnd - end) * BLOCK_BYTES);
    const write = (offset: number, bytes: Uint8Array) => this.file.pwrite(bytes, offset);
    for (const [i, { kind }] of this.specs.entries()) {
      const { kept, stay, added } = parts[i];
      const extents = this.extentsOf(kind, meta);
      for (const run of runsFrom(extents, stay)) {
        written = true;
        // Free blocks hold what somebody left there; behind the old end there are zeros, and only what moves needs all of its pages.
        const moving = Math.min(Math.max(0, kept - run.sectionBlock), run.blocks);
        const whole = run.fileBlock < end ? run.blocks : moving;
        await eachRunOf(this.region, i, extents, { ...run, blocks: whole }, write);
        const from = (run.sectionBlock + whole) * PAGES_PER_BLOCK;
        const to = (run.sectionBlock + run.blocks) * PAGES_PER_BLOCK;
        const pages = added.filter((page) => page >= from && page < to);
        await eachRun(this.region, i, extents, pages, write);
      }
    }
    if (written) await this.poison.sync(this.file);
  }

  /** Step 2. */
  private async writeJournal({ meta, table, checksumPages, parts }: Plan): Promise<Journal> {
    const journal = this.journal!;
    const writer = new JournalWriter(journal, meta);
    for (const [i, { kind }] of this.specs.entries()) {
      const extents = this.extentsOf(kind);
      await eachRun(this.region, i, extents, parts[i].changed, (offset, bytes) => writer.add(offset, bytes));
    }
    const extents = this.extentsOf(CHECKSUMS_KIND, meta);
    for (const page of checksumPages) await writer.add(pageOffset(extents, page), encodeChecksumPage(table, page));
    return { header: await writer.commit(this.poison), meta };
  }

  /** Step 3. */
  private async finish(journal: Journal): Promise<void> {
    this.pending = journal;
    await applyJournal(this.file, this.journal!, journal, this.poison);
    this.pending = undefined;
  }

  /** What step 1 wrote is in the file, so it is mapped from there, and the private copies go. */
  private mapAdded({ parts }: Plan): void {
    for (const [i, { kind }] of this.specs.entries()) {
      if (!this.copied) this.mapRuns(i, runsFrom(this.extentsOf(kind), parts[i].stay));
      this.region.cleanPages(i, parts[i].added, false);
    }
  }

  private mapRuns(section: number, runs: readonly Run[]): void {
    for (const { sectionBlock, fileBlock, blocks } of runs) {
      const [at, length, offset] = [sectionBlock, blocks, fileBlock].map((n) => n * BLOCK_BYTES);
      this.region.map(section, at, length, this.file.fd, offset);
    }
  }

  /** Removes what the last checkpoint leaves behind, or an attempt did. The journal first, for it may have become whole. */
  private async discardLeftovers(): Promise<void> {
    await emptyJournal(this.journal!, this.poison);
    const end = endBlock(this.meta.sections) * BLOCK_BYTES;
    if ((await this.file.size()) > end) await this.file.truncate(end);
    this.leftovers = false;
  }

  /**
   * Gives all free and spare blocks back: afterwards the file has what the sections use, and nothing
   * else. Needs as much disk again as that meanwhile. Everything must be in a checkpoint, and nothing
   * may change the region meanwhile; reading goes on.
   * @throws {HebbError} INDEX_CORRUPT for a damaged block: the file stays as it is
   */
  async compact(): Promise<void> {
    this.poison.check();
    await this.settle();
    assert(!this.isChanged(), "a checkpoint comes before a compaction");
    if (this.spareBytes === 0) return;
    const directory = dirname(this.file.path);
    const path = join(directory, NEW_INDEX_NAME);
    // Another generation: a journal belongs to one file alone.
    const meta = { ...this.meta, generation: this.meta.generation + 1, sections: dense(this.meta.sections) };
    let table: Uint32Array;
    try {
      await removeUnfinished(this.files, directory);
      const file = await this.files.open(path, "create");
      try {
        table = await this.copyTo(file, meta);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (this.poison.cause === undefined) await removeUnfinished(this.files, directory).catch(() => {});
      throw error;
    }
    // From the renaming on, nobody but this handle knows which of the two files a crash would leave,
    // until the directory is on disk.
    const old = this.file;
    await this.poison.guard(async () => {
      await this.files.rename(path, old.path);
      await this.files.syncDirectory(directory);
      this.file = this.view = await this.files.open(old.path, "write");
      this.meta = meta;
      this.table = table;
      for (const [i, { kind }] of this.specs.entries()) {
        const extents = this.extentsOf(kind);
        this.region.discard(i, capacityBlocks(extents) * BLOCK_BYTES); // spare blocks: zeros, as before
        if (!this.copied) this.mapRuns(i, runsFrom(extents, 0));
        this.region.cleanPages(i, new Uint32Array(0), false);
      }
    });
    await old.close();
  }

  /** Writes the sections as `meta` has them to an empty file, durably. @returns the checksums of its blocks */
  private async copyTo(file: StoredFile, meta: Meta): Promise<Uint32Array> {
    const end = endBlock(meta.sections);
    const table = new Uint32Array(end);
    await file.allocate(0, end * BLOCK_BYTES);
    for (const { kind, name, extents } of meta.sections) {
      if (kind === CHECKSUMS_KIND || extents.length === 0) continue;
      const [{ fileBlock: to, blocks }] = extents;
      for (const run of runsFrom(cut(this.extentsOf(kind), blocks), 0)) {
        for (let done = 0; done < run.blocks; done += SLICE_BLOCKS) {
          const from = run.fileBlock + done;
          const sums = this.table.subarray(from, from + Math.min(SLICE_BLOCKS, run.blocks - done));
          const bytes = await this.file.pread(sums.length * BLOCK_BYTES, from * BLOCK_BYTES);
          for (const [i, sum] of sums.entries()) {
            const computed = crc32c(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
            if (computed !== sum) throw damagedBlock(name, run.sectionBlock + done + i, from + i, sum, computed);
          }
          const at = to + run.sectionBlock + done;
          await file.pwrite(bytes, at * BLOCK_BYTES);
          table.set(sums, at);
        }
      }
    }
    const checksums = meta.sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
    for (let page = 0; page < checksums.length / PAGE_BYTES; page++) {
      await file.pwrite(encodeChecksumPage(table, page), pageOffset(checksums.extents, page));
    }
    for (const at of SLOTS) await file.pwrite(encodeSlot(meta), at);
    await file.sync();
    return table;
  }

  /** Reads the whole file, not memory, against its checksums. */
  async check(): Promise<Fault[]> {
    if (this.pending !== undefined) await this.finish(this.pending);
    return checkIndex(this.view, this.meta, this.table);
  }

  async close(): Promise<void> {
    await closeAll([this.region, ...(this.journal ? [this.journal] : []), this.file]);
  }
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

/** Removes what a creation or a compaction that was cut short left beside index.hebb. */
async function removeUnfinished(files: Files, directory: string): Promise<void> {
  const path = join(directory, NEW_INDEX_NAME);
  const kind = await files.kind(path);
  if (kind === "file" || kind === "other") await files.unlink(path);
}

function damagedBlock(section: string, block: number, fileBlock: number, stored: number, computed: number): HebbError {
  const offset = fileBlock * BLOCK_BYTES;
  const message =
    `section ${section}, block ${block}, offset ${offset}: checksum ${hex(stored)} stored, ${hex(computed)} computed. ` +
    "Nothing was changed. Restore the store from a copy";
  return new HebbError("INDEX_CORRUPT", message, { section, block, offset });
}

function checkSections(meta: Meta, specs: readonly SectionSpec[]): void {
  for (const { kind, name, stride, reserveBytes } of specs) {
    const entry = meta.sections.find((section) => section.kind === kind);
    if (entry === undefined) continue; // made by the next checkpoint
    if (entry.stride !== stride) {
      throw new HebbError("STORE_MISMATCH", `section ${name} has records of ${entry.stride} bytes; expected ${stride}`);
    }
    const bytes = capacityBlocks(entry.extents) * BLOCK_BYTES;
    if (bytes > Math.ceil(reserveBytes / BLOCK_BYTES) * BLOCK_BYTES) {
      throw new HebbError("STORE_MISMATCH", `section ${name} takes ${bytes} bytes; only ${reserveBytes} are reserved`);
    }
  }
}

/**
 * A read-only handle takes what is there. A writer needs a journal whose name is durable before its
 * first use, as must be that of index.hebb, which a creation that was cut short may have left in doubt.
 */
async function openJournal(files: Files, directory: string, readOnly: boolean): Promise<StoredFile | undefined> {
  const path = join(directory, JOURNAL_NAME);
  if (readOnly) return (await files.kind(path)) === undefined ? undefined : files.open(path, "read");
  const file = await files.open(path, "create");
  try {
    await files.syncDirectory(directory);
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

/** Closes everything, whatever fails, and then throws the first failure. */
async function closeAll(opened: { close(): void | Promise<void> }[]): Promise<void> {
  const results = await Promise.allSettled(opened.map(async (one) => one.close()));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
