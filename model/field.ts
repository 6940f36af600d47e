/** Edges as message passing weighs them: w = sigmoid(alpha (sim - 1) + beta structural + b + ln(1 + s)). */
import type { Metric } from "../base/types.js";
import type { Floats } from "./scoring.js";

/** What all edges share; learned with the network. */
export interface EdgeScalars {
  /**
   * How much weight falls with distance: of 8, an edge between vectors at right angles weighs 1/1,491 of one
   * between twins.
   */
  alpha: number;
  /** What it adds that two nodes stand alike in the graph. */
  beta: number;
}

/** Before anything was learned. */
export const UNTRAINED_EDGES: Readonly<EdgeScalars> = { alpha: 8, beta: 0 };

/** An edge's bias b stays within this of 0. */
export const MOST_BIAS = 4;
/** b is a multiple of this, so that half precision holds it exactly. */
const BIAS_STEP = 1 / 256;

/** A bias as the rows of the graph can hold it. */
export function storableBias(bias: number): number {
  return Math.round(Math.max(-MOST_BIAS, Math.min(MOST_BIAS, bias)) / BIAS_STEP) * BIAS_STEP || 0;
}

/** Biases of the edges that leave a node's row; of all its others they are 0. */
export interface RowBiases {
  to: Uint32Array;
  values: Float32Array;
}

/** What an edge has beside the score of its ends, by edge; what is left out is 0. */
export interface EdgeParts {
  scalars?: Readonly<EdgeScalars>;
  /** `structuralScore` of its ends. */
  structural?: ArrayLike<number>;
  /** b, learned for the edge itself. */
  biases?: ArrayLike<number>;
  /** s, the strength of the learned edge beside it (model/edges.ts), which fades to 0. */
  strengths?: ArrayLike<number>;
}

/** 1 - sim: sim is the score in its unit, and under l2 1 less the squared distance in it; 1 is a vector itself. */
export function apartness(score: number, metric: Metric, scale: number): number {
  return metric === "l2" ? -score / scale : 1 - score / scale;
}

/**
 * How alike two nodes stand in the graph, from 0 to 1: by the highest levels they are on, and by how many edges lead to
 * them, hubs being unlike all others.
 */
export function structuralScore(levelU: number, degreeU: number, levelV: number, degreeV: number): number {
  const [low, high] = levelU < levelV ? [levelU, levelV] : [levelV, levelU];
  const [few, many] = degreeU < degreeV ? [degreeU, degreeV] : [degreeV, degreeU];
  return ((1 + low) / (1 + high)) * Math.sqrt(Math.max(1, few) / Math.max(1, many));
}

/** Weights of edges by the scores between their ends. `scale`: unit of scores. */
export function edgeWeights<F extends Floats>(
  scores: F,
  metric: Metric,
  scale: number,
  { scalars: { alpha, beta } = UNTRAINED_EDGES, structural, biases, strengths }: EdgeParts = {},
): F {
  const weights = scores.slice() as F;
  for (let i = 0; i < scores.length; i++) {
    const raised = beta * (structural?.[i] ?? 0) + (biases?.[i] ?? 0);
    const lowered = alpha * apartness(scores[i]!, metric, scale) - raised;
    weights[i] = 1 / (1 + Math.exp(lowered) / (1 + (strengths?.[i] ?? 0)));
  }
  return weights;
}

/**
 * Back from dL/dlog w of one edge, as the network's step gives it: dL/db, and what alpha and beta get of it, which is
 * added to `scalars`. d log w / dz = 1 - w, z being what the sigmoid is of.
 */
export function edgeBackward(weight: number, apart: number, structural: number, toLog: number, scalars: EdgeScalars) {
  const toZ = toLog * (1 - weight);
  scalars.alpha -= toZ * apart;
  scalars.beta += toZ * structural;
  return toZ;
}
