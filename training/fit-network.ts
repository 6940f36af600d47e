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
import { createNetwork, MASKED, type Network, type NetworkShape, type TrainingLayer } from "../native/gnn.js";
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
  const fit = new NetworkFit(context, settings, examples);
  const asking = examples.map((example, i) => ({ example, query: queries[i]!, near: near[i]! }));
  for (let epoch = 0; epoch < settings.epochs; epoch++) {
    const propagator = fit.propagator();
    context.prng.shuffle(asking);
    for (let at = 0; at < asking.length; at += BATCH_EVENTS) {
      await fit.step(asking.slice(at, at + BATCH_EVENTS), propagator);
      await breathe();
    }
  }
  return fit.result;
}

/** An event that asks. */
interface Asking {
  example: Example;
  query: Float32Array;
  near: Uint32Array;
}

/** Who asks in one step, what each has to find, and among what. */
interface Anchors {
  count: number;
  /** count x d */
  x: Float32Array;
  /** count x most places in the pool, positives first, or MASKED; and how much of the loss each positive is. */
  candidates: Uint32Array;
  shares: Float32Array;
  /** By layer, then anchor. */
  hearings: Hearing[][];
}

class NetworkFit {
  private readonly network: Network;
  private readonly weights: NetworkWeights;
  private readonly edges: EdgeFit;
  /** By layer: what the optimizer remembers, of the gate apart, and the gradient of the step under way. */
  private readonly moments: Float32Array[];
  private readonly gates: Float32Array[];
  private readonly gradients: Float32Array[];
  private readonly others: ReturnType<typeof chosenPlaces>;
  private readonly relatives: Relatives | undefined;
  private readonly sampler: Sampler;
  /** The pool's rows, one after the other. */
  private readonly rows: Float32Array;
  /** Candidates of an anchor, at most. */
  private readonly most: number;
  private readonly divisor: number;
  private steps = 0;

  constructor(
    private readonly context: FitContext,
    private readonly settings: NetworkSettings,
    examples: readonly Example[],
  ) {
    const { corpus, pool, options, scales, prng } = context;
    const { shape, hierarchical, optimizer } = settings;
    this.network = createNetwork(shape);
    const seed = new Prng(prng.below(2 ** 32));
    this.edges = new EdgeFit(context, settings.rate);
    this.weights = {
      shape,
      layers: Array.from({ length: settings.layers }, () => initialParameters(shape, seed)),
      ...{ edges: this.edges.scalars, hierarchical, biases: this.edges.biases.rows },
    };
    this.moments = this.weights.layers.map(({ length }) => new Float32Array(MOMENTS[optimizer] * length));
    this.gates = this.weights.layers.map(() => new Float32Array(MOMENTS[optimizer]));
    this.gradients = this.weights.layers.map(({ length }) => new Float32Array(length));
    this.others = chosenPlaces(examples);
    this.relatives = settings.selfSupervision > 0 ? new Relatives(context, examples) : undefined;
    this.sampler = new Sampler(pool, prng);
    pool.loadNew();
    this.rows = new Float32Array(pool.rows.length * shape.dimensions);
    for (const [i, row] of pool.rows.entries()) this.rows.set(row, i * shape.dimensions);
    const positives = [...examples, ...(this.relatives?.examples ?? [])].map((example) => example.positives.length);
    this.most = positives.reduce((max, count) => Math.max(max, count), 1) + options.negatives;
    this.divisor = lossSettings(corpus.metric, options, scales).divisor;
  }

  get result(): NetworkWeights {
    return { ...this.weights, ...this.edges.storable() };
  }

  /** States of nodes as they are now. */
  propagator(): Propagator {
    return new Propagator(this.network, this.weights, this.context.corpus, this.context.scales.score);
  }

  /** One step of all that is fitted, by these events and the documents that ask themselves beside them. */
  async step(batch: readonly Asking[], propagator: Propagator): Promise<void> {
    const { context, settings, gradients } = this;
    const own = this.relatives?.draw(Math.ceil(batch.length * OWN_ANCHORS)) ?? [];
    const anchors = this.anchors(batch, own, propagator);
    const layers = this.weights.layers.map((parameters, layer): TrainingLayer => {
      const heard = heardBy(anchors.hearings[layer]!, propagator, layer);
      return { parameters, ...heard, gradient: gradients[layer]! };
    });
    context.skippedSteps += await this.network.stepAsync({
      x: anchors.x,
      layers,
      rows: this.rows,
      candidates: anchors.candidates,
      positives: Uint32Array.from([...batch, ...own], ({ example }) => example.positives.length),
      weights: anchors.shares,
      divisor: this.divisor,
      decoupled: context.options.decoupled,
      dropout: settings.dropout,
      seed: context.prng.below(2 ** 32),
      losses: new Float32Array(anchors.count),
    });
    this.optimize(batch.length);
    const toLogWeights = layers.map(({ gradientLogWeights }) => gradientLogWeights);
    this.edges.step(anchors.hearings, toLogWeights, 1 / batch.length);
  }

