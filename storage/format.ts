/**
 * Every byte of index.hebb, index.hebb-journal, the log and train.progress, as docs/format.md draws it: constants,
 * and encoders and decoders of each structure. All numbers are little-endian. Decoders trust
 * nothing: a count, length or offset is checked before it is used or allocated for.
 */
import { HebbError } from "../base/errors.js";
import { type Json, METRICS, type Metric } from "../base/types.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../native/index.js";

/** Version of every file of a store. A newer one is refused; there is no older one yet. */
const FORMAT_VERSION = 1;

/** Each file begins with 8 such bytes. */
const INDEX_MAGIC = Buffer.from("HEBBIDX\n");
const JOURNAL_MAGIC = Buffer.from("HEBBJNL\n");
const SEGMENT_MAGIC = Buffer.from("HEBBWAL\n");
const PROGRESS_MAGIC = Buffer.from("HEBBPRG\n");

export const STORE_ID_BYTES = 16;
/** Numbers from a file are 64-bit; beyond this they are damage, and doubles stop being exact. */
const MAX = Number.MAX_SAFE_INTEGER;

/** A stretch of index.hebb that belongs to one section: `blocks` blocks of 64 KiB from block `fileBlock`. */
export interface Extent {
  fileBlock: number;
  blocks: number;
}

/** A row of the section table. Its extents, one after the other, are the section's bytes. */
export interface SectionEntry {
  /** What it holds; 0 is the checksums. A kind that is not known is kept as it is. */
  kind: number;
  /** At most 24 bytes of UTF-8. */
  name: string;
  /** Bytes per record, for the section's owner. */
  stride: number;
  /** Bytes to the end of the last page ever changed, or to where the section was cut off since. The extents may reach further; there are zeros. */
  length: number;
  extents: Extent[];
}

/** What a meta slot says: the state of index.hebb as of one checkpoint. */
export interface Meta {
  storeId: Uint8Array;
  dimensions: number;
  metric: Metric;
  /** Counts checkpoints and compactions, from 1 at creation. */
  generation: number;
  /** The index holds the effect of every log record up to this one. */
  lsn: number;
  sections: SectionEntry[];
  /** Free-form, at most 8 KiB as JSON. */
  config: Json;
}

// Meta slots. There are two, holding the same; together they fill block 0.

export const SLOT_BYTES = 32768;
/** Where the two slots lie. */
export const SLOTS = [0, SLOT_BYTES] as const;
const SLOT_HEADER_BYTES = 128;
const SECTION_HEADER_BYTES = 48;
const EXTENT_BYTES = 8;
const NAME_BYTES = 24;
const MAX_CONFIG_BYTES = 8192;
/** The kind of the section that holds the checksums of all blocks. */
export const CHECKSUMS_KIND = 0;

/**
 * @throws {RangeError} where the sections and the config do not fit. Extents grow by a quarter each
 * time, so that 24 sections of 16 TiB each still fit.
 */
export function encodeSlot(meta: Meta): Uint8Array {
  const slot = Buffer.alloc(SLOT_BYTES);
  const config = Buffer.from(JSON.stringify(meta.config));
  if (config.length > MAX_CONFIG_BYTES) {
    throw new RangeError(`config takes ${config.length} bytes as JSON; expected at most ${MAX_CONFIG_BYTES}`);
  }
  const extents = meta.sections.reduce((sum, section) => sum + section.extents.length, 0);
  const used = SLOT_HEADER_BYTES + meta.sections.length * SECTION_HEADER_BYTES + extents * EXTENT_BYTES + config.length;
  if (used > SLOT_BYTES) {
    throw new RangeError(`${meta.sections.length} sections with ${extents} extents do not fit into a meta slot`);
  }
  INDEX_MAGIC.copy(slot, 0);
  slot.writeUInt32LE(FORMAT_VERSION, 8);
  slot.set(meta.storeId, 16);
  slot.writeUInt32LE(meta.dimensions, 32);
  slot.writeUInt32LE(METRICS.indexOf(meta.metric) + 1, 36);
  writeUint64(slot, meta.generation, 40);
  writeUint64(slot, meta.lsn, 48);
  slot.writeUInt32LE(meta.sections.length, 56);
  slot.writeUInt32LE(config.length, 60);
  let at = SLOT_HEADER_BYTES;
  for (const section of meta.sections) {
    slot.writeUInt32LE(section.kind, at);
    slot.writeUInt32LE(section.stride, at + 4);
    writeUint64(slot, section.length, at + 8);
    slot.writeUInt32LE(section.extents.length, at + 16);
    const name = Buffer.from(section.name);
    if (name.length > NAME_BYTES) throw new RangeError(`section name "${section.name}" exceeds ${NAME_BYTES} bytes`);
    name.copy(slot, at + 24);
    at += SECTION_HEADER_BYTES;
    for (const { fileBlock, blocks } of section.extents) {
      slot.writeUInt32LE(fileBlock, at);
      slot.writeUInt32LE(blocks, at + 4);
      at += EXTENT_BYTES;
    }
  }
  config.copy(slot, at);
  slot.writeUInt32LE(crc32c(slot), 12);
  return slot;
}

