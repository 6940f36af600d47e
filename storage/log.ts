/**
 * The write-ahead log: the truth from which everything else in a store can be brought up to date.
 *
 * Records carry consecutive numbers (LSNs) from 1 and lie in segment files, each named by its first
 * LSN. Records are appended in groups that count wholly or not at all, and a group never crosses a
 * segment. A segment is synced before the next one is made, so only the last can end in doubt, and
 * the header of a segment proves that all before it was durable. There is always at least one
 * segment: an empty wal/ is damage.
 *
 * A crash can leave the end of the log torn, or with later parts on disk and earlier ones not. It is
 * cut there (`recover`), and the cut is synced before anything new is written, so that old bytes can
 * never be taken for new records. Damage before the end is told from such a tail by proof alone:
 * every record says which LSN was durable when it was written.
 */
import { join } from "node:path";
import { allDone } from "../base/all-done.js";
import { assert } from "../base/assert.js";
import { HebbError, REPAIR_OR_RESTORE } from "../base/errors.js";
import { crc32c } from "../native/index.js";
import { type Files, rewrite, type StoredFile } from "./files.js";
import {
  CLOSING_TYPE,
  encodeRecordHeader,
  encodeSegmentHeader,
  headerChecksum,
  isSegmentHeader,
  MAX_RECORD_BYTES,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentLsn,
  segmentName,
} from "./format.js";
import { Poison } from "./poison.js";
import { behindDamage, type LogRecord, wholeRecords } from "./segment.js";

export type { LogRecord } from "./segment.js";

/** Records that were appended together. */
export interface Group {
  /** Of the last record. */
  lsn: number;
  records: LogRecord[];
}

export interface NewRecord {
  /** 1-255. */
  type: number;
  /** At most 64 MiB; pieces are joined. */
  payload: Uint8Array | Uint8Array[];
}

interface Segment {
  file: StoredFile;
  firstLsn: number;
  /** Bytes up to the end of the last whole group; nothing behind counts. */
  end: number;
  /** Header checksum of the last record there, 0 where there is none. */
  link: number;
}

/** A place in the log where a whole record should be and is not. */
export interface LogDamage {
  segment: string;
  offset: number;
  lsn: number;
}

/** What `recover` found. */
export interface LogRecovery {
  /** What was cut off, in words. */
  cut: string | undefined;
  /** Records that were: seen by their headers, never synced, and never to be seen again. */
  torn: number;
  /** Whether the log ends with the mark of a writer that closed the store. */
  closed: boolean;
}

/** A segment that has grown to this is followed by a new one. */
const SEGMENT_BYTES = 64 << 20;
/** Groups are written in pieces of about this size. */
const WRITE_BYTES = 4 << 20;

export class Log {
  /** The last record of the last whole group; 0 where there is none yet. */
  lastLsn = 0;
  /** Everything up to here survives a power failure. */
  durableLsn = 0;
  /** `lastLsn` without the closing records, which change nothing. */
  lastChangeLsn = 0;

  private recovered = false;
  /** The highest LSN that a record found by `scan` says was durable. */
  private syncedLsn = 0;
  /** Appends and cuts run one after the other; this is the last of them. */
  private queue: Promise<unknown> = Promise.resolve();
  private syncing: Promise<void> | undefined;

  private constructor(
    private readonly files: Files,
    private readonly directory: string,
    private readonly storeId: Uint8Array,
    private readonly poison: Poison,
    private readonly readOnly: boolean,
    private segments: Segment[],
  ) {}

  /** Makes the first segment of a new store, durably. */
  static async create(files: Files, directory: string, storeId: Uint8Array): Promise<void> {
    await (await newSegment(files, directory, storeId, 1, new Poison())).file.close();
  }

