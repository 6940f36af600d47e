/** Feedback in, changes of what was learned out: logged together, applied together. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { checkInteger, checkOptions, HebbError } from "../../base/errors.js";
import { inSlices, workInSlices } from "../../base/slices.js";
import type { Id } from "../../base/types.js";
import { Edges } from "../../model/edges.js";
import { diskFiles } from "../../storage/files.js";
import { PROGRESS_NAME } from "../../storage/names.js";
import { Progress } from "../../storage/progress.js";
import type { LearnEvent } from "../../training/corpus.js";
import { learning } from "../../training/learn.js";
import { changedHeader, type Delta, FIELD, withoutNodes } from "../../training/state.js";
import { train } from "../../training/train.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import type { Feedback, LearnOptions, LearnResult, TrainOptions } from "../types.js";
import { type Change, changeOf } from "./changes.js";
import { type GivenFeedback, readFeedback } from "./feedback-input.js";
import type { Querier } from "./querying.js";
import { encodeFeedback, learnedRecords, NO_NODE, RECORD } from "./records.js";
import { ReplayBuffer } from "./replay-buffer.js";
import type { Session } from "./session.js";
import { idKey, show } from "./validate.js";

const MAX_EVENTS = 100_000;
/** Earlier events that learning an event looks at. */
const RECENT_EVENTS = 256;
/** What phases of `train` left; its version is raised where the same phase leaves something else. */
const PROGRESS_VERSION = 3;

export class Trainer {
  /** `learn` and `train` change the same state, one after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  /** The events before the next one, oldest first, and how many nodes had disappeared when they were read. */
  private recent: LearnEvent[] | undefined;
  private recentAsOf = -1;

  /** Filled from the catalog when it is first needed. */
  private replay: ReplayBuffer | undefined;

  constructor(
    private readonly session: Session,
    private readonly querier: Querier,
  ) {}

  learn(events: Feedback[], options: LearnOptions = {}): Promise<LearnResult> {
    checkOptions("learn", options, ["partial"]);
    const { partial = false } = options;
    if (typeof partial !== "boolean") throw new TypeError(`partial is ${show(partial)}; expected true or false`);
    if (!Array.isArray(events) || events.length === 0 || events.length > MAX_EVENTS) {
      throw new TypeError(`learn got ${show(events)}; expected an array of 1-${MAX_EVENTS} events`);
    }
    const given = Array.from(events, (event, i) => readFeedback(`event ${i}`, event));
    return this.inTurn(() => this.learnNow(given, partial));
  }

  train(options: TrainOptions): Promise<void> {
    return this.inTurn(() => this.trainNow(options));
  }

