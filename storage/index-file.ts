/**
 * index.hebb: fixed-stride records in sections, mapped privately. Changing memory never changes the
 * file; a checkpoint writes all changed pages, through the journal, so that the file holds one whole
 * checkpoint after another and never a mixture.
 *
 * A checkpoint, in the order that makes it safe:
 * 1. Pages beyond what the file had are written where they will stay, and synced. Nothing refers to
 *    them yet.
 * 2. All other changed pages, the checksum pages and the new meta go to the journal; its sync is the
 *    commit point. A failure up to here leaves the old checkpoint, and every page marked as changed.
 * 3. The journal is put in place and emptied (journal.ts). A failure here leaves it to be put in
 *    place by the next checkpoint or the next opening.
 * 4. Changed pages are given back; from now on they are read from the file.
 */
import { join } from "node:path";
import { HebbError } from "../base/errors.js";
import type { Json } from "../base/types.js";
import { BLOCK_BYTES, createRegion, PAGE_BYTES, type Region } from "../native/index.js";
import { checkIndex, type Fault, readChecksums } from "./check.js";
import { breathe, eachRun, fileBlockOf, grown, PAGES_PER_BLOCK, pageOffset, runsFrom } from "./extents.js";
import type { Files, StoredFile } from "./files.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  capacityBlocks,
  type Extent,
  encodeChecksumPage,
  encodeSlot,
  endBlock,
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
  /** Changed pages, for each section in the region. */
  changed: Uint32Array[];
}

/** The names of a store's files in its directory. */
export const INDEX_NAME = "index.hebb";
export const JOURNAL_NAME = "index.hebb-journal";

const SLICE_BYTES = 4 << 20;
/** Blocks whose checksums are computed in one go. */
const CHECKSUM_BATCH = 64;

export class IndexFile {
  /** A committed journal is not in place yet. */
  private pending: Journal | undefined;
  /** The journal is not empty, or the file longer than it need be. */
  private leftovers = false;
  /** Blocks of each section that are mapped from the file; behind them, memory alone holds the section. */
  private readonly mappedBlocks: number[];

