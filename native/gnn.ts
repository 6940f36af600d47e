/**
 * The message-passing network's typed face: layers as serving needs them, a whole training step, and
 * its optimizer. model/gnn/ has the equations; parameters of a layer are one flat array, in the order of
 * `layoutOf` there.
 *
 * Shapes: B anchors, N places for neighbours, P pool rows, R candidate rows, C places for candidates,
 * d dimensions, H hidden values in m heads. Matrices lie row after row. Results do not depend on the
 * number of threads or on how many anchors come at once; those in single precision not on the
 * instruction set either. Double precision serves checks and is slow.
 *
 * Arrays of a wrong type or length, and numbers of rows past the last, are errors; values are not looked at.
 */
import type { Metric } from "../base/types.js";
import { addonAs } from "./loader.js";

const addon = addonAs<{
  Network: new (
    dimensions: number,
    hidden: number,
    heads: number,
    linear: boolean,
    metric: number,
    bound: number,
  ) => Network;
  adam(
    parameters: Float32Array,
    gradient: Float32Array,
    first: Float32Array,
    second: Float32Array,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    weightDecay: number,
    t: number,
  ): void;
  halves(parameters: Float32Array, out: Uint16Array): void;
}>();

/** A place of `index` or `candidates` where there is nothing. */
export const MASKED = 0xffffffff;

/** How neighbours are weighed: learned attention, or the edges' weights as they are. */
export type Propagation = "attention" | "linear";

export interface NetworkShape {
  /** d, at least 1. */
  dimensions: number;
  /** H: values of a message, a query, a key; a multiple of `heads`. Not used by linear propagation. */
  hidden: number;
  /** m, at least 1. */
  heads: number;
  propagation: Propagation;
  metric: Metric;
  /** Most that a layer may change a vector, relative to its length; greater than 0, Infinity for no bound. */
  bound: number;
}

/** Float32Array in production; Float64Array in checks. All arrays of one call are of one kind. */
type Floats = Float32Array | Float64Array;

export interface TrainingLayer<F extends Floats = Float32Array> {
  /** `parameterCount` values. */
  parameters: F;
  /** P x d: what neighbours are before this layer; constants. */
  pool: F;
  /** B x N pool rows, or MASKED. An anchor without any stays as it is in this layer. */
  index: Uint32Array;
  /** B x N logarithms of edge weights, at most 0; minus infinity counts as MASKED. */
  logWeights: F;
  /** Out: dL/dparameters. */
  gradient: F;
  /** Out: dL/dlogWeights, B x N. */
  gradientLogWeights: F;
}

export interface TrainingInput<F extends Floats = Float32Array> {
  /** B x d; unit vectors under cosine. */
  x: F;
  layers: TrainingLayer<F>[];
  /** R x d: what is scored; constants. */
  rows: F;
  /** B x C numbers of rows, or MASKED. */
  candidates: Uint32Array;
  /** B: so many of an anchor's first places are positives. */
  positives: Uint32Array;
  /** B x C: weights of the positives, which add up to 1 for each anchor; the others are not read. */
  weights: F;
  /** Scores are divided by it: temperature times the metric's scale. */
  divisor: number;
  /** Leaves the positive out of its own denominator. */
  decoupled: boolean;
  /** Share of the attention's output that is dropped, from 0 to below 1. */
  dropout: number;
  /** Of the dropout, u32. */
  seed: number;
  /** Out: B losses. */
  losses: F;
  /** Out, where given: dL/dx, B x d. */
  gradientX?: F;
}

export interface Network {
  /** Values of a layer's parameters. */
  readonly parameterCount: number;

  /**
   * What neighbours say in one layer: keys, then values. Depends on parameters and rows only, so callers keep it.
   * @param pool P x d
   * @param out P x `stateWidth(shape)`
   */
  keysAndValues<F extends Floats>(parameters: F | Uint16Array, pool: F, out: F): void;

