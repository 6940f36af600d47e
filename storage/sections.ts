/** Sections of index.hebb as their owners want them, and as a file has them. */
import { HebbError } from "../base/errors.js";
import { BLOCK_BYTES } from "../native/index.js";
import { capacityBlocks, type Extent, type Meta } from "./format.js";

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

export function extentsOf(meta: Meta, kind: number): Extent[] {
  return meta.sections.find((entry) => entry.kind === kind)?.extents ?? [];
}

/** @throws {HebbError} STORE_MISMATCH where a section is not as its owner wants it */
export function checkSections(meta: Meta, specs: readonly SectionSpec[]): void {
  for (const { kind, name, stride, reserveBytes } of specs) {
    const entry = meta.sections.find((section) => section.kind === kind);
    if (entry === undefined) continue; // made by the next checkpoint
    if (entry.stride !== stride) {
      throw new HebbError(
        "STORE_MISMATCH",
        `section ${name} has records of ${entry.stride} bytes; expected ${stride}. Open it with the options, or the release, that made it`,
      );
    }
    const bytes = capacityBlocks(entry.extents) * BLOCK_BYTES;
    if (bytes > Math.ceil(reserveBytes / BLOCK_BYTES) * BLOCK_BYTES) {
      throw new HebbError(
        "STORE_MISMATCH",
        `section ${name} takes ${bytes} bytes; only ${reserveBytes} are reserved. Raise ruvector.max_nodes`,
      );
    }
  }
}
