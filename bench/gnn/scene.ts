/** Random input of the network's shapes; what a step costs does not depend on the values. */
import { Prng } from "../../base/prng.js";
import { initialParameters } from "../../model/gnn/parameters.js";
import { createNetwork, type Network, type NetworkShape, type TrainingInput } from "../../native/gnn.js";
import type { Scene } from "./options.js";

export interface Staged {
  shape: NetworkShape;
  network: Network;
  input: TrainingInput;
}

const TEMPERATURE = 0.07;
/** A gate that is open, so that the whole layer counts; fresh layers begin at 0 and change nothing. */
const GATE = 0.5;

export function stage(scene: Scene, seed = 3): Staged {
  const { dimensions: d, hidden, heads, anchors, neighbours, candidates, pool } = scene;
  const random = new Prng(seed);
  const shape: NetworkShape = {
    dimensions: d,
    hidden,
    heads,
    propagation: "attention",
    metric: "cosine",
    bound: Number.POSITIVE_INFINITY,
  };
  const weights = new Float32Array(anchors * candidates);
  for (let b = 0; b < anchors; b++) weights[b * candidates] = 1;
  const layers = Array.from({ length: scene.layers }, () => {
    const parameters = initialParameters(shape, random);
    parameters[parameters.length - 1] = GATE;
    return {
      parameters,
      pool: unitRows(random, pool, d),
      index: Uint32Array.from({ length: anchors * neighbours }, (_, i) => i % pool),
      logWeights: Float32Array.from({ length: anchors * neighbours }, () => -random.next()),
      gradient: new Float32Array(parameters.length),
      gradientLogWeights: new Float32Array(anchors * neighbours),
    };
  });
  const input: TrainingInput = {
    x: unitRows(random, anchors, d),
    layers,
    rows: unitRows(random, anchors * candidates, d),
    candidates: Uint32Array.from({ length: anchors * candidates }, (_, i) => i),
    positives: new Uint32Array(anchors).fill(1),
    weights,
    divisor: TEMPERATURE,
    decoupled: false,
    dropout: 0,
    seed: 1,
    losses: new Float32Array(anchors),
  };
  return { shape, network: createNetwork(shape), input };
}

export function unitRows(random: Prng, n: number, d: number): Float32Array {
  const rows = Float32Array.from({ length: n * d }, () => random.gaussian());
  for (let at = 0; at < rows.length; at += d) {
    const row = rows.subarray(at, at + d);
    const length = Math.hypot(...row);
    for (let x = 0; x < d; x++) row[x] /= length;
  }
  return rows;
}
