/**
 * Reading an index.hebb that is damaged: every block with what its checksum proves of it, whatever else is broken; and
 * writing one anew beside it. Nothing is written to the damaged file, and a committed journal is read as if it were in
 * place.
 *
 * A checksum page that is damaged proves nothing by itself. Yet a CRC in it that its block has was not made by an
 * accident: such a block is sound. The others are unproven: the page may be what is wrong, or they.
 */

import { join } from "node:path";
import { viewOf } from "../base/bytes.js";
import { HebbError } from "../base/errors.js";
import type { Fault } from "../base/types.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../native/index.js";
import { dense, fileBlockOf, pageOffset } from "./extents.js";
import type { Files, StoredFile } from "./files.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  capacityBlocks,
  decodeChecksumPage,
  decodeSlot,
  encodeChecksumPage,
  encodeSlot,
  endBlock,
  hex,
  type Meta,
  type SectionEntry,
  SLOT_BYTES,
  SLOTS,
  type Slot,
  versionError,
} from "./format.js";
import { patchedFile, readJournal } from "./journal.js";
import { INDEX_NAME, JOURNAL_NAME } from "./names.js";
import { noMeta } from "./recover.js";

/** What a checksum says of a block. */
export type Proof = "sound" | "damaged" | "unproven";

/** Bytes that differ between two damaged slots, in runs of at most this many, are tried in all combinations. */
const MOST_RUNS = 10;

export class SalvagedIndex {
  readonly faults: Fault[] = [];
  private readonly proofs = new Map<number, Proof[]>();

  private constructor(
    readonly meta: Meta,
    private readonly view: StoredFile,
    private readonly opened: readonly StoredFile[],
    /** Whether a slot has to be written anew. */
    readonly slotDamaged: boolean,
  ) {}

  /** @throws {HebbError} INDEX_CORRUPT where no slot says what the file holds, JOURNAL_CORRUPT, STORE_VERSION, NOT_A_STORE */
  static async open(files: Files, directory: string): Promise<SalvagedIndex> {
    const opened: StoredFile[] = [];
    try {
      if ((await files.kind(join(directory, INDEX_NAME))) === undefined) {
        throw new HebbError("INDEX_CORRUPT", `index.hebb is gone, and with it all vectors. ${RESTORE}`);
      }
      const file = await files.open(join(directory, INDEX_NAME), "read");
      opened.push(file);
      const journalPath = join(directory, JOURNAL_NAME);
      const journalFile =
        (await files.kind(journalPath)) === undefined ? undefined : await files.open(journalPath, "read");
      if (journalFile !== undefined) opened.push(journalFile);
      const bytes: Uint8Array[] = [];
      for (const at of SLOTS) bytes.push(await file.pread(SLOT_BYTES, at));
      const slots = bytes.map(decodeSlot);
      const newer = slots.find((slot) => slot.state === "newer");
      if (newer !== undefined) throw versionError(newer.version, "index.hebb");
      const metas = slots.flatMap((slot) => (slot.state === "valid" ? [slot.meta] : []));
      const journal = journalFile === undefined ? [] : await readJournal(journalFile);
      const last = journal.at(-1)?.meta;
      const meta =
        last !== undefined && isCommitted(last, journal[0].meta, metas) ? last : newestOf(metas, slots, bytes);
      const inJournal = meta === last;
      if (!inJournal && metas.length === 2 && metas[0].generation !== metas[1].generation) {
        throw new HebbError(
          "JOURNAL_CORRUPT",
          `checkpoint ${meta.generation} was being put in place, and index.hebb-journal, which has the rest of it, is ` +
            `damaged: no block tells which checkpoint it is of. ${RESTORE}`,
        );
      }
      const view = inJournal ? await patchedFile(file, journalFile!, journal) : file;
      const index = new SalvagedIndex(meta, view, opened, metas.length < 2 && !inJournal);
      for (const [i, slot] of slots.entries()) {
        if (slot.state === "valid" || inJournal) continue;
        const why = slot.state === "damaged" ? slot.reason : slot.state;
        const message = `section meta, slot ${i}, offset ${SLOTS[i]}: ${why}`;
        index.faults.push({ code: "INDEX_CORRUPT", section: "meta", offset: SLOTS[i], message });
      }
      await index.verify();
      return index;
    } catch (error) {
      for (const one of opened) await one.close().catch(() => {}); // the first error tells more
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const one of this.opened) await one.close();
  }