  /**
   * Opens the segments; `recover` must follow.
   * @param held by first LSN, segments that are open already: these and no others. Closed with the log
   */
  static async open(
    files: Files,
    directory: string,
    storeId: Uint8Array,
    poison: Poison,
    readOnly: boolean,
    held?: ReadonlyMap<number, StoredFile>,
  ): Promise<Log> {
    if ((await files.kind(directory)) !== "directory") {
      throw new HebbError("WAL_CORRUPT", `${directory} is missing. ${REPAIR_OR_RESTORE}`, { directory });
    }
    const opened = new Map(held);
    try {
      if (held === undefined) await openSegments(files, directory, readOnly ? "read" : "write", opened);
      const segments: Segment[] = [];
      for (const [firstLsn, file] of [...opened].sort(([a], [b]) => a - b)) {
        segments.push({ file, firstLsn, end: await file.size(), link: 0 });
      }
      return new Log(files, directory, storeId, poison, readOnly, segments);
    } catch (error) {
      await Promise.allSettled([...opened.values()].map((file) => file.close())); // the first error tells more
      throw error;
    }
  }

  /**
   * Finds the end of the log and cuts off a torn tail, durably; a read-only handle just reads no
   * further. Must be called once, before anything else.
   * @param needed the followers hold everything up to here; older segments are dropped
   * @param knownDurable an LSN that something outside the log proves to have been durable
   * @throws {HebbError} WAL_CORRUPT where a record that is needed, or was durable, is damaged or gone
   */
  async recover(needed: number, knownDurable: number): Promise<LogRecovery> {
    const unneeded = await this.takeUnneeded(needed);
    const damage = await this.scan();
    let proven = knownDurable;
    let torn = 0;
    for (const [i, segment] of this.segments.entries()) {
      if (damage === undefined || i < damage.index) continue;
      if (i > damage.index) segment.end = 0; // nothing behind the damage counts, except as proof
      if (await this.hasHeader(segment)) proven = Math.max(proven, segment.firstLsn - 1);
      const size = await segment.file.size();
      const found = await behindDamage(segment.file, size, this.storeId, segment.end);
      proven = Math.max(proven, found.proven);
      torn += found.records;
    }
    if (proven > this.lastLsn) {
      const last = this.segments.at(-1)!;
      const end = { segment: segmentName(last.firstLsn), offset: last.end, lsn: this.lastLsn + 1 };
      throw corrupt(damage ?? end, `it was durable, for record ${proven} is known to have been`);
    }
    if (!this.readOnly) {
      await this.poison.guard(async () => {
        while (this.segments.length > (damage?.kept ?? this.segments.length)) {
          await this.remove(this.segments.pop()!);
        }
        await this.settleTail(this.segments.at(-1)!);
        await this.files.syncDirectory(this.directory);
      });
    }
    for (const segment of unneeded) await this.remove(segment);
    this.durableLsn = this.lastLsn;
    this.recovered = true;
    const cut = damage && `log cut at record ${this.lastLsn + 1} (wal/${damage.segment}): the rest was never synced`;
    return { cut, torn, closed: this.lastLsn > this.lastChangeLsn };
  }

  /**
   * Makes the end of the log what `scan` found, durably. What a killed process wrote and did not sync
   * is about to be applied, so it is written again, and a header of zeros behind it, which no old
   * record can survive; only then is the file cut.
   */
  private async settleTail(segment: Segment): Promise<void> {
    const { file, end } = segment;
    let from = 0;
    for await (const found of wholeRecords(file, end, this.storeId, segment.firstLsn)) {
      if (found.header.lsn > this.syncedLsn) break;
      from = found.end;
    }
    await rewrite(file, from, end);
    await file.pwrite(new Uint8Array(RECORD_HEADER_BYTES), end);
    await file.sync();
    await file.truncate(end);
  }

  /**
   * Takes out the segments before the last one that begins at or before the first needed record. A
   * power failure may have brought some of them back after they were cut, and others not.
   */
  private async takeUnneeded(needed: number): Promise<Segment[]> {
    let first = this.segments.length - 1;
    while (
      first >= 0 &&
      !(this.segments[first].firstLsn <= needed + 1 && (await this.hasHeader(this.segments[first])))
    ) {
      first--;
    }
    if (first < 0) {
      const segment = segmentName(this.segments[0]?.firstLsn ?? needed + 1);
      throw corrupt({ segment, offset: 0, lsn: needed + 1 }, "no whole segment of the log begins at or before it");
    }
    return this.segments.splice(0, first);
  }

