/**
 * The catalog: ids, payloads, filters, full text, feedback and settings in SQLite, following the log.
 *
 * One connection keeps one transaction open, and its own reads see it; `commit` ends it. The caller commits only
 * after it has synced the log that far: a change on disk here is always a change in the log. So until then, changes
 * wait in SQLite's bounded page cache and, past that, as frames without a commit mark that nobody will ever read.
 *
 * What may take long runs on a worker (checkpoints, building indexes, the check) or in slices (bulk changes).
 */

import { existsSync, lstatSync } from "node:fs";
import { resolve } from "node:path";
import { performance } from "node:perf_hooks";
import type Database from "better-sqlite3";
import { HebbError, REPAIR_OR_RESTORE, reasonOf } from "../../base/errors.js";
import { breathe } from "../../base/slices.js";
import type { Fault, Filter, Id, Payload } from "../../base/types.js";
import { Background } from "./background.js";
import { type Bitmap, Bitmaps, mark } from "./bitmaps.js";
import { candidates } from "./candidates.js";
import { Checkpoints, fileBytes, syncFile } from "./checkpoints.js";
import { EntryRows, parsePayload } from "./entry-rows.js";
import { decodeFeedback, type FeedbackRecord, FeedbackRows, type StoredFeedback } from "./feedback-rows.js";
import { canonical, matcher, parseFilter, textScreen } from "./filter.js";
import { FullText, type TextHit, textOf } from "./full-text.js";
import { checkIndexes, connect, createTables, isEmpty, type Meta, readMeta, writeMeta } from "./schema.js";
import { SettingRows } from "./setting-rows.js";
import { asHebbError, guarded } from "./sqlite-errors.js";

/** How long a bulk change holds the main thread at a time. */
const SLICE_MS = 1.5;
/** SQLite's page cache: a transaction with more changed pages writes the surplus as it goes, and not at its commit. */
const CACHE_KIB = 1024;
/** A commit of this much takes 2-5 ms; it grows with the rows, as SQLite then sums surplus pages a second time. */
const COMMIT_ROWS = 2000;
const COMMIT_BYTES = 1 << 20;
/** How long to wait for another process that is just opening the file. */
const BUSY_MS = 1000;
/** What a change costs beside the caller's bytes, roughly. */
const ROW_BYTES = 64;

export interface CatalogOptions {
  /** The store's 16 bytes; a catalog of another store is refused. Where it is not known yet, `checkStore` must follow. */
  storeId?: Uint8Array;
  /** Reads one fixed state, that of the moment of opening. Default false. */
  readOnly?: boolean;
  /** Payload fields (dotted) with expression indexes. Default: those the catalog has. */
  indexes?: readonly string[];
  /** Creates the tables where the file is missing or empty. Default false: that is CATALOG_CORRUPT. */
  create?: boolean;
  /**
   * Writes SQLite's log, where there is one, again as it is. The system may show what a failed sync did not put on disk,
   * and take it for clean: no later sync would write it, and SQLite would change the database counting on it.
   */
  rewriteLog?: () => Promise<void>;
}

/** A row to insert. `json`, where given, is the payload as JSON.stringify writes it, and `payload` is not read. */
export interface CatalogRow {
  node: number;
  id: Id;
  payload?: Payload | undefined;
  json?: string | undefined;
}

export interface CatalogEntry {
  node: number;
  id: Id;
  payload: Payload | undefined;
}

/** SQLite follows links, and so would write wherever they lead. @throws {HebbError} NOT_A_STORE */
function checkPlain(file: string): void {
  for (const path of ["", "-wal", "-shm", "-journal"].map((end) => file + end)) {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isFile()) continue;
    throw new HebbError("NOT_A_STORE", `${path} is no plain file; a store has one there`, { path });
  }
}

export class Catalog {
  readonly readOnly: boolean;
  readonly #path: string;
  readonly #db: Database.Database;
  readonly #background: Background;
  readonly #checkpoints: Checkpoints;
  readonly #entries: EntryRows;
  readonly #fullText: FullText;
  readonly #feedback: FeedbackRows;
  readonly #settings: SettingRows;
  readonly #bitmaps = new Bitmaps();
  readonly #begin: Database.Statement;
  readonly #end: Database.Statement;
  /** As on disk; `#meta` is ahead of it by what the open transaction holds. */
  #committed: Meta;
  #meta: Meta;
  /** At least one more than the largest node. */
  #nodesEnd: number;
  /** The changes since the last commit, in their order: see `#redo`. */
  #pending: (() => unknown)[] = [];
  #pendingBytes = 0;
  /** Why such changes are not here any more. */
  #lost: HebbError | undefined;
  #isClosed = false;

