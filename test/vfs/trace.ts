/**
 * One ordered trace of everything that a store does to its files: what SQLite does, as the VFS of trace-vfs.cpp sees
 * it, and what goes through `Files`, as traced-files.ts reports it. Loading this makes that VFS the default one of the
 * process, for good: a test file that imports it has a process of its own.
 */
import Database from "better-sqlite3";
import { buildTraceVfs } from "./build.mjs";

/** As trace-vfs.cpp numbers them. */
const KINDS = [
  "open",
  "write",
  "truncate",
  "allocate",
  "sync",
  "synced",
  "unlink",
  "rename",
  "makeDirectory",
  "syncDirectory",
  "note",
] as const;
export type Kind = (typeof KINDS)[number];

/** What a call did, or the beginning of a sync, or its end. */
export interface Entry {
  kind: Kind;
  by: "sqlite" | "files";
  /** Of an open file, from `open` on; the number of the sync in `synced`. */
  file: number;
  /** `open`: it made the file. `synced`: it failed. */
  flag: boolean;
  /** Offset of a write, length after `truncate` and (at least) `allocate`, the sync's number in `sync` and `syncDirectory`. */
  at: number;
  /** Absolute. */
  path: string;
  /** Written, or the new path of a `rename`, or a note's text. */
  bytes: Buffer;
}

/** SQLite's result codes that a call may fail with; a write fails with either, everything else with an I/O error. */
export const IO_ERROR = 10;
export const FULL = 13;

const db = new Database(":memory:");
db.loadExtension(buildTraceVfs());
const call = <T>(sql: string) => {
  const statement = db.prepare(`SELECT ${sql}`).pluck();
  return (...values: unknown[]): T => statement.get(...values) as T;
};
const functions = {
  start: call<null>("trace_start(?)"),
  stop: call<Buffer>("trace_stop()"),
  fault: call<null>("trace_fault(?, ?, ?, ?, ?)"),
  calls: call<number>("trace_calls(?)"),
  lock: call<null>("trace_lock()"),
  unlock: call<null>("trace_unlock()"),
  file: call<number>("trace_file()"),
  sync: call<number>("trace_sync()"),
  record: call<null>("trace_record(?, ?, ?, ?, ?, ?)"),
};

/** Begins a trace of what happens under a directory (without symbolic links on its way) from now on. */
export function startTrace(under: string): void {
  functions.start(under);
}

/** Ends the trace: nothing is recorded, failed or killed any more. */
export function stopTrace(): Entry[] {
  const bytes = functions.stop();
  const entries: Entry[] = [];
  let at = 0;
  const piece = () => {
    const length = bytes.readUInt32LE(at);
    at += 4 + length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const [kind, by, flag, file] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes.readUInt32LE(at + 3)];
    const position = bytes.readDoubleLE(at + 7);
    at += 15;
    const path = piece().toString();
    entries.push({
      kind: KINDS[kind],
      by: by === 0 ? "sqlite" : "files",
      file,
      flag: flag === 1,
      at: position,
      path,
      bytes: piece(),
    });
  }
  return entries;
}

/** SQLite's calls since the trace began: those that change something, and reads. */
export const sqliteCalls = (kind: "changes" | "reads"): number => functions.calls(kind === "reads" ? 1 : 0);

export interface SqliteFault {
  /** Reads are counted by themselves. Default "changes". */
  of?: "changes" | "reads";
  /** The first call that fails, from 1 since the trace began. */
  from: number;
  /** How many in a row do. Default 1. */
  times?: number;
  code?: typeof IO_ERROR | typeof FULL;
  /** Share of the work that is done nevertheless, 0 to 1. Default 0. */
  part?: number;
}

export function failSqlite({ of = "changes", from, times = 1, code = IO_ERROR, part = 0 }: SqliteFault): void {
  functions.fault(of === "reads" ? 1 : 0, from, times, code, part);
}

export const newFile = (): number => functions.file();
export const newSync = (): number => functions.sync();

/** A record of ours, without what it need not have. */
export type Report = Pick<Entry, "kind"> & Partial<Omit<Entry, "bytes">> & { bytes?: Uint8Array | string };

/**
 * Runs a call that takes effect before it returns, and records it, with every call of SQLite's held back meanwhile.
 * @param act returns what it did, undefined where that is nothing
 */
export function traced(act: () => Report | undefined): void {
  functions.lock();
  try {
    const report = act();
    if (report !== undefined) add(report);
  } finally {
    functions.unlock();
  }
}

/** Leaves a mark of the test's own between the calls. */
export const note = (text: string): void => traced(() => ({ kind: "note", bytes: text }));

function add({ kind, file = 0, flag = false, at = 0, path = "", bytes = "" }: Report): void {
  const blob = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  functions.record(KINDS.indexOf(kind), file, flag ? 1 : 0, at, path, blob);
}
