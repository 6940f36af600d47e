/** The kernel in f32 against TensorFlow.js: its operations forward, its automatic differentiation backward. */
import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { initialParameters } from "../../model/gnn/parameters.js";
import type { Floats } from "../../model/scoring.js";
import { createNetwork, MASKED, stateWidth, type TrainingInput } from "../../native/gnn.js";
import { networkOf, type TensorNetwork } from "../../src/tfjs/index.js";
import { type Case, cases, outputs, sceneOf, twin } from "../support/network.js";
import { runs } from "../support/seed.js";

const TOLERANCE = 1e-4;

beforeAll(async () => {
  await tf.setBackend("cpu");
});

/** Relative to the largest value of what is expected, or to `floor`. */
function off(values: Floats, wanted: Floats, floor: number): number {
  const scale = Math.max(floor, largest(wanted));
  return largest(Float32Array.from(wanted, (value, i) => values[i]! - value)) / scale;
}

function largest(values: Floats): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** Fills `input`'s outputs by automatic differentiation. */
function differentiate(network: TensorNetwork, c: Case, input: TrainingInput<Float32Array>): void {
  const anchors = c.anchors;
  const places = c.positives + c.negatives;
  const there = Array.from(input.candidates, (row) => row !== MASKED);
  const isPositive = Array.from(there.keys(), (i) => i % places < c.positives);
  const grid = (values: ArrayLike<number>, columns: number) =>
    tf.tensor2d(Float32Array.from(values), [anchors, columns]);
  const negatives = grid(
    there.map((is, i) => (is && !isPositive[i] ? 1 : 0)),
    places,
  );
  const weights = grid(
    there.map((is, i) => (is && isPositive[i] ? input.weights[i]! : 0)),
    places,
  );
  const rows = tf.tensor2d(input.rows, [input.rows.length / c.d, c.d]);
  const variables = input.layers.map((layer) => network.unflatten(layer.parameters));
  const logs = input.layers.map((layer) => tf.variable(grid(layer.logWeights, c.places)));
  const x = tf.variable(tf.tensor2d(input.x, [anchors, c.d]));
  const losses = () => {
    let y: tf.Tensor2D = x as tf.Tensor as tf.Tensor2D;
    input.layers.forEach((layer, l) => {
      const pool = tf.tensor2d(layer.pool, [layer.pool.length / c.d, c.d]);
      y = network.layer(variables[l]!, y, pool, layer.index, logs[l] as tf.Tensor as tf.Tensor2D).y;
    });
    const logits = tf.div(network.scores(y, rows, input.candidates), input.divisor) as tf.Tensor2D;
    return network.infoNce(logits, weights, negatives, input.decoupled);
  };
  input.losses.set(losses().dataSync());
  const of = [x, ...logs, ...variables.flatMap((layer) => Object.values(layer))];
  const { grads } = tf.variableGrads(() => tf.sum(losses()) as tf.Scalar, of);
  const gradient = (variable: tf.Variable) => grads[variable.name]?.dataSync() ?? new Float32Array(variable.size);
  input.gradientX!.set(gradient(x));
  input.layers.forEach((layer, l) => {
    const named = variables[l]!;
    layer.gradientLogWeights.set(gradient(logs[l]!));
    const flat = Object.fromEntries(
      Object.entries(named).map(([name, variable]) => [name, { dataSync: () => gradient(variable) }]),
    );
    layer.gradient.set(network.flatten(flat as unknown as typeof named));
  });
}

/** Layer norms over few values, and logits of many tens, make f32 itself uncertain; f64 has them all (gnn-gradients.test.ts). */
const wellPosed = cases.filter((c) => c.d >= 6 && c.layers > 0 && c.negatives > 0 && c.positives > 0 && c.places > 0);

/** The step in f64, from the same numbers. */
function inDoubles(input: TrainingInput<Float32Array>): TrainingInput<Float64Array> {
  const wide = (values: Float32Array) => Float64Array.from(values);
  return {
    ...input,
    ...{ x: wide(input.x), rows: wide(input.rows), weights: wide(input.weights), losses: wide(input.losses) },
    gradientX: new Float64Array(input.x.length),
    layers: input.layers.map((layer) => ({
      ...{ parameters: wide(layer.parameters), pool: wide(layer.pool), index: layer.index },
      ...{ logWeights: wide(layer.logWeights), gradient: wide(layer.gradient) },
      gradientLogWeights: wide(layer.gradientLogWeights),
    })),
  };
}

test("losses and all gradients, over random shapes", () => {
  let compared = 0;
  let uncertain = 0;
  fc.assert(
    fc.property(wellPosed, (shaped) => {
      const c = { ...shaped, dropout: 0 };
      const { shape, input } = sceneOf(c, Float32Array);
      if (c.metric !== "cosine") input.divisor *= c.d;
      createNetwork(shape).step(input, 1);
      const expected = twin(input);
      tf.engine().startScope();
      differentiate(networkOf(tf, shape), c, expected);
      tf.engine().endScope();
      tf.disposeVariables();
      const wanted = outputs(expected);
      // A gate's gradient is a sum that may cancel: what is left is no more exact than a tenth of the step's largest.
      const floor = Math.max(0.01, ...wanted.slice(1).map(([, values]) => 0.1 * largest(values)));
      // Where rounding to f32 alone moves the kernel's result far, as sums that cancel do, two f32 results may differ.
      const exact = inDoubles(input);
      createNetwork(shape).step(exact, 1);
      const truth = outputs(exact);
      if (outputs(input).some(([, values], i) => off(values, truth[i]![1], floor) > 0.1 * TOLERANCE)) {
        uncertain++;
        return;
      }
      compared++;
      outputs(input).forEach(([name, values], i) => {
        expect(off(values, wanted[i]![1], floor), `${name} of ${JSON.stringify(c)}`).toBeLessThan(TOLERANCE);
      });
    }),
    runs(60),
  );
  expect(compared, `${uncertain} were uncertain`).toBeGreaterThan(3 * uncertain);
});

test("a wide layer's result and attention, fresh parameters from one seed", () => {
  const shape = { dimensions: 48, hidden: 32, heads: 4, propagation: "attention", metric: "cosine", bound: 1 } as const;
  const flat = initialParameters(shape, new Prng(9));
  const network = networkOf(tf, shape);
  expect(network.flatten(network.parameters(1, 9)[0]!)).toEqual(flat);
  flat[flat.length - 1] = 0.7;
  const prng = new Prng(4);
  const normal = (n: number) => Float32Array.from({ length: n }, () => prng.gaussian() / Math.sqrt(48));
  const [x, pool] = [normal(5 * 48), normal(20 * 48)];
  const index = Uint32Array.from({ length: 5 * 8 }, () => (prng.next() < 0.3 ? MASKED : prng.below(20)));
  const logWeights = Float32Array.from(index, () => -prng.next());
  const kernel = createNetwork(shape);
  const states = new Float32Array(20 * stateWidth(shape));
  kernel.keysAndValues(flat, pool, states);
  const y = new Float32Array(x.length);
  const attention = new Float32Array(index.length * 4);
  kernel.attend(flat, x, states, index, logWeights, y, attention);
  const expected = network.layer(
    network.unflatten(flat),
    tf.tensor2d(x, [5, 48]),
    tf.tensor2d(pool, [20, 48]),
    index,
    tf.tensor2d(logWeights, [5, 8]),
  );
  expect(off(y, expected.y.dataSync() as Float32Array, 0.01)).toBeLessThan(TOLERANCE);
  expect(off(attention, expected.attention.dataSync() as Float32Array, 0.01)).toBeLessThan(TOLERANCE);
});
