/**
 * A store's directory: index.hebb, its journal, the log and the lock, opened together. The store
 * keeps bytes and knows nothing of what they mean.
 *
 * Every change goes to the log first (`log.append`, then `log.sync` where it must be durable before
 * it is acknowledged), then to the region. A checkpoint makes index.hebb hold the region; the log is
 * cut once every follower has what it says. After a crash `replay` hands out what they lack.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HebbError } from "../base/errors.js";
import type { Fault, Json, Metric } from "../base/types.js";
import type { Region } from "../native/index.js";
import { diskFiles, type Files, type Lock, makeDirectories, type StoredFile } from "./files.js";
import { type Meta, SEGMENT_HEADER_BYTES, STORE_ID_BYTES, segmentLsn, segmentName } from "./format.js";
import { IndexFile, type Still } from "./index-file.js";
import { type Group, Log, type LogRecovery, openSegments } from "./log.js";
import {
  CATALOG_NAME,
  INDEX_NAME,
  JOURNAL_NAME,
  LOCK_NAME,
  LOG_NAME,
  NEW_INDEX_NAME,
  PROGRESS_NAME,
  REPAIR_NAME,
} from "./names.js";
import { Poison } from "./poison.js";
import { finishRepair, repairIsReady } from "./repair-swap.js";
import type { SectionSpec } from "./sections.js";

export type { Meta } from "./format.js";
export type { Still } from "./index-file.js";
export type { Group, LogRecovery } from "./log.js";
export type { SectionSpec } from "./sections.js";

/** What a store is made with, and keeps for ever. */
export interface Identity {
  dimensions: number;
  metric: Metric;
  /** Free-form, at most 8 KiB as JSON; a checkpoint may replace it. */
  config: Json;
}

export interface StoreOptions {
  /** Default: the disk. */
  files?: Files;
  /** Makes the store where there is none. Where there is one, its dimensions and metric must be these. */
  create?: Identity;
  /** The sections wanted in a store of this identity; section i of the region is the i-th. */
  sections: (identity: Identity) => readonly SectionSpec[];
  /**
   * Opens to read, beside a writer and other readers: one state, whatever the writer does. `begin` is called once
   * nothing can change in place in index.hebb any more; it fixes the other followers' state and returns its LSN,
   * up to which the caller replays. `true` where there are none: the newest state.
   */
  readOnly?: boolean | { begin: () => Promise<number> };
  /** Default false. Reads index.hebb into memory instead of mapping it. */
  safeReads?: boolean;
}

/** The region at the moment of a checkpoint. */
export interface Moment {
  /** The last log record that it holds. */
  lsn: number;
  /** Resolves to the lowest LSN that the other followers durably hold. */
  followers?: Promise<number>;
}

export interface CheckpointOptions {
  /** Runs a task while nothing changes the region. Default: nothing does while a checkpoint runs. */
  still?: Still;
  /** Replaces `meta.config`. */
  config?: Json;
}

/** How long who opens to read waits for a checkpoint to be in place. */
const READER_WAITS_MS = 60_000;

export class Store {
  private busy: Promise<unknown> = Promise.resolve();
  private closing: Promise<void> | undefined;

  private constructor(
    /** Whether this handle made the store. */
    readonly created: boolean,
    readonly readOnly: boolean,
    readonly log: Log,
    private readonly files: Files,
    private readonly index: IndexFile,
    private readonly lock: Lock,
    private readonly poison: Poison,
  ) {}

