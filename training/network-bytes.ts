/**
 * The attention network as it is stored. Little-endian: u32 layers, dimensions, hidden, heads; alpha less 8 and beta
 * (f32, model/field.ts); 1 where it is hierarchical (u32); rows with biases (u32); then each layer's parameters (f32,
 * model/gnn/parameters.ts has their order), and the nodes of those rows (u32).
 */
import { bytesOf } from "../base/bytes.js";
import type { Metric } from "../base/types.js";
import { type EdgeScalars, UNTRAINED_EDGES } from "../model/field.js";
import { parameterCount } from "../model/gnn/parameters.js";
import type { NetworkShape } from "../native/gnn.js";
import type { NetworkOptions } from "./options.js";
import type { NetworkWeights } from "./propagator.js";

export const NETWORK_HEADER_BYTES = 32;
/** A larger network is not trained. */
export const MOST_NETWORK_BYTES = 2 ** 30;

/**
 * How many bytes a network of this header takes.
 * @throws {RangeError} where there is no such network of these dimensions
 */
export function networkBytes(header: Uint8Array, dimensions: number): number {
  const view = new DataView(header.buffer, header.byteOffset, NETWORK_HEADER_BYTES);
  const [layers, own, hidden, heads] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
    number,
  ];
  const isShape = layers > 0 && own === dimensions && heads > 0 && hidden > 0 && hidden % heads === 0;
  if (!isShape) {
    throw new RangeError(
      `the network's header says ${layers} layers, ${own} dimensions, ${hidden} hidden values and ${heads} heads, which none of ${dimensions} dimensions has`,
    );
  }
  return networkSize(dimensions, { layers, hidden, heads }) + 4 * view.getUint32(28, true);
}

export class NetworkBytes implements NetworkWeights {
  /** Header and all layers; `layers` are views of it. */
  readonly bytes: Uint8Array;
  readonly shape: NetworkShape;
  readonly layers: Float32Array[];
  readonly edges: Readonly<EdgeScalars>;
  readonly hierarchical: boolean;
  /** Nodes in whose rows there are biases. */
  readonly biased: Uint32Array;

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
    this.edges = { alpha: UNTRAINED_EDGES.alpha + view.getFloat32(16, true), beta: view.getFloat32(20, true) };
    this.hierarchical = view.getUint32(24, true) === 1;
    const count = parameterCount(this.shape);
    const biasedAt = NETWORK_HEADER_BYTES + layers * count * 4;
    this.bytes = new Uint8Array(biasedAt + 4 * view.getUint32(28, true));
    this.biased = new Uint32Array(this.bytes.buffer, biasedAt);
    this.layers = Array.from(
      { length: layers },
      (_, i) => new Float32Array(this.bytes.buffer, NETWORK_HEADER_BYTES + i * count * 4, count),
    );
  }
}

/** Bytes that the network of these options takes. */
export function networkSize(
  dimensions: number,
  { layers, hidden, heads }: Pick<NetworkOptions, "layers" | "hidden" | "heads">,
): number {
  const shape = { dimensions, hidden, heads, propagation: "attention", metric: "cosine", bound: 1 } as const;
  return NETWORK_HEADER_BYTES + layers * parameterCount(shape) * 4;
}

/** Scalars as they come back from the store. */
export function storableScalars({ alpha, beta }: EdgeScalars): EdgeScalars {
  return { alpha: UNTRAINED_EDGES.alpha + Math.fround(alpha - UNTRAINED_EDGES.alpha), beta: Math.fround(beta) };
}

/** Trained weights as a delta's pieces, each of at most `most` bytes. */
export function networkPieces(weights: NetworkWeights, most: number): { at: number; bytes: Uint8Array }[] {
  const { shape, layers, edges, hierarchical, biases = new Map() } = weights;
  const header = new Uint8Array(NETWORK_HEADER_BYTES);
  header.set(bytesOf(Uint32Array.of(layers.length, shape.dimensions, shape.hidden, shape.heads)));
  header.set(bytesOf(Float32Array.of(edges.alpha - UNTRAINED_EDGES.alpha, edges.beta)), 16);
  header.set(bytesOf(Uint32Array.of(hierarchical ? 1 : 0, biases.size)), 24);
  const pieces = [{ at: 0, bytes: header }];
  let at = NETWORK_HEADER_BYTES;
  for (const bytes of [...layers, Uint32Array.from(biases.keys())].map(bytesOf)) {
    for (let from = 0; from < bytes.length; from += most) {
      const piece = bytes.slice(from, from + most);
      pieces.push({ at, bytes: piece });
      at += piece.length;
    }
  }
  return pieces;
}