  entry(name: string): SectionEntry | undefined {
    return this.meta.sections.find((section) => section.name === name);
  }

  /** What is proven of [at, at + length) of a section: of its worst block. */
  proofOf(entry: SectionEntry | undefined, at: number, length: number): Proof {
    if (entry === undefined || length === 0) return "sound";
    const proofs = this.proofs.get(entry.kind) ?? [];
    const some = proofs.slice(Math.floor(at / BLOCK_BYTES), Math.ceil((at + length) / BLOCK_BYTES));
    return some.includes("damaged") ? "damaged" : some.includes("unproven") ? "unproven" : "sound";
  }

  /** The whole section's. */
  proofOfAll(entry: SectionEntry | undefined): Proof {
    return entry === undefined ? "sound" : this.proofOf(entry, 0, roomIn(entry));
  }

  /** Bytes of a section, damaged or not: zeros where it has none. */
  async read(entry: SectionEntry | undefined, at: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    if (entry === undefined) return bytes;
    const end = Math.min(at + length, roomIn(entry));
    for (let from = at; from < end; ) {
      const block = Math.floor(from / BLOCK_BYTES);
      const to = Math.min(end, (block + 1) * BLOCK_BYTES);
      const offset = fileBlockOf(entry.extents, block) * BLOCK_BYTES + (from % BLOCK_BYTES);
      bytes.set(await this.view.pread(to - from, offset), from - at);
      from = to;
    }
    return bytes;
  }

  /** All bytes that the section's length says it has. */
  readAll(entry: SectionEntry | undefined): Promise<Uint8Array> {
    return this.read(entry, 0, entry?.length ?? 0);
  }

  private async verify(): Promise<void> {
    const { meta } = this;
    const end = endBlock(meta.sections);
    const table = new Uint32Array(end);
    const doubtful = new Set<number>();
    const checksums = meta.sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
    const pages = Math.ceil(end / CHECKSUMS_PER_PAGE);
    for (let page = 0; page < pages && end > 1; page++) {
      const there = page < checksums.length / PAGE_BYTES;
      const offset = there ? pageOffset(checksums.extents, page) : 0;
      const bytes = there ? await this.view.pread(PAGE_BYTES, offset) : new Uint8Array(0);
      if (decodeChecksumPage(bytes, page, table)) continue;
      doubtful.add(page);
      const entries = viewOf(bytes);
      for (let i = 0; i < Math.min(CHECKSUMS_PER_PAGE, Math.floor(bytes.length / 4)); i++) {
        const block = page * CHECKSUMS_PER_PAGE + i;
        if (block < end) table[block] = entries.getUint32(4 * i, true);
      }
      const message = `section checksums, page ${page}, offset ${offset}: its own checksum does not match`;
      this.faults.push({ code: "INDEX_CORRUPT", section: "checksums", offset, message });
    }
    for (const { kind, name, extents } of meta.sections) {
      if (kind === CHECKSUMS_KIND) continue;
      const proofs: Proof[] = [];
      for (let block = 0; block < capacityBlocks(extents); block++) {
        const fileBlock = fileBlockOf(extents, block);
        const bytes = await this.view.pread(BLOCK_BYTES, fileBlock * BLOCK_BYTES);
        const computed = crc32c(bytes);
        if (bytes.length === BLOCK_BYTES && computed === table[fileBlock]) {
          proofs.push("sound");
          continue;
        }
        const inDoubt = doubtful.has(Math.floor(fileBlock / CHECKSUMS_PER_PAGE)) && bytes.length === BLOCK_BYTES;
        proofs.push(inDoubt ? "unproven" : "damaged");
        const offset = fileBlock * BLOCK_BYTES;
        const sums = `checksum ${hex(table[fileBlock])} stored, ${hex(computed)} computed`;
        const message = `section ${name}, block ${block}, offset ${offset}: ${sums}`;
        this.faults.push({ code: "INDEX_CORRUPT", section: name, block, offset, message });
      }
      this.proofs.set(kind, proofs);
    }
  }
}

/** Bytes that the extents of a section have. */
export const roomIn = ({ extents }: SectionEntry): number => capacityBlocks(extents) * BLOCK_BYTES;

