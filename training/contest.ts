/**
 * One question, and how each arm would rank its candidates. Judging and serving rank by the very same
 * lines, so that what the gate measures is what queries get.
 *
 * score(v) = s(v) + SPREAD sum_u w_vu s(u) / sum_u w_vu + lambda scale support(v)
 *
 * s is the score of v's row, or of its shifted row, for the arm's version of the query; the second term is
 * arm `linear`: scores spread over the graph, which is what spreading the rows themselves would give,
 * as scores are linear in them (LightGCN, He et al. 2020; GAR, MacAvaney et al. 2022). The third one is
 * the learned edges' (model/edges.ts).
 */
import type { Edges, Seed } from "../model/edges.js";
import type { Overlay } from "../model/overlay.js";
import { Places } from "../model/places.js";
import { axpy, normalize, relative } from "../model/scoring.js";
import { nthGreatest } from "../model/select.js";
import { ADAPTER, ATTENTION, edgeWeight, LINEAR, SHIFT, STATIC, versionOf } from "./arms.js";
import type { Corpus } from "./corpus.js";

/** What neighbours say of a document, beside what it says itself. */
const SPREAD = 0.5;
/** How far a query moves towards what it finds. */
const HOP = 0.3;
/** Documents that it moves towards, and the temperature of how loud each is, in units of scores. */
const HOP_DOCUMENTS = 5;
const LOUDNESS = 0.1;
/** Nearest rows that stand for a question that names no examples. */
const SEEDS = 10;

/** What was learned, as far as it is there. */
export interface Learners {
  /** Unit of scores: 1 under cosine. */
  scale: number;
  adapt?: ((query: Float32Array) => Float32Array) | undefined;
  attend?: ((query: Float32Array) => Float32Array) | undefined;
  /** Shifts for arms without and with the adapter; a node in a later overlay replaces it in the earlier ones. */
  overlays: readonly Overlay[];
  adaptedOverlays: readonly Overlay[];
  edges?: Edges | undefined;
  /** The clock of the edges. */
  now: number;
}

export interface Question {
  query: Float32Array;
  /** What it was made from by example; none otherwise. */
  seeds: readonly Seed[];
  /** Nodes that are no answers. */
  excluded: ReadonlySet<number>;
}

/** Static search: nodes, best first. */
export type Search = (query: Float32Array) => Uint32Array;

/** Rows that stand for a question: its examples, or what the static search finds, by softmax. */
export function seedsOf(corpus: Corpus, { query, seeds }: Question, near: Uint32Array, scale: number): Seed[] {
  if (seeds.length > 0) {
    const weights = relative(seeds.map(({ weight }) => weight));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return seeds.map(({ node }, i) => ({ node, weight: weights[i]! / sum }));
  }
  const nodes = near.slice(0, SEEDS);
  const weights = softmax(corpus.scores(query, nodes), LOUDNESS * scale);
  return Array.from(nodes, (node, i) => ({ node, weight: weights[i]! }));
}

