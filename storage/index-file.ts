/**
 * index.hebb: fixed-stride records in sections, mapped privately. Changing memory never changes the
 * file; a checkpoint writes all changed pages, through the journal, so that the file holds one whole
 * checkpoint after another and never a mixture.
 *
 * A checkpoint, in the order that makes it safe (checkpoint.ts has steps 1 to 3):
 * 1. While nothing changes the region, `begin` says what is to be written and takes a snapshot. Writers
 *    may go on at once: the region keeps each block as it was until this has taken it.
 * 2. Blocks that are new to their section are written where they will stay, and synced: free ones, or
 *    ones behind the file's end. Nothing refers to them yet.
 * 3. All other changed pages, the checksum pages and the new meta go to the journal; its sync is the
 *    commit point. A failure up to here leaves the old checkpoint, and every page marked as changed.
 * 4. The journal is put in place and emptied (journal.ts), unless other processes read the file: then it
 *    waits, and the next checkpoint is written behind it. A failure here leaves it to be put in place by
 *    the next checkpoint or the next opening.
 * 5. Pages that are in place, and did not change since, are given back: from now on they are read from
 *    the file. Free blocks at the file's end are cut off.
 *
 * A section that was discarded from some block on keeps the blocks before it. The others are free once
 * the checkpoint is committed, and not before: a later checkpoint writes into them without the journal,
 * which is safe because by then nobody reads by a section table that has them: not this handle, not a
 * journal that could be put in place again, and no other process, as long as journals gather.
 *
 * Compaction writes the whole file anew beside the old one and renames it: one moment at which all of
 * it becomes true, with nothing to redo. Moving extents within the file would need no second copy on
 * the disk, but many checkpoints, and would leave sections in pieces.
 */

import { dirname, join } from "node:path";
import { allDone } from "../base/all-done.js";
import { assert } from "../base/assert.js";
import { HebbError } from "../base/errors.js";
import { breathe } from "../base/slices.js";
import type { Fault, Json } from "../base/types.js";
import { BLOCK_BYTES, createRegion, PAGE_BYTES, type Region } from "../native/index.js";
import { checkIndex, readChecksums } from "./check.js";
import { CheckpointWriter, pagesBelow, type Snapshot, takeSnapshot } from "./checkpoint.js";
import { writeDense } from "./dense-file.js";
import { cut, dense, PAGES_PER_BLOCK, type Run, runsFrom } from "./extents.js";
import type { Files, StoredFile } from "./files.js";
import { CHECKSUMS_KIND, capacityBlocks, encodeSlot, endBlock, type Meta, type SectionEntry, SLOTS } from "./format.js";
import {
  applyJournal,
  type Committed,
  cutJournal,
  endOf,
  JournalWriter,
  type PatchedFile,
  patchedFile,
} from "./journal.js";
import { INDEX_NAME, JOURNAL_NAME, NEW_INDEX_NAME } from "./names.js";
import type { Poison } from "./poison.js";
import { recoverIndex } from "./recover.js";
import { checkSections, extentsOf, type SectionSpec } from "./sections.js";

/** Runs a task while nothing changes the region. */
export type Still = <T>(task: () => Promise<T>) => Promise<T>;

const SLICE_BYTES = 4 << 20;
/** Pages that are given back in one go. */
const DROPPED_PAGES = 1024;

export class IndexFile {
  /** Journal or file are longer than they need be. */
  private leftovers = false;
  /** By section: pages that are in the journal and not in place. They must stay in memory until they are. */
  private readonly waiting: Set<number>[];

