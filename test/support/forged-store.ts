/** A store on disk whose bytes are changed under checksums that are put right again: what damage never does, and a forger can. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../../native/index.js";
import { fileBlockOf } from "../../storage/extents.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  decodeSlot,
  encodeSlot,
  type Meta,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  SLOT_BYTES,
  SLOTS,
} from "../../storage/format.js";

/** The checksum at `at` of a structure, of its bytes with that field as zeros. */
export function seal(bytes: Buffer, at: number): void {
  bytes.writeUInt32LE(0, at);
  bytes.writeUInt32LE(crc32c(bytes), at);
}

/** Writes a number of 1, 2, 4 or 8 bytes. */
export function writeField(bytes: Buffer, at: number, size: number, value: bigint): void {
  for (let i = 0; i < size; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

export class ForgedIndex {
  private readonly path: string;
  private readonly file: Buffer;
  readonly meta: Meta;

  constructor(directory: string) {
    this.path = join(directory, "index.hebb");
    this.file = readFileSync(this.path);
    const slot = decodeSlot(this.file.subarray(0, SLOT_BYTES));
    if (slot.state !== "valid") throw new Error(`slot 0 is ${slot.state}`);
    this.meta = slot.meta;
  }

  /** Bytes that the file has of a section. */
  lengthOf(kind: number): number {
    return this.meta.sections.find((section) => section.kind === kind)?.length ?? 0;
  }

  read(kind: number, at: number, length: number): Buffer {
    return Buffer.from(Array.from({ length }, (_, i) => this.file[this.placeOf(kind, at + i)]));
  }

  /** Changes bytes of a section, and the checksums of their blocks. */
  write(kind: number, at: number, bytes: Uint8Array): this {
    const blocks = new Set<number>();
    bytes.forEach((byte, i) => {
      const place = this.placeOf(kind, at + i);
      this.file[place] = byte;
      blocks.add(Math.floor(place / BLOCK_BYTES));
    });
    for (const block of blocks) this.sealBlock(block);
    return this;
  }

  writeField(kind: number, at: number, size: number, value: bigint): this {
    const bytes = Buffer.alloc(size);
    writeField(bytes, 0, size, value);
    return this.write(kind, at, bytes);
  }

  /** Changes both slots. */
  forgeSlots(change: (slot: Buffer) => void): this {
    for (const at of SLOTS) {
      const slot = this.file.subarray(at, at + SLOT_BYTES);
      change(slot);
      seal(slot, 12);
    }
    return this;
  }

  forgeMeta(change: (meta: Meta) => Meta): this {
    const slot = encodeSlot(change(this.meta));
    for (const at of SLOTS) this.file.set(slot, at);
    return this;
  }

  save(): void {
    writeFileSync(this.path, this.file);
  }

  private placeOf(kind: number, at: number): number {
    const { extents } = this.meta.sections.find((section) => section.kind === kind)!;
    return fileBlockOf(extents, Math.floor(at / BLOCK_BYTES)) * BLOCK_BYTES + (at % BLOCK_BYTES);
  }

  private sealBlock(block: number): void {
    const page = Math.floor(block / CHECKSUMS_PER_PAGE);
    const at = this.placeOf(CHECKSUMS_KIND, page * PAGE_BYTES);
    const bytes = this.file.subarray(at, at + PAGE_BYTES);
    const sum = crc32c(this.file.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES));
    bytes.writeUInt32LE(sum, 4 * (block % CHECKSUMS_PER_PAGE));
    bytes.writeUInt32LE(crc32c(bytes.subarray(0, PAGE_BYTES - 4), page), PAGE_BYTES - 4);
  }
}

export interface ForgedRecord {
  header: Buffer;
  payload: Buffer;
}

/** The last segment of a log, record by record. */
export class ForgedLog {
  private readonly path: string;
  readonly header: Buffer;
  readonly records: ForgedRecord[] = [];

  constructor(directory: string) {
    const folder = join(directory, "wal");
    this.path = join(folder, readdirSync(folder).sort().at(-1)!);
    const bytes = readFileSync(this.path);
    this.header = bytes.subarray(0, SEGMENT_HEADER_BYTES);
    for (let at = SEGMENT_HEADER_BYTES; at + RECORD_HEADER_BYTES <= bytes.length; ) {
      const header = bytes.subarray(at, at + RECORD_HEADER_BYTES);
      at += RECORD_HEADER_BYTES;
      this.records.push({ header, payload: bytes.subarray(at, at + header.readUInt32LE(12)) });
      at += header.readUInt32LE(12);
    }
  }

  /** The first record of a type. */
  ofType(type: number): ForgedRecord {
    const found = this.records.find(({ header }) => header[48] === type);
    if (found === undefined) throw new Error(`no record of type ${type}`);
    return found;
  }

  /** Another payload, of the length that its header says. */
  static setPayload(record: ForgedRecord, payload: Buffer): void {
    record.payload = payload;
    record.header.writeUInt32LE(payload.length, 12);
  }

  /** Writes the segment with all checksums and links put right. */
  save(): void {
    let link = 0;
    seal(this.header, 12);
    for (const { header, payload } of this.records) {
      header.writeUInt32LE(crc32c(payload), 8);
      header.writeUInt32LE(link, 52);
      seal(header, 4);
      link = header.readUInt32LE(4);
    }
    writeFileSync(this.path, Buffer.concat([this.header, ...this.records.flatMap((r) => [r.header, r.payload])]));
  }
}
