/** Feedback in, changes of what was learned out: validated, logged together, applied together. */
import { setImmediate as breath } from "node:timers/promises";
import { checkInteger, checkOptions, HebbError } from "../../base/errors.js";
import type { Prng } from "../../base/prng.js";
import type { Id } from "../../base/types.js";
import type { Corpus, LearnEvent } from "../../training/corpus.js";
import { learnEvents } from "../../training/learn.js";
import { type Delta, encodeDelta } from "../../training/state.js";
import { train } from "../../training/train.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import type { Feedback, QueryInput, TrainOptions } from "../types.js";
import { type Change, changeOf } from "./changes.js";
import { encodeFeedback, RECORD } from "./records.js";
import type { Session } from "./session.js";
import { checkId, checkIds, idKey, show } from "./validate.js";

const EVENT_FIELDS = ["query", "chosen", "shown", "rejected", "source", "time"];
const MAX_EVENTS = 100_000;
const MAX_SOURCE_BYTES = 512;
/** Milliseconds since 1970 that a Date can hold. */
const MAX_TIME = 8.64e15;
/** Overlay entries of one log record, in bytes; a larger change is several records of one group. */
const LEARNED_RECORD_BYTES = 4 << 20;
/** Earlier events that learning an event looks at. */
const RECENT_EVENTS = 256;
/** How long mapping feedback to nodes may hold the main thread at a time. */
const SLICE_MS = 2;

/** An event as it was given, checked and copied: its caller may go on changing theirs. */
interface Given {
  what: string;
  input: QueryInput;
  /** Complete but for the query. */
  stored: StoredFeedback;
}

export class Trainer {
  /** `learn` and `train` change the same state, one after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  /** The events before the next one, oldest first, and how many nodes had disappeared when they were read. */
  private recent: LearnEvent[] | undefined;
  private recentAsOf = -1;

  constructor(private readonly session: Session) {}

  learn(events: Feedback[]): Promise<void> {
    if (!Array.isArray(events) || events.length === 0 || events.length > MAX_EVENTS) {
      throw new TypeError(`learn got ${show(events)}; expected an array of 1-${MAX_EVENTS} events`);
    }
    const given = Array.from(events, (event, i) => this.read(`event ${i}`, event));
    return this.inTurn(() => this.learnNow(given));
  }

