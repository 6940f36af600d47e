/**
 * The journal of a checkpoint: everything that is to change in place in index.hebb, written and
 * synced before any of it does. Once it is whole and durable the checkpoint has happened; putting it
 * in place can be repeated any number of times.
 *
 * The two meta slots always hold the same, except while a journal is put in place: slot 0 is written
 * first and synced, then the pages, then slot 1. So one slot is whole at every moment, and two whole
 * slots that differ prove that pages may be half-way: without its journal such a file is damaged.
 */
import { HebbError } from "../base/errors.js";
import { BLOCK_BYTES } from "../native/index.js";
import { type StoredFile, WindowReader } from "./files.js";
import {
  decodeJournalEntry,
  decodeJournalHeader,
  decodeSlot,
  encodeJournalEntry,
  encodeJournalHeader,
  encodeSlot,
  endBlock,
  entryIsWhole,
  JOURNAL_BODY_AT,
  JOURNAL_ENTRY_BYTES,
  JOURNAL_HEADER_BYTES,
  type JournalHeader,
  type Meta,
  SLOT_BYTES,
  SLOTS,
} from "./format.js";
import type { Poison } from "./poison.js";

/** Bytes gathered before they are written. */
const WRITE_BYTES = 1 << 20;
/** Writes in place under way at the same time. */
const WRITES_AT_ONCE = 32;

/** Bytes that belong at `offset` of index.hebb. */
export interface JournalEntry {
  offset: number;
  bytes: Uint8Array;
}

/** Writes a journal. The first entry is the meta slot; `commit` is the checkpoint's commit point. */
export class JournalWriter {
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private bodyBytes = 0;
  private entries = 0;

  /** @param file emptied, durably */
  constructor(
    private readonly file: StoredFile,
    private readonly meta: Meta,
  ) {
    this.gather(SLOTS[0], encodeSlot(meta));
  }

  /** Adds whole pages, at most 4 MiB. They are copied. */
  async add(offset: number, bytes: Uint8Array): Promise<void> {
    this.gather(offset, Uint8Array.from(bytes));
    if (this.waitingBytes >= WRITE_BYTES) await this.flush();
  }

  async commit(poison: Poison): Promise<JournalHeader> {
    await this.flush();
    const { storeId, generation } = this.meta;
    const header = { storeId, generation, entries: this.entries, bodyBytes: this.bodyBytes };
    await this.file.pwrite(encodeJournalHeader(header), 0);
    await poison.sync(this.file);
    return header;
  }

  private gather(offset: number, bytes: Uint8Array): void {
    const head = encodeJournalEntry(offset, this.meta.generation, bytes);
    this.waiting.push(head, bytes);
    this.waitingBytes += head.length + bytes.length;
    this.entries++;
  }

  private async flush(): Promise<void> {
    await this.file.pwrite(Buffer.concat(this.waiting, this.waitingBytes), JOURNAL_BODY_AT + this.bodyBytes);
    this.bodyBytes += this.waitingBytes;
    this.waiting = [];
    this.waitingBytes = 0;
  }
}

/** The entries after the meta slot, and for each where in the journal its bytes lie. @throws {HebbError} JOURNAL_CORRUPT */
async function* journalEntries(file: StoredFile, header: JournalHeader): AsyncGenerator<JournalEntry & { at: number }> {
  const end = JOURNAL_BODY_AT + header.bodyBytes;
  const reader = new WindowReader(file, end);
  let at = JOURNAL_BODY_AT;
  for (let i = 0; i < header.entries; i++) {
    const head = await reader.bytes(at, JOURNAL_ENTRY_BYTES);
    const entry = head && decodeJournalEntry(head, header.generation);
    const bytes = entry && (await reader.bytes(at + JOURNAL_ENTRY_BYTES, entry.length));
    if (head === undefined || entry === undefined || bytes === undefined || !entryIsWhole(head, bytes)) {
      throw new HebbError("JOURNAL_CORRUPT", `index.hebb-journal, offset ${at}: entry ${i} is damaged`, { offset: at });
    }
    if (i > 0) yield { offset: entry.offset, bytes, at: at + JOURNAL_ENTRY_BYTES };
    at += JOURNAL_ENTRY_BYTES + entry.length;
  }
}

