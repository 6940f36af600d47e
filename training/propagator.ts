/**
 * Serving the attention network (model/gnn/layer.ts): states of nodes layer by layer, kept while nothing
 * changes, and one fresh hop for a query. A query after l layers hears the nodes near it as they are after
 * l - 1; a node hears its neighbours in the graph the same way. Computed afresh, three layers of 16 neighbours
 * would be 4,096 rows; kept, a query costs one product a layer.
 */

import { edgeWeights } from "../model/field.js";
import { MASKED, type Network, type NetworkShape, stateWidth } from "../native/gnn.js";
import type { Corpus } from "./corpus.js";

/** Nodes that a query hears: those nearest to it. */
export const HEARD_BY_QUERY = 16;
const HEARD_BY_NODE = 16;
/** Bytes of keys and values that are kept. */
const CACHE_BYTES = 64 << 20;
/** Rows that are propagated at once. */
const BLOCK = 1024;

/** The network as it was trained: one flat array of parameters a layer. */
export interface NetworkWeights {
  shape: NetworkShape;
  layers: Float32Array[];
}

export interface Attended {
  query: Float32Array;
  /** What was heard, by layer: of each of `nodes`, its share of the attention, the mean over heads. */
  attention: { nodes: Uint32Array; weights: Float32Array }[];
}

export class Propagator {
  /** By layer, then node: keys and values. */
  private readonly known: Map<number, Float32Array>[];
  private readonly most: number;
  private count = 0;

  /** @param scale unit of scores */
  constructor(
    private readonly network: Network,
    private readonly weights: NetworkWeights,
    private readonly corpus: Corpus,
    private readonly scale: number,
  ) {
    this.known = weights.layers.map(() => new Map());
    this.most = Math.max(HEARD_BY_QUERY, Math.floor(CACHE_BYTES / 4 / stateWidth(weights.shape)));
  }

  /** Forgets all states: vectors, edges or parameters changed. */
  clear(): void {
    for (const layer of this.known) layer.clear();
    this.count = 0;
  }

  /** The query after `depth` layers. `near`: the nodes nearest to it, best first. */
  attend(query: Float32Array, near: Uint32Array, depth = this.weights.layers.length): Attended {
    const nodes = near.slice(0, HEARD_BY_QUERY);
    const logWeights = this.heardBy(query, nodes);
    const index = Uint32Array.from(nodes.keys());
    const { shape, layers } = this.weights;
    const heads = shape.propagation === "linear" ? 1 : shape.heads;
    let x = query.slice();
    const attention = layers.slice(0, depth).map((parameters, layer) => {
      const weights = new Float32Array(heads * nodes.length);
      const y = new Float32Array(x.length);
      this.network.attend(parameters, x, this.heard(layer, nodes), index, logWeights, y, weights);
      x = y;
      const mean = new Float32Array(nodes.length);
      weights.forEach((weight, i) => {
        const at = i % nodes.length;
        mean[at] = mean[at]! + weight / heads;
      });
      return { nodes, weights: mean };
    });
    return { query: x, attention };
  }

  /** Logarithms of the weights of the edges from a query to what it hears. */
  heardBy(query: Float32Array, nodes: Uint32Array): Float32Array {
    return edgeWeights(this.corpus.scores(query, nodes), this.corpus.metric, this.scale).map(Math.log);
  }

  /** Nodes after `layer` layers, B x d. */
  states(layer: number, nodes: Uint32Array): Float32Array {
    const { dimensions: d } = this.corpus;
    const out = new Float32Array(nodes.length * d);
    if (layer === 0) {
      for (const [i, node] of nodes.entries()) out.set(this.corpus.vector(node), i * d);
      return out;
    }
    for (let at = 0; at < nodes.length; at += BLOCK) {
      out.set(this.propagate(layer, nodes.subarray(at, at + BLOCK)), at * d);
    }
    return out;
  }

  private propagate(layer: number, nodes: Uint32Array): Float32Array {
    const { dimensions: d } = this.corpus;
    const x = this.states(layer - 1, nodes);
    const fields = this.corpus.fields(nodes, this.scale);
    const union = Uint32Array.from(new Set(fields.flatMap((field) => Array.from(field.nodes))));
    const places = new Map(Array.from(union, (node, i) => [node, i]));
    const index = new Uint32Array(nodes.length * HEARD_BY_NODE).fill(MASKED);
    const logWeights = new Float32Array(index.length);
    fields.forEach((field, i) => {
      field.nodes.forEach((node, j) => {
        index[i * HEARD_BY_NODE + j] = places.get(node)!;
        logWeights[i * HEARD_BY_NODE + j] = Math.log(field.weights[j]!);
      });
    });
    const { shape, layers } = this.weights;
    const heads = shape.propagation === "linear" ? 1 : shape.heads;
    const y = new Float32Array(nodes.length * d);
    const attention = new Float32Array(index.length * heads);
    this.network.attend(layers[layer - 1]!, x, this.heard(layer - 1, union), index, logWeights, y, attention);
    return y;
  }

  /** Keys and values of nodes in a layer, computed where they are not known. */
  private heard(layer: number, nodes: Uint32Array): Float32Array {
    const width = stateWidth(this.weights.shape);
    const known = this.known[layer]!;
    const missing = nodes.filter((node) => !known.has(node));
    if (missing.length > 0) {
      if (this.count + missing.length > this.most) this.clear();
      const fresh = new Float32Array(missing.length * width);
      this.network.keysAndValues(this.weights.layers[layer]!, this.states(layer, missing), fresh);
      for (const [i, node] of missing.entries()) known.set(node, fresh.slice(i * width, (i + 1) * width));
      this.count += missing.length;
    }
    const out = new Float32Array(nodes.length * width);
    for (const [i, node] of nodes.entries()) out.set(known.get(node) ?? this.alone(layer, node), i * width);
    return out;
  }

  /** Keys and values of a node that the cache had to let go of while others were computed. */
  private alone(layer: number, node: number): Float32Array {
    const out = new Float32Array(stateWidth(this.weights.shape));
    this.network.keysAndValues(this.weights.layers[layer]!, this.states(layer, Uint32Array.of(node)), out);
    return out;
  }
}
