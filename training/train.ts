/**
 * Batch training: all learners from the start over all feedback kept, gated by cross-fitting.
 *
 * Five folds: each arm is fitted on four and judged on the fifth, so that every event is judged once
 * by learners that never saw it. The arm that passes is refitted on everything and served; where none
 * passes, static is served and the fitted learners stay challengers for `learn` to judge.
 *
 * A fold is a phase, and each refit is; every phase draws from numbers of its own, so that one whose result
 * is known from an earlier run need not run again for the rest to come out the same.
 */
import { deserialize, serialize } from "node:v8";
import { HebbError } from "../base/errors.js";
import { Prng } from "../base/prng.js";
import { Slices } from "../base/slices.js";
import type { Adapter } from "../model/adapter.js";
import { Edges } from "../model/edges.js";
import { Overlay } from "../model/overlay.js";
import { createNetwork } from "../native/gnn.js";
import { ADAPTER, ATTENTION } from "./arms.js";
import { Arrivals } from "./arrivals.js";
import { Contest, type Learners, seedsOf } from "./contest.js";
import type { Corpus, LearnEvent } from "./corpus.js";
import { learnEdges } from "./edges.js";
import { CANDIDATES, type Example, Pool, prepareExample } from "./examples.js";
import { adaptQueries, type FitContext, fitAdapterFromStart, fitShift, measureScales, type Scales } from "./fit.js";
import { fitNetwork, type NetworkSettings } from "./fit-network.js";
import { PER_LEARNER } from "./gate.js";
import { type Judgement, judge } from "./judge.js";
import { MOST_NETWORK_BYTES, networkPieces, networkSize } from "./network-bytes.js";
import { type NetworkWeights, Propagator } from "./propagator.js";
import { type LearningReport, learningReport } from "./report.js";
import { adaptQuery, armsIn } from "./serving.js";
import { capSources } from "./sources.js";
import {
  type BiasChange,
  bytesOf,
  curveOf,
  type Delta,
  FIELD,
  gateOf,
  type LearnedState,
  offsetOf,
  type ShiftChange,
  shiftsOf,
} from "./state.js";

export interface TrainSettings {
  /** Passes of the adapter over the feedback; the shift takes 2/3 of it, the network .3. Default `options.adapterEpochs`. */
  epochs?: number;
  /** Same seed, corpus and events: same result. Default 1. */
  seed?: number;
  /** `phase` is "reading feedback", then "training"; phases that an earlier run ended count as done from its start. */
  onProgress?: (progress: { phase: string; done: number; total: number }) => void;
  signal?: AbortSignal;
  /** What phases of an earlier run over the same state, corpus, events and settings left. Default: nothing is kept. */
  progress?: TrainProgress;
}

/** Results of phases, by number. */
export interface TrainProgress {
  get(phase: number): Uint8Array | undefined;
  /** Resolves once it is kept. */
  add(phase: number, bytes: Uint8Array): Promise<void>;
}

const FOLDS = 5;
/** Phases: the folds, then the refits. */
const ADAPTER_REFIT = FOLDS;
const SHIFT_REFIT = FOLDS + 1;
const NETWORK_REFIT = FOLDS + 2;
const PHASES = FOLDS + 3;
/** Events that are cross-fitted; beyond this a gain is certain enough, and time goes into the refit. */
const CROSS_FITTED = 4096;
/** Events judged in all; each costs a scan of the overlay. */
const JUDGED = 2048;
/** Visits of an event by a learner in one fit; with more feedback, fewer epochs. */
const VISITS = 10_000;
/** With fewer events a network learns them by heart. */
const NETWORK_LEAST = 100;
/** The network is fitted to the newest of so many events, for this share of the adapter's epochs: it overfits far sooner. */
const NETWORK_EVENTS = 512;
const NETWORK_EPOCHS_SHARE = 0.3;
/** Bytes of the network in one log record. */
const PIECE_BYTES = 4 << 20;
/** Candidates whose neighbours are asked when an event is judged. */
const REACH = 100;
/** The event loop runs again after this long. */
const SLICE_MS = 4;

/**
 * Trains on `events` (oldest first). The state does not change: the delta replaces its parameters
 * and overlay, as they are when the promise resolves.
 * @throws {HebbError} ABORTED when `signal` says so; nothing has changed then
 */