  /**
   * Adds learned edges between a row and others, both ways; durable once it resolves. They take part in `neural`
   * queries as those of feedback do, where learned edges serve, and in `subgraph`.
   * @param links strengths > 0; 1 is as strong as one event's choice
   * @throws {HebbError} UNKNOWN_ID; nothing has changed then
   */
  connect(id: Id, links: readonly { id: Id; strength: number }[]): Promise<void> {
    return this.inTurn(async () => {
      await this.session.drain();
      await this.session.logAlone(async () => {
        const { state } = this.session.learned;
        const from = this.session.knownNode(id);
        const header = state.header.slice();
        const now = header[FIELD.clock] + 1;
        header[FIELD.clock] = now;
        const edges = new Edges(state.options.edgeHalfLife, state.edges);
        for (const { id: other, strength } of links) {
          const to = this.session.knownNode(other);
          edges.add(from, to, strength, now);
          edges.add(to, from, strength, now);
        }
        const parameters = changedHeader(state.header, header);
        return this.group(this.learnedRecords({ parameters, overlay: [], edges: edges.changes() }));
      });
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => {}); // whoever asked gets the error
    return result;
  }

  private async learnNow(given: GivenFeedback[], partial: boolean): Promise<LearnResult> {
    await this.session.drain(); // feedback may name what was put just before
    const { encoder, learned } = this.session;
    const unknown = new Map<string, Id>();
    const replay = await this.replayBuffer();
    const { fit } = encoder;
    let asked = await this.resolve(given, unknown);
    await this.session.logAlone(async () => {
      // Fitted anew meanwhile; with feedback kept, it stays.
      if (encoder.fit !== fit) asked = await this.resolve(given, unknown);
      const stored = this.known(asked, partial, unknown); // now that nothing can be deleted meanwhile
      const events = stored.map((one) => this.event(one));
      const recent = this.recentEvents();
      const { delta } = await workInSlices(
        learning(learned.state, learned.corpus, events, {
          recent,
          older: (count, prng) => replay.draw(count, prng).map((one) => this.event(one)),
          attend: (query) => learned.attend(query).query,
        }),
      );
      const feedback = stored.map((one) => ({ type: RECORD.feedback, payload: encodeFeedback(one) }));
      const remember = () => {
        this.recent = [...recent, ...events].slice(-RECENT_EVENTS);
        for (const one of stored) replay.add(one);
        this.session.tiering.chosen(events.flatMap(({ chosen }) => chosen.map(({ node }) => node)));
      };
      return { ...this.group([...feedback, ...this.learnedRecords(delta)]), remember };
    });
    return { unknown: [...unknown.values()] };
  }

  /**
   * Events with their queries as vectors; those that ask by unknown ids are left out, and all that they name is looked
   * up.
   */
  private async resolve(given: GivenFeedback[], unknown: Map<string, Id>): Promise<StoredFeedback[]> {
    const events: StoredFeedback[] = [];
    for (const { what, input, stored } of given) {
      try {
        events.push({ ...stored, query: (await this.querier.resolve(`query of ${what}`, input)).vector });
      } catch (error) {
        if (!(error instanceof HebbError && error.code === "UNKNOWN_ID")) throw error;
        const { examples = [], chosen, shown, rejected } = stored;
        for (const id of [...examples, ...chosen.map((one) => one.id), ...shown, ...rejected])
          this.isKnown(id, unknown);
      }
    }
    return events;
  }

  /**
   * Events without the ids that are not in the index, and only those that still choose something.
   * @throws {HebbError} UNKNOWN_ID without `partial`, naming all of them
   */
  private known(events: StoredFeedback[], partial: boolean, unknown: Map<string, Id>): StoredFeedback[] {
    const isKnown = (id: Id) => this.isKnown(id, unknown);
    for (const id of events.flatMap(({ shown }) => shown)) isKnown(id);
    const kept = events.map((event) => ({
      ...event,
      chosen: event.chosen.filter(({ id }) => isKnown(id)),
      shown: event.shown, // rows that are gone leave their places
      rejected: event.rejected.filter(isKnown),
    }));
    if (unknown.size === 0 || partial) return kept.filter(({ chosen }) => chosen.length > 0);
    const ids = [...unknown.values()];
    const others = ids.length === 1 ? ", which is" : ` and ${ids.length - 1} more, which are`;
    throw new HebbError(
      "UNKNOWN_ID",
      `feedback names id ${show(ids[0])}${others} not in the index; put it first, leave it out, or learn the rest with partial: true`,
      { id: ids[0], ids },
    );
  }

  /** Whether there is a row of an id; notes it where there is none. */
  private isKnown(id: Id, unknown: Map<string, Id>): boolean {
    if (this.session.nodeOf(id) !== undefined) return true;
    unknown.set(idKey(id), id);
    return false;
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
    let progress: Progress | undefined;
    try {
      progress = await this.progress(epochs);
      const events = await this.replayedFeedback();
      const { delta } = await train(learned.state, learned.corpus, events, {
        epochs,
        signal,
        progress,
        onProgress: onProgress && (({ done, total }) => onProgress(done, total)),
      });
      await this.session.logStill(async () => this.group(this.learnedRecords(withoutNodes(delta, gone))));
      await progress.remove();
    } finally {
      learned.onForget = undefined;
      await progress?.close();
    }
  }

  /**
   * What an interrupted training of the very same store left. Where there is nothing of it, a checkpoint comes first:
   * a crash then leaves the graph as this training sees it.
   */
  private async progress(epochs: number | undefined): Promise<Progress> {
    const path = join(this.session.directory, PROGRESS_NAME);
    const progress = await Progress.open(diskFiles, path, this.fingerprint(epochs));
    if (progress.isBegun) return progress;
    await progress.close();
    await this.session.checkpoint();
    return Progress.open(diskFiles, path, this.fingerprint(epochs));
  }

  /**
   * Of all that the result of a training depends on: rows and feedback by the last record of the log that changed any.
   */
  private fingerprint(epochs: number | undefined): Uint8Array {
    const { store, graph, catalog, appliedTo, learned } = this.session;
    const of = [PROGRESS_VERSION, [...store.meta.storeId], appliedTo, catalog.feedbackCount, epochs ?? 0];
    const rows = [graph.nodes, graph.live, graph.dead, graph.backlog];
    return createHash("sha256")
      .update(JSON.stringify([of, rows, learned.state.options]))
      .digest();
  }

  private group(records: { type: number; payload: Uint8Array[] }[]) {
    const changes = (first: number): Change[] =>
      records.map((r, i) => changeOf(this.session, first + i, r.type, Buffer.concat(r.payload)));
    return { records, changes };
  }

  private learnedRecords(delta: Delta) {
    return learnedRecords(delta, this.session.dimensions);
  }

  /** Feedback as learners take it. Ids that are not in the index any more are left out; on display they leave a gap. */
  private event(stored: StoredFeedback): LearnEvent {
    const nodeOf = (id: Id): number | undefined => this.session.nodeOf(id);
    const nodesOf = (ids: readonly Id[]): number[] => ids.map(nodeOf).filter((node) => node !== undefined);
    const chosen = stored.chosen.flatMap(({ id, grade }) => {
      const node = nodeOf(id);
      return node === undefined ? [] : [{ node, grade }];
    });
    const examples = (stored.examples ?? []).map(nodeOf);
    return {
      query: this.session.learned.unit(stored.query.slice()),
      chosen,
      shown: stored.shown.map((id) => nodeOf(id) ?? NO_NODE),
      rejected: nodesOf(stored.rejected),
      examples: examples.filter((node) => node !== undefined),
      seeds: (stored.weights ?? []).flatMap((weight, i) => {
        const node = examples[i];
        return node === undefined ? [] : [{ node, weight }];
      }),
      source: stored.source,
    };
  }

  private async replayBuffer(): Promise<ReplayBuffer> {
    if (this.replay === undefined) {
      const buffer = new ReplayBuffer();
      await inSlices(this.session.catalog.feedback(), (stored) => buffer.add(stored));
      this.replay = buffer;
    }
    return this.replay;
  }

  /** Read from the catalog again where nodes may have changed hands since. */
  private recentEvents(): LearnEvent[] {
    const { forgotten } = this.session.learned;
    if (this.recent === undefined || this.recentAsOf !== forgotten) {
      this.recent = this.session.catalog.newestFeedback(RECENT_EVENTS).map((stored) => this.event(stored));
      this.recentAsOf = forgotten;
    }
    return this.recent;
  }

  /** Of what can still be learned from the newest events, `learning.replay` at most, oldest first. */
  private async replayedFeedback(): Promise<LearnEvent[]> {
    const most = this.session.config.learning.replay;
    const events: LearnEvent[] = [];
    await inSlices(this.session.catalog.feedback(), (stored) => {
      const event = this.event(stored);
      if (event.chosen.length > 0) events.push(event);
      if (events.length === 2 * most) events.splice(0, most); // however much is kept, memory is bounded
    });
    return events.slice(-most);
  }
}