  /**
   * Walks over all records: sets each segment's end, and `lastLsn`, to the last whole group.
   * @returns the first damage, the index of its segment, and how many segments are worth keeping
   */
  private async scan(): Promise<(LogDamage & { index: number; kept: number }) | undefined> {
    this.lastLsn = this.segments[0].firstLsn - 1;
    this.lastChangeLsn = this.lastLsn;
    for (const [index, segment] of this.segments.entries()) {
      const size = segment.end;
      const name = segmentName(segment.firstLsn);
      segment.end = 0;
      if (segment.firstLsn !== this.lastLsn + 1 || !(await this.hasHeader(segment))) {
        return { segment: name, offset: 0, lsn: this.lastLsn + 1, index, kept: index };
      }
      segment.end = SEGMENT_HEADER_BYTES;
      let at = segment.end;
      let lsn = this.lastLsn;
      for await (const found of wholeRecords(segment.file, size, this.storeId, segment.firstLsn)) {
        const { header } = found;
        at = found.end;
        lsn = header.lsn;
        this.syncedLsn = Math.max(this.syncedLsn, header.syncedLsn);
        if (header.continues) continue;
        segment.end = found.end;
        segment.link = found.checksum;
        this.lastLsn = lsn;
        if (header.type !== CLOSING_TYPE) this.lastChangeLsn = lsn;
      }
      // A record that is not whole, or a group without its end.
      if (segment.end < size) return { segment: name, offset: at, lsn: lsn + 1, index, kept: index + 1 };
    }
    return undefined;
  }

  private async hasHeader({ file, firstLsn }: Segment): Promise<boolean> {
    return isSegmentHeader(await file.pread(SEGMENT_HEADER_BYTES, 0), this.storeId, firstLsn);
  }

  private async remove({ file }: Segment): Promise<void> {
    await file.close();
    if (!this.readOnly) await this.files.unlink(file.path);
  }

  /**
   * Writes records as one group: after a crash all of them are there, or none. Not yet durable: see
   * `sync`. The payloads must not change until this resolves.
   * @throws {HebbError} DISK_FULL or IO_ERROR where nothing was appended; STORE_POISONED
   */
  append(records: readonly NewRecord[]): Promise<{ first: number; last: number }> {
    if (records.length === 0) throw new RangeError("append needs at least one record");
    for (const { type, payload } of records) {
      if (!Number.isInteger(type) || type < 1 || type > 255)
        throw new RangeError(`record type ${type}; expected 1-255`);
      const length = pieces(payload).reduce((sum, piece) => sum + piece.length, 0);
      if (length > MAX_RECORD_BYTES) {
        throw new RangeError(`a log record of ${length} bytes; expected at most ${MAX_RECORD_BYTES}`);
      }
    }
    return this.enqueue(() => this.write(records));
  }

  private async write(records: readonly NewRecord[]): Promise<{ first: number; last: number }> {
    this.checkWritable();
    if (this.segments.at(-1)!.end >= SEGMENT_BYTES) await this.rotate();
    const segment = this.segments.at(-1)!;
    const first = this.lastLsn + 1;
    const last = this.lastLsn + records.length;
    let { end: at, link } = segment;
    let waiting: Uint8Array[] = [];
    let waitingBytes = 0;
    const flush = async () => {
      await segment.file.pwrite(Buffer.concat(waiting, waitingBytes), at);
      at += waitingBytes;
      waiting = [];
      waitingBytes = 0;
    };
    try {
      for (const [i, { type, payload }] of records.entries()) {
        const parts = pieces(payload);
        const length = parts.reduce((sum, part) => sum + part.length, 0);
        const lsn = first + i;
        const header = encodeRecordHeader(this.storeId, {
          lsn,
          syncedLsn: this.durableLsn,
          type,
          continues: lsn < last,
          length,
          payloadChecksum: parts.reduce((crc, part) => crc32c(part, crc), 0),
          link,
        });
        link = headerChecksum(header);
        waiting.push(header, ...parts);
        waitingBytes += header.length + length;
        if (waitingBytes >= WRITE_BYTES) await flush();
      }
      if (waitingBytes > 0) await flush();
    } catch (error) {
      // Back to the last good end, durably: what was written must never be read behind a later record.
      const undo = this.poison.guard(async () => {
        await segment.file.truncate(segment.end);
        await segment.file.sync();
      });
      await undo.catch(() => {}); // the handle is poisoned then, and the first error tells more
      throw error;
    }
    segment.end = at;
    segment.link = link;
    this.lastLsn = last;
    if (records[0].type !== CLOSING_TYPE) this.lastChangeLsn = last;
    return { first, last };
  }

