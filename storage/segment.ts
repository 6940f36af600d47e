/** Walking over one segment of the log: whole records in order, and what is left of it behind damage. */
import { crc32c } from "../native/index.js";
import { type StoredFile, WindowReader } from "./files.js";
import {
  decodeRecordHeader,
  headerChecksum,
  isSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  type RecordHeader,
  SEGMENT_HEADER_BYTES,
} from "./format.js";

export interface LogRecord {
  lsn: number;
  /** 1-255, the caller's. */
  type: number;
  payload: Uint8Array;
}

/** A record where it was found. */
export interface Found {
  header: RecordHeader;
  payload: Uint8Array;
  /** The offset just behind it. */
  end: number;
  /** To which the next record links. */
  checksum: number;
}

/**
 * The whole records of a segment, from its header on, with LSNs from `firstLsn` without a gap.
 * Ends at the first place where there is none: the caller compares the last `end` with the size.
 * Yields nothing where the header is not whole.
 */
export async function* wholeRecords(
  file: StoredFile,
  size: number,
  storeId: Uint8Array,
  firstLsn: number,
): AsyncGenerator<Found> {
  const reader = new WindowReader(file, size);
  if (!isSegmentHeader(await reader.bytes(0, SEGMENT_HEADER_BYTES), storeId, firstLsn)) return;
  let at = SEGMENT_HEADER_BYTES;
  let link = 0;
  for (let lsn = firstLsn; ; lsn++) {
    const head = await reader.bytes(at, RECORD_HEADER_BYTES);
    const header = head && decodeRecordHeader(head, storeId);
    if (head === undefined || header === undefined || header.lsn !== lsn || header.link !== link) return;
    const payload = await reader.bytes(at + RECORD_HEADER_BYTES, header.length);
    if (payload === undefined || crc32c(payload) !== header.payloadChecksum) return;
    at += RECORD_HEADER_BYTES + header.length;
    link = headerChecksum(head);
    yield { header, payload, end: at, checksum: link };
  }
}

/**
 * What is left behind damage: the highest LSN that anything whole there proves to have been durable, 0 where there is
 * nothing, for each record says what was when it was written; and how many records lie there, by their headers. Record
 * boundaries are lost behind damage, so this looks for headers at every offset; a header counts by itself, which keeps
 * this linear.
 */
export async function behindDamage(
  file: StoredFile,
  size: number,
  storeId: Uint8Array,
  from: number,
): Promise<{ proven: number; records: number }> {
  const reader = new WindowReader(file, size);
  let proven = 0;
  let records = 0;
  const step = 1 << 20;
  for (let at = from; at < size; at += step) {
    // Windows overlap, so that a header across two of them is seen; one that begins in the overlap is the next one's.
    const length = Math.min(step + RECORD_HEADER_BYTES - 1, size - at);
    const bytes = await reader.bytes(at, length);
    if (bytes === undefined) break;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let i = view.indexOf(RECORD_MAGIC); i >= 0; i = view.indexOf(RECORD_MAGIC, i + 1)) {
      if (i + RECORD_HEADER_BYTES > view.length) break;
      const header = decodeRecordHeader(view.subarray(i, i + RECORD_HEADER_BYTES), storeId);
      if (header === undefined) continue;
      proven = Math.max(proven, header.syncedLsn);
      if (i < step) records++;
    }
  }
  return { proven, records };
}
