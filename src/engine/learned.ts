/**
 * What was learned, as the store keeps it and queries use it: parameters, overlay, learned edges and the network in
 * memory, mirrored into four sections of the region, so that checkpoints and recovery treat them like everything else.
 * Biases of edges are in the graph's rows alone. training/ decides what to learn; this applies it.
 *
 * Section `parameters` is the state's own buffer. Sections `overlay` and `edges` hold slots by node
 * (slot-table.ts). Of the overlay: how often the node was chosen (u32), 4 bytes of zero, and its shift
 * (f32 x dimensions). Of the edges: how many (u32), born, counted at (u32), asked, chosen, chosen lately (f32),
 * then for each edge its target (u32), strength (f32) and tick (u32).
 */

import { bytesOf } from "../../base/bytes.js";
import { HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { inSlices } from "../../base/slices.js";
import type { Metric } from "../../base/types.js";
import type { Adapter } from "../../model/adapter.js";
import { EDGES_PER_NODE, type EdgeChange, emptyRecord, LEAST_LANES, type Seed } from "../../model/edges.js";
import { edgeWeights, MOST_BIAS, structuralScore } from "../../model/field.js";
import { normalize } from "../../model/scoring.js";
import { createNetwork } from "../../native/gnn.js";
import type { Graph } from "../../native/graph.js";
import type { Region } from "../../native/index.js";
import type { SectionSpec } from "../../storage/store.js";
import { ADAPTER, ATTENTION, SHIFT, STATIC } from "../../training/arms.js";
import { Arrivals } from "../../training/arrivals.js";
import { Contest } from "../../training/contest.js";
import { type Corpus, type Field, HEARD, type Neighbourhood } from "../../training/corpus.js";
import { measureScales } from "../../training/fit.js";
import { MOST_NETWORK_BYTES, NETWORK_HEADER_BYTES, NetworkBytes } from "../../training/network-bytes.js";
import type { LearningOptions } from "../../training/options.js";
import { type Attended, Propagator } from "../../training/propagator.js";
import { type LearningReport, learningReport } from "../../training/report.js";
import { adaptQuery, learnersIn } from "../../training/serving.js";
import {
  applyDelta,
  type BiasChange,
  COUNTED_FIELDS,
  changedHeader,
  type Delta,
  FIELD,
  forget,
  LearnedState,
  type ShiftChange,
} from "../../training/state.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { Config } from "../config.js";
import { networkSize } from "./learned-checks.js";
import { NO_NODE } from "./records.js";
import { type Ranking, type Searcher, type SearchPlan, STANDARD_RERANK } from "./searching.js";
import { SLOT_HEADER_BYTES, SlotTable } from "./slot-table.js";

const SHIFT_AT = 8;
const LANES_AT = 24;
const LANE_BYTES = 12;
/** As many neighbours as a row may have. */
const MOST_NEIGHBOURS = 256;
/** Rows that tell the unit of scores. */
const SCALE_ROWS = 64;
/** Of what nodes hear, so much is kept for sure once it was asked for, and twice as much at most: 5 MiB. */
const KEPT_FIELDS = 2500;
/** Candidates beyond the k asked for, as learners change the order. */
const MORE = 64;
/** Nothing learned needs more. */
const PARAMETERS_RESERVE_BYTES = 2 ** 30;

/** The sections of a store of `dimensions` and at most `nodes` nodes. */
export function learnedSections(dimensions: number, nodes: number): SectionSpec[] {
  const stride = slotStride(dimensions);
  return [
    { kind: OVERLAY_KIND, name: "overlay", stride, reserveBytes: (nodes + 1) * stride },
    { kind: OVERLAY_KIND + 1, name: "parameters", stride: 1, reserveBytes: PARAMETERS_RESERVE_BYTES },
    { kind: EDGES_KIND, name: "edges", stride: EDGES_STRIDE, reserveBytes: (nodes + 1) * EDGES_STRIDE },
    { kind: NETWORK_KIND, name: "network", stride: 1, reserveBytes: MOST_NETWORK_BYTES },
  ];
}

const rounded = (bytes: number): number => Math.ceil(bytes / 64) * 64;
const slotStride = (dimensions: number): number => rounded(SLOT_HEADER_BYTES + SHIFT_AT + 4 * dimensions);
const OVERLAY_KIND = 7;
const EDGES_KIND = 16;
const NETWORK_KIND = 19;
const EDGES_STRIDE = rounded(SLOT_HEADER_BYTES + LANES_AT + EDGES_PER_NODE * LANE_BYTES);

/** The learners' options out of the config; `rank` is the store's own. */
function learningOptions({ ruvector, learning }: Config, rank: number): LearningOptions {
  return {
    temperature: ruvector.temperature,
    negatives: ruvector.negative_samples,
    batchPairs: ruvector.batch_size,
    decoupled: learning.decoupled,
    rank,
    adapterRate: learning.adapter_rate,
    adapterDecay: learning.adapter_decay,
    adapterEpochs: learning.adapter_epochs,
    shiftRate: learning.shift_rate,
    shiftBound: learning.shift_bound,
    shiftEpochs: learning.shift_epochs,
    localSteps: ruvector.local_steps,
    propagateUpdates: ruvector.propagate_updates,
    confidence: learning.confidence,
    disjointTolerance: learning.disjoint_tolerance,
    disjointConfidence: learning.disjoint_confidence,
    window: learning.window,
    minimumEvents: learning.minimum_events,
    sourceShare: learning.source_share,
    positionBias: learning.position_bias,
    edgeHalfLife: learning.edge_half_life,
    network:
      ruvector.propagation === "attention"
        ? {
            layers: ruvector.gnn_layers,
            hidden: ruvector.gnn_hidden_dim,
            heads: ruvector.gnn_heads,
            dropout: ruvector.gnn_dropout,
            optimizer: ruvector.optimizer,
            rate: ruvector.learning_rate,
            hierarchical: ruvector.hierarchical,
            selfSupervision: learning.self_supervision,
          }
        : undefined,
    replay: learning.replay,
  };
}

/** Parts of a network that are fixed once it was trained, and their keys. */
const TRAINED_KEYS = [
  ["layers", "gnn_layers"],
  ["hidden", "gnn_hidden_dim"],
  ["heads", "gnn_heads"],
  ["hierarchical", "hierarchical"],
] as const;

export class Learned {
  readonly state: LearnedState;
  /** The store as the learners see it. */
  readonly corpus: Corpus;
  /** Told of nodes that disappear, while somebody wants to know. */
  onForget: ((nodes: Uint32Array) => void) | undefined;

  /** How many nodes have disappeared. */
  forgotten = 0;

  private readonly fields: Fields;
  private propagator: Propagator | undefined;
  /** The graph's state that the propagator's states were computed in. */
  private propagatedAsOf = "";
  private readonly shifts: SlotTable;
  private readonly edges: SlotTable;
  /** What is written of edges, one after the other: an event writes a hundred. */
  private readonly edgeBytes = {
    head: new DataView(new ArrayBuffer(LANES_AT)),
    lane: new DataView(new ArrayBuffer(LANE_BYTES)),
  };
  /** Biases by row and end, for edges that may not be linked yet. */
  private readonly waiting = new Map<number, BiasChange>();

  /**
   * @param overlaySection the number of section `overlay` in the region; `parameters`, `edges`, `network` follow it
   * @param held bytes that the file has of the section of a kind
   * @throws {HebbError} INDEX_CORRUPT where a section says that it holds what there is not; CONFIG_INVALID
   */
  constructor(
    private readonly region: Region,
    private readonly overlaySection: number,
    private readonly searcher: Searcher,
    config: Config,
    rank: number,
    held: (kind: number) => number,
  ) {
    this.fields = new Fields(searcher);
    this.corpus = corpusOf(searcher, this, this.fields);
    this.state = new LearnedState(searcher.dimensions, searcher.metric, learningOptions(config, rank));
    this.shifts = new SlotTable(region, overlaySection, slotStride(searcher.dimensions));
    this.edges = new SlotTable(region, overlaySection + 2, EDGES_STRIDE);
    this.load(config, held);
  }

  /** Whether `neural` differs from `vector`. */
  get serves(): boolean {
    return this.state.gate.serving !== STATIC;
  }

  /**
   * What rows that are about to enter take over from those near them that feedback moved; undefined while no shifts
   * serve, which costs nothing.
   * @param vectors nodes.length x dimensions
   */
  async arrive(nodes: Uint32Array, vectors: Float32Array): Promise<Delta | undefined> {
    const { state, corpus } = this;
    const { options, overlay, header } = state;
    if (options.localSteps === 0 || !(state.gate.serving & SHIFT)) return undefined;
    overlay.refresh((node) => corpus.vector(node));
    const arrivals = new Arrivals(overlay, corpus, options, {
      score: header[FIELD.scoreScale],
      query: header[FIELD.queryScale],
      document: header[FIELD.documentScale],
    });
    const d = corpus.dimensions;
    await inSlices(nodes, (node, i) => arrivals.add(node, this.unit(vectors.slice(i * d, (i + 1) * d))));
    const changes = arrivals.changes();
    return changes.length > 0 ? { parameters: [], overlay: changes, edges: [] } : undefined;
  }

  /**
   * Learned edges of rows that are about to be put anew with the same contents, by their new numbers; undefined where
   * there are none.
   */
  rename(names: ReadonlyMap<number, number>): Delta | undefined {
    const { edges, header } = this.state;
    if (names.size === 0 || edges.isEmpty) return undefined;
    const now = header[FIELD.clock] + 1;
    const changes = edges.renamed(names, now);
    if (changes.length === 0) return undefined;
    const draft = header.slice();
    draft[FIELD.clock] = now;
    return { parameters: changedHeader(header, draft), overlay: [], edges: changes };
  }

  apply(given: Delta): void {
    // A neighbour that a new row moved may be gone by now.
    const overlay = given.overlay.filter(({ node, shift }) => shift === null || this.searcher.graph.isLive(node));
    const delta = { ...given, overlay };
    applyDelta(this.state, delta);
    for (const { at, bytes } of delta.parameters) this.region.write(this.overlaySection + 1, at, bytes);
    for (const change of delta.overlay) this.writeShift(change);
    for (const change of delta.edges) this.writeEdges(change);
    for (const { at, bytes } of delta.network ?? []) this.region.write(this.overlaySection + 3, at, bytes);
    if (delta.network?.length) this.propagator = undefined;
    if (delta.biases) this.writeBiases(delta.biases);
  }

  /** Whether biases of edges wait for rows to be linked: no checkpoint may go by without them. */
  get awaitsRows(): boolean {
    return this.waiting.size > 0;
  }

  /** Writes the biases that wait once more: rows were linked. Excludes what writes rows of the graph. */
  rowsLinked(): void {
    this.rowsChanged(); // who asked while they were being linked saw them half done
    if (this.waiting.size === 0) return;
    this.writeRows([...this.waiting.values()]);
    if (this.searcher.graph.backlog === 0) this.waiting.clear();
  }

  private writeBiases(biases: readonly BiasChange[]): void {
    // A row that is not linked yet, or leads to one that is not, gets them once it is.
    if (this.searcher.graph.backlog > 0) for (const row of biases) this.waiting.set(row.node, row);
    this.writeRows(biases);
  }

  private writeRows(biases: readonly BiasChange[]): void {
    const most = biases.reduce((max, { to }) => Math.max(max, to.length), 1);
    const ends = new Uint32Array(biases.length * most).fill(NO_NODE);
    const values = new Float32Array(ends.length);
    biases.forEach(({ to, values: own }, i) => {
      ends.set(to, i * most);
      values.set(own, i * most);
    });
    this.searcher.graph.setBiases(
      Uint32Array.from(biases, ({ node }) => node),
      ends,
      values,
    );
    this.rowsChanged();
  }

  /** Rows of the graph are others now: what was computed from them is computed anew. */
  rowsChanged(): void {
    this.fields.clear();
    this.propagator?.clear();
  }

  /** What was computed from the vectors of nodes is computed anew: they are others now. */
  revalue(nodes: Uint32Array): void {
    for (const node of nodes) this.state.overlay.touch(node);
    this.rowsChanged();
  }

  /** Nodes that disappeared take their shifts with them. */
  forget(nodes: Uint32Array): void {
    if (nodes.length === 0) return;
    this.forgotten += nodes.length;
    this.onForget?.(nodes);
    this.rowsChanged(); // a number may come back with another vector
    if (this.waiting.size > 0) this.forgetWaiting(new Set(nodes));
    const delta = forget(this.state, nodes);
    if (delta) this.apply(delta);
  }

  private forgetWaiting(gone: ReadonlySet<number>): void {
    for (const { node, to, values } of [...this.waiting.values()]) {
      if (gone.has(node)) this.waiting.delete(node);
      else if (to.some((end) => gone.has(end)))
        this.waiting.set(node, {
          node,
          to: to.filter((end) => !gone.has(end)),
          values: values.filter((_, i) => !gone.has(to[i])),
        });
    }
  }

  /**
   * Nodes by what the serving arm makes of a query: the graph is searched with the query as the arm turns it,
   * and what edges lead to and every shifted node compete with what that finds.
   * @param seeds what the query was made from by example
   * @param depth layers of the network that the query goes through; all by default
   */
  rank(query: Float32Array, seeds: readonly Seed[], plan: SearchPlan, depth?: number): Ranking {
    const { searcher, state } = this;
    const { graph } = searcher;
    const arm = state.gate.serving;
    const { bits } = plan;
    state.overlay.refresh((node) => this.unit(graph.vector(node)));
    const moved = arm & SHIFT ? Math.min(state.overlay.size, plan.k) : 0;
    const wide = plan.k + moved + MORE;
    const search = (asked: Float32Array) =>
      searcher.nearest(asked, { ...plan, k: wide, ef: Math.max(plan.ef, wide) }).nodes;
    const accept = (node: number) => !bits || hasBit(bits, node);
    const own = this.unit(Float32Array.from(query));
    const question = { query: own, seeds, excluded: new Set(seeds.map(({ node }) => node)) };
    const contest = new Contest(
      this.corpus,
      learnersIn(state, (asked) => this.attend(asked, depth).query),
      question,
      search(own),
      search,
      accept,
      wide,
      [arm],
    );
    const scores = contest.scores(arm);
    const ranked = contest.nodes.map((node, i) => ({ node, score: scores[i] }));
    ranked.sort((a, b) => b.score - a.score || a.node - b.node);
    const best: typeof ranked = [];
    for (const one of ranked) {
      if (best.length === plan.k) break;
      if (graph.isLive(one.node)) best.push(one); // edges may lead to a row that is about to be published
    }
    const nodes = Uint32Array.from(best, (r) => r.node);
    return { nodes, distances: graph.distances(query, nodes), scores: best.map((r) => r.score) };
  }

  /**
   * A query as the network turns it, and what it heard on the way; itself, and nothing, while no network serves.
   * @param depth layers, at most those there are; all by default
   */
  attend(query: Float32Array, depth?: number): Attended {
    const { attention: network, header } = this.state;
    if (!network) return { query, attention: [] };
    if (!this.propagator || this.propagatedAsOf !== this.fields.asOfNow()) {
      this.propagator?.clear();
      this.propagator ??= new Propagator(createNetwork(network.shape), network, this.corpus, header[FIELD.scoreScale]);
      this.propagatedAsOf = this.fields.asOfNow();
    }
    return this.propagator.attend(query, this.corpus.nearest(query, HEARD).nodes, depth);
  }

  /** Whether queries go through the network. */
  get attends(): boolean {
    return (this.state.gate.serving & ATTENTION) !== 0;
  }

  /** The query that the serving arm's network gets. */
  served(query: Float32Array): Float32Array {
    const own = this.unit(Float32Array.from(query));
    return this.state.gate.serving & ADAPTER ? adaptQuery(this.state, own) : own;
  }

  /** What serves now and can be pinned: the adapter, and shifted rows where they were shifted to. */
  servedVectors(): { adapter: Adapter | undefined; shifted: Map<number, Float32Array> } {
    const { gate, adapter, overlay, header } = this.state;
    const { graph } = this.searcher;
    const shifted = new Map<number, Float32Array>();
    if (gate.serving & SHIFT) {
      overlay.refresh((node) => this.unit(graph.vector(node)));
      overlay.nodes.forEach((node, slot) => {
        shifted.set(node, overlay.row(slot).slice());
      });
    }
    const isReady = header[FIELD.adapterReady] !== 0 && (gate.serving & ADAPTER) !== 0;
    return { adapter: isReady ? adapter : undefined, shifted };
  }

  /** All neighbours of a node, in the graph and by learned edges, with the weight of each edge. */
  around(node: number): Field {
    const { graph, metric } = this.searcher;
    const { edges, header, attention: network } = this.state;
    const strengths = new Map(edges.from(node, header[FIELD.clock]).map(({ to, strength }) => [to, strength]));
    const others = new Set([...graph.neighbors(node), ...strengths.keys()]);
    const nodes = Uint32Array.from(others).filter((other) => graph.isLive(other));
    const scale = header[FIELD.started] ? header[FIELD.scoreScale] : this.measuredScale();
    const scores = this.corpus.scores(graph.vector(node), nodes);
    const learned = Float32Array.from(nodes, (other) => strengths.get(other) ?? 0);
    if (!network) return { nodes, weights: edgeWeights(scores, metric, scale, { strengths: learned }) };
    const field = graph.fields(Uint32Array.of(node), nodes.length);
    const held = new Map(Array.from(field.nodes.subarray(0, field.counts[0]), (other, i) => [other, field.biases[i]]));
    const biases = Float32Array.from(nodes, (other) => heldBias(held.get(other) ?? 0));
    const structural = structuralScores(graph, node, nodes);
    const parts = { scalars: network.edges, strengths: learned, structural, biases };
    return { nodes, weights: edgeWeights(scores, metric, scale, parts) };
  }

  /** The unit of scores, while no feedback has set it. */
  private measuredScale(): number {
    const sample = [...this.corpus.sample(SCALE_ROWS, new Prng(1))].map((node) => this.corpus.vector(node));
    return measureScales(this.corpus, sample, new Prng(1)).score;
  }

  report(): LearningReport {
    return { ...learningReport(this.state), events: this.searcher.catalog.feedbackCount };
  }

  /** A vector as the learners see it: unit length under cosine. */
  unit(vector: Float32Array): Float32Array {
    if (this.searcher.metric === "cosine") normalize(vector);
    return vector;
  }

  private writeShift({ node, shift, choices }: ShiftChange): void {
    if (shift === null) {
      this.shifts.free(node);
      return;
    }
    const bytes = new Uint8Array(SHIFT_AT + shift.byteLength);
    bytes.set(bytesOf(Uint32Array.of(choices)));
    bytes.set(bytesOf(shift), SHIFT_AT);
    this.shifts.write(node, 0, bytes);
  }

  private writeEdges({ node, record, lanes }: EdgeChange): void {
    if (record === null) {
      this.edges.free(node);
      return;
    }
    const { head, lane: own } = this.edgeBytes;
    head.setUint32(0, record.count, true);
    head.setUint32(4, record.born, true);
    head.setUint32(8, record.countedAt, true);
    head.setFloat32(12, record.asked, true);
    head.setFloat32(16, record.chosen, true);
    head.setFloat32(20, record.lately, true);
    this.edges.write(node, 0, bytesOf(head));
    const bytes = bytesOf(own);
    for (const lane of lanes) {
      own.setUint32(0, record.targets[lane], true);
      own.setFloat32(4, record.strengths[lane], true);
      own.setUint32(8, record.at[lane], true);
      this.edges.write(node, LANES_AT + lane * LANE_BYTES, bytes);
    }
  }

  /** @throws {HebbError} CONFIG_INVALID where the configuration asks for a network of another shape */
  private loadNetwork({ given }: Config, held: number): void {
    const { state } = this;
    const header = this.region.read(this.overlaySection + 3, 0, NETWORK_HEADER_BYTES);
    checkNetwork(header, state.dimensions, state.metric, held);
    const network = new NetworkBytes(header, state.metric, state.options.shiftBound);
    const { shape, layers, hierarchical } = network;
    const trained = { layers: layers.length, hidden: shape.hidden, heads: shape.heads, hierarchical };
    const { network: asked } = state.options;
    const pairs: [string, number | boolean, number | boolean][] = [];
    for (const [part, key] of TRAINED_KEYS) {
      if (asked && given.has(`ruvector.${key}`)) pairs.push([key, trained[part], asked[part]]);
    }
    for (const [name, stored, wanted] of pairs) {
      if (stored === wanted) continue;
      throw new HebbError(
        "CONFIG_INVALID",
        `the network in the store was trained with ${name} ${stored}, and is to be opened with ${wanted}; open it with ${stored}, or with ruvector.propagation = "linear"`,
        { name, stored, wanted },
      );
    }
    if (asked) state.options.network = { ...asked, ...trained }; // what was not asked for is as it was trained
    network.bytes.set(this.region.read(this.overlaySection + 3, 0, network.bytes.length));
    state.network = network;
  }

  /** Nothing is read past the header where nothing was learned. */
  private load(config: Config, held: (kind: number) => number): void {
    const { header, bytes, overlay, edges } = this.state;
    bytes.set(this.region.read(this.overlaySection + 1, 0, header.byteLength));
    if (header[FIELD.started] === 0 && header[FIELD.events] === 0 && header[FIELD.clock] === 0) return;
    bytes.set(this.region.read(this.overlaySection + 1, 0, bytes.length));
    checkHeader(header);
    if (header[FIELD.networkReady]) this.loadNetwork(config, held(NETWORK_KIND));
    const { nodes } = this.searcher.graph;
    for (const { node, bytes: slot } of this.shifts.load("overlay", held(OVERLAY_KIND), nodes)) {
      const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
      const shift = new Float32Array(slot.slice(SHIFT_AT, SHIFT_AT + 4 * this.searcher.dimensions).buffer);
      overlay.set(node, shift, view.getUint32(0, true));
    }
    for (const { node, bytes: slot } of this.edges.load("edges", held(EDGES_KIND), nodes)) {
      const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
      const count = Math.min(view.getUint32(0, true), EDGES_PER_NODE);
      const record = emptyRecord(Math.max(count, LEAST_LANES));
      record.count = count;
      record.born = view.getUint32(4, true);
      record.countedAt = view.getUint32(8, true);
      record.asked = view.getFloat32(12, true);
      record.chosen = view.getFloat32(16, true);
      record.lately = view.getFloat32(20, true);
      for (let lane = 0; lane < record.count; lane++) {
        const at = LANES_AT + lane * LANE_BYTES;
        record.targets[lane] = view.getUint32(at, true);
        record.strengths[lane] = view.getFloat32(at + 4, true);
        record.at[lane] = view.getUint32(at + 8, true);
      }
      edges.set(node, record);
    }
  }
}

/** @throws {HebbError} INDEX_CORRUPT for a header of no network of these dimensions that the file has room for */
function checkNetwork(header: Uint8Array, dimensions: number, metric: Metric, held: number): void {
  const size = networkSize(header, dimensions, metric);
  if (typeof size !== "string" && size.bytes <= held) return;
  const reason =
    typeof size === "string" ? `the network ${size}` : `a network of ${size.bytes} bytes, and the section has ${held}`;
  throw new HebbError(
    "INDEX_CORRUPT",
    `section network, offset 0: ${reason}. Open it with ruvector.propagation = "linear" to do without. Or run "hebb repair <dir>", or restore the store from a copy`,
    { section: "network", offset: 0 },
  );
}

/** Fields that count, or are places, are what they can be. @throws {HebbError} INDEX_CORRUPT */
function checkHeader(header: Float64Array): void {
  for (const { field, most } of COUNTED_FIELDS) {
    const value = header[field]!;
    if (Number.isInteger(value) && value >= 0 && value <= most) continue;
    throw new HebbError(
      "INDEX_CORRUPT",
      `section parameters, offset ${8 * field}: header field ${field} is ${value}; expected a whole number from 0 to ${most}. ${REPAIR_OR_RESTORE}`,
      { section: "parameters", offset: 8 * field, expected: most, found: value },
    );
  }
}

/** What a node hears. Where its neighbours stand is looked up when somebody asks: it takes a look at each one's row. */
class Heard implements Neighbourhood {
  private alike: Float32Array | undefined;
  private scale = 0;
  private field: Field | undefined;

  constructor(
    private readonly searcher: Searcher,
    private readonly node: number,
    readonly nodes: Uint32Array,
    readonly scores: Float32Array,
    readonly biases: Float32Array,
  ) {}

  get structural(): Float32Array {
    this.alike ??= structuralScores(this.searcher.graph, this.node, this.nodes);
    return this.alike;
  }

  untrained(scale: number): Field {
    if (!this.field || this.scale !== scale)
      this.field = { nodes: this.nodes, weights: edgeWeights(this.scores, this.searcher.metric, scale) };
    this.scale = scale;
    return this.field;
  }
}

/**
 * Neighbourhoods that were asked for, until the graph changes: the newest, and those of before them that were asked for
 * again since.
 */
class Fields {
  private known = new Map<number, Heard>();
  private earlier = new Map<number, Heard>();
  private asOf = "";

  constructor(private readonly searcher: Searcher) {}

  of(nodes: Uint32Array): Heard[] {
    const now = this.asOfNow();
    if (now !== this.asOf) this.clear();
    this.asOf = now;
    if (this.known.size > KEPT_FIELDS) {
      this.earlier = this.known;
      this.known = new Map();
    }
    const missing: number[] = [];
    for (const node of nodes) if (!this.isAtHand(node)) missing.push(node);
    if (missing.length > 0) this.find(Uint32Array.from(missing));
    const heard: Heard[] = [];
    for (const node of nodes) heard.push(this.known.get(node)!);
    return heard;
  }

  private isAtHand(node: number): boolean {
    if (this.known.has(node)) return true;
    const heard = this.earlier.get(node);
    if (heard) this.known.set(node, heard);
    return heard !== undefined;
  }

  private find(nodes: Uint32Array): void {
    const { searcher } = this;
    const { nodes: around, distances, biases: held, counts } = searcher.graph.fields(nodes, HEARD);
    const stride = around.length / nodes.length;
    nodes.forEach((node, i) => {
      const [from, to] = [i * stride, i * stride + counts[i]];
      const scores = distances.slice(from, to).map((distance) => searcher.scoreOf(distance));
      const biases = held.slice(from, to).map(heldBias);
      this.known.set(node, new Heard(searcher, node, around.slice(from, to), scores, biases));
    });
  }

  /** What changes whenever the graph does. */
  asOfNow(): string {
    const { graph } = this.searcher;
    return `${graph.nodes} ${graph.live} ${graph.dead} ${graph.backlog}`;
  }

  clear(): void {
    this.known.clear();
    this.earlier.clear();
  }
}

/** How alike a node and each of others stand in the graph. */
function structuralScores(graph: Graph, node: number, others: Uint32Array): Float32Array {
  const { levels, inDegrees } = graph.standing(Uint32Array.of(node, ...others));
  return Float32Array.from(others, (_, i) => structuralScore(levels[0], inDegrees[0], levels[i + 1], inDegrees[i + 1]));
}

/** A bias out of a row; damage that no checksum has met yet makes no weight of NaN. */
const heldBias = (value: number): number => Math.max(-MOST_BIAS, Math.min(MOST_BIAS, value || 0));

function corpusOf(searcher: Searcher, learned: Learned, fields: Fields): Corpus {
  const { graph } = searcher;
  let nodes = new Uint32Array(0);
  let distances = new Float32Array(0);
  const roomFor = (k: number): number => {
    const room = Math.min(k, graph.live);
    if (nodes.length < room) {
      nodes = new Uint32Array(room);
      distances = new Float32Array(room);
    }
    return room;
  };
  return {
    dimensions: searcher.dimensions,
    metric: searcher.metric,
    get size() {
      return graph.live;
    },
    vector: (node) => learned.unit(graph.vector(node)),
    vectorsOf(of) {
      const rows = graph.vectors(of);
      const { dimensions: d } = searcher;
      const out: Float32Array[] = [];
      for (let i = 0; i < of.length; i++) out.push(learned.unit(rows.subarray(i * d, (i + 1) * d)));
      return out;
    },
    isLive: (node) => graph.isLive(node),
    scores(query, of) {
      const scores = graph.distances(query, of);
      for (let i = 0; i < scores.length; i++) scores[i] = searcher.scoreOf(scores[i]);
      return scores;
    },
    fields: (of, scale) => fields.of(of).map((heard) => heard.untrained(scale)),
    neighbourhoods: (of) => fields.of(of),
    neighbours(node) {
      const { nodes: around, counts } = graph.fields(Uint32Array.of(node), MOST_NEIGHBOURS);
      return around.slice(0, counts[0]);
    },
    get topLevel() {
      return graph.topLevel;
    },
    nearestAt(level, query, k) {
      const room = roomFor(k);
      return nodes.slice(0, room === 0 ? 0 : graph.searchLevel(query, level, room, nodes, distances));
    },
    nearest(query, k) {
      const room = roomFor(k);
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
