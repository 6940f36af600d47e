/**
 * One step of an optimizer on one array of parameters, with what it remembers of it beside it: of the network's
 * layers in `train`, and of rows' shifts in `index.gradients`. Arrays are of one length and change in place; nothing
 * becomes infinite where no value of the gradient is beyond 1e18.
 *
 * Steps count from 1 for each array on its own: an array that seldom has a gradient has its averages
 * corrected for the steps that it took itself (the lazy form of Adam for sparse gradients).
 */
import { adam } from "../native/gnn.js";

export const OPTIMIZERS = ["adamw", "adam", "sgd"] as const;
export type Optimizer = (typeof OPTIMIZERS)[number];

/** Arrays of the parameters' length that an optimizer remembers. */
export const MOMENTS: Readonly<Record<Optimizer, 1 | 2>> = { adamw: 2, adam: 2, sgd: 1 };

/** Of SGD. */
export const MOMENTUM = 0.9;
/** Of AdamW, as its authors' and most other implementations have it. The others have none unless they are asked to. */
export const DECAY = 0.01;

/** Most that a value of a gradient may be: squares of more, and sums of those, do not fit into f32. */
export const MOST_GRADIENT = 1e18;

export interface StepSettings {
  optimizer: Optimizer;
  /** Length of the step, above 0. */
  rate: number;
  /**
   * Pull towards 0, 0 or more. `adamw`: p <- (1 - rate decay) p before the step. The others: decay p is added to the
   * gradient.
   */
  weightDecay: number;
}

/**
 * The step that `settings` ask for: Adam (Kingma & Ba 2015, algorithm 1); AdamW, whose decay is beside the step
 * (Loshchilov & Hutter 2019, algorithm 2); or gradient descent with momentum (Polyak 1964), the rate outside of what
 * is remembered: b <- momentum b + g + decay p;  p <- p - rate b.
 * @param moments `MOMENTS[optimizer]` arrays of the parameters' length, one after the other; zeros before the first
 *   step
 * @param step 1 for the first
 */
export function optimizerStep(
  parameters: Float32Array,
  gradient: Float32Array,
  moments: Float32Array,
  step: number,
  { optimizer, rate, weightDecay }: StepSettings,
): void {
  const d = parameters.length;
  const within = optimizer === "adamw" ? 0 : weightDecay;
  const pulled = within === 0 ? gradient : gradient.map((g, i) => g + within * parameters[i]!);
  if (optimizer !== "sgd") {
    adam(parameters, pulled, moments.subarray(0, d), moments.subarray(d, 2 * d), step, {
      learningRate: rate,
      weightDecay: weightDecay - within,
    });
    return;
  }
  for (let i = 0; i < d; i++) {
    const b = MOMENTUM * moments[i]! + pulled[i]!;
    moments[i] = b;
    parameters[i] = parameters[i]! - rate * b;
  }
}
