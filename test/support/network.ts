/** Random training steps of the message-passing network, for its golden tests. */
import fc from "fast-check";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { layoutOf, parameterCount } from "../../model/gnn/parameters.js";
import { type Floats, normalize } from "../../model/scoring.js";
import { MASKED, type NetworkShape, type Propagation, type TrainingInput } from "../../native/gnn.js";

export interface Case {
  propagation: Propagation;
  metric: Metric;
  d: number;
  each: number;
  heads: number;
  layers: number;
  anchors: number;
  /** Places for neighbours. */
  places: number;
  /** Share of places that are masked; 1: all. */
  masked: number;
  positives: number;
  negatives: number;
  bound: number;
  dropout: number;
  decoupled: boolean;
  /** What every layer's gate is multiplied by. */
  gate: number;
  seed: number;
}

const among = <T>(...values: T[]) => fc.constantFrom(...values);

/** Shapes from 1 dimension on, with and without neighbours, negatives, a bound that bites, dropout. */
export const cases = fc
  .record<Case>({
    propagation: among<Propagation>("attention", "attention", "attention", "linear"),
    metric: among(...METRICS),
    d: fc.integer({ min: 1, max: 12 }),
    each: fc.integer({ min: 1, max: 8 }),
    heads: fc.integer({ min: 1, max: 4 }),
    layers: fc.integer({ min: 0, max: 3 }),
    anchors: fc.integer({ min: 1, max: 4 }),
    places: fc.integer({ min: 0, max: 5 }),
    masked: among(0, 0, 0.4, 1),
    positives: fc.integer({ min: 0, max: 3 }),
    negatives: fc.integer({ min: 0, max: 5 }),
    bound: among(Number.POSITIVE_INFINITY, 0.2, 0.7, 1.5),
    dropout: among(0, 0, 0.3, 0.6),
    decoupled: fc.boolean(),
    gate: among(1, 1, 1, -0.6, 0),
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
  })
  .map((c) => (c.heads * c.each > 8 ? { ...c, each: Math.max(1, Math.floor(8 / c.heads)) } : c));

/** A case's network and a step of it, in the given precision; under cosine, anchors and rows are unit vectors. */
export function sceneOf<F extends Floats>(c: Case, kind: { new (length: number): F }) {
  const { propagation, metric, d, heads, each, anchors, bound, dropout, decoupled } = c;
  const shape: NetworkShape = { dimensions: d, hidden: heads * each, heads, propagation, metric, bound };
  const prng = new Prng(c.seed);
  const filled = (n: number, value: () => number): F => {
    const out = new kind(n);
    for (let i = 0; i < n; i++) out[i] = value();
    return out;
  };
  const vectors = (n: number): F => {
    const out = filled(n * d, () => prng.gaussian());
    if (metric === "cosine") for (let i = 0; i < n; i++) normalize(out.subarray(i * d, (i + 1) * d));
    return out;
  };
  const choose = (n: number, rows: number, masked: number) =>
    Uint32Array.from({ length: n }, () => (prng.next() < masked ? MASKED : prng.below(rows)));

  const layout = layoutOf(shape);
  const layers = Array.from({ length: c.layers }, () => {
    // Wider than a fresh layer, so that no part of it is nearly linear, and every bias counts.
    const parameters = filled(parameterCount(shape), () => 0.6 * prng.gaussian());
    parameters[layout.g.offset] = c.gate * (0.3 + prng.next());
    const poolRows = 1 + prng.below(6);
    const index = choose(anchors * c.places, poolRows, c.masked);
    const logWeights = filled(index.length, () => -2 * prng.next());
    return {
      ...{ parameters, pool: vectors(poolRows), index, logWeights },
      ...{ gradient: new kind(parameters.length), gradientLogWeights: new kind(index.length) },
    };
  });
  const places = c.positives + c.negatives;
  const rows = vectors(1 + prng.below(8));
  const weights = filled(anchors * places, () => 0.1 + prng.next());
  const positives = Uint32Array.from({ length: anchors }, () => c.positives);
  const candidates = choose(anchors * places, rows.length / d, 0.2);
  for (let b = 0; b < anchors; b++) {
    const own = weights.subarray(b * places, b * places + c.positives);
    let sum = 0;
    for (const weight of own) sum += weight;
    for (let p = 0; p < own.length; p++) own[p] = own[p]! / sum;
  }
  const input: TrainingInput<F> = {
    ...{ x: vectors(anchors), layers, rows, candidates, positives, weights, divisor: 0.4 + prng.next() },
    ...{ decoupled, dropout, seed: prng.uint32(), losses: new kind(anchors), gradientX: new kind(anchors * d) },
  };
  return { shape, input, layout, prng };
}

/** Everything that a step writes, under a name for each. */
export function outputs(input: TrainingInput<Floats>): [string, Floats][] {
  return [
    ["losses", input.losses],
    ["gradientX", input.gradientX ?? new Float64Array(0)],
    ...input.layers.flatMap(({ gradient, gradientLogWeights }, l): [string, Floats][] => [
      [`layer ${l}: gradient`, gradient],
      [`layer ${l}: gradientLogWeights`, gradientLogWeights],
    ]),
  ];
}

/** The same step with outputs of its own. */
export function twin<F extends Floats>(input: TrainingInput<F>): TrainingInput<F> {
  const room = (like: F) => like.slice().fill(0) as F;
  return {
    ...input,
    layers: input.layers.map((layer) => ({
      ...layer,
      gradient: room(layer.gradient),
      gradientLogWeights: room(layer.gradientLogWeights),
    })),
    losses: room(input.losses),
    ...(input.gradientX && { gradientX: room(input.gradientX) }),
  };
}

/** Largest distance of two results, relative to the largest value of the second (at least 1); NaN where one is NaN. */
export function distance(values: Floats, wanted: Floats): number {
  if (values.length !== wanted.length) throw new Error("results of different lengths");
  let scale = 1;
  let most = 0;
  for (const value of wanted) scale = Math.max(scale, Math.abs(value));
  for (let i = 0; i < wanted.length; i++) most = Math.max(most, Math.abs(values[i]! - wanted[i]!));
  return most / scale;
}