  /**
   * One layer for B anchors. Parameters may be halves (see `halvesOf`). With the gate at 0, or without neighbours, y is x bit for bit.
   * Allocates nothing once it has seen as large a call.
   * @param x B x d
   * @param states S x `stateWidth(shape)`, from `keysAndValues`
   * @param index B x N numbers of states, or MASKED
   * @param logWeights B x N, at most 0
   * @param y out: B x d; may be x
   * @param attention out: B x m x N (B x N under linear propagation); sums to 1 over N, or is 0
   */
  attend<F extends Floats>(
    parameters: F | Uint16Array,
    x: F,
    states: F,
    index: Uint32Array,
    logWeights: F,
    y: F,
    attention: F,
  ): void;

  /**
   * Losses and gradients of one batch, on this thread and `threads` - 1 others (all cores by default).
   * Gradients are sums over anchors, and overwrite what was there. An anchor whose loss, or whose change
   * in any layer, is not finite adds nothing.
   * @returns how many such anchors there were
   */
  step<F extends Floats>(input: TrainingInput<F>, threads?: number): number;

  /** As `step`, in the background. The arrays must neither change nor be transferred until it has resolved. */
  stepAsync<F extends Floats>(input: TrainingInput<F>, threads?: number): Promise<number>;
}

const METRIC_NUMBERS: Readonly<Record<Metric, number>> = { cosine: 0, l2: 1, dot: 2 };

/** @throws {RangeError} where the sizes do not fit together */
export function createNetwork(shape: NetworkShape): Network {
  const { dimensions, hidden, heads, propagation, metric, bound } = shape;
  for (const [name, value] of Object.entries({ dimensions, hidden, heads })) {
    if (!Number.isInteger(value) || value < 1 || value > 65_536)
      throw new RangeError(`${name} is ${value}; expected an integer from 1 to 65536`);
  }
  if (hidden % heads !== 0)
    throw new RangeError(`hidden is ${hidden}; expected a multiple of heads, which is ${heads}`);
  if (!(bound > 0)) throw new RangeError(`bound is ${bound}; expected a number above 0, Infinity for none`);
  return new addon.Network(dimensions, hidden, heads, propagation === "linear", METRIC_NUMBERS[metric], bound);
}

/** Values that `keysAndValues` gives a row: 2 H, or under linear propagation d (the row itself). */
export function stateWidth(shape: NetworkShape): number {
  return shape.propagation === "linear" ? shape.dimensions : 2 * shape.hidden;
}

/**
 * Parameters in half precision (IEEE, to nearest; cut off at +-65504), for serving in single precision only. One query through
 * a wide layer waits for its parameters to come from memory; halves come twice as fast. Results are
 * bit for bit those of the halves widened, and so not quite those of `parameters`.
 */
export function halvesOf(parameters: Float32Array): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(parameters.length);
  addon.halves(parameters, out);
  return out;
}

/** beta1 and beta2 of Adam, and what keeps its divisor above 0, as in its paper. */
export const BETA1 = 0.9;
export const BETA2 = 0.999;
export const EPSILON = 1e-8;

export interface AdamSettings {
  learningRate: number;
  /** Decay of the first moments, .9 by default. */
  beta1?: number;
  /** Decay of the second moments, .999 by default. */
  beta2?: number;
  /** 1e-8 by default. */
  epsilon?: number;
  /** Decoupled from the gradient (AdamW); 0 by default, which is Adam. */
  weightDecay?: number;
}

/**
 * One step of Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019), in place, with corrected bias.
 * @param first and `second`: the moments, zeros before the first step
 * @param t number of this step, from 1 on
 */
export function adam(
  parameters: Float32Array,
  gradient: Float32Array,
  first: Float32Array,
  second: Float32Array,
  t: number,
  { learningRate, beta1 = BETA1, beta2 = BETA2, epsilon = EPSILON, weightDecay = 0 }: AdamSettings,
): void {
  addon.adam(parameters, gradient, first, second, learningRate, beta1, beta2, epsilon, weightDecay, t);
}
