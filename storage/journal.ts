/**
 * The journal: checkpoints that are committed and not yet in place in index.hebb, one behind the other.
 * Everything that a checkpoint changes in place is written and synced here before any of it does. Once it
 * is whole and durable the checkpoint has happened; putting it in place can be repeated any number of times.
 *
 * Usually there is one, put in place at once. While other processes read index.hebb nothing there may
 * change, so checkpoints gather here, and are put in place together once nobody reads.
 *
 * The two meta slots always hold the same, except while the journal is put in place: slot 0 is written
 * first and synced, then the pages, then slot 1. So one slot is whole at every moment, and two whole
 * slots that differ prove that pages may be half-way: without its journal such a file is damaged.
 */
import { allDone } from "../base/all-done.js";
import { HebbError } from "../base/errors.js";
import { BLOCK_BYTES, PAGE_BYTES } from "../native/index.js";
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

/** A checkpoint that is whole in the journal. */
export interface Committed {
  /** Where in the journal it begins. */
  at: number;
  header: JournalHeader;
  /** The meta that it leads to. */
  meta: Meta;
}

/** Where in the journal the next checkpoint would begin. */
export function endOf({ at, header }: Committed): number {
  return Math.ceil((at + JOURNAL_BODY_AT + header.bodyBytes) / PAGE_BYTES) * PAGE_BYTES;
}

/** Writes a checkpoint into the journal. The first entry is the meta slot; `commit` is the commit point. */
export class JournalWriter {
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private bodyBytes = 0;
  private entries = 0;

  /** @param at where it begins; the file ends there, durably */
  constructor(
    private readonly file: StoredFile,
    private readonly meta: Meta,
    private readonly at: number,
  ) {
    this.gather(SLOTS[0], encodeSlot(meta));
  }

  /** Adds whole pages, at most 4 MiB, which must not change until `commit` resolves. */
  async add(offset: number, bytes: Uint8Array): Promise<void> {
    this.gather(offset, bytes);
    if (this.waitingBytes >= WRITE_BYTES) await this.flush();
  }

  async commit(poison: Poison): Promise<Committed> {
    await this.flush();
    const { storeId, generation } = this.meta;
    const header = { storeId, generation, entries: this.entries, bodyBytes: this.bodyBytes };
    await this.file.pwrite(encodeJournalHeader(header), this.at);
    await poison.sync(this.file);
    return { at: this.at, header, meta: this.meta };
  }

  private gather(offset: number, bytes: Uint8Array): void {
    const head = encodeJournalEntry(offset, this.meta.generation, bytes);
    this.waiting.push(head, bytes);
    this.waitingBytes += head.length + bytes.length;
    this.entries++;
  }

  private async flush(): Promise<void> {
    const at = this.at + JOURNAL_BODY_AT + this.bodyBytes;
    await this.file.pwrite(Buffer.concat(this.waiting, this.waitingBytes), at);
    this.bodyBytes += this.waitingBytes;
    this.waiting = [];
    this.waitingBytes = 0;
  }
}

/** The entries after the meta slot, and for each where in the journal its bytes lie. @throws {HebbError} JOURNAL_CORRUPT */
async function* journalEntries(
  file: StoredFile,
  start: number,
  header: JournalHeader,
): AsyncGenerator<JournalEntry & { at: number }> {
  const end = start + JOURNAL_BODY_AT + header.bodyBytes;
  const reader = new WindowReader(file, end);
  let at = start + JOURNAL_BODY_AT;
  for (let i = 0; i < header.entries; i++) {
    const head = await reader.bytes(at, JOURNAL_ENTRY_BYTES);
    const entry = head && decodeJournalEntry(head, header.generation);
    const bytes = entry && (await reader.bytes(at + JOURNAL_ENTRY_BYTES, entry.length));
    if (head === undefined || entry === undefined || bytes === undefined || !entryIsWhole(head, bytes)) {
      const message = `index.hebb-journal, offset ${at}: entry ${i} is damaged. Restore the whole store from a copy`;
      throw new HebbError("JOURNAL_CORRUPT", message, { offset: at });
    }
    if (i > 0) yield { offset: entry.offset, bytes, at: at + JOURNAL_ENTRY_BYTES };
    at += JOURNAL_ENTRY_BYTES + entry.length;
  }
}

