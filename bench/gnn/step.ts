/** One training step, forward, backward and Adam, beside TensorFlow.js on WebAssembly: the same loss, parameters and batch, in turns. */
import { availableParallelism } from "node:os";
import type * as TensorFlow from "@tensorflow/tfjs";
import { adam } from "../../native/gnn.js";
import { networkOf } from "../../src/tfjs/index.js";
import { atLeast, type Claim } from "../claims.js";
import { loadRival } from "../rivals.js";
import { median, percentile } from "../stats.js";
import { fixed, table, times } from "../table.js";
import type { GnnOptions } from "./options.js";
import { type Staged, stage } from "./scene.js";

interface Timed {
  engine: string;
  ms: number[];
}

export interface StepResult {
  timed: Timed[];
  /** Median of TensorFlow.js over the median of Hebb on all threads; undefined without a rival. */
  ratio: number | undefined;
  rival: { version: string; simd: boolean; threads: number } | undefined;
  /** Relative difference of the summed losses at the last of the untimed steps that both begin with. */
  difference: number | undefined;
}

interface WasmBackend {
  setThreadsCount(threads: number): void;
  getThreadsCount(): number;
}

const RATE = 1e-3;
const UNTIMED = 5;
/** Hebb's step is short: it makes so many for each of the rival's, and so feels as much of the machine's noise. */
const EACH = 5;
/** Losses, not parameters: Adam moves one whose gradient is next to nothing as far as any other, in the direction that rounding gives it. */
const SAME = 1e-3;

export async function measureStep({ step: scene, smoke }: GnnOptions, claims: Claim[]): Promise<StepResult> {
  const staged = stage(scene);
  const threads = availableParallelism();
  const layer = staged.input.layers[0];
  const start = layer.parameters.slice();
  const rival = smoke ? undefined : await tensorFlowStep(staged, threads);
  const [first, second] = [new Float32Array(start.length), new Float32Array(start.length)];
  let t = 0;
  const own = (on: number) => {
    staged.network.step(staged.input, on);
    adam(layer.parameters, layer.gradient, first, second, ++t, { learningRate: RATE });
  };

  let difference: number | undefined;
  for (let i = 0; i < UNTIMED; i++) {
    own(threads);
    const theirs = await rival?.step();
    const ours = staged.input.losses.reduce((sum, loss) => sum + loss, 0);
    if (theirs !== undefined) difference = Math.abs(theirs - ours) / ours;
  }
  const counts = threads > 1 ? [1, threads] : [1];
  const timed: Timed[] = counts.map((on) => ({ engine: `Hebb, ${on} thread${on > 1 ? "s" : ""}`, ms: [] }));
  if (rival) timed.push({ engine: `TensorFlow.js ${rival.version}, WebAssembly`, ms: [] });
  for (let repeat = 0; repeat < scene.repeats; repeat++) {
    counts.forEach((on, i) => {
      for (let one = 0; one < EACH; one++) {
        const before = performance.now();
        own(on);
        timed[i].ms.push(performance.now() - before);
      }
    });
    if (!rival) continue;
    const before = performance.now();
    await rival.step();
    timed[counts.length].ms.push(performance.now() - before);
  }
  const losses = staged.input.losses;
  claims.push({
    name: "a training step gives finite losses",
    kind: "assertion",
    holds: losses.every(Number.isFinite),
    figure: fixed(losses[0]),
  });
  console.log(
    `training step: ${scene.anchors} anchors, ${scene.neighbours} neighbours, d ${scene.dimensions}, ${scene.heads} heads, hidden ${scene.hidden}, ${scene.candidates - 1} negatives; forward, backward and Adam`,
  );
  const medians = timed.map(({ ms }) => median(ms));
  console.log(
    table(
      ["", "p50 ms", "p99 ms", "steps", "over Hebb"],
      timed.map(({ engine, ms }, i) => [
        engine,
        medians[i].toFixed(3),
        percentile(ms, 0.99).toFixed(3),
        String(ms.length),
        times(medians[i] / medians[counts.length - 1]),
      ]),
    ),
  );
  if (!rival) {
    console.log(smoke ? "" : "no rival: npm --prefix bench ci\n");
    return { timed, ratio: undefined, rival: undefined, difference };
  }
  console.log(`TensorFlow.js: SIMD ${rival.simd ? "yes" : "no"}, ${rival.threads} thread(s)\n`);
  const ratio = medians[counts.length] / medians[counts.length - 1];
  claims.push(
    {
      name: `both engines have the same loss at step ${UNTIMED} (relative ${SAME})`,
      kind: "assertion",
      holds: difference !== undefined && difference <= SAME,
      figure: (difference ?? Number.NaN).toExponential(1),
    },
    atLeast("training step: TensorFlow.js on WebAssembly over Hebb", ratio, 10, (value) => `${value.toFixed(1)}x`),
  );
  const { version, simd } = rival;
  return { timed, ratio, rival: { version, simd, threads: rival.threads }, difference };
}

/** The same step by TensorFlow.js; undefined where it is not installed. */
async function tensorFlowStep({ shape, input }: Staged, threads: number) {
  const package_ = loadRival("@tensorflow/tfjs");
  const backend = loadRival("@tensorflow/tfjs-backend-wasm");
  if (!package_ || !backend) return undefined;
  const tf = package_.module as typeof TensorFlow;
  const wasm = backend.module as WasmBackend;
  wasm.setThreadsCount(threads);
  await tf.setBackend("wasm");
  await tf.ready();
  const simd = await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT");
  const many = await tf.env().getAsync("WASM_HAS_MULTITHREAD_SUPPORT");

  const { dimensions: d } = shape;
  const [layer] = input.layers;
  const anchors = input.positives.length;
  const places = layer.index.length / anchors;
  const candidates = input.candidates.length / anchors;
  const network = networkOf(tf, shape);
  const variables = network.unflatten(layer.parameters);
  const x = tf.tensor2d(input.x, [anchors, d]);
  const pool = tf.tensor2d(layer.pool, [layer.pool.length / d, d]);
  // Each candidate is a row of its own here, so that nothing is gathered: the cheapest form for TensorFlow.js.
  const rows = tf.tensor3d(input.rows, [anchors, candidates, d]);
  const logWeights = tf.variable(tf.tensor2d(layer.logWeights, [anchors, places]));
  const weights = tf.tensor2d(input.weights, [anchors, candidates]);
  const negatives = tf.tensor2d(
    input.weights.map((weight) => (weight > 0 ? 0 : 1)),
    [anchors, candidates],
  );
  const optimizer = tf.train.adam(RATE);
  const loss = () =>
    tf.tidy(() => {
      const { y } = network.layer(variables, x, pool, layer.index, logWeights);
      const scores = tf.reshape(tf.matMul(rows, tf.reshape(y, [anchors, d, 1])), [anchors, candidates]);
      const logits = tf.div<TensorFlow.Tensor2D>(scores, input.divisor);
      return tf.sum<TensorFlow.Scalar>(network.infoNce(logits, weights, negatives, false));
    });
  return {
    version: package_.version,
    simd: Boolean(simd),
    threads: many ? wasm.getThreadsCount() : 1,
    async step(): Promise<number> {
      const value = optimizer.minimize(loss, true, Object.values(variables))!;
      const [summed] = await value.data(); // it is computed once somebody wants it
      value.dispose();
      return summed;
    },
  };
}