  private anchors(batch: readonly Asking[], own: ReturnType<Relatives["draw"]>, propagator: Propagator): Anchors {
    const { corpus } = this.context;
    const { selfSupervision, shape } = this.settings;
    const count = batch.length + own.length;
    const anchors: Anchors = {
      count,
      x: new Float32Array(count * shape.dimensions),
      candidates: new Uint32Array(count * this.most).fill(MASKED),
      shares: new Float32Array(count * this.most),
      hearings: this.weights.layers.map(() => []),
    };
    batch.forEach(({ example, query, near }, b) => {
      this.ask(anchors, b, example, query, HARD_SHARE, 1);
      for (const [layer, heard] of anchors.hearings.entries()) {
        const nodes = propagator.heardIn(layer, query, near);
        const scores = corpus.scores(query, nodes);
        heard[b] = { nodes, scores, weights: propagator.heardBy(scores) };
      }
    });
    const ownShare = (selfSupervision / (1 - selfSupervision)) * (batch.length / own.length);
    const around = corpus.neighbourhoods(Uint32Array.from(own, ({ node }) => node));
    own.forEach(({ node, example }, i) => {
      const { nodes, scores, structural } = around[i]!;
      const heard = { node, nodes, scores, structural, weights: propagator.weightsIn(node, around[i]!) };
      this.ask(anchors, batch.length + i, example, example.query, 0, ownShare);
      for (const layer of anchors.hearings) layer[batch.length + i] = heard;
    });
    return anchors;
  }

  /** Draws what anchor `b` has to find and not to find. */
  private ask(
    { x, candidates, shares }: Anchors,
    b: number,
    example: Asked,
    query: Float32Array,
    hardShare: number,
    share: number,
  ): void {
    const places = new Int32Array(this.most);
    x.set(query, b * this.settings.shape.dimensions);
    const count = this.sampler.draw(example, this.others, hardShare, this.context.options.negatives, places);
    candidates.set(places.subarray(0, count), b * this.most);
    shares.set(share === 1 ? example.weights : example.weights.map((weight) => weight * share), b * this.most);
  }

  /** Moves all parameters by the gradients of a step, means over its events. */
  private optimize(events: number): void {
    const { optimizer, rate } = this.settings;
    const gateAt = this.network.parameterCount - 1;
    this.steps++;
    this.weights.layers.forEach((parameters, layer) => {
      const gradient = this.gradients[layer]!;
      for (let i = 0; i < gradient.length; i++) gradient[i] = gradient[i]! / events;
      const gate = parameters.slice(gateAt);
      optimizerStep(gate, gradient.slice(gateAt), this.gates[layer]!, this.steps, {
        optimizer,
        rate: rate * GATE_RATE,
        weightDecay: 0,
      });
      optimizerStep(parameters, gradient, this.moments[layer]!, this.steps, {
        optimizer,
        rate,
        weightDecay: optimizer === "adamw" ? DECAY : 0,
      });
      parameters.set(gate, gateAt);
    });
  }
}

/** What the anchors of a step hear in a layer, each row once. */
function heardBy(
  hearings: readonly Hearing[],
  propagator: Propagator,
  layer: number,
): Pick<TrainingLayer, "pool" | "index" | "logWeights" | "gradientLogWeights"> {
  const union = Uint32Array.from(new Set(hearings.flatMap(({ nodes }) => Array.from(nodes))));
  const placeOf = new Map(Array.from(union, (node, i) => [node, i]));
  const index = new Uint32Array(hearings.length * HEARD).fill(MASKED);
  const logWeights = new Float32Array(index.length);
  hearings.forEach(({ nodes, weights }, b) => {
    nodes.forEach((node, j) => {
      index[b * HEARD + j] = placeOf.get(node)!;
      logWeights[b * HEARD + j] = Math.log(weights[j]!);
    });
  });
  const gradientLogWeights = new Float32Array(index.length);
  return { pool: propagator.states(layer, union), index, logWeights, gradientLogWeights };
}
