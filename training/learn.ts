/**
 * Online learning, prequential: an event is first judged by every arm as it stands, where that is cheap enough for it
 * to have its turn, and then learned from. The shifts of the chosen documents and learned edges move at each event; the
 * adapter takes a step every 32 events on a mix of new and older ones, so that the log carries its matrix seldom. The
 * network moves in `train` only.
 */
import { bytesOf } from "../base/bytes.js";
import { Prng } from "../base/prng.js";
import { fitBasis } from "../model/adapter.js";
import { Edges, MOST_SUPPORTED } from "../model/edges.js";
import { Overlay, shiftForward, stepShift } from "../model/overlay.js";
import { dot } from "../model/scoring.js";
import { ADAPTER, EDGES_STRONG, LINEAR, SHIFT, versionOf } from "./arms.js";
import { Contest, type Learners, seedsOf } from "./contest.js";
import type { Corpus, LearnEvent } from "./corpus.js";
import { learnEdges } from "./edges.js";
import { CANDIDATES, chosenPlaces, type Example, MOST_HARD, Pool, prepareExample, Sampler } from "./examples.js";
import { type FitContext, fitAdapter, HARD_SHARE, lossSettings, measureScales, shiftRate } from "./fit.js";
import type { Gate } from "./gate.js";
import { judge } from "./judge.js";
import { candidateLoss, shiftGradient, Workspace } from "./objective.js";
import { type LearningReport, learningReport } from "./report.js";
import { adaptQuery, armsIn } from "./serving.js";
import { isCapped } from "./sources.js";
import {
  changedHeader,
  copiedBytes,
  curveOf,
  type Delta,
  FIELD,
  gateOf,
  type LearnedState,
  offsetOf,
  positionBiasOf,
  readingOf,
  shiftsOf,
} from "./state.js";

export interface LearnSettings {
  /** Same seed, state, corpus and events: same delta. Default 1. */
  seed?: number;
  /**
   * Events kept from before these, oldest first; the last 256 are used. They give the adapter's batch
   * older events, which keeps it from forgetting, and the window in which sources are capped. Where
   * single events are learned without them, the adapter steps on one event at a time.
   */
  recent?: readonly LearnEvent[];
  /**
   * Draws `count` events at random from all that was ever learned, with repeats: each event is learned together with
   * one of them, and each step of the adapter with 32, so that what is new does not displace what is old (experience
   * replay). Without it, both draw from `recent`.
   */
  older?: (count: number, prng: Prng) => LearnEvent[];
  /** What the network makes of a query. */
  attend?: Learners["attend"];
}

/**
 * How often the same was asked in the last events: the k-th time weighs 1 / k^2 in the gate, which adds up to less than two
 * however often it goes on.
 */
function timesAsked({ query }: LearnEvent, history: readonly LearnEvent[]): number {
  let times = 0;
  for (const { query: other } of history.slice(-MEMORY)) {
    if (other[0] === query[0] && Buffer.compare(bytesOf(other), bytesOf(query)) === 0) times++;
  }
  return times;
}

/** What events taught. */
export interface Lesson {
  delta: Delta;
  readonly report: LearningReport;
}

/** Events between two steps of the adapter; each step also visits as many older ones. */
const STEP_EVERY = 32;
/** Older events that a step may draw from. */
const MEMORY = 256;
/** The decay weighs against at most this many events, so that what is no longer confirmed fades. */
const POPULATION = 4096;
/**
 * Multiplications that judging may cost per event on average, so that it costs less than learning does: with all arms,
 * and with those ahead alone. More while the gate is young, when what was learned waits to serve. And what ranking a
 * candidate for an arm counts as.
 */
const BUDGET = { all: 1e5, leaders: 2e5 };
const YOUNG_BUDGET = { all: 4e5, leaders: 4e5 };
const RANKING_COST = 8;
/** Candidates whose neighbours are asked when an event is judged, and what that costs in vectors looked at. */
const JUDGED_REACH = 64;
const FIELD_COST = 1000;
/** Places on display that are looked at for what they say of attention. */
const MOST_PLACES = 64;
/** A document that is only a negative moves, and goes to the log, where its |dL/dz| is above this. */
const REPELLED = 0.02;