  /**
   * Opens a store, or makes it. `replay` must follow before anything is written.
   * @throws {TypeError} on a path that is none
   * @throws {HebbError} STORE_LOCKED, STORE_NOT_FOUND, NOT_A_STORE, STORE_VERSION, STORE_MISMATCH,
   *   INDEX_CORRUPT, JOURNAL_CORRUPT, WAL_CORRUPT, DISK_FULL, IO_ERROR; with `readOnly` STORE_READ_ONLY
   */
  static async open(directory: string, options: StoreOptions): Promise<Store> {
    if (typeof directory !== "string" || directory === "" || directory.includes("\0")) {
      throw new TypeError(`directory is ${JSON.stringify(directory)}; expected a path without NUL`);
    }
    const { files = diskFiles, create, sections, readOnly = false, safeReads = false } = options;
    const make = create !== undefined && !readOnly;
    const kind = await files.kind(directory, true);
    if (kind === undefined && make) await makeDirectories(files, directory);
    else if (kind === undefined) throw notFound(directory);
    else if (kind !== "directory")
      throw new HebbError("NOT_A_STORE", `${directory} is no directory; a store is one. Give another path`);
    if (await repairIsReady(files, directory)) await endRepair(files, directory, readOnly !== false);
    if (!(await holdsStore(files, directory)) && !make) throw notFound(directory);

    const lock = readOnly
      ? await lockToRead(files, directory)
      : await files.lock(join(directory, LOCK_NAME), "exclusive");
    const poison = new Poison();
    const opened: { close(): Promise<void> }[] = [];
    try {
      // Asked again under the lock: a repair that had it meanwhile may have been cut short, and its files be half in place.
      if (await repairIsReady(files, directory)) {
        if (readOnly) throw unrepaired(directory);
        await finishRepair(files, directory);
      }
      // So is this: another process may have made it meanwhile.
      const created = !(await holdsStore(files, directory));
      if (created) {
        if (create === undefined || readOnly) throw notFound(directory);
        await createStore(files, directory, create);
      }
      const wanted = (meta: Meta) => {
        if (create !== undefined) checkIdentity(directory, meta, create);
        return sections(meta);
      };
      // Before the state is fixed, and after: what a checkpoint removes of the log meanwhile stays readable.
      const segments = new Map<number, StoredFile>();
      const hold = () => openSegments(files, join(directory, LOG_NAME), "read", segments);
      opened.push({ close: async () => void (await Promise.all([...segments.values()].map((one) => one.close()))) });
      if (readOnly) await hold();
      const upTo = typeof readOnly === "object" ? await readOnly.begin() : Number.MAX_SAFE_INTEGER;
      if (readOnly) await hold();
      for (const [firstLsn, file] of segments) {
        if (firstLsn <= upTo + 1) continue;
        segments.delete(firstLsn); // of later states: checkpoints may have removed what comes between
        await file.close();
      }
      const index = await IndexFile.open(files, directory, wanted, readOnly ? { upTo } : undefined, poison, safeReads);
      opened.push(index);
      const held = readOnly ? new Map(segments) : undefined;
      segments.clear(); // they are the log's
      const log = await Log.open(
        files,
        join(directory, LOG_NAME),
        index.meta.storeId,
        poison,
        readOnly !== false,
        held,
      );
      return new Store(created, readOnly !== false, log, files, index, lock, poison);
    } catch (error) {
      // The first error tells more than one from closing.
      for (const one of opened) await one.close().catch(() => {});
      await lock.release().catch(() => {});
      throw error;
    }
  }

  /** As of the last checkpoint: the region may be ahead. */
  get meta(): Meta {
    return this.index.meta;
  }

  /** The sections in memory. Changes reach the file with a checkpoint, never by themselves. */
  get region(): Region {
    return this.index.region;
  }

  /** The failure after which this handle only reads, if there was one. */
  get poisonedBy(): unknown {
    return this.poison.cause;
  }

  /** What opening had to put right, in words. */
  readonly recovered: string[] = [];
  /** Of the log; set by `replay`. */
  logRecovery: LogRecovery | undefined;

  /**
   * Recovers the log and hands out its groups after the lowest of the followers' LSNs, in order. A
   * follower skips what it has: the region has everything up to `meta.lsn`.
   * @param followerLsns the last LSN that each other follower holds durably
   * @throws {HebbError} WAL_CORRUPT where a record that is needed, or was durable, is damaged or gone
   */
  async *replay(followerLsns: readonly number[] = []): AsyncGenerator<Group> {
    const lsns = [this.meta.lsn, ...followerLsns];
    const needed = Math.min(...lsns);
    this.logRecovery = await this.log.recover(needed, Math.max(...lsns));
    const { cut } = this.logRecovery;
    this.recovered.push(...this.index.recovered, ...(cut === undefined ? [] : [cut]));
    yield* this.log.read(needed);
  }

