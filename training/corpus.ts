/** What the learners need of the store; the engine provides it. Nothing here does I/O. */
import type { Prng } from "../base/prng.js";
import type { FeedbackEvent, Metric } from "../base/types.js";
import type { Seed } from "../model/edges.js";

export interface Corpus {
  readonly dimensions: number;
  readonly metric: Metric;
  /** Live documents. */
  readonly size: number;
  /** The node's own vector, unit length under cosine. May be a view; it must stay readable until the call that learns ends. */
  vector(node: number): Float32Array;
  isLive(node: number): boolean;
  /** Scores of a query against the vectors of nodes; larger is better. */
  scores(query: Float32Array, nodes: Uint32Array): Float32Array;
  /** What each node hears. `scale`: unit of scores. */
  fields(nodes: Uint32Array, scale: number): Field[];
  /** Static search: up to `k` nodes, best first, without any learned part. Called once or twice per event. */
  nearest(query: Float32Array, k: number): { nodes: Uint32Array };
  /** Up to `count` live nodes drawn at random with `prng`; repeats are allowed. */
  sample(count: number, prng: Prng): Uint32Array;
}

/** At most 16 live neighbours in the graph, those of the strongest edges first, with weights in (0, 1). */
export interface Field {
  nodes: Uint32Array;
  weights: Float32Array;
}

/** A feedback event. `examples`: nodes that the query was made from, which are no answers to it. */
export interface LearnEvent extends FeedbackEvent {
  examples?: readonly number[];
  /** Of `examples`, those to be like, and how much. */
  seeds?: readonly Seed[];
}
