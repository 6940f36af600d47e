/**
 * `hebb/tfjs`: the message-passing network in operations of TensorFlow.js, for losses of your own and for
 * any backend. Forward pass, loss and fresh parameters are those of the index, and `flatten` gives parameters in its
 * order; an index trains its own network, though, and takes none from here.
 *
 * TensorFlow.js is an optional peer dependency and is passed in, so that the backend is yours:
 *
 *     import * as tf from "@tensorflow/tfjs";
 *     import { networkOf } from "hebb/tfjs";
 *     const network = networkOf(tf, {
 *       dimensions: 64, hidden: 64, heads: 4, propagation: "attention", metric: "cosine", bound: 1,
 *     });
 *     const [layer] = network.parameters(1, 42);
 *     const { y } = network.layer(layer, x, pool, index, logWeights);
 *
 * Shapes: B anchors, N places for neighbours, P pool rows, C candidates, d dimensions, H hidden values in
 * m heads. model/gnn/layer.ts has the equations.
 */
import type * as TensorFlow from "@tensorflow/tfjs";
import { Prng } from "../../base/prng.js";
import { BLOCK_NAMES, type BlockName, initialParameters, layoutOf } from "../../model/gnn/parameters.js";
import type { NetworkShape } from "../../native/gnn.js";

export type { NetworkShape } from "../../native/gnn.js";

/** A place of an index where there is nothing. */
export const MASKED = 0xffffffff;

type Tensor = TensorFlow.Tensor;
type Tensor1D = TensorFlow.Tensor1D;
type Tensor2D = TensorFlow.Tensor2D;

/** A layer's parameters by name, shaped rows x columns; linear propagation has `g` alone. */
export type LayerParameters = Readonly<Record<BlockName, TensorFlow.Variable>>;

export interface TensorNetwork {
  /** Fresh layers, the same as the index's for this seed: they change nothing until they are trained. */
  parameters(layers: number, seed: number): LayerParameters[];
  /** Variables that hold a layer's flat parameters. */
  unflatten(parameters: Float32Array): LayerParameters;
  /** A layer's parameters in the index's flat order. */
  flatten(parameters: LayerParameters): Float32Array;
  /**
   * One layer, differentiable in its parameters, in `x`, in `pool` and in `logWeights`.
   * @param x B x d
   * @param pool P x d
   * @param index B x N pool rows, or MASKED
   * @param logWeights B x N logarithms of edge weights, at most 0
   * @returns y (B x d) and attention (B x m x N; m is 1 under linear propagation)
   */
  layer(
    parameters: LayerParameters,
    x: Tensor2D,
    pool: Tensor2D,
    index: Uint32Array,
    logWeights: Tensor2D,
  ): { y: Tensor2D; attention: Tensor };
  /** Scores of rows (R x d) at `candidates` (B x C, MASKED: of row 0) for x (B x d): B x C, larger is better. */
  scores(x: Tensor2D, rows: Tensor2D, candidates: Uint32Array): Tensor2D;
  /**
   * InfoNCE for each anchor: -sum_p w_p [ s_p - LSE(s_p, s_n...) ]; 0 without a positive or a negative.
   * @param logits B x C: scores divided by the temperature
   * @param weights B x C: of the positives, adding up to 1 for each anchor; 0 elsewhere
   * @param negatives B x C: 1 where a candidate is a negative, else 0
   * @param decoupled leaves the positive out of its own denominator
   */
  infoNce(logits: Tensor2D, weights: Tensor2D, negatives: Tensor2D, decoupled?: boolean): Tensor1D;
}