/**
 * Judges and learns `events` (oldest first). The state does not change: log the delta, then apply it.
 * Deterministic. Cost about 1 ms an event at 256 dimensions, a few at 784, and every 32 events a step of the adapter
 * that takes many times as long: it yields after each small piece of work, so that searches can run in between.
 */
export function* learning(
  state: LearnedState,
  corpus: Corpus,
  events: readonly LearnEvent[],
  settings: LearnSettings = {},
): Generator<void, Lesson> {
  state.overlay.refresh((node) => corpus.vector(node));
  const draft = new Draft(state, corpus, events, settings);
  const history = [...(settings.recent ?? []).slice(-MEMORY)];
  for (const event of events) {
    yield* draft.learn(event, history);
    history.push(event);
    if (history.length > 2 * MEMORY) history.splice(0, history.length - MEMORY);
    yield;
  }
  return {
    delta: draft.delta(),
    get report() {
      return learningReport(state, draft.header);
    },
  };
}

/** A document that an event moves: its shift, v' and |v + delta|, how often it was chosen, and how far it goes. */
interface Moved {
  shift: Float32Array;
  row: Float32Array;
  length: number;
  choices: number;
  rate: number;
}

/** The state as it will be: reads fall through to the real one, writes stay here. */
class Draft {
  readonly header: Float64Array;
  private readonly gate: Gate;
  private adapter;
  private readonly overlay: Overlay;
  private readonly edges: Edges;
  private basisChanged = false;
  private outputChanged = false;
  private readonly pool: Pool;
  private readonly context: FitContext;
  private readonly sampler: Sampler;

  constructor(
    private readonly state: LearnedState,
    private readonly corpus: Corpus,
    events: readonly LearnEvent[],
    private readonly settings: LearnSettings,
  ) {
    this.header = state.header.slice();
    this.gate = gateOf(this.header, state.options);
    this.adapter = state.adapter;
    this.overlay = new Overlay(corpus.dimensions, corpus.metric);
    this.edges = new Edges(state.options.edgeHalfLife, state.edges);
    this.pool = new Pool(corpus);
    const prng = new Prng(((settings.seed ?? 1) * 0x9e3779b1) ^ this.header[FIELD.events]!);
    if (this.header[FIELD.started] === 0 && events.length > 0) {
      const scales = measureScales(
        corpus,
        events.slice(0, 256).map((e) => e.query),
        prng,
      );
      this.header[FIELD.scoreScale] = scales.score;
      this.header[FIELD.queryScale] = scales.query;
      this.header[FIELD.documentScale] = scales.document;
      this.header[FIELD.started] = 1;
    }
    const scales = {
      score: this.header[FIELD.scoreScale]!,
      query: this.header[FIELD.queryScale]!,
      document: this.header[FIELD.documentScale]!,
    };
    this.context = { corpus, pool: this.pool, options: state.options, scales, prng, skippedSteps: 0 };
    this.sampler = new Sampler(this.pool, prng);
  }

