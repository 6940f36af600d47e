/**
 * Fitting adapter and shifts to a set of examples. Generators: they yield after each small piece of
 * work, so that `train` and `learn` let searches run in between.
 */
import type { Prng } from "../base/prng.js";
import type { Metric } from "../base/types.js";
import { type Adapter, fitBasis, project } from "../model/adapter.js";
import { Overlay, shiftForward, stepShift } from "../model/overlay.js";
import { axpy, dot, normalize, score } from "../model/scoring.js";
import { solvePositiveDefinite } from "../model/solve.js";
import type { Corpus } from "./corpus.js";
import { chosenPlaces, type Example, type Pool, Sampler } from "./examples.js";
import { adapterLoss, candidateLoss, type LossSettings, shiftGradient, Workspace } from "./objective.js";
import type { LearningOptions } from "./options.js";
import { adaptQuery } from "./serving.js";

/** Sizes that make rates and bounds mean the same under every metric; all 1 under cosine. */
export interface Scales {
  score: number;
  query: number;
  document: number;
}

/**
 * Measured once from the data: under dot, root mean squares of the lengths; under l2, the spread of
 * documents around each other (half the mean squared distance of random pairs), as their distance
 * from the origin means nothing there.
 */
export function measureScales(corpus: Corpus, queries: readonly Float32Array[], prng: Prng): Scales {
  if (corpus.metric === "cosine") return { score: 1, query: 1, document: 1 };
  const sample = [...corpus.sample(256, prng)].map((node) => corpus.vector(node));
  const meanSquare = (of: (v: Float32Array, i: number) => number, vectors: readonly Float32Array[]) =>
    vectors.reduce((sum, v, i) => sum + of(v, i), 0) / Math.max(1, vectors.length) || 1;
  if (corpus.metric === "dot") {
    const query = Math.sqrt(meanSquare((v) => dot(v, v), queries));
    const document = Math.sqrt(meanSquare((v) => dot(v, v), sample));
    return { score: query * document, query, document };
  }
  const spread = meanSquare((v, i) => -score("l2", v, sample[(i + 1) % sample.length]!) / 2, sample);
  return { score: 2 * spread, query: Math.sqrt(spread), document: Math.sqrt(spread) };
}

export interface FitContext {
  corpus: Corpus;
  pool: Pool;
  options: LearningOptions;
  scales: Scales;
  prng: Prng;
  /** Raised for each step that was left out because a value was not finite. */
  skippedSteps: number;
}

/** Of 64 negatives most have a share far below this in the gradient; leaving them out halves the time. */
const NEGLIGIBLE = 5e-4;

export function lossSettings(metric: Metric, options: LearningOptions, scales: Scales): LossSettings {
  return { metric, divisor: options.temperature * scales.score, decoupled: options.decoupled, negligible: NEGLIGIBLE };
}

/** Queries that the basis is fitted to; more add nothing at a rank of 128. */
const BASIS_QUERIES = 512;
/** Events in one step at most: more at a rate per event would overshoot. */
const BATCH_EVENTS = 64;
/** Visits after which the rate has halved (Robbins & Monro 1951: noise averages out only if steps shrink). */
const HALVING_VISITS = 2000;
/** The rate never falls below this part, so that later feedback still counts. */
const LEAST_RATE = 1 / 32;

/** The adapter's rate after `visits` events. */
function rateAfter(visits: number, rate: number): number {
  return rate * Math.max(LEAST_RATE, 1 / (1 + visits / HALVING_VISITS));
}

/** Times a document was chosen before its steps shrink, and the count at which they stop shrinking. */
const SURE_CHOICES = 4;
const MOST_CHOICES = 64;

/** A document's rate when it was chosen `choices` times: its shift tends to an average over them. */
export function shiftRate(choices: number, options: LearningOptions, scales: Scales): number {
  const share = Math.min(1, SURE_CHOICES / Math.max(1, Math.min(choices, MOST_CHOICES)));
  return options.shiftRate * scales.document ** 2 * share;
}

/** Half of a shift's or the network's negatives come from the static search: what was chosen has to pass them. */
export const HARD_SHARE = 0.5;

/** A step may turn the queries of its batch by this much (root mean square, relative to their scale). */
const TRUST = 0.3;

/** Pull of the ridge regression back to doing nothing, in units of the squared length of queries. */
const RIDGE = 1;
/** Events that the regression looks at; more add nothing at a rank of 128. */
const REGRESSED = 8192;

