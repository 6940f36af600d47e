/**
 * Batch training: learners from the start over the feedback kept, gated by cross-fitting.
 *
 * In folds: each arm is fitted on all but one and judged on that one, so that a question is judged by learners that never
 * saw it. Adapter and shifts are then refitted on everything, and the network where an arm with it passes. Where none
 * passes, static is served and the fitted learners stay challengers for `learn` to judge. Learned edges are fitted for
 * the folds alone: those of the state count every event since ever, and stay.
 *
 * A fold is a phase, and each refit is; every phase draws from numbers of its own, so that one whose result
 * is known from an earlier run need not run again for the rest to come out the same.
 */
import { HebbError } from "../base/errors.js";
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
import { CANDIDATES, type Example, Pool, prepareExample, sameQuestions } from "./examples.js";
import { adaptQueries, type FitContext, fitAdapterFromStart, fitShift, measureScales, type Scales } from "./fit.js";
import { fitNetwork, type NetworkSettings } from "./fit-network.js";
import { assignFolds, foldsFor } from "./folds.js";
import { PER_LEARNER } from "./gate.js";
import { type Judgement, judge } from "./judge.js";
import { MOST_NETWORK_BYTES, networkPieces, networkSize } from "./network-bytes.js";
import { drawsOf, type PhaseSettings, Phases } from "./phases.js";
import { type NetworkWeights, Propagator } from "./propagator.js";
import type { Reading } from "./relevance.js";
import { type LearningReport, learningReport } from "./report.js";
import { adaptQuery, armsIn } from "./serving.js";
import { capSources } from "./sources.js";
import {
  type BiasChange,
  copiedBytes,
  curveOf,
  type Delta,
  FIELD,
  gateOf,
  type LearnedState,
  offsetOf,
  positionBiasOf,
  readingOf,
  type ShiftChange,
  shiftsOf,
} from "./state.js";

export interface TrainSettings extends PhaseSettings {
  /**
   * Passes of the adapter over the feedback; the shift takes 2/3 of it, the network .3. Default
   * `options.adapterEpochs`.
   */
  epochs?: number;
  signal?: AbortSignal;
}

/** Phases after the folds, and how many there are. */
const ADAPTER_REFIT = 0;
const SHIFT_REFIT = 1;
const NETWORK_REFIT = 2;
const REFITS = 3;
/** Times that a question was asked which are looked at, the last ones: more say nothing more. */
const MOST_ASKED = 1000;
/** With fewer questions nothing is cross-fitted. */
const LEAST_QUESTIONS = 5;
/** Questions that are cross-fitted; beyond this a gain is certain enough, and time goes into the refit. */
const CROSS_FITTED = 4096;
/** Events judged in all; each costs a scan of the overlay. */
const JUDGED = 2048;
/** Visits of an event by a learner in one fit; with more feedback, fewer epochs. */
const VISITS = 10_000;
/** With fewer events a network learns them by heart. */
const NETWORK_LEAST = 100;
/**
 * The network is fitted to the newest of so many events, for this share of the adapter's epochs: it overfits far
 * sooner.
 */
const NETWORK_EVENTS = 512;
const NETWORK_EPOCHS_SHARE = 0.3;
/** Bytes of the network in one log record. */
const PIECE_BYTES = 4 << 20;
/** Candidates whose neighbours are asked when an event is judged. */
const REACH = 100;
/** The event loop runs again after this long. */
const SLICE_MS = 4;

/**
 * Trains on `events` (oldest first). The state does not change: the delta replaces its parameters, overlay, network and
 * biases, as they are when the promise resolves.
 * @throws {HebbError} ABORTED when `signal` says so; nothing has changed then
 */
export async function train(
  state: LearnedState,
  corpus: Corpus,
  events: readonly LearnEvent[],
  settings: TrainSettings = {},
): Promise<{ delta: Delta; report: LearningReport }> {
  const slices = new Slices(SLICE_MS, () => {
    if (settings.signal?.aborted)
      throw new HebbError("ABORTED", "train was stopped by its signal; nothing has changed");
  });
  const kept = capSources(events.slice(-state.options.replay), state.options.sourceShare);
  const pool = new Pool(corpus);
  const { examples, read } = await readExamples(
    pool,
    corpus,
    kept,
    readingOf(state.header, state.options),
    slices,
    settings,
  );
  const header = state.header.slice();
  header[FIELD.skippedEvents] = header[FIELD.skippedEvents]! + kept.length - read;
  header[FIELD.trainedEvents] = read;
  if (examples.length === 0)
    return {
      delta: { parameters: [{ at: 0, bytes: copiedBytes(header) }], overlay: [], edges: [] },
      report: learningReport(state),
    };
  const training = new Training(state, corpus, pool, examples, slices, settings);
  const judgements = await training.crossFit();
  const gate = gateOf(header, state.options);
  if (judgements.length > 0) gate.replace(judgements);
  const estimate = gate.gain(gate.serving).mean;
  const delta = await training.refit(gate.serving, header, estimate);
  return { delta, report: learningReport(state, header) };
}