  /** Makes everything appended so far durable. Calls at the same time share one sync. */
  async sync(): Promise<void> {
    const target = this.lastLsn;
    while (this.durableLsn < target) {
      this.syncing ??= this.syncOnce().finally(() => {
        this.syncing = undefined;
      });
      await this.syncing;
    }
  }

  private async syncOnce(): Promise<void> {
    this.checkWritable();
    const target = this.lastLsn;
    await this.poison.sync(this.segments.at(-1)!.file);
    this.durableLsn = Math.max(this.durableLsn, target);
  }

  /** Syncs every `milliseconds`, the declared loss window. @returns a function that stops it */
  syncEvery(milliseconds: number): () => void {
    const timer = setInterval(() => {
      this.sync().catch(() => {}); // a failure poisons the handle, so the next append reports it
    }, milliseconds);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** The groups after `afterLsn`, in order, up to what is whole when this starts. */
  async *read(afterLsn: number): AsyncGenerator<Group> {
    const segments = this.segments.map((segment) => ({ ...segment }));
    for (const [i, { file, firstLsn, end }] of segments.entries()) {
      if (i + 1 < segments.length && segments[i + 1].firstLsn <= afterLsn + 1) continue;
      let records: LogRecord[] = [];
      let at = SEGMENT_HEADER_BYTES;
      let lsn = firstLsn - 1;
      for await (const { header, payload, end: behind } of wholeRecords(file, end, this.storeId, firstLsn)) {
        at = behind;
        lsn = header.lsn;
        if (header.type !== CLOSING_TYPE && lsn > afterLsn) records.push({ lsn, type: header.type, payload });
        if (header.continues) continue;
        if (records.length > 0) yield { lsn, records };
        records = [];
      }
      if (at < end) throw corrupt({ segment: segmentName(firstLsn), offset: at, lsn: lsn + 1 }, "it was whole before");
    }
  }

  /** Drops the segments that hold nothing after `lsn`: every follower must hold it, durably. */
  cut(lsn: number): Promise<void> {
    return this.enqueue(async () => {
      this.checkWritable();
      if (this.lastLsn <= lsn && this.segments.at(-1)!.end > SEGMENT_HEADER_BYTES) await this.rotate();
      // Not synced: names that come back after a power failure are dropped when the store is opened.
      while (this.segments.length > 1 && this.segments[1].firstLsn <= lsn + 1)
        await this.remove(this.segments.shift()!);
    });
  }

  private async rotate(): Promise<void> {
    await this.sync();
    let made: Segment;
    try {
      made = await newSegment(this.files, this.directory, this.storeId, this.lastLsn + 1, this.poison);
    } catch (error) {
      // A segment that is never filled must not stay: its successor would leave a gap behind it.
      const path = join(this.directory, segmentName(this.lastLsn + 1));
      const undo = this.poison.guard(async () => {
        if ((await this.files.kind(path)) !== undefined) await this.files.unlink(path);
        await this.files.syncDirectory(this.directory);
      });
      await undo.catch(() => {}); // the handle is poisoned then, and the first error tells more
      throw error;
    }
    this.segments.push(made);
  }

  /**
   * Copies the segments to another directory, durably, up to the end of record `upTo`, which ends a group.
   */
  async copyTo(directory: string, upTo: number): Promise<void> {
    for (const { file, firstLsn, end } of this.segments.map((segment) => ({ ...segment }))) {
      if (firstLsn > upTo + 1) break;
      let length = SEGMENT_HEADER_BYTES;
      for await (const found of wholeRecords(file, end, this.storeId, firstLsn)) {
        if (found.header.lsn > upTo) break;
        length = found.end;
      }
      const copy = await this.files.open(join(directory, segmentName(firstLsn)), "create");
      try {
        for (let at = 0; at < length; at += WRITE_BYTES) {
          await copy.pwrite(await file.pread(Math.min(WRITE_BYTES, length - at), at), at);
        }
        await copy.sync();
      } finally {
        await copy.close();
      }
    }
    await this.files.syncDirectory(directory);
  }

  /** Bytes of all segments. */
  bytes(): number {
    return this.segments.reduce((sum, segment) => sum + segment.end, 0);
  }

  /** Reads everything again: the first damage of each segment. */
  async check(): Promise<LogDamage[]> {
    const damages: LogDamage[] = [];
    for (const { file, firstLsn, end } of this.segments.map((segment) => ({ ...segment }))) {
      let at = isSegmentHeader(await file.pread(SEGMENT_HEADER_BYTES, 0), this.storeId, firstLsn)
        ? SEGMENT_HEADER_BYTES
        : 0;
      let lsn = firstLsn - 1;
      for await (const found of wholeRecords(file, end, this.storeId, firstLsn)) {
        at = found.end;
        lsn = found.header.lsn;
      }
      if (at < end) damages.push({ segment: segmentName(firstLsn), offset: at, lsn: lsn + 1 });
    }
    return damages;
  }

  /**
   * Ends the log with a record that proves everything before it durable, and that nothing came after.
   * @param inAnyCase also where the segment has no record, and so nothing to prove
   */
  async markClosed(inAnyCase = false): Promise<void> {
    const isEmpty = this.segments.at(-1)!.end === SEGMENT_HEADER_BYTES;
    if (!this.recovered || (isEmpty && !inAnyCase) || this.lastLsn > this.lastChangeLsn) return;
    await this.sync();
    await this.enqueue(() => this.write([{ type: CLOSING_TYPE, payload: [] }]));
    await this.sync();
  }

  /** Closes the files; every one of them, whatever fails. */
  async close(): Promise<void> {
    await this.queue;
    await allDone(this.segments.map((segment) => segment.file.close()));
  }

  private enqueue<T>(action: () => Promise<T>): Promise<T> {
    const result = this.queue.then(action);
    this.queue = result.catch(() => {}); // whoever asked gets the error; the next one starts clean
    return result;
  }

  private checkWritable(): void {
    assert(this.recovered, "the log is recovered before it is written");
    if (this.readOnly)
      throw new HebbError("STORE_READ_ONLY", "the store was opened with readOnly; open it without to write");
    this.poison.check();
  }
}

function pieces(payload: Uint8Array | Uint8Array[]): Uint8Array[] {
  return Array.isArray(payload) ? payload : [payload];
}

function corrupt({ segment, offset, lsn }: LogDamage, why: string): HebbError {
  return new HebbError(
    "WAL_CORRUPT",
    `wal/${segment}, offset ${offset}: record ${lsn} is damaged or missing; ${why}. ${REPAIR_OR_RESTORE}`,
    { segment, offset, lsn },
  );
}

/** Opens the segments in a directory that are not in `opened` yet, and adds them. */
export async function openSegments(
  files: Files,
  directory: string,
  mode: "read" | "write",
  opened: Map<number, StoredFile>,
): Promise<void> {
  if ((await files.kind(directory)) !== "directory") return;
  for (const firstLsn of (await files.list(directory)).map(segmentLsn)) {
    if (firstLsn === undefined || opened.has(firstLsn)) continue;
    opened.set(firstLsn, await files.open(join(directory, segmentName(firstLsn)), mode));
  }
}

/** Makes an empty segment, durably. */
async function newSegment(
  files: Files,
  directory: string,
  storeId: Uint8Array,
  firstLsn: number,
  poison: Poison,
): Promise<Segment> {
  const file = await files.open(join(directory, segmentName(firstLsn)), "create");
  try {
    await file.truncate(0);
    await file.pwrite(encodeSegmentHeader(storeId, firstLsn), 0);
    await poison.guard(async () => {
      await file.sync();
      await files.syncDirectory(directory);
    });
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, firstLsn, end: SEGMENT_HEADER_BYTES, link: 0 };
}