  *learn(event: LearnEvent, history: readonly LearnEvent[]): Generator<void, void> {
    const { header } = this;
    if (isCapped(event, history.slice(-MEMORY), this.state.options.sourceShare)) {
      this.count(FIELD.cappedEvents);
      return;
    }
    const learners = this.learners();
    const arms = armsIn(learners);
    const judged = this.judgedArms(arms);
    const wanted = judged.length > 0 ? CANDIDATES : MOST_HARD + event.chosen.length + (event.examples?.length ?? 0);
    const reading = readingOf(header, this.state.options);
    const example = prepareExample(this.pool, this.corpus, [event], Math.min(CANDIDATES, wanted), reading);
    if (!example) {
      this.count(FIELD.skippedEvents);
      return;
    }
    if (judged.length > 0) this.judge(example, learners, judged, 1 / (1 + timesAsked(event, history)) ** 2);
    this.countDisplay(event, example);
    const seeds = seedsOf(this.corpus, example, example.near, learners.scale);
    this.count(FIELD.clock);
    yield* learnEdges(this.edges, seeds, example, header[FIELD.clock]!);
    this.stepShift(example, true);
    for (const old of this.older(1, history)) {
      const again = prepareExample(this.pool, this.corpus, [old], 0, reading);
      if (again) this.stepShift(again, false);
    }
    this.count(FIELD.events);
    this.count(FIELD.pending);
    if (header[FIELD.pending]! >= STEP_EVERY) {
      header[FIELD.pending] = 0;
      yield* this.stepAdapter([...history, event]);
    }
  }

  private count(field: number): void {
    this.header[field] = this.header[field]! + 1;
  }

  private adapt(query: Float32Array): Float32Array | undefined {
    if (this.header[FIELD.adapterReady] === 0) return undefined;
    return adaptQuery({ adapter: this.adapter, metric: this.corpus.metric }, query);
  }

  /** What was learned until now. */
  private learners(): Learners {
    const overlays = [this.state.overlay, this.overlay];
    return {
      scale: this.context.scales.score,
      adapt: this.header[FIELD.adapterReady] === 0 ? undefined : (query) => this.adapt(query)!,
      attend: this.state.attention ? this.settings.attend : undefined,
      overlays,
      adaptedOverlays: overlays,
      edges: this.edges,
      now: this.header[FIELD.clock]!,
    };
  }

  /**
   * Arms that the next event judges: all, or those ahead, or none, as often as it may cost. Those ahead are few, and
   * what is to serve is decided among them.
   */
  private judgedArms(arms: readonly number[]): readonly number[] {
    const budget = this.gate.isYoung(arms) ? YOUNG_BUDGET : BUDGET;
    const isDue = (some: readonly number[], most: number) =>
      this.header[FIELD.events]! % Math.ceil(this.judgingCost(some) / most) === 0;
    if (isDue(arms, budget.all)) return arms;
    const leaders = this.gate.leaders(arms);
    return isDue(leaders, budget.leaders) ? leaders : [];
  }

  /** Multiplications, about, that it takes to judge an event. */
  private judgingCost(arms: readonly number[]): number {
    const shifted = arms.some((arm) => arm & SHIFT) ? this.state.overlay.size + this.overlay.size : 0;
    const candidates = shifted + 2 * CANDIDATES;
    const versions = new Set(arms.map((arm) => versionOf(arm) & ~LINEAR)).size;
    const fields = arms.some((arm) => arm & LINEAR) ? FIELD_COST : 0;
    // What arms without edges rank is the same for those with; the rest is what edges support.
    const ranked = new Set(arms.map((arm) => arm & ~EDGES_STRONG)).size * candidates + arms.length * MOST_SUPPORTED;
    return (candidates * versions + fields) * this.corpus.dimensions + ranked * RANKING_COST;
  }

  /** Test, before training: what would each arm have answered? */
  private judge(example: Example, learners: Learners, arms: readonly number[], weight: number): void {
    const { corpus } = this;
    const { near } = example;
    const search = (query: Float32Array) => corpus.nearest(query, Math.min(CANDIDATES, corpus.size)).nodes;
    const accept = () => true; // rows that disappear leave overlays and edges in the same step
    const contest = new Contest(corpus, learners, example, near, search, accept, JUDGED_REACH, arms);
    const judgement = judge(contest, arms, example, (node) => this.wasChosen(node));
    curveOf(this.header).judge(this.header[FIELD.events]! + 1, judgement, this.gate.serving);
    this.gate.record(judgement, weight);
    this.count(FIELD.judged);
    this.gate.decide();
  }

