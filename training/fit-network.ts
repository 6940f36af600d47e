/**
 * Fits the attention network by InfoNCE: queries as the adapter turns them go through the layers, hear what is
 * near them, and have to find what was chosen among negatives. Gradients flow through a query's own layers;
 * what it hears is constant within an epoch, as nodes' states are in serving.
 */
import { Prng } from "../base/prng.js";
import { initialParameters } from "../model/gnn/parameters.js";
import { createNetwork, MASKED, type NetworkShape, type TrainingLayer } from "../native/gnn.js";
import { chosenPlaces, type Example, Sampler } from "./examples.js";
import { type FitContext, lossSettings } from "./fit.js";
import { DECAY, MOMENTS, type Optimizer, optimizerStep } from "./optimizer.js";
import { HEARD_BY_QUERY, type NetworkWeights, Propagator } from "./propagator.js";

export interface NetworkSettings {
  shape: NetworkShape;
  layers: number;
  /** Share of a layer's context that is dropped while training. */
  dropout: number;
  optimizer: Optimizer;
  /** The optimizer's. */
  rate: number;
  epochs: number;
}

/** Events in one step. */
const BATCH_EVENTS = 32;
/** The layers' gates learn faster than the matrices behind them: they are all that decides whether those are heard. */
const GATE_RATE = 10;

/**
 * @param queries one per example, as the network gets them
 * @param near what the static search finds for each
 * @param breathe awaited between steps; throws to stop
 */
export async function fitNetwork(
  context: FitContext,
  settings: NetworkSettings,
  examples: readonly Example[],
  queries: readonly Float32Array[],
  near: readonly Uint32Array[],
  breathe: () => Promise<void>,
): Promise<NetworkWeights> {
  const { corpus, pool, options, scales, prng } = context;
  const { shape } = settings;
  const { dimensions: d } = shape;
  const network = createNetwork(shape);
  const seed = new Prng(prng.below(2 ** 32));
  const weights: NetworkWeights = {
    shape,
    layers: Array.from({ length: settings.layers }, () => initialParameters(shape, seed)),
  };
  const { optimizer, rate } = settings;
  const moments = weights.layers.map(({ length }) => new Float32Array(MOMENTS[optimizer] * length));
  const gates = weights.layers.map(() => new Float32Array(MOMENTS[optimizer]));
  const gradients = weights.layers.map(({ length }) => new Float32Array(length));
  const others = chosenPlaces(examples);
  const sampler = new Sampler(pool, prng);
  const rows = new Float32Array(pool.rows.length * d);
  for (const [i, row] of pool.rows.entries()) rows.set(row, i * d);
  const most = examples.reduce((max, { positives }) => Math.max(max, positives.length), 1) + options.negatives;
  const loss = lossSettings(corpus.metric, options, scales);
  const order = examples.map((_, i) => i);
  const gateAt = network.parameterCount - 1;
  let steps = 0;
  for (let epoch = 0; epoch < settings.epochs; epoch++) {
    const propagator = new Propagator(network, weights, corpus, scales.score);
    prng.shuffle(order);
    for (let at = 0; at < order.length; at += BATCH_EVENTS) {
      const batch = order.slice(at, at + BATCH_EVENTS);
      const x = new Float32Array(batch.length * d);
      const candidates = new Uint32Array(batch.length * most).fill(MASKED);
      const shares = new Float32Array(batch.length * most);
      const places = new Int32Array(most);
      const heard = batch.map((i) => near[i]!.slice(0, HEARD_BY_QUERY));
      const union = Uint32Array.from(new Set(heard.flatMap((nodes) => Array.from(nodes))));
      const placeOf = new Map(Array.from(union, (node, i) => [node, i]));
      const index = new Uint32Array(batch.length * HEARD_BY_QUERY).fill(MASKED);
      const logWeights = new Float32Array(index.length);
      batch.forEach((i, b) => {
        const example = examples[i]!;
        x.set(queries[i]!, b * d);
        const count = sampler.draw(example, others, HARD_SHARE, options.negatives, places);
        candidates.set(places.subarray(0, count), b * most);
        shares.set(example.weights, b * most);
        const weight = propagator.heardBy(queries[i]!, heard[b]!);
        heard[b]!.forEach((node, j) => {
          index[b * HEARD_BY_QUERY + j] = placeOf.get(node)!;
          logWeights[b * HEARD_BY_QUERY + j] = weight[j]!;
        });
      });
      const layers: TrainingLayer[] = weights.layers.map((parameters, layer) => ({
        parameters,
        pool: propagator.states(layer, union),
        index,
        logWeights,
        gradient: gradients[layer]!,
        gradientLogWeights: new Float32Array(index.length),
      }));
      context.skippedSteps += await network.stepAsync({
        x,
        layers,
        rows,
        candidates,
        positives: Uint32Array.from(batch, (i) => examples[i]!.positives.length),
        weights: shares,
        divisor: loss.divisor,
        decoupled: options.decoupled,
        dropout: settings.dropout,
        seed: prng.below(2 ** 32),
        losses: new Float32Array(batch.length),
      });
      steps++;
      weights.layers.forEach((parameters, layer) => {
        const gradient = gradients[layer]!;
        for (let i = 0; i < gradient.length; i++) gradient[i] = gradient[i]! / batch.length;
        const gate = parameters.slice(gateAt);
        optimizerStep(gate, gradient.slice(gateAt), gates[layer]!, steps, {
          optimizer,
          rate: rate * GATE_RATE,
          weightDecay: 0,
        });
        optimizerStep(parameters, gradient, moments[layer]!, steps, {
          optimizer,
          rate,
          weightDecay: optimizer === "adamw" ? DECAY : 0,
        });
        parameters.set(gate, gateAt);
      });
      await breathe();
    }
  }
  return weights;
}

/** As for shifts: half of the negatives are what the query has to tell from what was chosen. */
const HARD_SHARE = 0.5;
