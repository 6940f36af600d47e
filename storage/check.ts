/** Verifying index.hebb as it lies on disk: every slot, checksum page and block. */
import { HebbError, REPAIR_OR_RESTORE } from "../base/errors.js";
import type { Fault } from "../base/types.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../native/index.js";
import { pageOffset, runsFrom } from "./extents.js";
import type { StoredFile } from "./files.js";
import {
  CHECKSUMS_KIND,
  CHECKSUMS_PER_PAGE,
  decodeChecksumPage,
  decodeSlot,
  endBlock,
  hex,
  type Meta,
  SLOT_BYTES,
  SLOTS,
} from "./format.js";

const SLICE_BLOCKS = 64;

/** The checksums of all blocks, by block of the file. @throws {HebbError} INDEX_CORRUPT for a damaged page */
export async function readChecksums(file: StoredFile, meta: Meta): Promise<Uint32Array> {
  const table = new Uint32Array(endBlock(meta.sections));
  const checksums = meta.sections.find(({ kind }) => kind === CHECKSUMS_KIND)!;
  // A checksum of every block, or the table cannot be trusted; a new store has no block yet.
  const pages = checksums.length / PAGE_BYTES;
  if (pages * CHECKSUMS_PER_PAGE < table.length && table.length > 1) {
    throw new HebbError(
      "INDEX_CORRUPT",
      `section checksums has ${pages} pages, too few for ${table.length} blocks. ${REPAIR_OR_RESTORE}`,
    );
  }
  for (let page = 0; page < pages; page++) {
    const offset = pageOffset(checksums.extents, page);
    if (!decodeChecksumPage(await file.pread(PAGE_BYTES, offset), page, table)) {
      throw new HebbError(
        "INDEX_CORRUPT",
        `section checksums, page ${page}, offset ${offset}: damaged. ${REPAIR_OR_RESTORE}`,
        { section: "checksums", page, offset },
      );
    }
  }
  return table;
}

/** Everything in the file against `meta` and the block checksums in `table`. */
export async function checkIndex(file: StoredFile, meta: Meta, table: Uint32Array): Promise<Fault[]> {
  const faults: Fault[] = [];
  const fault = (section: string, offset: number, what: string, block?: number) => {
    const message = `section ${section}, ${what}`;
    faults.push({ code: "INDEX_CORRUPT", section, ...(block !== undefined && { block }), offset, message });
  };
  for (const [i, at] of SLOTS.entries()) {
    const slot = decodeSlot(await file.pread(SLOT_BYTES, at));
    if (slot.state === "valid" && slot.meta.generation === meta.generation) continue;
    fault("meta", at, `slot ${i}, offset ${at}: ${slot.state === "damaged" ? slot.reason : slot.state}`);
  }
  for (const { kind, name, length, extents } of meta.sections) {
    if (kind === CHECKSUMS_KIND) {
      const scratch = new Uint32Array(table.length);
      for (let page = 0; page < length / PAGE_BYTES; page++) {
        const offset = pageOffset(extents, page);
        if (decodeChecksumPage(await file.pread(PAGE_BYTES, offset), page, scratch)) continue;
        fault(name, offset, `page ${page}, offset ${offset}: its own checksum does not match`);
      }
      continue;
    }
    for (const { sectionBlock, fileBlock, blocks } of runsFrom(extents, 0)) {
      for (let done = 0; done < blocks; done += SLICE_BLOCKS) {
        const count = Math.min(SLICE_BLOCKS, blocks - done);
        const bytes = await file.pread(count * BLOCK_BYTES, (fileBlock + done) * BLOCK_BYTES);
        for (let i = 0; i < count; i++) {
          const block = fileBlock + done + i;
          const computed = crc32c(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
          if (computed === table[block]) continue;
          const [own, offset] = [sectionBlock + done + i, block * BLOCK_BYTES];
          const sums = `checksum ${hex(table[block])} stored, ${hex(computed)} computed`;
          fault(name, offset, `block ${own}, offset ${offset}: ${sums}`, own);
        }
      }
    }
  }
  return faults;
}