export async function train(
  state: LearnedState,
  corpus: Corpus,
  events: readonly LearnEvent[],
  settings: TrainSettings = {},
): Promise<{ delta: Delta; report: LearningReport }> {
  const { options } = state;
  const { seed = 1 } = settings;
  const breathe = new Slices(SLICE_MS, () => {
    if (settings.signal?.aborted)
      throw new HebbError("ABORTED", "train was stopped by its signal; nothing has changed");
  });
  const kept = capSources(events.slice(-options.replay), options.sourceShare);
  const pool = new Pool(corpus);
  const examples: Example[] = [];
  for (const [i, event] of kept.entries()) {
    const example = prepareExample(pool, corpus, event, CANDIDATES, options.positionBias);
    if (example) examples.push(example);
    pool.loadNew(); // here, a few at a time: searches wait for nothing longer
    settings.onProgress?.({ phase: "reading feedback", done: i + 1, total: kept.length });
    await breathe.pause();
  }
  const header = state.header.slice();
  header[FIELD.skippedEvents] = header[FIELD.skippedEvents]! + kept.length - examples.length;
  header[FIELD.trainedEvents] = examples.length;
  if (examples.length === 0)
    return {
      delta: { parameters: [{ at: 0, bytes: bytesOf(header) }], overlay: [], edges: [] },
      report: learningReport(state),
    };
  const scales = measureScales(
    corpus,
    examples.slice(-256).map((e) => e.query),
    drawsOf(seed, PHASES),
  );
  const phases = new Phases({ corpus, pool, options, scales }, settings);
  const epochsFor = (n: number) => {
    const asked = settings.epochs ?? options.adapterEpochs;
    const adapter = Math.max(1, Math.min(asked, Math.ceil(VISITS / n)));
    const shift = settings.epochs === undefined ? options.shiftEpochs : Math.ceil((asked * 2) / 3);
    return { adapter, shift: Math.max(1, Math.min(shift, Math.ceil(VISITS / n))) };
  };
  const newAdapter = (): Adapter => {
    const { dimensions, rank } = state.adapter;
    const make = () => new Float32Array(rank * dimensions);
    return { dimensions, rank, basis: make(), output: make() };
  };

  const search = (query: Float32Array) => corpus.nearest(query, Math.min(CANDIDATES, corpus.size)).nodes;
  const isLive = (node: number) => corpus.isLive(node);
  const edgesOf = function* (from: readonly Example[]): Generator<void, Edges> {
    const edges = new Edges(options.edgeHalfLife);
    for (const [i, example] of from.entries()) {
      learnEdges(edges, seedsOf(corpus, example, example.near, scales.score), example, i + 1);
      yield;
    }
    return edges;
  };

  const network = networkSettings(state, settings.epochs ?? options.adapterEpochs);
  const networkFor = async (
    context: FitContext,
    from: readonly Example[],
    queries: readonly Float32Array[],
  ): Promise<NetworkWeights | undefined> => {
    const newest = Math.max(0, from.length - NETWORK_EVENTS);
    const asked = queries.slice(newest);
    return network && fitNetwork(context, network, from.slice(newest), asked, asked.map(search), () => breathe.pause());
  };
  const attendBy = (weights: NetworkWeights) => {
    const propagator = new Propagator(createNetwork(weights.shape), weights, corpus, scales.score);
    return (query: Float32Array) => propagator.attend(query, search(query)).query;
  };

  // Judge every arm on events it was not fitted to.
  let judgements: Judgement[] = [];
  let triesNetwork = network !== undefined && examples.length >= NETWORK_LEAST;
  const crossFitted = examples.slice(-CROSS_FITTED);
  const folds = assignFolds(crossFitted, drawsOf(seed, PHASES + 1));
  const judged = Math.ceil(Math.min(JUDGED, crossFitted.length) / FOLDS);
  for (let fold = 0; fold < FOLDS && crossFitted.length >= FOLDS; fold++) {
    const fitted = crossFitted.filter((_, i) => folds[i] !== fold);
    const heldOut = crossFitted.filter((_, i) => folds[i] === fold).slice(-judged);
    if (fitted.length === 0 || heldOut.length === 0) continue;
    const ofFold = await phases.run(fold, async (context) => {
      const adapter = newAdapter();
      const epochs = epochsFor(fitted.length);
      await breathe.run(fitAdapterFromStart(context, adapter, fitted, epochs.adapter));
      const adapted = await breathe.run(adaptQueries(adapter, corpus.metric, fitted));
      const queries = fitted.map((e) => e.query);
      const weights = triesNetwork ? await networkFor(context, fitted, adapted) : undefined;
      const learners: Learners = {
        attend: weights && attendBy(weights),
        scale: scales.score,
        adapt: (query) => adaptQuery({ adapter, metric: corpus.metric }, query),
        overlays: [await breathe.run(fitShift(context, fitted, queries, epochs.shift))],
        adaptedOverlays: [await breathe.run(fitShift(context, fitted, adapted, epochs.shift))],
        edges: await breathe.run(edgesOf(fitted)),
        now: fitted.length,
      };
      const arms = armsIn(learners);
      const found: Judgement[] = [];
      for (const example of heldOut) {
        const contest = new Contest(corpus, learners, example, example.near, search, isLive, REACH, arms);
        found.push(judge(contest, arms, example, (node) => learners.overlays[0]!.has(node)));
        await breathe.pause();
      }
      return found;
    });
    judgements.push(...ofFold);
    // A network takes far longer to fit than all the others: where it brings nothing, it is not tried again.
    if (triesNetwork && !networkHelps(judgements)) {
      triesNetwork = false;
      judgements = judgements.map(withoutNetwork);
    }
  }
  const gate = gateOf(header, options);
  if (judgements.length > 0) gate.replace(judgements);
  const estimate = gate.gain(gate.serving).mean;

  // Refit on everything, the shift following the query that will be served.
  const epochs = epochsFor(examples.length);
  const adapter = await phases.run(ADAPTER_REFIT, async (context) => {
    const fresh = newAdapter();
    await breathe.run(fitAdapterFromStart(context, fresh, examples, epochs.adapter));
    return fresh;
  });
  const queries =
    gate.serving & ADAPTER
      ? await breathe.run(adaptQueries(adapter, corpus.metric, examples))
      : examples.map((e) => e.query);
  const shifts = await phases.run(SHIFT_REFIT, async (context) =>
    shiftsOf(await breathe.run(fitShift(context, examples, queries, epochs.shift))),
  );
  const arrived = await breathe.run(inheriting(state, shifts, corpus, scales));
  const serves =
    gate.serving & ATTENTION
      ? await phases.run(NETWORK_REFIT, (context) => networkFor(context, examples, queries))
      : undefined;
  header[FIELD.networkReady] = serves ? 1 : 0;
  phases.end();
  header[FIELD.skippedSteps] = header[FIELD.skippedSteps]! + phases.skippedSteps;
  header[FIELD.started] = 1;
  header[FIELD.adapterReady] = 1;
  header[FIELD.scoreScale] = scales.score;
  header[FIELD.queryScale] = scales.query;
  header[FIELD.documentScale] = scales.document;
  // Counters that `learn` moved meanwhile keep their newer values.
  for (const field of [FIELD.events, FIELD.judged, FIELD.cappedEvents, FIELD.clock])
    header[field] = state.header[field]!;
  curveOf(header).copy(curveOf(state.header));
  curveOf(header).record(header[FIELD.events]!, estimate, gate.serving, true);
  const delta: Delta = {
    parameters: [
      { at: 0, bytes: bytesOf(header) },
      { at: offsetOf(state, "basis"), bytes: bytesOf(adapter.basis as Float32Array) },
      { at: offsetOf(state, "output"), bytes: bytesOf(adapter.output as Float32Array) },
    ],
    overlay: replaceOverlay(state.overlay, [...shifts, ...arrived], corpus),
    edges: [], // they count every event since ever, and links that no feedback made
    network: serves ? networkPieces(serves, PIECE_BYTES) : [],
    biases: replaceBiases(state, serves, corpus),
  };
  return { delta, report: learningReport(state, header) };
}

