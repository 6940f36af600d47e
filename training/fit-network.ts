/**
 * Fits the attention network by InfoNCE: queries as the adapter turns them go through the layers, hear what is
 * near them, and have to find what was chosen among negatives. Gradients flow through a query's own layers, and into
 * the weights of the edges to what it hears; what it hears is constant within an epoch, as nodes' states are in
 * serving.
 *
 * Beside queries, some chosen documents ask themselves (self-supervision): each hears its neighbours in the graph, as
 * it does in serving, and has to find documents that were chosen with it, and neighbours that it does not hear. Only
 * they tell what an edge of the graph is worth.
 */
import { Prng } from "../base/prng.js";
import { initialParameters } from "../model/gnn/parameters.js";
import { createNetwork, MASKED, type NetworkShape, type TrainingLayer } from "../native/gnn.js";
import { HEARD } from "./corpus.js";
import { type Asked, chosenPlaces, type Example, Sampler } from "./examples.js";
import { type FitContext, HARD_SHARE, lossSettings } from "./fit.js";
import { EdgeFit, type Hearing } from "./fit-edges.js";
import { DECAY, MOMENTS, type Optimizer, optimizerStep } from "./optimizer.js";
import { type NetworkWeights, Propagator } from "./propagator.js";
import { Relatives } from "./relatives.js";

export interface NetworkSettings {
  shape: NetworkShape;
  layers: number;
  /** Share of a layer's context that is dropped while training. */
  dropout: number;
  optimizer: Optimizer;
  /** The optimizer's. */
  rate: number;
  epochs: number;
  /** Whether queries go through the graph's layers from coarse to fine. */
  hierarchical: boolean;
  /** Share of the loss that documents make which ask themselves. */
  selfSupervision: number;
}

/** Events in one step. */
const BATCH_EVENTS = 32;
/** Documents that ask themselves in one step, as a share of the events. */
const OWN_ANCHORS = 1 / 4;
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
  const { shape, hierarchical, selfSupervision } = settings;
  const { dimensions: d } = shape;
  const network = createNetwork(shape);
  const seed = new Prng(prng.below(2 ** 32));
  const edges = new EdgeFit(context, settings.rate);
  const weights: NetworkWeights = {
    shape,
    layers: Array.from({ length: settings.layers }, () => initialParameters(shape, seed)),
    ...{ edges: edges.scalars, hierarchical, biases: edges.biases.rows },
  };
  const { optimizer, rate } = settings;
  const moments = weights.layers.map(({ length }) => new Float32Array(MOMENTS[optimizer] * length));
  const gates = weights.layers.map(() => new Float32Array(MOMENTS[optimizer]));
  const gradients = weights.layers.map(({ length }) => new Float32Array(length));
  const others = chosenPlaces(examples);
  const relatives = selfSupervision > 0 ? new Relatives(context, examples) : undefined;
  const sampler = new Sampler(pool, prng);
  pool.loadNew();
  const rows = new Float32Array(pool.rows.length * d);
  for (const [i, row] of pool.rows.entries()) rows.set(row, i * d);
  const positives = [...examples, ...(relatives?.examples ?? [])].map((example) => example.positives.length);
  const most = positives.reduce((max, count) => Math.max(max, count), 1) + options.negatives;
  const loss = lossSettings(corpus.metric, options, scales);
  const order = examples.map((_, i) => i);
  const gateAt = network.parameterCount - 1;
  let steps = 0;
  for (let epoch = 0; epoch < settings.epochs; epoch++) {
    const propagator = new Propagator(network, weights, corpus, scales.score);
    prng.shuffle(order);
    for (let at = 0; at < order.length; at += BATCH_EVENTS) {
      const batch = order.slice(at, at + BATCH_EVENTS);
      const own = relatives?.draw(Math.ceil(batch.length * OWN_ANCHORS)) ?? [];
      const anchors = batch.length + own.length;
      const x = new Float32Array(anchors * d);
      const candidates = new Uint32Array(anchors * most).fill(MASKED);
      const shares = new Float32Array(anchors * most);
      const places = new Int32Array(most);
      const ownShare = (selfSupervision / (1 - selfSupervision)) * (batch.length / own.length);
      const hearings: Hearing[][] = weights.layers.map(() => []);
      const ask = (b: number, example: Asked, query: Float32Array, hardShare: number, share: number) => {
        x.set(query, b * d);
        const count = sampler.draw(example, others, hardShare, options.negatives, places);
        candidates.set(places.subarray(0, count), b * most);
        shares.set(share === 1 ? example.weights : example.weights.map((weight) => weight * share), b * most);
      };
      batch.forEach((i, b) => {
        ask(b, examples[i]!, queries[i]!, HARD_SHARE, 1);
        for (const [layer, heard] of hearings.entries()) {
          const nodes = propagator.heardIn(layer, queries[i]!, near[i]!);
          const scores = corpus.scores(queries[i]!, nodes);
          heard[b] = { nodes, scores, weights: propagator.heardBy(scores) };
        }
      });
      const around = corpus.neighbourhoods(Uint32Array.from(own, ({ node }) => node));
      own.forEach(({ node, example }, i) => {
        const { nodes, scores, structural } = around[i]!;
        const heard = { node, nodes, scores, structural, weights: propagator.weightsIn(node, around[i]!) };
        ask(batch.length + i, example, example.query, 0, ownShare);
        for (const layer of hearings) layer[batch.length + i] = heard;
      });
      const layers = weights.layers.map((parameters, layer): TrainingLayer => {
        const union = Uint32Array.from(new Set(hearings[layer]!.flatMap(({ nodes }) => Array.from(nodes))));
        const placeOf = new Map(Array.from(union, (node, i) => [node, i]));
        const index = new Uint32Array(anchors * HEARD).fill(MASKED);
        const logWeights = new Float32Array(index.length);
        hearings[layer]!.forEach(({ nodes, weights: heard }, b) => {
          nodes.forEach((node, j) => {
            index[b * HEARD + j] = placeOf.get(node)!;
            logWeights[b * HEARD + j] = Math.log(heard[j]!);
          });
        });
        const gradientLogWeights = new Float32Array(index.length);
        const states = propagator.states(layer, union);
        return { parameters, pool: states, index, logWeights, gradient: gradients[layer]!, gradientLogWeights };
      });
      context.skippedSteps += await network.stepAsync({
        x,
        layers,
        rows,
        candidates,
        positives: Uint32Array.from(
          [...batch.map((i) => examples[i]!), ...own.map((o) => o.example)],
          (example) => example.positives.length,
        ),
        weights: shares,
        divisor: loss.divisor,
        decoupled: options.decoupled,
        dropout: settings.dropout,
        seed: prng.below(2 ** 32),
        losses: new Float32Array(anchors),
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
      const toLogWeights = layers.map(({ gradientLogWeights }) => gradientLogWeights);
      edges.step(hearings, toLogWeights, 1 / batch.length);
      await breathe();
    }
  }
  return { ...weights, ...edges.storable() };
}
