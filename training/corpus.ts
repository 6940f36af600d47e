/** What the learners need of the store; the engine provides it. Nothing here does I/O. */
import type { Prng } from "../base/prng.js";
import type { Metric } from "../base/types.js";
import type { Seed } from "../model/edges.js";

/** Rows that a node, a query or a new row hears: the nearest. */
export const HEARD = 16;

export interface Corpus {
  readonly dimensions: number;
  readonly metric: Metric;
  /** Live documents. */
  readonly size: number;
  /**
   * The node's own vector, unit length under cosine. May be a view; it must stay readable until the call that learns
   * ends.
   */
  vector(node: number): Float32Array;
  /** The same of many. */
  vectorsOf(nodes: Uint32Array): Float32Array[];
  isLive(node: number): boolean;
  /** Scores of a query against the vectors of nodes; larger is better. */
  scores(query: Float32Array, nodes: Uint32Array): Float32Array;
  /** What each node hears. `scale`: unit of scores. */
  fields(nodes: Uint32Array, scale: number): Field[];
  /** The same neighbours with all that the weights of their edges are made of. */
  neighbourhoods(nodes: Uint32Array): Neighbourhood[];
  /** All live neighbours of a node in the graph, the nearest first. */
  neighbours(node: number): Uint32Array;
  /** Static search: up to `k` nodes, best first, without any learned part. Called a few times per event. */
  nearest(query: Float32Array, k: number): { nodes: Uint32Array };
  /** The graph's topmost layer; 0 where there is only the bottom one. */
  readonly topLevel: number;
  /** As `nearest`, among the nodes that are on a layer, from 1 to `topLevel`. */
  nearestAt(level: number, query: Float32Array, k: number): Uint32Array;
  /** Up to `count` live nodes drawn at random with `prng`; repeats are allowed. */
  sample(count: number, prng: Prng): Uint32Array;
}

/**
 * At most `HEARD` live neighbours in the graph, the nearest first, with the weights in (0, 1) that their edges have
 * untrained.
 */
export interface Field {
  nodes: Uint32Array;
  weights: Float32Array;
}

/**
 * At most `HEARD` live neighbours in the graph, the nearest first, and by edge the parts of its weight
 * (model/field.ts).
 */
export interface Neighbourhood {
  nodes: Uint32Array;
  scores: Float32Array;
  structural: Float32Array;
  /** As the graph's rows hold them. */
  biases: Float32Array;
}

/** A feedback event as the learners see it: nodes, not ids. */
export interface LearnEvent {
  /** `dimensions` values, unit length under cosine. */
  query: Float32Array;
  /** What was relevant, with a grade > 0. */
  chosen: { node: number; grade: number }[];
  /** What was displayed, in that order; numbers that are not live stand for rows that are gone. */
  shown: number[];
  /** What was marked as wrong. */
  rejected: number[];
  source: string | undefined;
  /** What the query was made from, which is no answer to it. */
  examples?: readonly number[];
  /** Of `examples`, those to be like, and how much. */
  seeds?: readonly Seed[];
}
