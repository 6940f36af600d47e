/** index.hebb written anew, without a free block: for a compaction, and for a copy. */
import { HebbError, REPAIR_OR_RESTORE } from "../base/errors.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../native/index.js";
import { cut, pageOffset, runsFrom } from "./extents.js";
import type { StoredFile } from "./files.js";
import { CHECKSUMS_KIND, encodeChecksumPage, encodeSlot, endBlock, hex, type Meta, SLOTS } from "./format.js";
import { extentsOf } from "./sections.js";

const SLICE_BLOCKS = 64;

/**
 * Writes the sections that a file has to an empty one, durably.
 * @param as how `from` has them
 * @param meta how `file` is to have them
 * @returns the checksums of its blocks
 * @throws {HebbError} INDEX_CORRUPT for a damaged block
 */
export async function writeDense(
  from: StoredFile,
  as: { meta: Meta; table: Uint32Array },
  file: StoredFile,
  meta: Meta,
): Promise<Uint32Array> {
  const end = endBlock(meta.sections);
  const table = new Uint32Array(end);
  await file.allocate(0, end * BLOCK_BYTES);
  for (const { kind, name, extents } of meta.sections) {
    if (kind === CHECKSUMS_KIND || extents.length === 0) continue;
    const [{ fileBlock: to, blocks }] = extents;
    for (const run of runsFrom(cut(extentsOf(as.meta, kind), blocks), 0)) {
      for (let done = 0; done < run.blocks; done += SLICE_BLOCKS) {
        const first = run.fileBlock + done;
        const sums = as.table.subarray(first, first + Math.min(SLICE_BLOCKS, run.blocks - done));
        const bytes = await from.pread(sums.length * BLOCK_BYTES, first * BLOCK_BYTES);
        for (const [i, sum] of sums.entries()) {
          const computed = crc32c(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
          if (computed !== sum) throw damagedBlock(name, run.sectionBlock + done + i, first + i, sum, computed);
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

function damagedBlock(section: string, block: number, fileBlock: number, stored: number, computed: number): HebbError {
  const offset = fileBlock * BLOCK_BYTES;
  const message =
    `section ${section}, block ${block}, offset ${offset}: checksum ${hex(stored)} stored, ${hex(computed)} computed. ` +
    `Nothing was changed. ${REPAIR_OR_RESTORE}`;
  return new HebbError("INDEX_CORRUPT", message, { section, block, offset });
}
