/**
 * What was learned, as queries use it: parameters, overlay, learned edges and the network in memory, and mirrored into
 * the region (learned-mirror.ts). Biases of edges are in the graph's rows alone. training/ decides what to learn; this
 * applies it.
 */

import { Prng } from "../../base/prng.js";
import { inSlices } from "../../base/slices.js";
import type { Adapter } from "../../model/adapter.js";
import type { Seed } from "../../model/edges.js";
import { edgeWeights } from "../../model/field.js";
import { normalize } from "../../model/scoring.js";
import { createNetwork } from "../../native/gnn.js";
import type { Region } from "../../native/index.js";
import { ADAPTER, ATTENTION, SHIFT, STATIC } from "../../training/arms.js";
import { Arrivals } from "../../training/arrivals.js";
import { Contest } from "../../training/contest.js";
import { type Corpus, type Field, HEARD } from "../../training/corpus.js";
import { measureScales } from "../../training/fit.js";
import { type Attended, Propagator } from "../../training/propagator.js";
import { type LearningReport, learningReport } from "../../training/report.js";
import { adaptQuery, learnersIn } from "../../training/serving.js";
import {
  applyDelta,
  type BiasChange,
  changedHeader,
  type Delta,
  FIELD,
  forget,
  LearnedState,
} from "../../training/state.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { Config } from "../config.js";
import { Fields, heldBias, structuralScores } from "./fields.js";
import { graphCorpus } from "./graph-corpus.js";
import { LearnedMirror } from "./learned-mirror.js";
import { learningOptions } from "./learned-options.js";
import { NO_NODE } from "./records.js";
import type { Ranking, Searcher, SearchPlan } from "./searching.js";

/** Rows that tell the unit of scores. */
const SCALE_ROWS = 64;
/** Candidates beyond the k asked for, as learners change the order. */
const MORE = 64;

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
  private readonly mirror: LearnedMirror;
  /** Biases by row and end, for edges that may not be linked yet. */
  private readonly waiting = new Map<number, BiasChange>();

  /**
   * @param rank of the adapter: the store's own
   * @param held bytes that the file has of the section of a kind
   * @throws {HebbError} INDEX_CORRUPT where a section says that it holds what there is not; CONFIG_INVALID
   */
  constructor(
    region: Region,
    private readonly searcher: Searcher,
    config: Config,
    rank: number,
    held: (kind: number) => number,
  ) {
    this.fields = new Fields(searcher);
    this.corpus = graphCorpus(searcher, this.fields, (vector) => this.unit(vector));
    this.state = new LearnedState(searcher.dimensions, searcher.metric, learningOptions(config, rank));
    this.mirror = new LearnedMirror(region, searcher.dimensions);
    this.mirror.load(this.state, config, held, searcher.graph.nodes);
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
    this.mirror.write(delta);
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
    this.setBiases([...this.waiting.values()]);
    if (this.searcher.graph.backlog === 0) this.waiting.clear();
  }

  private writeBiases(biases: readonly BiasChange[]): void {
    // A row that is not linked yet, or leads to one that is not, gets them once it is.
    if (this.searcher.graph.backlog > 0) for (const row of biases) this.waiting.set(row.node, row);
    this.setBiases(biases);
  }

  /**
   * Replaces the biases in rows of the graph as they are now, and logs nothing. Excludes what writes rows of the graph.
   */
  setBiases(biases: readonly BiasChange[]): void {
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
    const { graph } = this.searcher;
    const contest = this.contest(query, seeds, plan, depth);
    const scores = contest.scores(this.state.gate.serving);
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
   * What the serving arm ranks for a query.
   * @param also a node that takes part whatever searches find, and whose score is never left out; without it, none
   */
  contest(query: Float32Array, seeds: readonly Seed[], plan: SearchPlan, depth?: number, also?: number): Contest {
    const { searcher, state } = this;
    const { graph } = searcher;
    const arm = state.gate.serving;
    const { bits } = plan;
    state.overlay.refresh((node) => this.unit(graph.vector(node)));
    const moved = arm & SHIFT ? Math.min(state.overlay.size, plan.k) : 0;
    const wide = plan.k + moved + MORE;
    const search = (asked: Float32Array) => {
      const { nodes } = searcher.nearest(asked, { ...plan, k: wide, ef: Math.max(plan.ef, wide) });
      return also === undefined || nodes.includes(also) ? nodes : Uint32Array.of(...nodes, also);
    };
    const accept = (node: number) => !bits || hasBit(bits, node);
    const own = this.unit(Float32Array.from(query));
    const excluded = new Set(seeds.map(({ node }) => node).filter((node) => node !== also));
    return new Contest(
      this.corpus,
      learnersIn(state, (asked) => this.attend(asked, depth).query),
      { query: own, seeds, excluded },
      search(own),
      search,
      accept,
      also === undefined ? wide : Number.POSITIVE_INFINITY,
      [arm],
    );
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
}