  train(options: TrainOptions): Promise<void> {
    return this.inTurn(() => this.trainNow(options));
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {}); // whoever asked gets the error
    return result;
  }

  private async learnNow(given: Given[]): Promise<void> {
    await this.session.drain(); // feedback may name what was put just before
    const { encoder, querier } = this.session;
    const resolve = async (): Promise<void> => {
      for (const { what, input, stored } of given) {
        stored.query = (await querier.resolve(`query of ${what}`, input)).vector;
      }
    };
    const { fit } = encoder;
    await resolve();
    await this.session.logAlone(async () => {
      if (encoder.fit !== fit) await resolve(); // fitted anew meanwhile; with feedback kept, it stays
      const events = given.map(({ stored }) => this.event(stored, true)); // now that nothing can be deleted meanwhile
      const recent = this.recentEvents();
      const { delta } = learnEvents(this.session.learned.state, this.corpus(), events, { recent });
      this.recent = [...recent, ...events].slice(-RECENT_EVENTS);
      const feedback = given.map(({ stored }) => ({ type: RECORD.feedback, payload: encodeFeedback(stored) }));
      return this.group([...feedback, ...this.learnedRecords(delta)]);
    });
  }

  private async trainNow(options: TrainOptions): Promise<void> {
    checkOptions("train", options, ["epochs", "onProgress", "signal"]);
    const { onProgress, signal } = options;
    const epochs = options.epochs === undefined ? undefined : checkInteger("epochs", options.epochs, 1, 1000);
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw new TypeError(`onProgress is ${show(onProgress)}; expected a function (done, total)`);
    }
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw new TypeError(`signal is ${show(signal)}; expected an AbortSignal`);
    await this.session.drain();
    const { learned } = this.session;
    const gone = new Set<number>(); // nodes that disappear, or change hands, while this runs
    learned.onForget = (nodes) => {
      for (const node of nodes) gone.add(node);
    };
    try {
      const events = await this.allFeedback();
      const { delta } = await train(learned.state, this.corpus(), events, {
        epochs,
        signal,
        onProgress: onProgress && (({ done, total }) => onProgress(done, total)),
      });
      await this.session.logAlone(async () => {
        const overlay = delta.overlay.filter(({ node, shift }) => shift === null || !gone.has(node));
        return this.group(this.learnedRecords({ ...delta, overlay }));
      });
    } finally {
      learned.onForget = undefined;
    }
  }

  private group(records: { type: number; payload: Uint8Array[] }[]) {
    const changes = (first: number): Change[] =>
      records.map((r, i) => changeOf(this.session, first + i, r.type, Buffer.concat(r.payload)));
    return { records, changes };
  }

  private learnedRecords({ parameters, overlay }: Delta): { type: number; payload: Uint8Array[] }[] {
    const perRecord = Math.max(1, Math.floor(LEARNED_RECORD_BYTES / (this.session.dimensions * 4 + 12)));
    const records = [];
    if (parameters.length > 0) records.push(encodeDelta({ parameters, overlay: [] }));
    for (let at = 0; at < overlay.length; at += perRecord) {
      records.push(encodeDelta({ parameters: [], overlay: overlay.slice(at, at + perRecord) }));
    }
    return records.map((delta) => ({ type: RECORD.learned, payload: [delta] }));
  }

  private read(what: string, given: Feedback): Given {
    if (typeof given !== "object" || given === null)
      throw new TypeError(`${what} is ${show(given)}; expected { query, chosen }`);
    checkOptions(what, given, EVENT_FIELDS);
    const { query, source } = given;
    const isVector = ArrayBuffer.isView(query) || Array.isArray(query);
    if (typeof query !== "object" || query === null) {
      throw new TypeError(
        `query of ${what} is ${show(query)}; expected a vector, { text }, { id } or { positive, negative, weights }`,
      );
    }
    if (!isVector) checkOptions(`query of ${what}`, query, ["text", "id", "positive", "negative", "weights"]);
    const input = copyOf(isVector ? { vector: query as Float32Array } : (query as QueryInput));
    const chosen = this.chosen(what, given.chosen);
    const shown = this.ids(`shown of ${what}`, given.shown ?? []);
    const rejected = this.ids(`rejected of ${what}`, given.rejected ?? []);
    if (shown.length > 0) {
      const there = new Set(shown.map(idKey));
      const missing = chosen.find(({ id }) => !there.has(idKey(id)));
      if (missing)
        throw new RangeError(
          `id ${show(missing.id)} of ${what} was chosen and is not among shown; expected what was chosen to have been shown`,
        );
    }
    if (source !== undefined && (typeof source !== "string" || Buffer.byteLength(source) > MAX_SOURCE_BYTES)) {
      throw new TypeError(
        `source of ${what} is ${show(source)}; expected a string of at most ${MAX_SOURCE_BYTES} bytes`,
      );
    }
    const time = given.time ?? Date.now();
    if (typeof time !== "number" || !(time >= 0 && time <= MAX_TIME)) {
      throw new RangeError(`time of ${what} is ${show(time)}; expected milliseconds since 1970`);
    }
    const stored: StoredFeedback = { query: new Float32Array(0), chosen, shown, rejected, time };
    if (source !== undefined) stored.source = source;
    const examples = input.id !== undefined ? [input.id] : [...(input.positive ?? []), ...(input.negative ?? [])];
    if (examples.length > 0) stored.examples = examples;
    return { what, input, stored };
  }

  private chosen(what: string, chosen: Feedback["chosen"]): { id: Id; grade: number }[] {
    if (!Array.isArray(chosen) || chosen.length === 0) {
      throw new TypeError(
        `chosen of ${what} is ${show(chosen)}; expected an array of at least one id, or { id, grade }`,
      );
    }
    return Array.from(chosen, (one) => {
      const graded = typeof one === "object" && one !== null;
      if (graded) checkOptions(`chosen of ${what}`, one, ["id", "grade"]);
      const grade = graded ? one.grade : 1;
      if (typeof grade !== "number" || !(grade > 0 && grade < Infinity)) {
        throw new RangeError(
          `grade of ${show(graded ? one.id : one)} in ${what} is ${show(grade)}; expected a number > 0`,
        );
      }
      return { id: checkId(graded ? one.id : one), grade };
    });
  }

  private ids(what: string, ids: Id[]): Id[] {
    if (!Array.isArray(ids)) throw new TypeError(`${what} is ${show(ids)}; expected an array of ids`);
    return checkIds(ids);
  }

  /**
   * Feedback as learners take it. Ids that are not in the index any more are left out, or refused.
   * @throws {HebbError} UNKNOWN_ID with `strict`
   */
  private event(stored: StoredFeedback, strict: boolean): LearnEvent {
    const nodeOf = (id: Id): number | undefined => {
      const node = this.session.catalog.nodeOf(id, (n) => this.session.graph.isLive(n));
      if (node === undefined && strict) {
        throw new HebbError(
          "UNKNOWN_ID",
          `feedback names id ${show(id)}, which is not in the index; put it first, or leave it out`,
          { id },
        );
      }
      return node;
    };
    const nodesOf = (ids: readonly Id[]): number[] => ids.map(nodeOf).filter((node) => node !== undefined);
    const chosen = stored.chosen.flatMap(({ id, grade }) => {
      const node = nodeOf(id);
      return node === undefined ? [] : [{ node, grade }];
    });
    return {
      query: this.session.learned.unit(stored.query.slice()),
      chosen,
      shown: nodesOf(stored.shown),
      rejected: nodesOf(stored.rejected),
      examples: nodesOf(stored.examples ?? []),
      source: stored.source,
      time: stored.time,
    };
  }

  /** Read from the catalog again where nodes may have changed hands since. */
  private recentEvents(): LearnEvent[] {
    const { forgotten } = this.session.learned;
    if (this.recent === undefined || this.recentAsOf !== forgotten) {
      this.recent = this.session.catalog.newestFeedback(RECENT_EVENTS).map((stored) => this.event(stored, false));
      this.recentAsOf = forgotten;
    }
    return this.recent;
  }

  /** Everything kept, oldest first, of what can still be learned from. */
  private async allFeedback(): Promise<LearnEvent[]> {
    const events: LearnEvent[] = [];
    let since = performance.now();
    for (const stored of this.session.catalog.feedback()) {
      const event = this.event(stored, false);
      if (event.chosen.length > 0) events.push(event);
      if (performance.now() - since > SLICE_MS) {
        await breath();
        since = performance.now();
      }
    }
    return events;
  }

  /** The store as the learners see it. */
  private corpus(): Corpus {
    const { graph, searcher, learned } = this.session;
    let nodes = new Uint32Array(0);
    let distances = new Float32Array(0);
    return {
      dimensions: searcher.dimensions,
      metric: searcher.metric,
      get size() {
        return graph.live;
      },
      vector: (node) => learned.unit(graph.vector(node)),
      isLive: (node) => graph.isLive(node),
      nearest(query, k) {
        const room = Math.min(k, graph.live);
        if (nodes.length < room) {
          nodes = new Uint32Array(room);
          distances = new Float32Array(room);
        }
        const count = room === 0 ? 0 : graph.search(query, room, room, nodes, distances, false);
        return { nodes: nodes.slice(0, count) };
      },
      sample(count: number, prng: Prng) {
        const found: number[] = [];
        const last = graph.nodes;
        for (let tries = 0; found.length < count && tries < count * 20; tries++) {
          const node = prng.below(last);
          if (graph.isLive(node)) found.push(node);
        }
        return Uint32Array.from(found);
      },
    };
  }
}

/** What is no array or vector is left for the query's own checks. */
function copyOf(input: QueryInput): QueryInput {
  const copies = Object.entries(input).map(([name, value]) => [
    name,
    Array.isArray(value) || value instanceof Float32Array ? value.slice() : value,
  ]);
  return Object.fromEntries(copies) as QueryInput;
}