  /**
   * Makes index.hebb hold the region at one moment, durably, and cuts the log. What was discarded before is free in the
   * file from then on, and cut off where it was the file's end. Costs what changed, not what there is.
   * @param moment called while nothing changes the region and with the log durable: says what the region holds. From
   *   then on it may change; the checkpoint does not have that. Or the LSN, where nothing changes anyway
   * @throws {HebbError} where it failed: the old checkpoint holds, or the new one, and the store goes
   *   on; after a failed sync it only reads (STORE_POISONED)
   */
  checkpoint(moment: number | (() => Promise<Moment>), options: CheckpointOptions = {}): Promise<void> {
    return this.alone(() => this.checkpointAlone(moment, options));
  }

  /**
   * A checkpoint, and then index.hebb without a free or spare block: of the size that its sections
   * use. Does nothing more where there is none. Costs writing all there is, and as much disk again
   * meanwhile. Nothing may change the region meanwhile; reading goes on.
   * @throws {HebbError} as `checkpoint`, INDEX_CORRUPT for a damaged block, and STORE_LOCKED while another process
   *   reads the store. The old file holds, or the new one; after a failure from the renaming on, the store only reads
   *   (STORE_POISONED)
   */
  compact(moment: number | (() => Promise<Moment>)): Promise<void> {
    return this.alone(async () => {
      await this.checkpointAlone(moment, {});
      await this.index.compact();
    });
  }

  /** Bytes that wait to be put in place in index.hebb until no other process reads it. */
  get journalBytes(): number {
    return this.index.journalBytes;
  }

  /** Bytes by which `compact` would make index.hebb smaller, as of the last checkpoint. */
  get spareBytes(): number {
    return this.index.spareBytes;
  }

  /**
   * Writes the last checkpoint and the log up to record `upTo` into a new or empty directory, as a store of its own: what
   * else belongs to it is there already. Durable, and no store until all of it is.
   * @throws {HebbError} INDEX_CORRUPT for a damaged block, DISK_FULL, IO_ERROR
   */
  async copyTo(directory: string, upTo: number): Promise<void> {
    const log = join(directory, LOG_NAME);
    await this.files.makeDirectory(log);
    await this.log.copyTo(log, upTo);
    const path = join(directory, NEW_INDEX_NAME);
    await this.index.copyTo(path);
    await this.files.syncDirectory(directory); // everything index.hebb counts on, before it
    await this.files.rename(path, join(directory, INDEX_NAME));
    await this.files.syncDirectory(directory);
  }

  /** Reads index.hebb and the log whole, from disk, and reports all damage. A checkpoint waits meanwhile. */
  check(): Promise<Fault[]> {
    return this.alone(async () => {
      const faults = await this.index.check();
      for (const { segment, offset, lsn } of await this.log.check()) {
        const message = `wal/${segment}, offset ${offset}: record ${lsn} is damaged`;
        faults.push({ code: "WAL_CORRUPT", section: segment, offset, message });
      }
      return faults;
    });
  }

  /**
   * Marks the log as cleanly ended and gives everything back, whatever fails on the way; then throws
   * the first failure. What the region holds beyond the last checkpoint is in the log.
   * @param options `mark`: that it was closed is marked also where the log is empty
   */
  close({ mark = false }: { mark?: boolean } = {}): Promise<void> {
    this.closing ??= this.alone(async () => {
      const failures: unknown[] = [];
      const attempt = async (step: () => Promise<void>) => {
        try {
          await step();
        } catch (error) {
          failures.push(error);
        }
      };
      if (!this.readOnly && this.poison.cause === undefined) await attempt(() => this.log.markClosed(mark));
      await attempt(() => this.log.close());
      await attempt(() => this.index.close());
      await attempt(() => this.lock.release());
      if (failures.length > 0) throw failures[0];
    });
    return this.closing;
  }