  /**
   * Opens or creates a catalog.
   * @throws {HebbError} CATALOG_CORRUPT (damaged, no database, missing), STORE_MISMATCH (another store's),
   *   NOT_A_STORE (a link, or no file), STORE_VERSION, IO_ERROR, DISK_FULL
   * @throws {TypeError} on an index name that is no payload field
   */
  static async open(path: string, options: CatalogOptions): Promise<Catalog> {
    const file = resolve(path);
    const { readOnly = false, create = false } = options;
    const indexes = options.indexes && [...new Set(options.indexes)].sort();
    if (indexes !== undefined) checkIndexes(indexes);
    checkPlain(file);
    if (!create && !existsSync(file)) {
      throw new HebbError("CATALOG_CORRUPT", `${file} is missing. ${REPAIR_OR_RESTORE}`, { path: file });
    }
    if (!readOnly) await options.rewriteLog?.(); // whoever had it open before may have died of it
    const db = connect(file, readOnly ? "read" : create ? "create" : "write", BUSY_MS);
    const background = new Background(file);
    try {
      const meta = guarded("open", () => {
        if (readOnly) db.exec("BEGIN"); // one state for as long as it is open
        if (create && isEmpty(db)) {
          createTables(db, Buffer.from(options.storeId!).toString("hex"), indexes ?? []);
          db.pragma("wal_checkpoint(TRUNCATE)");
        }
        return readMeta(db);
      });
      if (options.storeId !== undefined) checkStoreOf(meta, options.storeId, file);
      if (indexes !== undefined && !readOnly && indexes.join("\n") !== meta.indexes.join("\n")) {
        await background.run({ task: "indexes", indexes });
      }
      return guarded("open", () => new Catalog(file, db, background, options.rewriteLog));
    } catch (error) {
      db.close();
      await background.stop();
      throw error;
    }
  }

  private constructor(
    path: string,
    db: Database.Database,
    background: Background,
    rewriteLog: CatalogOptions["rewriteLog"],
  ) {
    db.pragma(`cache_size = ${-CACHE_KIB}`);
    this.readOnly = db.readonly;
    this.#path = path;
    this.#db = db;
    this.#background = background;
    this.#checkpoints = new Checkpoints(`${path}-wal`, background, () => !db.inTransaction, rewriteLog);
    this.#committed = readMeta(db);
    this.#meta = { ...this.#committed };
    this.#entries = new EntryRows(db);
    this.#fullText = new FullText(db);
    this.#feedback = new FeedbackRows(db);
    this.#settings = new SettingRows(db);
    this.#nodesEnd = this.#entries.nodesEnd();
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#end = db.prepare("COMMIT");
  }

  /** @throws {HebbError} STORE_MISMATCH where the catalog belongs to another store */
  checkStore(storeId: Uint8Array): void {
    checkStoreOf(this.#committed, storeId, this.#path);
  }

  /** Rows, those not yet committed included. */
  get size(): number {
    return this.#meta.entries;
  }

  /** The largest log sequence number applied, committed or not. */
  get lsn(): number {
    return this.#meta.lsn;
  }

  /** The log sequence number of the last commit: where a replay has to begin, and the bound for cutting the log. */
  get committedLsn(): number {
    return this.#committed.lsn;
  }

  /** The log sequence number up to which the last checkpoint made the catalog durable; 0 before the first. */
  get checkpointedLsn(): number {
    return this.#checkpoints.lsn;
  }

  /** Rows changed since the last commit. */
  get pendingRows(): number {
    return this.#pending.length;
  }

  /** Bytes of ids, payloads, feedback and settings written since the last commit. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** True once so much is pending that the next commit would hold the main thread for more than 5 ms. */
  get needsCommit(): boolean {
    return this.#pending.length >= COMMIT_ROWS || this.#pendingBytes >= COMMIT_BYTES;
  }

  /** Declared indexes, sorted. */
  get indexes(): readonly string[] {
    return this.#committed.indexes;
  }

  /** Bytes on disk, SQLite's own log included. */
  get bytes(): number {
    return fileBytes(this.#path) + fileBytes(`${this.#path}-wal`);
  }

  // ---- changes: visible at once to this handle, durable by commit and checkpoint; each may be applied again ----

  /** Inserts rows, or replaces those of the same nodes. Takes turns with other work on the main thread. */
  insert(rows: Iterable<CatalogRow>, lsn: number): Promise<void> {
    return this.#inSlices("insert", lsn, withText(rows), (row) => this.#put(row));
  }

  /** Removes rows; nodes without a row are passed over. */
  remove(nodes: Iterable<number>, lsn: number): Promise<void> {
    return this.#inSlices("remove", lsn, nodes, (node) => {
      if (!this.#entries.remove(node)) return 0;
      this.#fullText.remove(node);
      this.#bitmaps.remove(node);
      this.#meta.entries--;
      return ROW_BYTES;
    });
  }

  /** Replaces a row's payload (undefined: none); a node without a row is passed over. */
  setPayload(node: number, payload: Payload | undefined, lsn: number): Promise<void> {
    const row = this.#read("set a payload", () => this.#entries.byNode(node));
    return this.insert(row === undefined ? [] : [{ node, id: row[1], payload }], lsn);
  }

  /** Keeps a feedback event under its log sequence number. */
  addFeedback(lsn: number, event: StoredFeedback): Promise<void> {
    return this.#inSlices("keep feedback", lsn, [event], () => {
      if (this.#feedback.put(lsn, event)) this.#meta.feedback++;
      return ROW_BYTES + event.query.byteLength;
    });
  }

