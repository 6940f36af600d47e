/** The index as users hold it: arguments are checked here, everything else is next door. */
import { checkOneOf, checkOptions, HebbError, reasonOf } from "../../base/errors.js";
import type { Filter, Id, Metric, Payload } from "../../base/types.js";
import { TIERS } from "../../base/types.js";
import { hasBit } from "../catalog/bitmaps.js";
import type {
  BackupReport,
  CheckResult,
  Entry,
  EntryColumns,
  Feedback,
  FreezeOptions,
  Hit,
  Inspection,
  InspectOptions,
  LearnOptions,
  LearnResult,
  ProgressOptions,
  Query,
  QueryResult,
  RetierOptions,
  SearchOptions,
  Stored,
  SurveyedRow,
  TrainOptions,
  VectorInput,
} from "../types.js";
import { checkStore } from "./checking.js";
import { freeze } from "./freezing.js";
import type { FrozenIndex } from "./frozen-index.js";
import { GradientAccumulator } from "./gradients.js";
import { inspectRow, surveyRows } from "./inspecting.js";
import { removeOperation } from "./planning.js";
import { type PutInput, type RowShape, rowsOfColumns, rowsOfEntries } from "./put-input.js";
import { Querier } from "./querying.js";
import type { Session } from "./session.js";
import { type Stats, statsOf } from "./stats.js";
import { Symbols } from "./symbols.js";
import { TextWriter } from "./text-writer.js";
import { Thoughts } from "./thoughts.js";
import type { RetierReport } from "./tiering.js";
import { Trainer } from "./trainer.js";
import { checkId, checkIds, payloadText, show } from "./validate.js";

/** Rows of an iterable that are committed together. */
const ITERABLE_BATCH = 1000;
/** The latest time that a Date can hold; a clock of half-lives would lose its precision far beyond. */
const MOST_MS = 8.64e15;

/**
 * An open index. Made by `open`. Searching is synchronous; everything that changes the index
 * returns a promise that resolves once the change is durable (see `durability`) and searchable.
 * After `close`, every method fails with INDEX_CLOSED.
 */
export class Index {
  readonly #session: Session;
  readonly #texts: TextWriter;
  readonly #querier: Querier;
  readonly #trainer: Trainer;
  /** Training of your own: gradients by rows' vectors, added up until an optimizer takes a step with them. */
  readonly gradients: GradientAccumulator;
  /** Texts linked to what they are related to, and asked for with their context. */
  readonly thoughts: Thoughts;
  /** Symbolic expressions to vectors, and back to what expressions have in common. */
  readonly symbols: Symbols;

