/**
 * One step of gradient descent on one array of parameters, with what the optimizer remembers of it
 * beside it. Plain functions over typed arrays of one length, changed in place; each value is computed
 * in f64 and rounded once to what the array holds. After a step nothing is infinite where the
 * gradient was not.
 *
 * Steps count from 1 for each array on its own: an array that seldom has a gradient has its averages
 * corrected for the steps that it took itself (the lazy form of Adam for sparse gradients).
 */
import type { Floats } from "../model/scoring.js";

export const OPTIMIZERS = ["adamw", "adam", "sgd"] as const;
export type Optimizer = (typeof OPTIMIZERS)[number];

/** Arrays of the parameters' length that an optimizer remembers. */
export const MOMENTS: Readonly<Record<Optimizer, 1 | 2>> = { adamw: 2, adam: 2, sgd: 1 };

/** beta1 and beta2 of Adam, and what keeps its divisor above 0, as in its paper; the momentum of SGD. */
export const BETA1 = 0.9;
export const BETA2 = 0.999;
export const EPSILON = 1e-8;
export const MOMENTUM = 0.9;

const MOST_F32 = 3.4028234663852886e38;

export interface StepSettings {
  optimizer: Optimizer;
  /** Length of the step, above 0. */
  rate: number;
  /** Pull towards 0, 0 or more. `adamw`: p <- (1 - rate decay) p before the step. The others: decay p is added to the gradient. */
  weightDecay: number;
}

/**
 * Adam (Kingma & Ba 2015, algorithm 1), with decay beside the step as AdamW has it (Loshchilov &
 * Hutter 2019, algorithm 2), or within the gradient.
 *
 *   m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
 *   p <- p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * @param first m, zeros before the first step
 * @param second v, zeros before the first step; what f32 cannot hold is its greatest value
 * @param step t: 1 for the first
 * @param decoupled AdamW
 */
export function adamStep(
  parameters: Floats,
  gradient: Floats,
  first: Floats,
  second: Floats,
  step: number,
  rate: number,
  weightDecay: number,
  decoupled: boolean,
): void {
  const byFirst = 1 / (1 - BETA1 ** step);
  const bySecond = 1 / (1 - BETA2 ** step);
  const keep = decoupled ? 1 - rate * weightDecay : 1;
  const within = decoupled ? 0 : weightDecay;
  for (let i = 0; i < parameters.length; i++) {
    const p = parameters[i]!;
    const g = gradient[i]! + within * p;
    const m = BETA1 * first[i]! + (1 - BETA1) * g;
    const v = Math.min(BETA2 * second[i]! + (1 - BETA2) * g * g, MOST_F32);
    first[i] = m;
    second[i] = v;
    parameters[i] = keep * p - (rate * m * byFirst) / (Math.sqrt(v * bySecond) + EPSILON);
  }
}

/**
 * Gradient descent with momentum (Polyak 1964), the rate outside of what is remembered:
 *
 *   b <- momentum b + g + decay p;  p <- p - rate b
 *
 * @param momentum b, zeros before the first step
 */
export function sgdStep(
  parameters: Floats,
  gradient: Floats,
  momentum: Floats,
  rate: number,
  weightDecay: number,
): void {
  for (let i = 0; i < parameters.length; i++) {
    const p = parameters[i]!;
    const b = MOMENTUM * momentum[i]! + gradient[i]! + weightDecay * p;
    momentum[i] = b;
    parameters[i] = p - rate * b;
  }
}

/**
 * The step that `settings` ask for.
 * @param moments `MOMENTS[optimizer]` arrays of the parameters' length, one after the other
 * @param step 1 for the first
 */
export function optimizerStep(
  parameters: Floats,
  gradient: Floats,
  moments: Floats,
  step: number,
  { optimizer, rate, weightDecay }: StepSettings,
): void {
  const d = parameters.length;
  if (optimizer === "sgd") {
    sgdStep(parameters, gradient, moments, rate, weightDecay);
    return;
  }
  const [first, second] = [moments.subarray(0, d), moments.subarray(d, 2 * d)];
  adamStep(parameters, gradient, first, second, step, rate, weightDecay, optimizer === "adamw");
}