  private constructor(
    private readonly files: Files,
    private file: StoredFile,
    private readonly journalFile: StoredFile | undefined,
    /** Checkpoints that are committed and not in place yet. */
    private journal: Committed[],
    /** As of the checkpoint that is in place. */
    private placed: Meta,
    /** As of the last checkpoint. */
    public meta: Meta,
    /** Checksums of the file's blocks, by block. */
    private table: Uint32Array,
    private readonly specs: readonly SectionSpec[],
    /** Section i is the i-th of the specs. */
    readonly region: Region,
    private readonly poison: Poison,
    /** What opening had to put right, in words. */
    readonly recovered: readonly string[],
    /** Sections are copies of the file, not mapped from it. */
    private readonly copied: boolean,
  ) {
    this.waiting = specs.map(() => new Set());
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
   * @param readOnly nothing is written; checkpoints not in place whose LSN is larger than `upTo` are left out
   * @param safeReads reads the sections into memory instead of mapping them
   * @throws {HebbError} NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, INDEX_CORRUPT, JOURNAL_CORRUPT, DISK_FULL, IO_ERROR
   */
  static async open(
    files: Files,
    directory: string,
    sectionsFor: (meta: Meta) => readonly SectionSpec[],
    readOnly: { upTo: number } | undefined,
    poison: Poison,
    safeReads = false,
  ): Promise<IndexFile> {
    const opened: { close(): void | Promise<void> }[] = [];
    try {
      const file = await files.open(join(directory, INDEX_NAME), readOnly ? "read" : "write");
      opened.push(file);
      const journalFile = await openJournal(files, directory, readOnly !== undefined);
      if (journalFile !== undefined) opened.push(journalFile);
      const alone = readOnly ? undefined : await files.lockDirectory(directory, "exclusive");
      const recovered = await recoverIndex(
        file,
        journalFile,
        { write: !readOnly, place: alone !== undefined },
        readOnly?.upTo ?? Number.MAX_SAFE_INTEGER,
        poison,
      ).finally(() => alone?.release());
      const { meta, placed, journal, view, notes } = recovered;
      if (!readOnly) await removeUnfinished(files, directory);
      const table = await readChecksums(view, meta);
      const specs = sectionsFor(meta);
      checkSections(meta, specs);
      const region = createRegion(specs.map(({ reserveBytes }) => Math.ceil(reserveBytes / BLOCK_BYTES) * BLOCK_BYTES));
      opened.push(region);
      poison.watch(() => region.loss());
      const copied = safeReads || view.fd < 0;
      const index = new IndexFile(
        files,
        file,
        journalFile,
        journal,
        placed,
        meta,
        table,
        specs,
        region,
        poison,
        notes,
        copied,
      );
      await index.load(view);
      return index;
    } catch (error) {
      await closeAll(opened).catch(() => {}); // the first error tells more
      throw error;
    }
  }

  /** Fills the region from the file and states the checksums that its blocks must have. */
  private async load(view: StoredFile): Promise<void> {
    const patches = (view as Partial<PatchedFile>).patches ?? [];
    for (const [section, spec] of this.specs.entries()) {
      for (const { sectionBlock, fileBlock, blocks } of runsFrom(extentsOf(this.meta, spec.kind), 0)) {
        const [at, offset, length] = [sectionBlock, fileBlock, blocks].map((n) => n * BLOCK_BYTES);
        if (!this.copied) {
          this.region.map(section, at, length, view.fd, offset);
          for (const [i, patch] of patches.entries()) {
            if (patch.offset < offset || patch.offset >= offset + length) continue;
            const bytes = await (view as PatchedFile).patch(i);
            this.region.load(section, at + patch.offset - offset, bytes);
            const first = (at + patch.offset - offset) / PAGE_BYTES;
            for (let page = first; page < first + bytes.length / PAGE_BYTES; page++) this.waiting[section].add(page);
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
    return (
      this.region.dirtyCount() > 0 ||
      this.specs.some(
        ({ kind }, section) => this.region.kept(section) < capacityBlocks(extentsOf(this.meta, kind)) * BLOCK_BYTES,
      )
    );
  }

  /** Bytes of the journal: more than 0 while checkpoints wait for other processes to end reading. */
  get journalBytes(): number {
    return this.journalEnd;
  }

  /** Bytes by which `compact` would make the file smaller, as of the last checkpoint. */
  get spareBytes(): number {
    const { sections } = this.meta;
    return (endBlock(sections) - endBlock(dense(sections))) * BLOCK_BYTES;
  }

  /** Ends what an earlier checkpoint left to do. Comes before `begin`. */
  async settle(still: Still): Promise<void> {
    this.poison.check();
    await this.checkLength();
    await this.place(still);
    if (this.leftovers) await this.discardLeftovers();
  }

  /**
   * What a checkpoint is to write, as memory is now, as of log record `lsn`. While this runs nothing may change the
   * region; afterwards everything may. `write` must follow.
   */
  begin(lsn: number, config: Json): Snapshot {
    const { region, specs, meta, states } = this;
    return takeSnapshot(region, specs, meta, states, lsn, config);
  }

  /**
   * Writes a snapshot, and makes it the checkpoint once `ready` has resolved.
   * @throws {HebbError} where it failed before the commit point: all is as if `begin` had not been; or behind it
   */
  async write(snapshot: Snapshot, still: Still, ready: Promise<unknown>): Promise<void> {
    this.leftovers = true;
    const writer = new CheckpointWriter(this.region, this.specs, this.meta, this.table, snapshot);
    let committed: Committed;
    try {
      this.poison.check();
      await writer.writeAdded(this.file, this.endBlock, this.poison);
      await ready;
      const journal = new JournalWriter(this.journalFile!, snapshot.meta, this.journalEnd);
      committed = await writer.writeJournal(journal, this.poison);
    } catch (error) {
      for (const [i, { pages, kept }] of snapshot.parts.entries()) this.region.restore(i, pages, kept);
      // Gives the disk space back; where that fails too, the next checkpoint tries again.
      if (this.poison.cause === undefined) await this.discardLeftovers().catch(() => {});
      throw error;
    } finally {
      this.region.forgetSnapshot();
    }
    this.journal = [...this.journal, committed];
    this.meta = snapshot.meta;
    this.table = writer.table;
    this.leftovers = false;
    // What is new to a section is mapped before its old blocks can be used again.
    await this.poison.guard(() => still(async () => this.mapAdded(snapshot)));
    await this.place(still);
  }

  private get journalEnd(): number {
    const last = this.journal.at(-1);
    return last === undefined ? 0 : endOf(last);
  }

  /**
   * A file that somebody cut must not be made longer again: what was mapped behind its end, changed pages included, would
   * read as zeros from then on, and no fault would tell.
   */
  private async checkLength(): Promise<void> {
    const [found, expected] = [await this.file.size(), this.endBlock * BLOCK_BYTES];
    if (found >= expected) return;
    const message = `${this.file.path} has ${found} bytes; expected at least ${expected}. It was cut while it was open: close this handle and put it back from a copy`;
    const error = new HebbError("IO_ERROR", message, { path: this.file.path, found, expected });
    await this.poison.guard(() => Promise.reject(error));
  }

  /** Step 4, and giving back what it makes needless in memory. Nothing happens while another process reads. */
  private async place(still: Still): Promise<void> {
    if (this.journal.length === 0) return;
    const alone = await this.files.lockDirectory(dirname(this.file.path), "exclusive");
    if (alone === undefined) return;
    try {
      await this.placeAlone();
    } finally {
      await alone.release();
    }
    for (const [i, waiting] of this.waiting.entries()) {
      const pages = Uint32Array.from(waiting).sort();
      waiting.clear();
      for (let from = 0; from < pages.length; from += DROPPED_PAGES) {
        const slice = pages.subarray(from, from + DROPPED_PAGES);
        await still(async () => this.region.dropPages(i, slice));
        await breathe();
      }
    }
  }

  private async placeAlone(): Promise<void> {
    this.leftovers = true;
    await applyJournal(this.file, this.journalFile!, this.journal, this.poison);
    this.placed = this.meta;
    this.journal = [];
    await this.discardLeftovers();
  }

  /**
   * What step 2 wrote is in the file, so it is mapped from there, but for what was discarded since. The rest of what
   * changed is in the journal.
   */
  private mapAdded({ parts }: Snapshot): void {
    if (this.copied) return;
    for (const [i, { kind }] of this.specs.entries()) {
      const { stay, pages } = parts[i];
      const kept = this.region.kept(i) / BLOCK_BYTES;
      this.mapRuns(i, runsFrom(cut(extentsOf(this.meta, kind), kept), stay));
      for (const page of this.waiting[i]) if (page >= stay * PAGES_PER_BLOCK) this.waiting[i].delete(page);
      for (const page of pages.subarray(0, pagesBelow(pages, stay))) this.waiting[i].add(page);
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
    await cutJournal(this.journalFile!, this.journalEnd, this.poison);
    const end = this.endBlock * BLOCK_BYTES;
    if ((await this.file.size()) > end) await this.file.truncate(end);
    this.leftovers = false;
  }

  /** The section tables that somebody may read by: that in place, and those of the journal. */
  private get states(): SectionEntry[][] {
    return [this.placed, ...this.journal.map(({ meta }) => meta)].map(({ sections }) => sections);
  }

  /** Where the file ends for all of them. */
  private get endBlock(): number {
    return Math.max(...this.states.map(endBlock));
  }

  /**
   * Gives all free and spare blocks back: afterwards the file has what the sections use, and nothing
   * else. Needs as much disk again as that meanwhile. Everything must be in a checkpoint, and nothing
   * may change the region meanwhile; reading goes on.
   * @throws {HebbError} INDEX_CORRUPT for a damaged block, STORE_LOCKED while another process reads: the file stays as it is
   */
  async compact(): Promise<void> {
    this.poison.check();
    assert(!this.isChanged(), "a checkpoint comes before a compaction");
    const directory = dirname(this.file.path);
    const alone = await this.files.lockDirectory(directory, "exclusive");
    if (alone === undefined) {
      const message = `${directory} is open for reading elsewhere, so index.hebb cannot be written anew; close it there, and compact again`;
      throw new HebbError("STORE_LOCKED", message, { path: directory });
    }
    try {
      await this.compactAlone(directory);
    } finally {
      await alone.release();
    }
  }

  private async compactAlone(directory: string): Promise<void> {
    if (this.journal.length > 0) await this.placeAlone();
    if (this.leftovers) await this.discardLeftovers();
    if (this.spareBytes === 0) return;
    const path = join(directory, NEW_INDEX_NAME);
    // Another generation: a journal belongs to one file alone.
    const meta = { ...this.meta, generation: this.meta.generation + 1, sections: dense(this.meta.sections) };
    let table: Uint32Array;
    try {
      await removeUnfinished(this.files, directory);
      const file = await this.files.open(path, "create");
      try {
        table = await writeDense(this.file, { meta: this.meta, table: this.table }, file, meta);
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
      this.file = await this.files.open(old.path, "write");
      this.meta = this.placed = meta;
      this.table = table;
      for (const [i, { kind }] of this.specs.entries()) {
        const extents = extentsOf(this.meta, kind);
        this.region.discard(i, capacityBlocks(extents) * BLOCK_BYTES); // spare blocks: zeros, as before
        if (!this.copied) this.mapRuns(i, runsFrom(extents, 0));
        this.region.snapshot(i); // all that was discarded is gone from the file, too
        this.waiting[i].clear();
      }
    });
    await old.close();
  }

  /**
   * Writes the last checkpoint to `path` as a whole index.hebb without a free block, durably but for its name.
   * @throws {HebbError} INDEX_CORRUPT for a damaged block
   */
  async copyTo(path: string): Promise<void> {
    const file = await this.files.open(path, "create");
    try {
      const { meta, table } = this;
      await writeDense(await this.view(), { meta, table }, file, { ...meta, sections: dense(meta.sections) });
    } finally {
      await file.close();
    }
  }

  /** Reads the whole file, not memory, against its checksums. */
  async check(): Promise<Fault[]> {
    return checkIndex(await this.view(), this.meta, this.table);
  }

  /** The file as it will be once the journal is in place. */
  private async view(): Promise<StoredFile> {
    return this.journal.length > 0 ? await patchedFile(this.file, this.journalFile!, this.journal) : this.file;
  }

  async close(): Promise<void> {
    await closeAll([this.region, ...(this.journalFile ? [this.journalFile] : []), this.file]);
  }
}

/** Removes what a creation or a compaction that was cut short left beside index.hebb. */
async function removeUnfinished(files: Files, directory: string): Promise<void> {
  const path = join(directory, NEW_INDEX_NAME);
  const kind = await files.kind(path);
  if (kind === "file" || kind === "other") await files.unlink(path);
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
  await allDone(opened.map(async (one) => one.close()));
}
