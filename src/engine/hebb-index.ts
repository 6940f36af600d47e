/** The index as users hold it: arguments are checked here, everything else is next door. */
import { checkOptions, HebbError } from "../../base/errors.js";
import type { Filter, Id, Metric, Payload } from "../../base/types.js";
import type {
  Entry,
  EntryColumns,
  Fault,
  Feedback,
  Hit,
  ProgressOptions,
  Query,
  QueryResult,
  SearchOptions,
  Stored,
  TrainOptions,
  VectorInput,
} from "../types.js";
import { checkStore } from "./checking.js";
import { type NewRows, removeOperation } from "./planning.js";
import type { Session } from "./session.js";
import { type Stats, statsOf } from "./stats.js";
import { checkId, checkIds, checkRows, checkValues, checkVector, idKey, payloadText, show } from "./validate.js";

/** Rows of an iterable that are committed together. */
const ITERABLE_BATCH = 1000;

/**
 * An open index. Made by `open`. Searching is synchronous; everything that changes the index
 * returns a promise that resolves once the change is durable (see `durability`) and searchable.
 * After `close`, every method fails with INDEX_CLOSED.
 */
export class Index {
  readonly #session: Session;

  /** Made by `open`. */
  constructor(session: Session) {
    this.#session = session;
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
    await this.#putRows(this.#rowsOfEntries([entry]));
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
      await this.#putRows(this.#rowsOfEntries(rows));
      onProgress?.(rows.length, rows.length);
    } else if (Symbol.iterator in rows || Symbol.asyncIterator in rows) {
      await this.#putIterable(rows as AsyncIterable<Entry>, onProgress);
    } else {
      const columns = rows as EntryColumns;
      await this.#putRows(this.#rowsOfColumns(columns));
      onProgress?.(columns.ids.length, columns.ids.length);
    }
  }

  /**
   * Replaces the payload of a row; `undefined` removes it. The vector stays.
   * @throws {HebbError} UNKNOWN_ID
   */
  async setPayload(id: Id, payload: Payload | undefined): Promise<void> {
    const text = payloadText(checkId(id), payload);
    await this.#writable().texts.setPayload(id, text);
  }

  /** Deletes rows by id or by filter; resolves to how many were there. */
  async delete(which: Id[] | { filter: Filter }): Promise<number> {
    const session = this.#writable();
    return session.inFlight(async () => {
      const operation = removeOperation(Array.isArray(which) ? checkIds(which) : await this.#idsOf(which));
      await session.write(operation, 0);
      return operation.removed;
    });
  }

  /** Resolves once all acknowledged rows are linked into the graph and each can be reached in it. */
  async settle(): Promise<void> {
    await this.#open().settle();
  }

  /** The row of an id, or undefined. */
  get(id: Id): Stored | undefined {
    const { graph, catalog } = this.#open();
    const checked = checkId(id);
    const node = this.#nodeOf(checked);
    if (node === undefined) return undefined;
    return { id: checked, vector: graph.vector(node), payload: catalog.payloads([node], 1)[0], tier: "hot" };
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

  /** Rows that match; without a filter, all. */
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
    const { graph, catalog } = this.#open();
    for (const { node, id, payload } of catalog.entries()) {
      this.#open();
      if (!graph.isLive(node) || (bits && !((bits[node >>> 5] >>> (node & 31)) & 1))) continue;
      yield { id, vector: graph.vector(node), payload, tier: "hot" };
    }
  }

  /** The nearest rows, ascending by distance. Synchronous. */
  search(query: Float32Array | number[], options: SearchOptions = {}): Hit[] {
    return this.#open().searcher.search(query, options);
  }

  /** `search` for each row of `queries` (n x dimensions), on all cores, off this thread. */
  async searchMany(queries: Float32Array, options: SearchOptions = {}): Promise<Hit[][]> {
    const session = this.#open();
    return session.inFlight(() => session.searcher.searchMany(queries, options));
  }

  /**
   * `search` for hot loops: allocates nothing. Writes at most k nodes and distances, ascending, and
   * returns how many. `idOf` names a node; a node's number may change hands after a delete.
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

  /** Asks by vector, text, stored id or examples, in one of four modes. What was asked with is not among the hits. */
  async query(query: Query): Promise<QueryResult> {
    const session = this.#open();
    return session.inFlight(() => session.querier.query(query));
  }

  /**
   * Learns from what somebody did with results. Resolves once the events are durable; what they
   * change shows in `neural` queries when the gate lets it.
   * @throws {HebbError} UNKNOWN_ID where a chosen, shown or rejected id is not in the index; nothing is learned then
   */
  async learn(events: Feedback[]): Promise<void> {
    const session = this.#writable();
    await session.inFlight(() => session.trainer.learn(events));
  }

  /** Trains the learners on all feedback kept, and decides by cross-fitting which of them serve. Searches go on. */
  async train(options: TrainOptions = {}): Promise<void> {
    const session = this.#writable();
    await session.inFlight(() => session.trainer.train(options));
  }

  /** Brings the file up to the log, so that opening has nothing to replay. Runs by itself too. */
  async checkpoint(): Promise<void> {
    await this.#writable().checkpoint();
  }

  /** Sizes, the kernel, and what the learners are doing. */
  stats(): Stats {
    return statsOf(this.#open());
  }

  /** Verifies every checksum, the catalog, and that graph and catalog agree. Changes nothing. */
  async check(): Promise<{ ok: boolean; faults: Fault[] }> {
    const session = this.#open();
    const faults = await session.alone(() => checkStore(session));
    return { ok: faults.length === 0, faults };
  }

  /** Waits for what is under way, checkpoints and lets go of everything. A second call does nothing. */
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
    const { graph, catalog } = this.#open();
    return catalog.nodeOf(checkId(id), (node) => graph.isLive(node));
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
      if (((bits[node >>> 5] & live[node >>> 5]) >>> (node & 31)) & 1) nodes.push(node);
    }
    return searcher.ids(Uint32Array.from(nodes), nodes.length);
  }

  #rowsOfEntries(entries: readonly Entry[]): { rows: NewRows; texts: { row: number; text: string }[] } {
    const cosine = this.metric === "cosine";
    const vectors = new Float32Array(entries.length * this.dimensions);
    const texts: { row: number; text: string }[] = [];
    const ids: Id[] = [];
    const payloads: (string | undefined)[] = [];
    for (const [i, entry] of entries.entries()) {
      if (typeof entry !== "object" || entry === null) {
        throw new TypeError(`entry ${i} is ${show(entry)}; expected { id, vector or text, payload }`);
      }
      checkOptions(`entry ${i}`, entry, ["id", "vector", "text", "payload", "tier"]);
      const id = checkId(entry.id);
      ids.push(id);
      payloads.push(payloadText(id, entry.payload));
      if (entry.text !== undefined) {
        if (entry.vector !== undefined)
          throw new TypeError(`id ${show(id)} has both vector and text; expected one of them`);
        if (typeof entry.text !== "string")
          throw new TypeError(`text of id ${show(id)} is ${show(entry.text)}; expected a string`);
        texts.push({ row: i, text: entry.text });
      } else {
        vectors.set(
          checkVector(`vector of id ${show(id)}`, entry.vector, this.dimensions, cosine),
          i * this.dimensions,
        );
      }
    }
    refuseDuplicates(ids);
    return { rows: { ids, payloads, vectors, settings: [] }, texts };
  }

  #rowsOfColumns(columns: EntryColumns): { rows: NewRows; texts: { row: number; text: string }[] } {
    checkOptions("putMany", columns, ["ids", "vectors", "texts", "payloads"]);
    const { vectors, texts, payloads } = columns;
    if (!Array.isArray(columns.ids)) throw new TypeError(`ids is ${show(columns.ids)}; expected an array of ids`);
    const ids = checkIds(columns.ids);
    refuseDuplicates(ids);
    if (payloads !== undefined && (!Array.isArray(payloads) || payloads.length !== ids.length)) {
      throw new RangeError(`payloads is ${show(payloads)}; expected an array of ${ids.length}, one for each id`);
    }
    const kept = ids.map((id, i) => payloadText(id, payloads?.[i]));
    if ((vectors === undefined) === (texts === undefined)) {
      throw new TypeError("putMany needs vectors or texts, and not both");
    }
    if (texts !== undefined) {
      const isTexts = Array.isArray(texts) && ids.every((_, i) => typeof texts[i] === "string");
      if (!isTexts || texts.length !== ids.length) {
        throw new TypeError(`texts is ${show(texts)}; expected an array of ${ids.length} strings, one for each id`);
      }
      const empty = new Float32Array(ids.length * this.dimensions);
      return {
        rows: { ids, payloads: kept, vectors: empty, settings: [] },
        texts: texts.map((text, row) => ({ row, text })),
      };
    }
    const n = checkRows("vectors", vectors, this.dimensions);
    if (n !== ids.length)
      throw new RangeError(`vectors holds ${n} rows of ${this.dimensions}; expected ${ids.length}, one for each id`);
    checkValues(
      "vectors",
      vectors!,
      this.dimensions,
      this.metric === "cosine",
      (row) => `vector of id ${show(ids[row])}`,
    );
    return { rows: { ids, payloads: kept, vectors: vectors!.slice(), settings: [] }, texts: [] };
  }

  async #putRows({ rows, texts }: { rows: NewRows; texts: { row: number; text: string }[] }): Promise<void> {
    const session = this.#writable();
    if (rows.ids.length > 0) await session.put(rows, texts);
  }

  async #putIterable(rows: AsyncIterable<Entry>, onProgress: ProgressOptions["onProgress"]): Promise<void> {
    let committed = 0;
    let batch: Entry[] = [];
    const flush = async () => {
      await this.#putRows(this.#rowsOfEntries(batch));
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
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new HebbError(
        "BATCH_INCOMPLETE",
        `${committed} rows are in, and those after them are not: ${message}`,
        { committed },
        cause,
      );
    }
  }
}

function refuseDuplicates(ids: readonly Id[]): void {
  const seen = new Set<string>();
  for (const id of ids) {
    const key = idKey(id);
    if (seen.has(key)) throw new RangeError(`id ${show(id)} appears twice in one batch; expected each id once`);
    seen.add(key);
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
