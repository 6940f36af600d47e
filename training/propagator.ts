/**
 * Serving the attention network (model/gnn/layer.ts): states of nodes layer by layer, kept while nothing
 * changes, and one fresh hop for a query. A query after l layers hears the nodes near it as they are after
 * l - 1; a node hears its neighbours in the graph the same way. A hierarchical network takes the query from coarse
 * to fine: in layer l of L, from 1 on, it hears those nearest to it on the graph's layer L - l, or on the topmost one
 * where that is lower, and in the last the nearest of all. Computed afresh, three layers of 16 neighbours
 * would be 4,096 rows; kept, a query costs one product a layer.
 */

import { type EdgeScalars, edgeWeights, type RowBiases } from "../model/field.js";
import { halvesOf, MASKED, type Network, type NetworkShape, stateWidth } from "../native/gnn.js";
import { type Corpus, HEARD, type Neighbourhood } from "./corpus.js";

/** Bytes of states, keys and values that are kept. */
const CACHE_BYTES = 128 << 20;
/** Rows that are propagated at once. */
const BLOCK = 1024;

/** The network as it was trained: one flat array of parameters a layer. */
export interface NetworkWeights {
  shape: NetworkShape;
  layers: Float32Array[];
  /** Of the weights of what is heard. */
  edges: Readonly<EdgeScalars>;
  /** Whether queries go through the graph's layers from coarse to fine. */
  hierarchical: boolean;
  /** By node the biases of its edges; without them, those that the graph's rows hold. */
  biases?: ReadonlyMap<number, RowBiases>;
}

export interface Attended {
  query: Float32Array;
  /** What was heard, by layer: of each of `nodes`, its share of the attention, the mean over heads. */
  attention: { nodes: Uint32Array; weights: Float32Array }[];
}

export class Propagator {
  /** By layer, then node: keys and values in it. */
  private readonly spoken: Map<number, Float32Array>[];
  /** By layer, then node: the state that it leaves behind. */
  private readonly left: Map<number, Float32Array>[];
  private bytes = 0;
  /** In half precision: a wide layer's time is that of its parameters on their way from memory. */
  private readonly parameters: Uint16Array[];

  /** @param scale unit of scores */
  constructor(
    private readonly network: Network,
    private readonly weights: NetworkWeights,
    private readonly corpus: Corpus,
    private readonly scale: number,
  ) {
    this.parameters = weights.layers.map(halvesOf);
    this.spoken = weights.layers.map(() => new Map());
    this.left = weights.layers.map(() => new Map());
  }

  /** Forgets all states: vectors, edges or parameters changed. */
  clear(): void {
    for (const layer of [...this.spoken, ...this.left]) layer.clear();
    this.bytes = 0;
  }