function softmax(scores: ArrayLike<number>, temperature: number): Float64Array {
  const most = Math.max(...Array.from(scores));
  const powers = Float64Array.from(scores, (s) => Math.exp((s - most) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** Candidates that an overlay shifts. */
interface Shifted {
  overlay: Overlay;
  slots: Uint32Array;
  places: Uint32Array;
}

/** What a candidate hears, by place. */
interface PlacedField {
  weights: Float32Array;
  /** Among the candidates; -1 for what is none. */
  places: Int32Array;
  /** Among the rows that are looked up beside them; -1 for what need not be. */
  outers: Int32Array;
}

export class Contest {
  /** Candidates: what searches found and edges support, then shifted documents that are not among them. */
  readonly nodes: readonly number[];
  private readonly places: Places;
  /** Those that are not there for their shifts alone: they come first. */
  private readonly plainNodes: Uint32Array;
  private readonly versions = new Map<number, Float32Array>();
  private readonly found = new Map<number, Uint32Array>();
  private readonly plainScores = new Map<number, Float64Array>();
  private readonly fields = new Map<number, PlacedField>();
  /** Rows that are heard and that some arms see nothing else of. */
  private readonly outer = new Places();
  /** Their scores by version of the query; of the first, as many as were asked for. */
  private readonly outerScores = new Map<number, number[]>();
  /** Static scores of candidates that are there for their shifts alone, by place. */
  private readonly missed = new Map<number, number>();
  private readonly memo = new Map<number, Float64Array>();
  private readonly shifted = new Map<readonly Overlay[], readonly Shifted[]>();
  /** Candidates that edges support, the strongest first, and how much: 1 at most. */
  readonly supported: readonly { place: number; support: number }[];

  /**
   * @param arms whose searches make the candidates
   * @param near what the static search found for the query as it is
   * @param reach candidates for which arm `linear` asks the neighbours; the rest come after them
   */
  constructor(
    private readonly corpus: Corpus,
    private readonly learners: Learners,
    private readonly question: Question,
    near: Uint32Array,
    private readonly search: Search,
    private readonly accept: (node: number) => boolean,
    private readonly reach: number,
    arms: readonly number[],
  ) {
    const { edges, now, scale } = learners;
    const shifts = arms.some((arm) => arm & SHIFT);
    const overlays = new Set(shifts ? [...learners.overlays, ...learners.adaptedOverlays] : []);
    this.places = new Places(near.length + [...overlays].reduce((sum, { size }) => sum + size, 0));
    this.nodes = this.places.nodes;
    this.versions.set(0, question.query);
    this.found.set(0, near);
    const usesEdges = edges && arms.some((arm) => edgeWeight(arm) > 0);
    const support = usesEdges
      ? edges.spread(seedsOf(corpus, question, near, scale), now, (node) => this.admits(node))
      : new Map<number, number>();
    const versions = new Set(arms.map(versionOf));
    for (const version of versions) {
      // Where all arms are asked, what the linear hop would find is near enough to what its query found before it.
      if (versions.size === 1 || (version & LINEAR) === 0) for (const node of this.foundBy(version)) this.add(node);
    }
    const supported: { place: number; support: number }[] = [];
    support.forEach((share, node) => {
      this.add(node);
      supported.push({ place: this.places.get(node), support: share });
    });
    this.supported = supported;
    this.plainNodes = new Uint32Array(this.nodes);
    if (!arms.some((arm) => arm & SHIFT)) return;
    for (const { nodes } of overlays) for (let slot = 0; slot < nodes.length; slot++) this.add(nodes[slot]!);
  }

  /** Score of each candidate in an arm; -Infinity for one that the arm does not see. */
  scores(arm: number): Float64Array {
    const weight = this.edgeWeight(arm);
    const own = this.ownScores(arm);
    if (weight === 0) return own;
    const out = own.slice();
    for (const { place, support } of this.supported) out[place] = out[place]! + weight * support;
    return out;
  }

  /** What full support adds to a score in an arm. */
  edgeWeight(arm: number): number {
    return edgeWeight(arm) * this.learners.scale;
  }

  /** The same without what edges add: arms that differ in those alone share it. */
  ownScores(arm: number): Float64Array {
    return this.spreadScores(arm & (ADAPTER | SHIFT | LINEAR | ATTENTION));
  }

  /** What static search makes of a candidate, found by it or not. */
  staticScore(place: number): number {
    const found = this.ownScores(STATIC)[place]!;
    if (found > Number.NEGATIVE_INFINITY) return found;
    let score = this.missed.get(place);
    if (score === undefined) {
      score = this.corpus.scores(this.question.query, Uint32Array.of(this.nodes[place]!))[0]!;
      this.missed.set(place, score);
    }
    return score;
  }

  private admits(node: number): boolean {
    return !this.question.excluded.has(node) && this.accept(node);
  }

  private add(node: number): void {
    if (this.places.get(node) < 0 && this.admits(node)) this.places.add(node);
  }

  /** The query as a version has it. */
  query(version: number): Float32Array {
    let query = this.versions.get(version);
    if (!query) {
      query = this.turn(version);
      this.versions.set(version, query);
    }
    return query;
  }

  private turn(version: number): Float32Array {
    const { corpus, learners } = this;
    if (version & LINEAR) {
      const before = version & ~LINEAR;
      const query = this.query(before);
      const nodes = this.foundBy(before).slice(0, HOP_DOCUMENTS);
      if (nodes.length === 0) return query;
      const weights = softmax(corpus.scores(query, nodes), LOUDNESS * learners.scale);
      const out = query.slice();
      const mean = new Float32Array(query.length);
      for (const [i, node] of nodes.entries()) axpy(weights[i]!, corpus.vector(node), mean);
      if (corpus.metric === "cosine") {
        normalize(mean);
        axpy(HOP, mean, out);
        normalize(out);
      } else {
        for (let i = 0; i < out.length; i++) out[i] = out[i]! + HOP * (mean[i]! - out[i]!);
      }
      return out;
    }
    if (version & ATTENTION) return learners.attend!(this.query(version & ~ATTENTION));
    return learners.adapt!(this.question.query);
  }

  private foundBy(version: number): Uint32Array {
    let nodes = this.found.get(version);
    if (!nodes) {
      nodes = this.search(this.query(version));
      this.found.set(version, nodes);
    }
    return nodes;
  }

  /** Scores of candidates without edges, by the arm's other bits. */
  private spreadScores(bits: number): Float64Array {
    let scores = this.memo.get(bits);
    if (!scores) {
      scores = bits & LINEAR ? this.spread(bits) : this.unspread(bits);
      this.memo.set(bits, scores);
    }
    return scores;
  }

  /** Scores of rows and shifted rows, not spread: `bits` may have LINEAR, which turns the query. */
  private unspread(bits: number): Float64Array {
    const version = versionOf(bits);
    let plain = this.plainScores.get(version);
    if (!plain) {
      plain = new Float64Array(this.nodes.length).fill(Number.NEGATIVE_INFINITY);
      plain.set(this.corpus.scores(this.query(version), this.plainNodes));
      this.plainScores.set(version, plain);
    }
    if (!(bits & SHIFT)) return plain;
    const scores = plain.slice();
    for (const { overlay, slots, places } of this.shiftedFor(bits)) {
      overlay.scores(this.query(version), slots, scores, places);
    }
    return scores;
  }

  /** Candidates in the overlays of an arm. */
  private shiftedFor(bits: number): readonly Shifted[] {
    const overlays = bits & ADAPTER ? this.learners.adaptedOverlays : this.learners.overlays;
    let shifted = this.shifted.get(overlays);
    if (!shifted) {
      shifted = overlays.map((overlay) => {
        const { nodes } = overlay;
        const slots = new Uint32Array(nodes.length);
        const places = new Uint32Array(nodes.length);
        let count = 0;
        for (let slot = 0; slot < nodes.length; slot++) {
          const place = this.places.get(nodes[slot]!);
          if (place < 0) continue;
          slots[count] = slot;
          places[count++] = place;
        }
        return { overlay, slots: slots.subarray(0, count), places: places.subarray(0, count) };
      });
      this.shifted.set(overlays, shifted);
    }
    return shifted;
  }

  private spread(bits: number): Float64Array {
    const own = this.unspread(bits);
    const out = new Float64Array(this.nodes.length).fill(Number.NEGATIVE_INFINITY);
    const asked = best(own, this.reach);
    const fields = this.fieldsOf(asked);
    const outer = this.scoresOfOuter(versionOf(bits));
    asked.forEach((i, at) => {
      const { weights, places, outers } = fields[at]!;
      let sum = 0;
      let total = 0;
      for (let j = 0; j < weights.length; j++) {
        const place = places[j]!;
        const isSeen = place >= 0 && own[place]! > Number.NEGATIVE_INFINITY;
        sum += weights[j]! * (isSeen ? own[place]! : outer[outers[j]!]!);
        total += weights[j]!;
      }
      out[i] = own[i]! + SPREAD * (total > 0 ? sum / total : own[i]!);
    });
    return out;
  }

  /** Scores of rows that are heard and of which an arm may see nothing else. */
  private scoresOfOuter(version: number): readonly number[] {
    const scores = this.outerScores.get(version) ?? [];
    const { nodes } = this.outer;
    if (scores.length < nodes.length) {
      const more = this.corpus.scores(this.query(version), new Uint32Array(nodes.slice(scores.length)));
      for (const score of more) scores.push(score); // more than a call takes as arguments
      this.outerScores.set(version, scores);
    }
    return scores;
  }

  /** What candidates hear, and which candidates those are; looked up once for all arms. */
  private fieldsOf(asked: readonly number[]): readonly PlacedField[] {
    const missing = asked.filter((place) => !this.fields.has(place));
    const nodes = Uint32Array.from(missing, (place) => this.nodes[place]!);
    for (const [i, field] of this.corpus.fields(nodes, this.learners.scale).entries()) {
      const around = field.nodes;
      const places = new Int32Array(around.length);
      const outers = new Int32Array(around.length);
      for (let j = 0; j < around.length; j++) {
        const place = this.places.get(around[j]!);
        places[j] = place;
        // Candidates for their shifts alone have no score in arms without.
        outers[j] = place < 0 || place >= this.plainNodes.length ? this.outer.add(around[j]!) : -1;
      }
      this.fields.set(missing[i]!, { weights: field.weights, places, outers });
    }
    return asked.map((place) => this.fields.get(place)!);
  }
}

/** Places of the `count` greatest values above -Infinity, in order of place; more where the last ones are equal. */
function best(values: Float64Array, count: number): number[] {
  const least = values.length > count ? nthGreatest(values.slice(), count) : Number.NEGATIVE_INFINITY;
  const places: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i]! >= least && values[i]! > Number.NEGATIVE_INFINITY) places.push(i);
  }
  return places;
}