/** What a meta slot turned out to be: usable, of a newer version, none of ours, or damaged. */
export type Slot =
  | { state: "valid"; meta: Meta }
  | { state: "newer"; version: number }
  | { state: "foreign" }
  | { state: "damaged"; reason: string };

export function decodeSlot(bytes: Uint8Array): Slot {
  const damaged = (reason: string): Slot => ({ state: "damaged", reason });
  const slot = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (slot.length < SLOT_BYTES) {
    return hasMagic(slot, INDEX_MAGIC) ? damaged(`only ${slot.length} of ${SLOT_BYTES} bytes`) : { state: "foreign" };
  }
  if (!hasMagic(slot, INDEX_MAGIC)) return { state: "foreign" };
  const version = slot.readUInt32LE(8);
  // Magic, version and checksum keep their places in every version, so this works for newer ones too.
  const stored = slot.readUInt32LE(12);
  const computed = crcWithout(slot, 12);
  if (stored !== computed) return damaged(`checksum ${hex(stored)} stored, ${hex(computed)} computed`);
  if (version > FORMAT_VERSION) return { state: "newer", version };
  const metric = METRICS[slot.readUInt32LE(36) - 1];
  const dimensions = slot.readUInt32LE(32);
  const generation = readUint64(slot, 40);
  const lsn = readUint64(slot, 48);
  if (version === 0 || metric === undefined || dimensions === 0 || generation > MAX || lsn > MAX) {
    return damaged("a field is out of range");
  }
  const sections: SectionEntry[] = [];
  let at = SLOT_HEADER_BYTES;
  for (let left = slot.readUInt32LE(56); left > 0; left--) {
    if (at + SECTION_HEADER_BYTES > SLOT_BYTES) return damaged("the section table does not fit");
    const length = readUint64(slot, at + 8);
    const count = slot.readUInt32LE(at + 16);
    const extents: Extent[] = [];
    const header = at;
    at += SECTION_HEADER_BYTES;
    if (count > (SLOT_BYTES - at) / EXTENT_BYTES) return damaged("the extents do not fit");
    for (let i = 0; i < count; i++, at += EXTENT_BYTES) {
      extents.push({ fileBlock: slot.readUInt32LE(at), blocks: slot.readUInt32LE(at + 4) });
    }
    const name = slot.toString("utf8", header + 24, header + 24 + NAME_BYTES).replace(/\0+$/, "");
    const [kind, stride] = [slot.readUInt32LE(header), slot.readUInt32LE(header + 4)];
    if (length > capacityBlocks(extents) * BLOCK_BYTES) return damaged(`section ${name} is longer than its extents`);
    if (sections.some((other) => other.kind === kind)) return damaged(`two sections of kind ${kind}`);
    sections.push({ kind, name, stride, length, extents });
  }
  if (!sections.some((section) => section.kind === CHECKSUMS_KIND)) return damaged("no section of checksums");
  const overlap = overlapping(sections);
  if (overlap !== undefined) return damaged(overlap);
  const configBytes = slot.readUInt32LE(60);
  if (configBytes > SLOT_BYTES - at) return damaged("the config does not fit");
  let config: Json;
  try {
    config = JSON.parse(slot.toString("utf8", at, at + configBytes)) as Json;
  } catch {
    return damaged("the config is not JSON");
  }
  const storeId = Uint8Array.from(slot.subarray(16, 16 + STORE_ID_BYTES));
  const meta = { storeId, dimensions, metric, generation, lsn, sections, config };
  try {
    encodeSlot(meta); // names that are no text, say, would come back longer: no checkpoint could write them
  } catch (cause) {
    return damaged((cause as Error).message);
  }
  return { state: "valid", meta };
}

export function capacityBlocks(extents: readonly Extent[]): number {
  return extents.reduce((sum, extent) => sum + extent.blocks, 0);
}