/** A journal that is whole to its last byte, with the meta it leads to. */
export interface Journal {
  header: JournalHeader;
  meta: Meta;
}

/** Reads and verifies all of a journal. @returns undefined where it is empty or not whole */
export async function readJournal(file: StoredFile): Promise<Journal | undefined> {
  const header = decodeJournalHeader(await file.pread(JOURNAL_HEADER_BYTES, 0), await file.size());
  if (header === undefined) return undefined;
  const slot = decodeSlot(await file.pread(SLOT_BYTES, JOURNAL_BODY_AT + JOURNAL_ENTRY_BYTES));
  if (slot.state !== "valid" || slot.meta.generation !== header.generation) return undefined;
  const end = endBlock(slot.meta.sections) * BLOCK_BYTES;
  try {
    for await (const { offset, bytes } of journalEntries(file, header)) {
      if (offset < BLOCK_BYTES || offset + bytes.length > end) return undefined;
    }
  } catch (error) {
    if (error instanceof HebbError && error.code === "JOURNAL_CORRUPT") return undefined;
    throw error;
  }
  return { header, meta: slot.meta };
}

/** Puts a committed journal in place. Harmless to repeat after a failure or a crash. */
export async function applyJournal(
  index: StoredFile,
  file: StoredFile,
  { header, meta }: Journal,
  poison: Poison,
): Promise<void> {
  const slot = encodeSlot(meta);
  await index.pwrite(slot, SLOTS[0]);
  await poison.sync(index);
  let writes: Promise<void>[] = [];
  for await (const { offset, bytes } of journalEntries(file, header)) {
    writes.push(index.pwrite(bytes, offset));
    if (writes.length === WRITES_AT_ONCE) {
      await allDone(writes);
      writes = [];
    }
  }
  await allDone(writes);
  await poison.sync(index);
  await index.pwrite(slot, SLOTS[1]);
  await poison.sync(index);
}

/** Waits for all, also where one fails, so that no write is still under way when this returns. */
async function allDone(writes: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(writes)).find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** Empties the journal durably: whatever is written into it next can never be read together with what was there. */
export async function emptyJournal(file: StoredFile, poison: Poison): Promise<void> {
  await file.truncate(0);
  await poison.sync(file);
}

/**
 * index.hebb as it will be once the journal is in place, for a read-only handle, which must not put
 * it there. `patches` lists what differs from the file itself.
 */
export interface PatchedFile extends StoredFile {
  readonly patches: readonly { offset: number; length: number; at: number }[];
  patch(index: number): Promise<Uint8Array>;
}

export async function patchedFile(index: StoredFile, file: StoredFile, journal: Journal): Promise<PatchedFile> {
  const slotAt = JOURNAL_BODY_AT + JOURNAL_ENTRY_BYTES;
  const patches = SLOTS.map((offset) => ({ offset: offset as number, length: SLOT_BYTES, at: slotAt }));
  for await (const { offset, bytes, at } of journalEntries(file, journal.header)) {
    patches.push({ offset, length: bytes.length, at });
  }
  const readOnly = async (): Promise<void> => {
    throw new HebbError("STORE_READ_ONLY", "the store was opened with readOnly");
  };
  return {
    path: index.path,
    fd: index.fd,
    patches,
    patch: (i) => file.pread(patches[i].length, patches[i].at),
    async pread(length, at) {
      const bytes = Uint8Array.from(await index.pread(length, at));
      for (const patch of patches) {
        const from = Math.max(at, patch.offset);
        const to = Math.min(at + bytes.length, patch.offset + patch.length);
        if (from < to) bytes.set(await file.pread(to - from, patch.at + from - patch.offset), from - at);
      }
      return bytes;
    },
    size: () => index.size(),
    pwrite: readOnly,
    truncate: readOnly,
    sync: readOnly,
    allocate: readOnly,
    close: () => index.close(),
  };
}