/** Reads and verifies the journal: the checkpoints in it that are whole, up to the first that is not. */
export async function readJournal(file: StoredFile): Promise<Committed[]> {
  const found: Committed[] = [];
  const size = await file.size();
  for (let at = 0; at < size; at = endOf(found.at(-1)!)) {
    const one = await readCommitted(file, at, size);
    const follows = found.length === 0 || one?.header.generation === found.at(-1)!.header.generation + 1;
    if (one === undefined || !follows) break;
    found.push(one);
  }
  return found;
}

async function readCommitted(file: StoredFile, at: number, size: number): Promise<Committed | undefined> {
  const header = decodeJournalHeader(await file.pread(JOURNAL_HEADER_BYTES, at), size - at);
  if (header === undefined) return undefined;
  const slot = decodeSlot(await file.pread(SLOT_BYTES, at + JOURNAL_BODY_AT + JOURNAL_ENTRY_BYTES));
  if (slot.state !== "valid" || slot.meta.generation !== header.generation) return undefined;
  const end = endBlock(slot.meta.sections) * BLOCK_BYTES;
  try {
    for await (const { offset, bytes } of journalEntries(file, at, header)) {
      if (offset < BLOCK_BYTES || offset + bytes.length > end) return undefined;
    }
  } catch (error) {
    if (error instanceof HebbError && error.code === "JOURNAL_CORRUPT") return undefined;
    throw error;
  }
  return { at, header, meta: slot.meta };
}

/** Puts committed checkpoints in place, the oldest first. Harmless to repeat after a failure or a crash. */
export async function applyJournal(
  index: StoredFile,
  file: StoredFile,
  journal: readonly Committed[],
  poison: Poison,
): Promise<void> {
  const slot = encodeSlot(journal.at(-1)!.meta);
  await index.pwrite(slot, SLOTS[0]);
  await poison.sync(index);
  for (const { at, header } of journal) {
    let writes: Promise<void>[] = [];
    for await (const { offset, bytes } of journalEntries(file, at, header)) {
      writes.push(index.pwrite(bytes, offset));
      if (writes.length === WRITES_AT_ONCE) {
        await allDone(writes);
        writes = [];
      }
    }
    await allDone(writes); // the next checkpoint may have the same pages
  }
  await poison.sync(index);
  await index.pwrite(slot, SLOTS[1]);
  await poison.sync(index);
}

/** Cuts the journal at `end`, durably: whatever is written there next can never be read together with what was there. */
export async function cutJournal(file: StoredFile, end: number, poison: Poison): Promise<void> {
  await file.truncate(end);
  await poison.sync(file);
}

/**
 * index.hebb as it will be once the journal is in place, for handles that must not put it there.
 * `patches` lists what differs from the file itself; of two for one place the later counts.
 */
export interface PatchedFile extends StoredFile {
  readonly patches: readonly { offset: number; length: number; at: number }[];
  patch(index: number): Promise<Uint8Array>;
}

export async function patchedFile(
  index: StoredFile,
  file: StoredFile,
  journal: readonly Committed[],
): Promise<PatchedFile> {
  const patches: { offset: number; length: number; at: number }[] = [];
  /** Where in the journal each page is that differs. */
  const pages = new Map<number, number>();
  for (const { at: start, header } of journal) {
    const slotAt = start + JOURNAL_BODY_AT + JOURNAL_ENTRY_BYTES;
    for (const offset of SLOTS) patches.push({ offset, length: SLOT_BYTES, at: slotAt });
    for await (const { offset, bytes, at } of journalEntries(file, start, header)) {
      patches.push({ offset, length: bytes.length, at });
    }
  }
  for (const { offset, length, at } of patches) {
    for (let done = 0; done < length; done += PAGE_BYTES) pages.set((offset + done) / PAGE_BYTES, at + done);
  }
  const readOnly = async (): Promise<void> => {
    throw new HebbError("STORE_READ_ONLY", "the store was opened with readOnly; open it without to write");
  };
  return {
    path: index.path,
    fd: index.fd,
    patches,
    patch: (i) => file.pread(patches[i].length, patches[i].at),
    async pread(length, at) {
      const bytes = Uint8Array.from(await index.pread(length, at));
      for (let page = Math.floor(at / PAGE_BYTES); page * PAGE_BYTES < at + bytes.length; page++) {
        const patch = pages.get(page);
        if (patch === undefined) continue;
        const from = Math.max(at, page * PAGE_BYTES);
        const to = Math.min(at + bytes.length, (page + 1) * PAGE_BYTES);
        bytes.set(await file.pread(to - from, patch + from - page * PAGE_BYTES), from - at);
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