/**
 * Fits the basis to the examples' queries, then U twice: by InfoNCE from zero, and in closed form by ridge
 * regression from a query to the mean of what was chosen for it; the result is the mean of both. They err
 * in different ways: the first follows what has to be told apart and needs many negatives to be right,
 * the second looks at no negatives at all (docs/decisions/0010-message-passing.md has the figures).
 */
export function* fitAdapterFromStart(
  context: FitContext,
  adapter: Adapter,
  examples: readonly Example[],
  epochs: number,
): Generator<void, void> {
  const queries = context.prng.shuffle(examples.map((e) => e.query)).slice(0, BASIS_QUERIES);
  yield* fitBasis(adapter.basis as Float32Array, adapter.rank, adapter.dimensions, queries);
  const regressed = yield* regress(context, adapter, examples.slice(-REGRESSED));
  adapter.output.fill(0);
  yield* fitAdapter(context, adapter, examples, chosenPlaces(examples), epochs, examples.length, 0);
  const { output } = adapter;
  for (let i = 0; i < output.length; i++) output[i] = (output[i]! + regressed[i]!) / 2;
}

/** U of the regression: (H^T H + ridge I)^-1 H^T T, with rows h = B q of H and t = mean of the chosen - q of T. */
function* regress(context: FitContext, adapter: Adapter, examples: readonly Example[]): Generator<void, Float64Array> {
  const { pool, scales, corpus } = context;
  const { rank, dimensions: d } = adapter;
  const gram = new Float64Array(rank * rank);
  const sums = new Float64Array(rank * d);
  const h = new Float32Array(rank);
  for (const { query, positives, weights } of examples) {
    const target = new Float32Array(d);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [i, place] of positives.entries()) axpy(weights[i]! / total, pool.rows[place]!, target);
    if (corpus.metric === "cosine") normalize(target);
    axpy(-1, query, target);
    project(adapter, query, h);
    if (!Number.isFinite(dot(target, target) + dot(h, h))) {
      context.skippedSteps++;
      yield;
      continue;
    }
    for (let k = 0; k < rank; k++) {
      axpy(total * h[k]!, h, gram, 0, k * rank, rank);
      axpy(total * h[k]!, target, sums, 0, k * d, d);
    }
    yield;
  }
  for (let k = 0; k < rank; k++) gram[k * rank + k] = gram[k * rank + k]! + RIDGE * scales.query ** 2;
  solvePositiveDefinite(gram, sums, rank, d);
  return sums;
}

/**
 * Trains U by gradient descent on the sum of losses: U <- U - rate (sum_batch dL_i/dU + decay b/m U).
 * Plain descent with a rate per event does not depend on the batch size, converges in 10-20 epochs
 * here, and has no moments to log. The result is the average over the second half of the epochs
 * (Polyak & Juditsky 1992), which takes out the noise of the drawn negatives.
 * @param others places of documents chosen for any query: the negatives are drawn from them
 * @param population m: how many events stand behind U, against which the decay weighs
 * @param visits events already visited in earlier steps, which decides the rate
 */
export function* fitAdapter(
  context: FitContext,
  adapter: Adapter,
  examples: readonly Example[],
  others: ArrayLike<number>,
  epochs: number,
  population: number,
  visits: number,
): Generator<void, void> {
  const { corpus, pool, options, scales, prng } = context;
  const { dimensions: d, rank, output } = adapter;
  const loss = lossSettings(corpus.metric, options, scales);
  const most = options.negatives + mostPositives(examples);
  const ws = new Workspace(d, most, Float32Array);
  const sampler = new Sampler(pool, prng);
  const places = new Int32Array(most);
  const hs = examples.map((e) => {
    const h = new Float32Array(rank);
    project(adapter, e.query, h);
    return h;
  });
  const order = examples.map((_, i) => i);
  const gradient = new Float32Array(rank * d);
  const average = new Float32Array(rank * d);
  let averaged = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    prng.shuffle(order);
    for (let at = 0; at < order.length; ) {
      const batch: number[] = [];
      gradient.fill(0);
      for (let pairs = 0; at < order.length && pairs < options.batchPairs && batch.length < BATCH_EVENTS; at++) {
        const i = order[at]!;
        const example = examples[i]!;
        const count = sampler.draw(example, others, 0, options.negatives, places);
        const candidates = { rows: pool.rows, places, count, weights: example.weights };
        const value = adapterLoss(ws, loss, adapter, example.query, hs[i]!, candidates, gradient);
        if (!Number.isFinite(value)) context.skippedSteps++;
        pairs += example.positives.length;
        batch.push(i);
        yield;
      }
      const decay = (options.adapterDecay * batch.length) / population;
      axpy(decay, output, gradient);
      if (
        !stepAdapter(
          output as Float32Array,
          gradient,
          rateAfter(visits, options.adapterRate),
          batch,
          hs,
          d,
          scales.query,
        )
      )
        context.skippedSteps++;
      visits += batch.length;
      if (epoch * 2 >= epochs) {
        axpy(1, output, average);
        averaged++;
      }
    }
  }
  for (let i = 0; averaged > 0 && i < output.length; i++) output[i] = average[i]! / averaged;
}