/** Blocks up to the end of the last extent: the file's length as of this meta. */
export function endBlock(sections: readonly SectionEntry[]): number {
  return sections.flatMap((section) => section.extents).reduce((end, e) => Math.max(end, e.fileBlock + e.blocks), 1);
}

function overlapping(sections: SectionEntry[]): string | undefined {
  const extents = sections.flatMap((section) => section.extents.map((extent) => ({ ...extent, name: section.name })));
  extents.sort((a, b) => a.fileBlock - b.fileBlock);
  let end = 1; // block 0 holds the slots
  for (const { fileBlock, blocks, name } of extents) {
    if (blocks === 0) return `section ${name} has an empty extent`;
    if (fileBlock < end) return `section ${name} has an extent at block ${fileBlock}, which is in use`;
    end = fileBlock + blocks;
  }
  return undefined;
}

// Checksum pages: 1,023 CRC-32C of blocks, in order of the file, then the page's own.

/** Checksums in one page of the checksums section. */
export const CHECKSUMS_PER_PAGE = PAGE_BYTES / 4 - 1;
/** The checksum of a block of zeros. */
export const ZERO_BLOCK_CHECKSUM: number = crc32c(new Uint8Array(BLOCK_BYTES));

/** Page `page` of the checksums of all blocks. Blocks past the end of `table` have 0. */
export function encodeChecksumPage(table: Uint32Array, page: number): Uint8Array {
  const bytes = Buffer.alloc(PAGE_BYTES);
  const first = page * CHECKSUMS_PER_PAGE;
  for (let i = 0; i < CHECKSUMS_PER_PAGE && first + i < table.length; i++) bytes.writeUInt32LE(table[first + i], i * 4);
  // The page's number is the seed: a page in the wrong place does not pass.
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, PAGE_BYTES - 4), page), PAGE_BYTES - 4);
  return bytes;
}

/** Puts a page's checksums into `table`; false where the page is damaged. */
export function decodeChecksumPage(bytes: Uint8Array, page: number, table: Uint32Array): boolean {
  if (bytes.length < PAGE_BYTES) return false;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, PAGE_BYTES);
  if (view.readUInt32LE(PAGE_BYTES - 4) !== crc32c(view.subarray(0, PAGE_BYTES - 4), page)) return false;
  const first = page * CHECKSUMS_PER_PAGE;
  for (let i = 0; i < CHECKSUMS_PER_PAGE && first + i < table.length; i++) table[first + i] = view.readUInt32LE(i * 4);
  return true;
}

// Journal: a header, then entries from byte 4,096 on.

/** Since 2 more than one checkpoint may lie in a journal: a release that looks for one alone must not take it. */
const JOURNAL_VERSION = 2;
export const JOURNAL_HEADER_BYTES = 64;
export const JOURNAL_BODY_AT = PAGE_BYTES;
export const JOURNAL_ENTRY_BYTES = 24;
/** Bytes a journal entry carries at most. */
const MAX_ENTRY_BYTES = 4 << 20;

export interface JournalHeader {
  storeId: Uint8Array;
  /** The generation of the meta that the first entry holds. */
  generation: number;
  entries: number;
  /** Bytes of all entries. */
  bodyBytes: number;
}

export function encodeJournalHeader(header: JournalHeader): Uint8Array {
  const bytes = Buffer.alloc(JOURNAL_HEADER_BYTES);
  JOURNAL_MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(JOURNAL_VERSION, 8);
  bytes.set(header.storeId, 16);
  writeUint64(bytes, header.generation, 32);
  writeUint64(bytes, header.bodyBytes, 40);
  writeUint64(bytes, header.entries, 48);
  bytes.writeUInt32LE(crc32c(bytes), 12);
  return bytes;
}

/** @returns undefined where the header is not whole */
export function decodeJournalHeader(bytes: Uint8Array, fileBytes: number): JournalHeader | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < JOURNAL_HEADER_BYTES || !hasMagic(view, JOURNAL_MAGIC)) return undefined;
  if (view.readUInt32LE(12) !== crcWithout(view, 12)) return undefined;
  checkVersion(view.readUInt32LE(8), "index.hebb-journal", JOURNAL_VERSION);
  const generation = readUint64(view, 32);
  const bodyBytes = readUint64(view, 40);
  const entries = readUint64(view, 48);
  if (generation > MAX || bodyBytes > fileBytes - JOURNAL_BODY_AT || entries > bodyBytes / JOURNAL_ENTRY_BYTES) {
    return undefined;
  }
  return { storeId: Uint8Array.from(view.subarray(16, 16 + STORE_ID_BYTES)), generation, entries, bodyBytes };
}