  /** The query after `depth` layers. `near`: the nodes nearest to it, best first. */
  attend(query: Float32Array, near: Uint32Array, depth = this.weights.layers.length): Attended {
    const { shape } = this.weights;
    const heads = shape.propagation === "linear" ? 1 : shape.heads;
    let x = query.slice();
    const attention = this.parameters.slice(0, depth).map((parameters, layer) => {
      const nodes = this.heardIn(layer, query, near);
      const logWeights = this.heardBy(this.corpus.scores(query, nodes)).map(Math.log);
      const index = Uint32Array.from(nodes.keys());
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

  /** What a query hears in a layer. `near`: the nodes nearest to it, best first. */
  heardIn(layer: number, query: Float32Array, near: Uint32Array): Uint32Array {
    const { hierarchical, layers } = this.weights;
    const level = hierarchical ? Math.min(layers.length - 1 - layer, this.corpus.topLevel) : 0;
    return level === 0 ? near.slice(0, HEARD) : this.corpus.nearestAt(level, query, HEARD);
  }

  /** Weights of the edges from a query to what it hears, by its scores. A query stands nowhere in the graph. */
  heardBy(scores: Float32Array): Float32Array {
    return edgeWeights(scores, this.corpus.metric, this.scale, { scalars: this.weights.edges });
  }

  /** Weights of the edges from a node to what it hears. */
  weightsIn(node: number, { nodes, scores, structural, biases }: Neighbourhood): Float32Array {
    const { edges, biases: learned } = this.weights;
    let own = biases;
    if (learned) {
      const row = learned.get(node);
      own = Float32Array.from(nodes, (other) => row?.values[row.to.indexOf(other)] ?? 0);
    }
    const parts = { scalars: edges, structural, biases: own };
    return edgeWeights(scores, this.corpus.metric, this.scale, parts);
  }

  /** Nodes after `layer` layers, B x d. */
  states(layer: number, nodes: Uint32Array): Float32Array {
    // A layer whose gate is 0 leaves everything as it is.
    const changing = this.weights.layers.findLastIndex((parameters, i) => i < layer && parameters.at(-1) !== 0);
    if (changing < 0) return gather(nodes, this.corpus.dimensions, (node) => this.corpus.vector(node));
    return this.remembered(this.left[changing]!, nodes, this.corpus.dimensions, (missing) =>
      this.propagate(changing + 1, missing),
    );
  }

  /**
   * Rows of nodes, from what is kept and from `compute`, block by block.
   * @param kept rows by node; gets what was computed while there is room
   */
  private remembered(
    kept: Map<number, Float32Array>,
    nodes: Uint32Array,
    width: number,
    compute: (missing: Uint32Array) => Float32Array,
  ): Float32Array {
    const fresh = new Map<number, Float32Array>();
    const missing = nodes.filter((node) => !kept.has(node));
    const known = new Map(Array.from(nodes, (node) => [node, kept.get(node)]));
    for (let at = 0; at < missing.length; at += BLOCK) {
      const block = missing.subarray(at, at + BLOCK);
      const rows = compute(block);
      for (const [i, node] of block.entries()) fresh.set(node, rows.slice(i * width, (i + 1) * width));
    }
    if (this.bytes + 4 * width * fresh.size > CACHE_BYTES) this.clear();
    if (4 * width * fresh.size <= CACHE_BYTES) {
      for (const [node, row] of fresh) kept.set(node, row);
      this.bytes += 4 * width * fresh.size;
    }
    return gather(nodes, width, (node) => known.get(node) ?? fresh.get(node)!);
  }

  private propagate(layer: number, nodes: Uint32Array): Float32Array {
    const { dimensions: d } = this.corpus;
    const x = this.states(layer - 1, nodes);
    const around = this.corpus.neighbourhoods(nodes);
    const union = Uint32Array.from(new Set(around.flatMap((heard) => Array.from(heard.nodes))));
    const places = new Map(Array.from(union, (node, i) => [node, i]));
    const index = new Uint32Array(nodes.length * HEARD).fill(MASKED);
    const logWeights = new Float32Array(index.length);
    around.forEach((heard, i) => {
      const weights = this.weightsIn(nodes[i]!, heard);
      heard.nodes.forEach((node, j) => {
        index[i * HEARD + j] = places.get(node)!;
        logWeights[i * HEARD + j] = Math.log(weights[j]!);
      });
    });
    const { shape } = this.weights;
    const heads = shape.propagation === "linear" ? 1 : shape.heads;
    const y = new Float32Array(nodes.length * d);
    const attention = new Float32Array(index.length * heads);
    this.network.attend(this.parameters[layer - 1]!, x, this.heard(layer - 1, union), index, logWeights, y, attention);
    return y;
  }

  /** Keys and values of nodes in a layer. */
  private heard(layer: number, nodes: Uint32Array): Float32Array {
    const width = stateWidth(this.weights.shape);
    return this.remembered(this.spoken[layer]!, nodes, width, (missing) => {
      const out = new Float32Array(missing.length * width);
      this.network.keysAndValues(this.parameters[layer]!, this.states(layer, missing), out);
      return out;
    });
  }
}

/** Rows of nodes side by side. */
function gather(nodes: Uint32Array, width: number, rowOf: (node: number) => Float32Array): Float32Array {
  const out = new Float32Array(nodes.length * width);
  for (const [i, node] of nodes.entries()) out.set(rowOf(node), i * width);
  return out;
}