/** The network of a shape in operations of `tf`; hand in the whole package, tfjs-core alone knows no gradients. */
export function networkOf(tf: typeof TensorFlow, shape: NetworkShape): TensorNetwork {
  const { dimensions: d, hidden, heads, propagation, metric, bound } = shape;
  const linear = propagation === "linear";
  const layout = layoutOf(shape);
  const names = BLOCK_NAMES.filter((name) => !linear || name === "g");
  const each = hidden / heads;
  const far = -1e30; // a logit that weighs nothing

  const unflatten = (parameters: Float32Array): LayerParameters =>
    Object.fromEntries(
      names.map((name) => {
        const { offset, rows, columns } = layout[name];
        return [name, tf.variable(tf.tensor2d(parameters.slice(offset, offset + rows * columns), [rows, columns]))];
      }),
    ) as LayerParameters;

  /** a M^T. The WebAssembly backend multiplies transposed matrices ten times slower than others: it gets none. */
  const plain = tf.customGrad((a, matrix, save) => {
    (save as TensorFlow.GradSaveFunc)([a as Tensor, matrix as Tensor]);
    return {
      value: tf.matMul(a as Tensor2D, tf.transpose(matrix as Tensor2D)),
      gradFunc: (dy, [input, by]) => [
        tf.matMul(dy as Tensor2D, by as Tensor2D),
        tf.matMul(tf.transpose(dy), input as Tensor2D),
      ],
    };
  });
  const times = (a: Tensor2D, matrix: Tensor): Tensor2D =>
    tf.getBackend() === "wasm" ? (plain(a, matrix) as Tensor2D) : tf.matMul(a, matrix as Tensor2D, false, true);
  /** Lengths of rows (B x 1), whose gradient at 0 is 0. */
  const lengths = (a: Tensor2D): Tensor2D => tf.sqrt(tf.maximum(tf.sum(tf.square(a), 1, true), 1e-30)) as Tensor2D;

  /**
   * rows[places], reshaped. What tf.gather's own gradient needs, some backends lack (WebAssembly's): a product stands
   * in.
   */
  function gathered(rows: Tensor2D, places: Int32Array, at: number[]): Tensor {
    // Each row once and in order, as where every anchor brings its own neighbours: nothing to gather.
    if (places.length === rows.shape[0] && places.every((row, i) => row === i)) return tf.reshape(rows, at);
    const own = tf.getKernel("UnsortedSegmentSum", tf.getBackend()) !== undefined;
    const from = () => tf.tensor1d(places, "int32");
    const gather = tf.customGrad((of) => ({
      value: tf.gather(of as Tensor2D, from()),
      gradFunc: (dy) => tf.matMul(tf.cast(tf.oneHot(from(), rows.shape[0]), "float32"), dy as Tensor2D, true),
    }));
    return tf.reshape(own ? tf.gather(rows, from()) : gather(rows), at);
  }

  /** 1 where a value is 0, else 0: a constant to differentiation, which knows no gradient of `equal`. */
  const isZero = (x: Tensor): Tensor =>
    tf.customGrad(() => ({
      value: tf.cast(tf.equal(x, 0), "float32"),
      gradFunc: () => tf.zerosLike(x),
    }))(x);

  /** Of B x N places: which count (1 or 0), and the row each reads, 0 for those that do not. */
  function placesOf(index: Uint32Array, anchors: number) {
    const there = Float32Array.from(index, (row) => (row === MASKED ? 0 : 1));
    const rows = Int32Array.from(index, (row) => (row === MASKED ? 0 : row));
    return { there: tf.tensor2d(there, [anchors, index.length / anchors]), rows };
  }

  /** Softmax over the last axis of B x m x N logits, among places that count (B x N). */
  function weigh(logits: Tensor, there: Tensor2D): Tensor {
    const counts = tf.expandDims(there, 1);
    const kept = tf.add(tf.mul(logits, counts), tf.mul(tf.sub(1, counts), far));
    return tf.mul(tf.softmax(kept), counts);
  }

  function attentionDelta(
    p: LayerParameters,
    x: Tensor2D,
    pool: Tensor2D,
    rows: Int32Array,
    there: Tensor2D,
    log: Tensor,
  ) {
    const [anchors, places] = there.shape;
    const messages = times(pool, p.wMsg);
    const ofHeads = (states: Tensor2D) =>
      tf.transpose(gathered(states, rows, [anchors, places, heads, each]), [0, 2, 1, 3]);
    const keys = ofHeads(times(messages, p.wK));
    const values = ofHeads(times(messages, p.wV));
    const q = tf.reshape(times(x, p.wQ), [anchors, heads, 1, each]);
    const match = tf.div(tf.reshape(tf.matMul(q, keys, false, true), [anchors, heads, places]), Math.sqrt(each));
    const attention = weigh(tf.add(match, tf.expandDims(log, 1)), there);
    const mixed = tf.matMul(tf.reshape(attention, [anchors, heads, 1, places]), values);
    const agg = times(tf.reshape(mixed, [anchors, hidden]), p.wAgg);
    const z = tf.sigmoid(tf.add(tf.add(times(agg, p.wZ), times(x, p.uZ)), p.bZ));
    const r = tf.sigmoid(tf.add(tf.add(times(agg, p.wR), times(x, p.uR)), p.bR));
    const n = tf.tanh(tf.add(tf.add(times(agg, p.wN), p.bN), tf.mul(r, tf.add(times(x, p.uN), p.cN))));
    const u = tf.add(tf.mul(tf.sub(1, z), n), tf.mul(z, x));
    const { mean, variance } = tf.moments(u, 1, true);
    const normal = tf.div(tf.sub(u, mean), tf.sqrt(tf.add(variance, 1e-5)));
    return { delta: tf.add(tf.mul(p.gain, normal), p.bias) as Tensor2D, attention };
  }

  function linearDelta(x: Tensor2D, pool: Tensor2D, rows: Int32Array, there: Tensor2D, log: Tensor) {
    const [anchors, places] = there.shape;
    const attention = weigh(tf.expandDims(log, 1), there);
    const mixed = tf.matMul(attention, gathered(pool, rows, [anchors, places, d]));
    return { delta: tf.sub(tf.reshape(mixed, [anchors, d]), x) as Tensor2D, attention };
  }

  return {
    parameters(layers, seed) {
      const prng = new Prng(seed);
      return Array.from({ length: layers }, () => unflatten(initialParameters(shape, prng)));
    },
    unflatten,
    flatten(parameters) {
      const flat = new Float32Array(layout.g.offset + 1);
      for (const name of names) flat.set(parameters[name].dataSync() as Float32Array, layout[name].offset);
      return flat;
    },
    layer(parameters, x, pool, index, logWeights) {
      const anchors = x.shape[0];
      if (index.length === 0) return { y: x, attention: tf.zeros([anchors, linear ? 1 : heads, 0]) };
      return tf.tidy(() => {
        const { there, rows } = placesOf(index, anchors);
        const { delta, attention } = linear
          ? linearDelta(x, pool, rows, there, logWeights)
          : attentionDelta(parameters, x, pool, rows, there, logWeights);
        const g = parameters.g;
        const e = tf.mul(g, delta) as Tensor2D;
        const c = Number.isFinite(bound) ? tf.minimum(1, tf.div(tf.mul(bound, lengths(x)), lengths(e))) : tf.scalar(1);
        const sum = tf.add(x, tf.mul(c, e)) as Tensor2D;
        const length = lengths(x);
        const unit = tf.div(x, length);
        // At g = 0 the result is x itself; the gate's slope there is that of the normalized sum.
        const tangent =
          metric === "cosine"
            ? tf.div(tf.sub(delta, tf.mul(unit, tf.sum(tf.mul(unit, delta), 1, true))), length)
            : delta;
        const still = tf.add(x, tf.mul(g, tangent));
        const moved = metric === "cosine" ? tf.div(sum, lengths(sum)) : sum;
        const hears = tf.greater(tf.sum(there, 1, true), 0);
        const on = (test: Tensor) => tf.cast(tf.broadcastTo(test, x.shape), "bool");
        const y = tf.where(on(hears), tf.where(on(isZero(g)), still, moved), x);
        return { y: y as Tensor2D, attention };
      });
    },
    scores(x, rows, candidates) {
      const anchors = x.shape[0];
      const each = candidates.length / anchors;
      return tf.tidy(() => {
        const of = gathered(rows, placesOf(candidates, anchors).rows, [anchors, each, d]);
        const own = tf.expandDims(x, 1);
        const scored = metric === "l2" ? tf.neg(tf.sum(tf.square(tf.sub(own, of)), 2)) : tf.sum(tf.mul(own, of), 2);
        return scored as Tensor2D;
      });
    },
    infoNce(logits, weights, negatives, decoupled = false) {
      return tf.tidy(() => {
        const among = tf.add(tf.mul(logits, negatives), tf.mul(tf.sub(1, negatives), far));
        const against = tf.logSumExp(among, 1, true);
        const gap = tf.sub(against, logits);
        const terms = tf.mul(weights, decoupled ? gap : tf.softplus(gap));
        // An anchor without negatives has no loss: its gap means nothing.
        const some = tf.greater(tf.sum(negatives, 1), 0);
        return tf.where(some, tf.sum(terms, 1), tf.zerosLike(tf.sum(terms, 1))) as Tensor1D;
      });
    },
  };
}
