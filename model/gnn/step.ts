/**
 * A whole training step, anchor after anchor: the scalar reference of `Network.step` (native/gnn.ts has the shapes).
 */
import { MASKED, type NetworkShape, type TrainingInput } from "../../native/gnn.js";
import { axpy, type Floats, score } from "../scoring.js";
import { dropoutFactor } from "./dropout.js";
import { layerBackward, layerForward, type Neighbourhood, zeros } from "./layer.js";

/** A loss over logits, the first `positives` of `count` belonging to positives; training/infonce.ts. */
export type CandidateLoss = (
  logits: Floats,
  weights: Floats,
  positives: number,
  count: number,
  gradient: Floats,
  decoupled: boolean,
) => number;

/**
 * Losses and gradients into `input`'s arrays. Each anchor walks through all layers, is scored against its
 * candidates, score / divisor being the logit, and walks back. What the positives' gradients and the
 * negatives' do to y: the row itself, or 2 (row - y) under l2, times dL/dscore.
 * @returns how many anchors were left out because their loss or a change was not finite
 */
export function referenceStep<F extends Floats>(
  shape: NetworkShape,
  input: TrainingInput<F>,
  candidateLoss: CandidateLoss,
): number {
  const { dimensions: d, metric } = shape;
  const { x, layers, rows, candidates, positives, weights, divisor, decoupled, dropout, seed, losses, gradientX } =
    input;
  const anchors = x.length / d;
  const places = candidates.length / anchors;
  for (const layer of layers) {
    layer.gradient.fill(0);
    layer.gradientLogWeights.fill(0);
  }
  gradientX?.fill(0);
  let lost = 0;
  for (let b = 0; b < anchors; b++) {
    const own = x.subarray(b * d, (b + 1) * d);
    const around = layers.map(({ pool, index, logWeights }, l): Neighbourhood => {
      const n = index.length / anchors;
      return {
        pool,
        index: index.subarray(b * n, (b + 1) * n),
        logWeights: logWeights.subarray(b * n, (b + 1) * n),
        keep: (position) => dropoutFactor(dropout, seed, l, b, position),
      };
    });
    const inputs: Floats[] = [own];
    const traces = layers.map(({ parameters }, l) => {
      const trace = layerForward(shape, parameters, inputs[l]!, around[l]!);
      inputs.push(trace.y);
      return trace;
    });
    const y = inputs[layers.length]!;

    const scored = Array.from(candidates.subarray(b * places, (b + 1) * places).entries()).filter(
      ([, row]) => row !== MASKED,
    );
    const rowAt = (row: number) => rows.subarray(row * d, (row + 1) * d);
    const first = scored.filter(([place]) => place < positives[b]!);
    const logits = zeros(x, scored.length);
    logits.set(scored.map(([, row]) => score(metric, y, rowAt(row)) / divisor));
    const shares = zeros(x, first.length);
    shares.set(first.map(([place]) => weights[b * places + place]!));
    const toLogits = zeros(x, scored.length);
    losses[b] = candidateLoss(logits, shares, first.length, scored.length, toLogits, decoupled);
    if (!Number.isFinite(losses[b]!) || traces.some((trace) => !Number.isFinite(trace.lengthChange))) {
      lost++;
      continue;
    }

    let toY = zeros(x, d);
    scored.forEach(([, row], i) => {
      const toScore = toLogits[i]! / divisor;
      axpy(metric === "l2" ? 2 * toScore : toScore, rowAt(row), toY);
      if (metric === "l2") axpy(-2 * toScore, y, toY);
    });
    for (let l = layers.length; l-- > 0; ) {
      const { parameters, gradient, gradientLogWeights, index } = layers[l]!;
      const n = index.length / anchors;
      const toLogWeights = gradientLogWeights.subarray(b * n, (b + 1) * n);
      toY = layerBackward(shape, parameters, inputs[l]!, around[l]!, traces[l]!, toY, gradient, toLogWeights);
    }
    gradientX?.set(toY, b * d);
  }
  return lost;
}
