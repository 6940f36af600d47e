/**
 * What the network's training learns of the weights of edges (model/field.ts): alpha and beta by everything that was
 * heard, and a bias for each edge of the graph that a document heard by.
 */
import type { Metric } from "../base/types.js";
import {
  apartness,
  type EdgeScalars,
  edgeBackward,
  MOST_BIAS,
  type RowBiases,
  storableBias,
  UNTRAINED_EDGES,
} from "../model/field.js";
import { adam } from "../native/gnn.js";
import type { FitContext } from "./fit.js";
import { storableScalars } from "./network-bytes.js";

/** What an anchor of a step hears in a layer, and by which weights. A query has no `node`, and stands nowhere. */
export interface Hearing {
  node?: number;
  nodes: Uint32Array;
  weights: Float32Array;
  scores: Float32Array;
  structural?: Float32Array;
}

/** The two scalars are heard by everything, and learn as fast as the layers' gates. */
const SCALAR_RATE = 10;
/** An edge is heard a few times in a whole training, a matrix in each step: its bias moves as much faster. */
const TIMES_FASTER = 100;

interface Row extends RowBiases {
  /** Of all gradients so far, the mean squares added up. */
  squares: number;
}

export class EdgeFit {
  /** Of the steps so far; read while it changes. */
  readonly scalars: EdgeScalars = { ...UNTRAINED_EDGES };
  readonly biases: LearnedBiases;
  private readonly moments = [new Float32Array(2), new Float32Array(2)] as const;
  private readonly metric: Metric;
  private readonly scale: number;
  private steps = 0;

  /** @param rate of the network's matrices */
  constructor(
    { corpus, scales }: FitContext,
    private readonly rate: number,
  ) {
    this.metric = corpus.metric;
    this.scale = scales.score;
    this.biases = new LearnedBiases(rate);
  }

  /**
   * One step.
   * @param heard by layer, then anchor
   * @param toLogWeights by layer dL/dlog w, as many places for each anchor
   * @param share what gradients are multiplied by
   */
  step(heard: readonly Hearing[][], toLogWeights: readonly Float32Array[], share: number): void {
    const toScalars = { alpha: 0, beta: 0 };
    const rows = new Map<number, { to: Uint32Array; gradient: Float64Array }>();
    heard.forEach((anchors, layer) => {
      const places = toLogWeights[layer]!.length / anchors.length;
      anchors.forEach(({ node, nodes, weights, scores, structural }, b) => {
        const row = node === undefined ? undefined : (rows.get(node) ?? emptyRow(nodes));
        if (row) rows.set(node!, row);
        for (let j = 0; j < nodes.length; j++) {
          const apart = apartness(scores[j]!, this.metric, this.scale);
          const toLog = toLogWeights[layer]![b * places + j]! * share;
          const toBias = edgeBackward(weights[j]!, apart, structural?.[j] ?? 0, toLog, toScalars);
          if (row) row.gradient[j] = row.gradient[j]! + toBias;
        }
      });
    });
    for (const [node, { to, gradient }] of rows) this.biases.step(node, to, gradient);
    if (!Number.isFinite(toScalars.alpha + toScalars.beta)) return;
    const values = Float32Array.of(this.scalars.alpha, this.scalars.beta);
    const gradient = Float32Array.of(toScalars.alpha, toScalars.beta);
    adam(values, gradient, ...this.moments, ++this.steps, { learningRate: this.rate * SCALAR_RATE });
    this.scalars.alpha = Math.max(0, values[0]!); // below 0 the farthest would be heard best
    this.scalars.beta = values[1]!;
  }

  /** Scalars and biases as the store gives them back. */
  storable(): { edges: EdgeScalars; biases: Map<number, RowBiases> } {
    return { edges: storableScalars(this.scalars), biases: this.biases.storable() };
  }
}

const emptyRow = (to: Uint32Array) => ({ to, gradient: new Float64Array(to.length) });

export class LearnedBiases {
  readonly rows = new Map<number, Row>();

  /** @param rate of the network's matrices */
  constructor(private readonly rate: number) {}

  /**
   * A step of a row's biases by their gradient, as long as rate x `TIMES_FASTER` in the mean the first time, and
   * shorter each further one (Adagrad, Duchi et al. 2011, a rate for a row). One that is not finite is left out.
   * @param to ends of the edges; the same for a row in every step, or its biases begin at 0 again
   */
  step(node: number, to: Uint32Array, gradient: Float64Array): void {
    let row = this.rows.get(node);
    if (!row || row.to.length !== to.length || row.to.some((end, i) => end !== to[i])) {
      row = { to: to.slice(), values: new Float32Array(to.length), squares: 0 };
      this.rows.set(node, row);
    }
    const square = gradient.reduce((sum, g) => sum + g * g, 0) / gradient.length;
    if (!(square > 0 && Number.isFinite(square))) return;
    const { values } = row;
    row.squares += square;
    const rate = (this.rate * TIMES_FASTER) / Math.sqrt(row.squares);
    for (let i = 0; i < values.length; i++)
      values[i] = Math.max(-MOST_BIAS, Math.min(MOST_BIAS, values[i]! - rate * gradient[i]!));
  }

  /** All rows with a bias that is not 0, as the rows of the graph can hold it. */
  storable(): Map<number, RowBiases> {
    const rows = Array.from(this.rows, ([node, { to, values }]): [number, RowBiases] => [
      node,
      { to, values: values.map(storableBias) },
    ]);
    return new Map(rows.filter(([, { values }]) => values.some((value) => value !== 0)));
  }
}
