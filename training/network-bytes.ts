/**
 * The attention network as it is stored. Little-endian: u32 layers, dimensions, hidden, heads, then 16 bytes of
 * zero, then each layer's parameters (f32, model/gnn/parameters.ts has their order).
 */
import type { Metric } from "../base/types.js";
import { parameterCount } from "../model/gnn/parameters.js";
import type { NetworkShape } from "../native/gnn.js";
import type { NetworkOptions } from "./options.js";
import type { NetworkWeights } from "./propagator.js";

export const NETWORK_HEADER_BYTES = 32;
/** A larger network is not trained. */
export const MOST_NETWORK_BYTES = 2 ** 30;

export class NetworkBytes implements NetworkWeights {
  /** Header and all layers; `layers` are views of it. */
  readonly bytes: Uint8Array;
  readonly shape: NetworkShape;
  readonly layers: Float32Array[];

  /** @param header the first bytes, at least; the rest is zero until it is written */
  constructor(header: Uint8Array, metric: Metric, bound: number) {
    const view = new DataView(header.buffer, header.byteOffset, NETWORK_HEADER_BYTES);
    const [layers, dimensions, hidden, heads] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as [
      number,
      number,
      number,
      number,
    ];
    this.shape = { dimensions, hidden, heads, propagation: "attention", metric, bound: bound || Number.MIN_VALUE };
    const count = parameterCount(this.shape);
    this.bytes = new Uint8Array(NETWORK_HEADER_BYTES + layers * count * 4);
    this.layers = Array.from(
      { length: layers },
      (_, i) => new Float32Array(this.bytes.buffer, NETWORK_HEADER_BYTES + i * count * 4, count),
    );
  }
}

/** Bytes that the network of these options takes. */
export function networkSize(dimensions: number, { layers, hidden, heads }: NetworkOptions): number {
  const shape = { dimensions, hidden, heads, propagation: "attention", metric: "cosine", bound: 1 } as const;
  return NETWORK_HEADER_BYTES + layers * parameterCount(shape) * 4;
}

/** Trained weights as a delta's pieces, each of at most `most` bytes. */
export function networkPieces({ shape, layers }: NetworkWeights, most: number): { at: number; bytes: Uint8Array }[] {
  const header = new Uint8Array(NETWORK_HEADER_BYTES);
  header.set(new Uint8Array(Uint32Array.of(layers.length, shape.dimensions, shape.hidden, shape.heads).buffer));
  const pieces = [{ at: 0, bytes: header }];
  let at = NETWORK_HEADER_BYTES;
  for (const layer of layers) {
    const bytes = new Uint8Array(layer.buffer, layer.byteOffset, layer.byteLength);
    for (let from = 0; from < bytes.length; from += most) {
      const piece = bytes.slice(from, from + most);
      pieces.push({ at, bytes: piece });
      at += piece.length;
    }
  }
  return pieces;
}