/** The head of a journal entry for `bytes`, which belong at `offset` of index.hebb. */
export function encodeJournalEntry(offset: number, generation: number, bytes: Uint8Array): Uint8Array {
  const head = Buffer.alloc(JOURNAL_ENTRY_BYTES);
  writeUint64(head, offset, 0);
  writeUint64(head, generation, 8);
  head.writeUInt32LE(bytes.length, 16);
  head.writeUInt32LE(entryChecksum(head, bytes), 20);
  return head;
}

/** Where an entry's bytes belong and how many there are; undefined where that is impossible. */
export function decodeJournalEntry(
  head: Uint8Array,
  generation: number,
): { offset: number; length: number } | undefined {
  const view = Buffer.from(head.buffer, head.byteOffset, head.length);
  const offset = readUint64(view, 0);
  const length = view.readUInt32LE(16);
  if (readUint64(view, 8) !== generation || length === 0 || length > MAX_ENTRY_BYTES) return undefined;
  return offset > MAX - length || offset % PAGE_BYTES !== 0 || length % PAGE_BYTES !== 0
    ? undefined
    : { offset, length };
}

/** Whether an entry's head and bytes are as they were written. */
export function entryIsWhole(head: Uint8Array, bytes: Uint8Array): boolean {
  return Buffer.from(head.buffer, head.byteOffset, head.length).readUInt32LE(20) === entryChecksum(head, bytes);
}

function entryChecksum(head: Uint8Array, bytes: Uint8Array): number {
  return crc32c(bytes, crc32c(head.subarray(0, 20)));
}

// Progress: a header, and then parts.

export const PROGRESS_HEADER_BYTES = 48;
export const PART_HEADER_BYTES = 16;
const FINGERPRINT_BYTES = 32;

export function encodeProgressHeader(fingerprint: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(PROGRESS_HEADER_BYTES);
  PROGRESS_MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.set(fingerprint.subarray(0, FINGERPRINT_BYTES), 16);
  bytes.writeUInt32LE(crc32c(bytes), 12);
  return bytes;
}

/** The fingerprint; undefined where the header is not whole, or of another version: what is behind it is no use then. */
export function decodeProgressHeader(bytes: Uint8Array): Uint8Array | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < PROGRESS_HEADER_BYTES || !hasMagic(view, PROGRESS_MAGIC)) return undefined;
  if (view.readUInt32LE(12) !== crcWithout(view, 12) || view.readUInt32LE(8) !== FORMAT_VERSION) return undefined;
  return Uint8Array.from(view.subarray(16, PROGRESS_HEADER_BYTES));
}

/** The head of a part's bytes. */
export function encodePart(part: number, content: Uint8Array): Uint8Array {
  const head = Buffer.alloc(PART_HEADER_BYTES);
  head.writeUInt32LE(part, 0);
  head.writeUInt32LE(content.length, 4);
  head.writeUInt32LE(crc32c(content), 8);
  head.writeUInt32LE(crc32c(head.subarray(0, 12)), 12);
  return head;
}

/** Which part it is, how long, and the checksum of its bytes; undefined where the head is not whole. */
export function decodePart(head: Uint8Array): { part: number; length: number; checksum: number } | undefined {
  const view = Buffer.from(head.buffer, head.byteOffset, head.length);
  if (view.length < PART_HEADER_BYTES || view.readUInt32LE(12) !== crc32c(view.subarray(0, 12))) return undefined;
  return { part: view.readUInt32LE(0), length: view.readUInt32LE(4), checksum: view.readUInt32LE(8) };
}

// Log: segments, each a header and then records.

export const SEGMENT_HEADER_BYTES = 64;
export const RECORD_HEADER_BYTES = 56;
/** Bytes a record carries at most. */
export const MAX_RECORD_BYTES = 64 << 20;
/** The record that a clean close ends with. All other types belong to the log's user. */
export const CLOSING_TYPE = 0;
const RECORD_MAGIC_VALUE = 0x52424548; // "HEBR"
/** The first bytes of every record. */
export const RECORD_MAGIC = Buffer.from("HEBR");
const CONTINUES = 1;

export function segmentName(firstLsn: number): string {
  return `${String(firstLsn).padStart(16, "0")}.wal`;
}

/** The first LSN of a segment of this name; undefined where it is none. */
export function segmentLsn(name: string): number | undefined {
  const lsn = /^\d{16}\.wal$/.test(name) ? Number(name.slice(0, 16)) : 0;
  return lsn >= 1 && lsn <= MAX ? lsn : undefined;
}

