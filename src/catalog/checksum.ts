/**
 * CRC-32C of the catalog's rows, as signed 32-bit integers (SQLite stores those as they are). The bytes covered:
 *
 *   entry     node (u32, little-endian), "s" and the id as UTF-8 or "n" and the id as decimal text, 0xff,
 *             the payload's text as UTF-8, or 0xfe where there is none
 *   feedback  LSN as decimal text, 0xff, the event's text, 0xff, the query's bytes
 *   setting   name, 0xff, 0xff, the value's bytes
 *   meta      "meta", 0xff, the value's text, 0xff
 *
 * 0xff and 0xfe never occur in UTF-8, so that no two rows share their bytes.
 */
import type { Id } from "../../base/types.js";
import { crc32c } from "../../native/index.js";

const SCRATCH_BYTES = 64 * 1024;
let scratch = Buffer.alloc(SCRATCH_BYTES);
let used = 0;

/** Of an `entry` row. */
export function entryCrc(node: number, id: Id, payload: string | null): number {
  scratch[0] = node;
  scratch[1] = node >>> 8;
  scratch[2] = node >>> 16;
  scratch[3] = node >>> 24;
  scratch[4] = typeof id === "string" ? 0x73 : 0x6e;
  used = 5;
  add(typeof id === "string" ? id : String(id));
  scratch[used++] = 0xff;
  if (payload === null) scratch[used++] = 0xfe;
  else add(payload);
  return finish();
}

/** Of a name or number and a text. */
export function textCrc(name: string, text: string): number {
  used = 0;
  add(name);
  scratch[used++] = 0xff;
  add(text);
  scratch[used++] = 0xff;
  return finish();
}

/** Of a name or number, a text ("" for none), then a blob's bytes. */
export function blobCrc(name: string, text: string, blob: Uint8Array): number {
  return crc32c(blob, textCrc(name, text) >>> 0) | 0;
}

function add(text: string): void {
  const need = used + text.length * 3 + 2; // and a byte after it
  if (need > scratch.length) {
    const larger = Buffer.alloc(need * 2);
    scratch.copy(larger, 0, 0, used);
    scratch = larger;
  }
  used += scratch.write(text, used, "utf8");
}

function finish(): number {
  const crc = crc32c(scratch.subarray(0, used)) | 0;
  if (scratch.length > 1 << 20) scratch = Buffer.alloc(SCRATCH_BYTES);
  return crc;
}
