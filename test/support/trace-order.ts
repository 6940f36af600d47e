/**
 * What the order of calls in a trace says: no follower of the log holds on disk what the log could still lose, and the
 * log lets go of nothing that a follower could still need.
 */
import { basename } from "node:path";
import Database from "better-sqlite3";
import {
  CLOSING_TYPE,
  decodeRecordHeader,
  decodeSlot,
  JOURNAL_BODY_AT,
  JOURNAL_ENTRY_BYTES,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  SLOT_BYTES,
} from "../../storage/format.js";
import { Poison } from "../../storage/poison.js";
import { recoverIndex } from "../../storage/recover.js";
import type { Simulator } from "../../storage/simulator.js";
import { Player, putOnDisk } from "./crash-states.js";
import type { Life } from "./index-life.js";

/** SQLite's log: a header, then frames of a header and a page each. */
const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const PAGE_BYTES = 4096;

/** A file as the calls leave it in memory. */
class Shadow {
  bytes = Buffer.alloc(0);

  write(at: number, bytes: Uint8Array): void {
    if (at + bytes.length > this.bytes.length) this.truncate(at + bytes.length);
    this.bytes.set(bytes, at);
  }
  truncate(length: number): void {
    const next = Buffer.alloc(length);
    next.set(this.bytes.subarray(0, length));
    this.bytes = next;
  }
}

/** The last record of a segment, and the last one that is a change. */
function lastOf(segment: Buffer): { lsn: number; change: number } {
  const found = { lsn: 0, change: 0 };
  const storeId = segment.subarray(16, 32);
  for (let at = SEGMENT_HEADER_BYTES; at + RECORD_HEADER_BYTES <= segment.length; ) {
    const header = decodeRecordHeader(segment.subarray(at, at + RECORD_HEADER_BYTES), storeId);
    at += RECORD_HEADER_BYTES + (header?.length ?? 0);
    if (header === undefined || at > segment.length) break;
    found.lsn = header.lsn;
    if (header.type !== CLOSING_TYPE) found.change = header.lsn;
  }
  return found;
}

export interface Order {
  /** Of the catalog, with the LSN each holds, and up to where the log was durable then. */
  commits: { lsn: number; durable: number }[];
  /** Journals that were about to be synced, likewise. */
  checkpoints: { lsn: number; durable: number }[];
  /** Segments of the log that were removed: their last change, and what index.hebb and the catalog surely held. */
  cuts: { change: number; index: number; catalog: number }[];
}

/** @param scratch makes paths where a disk can be put */
export async function orderOf(life: Life, scratch: (name: string) => string): Promise<Order> {
  const order: Order = { commits: [], checkpoints: [], cuts: [] };
  const shadows = new Map<string, Shadow>();
  const shadow = (path: string) => shadows.get(path) ?? shadows.set(path, new Shadow()).get(path)!;
  const syncs = new Map<number, number>();
  const player = new Player(life.trace, life.directory, 1, life.before);
  let durable = 0;
  let transaction: Buffer[] = [];
  for (const [i, { kind, by, file, flag, at, path, bytes }] of life.trace.entries()) {
    const name = basename(path);
    const isSegment = name.endsWith(".wal");
    if (kind === "write") shadow(path).write(at, bytes);
    if (kind === "truncate") shadow(path).truncate(at);
    if (kind === "sync" && isSegment) syncs.set(at, lastOf(shadow(path).bytes).lsn);
    if (kind === "synced" && !flag) durable = Math.max(durable, syncs.get(file) ?? 0);
    if (kind === "unlink" && isSegment) {
      const { change } = lastOf(shadow(path).bytes);
      const disk = await player.diskAt(i, 1);
      disk.loseUnsynced();
      order.cuts.push({ change, ...(await followers(disk, scratch(`cut-${i}`))) });
    }
    if (kind === "rename") shadows.set(bytes.toString(), shadow(path));
    if (kind === "sync" && name === "index.hebb-journal") {
      const slotAt = JOURNAL_BODY_AT + JOURNAL_ENTRY_BYTES;
      const slot = decodeSlot(shadow(path).bytes.subarray(slotAt, slotAt + SLOT_BYTES));
      if (slot.state === "valid") order.checkpoints.push({ lsn: slot.meta.lsn, durable });
    }
    if (kind === "write" && by === "sqlite" && name === "catalog.sqlite-wal" && bytes.length === PAGE_BYTES) {
      if (at === WAL_HEADER_BYTES + FRAME_HEADER_BYTES) transaction = [];
      transaction.push(bytes);
      const isCommit = shadow(path).bytes.readUInt32BE(at - FRAME_HEADER_BYTES + 4) > 0;
      if (!isCommit) continue;
      const lsns = transaction.flatMap((page) => [...page.toString("latin1").matchAll(/"lsn":(\d+),"entries"/g)]);
      if (lsns.length > 0) order.commits.push({ lsn: Math.max(...lsns.map(([, lsn]) => Number(lsn))), durable });
      transaction = [];
    }
  }
  return order;
}

/** The LSNs that index.hebb and the catalog hold on a disk. */
async function followers(disk: Simulator, directory: string): Promise<{ index: number; catalog: number }> {
  const files = disk.files();
  const [index, journal] = await Promise.all(
    ["index.hebb", "index.hebb-journal"].map((name) => files.open(`/store/${name}`, "read")),
  );
  const { meta } = await recoverIndex(
    index,
    journal,
    { write: false, place: false },
    Number.MAX_SAFE_INTEGER,
    new Poison(),
  );
  putOnDisk(disk, directory);
  const db = new Database(`${directory}/catalog.sqlite`);
  const { lsn } = JSON.parse(db.prepare("SELECT value FROM meta").pluck().get() as string) as { lsn: number };
  db.close();
  return { index: meta.lsn, catalog: lsn };
}