export function encodeSegmentHeader(storeId: Uint8Array, firstLsn: number): Uint8Array {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.set(storeId, 16);
  writeUint64(bytes, firstLsn, 32);
  bytes.writeUInt32LE(crc32c(bytes), 12);
  return bytes;
}

/** Whether these bytes are the whole header of this segment. */
export function isSegmentHeader(bytes: Uint8Array | undefined, storeId: Uint8Array, firstLsn: number): boolean {
  if (bytes === undefined || bytes.length < SEGMENT_HEADER_BYTES) return false;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, SEGMENT_HEADER_BYTES);
  if (!hasMagic(view, SEGMENT_MAGIC) || view.readUInt32LE(12) !== crcWithout(view, 12)) return false;
  checkVersion(view.readUInt32LE(8), `wal/${segmentName(firstLsn)}`);
  return view.subarray(16, 16 + STORE_ID_BYTES).equals(storeId) && readUint64(view, 32) === firstLsn;
}

export interface RecordHeader {
  lsn: number;
  /** The highest LSN known to be durable when this record was written. */
  syncedLsn: number;
  /** 1-255, or CLOSING_TYPE. */
  type: number;
  /** The next record belongs to the same group; a group counts only when its last record is whole. */
  continues: boolean;
  length: number;
  payloadChecksum: number;
  /**
   * The checksum of the header before it in its segment, 0 for the first. Bytes that a cut left behind
   * a new record are not its successor, even if they are a whole record with the right LSN.
   */
  link: number;
}

export function encodeRecordHeader(storeId: Uint8Array, record: RecordHeader): Uint8Array {
  const bytes = Buffer.alloc(RECORD_HEADER_BYTES);
  bytes.writeUInt32LE(RECORD_MAGIC_VALUE, 0);
  bytes.writeUInt32LE(record.payloadChecksum, 8);
  bytes.writeUInt32LE(record.length, 12);
  writeUint64(bytes, record.lsn, 16);
  writeUint64(bytes, record.syncedLsn, 24);
  bytes.set(storeId, 32);
  bytes[48] = record.type;
  bytes[49] = record.continues ? CONTINUES : 0;
  bytes.writeUInt32LE(record.link, 52);
  bytes.writeUInt32LE(crc32c(bytes), 4);
  return bytes;
}

/** The checksum of a record's header, to which the next record links. */
export function headerChecksum(header: Uint8Array): number {
  return Buffer.from(header.buffer, header.byteOffset, RECORD_HEADER_BYTES).readUInt32LE(4);
}

/** @returns undefined where this is no whole header of a record of this store */
export function decodeRecordHeader(bytes: Uint8Array, storeId: Uint8Array): RecordHeader | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, RECORD_HEADER_BYTES);
  if (view.readUInt32LE(0) !== RECORD_MAGIC_VALUE || !view.subarray(32, 32 + STORE_ID_BYTES).equals(storeId)) {
    return undefined;
  }
  if (view.readUInt32LE(4) !== crcWithout(view, 4)) return undefined;
  const length = view.readUInt32LE(12);
  const lsn = readUint64(view, 16);
  const syncedLsn = readUint64(view, 24);
  if (length > MAX_RECORD_BYTES || lsn > MAX || syncedLsn >= lsn) return undefined;
  return {
    lsn,
    syncedLsn,
    type: view[48],
    continues: (view[49] & CONTINUES) !== 0,
    length,
    payloadChecksum: view.readUInt32LE(8),
    link: view.readUInt32LE(52),
  };
}

// Shared pieces.

/** @throws {HebbError} STORE_VERSION */
function checkVersion(version: number, what: string, supported = FORMAT_VERSION): void {
  if (version > supported) throw versionError(version, what, supported);
}

export function versionError(version: number, what: string, supported = FORMAT_VERSION): HebbError {
  return new HebbError(
    "STORE_VERSION",
    `${what} has format version ${version}; this release reads up to ${supported}. Use the newer release`,
    { version, supported },
  );
}

export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}

function hasMagic(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

/** The CRC of a structure whose own checksum, at `at`, counts as zero. */
function crcWithout(bytes: Uint8Array, at: number): number {
  const zero = new Uint8Array(4);
  return crc32c(bytes.subarray(at + 4), crc32c(zero, crc32c(bytes.subarray(0, at))));
}

function writeUint64(bytes: Buffer, value: number, at: number): void {
  bytes.writeBigUInt64LE(BigInt(value), at);
}

/** Exact up to MAX_SAFE_INTEGER; larger values come back larger than it, and are refused by whoever asked. */
function readUint64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