const RESTORE = "Nothing was changed. Restore the whole store from a copy";

function isCommitted(last: Meta, first: Meta, metas: readonly Meta[]): boolean {
  // With no slot left, the journal itself is whole to its last byte, and begins with the slot.
  return metas.every(
    (meta) =>
      Buffer.from(last.storeId).equals(meta.storeId) &&
      last.generation >= meta.generation &&
      first.generation <= meta.generation + 1,
  );
}

/** The newest whole slot; where none is, what the two say together. @throws {HebbError} INDEX_CORRUPT, NOT_A_STORE */
function newestOf(metas: readonly Meta[], slots: readonly Slot[], bytes: readonly Uint8Array[]): Meta {
  if (metas.length > 0) return metas.reduce((newest, one) => (one.generation > newest.generation ? one : newest));
  const joined = slots.every(({ state }) => state === "foreign") ? undefined : joinSlots(bytes[0], bytes[1]);
  if (joined !== undefined) return joined;
  throw noMeta(
    slots,
    `Which section lies where, and by what metric the vectors are compared, is nowhere else. ${RESTORE}`,
  );
}

/**
 * The two slots hold the same bytes. Where both are damaged, in places that are not the same, one of them has each byte
 * right; the checksum tells which.
 */
function joinSlots(a: Uint8Array, b: Uint8Array): Meta | undefined {
  if (a.length < SLOT_BYTES || b.length < SLOT_BYTES) return undefined;
  const runs: [from: number, to: number][] = [];
  for (let i = 0; i < SLOT_BYTES; i++) {
    if (a[i] === b[i]) continue;
    const last = runs.at(-1);
    if (last !== undefined && i - last[1] < 64) last[1] = i + 1;
    else runs.push([i, i + 1]);
    if (runs.length > MOST_RUNS) return undefined;
  }
  for (let choice = 0; choice < 1 << runs.length; choice++) {
    const bytes = Uint8Array.from(a);
    runs.forEach(([from, to], i) => {
      if ((choice >> i) & 1) bytes.set(b.subarray(from, to), from);
    });
    const slot = decodeSlot(bytes);
    if (slot.state === "valid") return slot.meta;
  }
  return undefined;
}

/** A section as it is to be: its bytes from `at` on, `length` of them. */
export interface SectionContents {
  length: number;
  read(at: number, length: number): Promise<Uint8Array>;
}

/** A section of these bytes. */
export const bufferContents = (bytes: Uint8Array): SectionContents => ({
  length: bytes.length,
  read: async (at, length) => bytes.subarray(at, at + length),
});

/** Writes an index.hebb of the next generation, each section one extent, durably but for its name. */
export async function writeIndex(
  files: Files,
  path: string,
  meta: Meta,
  contents: ReadonlyMap<number, SectionContents>,
): Promise<void> {
  const sections = dense(
    meta.sections.map((entry) => ({ ...entry, length: contents.get(entry.kind)?.length ?? entry.length })),
  );
  const fresh: Meta = { ...meta, generation: meta.generation + 1, sections };
  const table = new Uint32Array(endBlock(sections));
  const file = await files.open(path, "create");
  try {
    await file.truncate(0);
    await file.allocate(0, table.length * BLOCK_BYTES);
    for (const { kind, extents } of sections) {
      const content = contents.get(kind);
      if (kind === CHECKSUMS_KIND || content === undefined) continue;
      for (let block = 0; block < capacityBlocks(extents); block++) {
        const left = content.length - block * BLOCK_BYTES;
        const bytes = new Uint8Array(BLOCK_BYTES);
        bytes.set(await content.read(block * BLOCK_BYTES, Math.min(BLOCK_BYTES, left)));
        const fileBlock = fileBlockOf(extents, block);
        table[fileBlock] = crc32c(bytes);
        await file.pwrite(bytes, fileBlock * BLOCK_BYTES);
      }
    }
    const { extents, length } = sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
    for (let page = 0; page < length / PAGE_BYTES; page++) {
      await file.pwrite(encodeChecksumPage(table, page), pageOffset(extents, page));
    }
    for (const at of SLOTS) await file.pwrite(encodeSlot(fresh), at);
    await file.sync();
  } finally {
    await file.close();
  }
}