  /** What was chosen tells how far down people look. */
  private countDisplay({ shown, chosen }: LearnEvent, { query, excluded }: Example): void {
    const { corpus, context } = this;
    const { temperature, window } = this.state.options;
    const places = [...shown.slice(0, MOST_PLACES).entries()].filter(
      ([place, node]) => corpus.isLive(node) && !excluded.has(node) && shown.indexOf(node) === place,
    );
    const scores = corpus.scores(
      query,
      Uint32Array.from(places, ([, node]) => node),
    );
    const isChosen = new Set(chosen.map(({ node }) => node));
    const display = places.map(([place, node], i) => ({
      place: place + 1,
      score: scores[i]! / (temperature * context.scales.score),
      chosen: isChosen.has(node),
    }));
    positionBiasOf(this.header).add(display, window);
  }

  private wasChosen(node: number): boolean {
    return this.choicesOf(node) > 0;
  }

  /** How often a document was chosen; rows that arrived later may have a shift, and 0. */
  private choicesOf(node: number): number {
    return (this.overlay.has(node) ? this.overlay : this.state.overlay).choicesOf(node);
  }

  /** Several bounded steps of the chosen documents towards the query, and of strong rivals away from it. */
  private stepShift(example: Example, isNew: boolean): void {
    const { corpus, pool, context } = this;
    const adapted = this.gate.serving & ADAPTER ? this.adapt(example.query) : undefined;
    const query = adapted ?? example.query;
    const { options, scales } = context;
    const d = corpus.dimensions;
    const most = options.negatives + example.positives.length;
    const places = new Int32Array(most);
    const count = this.sampler.draw(
      example,
      this.otherPlaces(options.negatives),
      HARD_SHARE,
      options.negatives,
      places,
      false,
    );
    const positives = example.positives.length;
    if (!isNew && count === positives) return; // nothing to tell it from
    const ws = new Workspace(d, most, Float32Array);
    const loss = lossSettings(corpus.metric, options, scales);
    const nodes: number[] = [];
    const movable: number[] = [];
    const unshifted: number[] = [];
    for (let j = 0; j < count; j++) {
      const node = pool.nodes[places[j]!]!;
      const isShifted = this.overlay.has(node) || this.state.overlay.has(node);
      nodes.push(node);
      if (j < positives || isShifted) movable.push(j);
      if (j < positives || !isShifted) unshifted.push(places[j]!);
    }
    pool.load(unshifted); // the own rows of the others only when they move
    const rows = nodes.map((node, j) => this.shiftedRow(node) ?? pool.rows[places[j]!]!);
    const moved = new Map<number, Moved>();
    const move = (j: number): Moved => {
      const node = nodes[j]!;
      if (!pool.rows[places[j]!]) pool.load([places[j]!]);
      const shift = this.shiftOf(node)?.slice() ?? new Float32Array(d);
      const before = this.choicesOf(node);
      const choices = j < positives ? Math.max(before + (isNew ? 1 : 0), 1) : before;
      const row = new Float32Array(d);
      const length = shiftForward(corpus.metric, pool.rows[places[j]!]!, shift, row);
      const own = { shift, row, length, choices, rate: shiftRate(choices, options, scales) };
      moved.set(j, own);
      rows[j] = row;
      return own;
    };
    for (let j = 0; j < positives; j++) move(j);
    const candidates = { rows, places: Int32Array.from(nodes.keys()), count, weights: example.weights };
    for (let step = 0; step < options.shiftEpochs; step++) {
      const value = candidateLoss(ws, loss, query, candidates, step > 0 ? moved.keys() : undefined);
      if (!Number.isFinite(value)) {
        context.skippedSteps++;
        return;
      }
      for (const j of movable) {
        if (j >= positives && !(Math.abs(ws.dLogits[j]!) > REPELLED)) continue;
        const own = moved.get(j) ?? move(j);
        const g = shiftGradient(ws, loss, query, own.row, own.length, ws.dLogits[j]!);
        if (!Number.isFinite(dot(g, g))) continue;
        stepShift(own.shift, g, own.rate, options.shiftBound * scales.document);
        own.length = shiftForward(corpus.metric, pool.rows[places[j]!]!, own.shift, own.row);
      }
    }
    for (const [j, { shift, choices }] of moved) this.overlay.set(nodes[j]!, shift, choices);
    this.overlay.refresh((node) => pool.rows[pool.add(node)]!);
  }

