/** Message passing for one query through cached neighbour states: a hop, all layers, and those in single precision, in turns. */
import { Prng } from "../../base/prng.js";
import { halvesOf, stateWidth } from "../../native/gnn.js";
import { atMost, type Claim } from "../claims.js";
import { percentile } from "../stats.js";
import { table } from "../table.js";
import type { GnnOptions } from "./options.js";
import { stage, unitRows } from "./scene.js";

export interface HopResult {
  parameters: "f32" | "half";
  /** That the query goes through. */
  layers: number;
  bytes: number;
  ms: number[];
  p50: number;
  p99: number;
}

const QUERIES = 64;
const TARGETS = { p50: 2, p99: 5 } as const;

export function measureHop({ hop: scene }: GnnOptions, claims: Claim[]): HopResult[] {
  const { shape, network, input } = stage({ ...scene, anchors: 1 });
  const { dimensions: d, heads, neighbours } = scene;
  const states = input.layers.map(({ parameters, pool }) => {
    const out = new Float32Array((pool.length / d) * stateWidth(shape));
    network.keysAndValues(parameters, pool, out);
    return out;
  });
  const queries = unitRows(new Prng(5), QUERIES, d);
  const y = new Float32Array(d);
  const attention = new Float32Array(heads * neighbours);
  const single = input.layers.map(({ parameters }) => parameters);
  const halves = single.map(halvesOf);
  const kinds = [
    { parameters: "f32" as const, of: single },
    { parameters: "half" as const, of: halves },
    { parameters: "half" as const, of: halves.slice(-1) },
  ];
  const answers: Float32Array[] = [];
  const results = kinds.map(({ parameters, of }) => ({
    parameters,
    layers: of.length,
    bytes: of.reduce((sum, { byteLength }) => sum + byteLength, 0),
    ms: [] as number[],
  }));
  for (let i = 0; i < scene.queries + 1; i++) {
    kinds.forEach(({ of }, which) => {
      const at = (i % QUERIES) * d;
      y.set(queries.subarray(at, at + d));
      const before = performance.now();
      const first = input.layers.length - of.length;
      input.layers.slice(first).forEach(({ index, logWeights }, layer) => {
        network.attend(of[layer], y, states[first + layer], index, logWeights, y, attention);
      });
      if (i > 0) results[which].ms.push(performance.now() - before);
      answers[which] = y.slice();
    });
  }
  const whole = results.map((result) => ({
    ...result,
    p50: percentile(result.ms, 0.5),
    p99: percentile(result.ms, 0.99),
  }));
  console.log(`one query: d ${d}, hidden ${scene.hidden}, ${heads} heads, ${neighbours} neighbours with cached states`);
  console.log(
    `${table(
      ["parameters", "layers", "MB", "p50 ms", "p99 ms"],
      whole.map(({ parameters, layers, bytes, p50, p99 }) => [
        parameters,
        String(layers),
        (bytes / 1e6).toFixed(1),
        p50.toFixed(3),
        p99.toFixed(3),
      ]),
    )}\n`,
  );
  const hop = whole[2];
  const show = (value: number) => `${value.toFixed(2)} ms`;
  claims.push(
    likeness(answers[0], answers[1]),
    atMost("one query's hop, half precision: p50", hop.p50, TARGETS.p50, show),
    atMost("one query's hop, half precision: p99", hop.p99, TARGETS.p99, show),
  );
  return whole;
}

/** Both are of unit length. */
function likeness(a: Float32Array, b: Float32Array): Claim {
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0);
  return {
    name: "half precision gives the same vector (cosine .9999)",
    kind: "assertion",
    holds: cosine >= 0.9999,
    figure: cosine.toFixed(7),
  };
}
