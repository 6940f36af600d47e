/**
 * The one way to a disk: a small asynchronous file interface, and the real disk behind it.
 * A seeded simulator stands behind the same interface (simulator.ts), so that every crash and
 * fault can be tried. Nothing else in storage/ touches node:fs.
 *
 * `sync` is fdatasync: data and the metadata needed to read it back. On macOS it reaches the
 * drive's cache only; see docs/format.md.
 */
import { constants, promises as fs, fstatSync, lstatSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HebbError } from "../base/errors.js";
import { allocate, tryLock } from "../native/index.js";

/** `read` and `write` (which also reads) need the file to be there; `create` is `write` that makes it when missing. */
export type OpenMode = "read" | "write" | "create";

/** An open file. Every failure is a HebbError: DISK_FULL, or IO_ERROR naming operation, path and offset. */
export interface StoredFile {
  readonly path: string;
  /** The descriptor to map from, or -1 where there is none (the simulator): then copy instead. */
  readonly fd: number;
  /** Writes all of `bytes` at offset `at`. On failure any part of them may have been written. */
  pwrite(bytes: Uint8Array, at: number): Promise<void>;
  /** Reads `length` bytes at offset `at`, fewer only where the file ends. */
  pread(length: number, at: number): Promise<Uint8Array>;
  size(): Promise<number>;
  /** Cuts or extends (with zeros) the file to `length` bytes. */
  truncate(length: number): Promise<void>;
  /** Makes everything written so far survive a power failure. After a failure, never call it again: the system may have forgotten the bytes. */
  sync(): Promise<void>;
  /** Reserves disk for [offset, offset + length), extending the file with zeros, so that no later write there finds the disk full. */
  allocate(offset: number, length: number): Promise<void>;
  close(): Promise<void>;
}

export interface Lock {
  release(): Promise<void>;
}

/** A file system, as far as a store needs one. Symbolic links are never followed, except where said. */
export interface Files {
  open(path: string, mode: OpenMode): Promise<StoredFile>;
  /** Atomically puts `from` in the place of `to`. Durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Names in a directory, in no order. */
  list(path: string): Promise<string[]>;
  /** Makes a directory; its parent must be there, and it may be there already. Durable after `syncDirectory` of the parent. */
  makeDirectory(path: string): Promise<void>;
  /** Makes the names in a directory survive a power failure. */
  syncDirectory(path: string): Promise<void>;
  /** What lies at a path; `other` is anything but a file or directory, a symbolic link included unless `follow`. */
  kind(path: string, follow?: boolean): Promise<"file" | "directory" | "other" | undefined>;
  /**
   * Locks a file (made when missing) without waiting; the lock dies with its process. Two handles of
   * one process exclude each other too.
   * @throws {HebbError} STORE_LOCKED, naming the holder
   */
  lock(path: string, mode: "exclusive" | "shared"): Promise<Lock>;
  /**
   * Locks a directory itself without waiting, so that no lock file is left in what is to be copied as it is,
   * and nobody needs the right to write in it; the lock dies with its process.
   * @returns undefined where it is held elsewhere
   */
  lockDirectory(path: string, mode: "exclusive" | "shared"): Promise<Lock | undefined>;
}

const DENIED = ["EACCES", "EPERM", "EROFS"];

/** The HebbError for a failed operation on a file. */
export function ioError(cause: unknown, operation: string, path: string, offset?: number): HebbError {
  if (cause instanceof HebbError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const where = offset === undefined ? path : `${path} at offset ${offset}`;
  const details = { operation, path, offset, errno: code };
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new HebbError("DISK_FULL", `${operation} ${where}: no space left; free some and try again`, details, cause);
  }
  if (code === "ELOOP") {
    return new HebbError(
      "NOT_A_STORE",
      `${path} is a symbolic link; a store's files must be plain files`,
      details,
      cause,
    );
  }
  if (code === "ENOTDIR") {
    const message = `${operation} ${path}: a part of the path is a file. Give another path`;
    return new HebbError("IO_ERROR", message, details, cause);
  }
  const next = DENIED.includes(code ?? "") ? ". This process may not: see whose it is, or give another path" : "";
  return new HebbError("IO_ERROR", `${operation} ${where}: ${message}${next}`, details, cause);
}