/** An example for each question, and how many events they stand for. */
async function readExamples(
  pool: Pool,
  corpus: Corpus,
  events: readonly LearnEvent[],
  reading: Reading,
  slices: Slices,
  { onProgress }: TrainSettings,
): Promise<{ examples: Example[]; read: number }> {
  const examples: Example[] = [];
  let [done, read] = [0, 0];
  for (const asked of await slices.run(sameQuestions(events))) {
    const example = prepareExample(pool, corpus, asked.slice(-MOST_ASKED), CANDIDATES, reading);
    if (example) examples.push(example);
    if (example) read += asked.length;
    pool.loadNew(); // here, a few at a time: searches wait for nothing longer
    done += asked.length;
    onProgress?.({ phase: "reading feedback", done, total: events.length });
    await slices.pause();
  }
  return { examples, read };
}

/** One training: what its phases share. */
class Training {
  private readonly scales: Scales;
  private readonly folds: number;
  private readonly phases: Phases;
  private readonly network: NetworkSettings | undefined;

  constructor(
    private readonly state: LearnedState,
    private readonly corpus: Corpus,
    pool: Pool,
    private readonly examples: readonly Example[],
    private readonly slices: Slices,
    private readonly settings: TrainSettings,
  ) {
    const { options } = state;
    const queries = examples.slice(-256).map((e) => e.query);
    this.folds = foldsFor(examples.length);
    const phases = this.folds + REFITS;
    this.scales = measureScales(corpus, queries, drawsOf(settings.seed, phases));
    this.phases = new Phases({ corpus, pool, options, scales: this.scales }, phases, settings);
    this.network = networkSettings(state, this.epochs);
  }

  private get epochs(): number {
    return this.settings.epochs ?? this.state.options.adapterEpochs;
  }

  /** Epochs over `n` events. */
  private epochsFor(n: number): { adapter: number; shift: number } {
    const most = Math.ceil(VISITS / n);
    const shift =
      this.settings.epochs === undefined ? this.state.options.shiftEpochs : Math.ceil((this.epochs * 2) / 3);
    return { adapter: Math.max(1, Math.min(this.epochs, most)), shift: Math.max(1, Math.min(shift, most)) };
  }

  /** Judges every arm on events that it was not fitted to; none where there are too few. */
  async crossFit(): Promise<Judgement[]> {
    const { examples, folds } = this;
    const foldOf = assignFolds(examples, folds, drawsOf(this.settings.seed, this.phases.count + 1));
    const oldest = Math.max(0, examples.length - CROSS_FITTED);
    const most = Math.ceil(Math.min(JUDGED, examples.length) / folds);
    let judgements: Judgement[] = [];
    let triesNetwork = this.network !== undefined && this.examples.length >= NETWORK_LEAST;
    for (let fold = 0; fold < folds && examples.length >= LEAST_QUESTIONS; fold++) {
      const known = examples.filter((_, i) => foldOf[i] !== fold);
      const fitted = examples.filter((_, i) => i >= oldest && foldOf[i] !== fold);
      const heldOut = examples.filter((_, i) => i >= oldest && foldOf[i] === fold).slice(-most);
      if (fitted.length === 0 || heldOut.length === 0) continue;
      const ofFold = await this.phases.run(fold, async (context) =>
        this.judgeAll(await this.fit(context, fitted, known, triesNetwork), heldOut),
      );
      judgements.push(...ofFold);
      // A network takes far longer to fit than all the others: where it brings nothing to a fifth, it is not tried again.
      if (triesNetwork && fold + 1 >= folds / 5 && !networkHelps(judgements)) {
        triesNetwork = false;
        judgements = judgements.map(withoutNetwork);
      }
    }
    return judgements;
  }

  /** All learners from the start; edges from all that is known, as those that serve count every event since ever. */
  private async fit(
    context: FitContext,
    examples: readonly Example[],
    known: readonly Example[],
    withNetwork: boolean,
  ): Promise<Learners> {
    const { corpus, slices } = this;
    const epochs = this.epochsFor(examples.length);
    const adapter = await this.fitAdapter(context, examples);
    const adapted = await slices.run(adaptQueries(adapter, corpus.metric, examples));
    const queries = examples.map((e) => e.query);
    const weights = withNetwork ? await this.fitNetwork(context, examples, adapted) : undefined;
    return {
      attend: weights && this.attendBy(weights),
      scale: this.scales.score,
      adapt: (query) => adaptQuery({ adapter, metric: corpus.metric }, query),
      overlays: [await slices.run(fitShift(context, examples, queries, epochs.shift))],
      adaptedOverlays: [await slices.run(fitShift(context, examples, adapted, epochs.shift))],
      edges: await slices.run(this.edgesOf(known)),
      now: known.length,
    };
  }