/** How the network is trained; undefined where there is none. */
function networkSettings(
  { dimensions, metric, options }: LearnedState,
  adapterEpochs: number,
): NetworkSettings | undefined {
  const { network, shiftBound } = options;
  if (!network || shiftBound === 0 || networkSize(dimensions, network) > MOST_NETWORK_BYTES) return undefined;
  const { hidden, heads, layers, dropout, optimizer, rate, hierarchical, selfSupervision } = network;
  const epochs = Math.ceil(adapterEpochs * NETWORK_EPOCHS_SHARE);
  const shape = { dimensions, hidden, heads, propagation: "attention", metric, bound: shiftBound } as const;
  return { shape, layers, dropout, optimizer, rate, epochs, hierarchical, selfSupervision };
}

/** Whether the best arm with attention is ahead of the best one without, by what a learner has to bring. */
function networkHelps(judgements: readonly Judgement[]): boolean {
  const { arms } = judgements[0]!;
  const sums = arms.map((_, i) => judgements.reduce((sum, { all }) => sum + all[i]!, 0));
  const best = (has: boolean) => Math.max(...sums.filter((_, i) => ((arms[i]! & ATTENTION) !== 0) === has));
  return best(true) > best(false) + PER_LEARNER * judgements.length;
}

function withoutNetwork({ arms, all, disjoint }: Judgement): Judgement {
  const kept = (_: unknown, i: number) => !(arms[i]! & ATTENTION);
  return { arms: arms.filter(kept), all: all.filter(kept), disjoint: disjoint?.filter(kept) };
}

