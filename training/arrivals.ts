/**
 * Rows that arrive where feedback has moved others (the specification's online update). What was chosen near them
 * went towards the questions that it answers, and they would stay behind: so a new row begins with the mean of its
 * neighbours' shifts, by the weights of the edges to them, and takes some steps of gradient descent on the local
 * contrastive loss: near what its neighbours have become, and away from what was chosen elsewhere.
 *
 * It was never chosen itself (choices 0): it is a neighbour to learn from for nobody, and belongs to the gate's
 * document-disjoint stratum. There are never more such rows than chosen ones, as queries look at every shifted row.
 */
import { Prng } from "../base/prng.js";
import { edgeWeights } from "../model/field.js";
import { boundShift, type Overlay, shiftBackward, shiftForward, stepShift } from "../model/overlay.js";
import { axpy, dot, type Floats } from "../model/scoring.js";
import { type Corpus, HEARD } from "./corpus.js";
import { lossSettings, type Scales } from "./fit.js";
import { type Candidates, candidateLoss, type LossSettings, queryGradient, Workspace } from "./objective.js";
import type { LearningOptions } from "./options.js";
import type { ShiftChange } from "./state.js";

/** Of the rate of a document that was chosen for the first time. */
const CAUTION = 1 / 4;

/** Rows near another one, and how much each counts. */
interface Neighbours {
  nodes: Uint32Array;
  weights: Float32Array;
}

export class Arrivals {
  private readonly changed = new Map<number, ShiftChange>();
  private readonly chosen: Uint32Array;
  private readonly loss: LossSettings;
  private readonly ws: Workspace;
  /** How many more rows may inherit a shift. */
  private room: number;

  /** @param overlay refreshed; it does not change */
  constructor(
    private readonly overlay: Overlay,
    private readonly corpus: Corpus,
    private readonly options: LearningOptions,
    private readonly scales: Scales,
  ) {
    this.chosen = overlay.nodes.filter((node) => overlay.choicesOf(node) > 0);
    this.room = 2 * this.chosen.length - overlay.size;
    this.loss = lossSettings(corpus.metric, options, scales);
    this.ws = new Workspace(corpus.dimensions, HEARD + 1 + options.negatives, Float32Array);
  }

  /** One row. `vector`: its own, as the corpus gives vectors; the corpus need not have it yet. */
  add(node: number, vector: Float32Array): void {
    if (this.room <= 0) return;
    const nodes = this.corpus
      .nearest(vector, HEARD + 1)
      .nodes.filter((other) => other !== node)
      .slice(0, HEARD);
    const moved = nodes.filter((other) => this.wasChosen(other));
    if (moved.length === 0) return;
    const near = { nodes, weights: this.weightsOf(vector, nodes) };
    const shift = this.inherited(near);
    this.descend(vector, shift, this.candidates(near, drawsFor(vector)), this.options.localSteps);
    if (!Number.isFinite(dot(shift, shift))) return;
    this.changed.set(node, { node, shift, choices: 0 });
    this.room--;
    if (this.options.propagateUpdates) for (const other of moved) this.propagate(other, node, vector);
  }

  /** Shifts of the rows that were added, and of the neighbours that they moved. */
  changes(): ShiftChange[] {
    return [...this.changed.values()];
  }

  private wasChosen(node: number): boolean {
    return this.overlay.choicesOf(node) > 0;
  }

  private weightsOf(vector: Float32Array, nodes: Uint32Array): Float32Array {
    return edgeWeights(this.corpus.scores(vector, nodes), this.corpus.metric, this.scales.score);
  }

  /** The mean of the shifts of those that were chosen. */
  private inherited({ nodes, weights }: Neighbours): Float32Array {
    const shift = new Float32Array(this.corpus.dimensions);
    let total = 0;
    nodes.forEach((node, i) => {
      if (!this.wasChosen(node)) return;
      axpy(weights[i]!, this.shiftOf(node)!, shift);
      total += weights[i]!;
    });
    for (let i = 0; i < shift.length; i++) shift[i] = shift[i]! / total;
    boundShift(shift, this.options.shiftBound * this.scales.document);
    return shift;
  }

  /** A neighbour that feedback moved takes a step too, with the new row among its own neighbours. */
  private propagate(node: number, arrived: number, vector: Float32Array): void {
    const [field] = this.corpus.fields(Uint32Array.of(node), this.scales.score);
    const [weight] = this.weightsOf(vector, Uint32Array.of(node));
    const near = {
      nodes: Uint32Array.of(...field!.nodes, arrived),
      weights: Float32Array.of(...field!.weights, weight!),
    };
    const shift = this.shiftOf(node)!.slice();
    const own = this.corpus.vector(node);
    this.descend(own, shift, this.candidates(near, drawsFor(own), vector), 1);
    if (!Number.isFinite(dot(shift, shift))) return;
    this.changed.set(node, { node, shift, choices: this.overlay.choicesOf(node) });
  }

  /**
   * What a row is to be near, and chosen rows elsewhere that it is to be told from.
   * @param last the own vector of the last neighbour, where the corpus does not have it yet
   */
  private candidates({ nodes, weights }: Neighbours, prng: Prng, last?: Float32Array): Candidates {
    const rows = Array.from(nodes, (node, i) => this.rowOf(node, i === nodes.length - 1 ? last : undefined));
    const taken = new Set(nodes);
    for (let tries = 0; tries < this.options.negatives; tries++) {
      const node = this.chosen[prng.below(this.chosen.length)]!;
      if (taken.has(node) || !this.corpus.isLive(node)) continue;
      taken.add(node);
      rows.push(this.rowOf(node));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const places = Int32Array.from(rows.keys());
    return { rows, places, count: rows.length, weights: weights.map((weight) => weight / total) };
  }

  /** Steps of a row's shift, in place. */
  private descend(vector: Float32Array, shift: Float32Array, candidates: Candidates, steps: number): void {
    const { corpus, ws, loss, options, scales } = this;
    const rate = options.shiftRate * CAUTION * scales.document ** 2;
    const row = new Float32Array(vector.length);
    for (let step = 0; step < steps; step++) {
      const length = shiftForward(corpus.metric, vector, shift, row);
      if (!Number.isFinite(candidateLoss(ws, loss, row, candidates))) return;
      const gradient = queryGradient(ws, loss, candidates);
      shiftBackward(corpus.metric, row, length, gradient);
      stepShift(shift, gradient, rate, options.shiftBound * scales.document);
    }
  }

  private shiftOf(node: number): Float32Array | undefined {
    return this.changed.get(node)?.shift ?? this.overlay.shiftOf(node);
  }

  /** A row as it is searched. */
  private rowOf(node: number, own?: Float32Array): Floats {
    // Rows that arrive together do not hear of each other: the same vector gets the same shift.
    const changed = this.wasChosen(node) ? this.changed.get(node)?.shift : undefined;
    if (changed) {
      const row = new Float32Array(this.corpus.dimensions);
      shiftForward(this.corpus.metric, own ?? this.corpus.vector(node), changed, row);
      return row;
    }
    const slot = this.overlay.slotOf(node);
    return slot === undefined ? (own ?? this.corpus.vector(node)) : this.overlay.row(slot);
  }
}

/** Random numbers of a vector, the same for the same values. */
function drawsFor(vector: Float32Array): Prng {
  const bits = new Uint32Array(vector.slice().buffer);
  return new Prng(bits.reduce((hash, word) => Math.imul(hash ^ word, 0x9e3779b1) >>> 0, 1));
}