  private async judgeAll(learners: Learners, heldOut: readonly Example[]): Promise<Judgement[]> {
    const { corpus } = this;
    const arms = armsIn(learners);
    const accept = (node: number) => corpus.isLive(node);
    const search = (query: Float32Array) => this.search(query);
    const judgements: Judgement[] = [];
    for (const example of heldOut) {
      const contest = new Contest(corpus, learners, example, example.near, search, accept, REACH, arms);
      judgements.push(judge(contest, arms, example, (node) => learners.overlays[0]!.has(node)));
      await this.slices.pause();
    }
    return judgements;
  }

  /**
   * Fits the adapter on everything, the shifts, following the query that will be served, and the network where
   * `serving` has it.
   * @param header the draft that the parameters are made of
   * @param estimate what the gate expects of `serving`
   */
  async refit(serving: number, header: Float64Array, estimate: number): Promise<Delta> {
    const { state, corpus, slices, folds, phases, examples, scales } = this;
    const adapter = await phases.run(folds + ADAPTER_REFIT, (context) => this.fitAdapter(context, examples));
    const queries =
      serving & ADAPTER
        ? await slices.run(adaptQueries(adapter, corpus.metric, examples))
        : examples.map((e) => e.query);
    const shifts = await phases.run(folds + SHIFT_REFIT, async (context) =>
      shiftsOf(await slices.run(fitShift(context, examples, queries, this.epochsFor(examples.length).shift))),
    );
    const arrived = await slices.run(inheriting(state, shifts, corpus, scales));
    const network =
      serving & ATTENTION
        ? await phases.run(folds + NETWORK_REFIT, (context) => this.fitNetwork(context, examples, queries))
        : undefined;
    phases.end();
    this.fillHeader(header, network !== undefined);
    curveOf(header).copy(curveOf(state.header));
    curveOf(header).record(header[FIELD.events]!, estimate, serving, true);
    return {
      parameters: [
        { at: 0, bytes: copiedBytes(header) },
        { at: offsetOf(state, "basis"), bytes: copiedBytes(adapter.basis as Float32Array) },
        { at: offsetOf(state, "output"), bytes: copiedBytes(adapter.output as Float32Array) },
      ],
      overlay: replaceOverlay(state.overlay, [...shifts, ...arrived], corpus),
      edges: [], // they count every event since ever, and links that no feedback made
      network: network ? networkPieces(network, PIECE_BYTES) : [],
      biases: replaceBiases(state, network, corpus),
    };
  }

  private fillHeader(header: Float64Array, networkReady: boolean): void {
    const { state, scales, phases } = this;
    header[FIELD.networkReady] = networkReady ? 1 : 0;
    header[FIELD.skippedSteps] = header[FIELD.skippedSteps]! + phases.skippedSteps;
    header[FIELD.started] = 1;
    header[FIELD.adapterReady] = 1;
    header[FIELD.scoreScale] = scales.score;
    header[FIELD.queryScale] = scales.query;
    header[FIELD.documentScale] = scales.document;
    // Counters that `learn` moved meanwhile keep their newer values.
    for (const field of [FIELD.events, FIELD.judged, FIELD.cappedEvents, FIELD.clock])
      header[field] = state.header[field]!;
    positionBiasOf(header).copy(positionBiasOf(state.header));
  }

  private async fitAdapter(context: FitContext, examples: readonly Example[]): Promise<Adapter> {
    const { dimensions, rank } = this.state.adapter;
    const make = () => new Float32Array(rank * dimensions);
    const adapter = { dimensions, rank, basis: make(), output: make() };
    const epochs = this.epochsFor(examples.length).adapter;
    await this.slices.run(fitAdapterFromStart(context, adapter, examples, epochs));
    return adapter;
  }

  private async fitNetwork(
    context: FitContext,
    examples: readonly Example[],
    queries: readonly Float32Array[],
  ): Promise<NetworkWeights | undefined> {
    const newest = Math.max(0, examples.length - NETWORK_EVENTS);
    const asked = queries.slice(newest);
    const near = asked.map((query) => this.search(query));
    const pause = () => this.slices.pause();
    return this.network && fitNetwork(context, this.network, examples.slice(newest), asked, near, pause);
  }

  private attendBy(weights: NetworkWeights): NonNullable<Learners["attend"]> {
    const propagator = new Propagator(createNetwork(weights.shape), weights, this.corpus, this.scales.score);
    return (query) => propagator.attend(query, this.search(query)).query;
  }

  /** A question counts once, however often it was asked: what it is judged by is not to be known from its repetition. */
  private *edgesOf(examples: readonly Example[]): Generator<void, Edges> {
    const edges = new Edges(this.state.options.edgeHalfLife);
    for (const [i, example] of examples.entries()) {
      yield* learnEdges(edges, seedsOf(this.corpus, example, example.near, this.scales.score), example, i + 1);
    }
    return edges;
  }

  private search(query: Float32Array): Uint32Array {
    return this.corpus.nearest(query, Math.min(CANDIDATES, this.corpus.size)).nodes;
  }
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

/** Rows that get biases, and those that lose theirs: only a network that takes part has any. */
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