/** The HebbError for a lock that someone else holds. `holder` is the process id in the lock file: a reader writes none. */
export function lockedError(path: string, mode: "exclusive" | "shared", holder: number | undefined): HebbError {
  const who = holder === undefined ? "another handle" : holder === process.pid ? "this process" : `process ${holder}`;
  const close = `close it there first${holder === process.pid ? " and await that" : ""}`;
  const hint = mode === "exclusive" ? `${close}, or open with readOnly` : close;
  return new HebbError("STORE_LOCKED", `${dirname(path)} is held by ${who}; ${hint}`, { path, holder });
}

/**
 * Makes a directory and its missing parents, durably. One that is there already may be the work of an
 * attempt that failed just before its sync, so the name of the last such one is synced too.
 */
export async function makeDirectories(files: Files, path: string): Promise<void> {
  const parent = dirname(path);
  if ((await files.kind(path, true)) !== undefined) {
    await files.syncDirectory(parent).catch((error: HebbError) => {
      // A directory in one that we may not even read is not of our making.
      if (error.details?.errno !== "EACCES") throw error;
    });
    return;
  }
  await makeDirectories(files, parent);
  await files.makeDirectory(path);
  await files.syncDirectory(parent);
}

/**
 * Writes again what [from, to) of a file holds. After a sync that failed, the system may show bytes
 * that are not on disk and take them for clean, so that no later sync would write them; whoever opens
 * after a crash cannot know, and writes what it is going to rely on.
 */
export async function rewrite(file: StoredFile, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += 4 << 20) {
    await file.pwrite(await file.pread(Math.min(4 << 20, to - at), at), at);
  }
}

/** Bytes at any place of a file, read through a window, so that walking over small structures costs few reads. */
export class WindowReader {
  private window: Uint8Array = new Uint8Array(0);
  private windowAt = 0;

  constructor(
    private readonly file: StoredFile,
    /** The file is taken to end here. */
    private readonly end: number,
    private readonly windowBytes = 1 << 20,
  ) {}

  /** The `length` bytes at `at`, or undefined where the file ends before. Valid for ever: a window is never written again. */
  async bytes(at: number, length: number): Promise<Uint8Array | undefined> {
    if (at + length > this.end) return undefined;
    if (at < this.windowAt || at + length > this.windowAt + this.window.length) {
      const wanted = Math.min(Math.max(length, this.windowBytes), this.end - at);
      this.window = await this.file.pread(wanted, at);
      this.windowAt = at;
      if (this.window.length < length) return undefined;
    }
    return this.window.subarray(at - this.windowAt, at - this.windowAt + length);
  }
}

/**
 * Up to here a write is a copy into the system's memory, which takes less time than handing it to another thread; so is
 * asking for a file's kind or size.
 */
const SMALL_WRITE = 64 << 10;

class DiskFile implements StoredFile {
  readonly fd: number;

  constructor(
    readonly path: string,
    private readonly handle: fs.FileHandle,
  ) {
    this.fd = handle.fd;
  }

