/**
 * Reading a log that is damaged: the records that followers lack, as far as they follow each other without a gap; and
 * which ones are lost behind it. And writing a log anew from them.
 *
 * Records behind the damage that would follow a gap are lost with it: they were made on top of what is missing. What
 * is left is a state that the store was in.
 */
import { join } from "node:path";
import { HebbError } from "../base/errors.js";
import type { Fault } from "../base/types.js";
import { crc32c } from "../native/index.js";
import type { Files, StoredFile } from "./files.js";
import {
  CLOSING_TYPE,
  decodeRecordHeader,
  encodeRecordHeader,
  encodeSegmentHeader,
  headerChecksum,
  isSegmentHeader,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  type RecordHeader,
  SEGMENT_HEADER_BYTES,
  segmentLsn,
  segmentName,
} from "./format.js";
import { LOG_NAME } from "./names.js";

/** More records than a log between two checkpoints has: a number that says so is damaged itself. */
const MOST_LOST = 1 << 24;
/** Records are written in pieces of about this size. */
const WRITE_BYTES = 4 << 20;

/** A record as the log has it. */
export interface SalvagedRecord extends RecordHeader {
  payload: Uint8Array;
}

export interface SalvagedLog {
  faults: Fault[];
  /** Records after those that all followers hold, in whole groups, without a gap. */
  records: SalvagedRecord[];
  /** Records that were durable and are lost, first to last; undefined where none are. */
  lost: { first: number; last: number } | undefined;
  /** No segment is left. Then nothing tells what the log held beyond what followers hold. */
  gone: boolean;
}

/**
 * @param after all followers hold the records up to here
 * @param knownDurable the highest LSN that a follower proves to have been durable
 * @throws {HebbError} WAL_CORRUPT where more records would be lost than there can have been
 */
export async function salvageLog(
  files: Files,
  directory: string,
  storeId: Uint8Array,
  after: number,
  knownDurable: number,
): Promise<SalvagedLog> {
  const folder = join(directory, LOG_NAME);
  const faults: (Fault & { lsn: number })[] = [];
  const found = new Map<number, SalvagedRecord>();
  let proven = knownDurable;
  const lsns = (await files.kind(folder)) === "directory" ? (await files.list(folder)).map(segmentLsn) : [];
  const firsts = lsns.filter((lsn) => lsn !== undefined).sort((a, b) => a - b);
  for (const [i, firstLsn] of firsts.entries()) {
    if (i + 1 < firsts.length && firsts[i + 1] <= after + 1) continue; // all followers hold it
    const segment = segmentName(firstLsn);
    const file = await files.open(join(folder, segment), "read");
    try {
      const bytes = await file.pread(await file.size(), 0);
      const fault = (offset: number, lsn: number) => {
        const message = `wal/${segment}, offset ${offset}: record ${lsn} is damaged`;
        faults.push({ code: "WAL_CORRUPT", section: segment, offset, message, lsn });
      };
      if (isSegmentHeader(bytes, storeId, firstLsn)) {
        if (i > 0) proven = Math.max(proven, firstLsn - 1);
      } else {
        fault(0, firstLsn);
      }
      proven = Math.max(proven, readSegment(bytes, storeId, firstLsn, found, fault));
    } finally {
      await file.close();
    }
  }
  const records: SalvagedRecord[] = [];
  let group: SalvagedRecord[] = [];
  let lsn = after + 1;
  for (let record = found.get(lsn); record !== undefined; record = found.get(++lsn)) {
    group.push(record);
    if (record.continues) continue;
    records.push(...group);
    group = [];
  }
  const last = after + records.length;
  if (proven - last > MOST_LOST) {
    const message = `the log ends at record ${last}, and yet record ${proven} is said to have been durable, which is out of reach`;
    throw new HebbError("WAL_CORRUPT", `${message}. Nothing was changed. Restore the whole store from a copy`);
  }
  const lost = proven > last ? { first: last + 1, last: proven } : undefined;
  // A tail that nothing proves to have been durable is the torn end of a write that never was acknowledged.
  const damage = faults.filter(({ lsn: at }) => lost !== undefined || at <= last);
  return { faults: damage.map(({ lsn: _, ...fault }) => fault), records, lost, gone: firsts.length === 0 };
}

/** Collects whole records of a segment, behind damage too. @returns the highest LSN that it proves to have been durable */
function readSegment(
  bytes: Uint8Array,
  storeId: Uint8Array,
  firstLsn: number,
  found: Map<number, SalvagedRecord>,
  fault: (offset: number, lsn: number) => void,
): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let proven = 0;
  let next = firstLsn;
  /** The header checksum of the record before; undefined behind damage. */
  let link: number | undefined = 0;
  for (let at = SEGMENT_HEADER_BYTES; at < view.length; ) {
    const header = at + RECORD_HEADER_BYTES <= view.length ? decodeRecordHeader(view.subarray(at), storeId) : undefined;
    const end = at + RECORD_HEADER_BYTES + (header?.length ?? 0);
    const payload = view.subarray(at + RECORD_HEADER_BYTES, end);
    const follows =
      header !== undefined &&
      header.lsn >= next &&
      (link === undefined || (header.lsn === next && header.link === link));
    if (header !== undefined && follows) proven = Math.max(proven, header.syncedLsn);
    if (header !== undefined && follows && end <= view.length && crc32c(payload) === header.payloadChecksum) {
      found.set(header.lsn, { ...header, payload });
      link = headerChecksum(view.subarray(at, at + RECORD_HEADER_BYTES));
      next = header.lsn + 1;
      at = end;
      continue;
    }
    if (link !== undefined) fault(at, next);
    link = undefined;
    const magic = view.indexOf(RECORD_MAGIC, at + 1);
    if (magic < 0) break;
    at = magic;
  }
  return proven;
}

/**
 * Writes a log of one segment, durably: what was salvaged, and where records are lost behind it, as many that say
 * nothing, so that no number is given twice.
 */
export async function writeLog(
  files: Files,
  directory: string,
  storeId: Uint8Array,
  after: number,
  { records, lost }: Pick<SalvagedLog, "records" | "lost">,
): Promise<void> {
  const folder = join(directory, LOG_NAME);
  await files.makeDirectory(folder);
  const file: StoredFile = await files.open(join(folder, segmentName(after + 1)), "create");
  try {
    await file.truncate(0);
    let at = 0;
    let link = 0;
    let waiting: Uint8Array[] = [encodeSegmentHeader(storeId, after + 1)];
    const flush = async () => {
      const bytes = Buffer.concat(waiting);
      await file.pwrite(bytes, at);
      at += bytes.length;
      waiting = [];
    };
    let waitingBytes = 0;
    const add = async (record: RecordHeader, payload: Uint8Array) => {
      const header = encodeRecordHeader(storeId, { ...record, link });
      link = headerChecksum(header);
      waiting.push(header, payload);
      waitingBytes += header.length + payload.length;
      if (waitingBytes < WRITE_BYTES) return;
      waitingBytes = 0;
      await flush();
    };
    for (const record of records) await add(record, record.payload);
    const payload = new Uint8Array(0);
    for (let lsn = lost?.first ?? 1; lost !== undefined && lsn <= lost.last; lsn++) {
      const nothing = { lsn, syncedLsn: lsn - 1, type: CLOSING_TYPE, continues: false, length: 0, link };
      await add({ ...nothing, payloadChecksum: crc32c(payload) }, payload);
    }
    await flush();
    await file.sync();
  } finally {
    await file.close();
  }
  await files.syncDirectory(folder);
}