  private async checkpointAlone(
    moment: number | (() => Promise<Moment>),
    { still = (task) => task(), config = this.meta.config }: CheckpointOptions,
  ): Promise<void> {
    this.checkWritable();
    await this.index.settle(still);
    let following: Promise<unknown> = Promise.resolve();
    try {
      await this.checkpointFollowed(moment, still, config, (followers) => {
        following = followers.catch(() => {}); // reported there, unless something fails before
      });
    } finally {
      // The next checkpoint is of a later moment, and must not take what followers do for this one for theirs.
      await following;
    }
  }

  private async checkpointFollowed(
    moment: number | (() => Promise<Moment>),
    still: Still,
    config: Json,
    follow: (followers: Promise<number>) => void,
  ): Promise<void> {
    const { followers, snapshot } = await still(async () => {
      await this.log.sync();
      const { lsn, followers = Promise.resolve(lsn) }: Moment =
        typeof moment === "number" ? { lsn: moment } : await moment();
      follow(followers);
      if (lsn < this.meta.lsn || lsn > this.log.durableLsn) {
        throw new RangeError(`checkpoint at ${lsn}; expected ${this.meta.lsn} to ${this.log.durableLsn}`);
      }
      const sameConfig = JSON.stringify(config) === JSON.stringify(this.meta.config);
      const nothingNew = sameConfig && this.log.lastChangeLsn <= this.meta.lsn && !this.index.isChanged();
      return { followers, snapshot: nothingNew ? undefined : this.index.begin(lsn, config) };
    });
    if (snapshot !== undefined) await this.index.write(snapshot, still, followers);
    await this.log.cut(Math.min(this.meta.lsn, await followers));
  }

  private checkWritable(): void {
    if (this.readOnly)
      throw new HebbError("STORE_READ_ONLY", "the store was opened with readOnly; open it without to write");
    this.poison.check();
  }

  /** Checkpoint, compaction, check and close exclude each other. */
  private alone<T>(action: () => Promise<T>): Promise<T> {
    const result = this.busy.then(action);
    this.busy = result.catch(() => {}); // whoever asked gets the error
    return result;
  }
}

/** A repair that was cut short while its files took their places. */
async function endRepair(files: Files, directory: string, readOnly: boolean): Promise<void> {
  if (readOnly) throw unrepaired(directory);
  const lock = await files.lock(join(directory, LOCK_NAME), "exclusive");
  try {
    if (await repairIsReady(files, directory)) await finishRepair(files, directory);
  } finally {
    await lock.release();
  }
}

/**
 * Keeps everything in place in index.hebb for as long as it is held. A writer holds it exclusively while it puts a
 * checkpoint in place, which takes milliseconds to seconds.
 * @throws {HebbError} STORE_LOCKED
 */
async function lockToRead(files: Files, directory: string): Promise<Lock> {
  for (const until = performance.now() + READER_WAITS_MS; ; ) {
    const lock = await files.lockDirectory(directory, "shared");
    if (lock !== undefined) return lock;
    if (performance.now() > until) {
      const message = `${directory} is being written to for more than ${READER_WAITS_MS / 1000} s (a checkpoint, a compaction or a repair); try again later`;
      throw new HebbError("STORE_LOCKED", message, { path: directory });
    }
    await delay(2);
  }
}

/** Whether a writer has the store in a directory open now. */
export async function hasWriter(directory: string, files: Files = diskFiles): Promise<boolean> {
  try {
    await (await files.lock(join(directory, LOCK_NAME), "shared")).release();
    return false;
  } catch (error) {
    if (error instanceof HebbError && error.code === "STORE_LOCKED") return true;
    throw error;
  }
}

/**
 * Whether a directory holds a store, false where it is empty or a creation was cut short.
 * @throws {HebbError} NOT_A_STORE where it holds something else; INDEX_CORRUPT where index.hebb is gone
 */