  async pwrite(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const left = bytes.length - done;
      done += await this.attempt("write", at + done, async () => {
        if (left <= SMALL_WRITE) return writeSync(this.handle.fd, bytes, done, left, at + done);
        return (await this.handle.write(bytes, done, left, at + done)).bytesWritten;
      });
    }
  }

  async pread(length: number, at: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.attempt("read", at + done, () =>
        this.handle.read(bytes, done, length - done, at + done),
      );
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  }

  async size(): Promise<number> {
    return this.attempt("stat", undefined, async () => fstatSync(this.handle.fd).size);
  }

  async truncate(length: number): Promise<void> {
    await this.attempt("truncate", length, () => this.handle.truncate(length));
  }

  async sync(): Promise<void> {
    await this.attempt("sync", undefined, () => this.handle.datasync());
  }

  async allocate(offset: number, length: number): Promise<void> {
    const errno = allocate(this.fd, offset, length);
    if (errno === 0) return;
    if (!CANNOT_ALLOCATE.has(errno)) {
      const code = errno === ENOSPC || errno === EDQUOT ? "ENOSPC" : `errno ${errno}`;
      throw ioError(Object.assign(new Error(code), { code }), "allocate", this.path, offset);
    }
    // The file system cannot reserve: writing zeros does the same, slower.
    const zeros = new Uint8Array(1 << 20);
    for (let at = Math.max(offset, await this.size()); at < offset + length; at += zeros.length) {
      await this.pwrite(zeros.subarray(0, Math.min(zeros.length, offset + length - at)), at);
    }
  }

  async close(): Promise<void> {
    await this.attempt("close", undefined, () => this.handle.close());
  }

  private async attempt<T>(operation: string, offset: number | undefined, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      throw ioError(cause, operation, this.path, offset);
    }
  }
}

const ENOSPC = 28;
const EDQUOT = process.platform === "darwin" ? 69 : 122;
/** EINVAL, and "not supported" on Linux (95) and macOS (45, 102). */
const CANNOT_ALLOCATE = new Set(process.platform === "darwin" ? [22, 45, 102] : [22, 95]);

const FLAGS: Record<OpenMode, number> = {
  read: constants.O_RDONLY | constants.O_NOFOLLOW,
  write: constants.O_RDWR | constants.O_NOFOLLOW,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
};

async function attempt<T>(operation: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw ioError(cause, operation, path);
  }
}

/** The real disk. */
export const diskFiles: Files = {
  async open(path, mode) {
    return new DiskFile(path, await attempt("open", path, () => fs.open(path, FLAGS[mode], 0o644)));
  },
  rename: (from, to) => attempt("rename", from, () => fs.rename(from, to)),
  unlink: (path) => attempt("unlink", path, () => fs.unlink(path)),
  list: (path) => attempt("list", path, () => fs.readdir(path)),
  makeDirectory: (path) =>
    attempt("mkdir", path, async () => {
      await fs.mkdir(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
    }),
  syncDirectory: (path) =>
    attempt("sync directory", path, async () => {
      const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    }),
  async kind(path, follow = false) {
    try {
      const stats = follow ? statSync(path) : lstatSync(path);
      return stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other";
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "ENOENT") return undefined;
      if (code === "ENOTDIR") return undefined;
      throw ioError(cause, "stat", path);
    }
  },
  async lock(path, mode) {
    // A reader of an existing store needs no right to write.
    const present = (await this.kind(path)) === "file";
    const file = await this.open(path, mode === "shared" && present ? "read" : "create");
    try {
      if (!(await lockSoon(file.fd, mode))) {
        const holder = Number(Buffer.from(await file.pread(20, 0)).toString("latin1"));
        throw lockedError(path, mode, Number.isInteger(holder) && isAlive(holder) ? holder : undefined);
      }
      if (mode === "exclusive") {
        await file.truncate(0);
        await file.pwrite(Buffer.from(String(process.pid)), 0);
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    return {
      async release() {
        try {
          if (mode === "exclusive") await file.truncate(0);
        } finally {
          await file.close();
        }
      },
    };
  },
  lockDirectory: (path, mode) =>
    attempt("lock directory", path, async () => {
      const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
      if (tryLock(handle.fd, mode)) return { release: () => handle.close() };
      await handle.close();
      return undefined;
    }),
};

/** Who opens to read looks for a writer by holding the lock for a moment, which must not turn a writer away. */
async function lockSoon(fd: number, mode: "exclusive" | "shared"): Promise<boolean> {
  const attempts = mode === "exclusive" ? 5 : 1;
  for (let attempt = 0; ; ) {
    if (tryLock(fd, mode)) return true;
    if (++attempt === attempts) return false;
    await delay(5);
  }
}

/** A process killed with -9 leaves its number in the lock file; a number that runs no more names nobody. */
function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