/** Takes the step, shortened to the trust region; false, and nothing changed, where it is not finite. */
function stepAdapter(
  output: Float32Array,
  gradient: Float32Array,
  rate: number,
  batch: readonly number[],
  hs: readonly Float32Array[],
  d: number,
  queryScale: number,
): boolean {
  const size = Math.sqrt(dot(gradient, gradient)) * rate;
  if (!Number.isFinite(size)) return false;
  const reach = Math.sqrt(batch.reduce((sum, i) => sum + dot(hs[i]!, hs[i]!), 0) / batch.length);
  let step = rate;
  // |D h| <= |D| |h|: the turn is measured, on a few queries, only where this bound does not settle it.
  if (size * reach > TRUST * queryScale) {
    const turned = new Float32Array(d);
    const measured = batch.slice(0, 8);
    let sum = 0;
    for (const i of measured) {
      turned.fill(0);
      const h = hs[i]!;
      for (let k = 0; k < h.length; k++) axpy(rate * h[k]!, gradient, turned, k * d);
      sum += dot(turned, turned);
    }
    step = rate * Math.min(1, (TRUST * queryScale) / Math.sqrt(sum / measured.length));
  }
  axpy(-step, gradient, output);
  return true;
}

function mostPositives(examples: readonly Example[]): number {
  return examples.reduce((most, e) => Math.max(most, e.positives.length), 1);
}

/** The examples' queries as the adapter sees them. */
export function* adaptQueries(
  adapter: Adapter,
  metric: Metric,
  examples: readonly Example[],
): Generator<void, Float32Array[]> {
  const out: Float32Array[] = [];
  for (const { query } of examples) {
    out.push(adaptQuery({ adapter, metric }, query));
    yield;
  }
  return out;
}

/**
 * Trains a shift for each chosen document, one event at a time. Documents that have a shift are also
 * pushed away where they are negatives; all others stay.
 * @param queries one per example: raw, or adapted where the adapter serves
 */
export function* fitShift(
  context: FitContext,
  examples: readonly Example[],
  queries: readonly Float32Array[],
  epochs: number,
): Generator<void, Overlay> {
  const { corpus, pool, options, scales, prng } = context;
  const d = corpus.dimensions;
  const others = chosenPlaces(examples);
  pool.loadNew();
  const rows = pool.rows.slice();
  const shifts: (Float32Array | undefined)[] = new Array(rows.length);
  const lengths = new Float64Array(rows.length).fill(1);
  const choices = new Uint32Array(rows.length);
  for (const example of examples) for (const place of example.positives) choices[place]!++;
  for (const place of others) {
    shifts[place] = new Float32Array(d);
    rows[place] = pool.rows[place]!.slice();
  }
  const most = options.negatives + mostPositives(examples);
  const ws = new Workspace(d, most, Float32Array);
  const loss = lossSettings(corpus.metric, options, scales);
  const sampler = new Sampler(pool, prng);
  const places = new Int32Array(most);
  const order = examples.map((_, i) => i);
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const i of prng.shuffle(order)) {
      const example = examples[i]!;
      const count = sampler.draw(example, others, HARD_SHARE, options.negatives, places);
      const value = candidateLoss(ws, loss, queries[i]!, { rows, places, count, weights: example.weights });
      if (!Number.isFinite(value)) {
        context.skippedSteps++;
        continue;
      }
      for (let j = 0; j < count; j++) {
        const place = places[j]!;
        const shift = shifts[place];
        if (!shift || !(Math.abs(ws.dLogits[j]!) > loss.negligible)) continue;
        const row = rows[place]!;
        const g = shiftGradient(ws, loss, queries[i]!, row, lengths[place]!, ws.dLogits[j]!);
        if (!Number.isFinite(dot(g, g))) continue;
        stepShift(shift, g, shiftRate(choices[place]!, options, scales), options.shiftBound * scales.document);
        lengths[place] = shiftForward(corpus.metric, pool.rows[place]!, shift, row);
      }
      yield;
    }
  }
  const overlay = new Overlay(d, corpus.metric);
  for (const place of others) overlay.set(pool.nodes[place]!, shifts[place]!, choices[place]!);
  overlay.refresh((node) => corpus.vector(node));
  return overlay;
}
