/**
 * CRC-32C of the catalog's rows, as signed 32-bit integers (SQLite stores those as they are).
 * The bytes covered: parts in the order of the function's arguments, text as UTF-8, each part ended by 0xff,
 * a byte that UTF-8 never holds; node and LSN as decimal text; a missing payload as one byte 0xfe.
 */
import type { Id } from "../../base/types.js";
import { crc32c } from "../../native/index.js";

let scratch = Buffer.alloc(64 * 1024);
let used = 0;

function add(text: string): void {
  const need = used + text.length * 3 + 1;
  if (need > scratch.length) {
    const larger = Buffer.alloc(need * 2);
    scratch.copy(larger, 0, 0, used);
    scratch = larger;
  }
  used += scratch.write(text, used, "utf8");
  scratch[used++] = 0xff;
}

function finish(): number {
  const crc = crc32c(scratch.subarray(0, used)) | 0;
  if (scratch.length > 1 << 20) scratch = Buffer.alloc(64 * 1024);
  used = 0;
  return crc;
}

/** Of an `entry` row: node, then "s" or "n" and the id, then the payload's text. */
export function entryCrc(node: number, id: Id, payload: string | null): number {
  used = 0;
  add(String(node));
  add((typeof id === "string" ? "s" : "n") + String(id));
  if (payload === null) scratch[used++] = 0xfe;
  else add(payload);
  return finish();
}

/** Of `meta`: a name and a text. */
export function textCrc(name: string, text: string): number {
  used = 0;
  add(name);
  add(text);
  return finish();
}

/** Of a `setting` or `feedback` row: a name or LSN, a text ("" for a setting), then the blob's bytes. */
export function blobCrc(name: string, text: string, blob: Uint8Array): number {
  return crc32c(blob, textCrc(name, text) >>> 0) | 0;
}

/** Of the schema's text. */
export const schemaCrc = (text: string): number => textCrc("schema", text);
