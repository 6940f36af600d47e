/** Damage to closed stores: bytes that change under their checksums, and bytes whose checksums are made to hold. */
import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../../native/index.js";
import { fileBlockOf, pageOffset } from "../../storage/extents.js";
import { CHECKSUMS_PER_PAGE, decodeSlot, type Meta, type SectionEntry, SLOT_BYTES } from "../../storage/format.js";

export function metaOf(directory: string): Meta {
  const slot = decodeSlot(readFileSync(join(directory, "index.hebb")).subarray(0, SLOT_BYTES));
  if (slot.state !== "valid") throw new Error(`the first meta slot is ${slot.state}`);
  return slot.meta;
}

export function sectionOf(directory: string, name: string): SectionEntry {
  const entry = metaOf(directory).sections.find((section) => section.name === name);
  if (entry === undefined) throw new Error(`there is no section ${name}`);
  return entry;
}

/** The offset in index.hebb of a section's byte. */
export function offsetOf(directory: string, name: string, at: number): number {
  return (
    fileBlockOf(sectionOf(directory, name).extents, Math.floor(at / BLOCK_BYTES)) * BLOCK_BYTES + (at % BLOCK_BYTES)
  );
}

/** Changes bytes of a file: each goes through `change`. */
export function changeBytes(
  path: string,
  at: number,
  length: number,
  change: (byte: number, i: number) => number,
): void {
  const file = openSync(path, "r+");
  const bytes = Buffer.alloc(length);
  const read = readSync(file, bytes, 0, length, at);
  for (let i = 0; i < read; i++) bytes[i] = change(bytes[i], i);
  writeSync(file, bytes, 0, read, at);
  closeSync(file);
}

/** Garbles bytes of a section. */
export function garble(directory: string, name: string, at: number, length = 64): void {
  const offset = offsetOf(directory, name, at);
  changeBytes(join(directory, "index.hebb"), offset, length, (byte) => byte ^ 0x5a);
}

/** Reads bytes of a section. */
export function peek(directory: string, name: string, at: number, length: number): Buffer {
  const offset = offsetOf(directory, name, at);
  return readFileSync(join(directory, "index.hebb")).subarray(offset, offset + length);
}

/** Writes bytes into a section, and the checksum that its block has with them. */
export function forge(directory: string, name: string, at: number, bytes: Uint8Array): void {
  const path = join(directory, "index.hebb");
  const meta = metaOf(directory);
  const offset = offsetOf(directory, name, at);
  changeBytes(path, offset, bytes.length, (_, i) => bytes[i]);
  const block = Math.floor(offset / BLOCK_BYTES);
  const checksums = meta.sections.find(({ kind }) => kind === 0)!;
  const page = Math.floor(block / CHECKSUMS_PER_PAGE);
  const pageAt = pageOffset(checksums.extents, page);
  const file = readFileSync(path);
  const entries = Buffer.from(file.subarray(pageAt, pageAt + PAGE_BYTES));
  entries.writeUInt32LE(
    crc32c(file.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)),
    (block % CHECKSUMS_PER_PAGE) * 4,
  );
  entries.writeUInt32LE(crc32c(entries.subarray(0, PAGE_BYTES - 4), page), PAGE_BYTES - 4);
  changeBytes(path, pageAt, PAGE_BYTES, (_, i) => entries[i]);
}

/** Little-endian u32s as bytes. */
export const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