  /** Keeps a small named blob. */
  putSetting(name: string, value: Uint8Array, lsn: number): Promise<void> {
    return this.#inSlices("keep a setting", lsn, [value], () => {
      this.#settings.put(name, value);
      return ROW_BYTES + value.byteLength;
    });
  }

  /**
   * Commits all changes under `lsn`: the catalog holds the log's effects up to it. The caller has synced the log that
   * far. While a checkpoint empties SQLite's log, and so nothing is pending, this puts nothing on disk: see
   * `committedLsn`.
   * @throws {HebbError} DISK_FULL, IO_ERROR; the changes are still pending then
   */
  commit(lsn: number): void {
    this.#checkWritable();
    if (lsn < this.#committed.lsn) {
      throw new RangeError(
        `catalog: commit at LSN ${lsn}; expected at least ${this.#committed.lsn}, the last commit's`,
      );
    }
    if (!this.#db.inTransaction && (lsn === this.#committed.lsn || this.#checkpoints.isEmptying)) return;
    this.#write("commit", lsn, () => {
      this.#fullText.flush();
      writeMeta(this.#db, { ...this.#meta, lsn });
      this.#end.run();
    });
    this.#committed = { ...this.#meta, lsn };
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  /**
   * Makes what is committed durable: SQLite's log is written into the database file and synced, on the worker. Where no
   * transaction is open afterwards, that log is emptied, and changes wait for it: so commit just before.
   * Where readers of other processes still need that log, it is synced as it is.
   * @returns the LSN up to which the catalog is durable: that of the last commit before the call
   */
  checkpoint(): Promise<number> {
    this.#checkWritable();
    return this.#checkpoints.run(() => this.#committed.lsn);
  }

  /**
   * Writes what a handle that only reads sees to a new file, durably but for its name, in pieces between which others run.
   * @throws {HebbError} DISK_FULL, IO_ERROR, CATALOG_CORRUPT
   */
  async copyTo(path: string): Promise<void> {
    try {
      await this.#db.backup(path);
    } catch (error) {
      throw asHebbError("copy", error);
    }
    await syncFile(path);
  }

  /** Drops what is not committed, and checkpoints and closes. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      if (!this.readOnly) {
        if (this.#db.inTransaction) this.#rollBack();
        await this.checkpoint();
      }
    } finally {
      this.#isClosed = true;
      await this.#background.stop();
      // Closing, SQLite tries a checkpoint of its own. Where this fails too, the failure before it tells more.
      await this.#checkpoints.settle().catch(() => {});
      guarded("close", () => this.#db.close());
    }
  }

  // ---- rows ----

  /** The id of a node's row. */
  idOf(node: number): Id | undefined {
    return this.#read("read an id", () => this.#entries.byNode(node))?.[1];
  }

  /** The node of an id. While a batch replaces rows, two may hold one id: `isLive` tells which counts. */
  nodeOf(id: Id, isLive: (node: number) => boolean): number | undefined {
    return this.#read("look an id up", () => this.#entries.nodeOf(id, isLive));
  }

  /** The payloads of the first `count` nodes: fresh objects, undefined where there is none. */
  payloads(nodes: ArrayLike<number>, count: number): (Payload | undefined)[] {
    return this.#read("read payloads", () => {
      const payloads = new Array<Payload | undefined>(count);
      for (let i = 0; i < count; i++) payloads[i] = this.#entries.payload(nodes[i]);
      return payloads;
    });
  }

  /** The JSON of nodes' payloads, null where there is none. */
  payloadTexts(nodes: Uint32Array): (string | null)[] {
    return this.#read("read payloads", () => Array.from(nodes, (node) => this.#entries.payloadText(node)));
  }

  /** All rows in the order of nodes. Changes between steps are allowed; those further on are seen. */
  *entries(): Generator<CatalogEntry> {
    let last = -1;
    for (;;) {
      const page = this.#read("read rows", () => this.#entries.page(last));
      if (page.length === 0) return;
      for (const [node, id, text] of page) yield { node, id, payload: parsePayload(text) };
      last = page[page.length - 1][0];
    }
  }

  // ---- filters and full text ----

  /**
   * The rows that match a filter (see filter.ts), those not yet committed included. Cached by meaning: the first call
   * reads all rows (or an index's candidates), later ones are free, as changes keep cached bitmaps up to date.
   * @throws {TypeError} on an invalid filter
   */
  bitmap(filter: Filter): Bitmap {
    const condition = parseFilter(filter);
    const key = canonical(condition);
    const cached = this.#bitmaps.get(key, this.#nodesEnd);
    if (cached !== undefined) return cached;
    return this.#read("filter", () => {
      const matches = matcher(condition);
      const mayMatch = textScreen(condition);
      const narrowed = candidates(condition, this.#committed.indexes);
      const bitmap: Bitmap = { bits: new Uint32Array(Math.ceil(this.#nodesEnd / 32)), count: 0 };
      let rows = 0;
      this.#entries.scan(narrowed, ([node, , text]) => {
        rows++;
        if (mayMatch !== undefined && (text === null || !mayMatch(text))) return;
        if (matches(parsePayload(text))) mark(bitmap, node, true);
      });
      if (narrowed === undefined && rows !== this.#meta.entries) {
        throw new HebbError(
          "CATALOG_CORRUPT",
          `catalog.sqlite: ${rows} rows found; expected ${this.#meta.entries}. Run "hebb check <dir>"`,
        );
      }
      this.#bitmaps.put(key, matches, bitmap);
      return { ...bitmap };
    });
  }

  /** The rows that hold words of `query`, best first by BM25, at most `limit` of those accepted. Takes any string. */
  fullText(query: string, limit: number, accept: (node: number) => boolean = () => true): TextHit[] {
    return this.#read("search text", () => this.#fullText.search(query, limit, this.#meta.entries, accept));
  }

  // ---- feedback and settings ----

  /** Events kept, those not yet committed included. */
  get feedbackCount(): number {
    return this.#meta.feedback;
  }

  /** The last `count` feedback events, oldest first. */
  newestFeedback(count: number): FeedbackRecord[] {
    return this.#read("read feedback", () => this.#feedback.newest(count).map(decodeFeedback));
  }

  /** All feedback in the order of the log, after `afterLsn` (default: all). */
  *feedback(afterLsn = -1): Generator<FeedbackRecord> {
    let last = afterLsn;
    for (;;) {
      const page = this.#read("read feedback", () => this.#feedback.page(last));
      if (page.length === 0) return;
      for (const row of page) yield decodeFeedback(row);
      last = page[page.length - 1][0];
    }
  }

  /** A named blob, a fresh copy. */
  setting(name: string): Uint8Array | undefined {
    return this.#read("read a setting", () => this.#settings.get(name));
  }

  /** Looks for damage in what is committed: structure, checksums, counts, indexes, full text. On the worker. */
  check(): Promise<Fault[]> {
    return this.#background.run({ task: "check" }) as Promise<Fault[]>;
  }

  // ---- the open transaction ----

  #put([node, id, text]: TextRow): number {
    const isNew = node >= this.#nodesEnd || !this.#entries.remove(node);
    if (isNew) this.#meta.entries++;
    else this.#fullText.remove(node);
    this.#entries.insert(node, id, text);
    this.#nodesEnd = Math.max(this.#nodesEnd, node + 1);
    if (this.#bitmaps.size > 0 || text?.includes('"text":')) {
      const payload = parsePayload(text);
      const words = textOf(payload);
      if (words !== undefined) this.#fullText.insert(node, words);
      this.#bitmaps.set(node, payload);
    }
    return ROW_BYTES + (text?.length ?? 0);
  }

  /** Runs synchronously to its first pause, so that a single change is visible as soon as it was asked for. */
  async #inSlices<T>(what: string, lsn: number, items: Iterable<T>, apply: (item: T) => number): Promise<void> {
    if (this.readOnly && lsn <= this.#committed.lsn) return; // replayed to bring the rest of a store to this state
    this.#checkWritable();
    if (this.#checkpoints.isEmptying) await this.untilWritable();
    let sliceEnds = performance.now() + SLICE_MS;
    for (const item of items) {
      const change = () => apply(item);
      this.#pendingBytes += this.#write(what, lsn, change);
      this.#pending.push(change);
      if (performance.now() < sliceEnds) continue;
      await breathe();
      await this.untilWritable();
      sliceEnds = performance.now() + SLICE_MS;
    }
    this.#meta.lsn = Math.max(this.#meta.lsn, lsn);
  }

  /** Resolves once no checkpoint empties SQLite's log: until then `commit` puts nothing on disk. */
  async untilWritable(): Promise<void> {
    await this.#checkpoints.untilEmptied();
    this.#checkWritable();
  }

  /** A failed change takes the whole transaction with it, in SQLite: those before it are made again. */
  #write<T>(what: string, lsn: number, work: () => T): T {
    const before = this.#meta.lsn;
    try {
      if (!this.#db.inTransaction) this.#begin.run();
      const result = work();
      this.#meta.lsn = Math.max(this.#meta.lsn, lsn);
      return result;
    } catch (error) {
      const [changes, bytes] = [this.#pending, this.#pendingBytes];
      this.#rollBack();
      this.#redo(changes, bytes, before);
      throw asHebbError(what, error);
    }
  }

  /**
   * Makes changes again, up to `lsn`, that were made before: they are acknowledged, and must neither vanish from what is
   * read nor be missing in a later commit. Where that fails too, neither reading nor writing goes on.
   */
  #redo(changes: (() => unknown)[], bytes: number, lsn: number): void {
    if (changes.length === 0) return;
    try {
      this.#begin.run();
      for (const change of changes) change();
      this.#meta.lsn = lsn;
      this.#pending = changes;
      this.#pendingBytes = bytes;
    } catch (error) {
      const reason = reasonOf(error);
      const message = `catalog.sqlite: changes after LSN ${this.committedLsn} are in the log alone, as writing failed twice (${reason}). Close the index and open it again`;
      this.#lost = new HebbError("IO_ERROR", message, { lsn: this.committedLsn }, error);
      this.#rollBack();
    }
  }

  #rollBack(): void {
    if (this.#db.inTransaction) guarded("roll back", () => this.#db.exec("ROLLBACK"));
    this.#meta = { ...this.#committed };
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#bitmaps.clear();
    this.#entries.forgetAll();
    this.#fullText.forget();
  }

  #read<T>(what: string, work: () => T): T {
    this.#checkSound();
    return guarded(what, work);
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new HebbError("INDEX_CLOSED", "the catalog was closed; open the index again");
  }

  #checkSound(): void {
    this.#checkOpen();
    if (this.#lost !== undefined) throw this.#lost;
  }

  #checkWritable(): void {
    this.#checkSound();
    if (this.readOnly)
      throw new HebbError("STORE_READ_ONLY", "the catalog was opened with readOnly; open it without to write");
  }
}

type TextRow = [node: number, id: Id, text: string | null];

/** Serialized outside of the transaction's care: a payload that is no JSON is the caller's mistake. */
function* withText(rows: Iterable<CatalogRow>): Generator<TextRow> {
  for (const { node, id, payload, json } of rows) {
    yield [node, id, json ?? (payload === undefined ? null : JSON.stringify(payload))];
  }
}

function checkStoreOf({ store }: Meta, storeId: Uint8Array, path: string): void {
  const expected = Buffer.from(storeId).toString("hex");
  if (store === expected) return;
  throw new HebbError(
    "STORE_MISMATCH",
    `${path} belongs to store ${store}; expected ${expected}. Restore the whole store from one copy`,
    { path },
  );
}