  /** Made by `open`. */
  constructor(session: Session) {
    this.#session = session;
    this.#texts = new TextWriter(session);
    this.#querier = new Querier(session);
    this.#trainer = new Trainer(session, this.#querier);
    this.gradients = new GradientAccumulator(session);
    this.thoughts = new Thoughts(session, this.#texts, this.#querier, this.#trainer);
    this.symbols = new Symbols(session, this.#querier);
  }

  /** Values per vector. */
  get dimensions(): number {
    return this.#session.dimensions;
  }

  /** How distances are measured. */
  get metric(): Metric {
    return this.#session.metric;
  }

  /** Rows in the index. */
  get size(): number {
    return this.#open().graph.live;
  }

  /**
   * Puts one row, or gives the id a new vector and payload. Resolves once it is durable.
   * @param vector `dimensions` finite numbers, or `{ text }` where an encoder is set; not zero under cosine
   * @param payload an object that JSON can hold; `text`, where it is a string, can be searched in full
   * @throws {TypeError | RangeError} on a bad id, vector or payload
   * @throws {HebbError} NO_ENCODER, ENCODER_FAILED, STORE_FULL, DISK_FULL, IO_ERROR, STORE_POISONED, STORE_READ_ONLY
   */
  async put(id: Id, vector: VectorInput, payload?: Payload): Promise<void> {
    const isText = typeof vector === "object" && vector !== null && "text" in vector;
    const entry = isText ? { id, text: vector.text, payload } : { id, vector, payload };
    await this.#putRows(rowsOfEntries([entry], this.#shape()));
  }

  /**
   * Puts many rows. Columns or an array: all or nothing. An iterable is committed per 1,000 rows;
   * when it fails on the way, the error's `details.committed` says how many rows are in.
   * @throws as `put`; also {RangeError} on an id that appears twice in one batch
   * @throws {HebbError} BATCH_INCOMPLETE for an iterable that failed on the way, with the reason as `cause`
   */
  async putMany(
    rows: EntryColumns | Iterable<Entry> | AsyncIterable<Entry>,
    options: ProgressOptions = {},
  ): Promise<void> {
    const { onProgress } = progressOf("putMany", options);
    if (typeof rows !== "object" || rows === null) {
      throw new TypeError(
        `putMany got ${show(rows)}; expected { ids, vectors, payloads }, an array of entries, or an iterable`,
      );
    }
    if (Array.isArray(rows)) {
      await this.#putRows(rowsOfEntries(rows, this.#shape()));
      onProgress?.(rows.length, rows.length);
    } else if (Symbol.iterator in rows || Symbol.asyncIterator in rows) {
      await this.#putIterable(rows as AsyncIterable<Entry>, onProgress);
    } else {
      const columns = rows as EntryColumns;
      await this.#putRows(rowsOfColumns(columns, this.#shape()));
      onProgress?.(columns.ids.length, columns.ids.length);
    }
  }

  /**
   * Replaces the payload of a row; `undefined` removes it. The vector stays. Resolves once it is durable.
   * @throws {TypeError | RangeError} on a bad id or payload
   * @throws {HebbError} UNKNOWN_ID, DISK_FULL, IO_ERROR, STORE_POISONED, STORE_READ_ONLY
   */
  async setPayload(id: Id, payload: Payload | undefined): Promise<void> {
    const text = payloadText(checkId(id), payload);
    this.#writable();
    await this.#texts.setPayload(id, text);
  }

  /**
   * Deletes rows by id or by filter; resolves, once it is durable, to how many were there. An id that is not there is
   * no error.
   * @throws {TypeError | RangeError} on a bad id or filter; nothing has changed then
   * @throws {HebbError} DISK_FULL, IO_ERROR, STORE_POISONED, STORE_READ_ONLY
   */
  async delete(which: Id[] | { filter: Filter }): Promise<number> {
    const session = this.#writable();
    return session.inFlight(async () => {
      const operation = removeOperation(Array.isArray(which) ? checkIds(which) : await this.#idsOf(which));
      await session.write(operation, 0);
      return operation.removed;
    });
  }

  /**
   * Resolves once all acknowledged rows are linked into the graph and each can be reached in it; at once where this
   * handle only reads.
   * @throws {HebbError} INDEX_CORRUPT, IO_ERROR, STORE_POISONED
   */
  async settle(): Promise<void> {
    await this.#open().settle();
  }

  /** The row of an id, or undefined. */
  get(id: Id): Stored | undefined {
    const { graph, catalog, tiering } = this.#open();
    const checked = checkId(id);
    const node = this.#nodeOf(checked);
    if (node === undefined) return undefined;
    return {
      id: checked,
      vector: graph.vector(node),
      payload: catalog.payloads([node], 1)[0],
      tier: tiering.tierOf(node),
    };
  }

  /**
   * A row with all that the index keeps about it: tier, heat, neighbours, shift; with `explain`, also why it ranks where
   * it ranks for a query. Changes nothing, and is no access.
   * @returns undefined where the id is not in the index
   * @throws {TypeError | RangeError} on a bad id, option or query
   * @throws {HebbError} UNKNOWN_ID for an id in the query, NO_ENCODER, ENCODER_FAILED
   */
  async inspect(id: Id, options: InspectOptions = {}): Promise<Inspection | undefined> {
    const session = this.#open();
    return session.inFlight(() => inspectRow(session, this.#querier, id, options));
  }

  /**
   * Rows of the graph drawn evenly, and where they stand in it; fewer than `count` where there are no more, none that is
   * not linked yet. The same rows each time while nothing changes. Reads their rows of the graph alone.
   * @param count 1-1,000,000
   * @throws {RangeError} on a bad count
   */
  survey(count: number): SurveyedRow[] {
    return surveyRows(this.#open(), count);
  }

  /** `get` for each id, in order. */
  getMany(ids: Id[]): (Stored | undefined)[] {
    if (!Array.isArray(ids)) throw new TypeError(`ids is ${show(ids)}; expected an array of ids`);
    return ids.map((id) => this.get(id));
  }

  /** Whether there is a row of this id. */
  has(id: Id): boolean {
    return this.#nodeOf(id) !== undefined;
  }

  /**
   * Rows that match; without a filter, all. The first count with a filter compiles it, as a search does.
   * @throws {TypeError | RangeError} on a bad filter
   */
  count(filter?: Filter): number {
    const { graph, searcher } = this.#open();
    const { bits } = searcher.bitmap(filter);
    if (!bits) return graph.live;
    const live = graph.liveBits();
    let count = 0;
    for (let w = 0; w < Math.min(bits.length, live.length); w++) count += bitCount(bits[w] & live[w]);
    return count;
  }

  /** All rows that match, in no order that means anything. Changes on the way may or may not be seen. */
  entries(options: { filter?: Filter } = {}): Generator<Stored> {
    checkOptions("entries", options, ["filter"]);
    const { bits } = this.#open().searcher.bitmap(options.filter);
    return this.#entriesIn(bits);
  }

  *#entriesIn(bits: Uint32Array | undefined): Generator<Stored> {
    const { graph, catalog, tiering } = this.#open();
    for (const { node, id, payload } of catalog.entries()) {
      this.#open();
      if (!graph.isLive(node) || (bits && !hasBit(bits, node))) continue;
      yield { id, vector: graph.vector(node), payload, tier: tiering.tierOf(node) };
    }
  }

  /**
   * The nearest rows, ascending by distance; fewer than k only where fewer match. Synchronous.
   * @param query `dimensions` finite numbers; not zero under cosine
   * @throws {TypeError | RangeError} on a bad query, option or filter
   */
  search(query: Float32Array | number[], options: SearchOptions = {}): Hit[] {
    return this.#open().searcher.search(query, options);
  }

  /** `search` for each row of `queries` (n x dimensions), on all cores, off this thread. Throws as `search` does. */
  async searchMany(queries: Float32Array, options: SearchOptions = {}): Promise<Hit[][]> {
    const session = this.#open();
    return session.inFlight(() => session.searcher.searchMany(queries, options));
  }

  /**
   * `search` for hot loops: allocates next to nothing. Writes at most k nodes and distances, ascending, and
   * returns how many. `idOf` names a node; a node's number may change hands after a delete.
   * @param k 1-1,000,000, and at most the length of either array
   * @param ef as in `SearchOptions`, but always given; raised to k
   * @throws {TypeError | RangeError} on a bad query, k or ef, or arrays of another type or too short
   */
  searchNodes(query: Float32Array, k: number, ef: number, outNodes: Uint32Array, outDistances: Float32Array): number {
    return this.#session.searchNodes(query, k, ef, outNodes, outDistances);
  }

  /** The id of a node that `searchNodes` found; undefined for one that is not there any more. */
  idOf(node: number): Id | undefined {
    const { graph, searcher } = this.#open();
    if (!Number.isInteger(node) || node < 0 || node >= graph.nodes || !graph.isLive(node)) return undefined;
    return searcher.ids(Uint32Array.of(node), 1)[0];
  }

  /**
   * Asks by vector, text, stored id or examples, in one of four modes. What was asked with is not among the hits.
   * @throws {TypeError | RangeError} on a bad option, or not exactly one of vector, text, id and positive
   * @throws {HebbError} UNKNOWN_ID, NO_ENCODER, ENCODER_FAILED
   */
  async query(query: Query): Promise<QueryResult> {
    const session = this.#open();
    return session.inFlight(() => this.#querier.query(query));
  }

  /**
   * Learns from what somebody did with results. Resolves once the events are durable; what they
   * change shows in `neural` queries when the gate lets it. All of them are learned, or none; searches run in between.
   * @param events 1-100,000, oldest first; about a millisecond each at 256 dimensions
   * @throws {TypeError | RangeError} on a bad event or option, which is named; nothing is learned then
   * @throws {HebbError} UNKNOWN_ID where an id is not in the index, with all such ids as `details.ids`; nothing is
   *   learned then. With `partial`, the rest is learned and they are returned. NO_ENCODER, ENCODER_FAILED, DISK_FULL,
   *   IO_ERROR, STORE_POISONED, STORE_READ_ONLY
   */
  async learn(events: Feedback[], options?: LearnOptions): Promise<LearnResult> {
    const session = this.#writable();
    return session.inFlight(() => this.#trainer.learn(events, options));
  }

  /**
   * Trains the learners on the feedback kept (the newest `learning.replay` events), and decides by
   * cross-fitting which of them serve. Searches and writes go on. What it has done is kept phase by phase: after a
   * crash or an abort, a call with the same options goes on from there, unless rows, feedback or settings changed
   * since, and comes to the same result. Deterministic. Without feedback it does nothing.
   * @throws {TypeError | RangeError} on a bad option
   * @throws {HebbError} ABORTED by `signal`, DISK_FULL, IO_ERROR, STORE_POISONED, STORE_READ_ONLY; nothing has changed
   *   then
   */
  async train(options: TrainOptions = {}): Promise<void> {
    const session = this.#writable();
    await session.inFlight(() => this.#trainer.train(options));
  }

  /**
   * Moves vectors to the tiers that their use asks for, as it happens every `recompress_interval_s` by itself.
   * Searches and writes go on.
   * @param options `now`, ms since 1970: heat cools as if this was the time (one in the past changes nothing);
   *   `force`: every vector goes to this tier, and cools and warms from there as any other (without accesses it
   *   leaves warm, cool or cold after about a half-life, hot after two); under a `memory_budget` the next round may
   *   demote it
   * @returns how many moved, and how many could not: nothing becomes more precise where `storage.keep_originals` is
   *   false, and below 256 rows nothing is coarser than warm, for want of a codebook
   * @throws {TypeError | RangeError} on a bad option, or a `memory_budget` below what tier archive takes
   */
  async retier(options: RetierOptions = {}): Promise<RetierReport> {
    checkOptions("retier", options, ["now", "force"]);
    const { now, force } = options;
    if (now !== undefined && !(typeof now === "number" && Number.isFinite(now))) {
      throw new TypeError(`now is ${show(now)}; expected milliseconds since 1970`);
    }
    if (now !== undefined && Math.abs(now) > MOST_MS) {
      throw new RangeError(`now is ${now}; expected milliseconds since 1970, at most ${MOST_MS} before or after`);
    }
    if (force !== undefined) checkOneOf("force", force, TIERS);
    return this.#writable().retier(options);
  }

  /**
   * Brings the file up to the log, so that opening has nothing to replay. Runs by itself too. Searches and writes go on.
   * @throws {HebbError} DISK_FULL, IO_ERROR: what was acknowledged is in the log; STORE_POISONED, STORE_READ_ONLY
   */
  async checkpoint(): Promise<void> {
    await this.#writable().checkpoint();
  }

  /**
   * Checkpoints, and gives the disk space back that deleted rows and moved vectors left free in the index. Needs
   * room for a second copy of it meanwhile; writes wait, searches go on.
   * @throws {HebbError} STORE_LOCKED while another handle reads the store, DISK_FULL, IO_ERROR, INDEX_CORRUPT; the index
   *   is as it was then, or as the checkpoint left it. STORE_POISONED, STORE_READ_ONLY
   */
  async compact(): Promise<void> {
    await this.#writable().compact();
  }

  /**
   * Copies the store into a directory, as it is now: all that was acknowledged before the call is in the copy, which is a
   * store like any other. Searches and writes go on. Damage is never copied. A handle that only reads copies what the
   * store has committed, which may be newer than what it shows.
   * @param directory new or empty
   * @throws {TypeError} on a path that is none
   * @returns the LSN of the last change in the copy
   * @throws {HebbError} STORE_EXISTS where the directory holds something; INDEX_CORRUPT, JOURNAL_CORRUPT, WAL_CORRUPT or
   *   CATALOG_CORRUPT where the store is damaged; STORE_LOCKED where it is being written to for a minute on end;
   *   STORE_READ_ONLY where its writer was killed since; DISK_FULL, IO_ERROR. What is in the directory then is no store
   */
  async backup(directory: string): Promise<BackupReport> {
    return this.#open().backup(directory);
  }

  /**
   * Writes the rows as an immutable bundle, which answers the same for ever, and opens it. A bundle that is there
   * already is replaced at once and whole; whoever has that one open keeps it. Searches go on, writes wait.
   * @param directory created when missing; else empty, or a bundle
   * @throws {TypeError | RangeError} on a bad directory or option, or more than 8,192 dimensions or 100,000,000 rows
   * @throws {HebbError} INDEX_EMPTY, NOT_A_BUNDLE where the directory holds something else, STORE_LOCKED where another
   *   freeze writes there, STORE_READ_ONLY where rows are deleted or not linked and this handle only reads,
   *   TIER_UNTRAINED, KERNEL_UNAVAILABLE, INDEX_CORRUPT, CATALOG_CORRUPT, DISK_FULL, IO_ERROR; what was there is as it was
   *   then, unless the last sync failed, or opening what was written: then the new bundle may be there
   */
  async freeze(directory: string, options: FreezeOptions = {}): Promise<FrozenIndex> {
    const session = this.#open();
    return session.inFlight(() => freeze(session, directory, options));
  }

  /** Sizes, the kernel, what the learners are doing, what opening found, and what to be warned of. */
  stats(): Stats {
    return statsOf(this.#open());
  }

  /**
   * Verifies every byte of the store: checksums, the log, the catalog, what the graph's rows and what was learned say of
   * each other, and that all of it agrees. Changes nothing; writes wait meanwhile, searches go on. Damage is in
   * `faults` and no error; `notes`, where there are any, tell of what is no damage.
   * @throws {HebbError} IO_ERROR
   */
  async check(): Promise<CheckResult> {
    const session = this.#open();
    const { faults, notes } = await session.undisturbed(() => checkStore(session));
    return { ok: faults.length === 0, faults, ...(notes.length > 0 && { notes }) };
  }

  /**
   * Waits for what is under way, checkpoints and lets go of everything, whatever fails. A second call does nothing.
   * @throws {HebbError} DISK_FULL, IO_ERROR where the checkpoint failed: what was acknowledged is in the log
   */
  async close(): Promise<void> {
    await this.#session.close();
  }

  /** `await using`, where the runtime has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(): Session {
    this.#session.checkOpen();
    return this.#session;
  }

  #writable(): Session {
    this.#session.checkWritable();
    return this.#session;
  }

  #nodeOf(id: Id): number | undefined {
    return this.#open().nodeOf(checkId(id));
  }

  async #idsOf(which: { filter: Filter }): Promise<Id[]> {
    if (typeof which !== "object" || which === null || which.filter === undefined) {
      throw new TypeError(`delete got ${show(which)}; expected an array of ids, or { filter }`);
    }
    checkOptions("delete", which, ["filter"]);
    await this.#session.drain(); // the filter sees what was put just before
    const { graph, searcher } = this.#session;
    const { bits } = searcher.bitmap(which.filter);
    const nodes: number[] = [];
    const live = graph.liveBits();
    for (let node = 0; bits && node < Math.min(bits.length, live.length) * 32; node++) {
      if (hasBit(bits, node) && hasBit(live, node)) nodes.push(node);
    }
    return searcher.ids(Uint32Array.from(nodes), nodes.length);
  }

  #shape(): RowShape {
    return { dimensions: this.dimensions, cosine: this.metric === "cosine" };
  }

  async #putRows({ rows, texts }: PutInput): Promise<void> {
    this.#writable();
    if (rows.ids.length > 0) await this.#texts.put(rows, texts);
  }

  async #putIterable(rows: AsyncIterable<Entry>, onProgress: ProgressOptions["onProgress"]): Promise<void> {
    let committed = 0;
    let batch: Entry[] = [];
    const flush = async () => {
      await this.#putRows(rowsOfEntries(batch, this.#shape()));
      committed += batch.length;
      batch = [];
      onProgress?.(committed, undefined);
    };
    try {
      for await (const entry of rows) {
        batch.push(entry);
        if (batch.length === ITERABLE_BATCH) await flush();
      }
      if (batch.length > 0) await flush();
    } catch (cause) {
      const message = reasonOf(cause);
      throw new HebbError(
        "BATCH_INCOMPLETE",
        `${committed} rows are in, and those after them are not: ${message}`,
        { committed },
        cause,
      );
    }
  }
}

function progressOf(what: string, options: ProgressOptions): ProgressOptions {
  checkOptions(what, options, ["onProgress"]);
  if (options.onProgress !== undefined && typeof options.onProgress !== "function") {
    throw new TypeError(`onProgress is ${show(options.onProgress)}; expected a function (done, total)`);
  }
  return options;
}

function bitCount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