  /** Earlier events, from all there were or from the recent ones. */
  private older(count: number, history: readonly LearnEvent[]): LearnEvent[] {
    const { prng } = this.context;
    if (this.settings.older) return this.settings.older(count, prng);
    return prng.shuffle([...history]).slice(0, count);
  }

  private *stepAdapter(history: readonly LearnEvent[]): Generator<void, void> {
    const { corpus, context, header } = this;
    const reading = readingOf(header, this.state.options);
    const examples = [...this.older(STEP_EVERY, history.slice(0, -STEP_EVERY)), ...history.slice(-STEP_EVERY)]
      .map((event) => prepareExample(this.pool, corpus, [event], 0, reading))
      .filter((example) => example !== undefined);
    if (examples.length === 0) return;
    if (!this.outputChanged) this.adapter = { ...this.adapter, output: this.adapter.output.slice() };
    this.outputChanged = true;
    if (header[FIELD.adapterReady] === 0) {
      // Few queries so far: documents stand in for the directions that later ones will take.
      const { dimensions, rank } = this.adapter;
      const basis = new Float32Array(rank * dimensions);
      const documents = [...corpus.sample(rank, context.prng)].map((node) => corpus.vector(node));
      yield* fitBasis(basis, rank, dimensions, [...history.slice(-MEMORY).map((e) => e.query), ...documents]);
      this.adapter = { ...this.adapter, basis };
      this.basisChanged = true;
      header[FIELD.adapterReady] = 1;
    }
    const others = new Set([...chosenPlaces(examples), ...this.otherPlaces(MEMORY)]);
    const visits = header[FIELD.adapterSteps]! * 2 * STEP_EVERY;
    const population = Math.max(MEMORY, Math.min(header[FIELD.events]!, POPULATION));
    yield* fitAdapter(context, this.adapter, examples, [...others], 1, population, visits);
    this.count(FIELD.adapterSteps);
  }

  /** v' of a document with a shift; valid until the overlay changes. */
  private shiftedRow(node: number): Float32Array | undefined {
    const overlay = this.overlay.has(node) ? this.overlay : this.state.overlay;
    const slot = overlay.slotOf(node);
    return slot === undefined ? undefined : overlay.row(slot);
  }

  private shiftOf(node: number): Float32Array | undefined {
    return this.overlay.shiftOf(node) ?? this.state.overlay.shiftOf(node);
  }

  /** Places of up to `count` documents chosen in earlier events. */
  private otherPlaces(count: number): number[] {
    const places: number[] = [];
    const { prng } = this.context;
    for (const overlay of [this.state.overlay, this.overlay]) {
      const nodes = overlay.nodes;
      for (let i = 0; i < count && nodes.length > 0; i++) {
        const slot = nodes.length <= count ? i % nodes.length : prng.below(nodes.length);
        if (i < nodes.length && overlay.choicesAt(slot) > 0) places.push(this.pool.add(nodes[slot]!));
      }
    }
    return places;
  }

  delta(): Delta {
    this.header[FIELD.skippedSteps] = this.state.header[FIELD.skippedSteps]! + this.context.skippedSteps;
    const parameters = changedHeader(this.state.header, this.header);
    if (this.basisChanged) {
      parameters.push({ at: offsetOf(this.state, "basis"), bytes: copiedBytes(this.adapter.basis as Float32Array) });
    }
    if (this.outputChanged) {
      parameters.push({ at: offsetOf(this.state, "output"), bytes: copiedBytes(this.adapter.output as Float32Array) });
    }
    return { parameters, overlay: shiftsOf(this.overlay), edges: this.edges.changes() };
  }
}
