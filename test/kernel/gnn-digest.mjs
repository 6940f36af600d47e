// Prints what training steps, serving and Adam compute, as a digest: one process a kernel, because the choice is made once.
import { createHash } from "node:crypto";
import { Prng } from "../../dist/base/prng.js";
import { parameterCount } from "../../dist/model/gnn/parameters.js";
import { adam, createNetwork, halvesOf, MASKED, stateWidth } from "../../dist/native/gnn.js";
import { kernelName } from "../../dist/native/index.js";

const prng = new Prng(13);
const digest = createHash("sha256");
const add = (values) => digest.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
const gaussian = (n, size = 1) => Float32Array.from({ length: n }, () => size * prng.gaussian());
const choose = (n, rows) => Uint32Array.from({ length: n }, () => (prng.next() < 0.1 ? MASKED : prng.below(rows)));

function step(metric, propagation, d, hidden, heads, anchors, bound) {
  const shape = { dimensions: d, hidden, heads, propagation, metric, bound };
  const network = createNetwork(shape);
  const [places, poolRows, rows, candidates] = [5, 3 * anchors, 20, 9];
  const layers = Array.from({ length: 2 }, () => {
    const parameters = gaussian(parameterCount(shape), 1.5 / Math.sqrt(d));
    parameters[parameters.length - 1] = 0.7;
    const index = choose(anchors * places, poolRows);
    return {
      parameters,
      pool: gaussian(poolRows * d),
      index,
      logWeights: Float32Array.from(index, () => -prng.next()),
      gradient: new Float32Array(parameters.length),
      gradientLogWeights: new Float32Array(index.length),
    };
  });
  const input = {
    x: gaussian(anchors * d),
    layers,
    rows: gaussian(rows * d),
    candidates: choose(anchors * candidates, rows),
    positives: new Uint32Array(anchors).fill(2),
    weights: new Float32Array(anchors * candidates).fill(0.5),
    divisor: Math.sqrt(d),
    decoupled: false,
    dropout: 0.2,
    seed: prng.uint32(),
    losses: new Float32Array(anchors),
    gradientX: new Float32Array(anchors * d),
  };
  network.step(input);
  add(input.losses);
  add(input.gradientX);
  for (const { parameters, pool, index, logWeights, gradient, gradientLogWeights } of layers) {
    add(gradient);
    add(gradientLogWeights);
    const states = new Float32Array(poolRows * stateWidth(shape));
    network.keysAndValues(parameters, pool, states);
    add(states);
    const y = new Float32Array(input.x.length);
    const attention = new Float32Array(index.length * (propagation === "linear" ? 1 : heads));
    network.attend(parameters, input.x, states, index, logWeights, y, attention);
    add(y);
    add(attention);
    network.attend(halvesOf(parameters), input.x, states, index, logWeights, y, attention);
    add(y);
    const [first, second] = [new Float32Array(gradient.length), new Float32Array(gradient.length)];
    for (let t = 1; t <= 3; t++) adam(parameters, gradient, first, second, t, { learningRate: 0.01, weightDecay: 0.1 });
    add(parameters);
  }
}

for (const metric of ["cosine", "l2", "dot"]) {
  for (const propagation of ["attention", "linear"]) {
    for (const [d, hidden, heads, anchors] of [
      [1, 1, 1, 1],
      [7, 6, 2, 3],
      [16, 16, 4, 8],
      [33, 20, 1, 5],
      [64, 48, 3, 13],
      [150, 130, 2, 40], // more rows than a panel is deep
    ]) {
      step(metric, propagation, d, hidden, heads, anchors, Number.POSITIVE_INFINITY);
      step(metric, propagation, d, hidden, heads, anchors, 0.3);
    }
  }
}
console.log(JSON.stringify({ kernel: kernelName, digest: digest.digest("hex") }));