async function holdsStore(files: Files, directory: string): Promise<boolean> {
  const names = await files.list(directory);
  const kindOf = (name: string) => files.kind(join(directory, name));
  const expected = { [LOCK_NAME]: "file", [JOURNAL_NAME]: "file", [INDEX_NAME]: "file", [LOG_NAME]: "directory" };
  for (const [name, kind] of Object.entries(expected)) {
    const found = names.includes(name) ? await kindOf(name) : undefined;
    if (found !== undefined && found !== kind) {
      throw new HebbError(
        "NOT_A_STORE",
        `${join(directory, name)} is no plain ${kind}; a store has one there. Give another path, or put it back from a copy`,
      );
    }
  }
  if (names.includes(INDEX_NAME)) return true;
  const foreign = names.find(
    (name) =>
      !(name in expected) &&
      ![NEW_INDEX_NAME, REPAIR_NAME, PROGRESS_NAME].includes(name) &&
      !name.startsWith(CATALOG_NAME),
  );
  if (foreign !== undefined) {
    const message = `${directory} is no store, and holds ${JSON.stringify(foreign)}; give an empty or new directory`;
    throw new HebbError("NOT_A_STORE", message);
  }
  // A creation that was cut short leaves no records, and nothing beside the log.
  let used = names.some((name) => name.startsWith(CATALOG_NAME));
  for (const path of [join(directory, JOURNAL_NAME), ...(await segmentPaths(files, directory))]) {
    if ((await files.kind(path)) !== "file") continue;
    const file = await files.open(path, "read");
    if ((await file.size()) > SEGMENT_HEADER_BYTES) used = true;
    await file.close();
  }
  if (used) {
    const message = `${join(directory, INDEX_NAME)} is gone, yet the store's other files hold data. Restore the whole store from a copy`;
    throw new HebbError("INDEX_CORRUPT", message);
  }
  return false;
}

async function segmentPaths(files: Files, directory: string): Promise<string[]> {
  const log = join(directory, LOG_NAME);
  if ((await files.kind(log)) === undefined) return [];
  const names = (await files.list(log)).filter((name) => segmentLsn(name) !== undefined);
  return names.map((name) => join(log, name));
}

/** Makes all files of a store, index.hebb last: until it has its name there is no store, and this can begin again. */
async function createStore(files: Files, directory: string, identity: Identity): Promise<void> {
  const { dimensions, metric, config } = identity;
  const storeId = randomBytes(STORE_ID_BYTES);
  const log = join(directory, LOG_NAME);
  await makeDirectories(files, directory);
  for (const path of await segmentPaths(files, directory)) {
    if (path !== join(log, segmentName(1))) await files.unlink(path);
  }
  await files.makeDirectory(log);
  await Log.create(files, log, storeId);
  const path = join(directory, NEW_INDEX_NAME);
  if ((await files.kind(path)) !== undefined) await files.unlink(path);
  await IndexFile.create(files, path, { storeId, dimensions, metric, config });
  const journal = await files.open(join(directory, JOURNAL_NAME), "create");
  await journal.close();
  await files.syncDirectory(directory); // everything index.hebb counts on, before it
  await files.rename(path, join(directory, INDEX_NAME));
  await files.syncDirectory(directory);
}

function checkIdentity(directory: string, meta: Meta, { dimensions, metric }: Identity): void {
  if (meta.dimensions === dimensions && meta.metric === metric) return;
  throw new HebbError(
    "STORE_MISMATCH",
    `${directory} holds ${meta.dimensions} dimensions under ${meta.metric}; asked for were ${dimensions} under ${metric}. Leave both out to open it`,
    { stored: { dimensions: meta.dimensions, metric: meta.metric }, asked: { dimensions, metric } },
  );
}

function unrepaired(directory: string): HebbError {
  const message = `${directory} was being repaired when that was cut short; open it once without readOnly to end it`;
  return new HebbError("STORE_READ_ONLY", message);
}

function notFound(directory: string): HebbError {
  return new HebbError("STORE_NOT_FOUND", `${directory} holds no store; give dimensions and metric to create one`);
}
