/** Feedback in, changes of what was learned out: logged together, applied together. */
import { checkInteger, checkOptions, HebbError } from "../../base/errors.js";
import type { Prng } from "../../base/prng.js";
import type { Id } from "../../base/types.js";
import type { Corpus, LearnEvent } from "../../training/corpus.js";
import { learnEvents } from "../../training/learn.js";
import { type Delta, encodeDelta } from "../../training/state.js";
import { train } from "../../training/train.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import type { Feedback, TrainOptions } from "../types.js";
import { type Change, changeOf } from "./changes.js";
import { type GivenFeedback, readFeedback } from "./feedback-input.js";
import { encodeFeedback, RECORD } from "./records.js";
import { STANDARD_RERANK } from "./searching.js";
import type { Session } from "./session.js";
import { inSlices } from "./slices.js";
import { show } from "./validate.js";

const MAX_EVENTS = 100_000;
/** Overlay entries of one log record, in bytes; a larger change is several records of one group. */
const LEARNED_RECORD_BYTES = 4 << 20;
/** Earlier events that learning an event looks at. */
const RECENT_EVENTS = 256;

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
    const given = Array.from(events, (event, i) => readFeedback(`event ${i}`, event));
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

  private async learnNow(given: GivenFeedback[]): Promise<void> {
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
      this.session.tiering.chosen(events.flatMap(({ chosen }) => chosen.map(({ node }) => node)));
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
      const events = await this.replayedFeedback();
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

  /**
   * Feedback as learners take it. Ids that are not in the index any more are left out, or refused.
   * @throws {HebbError} UNKNOWN_ID with `strict`
   */
  private event(stored: StoredFeedback, strict: boolean): LearnEvent {
    const nodeOf = (id: Id): number | undefined => {
      const node = this.session.nodeOf(id);
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

  /** Of what can still be learned from the newest events, `learning.replay` at most, oldest first. */
  private async replayedFeedback(): Promise<LearnEvent[]> {
    const most = this.session.config.learning.replay;
    const events: LearnEvent[] = [];
    await inSlices(this.session.catalog.feedback(), (stored) => {
      const event = this.event(stored, false);
      if (event.chosen.length > 0) events.push(event);
      if (events.length === 2 * most) events.splice(0, most); // however much is kept, memory is bounded
    });
    return events.slice(-most);
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
        const count = room === 0 ? 0 : graph.search(query, room, room, nodes, distances, false, STANDARD_RERANK);
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