  private constructor(
    private readonly file: StoredFile,
    private readonly journal: StoredFile | undefined,
    /** The file, as a committed journal that a read-only handle may not put in place changes it. */
    private readonly view: StoredFile,
    /** As of the last checkpoint. */
    public meta: Meta,
    private table: Uint32Array,
    private readonly specs: readonly SectionSpec[],
    /** Section i is the i-th of the specs. */
    readonly region: Region,
    private readonly poison: Poison,
    /** What opening had to put right, in words. */
    readonly recovered: readonly string[],
  ) {
    this.mappedBlocks = specs.map(({ kind }) => capacityBlocks(this.extentsOf(kind)));
  }

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
   * @throws {HebbError} NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, INDEX_CORRUPT, JOURNAL_CORRUPT
   */
  static async open(
    files: Files,
    directory: string,
    sectionsFor: (meta: Meta) => readonly SectionSpec[],
    readOnly: boolean,
    poison: Poison,
  ): Promise<IndexFile> {
    const opened: { close(): void | Promise<void> }[] = [];
    try {
      const file = await files.open(join(directory, INDEX_NAME), readOnly ? "read" : "write");
      opened.push(file);
      const journal = await openJournal(files, directory, readOnly);
      if (journal !== undefined) opened.push(journal);
      const { meta, view, notes } = await recoverIndex(file, journal, readOnly, poison);
      const table = await readChecksums(view, meta);
      const specs = sectionsFor(meta);
      checkSections(meta, specs);
      const region = createRegion(specs.map(({ reserveBytes }) => Math.ceil(reserveBytes / BLOCK_BYTES) * BLOCK_BYTES));
      opened.push(region);
      const index = new IndexFile(file, journal, view, meta, table, specs, region, poison, notes);
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
        if (view.fd >= 0) {
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

  /** Whether any page changed since the last checkpoint. */
  isChanged(): boolean {
    return this.specs.some((_, section) => this.region.dirtyPages(section).length > 0);
  }

  /**
   * Makes the file hold what memory holds, as of log record `lsn`. Nothing may change the region
   * meanwhile; reading goes on.
   */
  async checkpoint(lsn: number, config: Json): Promise<void> {
    this.poison.check();
    if (this.pending !== undefined) await this.finish(this.pending);
    if (this.leftovers) await this.discardLeftovers();
    const plan = await this.plan(lsn, config);
    this.leftovers = true;
    let journal: Journal;
    try {
      await this.writeNewExtents(plan);
      journal = await this.writeJournal(plan);
    } catch (error) {
      // Gives the disk space back; where that fails too, the next checkpoint tries again.
      if (this.poison.cause === undefined) await this.discardLeftovers().catch(() => {});
      throw error;
    }
    // Committed.
    this.meta = plan.meta;
    this.table = plan.table;
    await this.finish(journal);
    await this.discardLeftovers();
    this.release(plan.changed);
  }

  private async plan(lsn: number, config: Json): Promise<Plan> {
    const { region, specs } = this;
    const changed = specs.map((_, section) => region.dirtyPages(section));
    const sections = this.meta.sections.map((entry) => ({ ...entry }));
    let end = endBlock(sections);
    for (const [i, spec] of specs.entries()) {
      let entry = sections.find(({ kind }) => kind === spec.kind);
      if (entry === undefined) {
        entry = { kind: spec.kind, name: spec.name, stride: spec.stride, length: 0, extents: [] };
        sections.push(entry);
      }
      const pages = (changed[i].at(-1) ?? -1) + 1;
      const most = Math.ceil(spec.reserveBytes / BLOCK_BYTES);
      const bigger = grown(entry.extents, Math.ceil(pages / PAGES_PER_BLOCK), most, end);
      entry.length = Math.max(entry.length, pages * PAGE_BYTES);
      entry.extents = bigger.extents;
      end = bigger.end;
    }
    const checksums = sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
    for (let before = 0; before !== end; ) {
      before = end; // the checksums' own blocks count too
      const pages = Math.ceil(end / CHECKSUMS_PER_PAGE);
      checksums.length = pages * PAGE_BYTES;
      const bigger = grown(checksums.extents, Math.ceil(pages / PAGES_PER_BLOCK), Number.MAX_SAFE_INTEGER, end);
      checksums.extents = bigger.extents;
      end = bigger.end;
    }
    const meta = { ...this.meta, generation: this.meta.generation + 1, lsn, sections, config };
    encodeSlot(meta); // throws where it does not fit, before anything is written

    const table = new Uint32Array(end);
    table.set(this.table);
    const touched = new Set<number>();
    const put = (block: number, checksum: number) => {
      table[block] = checksum;
      touched.add(Math.floor(block / CHECKSUMS_PER_PAGE));
    };
    for (const [i, spec] of specs.entries()) {
      const { extents } = sections.find(({ kind }) => kind === spec.kind)!;
      for (const { fileBlock, blocks } of runsFrom(extents, capacityBlocks(this.extentsOf(spec.kind)))) {
        for (let block = fileBlock; block < fileBlock + blocks; block++) put(block, ZERO_BLOCK_CHECKSUM);
      }
      const blocks = blocksOf(changed[i]);
      for (let from = 0; from < blocks.length; from += CHECKSUM_BATCH) {
        const batch = blocks.subarray(from, from + CHECKSUM_BATCH);
        const sums = region.checksumsOf(i, batch);
        batch.forEach((block, j) => {
          put(fileBlockOf(extents, block), sums[j]);
        });
        await breathe();
      }
    }
    for (let page = Math.floor(this.table.length / CHECKSUMS_PER_PAGE); page * CHECKSUMS_PER_PAGE < end; page++) {
      touched.add(page); // pages that come into use
    }
    return { meta, table, checksumPages: [...touched].sort((a, b) => a - b), changed };
  }

  private extentsOf(kind: number, meta = this.meta): Extent[] {
    return meta.sections.find((entry) => entry.kind === kind)?.extents ?? [];
  }

  /** Step 1. */
  private async writeNewExtents({ meta, changed }: Plan): Promise<void> {
    const end = endBlock(this.meta.sections) * BLOCK_BYTES;
    const newEnd = endBlock(meta.sections) * BLOCK_BYTES;
    if (newEnd === end) return;
    await this.file.allocate(end, newEnd - end);
    for (const [i, { kind }] of this.specs.entries()) {
      const pages = changed[i].subarray(firstNew(changed[i], this.extentsOf(kind)));
      await eachRun(this.region, i, this.extentsOf(kind, meta), pages, (offset, bytes) =>
        this.file.pwrite(bytes, offset),
      );
    }
    await this.poison.sync(this.file);
  }

  /** Step 2. */
  private async writeJournal({ meta, table, checksumPages, changed }: Plan): Promise<Journal> {
    const journal = this.journal!;
    const writer = new JournalWriter(journal, meta);
    for (const [i, { kind }] of this.specs.entries()) {
      const extents = this.extentsOf(kind);
      const pages = changed[i].subarray(0, firstNew(changed[i], extents));
      await eachRun(this.region, i, extents, pages, (offset, bytes) => writer.add(offset, bytes));
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

  /** Step 4: the file holds everything now, so it is mapped to its end, and the private copies go. */
  private release(changed: Uint32Array[]): void {
    const mapped = this.file.fd >= 0;
    for (const [i, { kind }] of this.specs.entries()) {
      const extents = this.extentsOf(kind);
      if (mapped) {
        for (const { sectionBlock, fileBlock, blocks } of runsFrom(extents, this.mappedBlocks[i])) {
          this.region.map(i, sectionBlock * BLOCK_BYTES, blocks * BLOCK_BYTES, this.file.fd, fileBlock * BLOCK_BYTES);
        }
      }
      this.region.cleanPages(i, changed[i], mapped);
      this.mappedBlocks[i] = capacityBlocks(extents);
    }
  }

  /** Removes what the last checkpoint leaves behind, or an attempt did. The journal first, for it may have become whole. */
  private async discardLeftovers(): Promise<void> {
    await emptyJournal(this.journal!, this.poison);
    const end = endBlock(this.meta.sections) * BLOCK_BYTES;
    if ((await this.file.size()) > end) await this.file.truncate(end);
    this.leftovers = false;
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

/** The index of the first page behind these extents. */
function firstNew(pages: Uint32Array, extents: readonly Extent[]): number {
  const capacity = capacityBlocks(extents) * PAGES_PER_BLOCK;
  const index = pages.findIndex((page) => page >= capacity);
  return index < 0 ? pages.length : index;
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
