/** A layer's parameters: one flat array, so that storing, logging and optimizing them needs no names. */
import type { Prng } from "../../base/prng.js";
import type { NetworkShape } from "../../native/gnn.js";

/** One block: `rows` x `columns` values from `offset` on, row after row; vectors have one row. */
export interface Block {
  offset: number;
  rows: number;
  columns: number;
}

/** Blocks of an attention layer, in their order. The names are those of model/gnn/layer.ts. */
export const BLOCK_NAMES = [
  "wMsg", // H x d
  "wQ", // H x d
  "wK", // H x H
  "wV", // H x H
  "wAgg", // d x H
  "wZ", // d x d, and so the next five
  "wR",
  "wN",
  "uZ",
  "uR",
  "uN",
  "bZ", // d, and so the next five
  "bR",
  "bN",
  "cN",
  "gain",
  "bias",
  "g", // 1
] as const;
export type BlockName = (typeof BLOCK_NAMES)[number];

/** Where a layer's blocks lie; under linear propagation all are empty but `g`. */
export function layoutOf({ dimensions: d, hidden, propagation }: NetworkShape): Readonly<Record<BlockName, Block>> {
  const vector: [number, number] = [1, d];
  const square: [number, number] = [d, d];
  const sizes: Record<BlockName, [number, number]> = {
    wMsg: [hidden, d],
    wQ: [hidden, d],
    wK: [hidden, hidden],
    wV: [hidden, hidden],
    wAgg: [d, hidden],
    wZ: square,
    wR: square,
    wN: square,
    uZ: square,
    uR: square,
    uN: square,
    bZ: vector,
    bR: vector,
    bN: vector,
    cN: vector,
    gain: vector,
    bias: vector,
    g: [1, 1],
  };
  let offset = 0;
  const layout = {} as Record<BlockName, Block>;
  for (const name of BLOCK_NAMES) {
    const [rows, columns] = propagation === "linear" && name !== "g" ? [0, 0] : sizes[name];
    layout[name] = { offset, rows, columns };
    offset += rows * columns;
  }
  return layout;
}

/** Values of a layer's parameters; `Network.parameterCount` of native/gnn.ts is the same. */
export function parameterCount(shape: NetworkShape): number {
  return layoutOf(shape).g.offset + 1;
}

/**
 * A fresh layer: matrices uniform within +-sqrt(1 / columns), the layer norm's gain 1 / sqrt(d), so that a
 * change is about 1 long, all else 0. With its gate g at 0 it changes nothing until it is trained.
 */
export function initialParameters(shape: NetworkShape, prng: Prng): Float32Array<ArrayBuffer> {
  const layout = layoutOf(shape);
  const parameters = new Float32Array(parameterCount(shape));
  for (const name of BLOCK_NAMES) {
    const { offset, rows, columns } = layout[name];
    if (!name.startsWith("w") && !name.startsWith("u")) continue;
    const limit = Math.sqrt(1 / columns);
    for (let i = 0; i < rows * columns; i++) parameters[offset + i] = limit * (2 * prng.next() - 1);
  }
  const { offset, columns } = layout.gain;
  parameters.fill(1 / Math.sqrt(shape.dimensions), offset, offset + columns);
  return parameters;
}