/** Folds by query: events that ask the very same go into one fold, or a repeated question would be judged by its own answer. */
function assignFolds(examples: readonly Example[], prng: Prng): number[] {
  const groups = new Map<string, number[]>();
  for (const [i, { query }] of examples.entries()) {
    const key = Buffer.from(query.buffer, query.byteOffset, query.byteLength).toString("latin1");
    const group = groups.get(key);
    if (group) group.push(i);
    else groups.set(key, [i]);
  }
  const folds: number[] = new Array(examples.length).fill(0);
  for (const [at, group] of prng.shuffle([...groups.values()]).entries()) for (const i of group) folds[i] = at % FOLDS;
  return folds;
}

/** Rows that arrived after what they inherited from inherit anew, from what is there now. */
function* inheriting(
  { overlay: before, options }: LearnedState,
  shifts: readonly ShiftChange[],
  corpus: Corpus,
  scales: Scales,
): Generator<void, ShiftChange[]> {
  const overlay = new Overlay(corpus.dimensions, corpus.metric);
  for (const { node, shift, choices } of shifts) overlay.set(node, shift!, choices);
  const arrived = Array.from(before.nodes)
    .filter((node) => before.choicesOf(node) === 0 && !overlay.has(node) && corpus.isLive(node))
    .sort((a, b) => a - b);
  if (arrived.length === 0 || options.localSteps === 0) return [];
  overlay.refresh((node) => corpus.vector(node));
  const arrivals = new Arrivals(overlay, corpus, options, scales);
  for (const node of arrived) {
    if (corpus.isLive(node)) arrivals.add(node, corpus.vector(node));
    yield;
  }
  // Neighbours that were fitted just now stay as they were fitted.
  return arrivals.changes().filter(({ choices }) => choices === 0);
}

/** Entries that turn the overlay `from` into `to`; nodes that died meanwhile are left out. */
function replaceOverlay(from: Overlay, to: readonly ShiftChange[], corpus: Corpus): Delta["overlay"] {
  const live = to.filter(({ node }) => corpus.isLive(node));
  const kept = new Set(live.map(({ node }) => node));
  const gone = Array.from(from.nodes).filter((node) => !kept.has(node));
  return [...gone.map((node) => ({ node, shift: null, choices: 0 })), ...live];
}

/** Random numbers of a phase, and of what is drawn beside phases. */
const drawsOf = (seed: number, phase: number): Prng => new Prng(Math.imul(seed, 0x9e3779b1) ^ (phase + 1));

/** Runs phases, or takes over what they left in an earlier run. */
class Phases {
  /** Of all phases until now. */
  skippedSteps = 0;
  private done = 0;
  private reported = 0;

  constructor(
    private readonly context: Pick<FitContext, "corpus" | "pool" | "options" | "scales">,
    private readonly settings: TrainSettings,
  ) {}

  async run<T>(phase: number, work: (context: FitContext) => Promise<T>): Promise<T> {
    const { seed = 1, progress } = this.settings;
    let left = this.leftBy<T>(phase);
    this.done = phase;
    if (left === undefined) {
      this.report();
      const context = { ...this.context, prng: drawsOf(seed, phase), skippedSteps: 0 };
      const result = await work(context);
      left = { result, skippedSteps: context.skippedSteps };
      await progress?.add(phase, serialize(left));
    }
    this.skippedSteps += left.skippedSteps;
    return left.result;
  }

  /** All are done. */
  end(): void {
    this.done = PHASES;
    this.report();
  }

  /** Tells how many phases are done, where that is news. */
  private report(): void {
    if (this.done === this.reported) return;
    this.reported = this.done;
    this.settings.onProgress?.({ phase: "training", done: this.done, total: PHASES });
  }

  private leftBy<T>(phase: number): { result: T; skippedSteps: number } | undefined {
    const bytes = this.settings.progress?.get(phase);
    try {
      return bytes && (deserialize(bytes) as { result: T; skippedSteps: number });
    } catch {
      return undefined; // of a newer runtime
    }
  }
}

/** Rows that get logits, and those that lose theirs: only a network that takes part has any. */
function replaceBiases(
  { network, header }: LearnedState,
  to: NetworkWeights | undefined,
  corpus: Corpus,
): BiasChange[] {
  const had = network && header[FIELD.networkReady] ? Array.from(network.biased) : [];
  const rows = Array.from(to?.biases ?? [], ([node, row]) => ({ node, ...row }));
  const gone = had.filter((node) => !to?.biases?.has(node));
  const none = { to: new Uint32Array(0), values: new Float32Array(0) };
  return [...gone.map((node) => ({ node, ...none })), ...rows].filter(({ node }) => corpus.isLive(node));
}
