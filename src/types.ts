/** The public types: what users pass and get. */
import type { Durability, Filter, Id, Metric, Payload, Tier } from "../base/types.js";
import type { ConfigInput } from "./config.js";

export type { Durability, Filter, Id, Json, Metric, Payload, Tier } from "../base/types.js";
export type { ConfigInput } from "./config.js";

/** Turns texts into vectors of the index's dimensions, in the order given. */
export type Encoder = (texts: string[]) => Promise<Float32Array[]> | Float32Array[];

/** The built-in encoder: words, not meanings, and no model weights (docs/decisions/text-encoder.md). */
export const BUILT_IN_ENCODER = "hashed-tfidf";

export interface OpenOptions {
  /** Values per vector, 1-65536. With `metric`, required to create; checked against the store on opening. */
  dimensions?: number;
  /** `cosine` | `l2` | `dot`. With `dimensions`, required to create; one of them alone is a TypeError. */
  metric?: Metric;
  /** The path of a config.toml, or a part of one: `{ ruvector: { hnsw_m: 16 } }`. Default: all defaults. */
  config?: string | ConfigInput;
  /** Payload fields (dotted, at most 32) that filters use often; each gets an index. Default: those the store has. Not with `readOnly`. */
  indexes?: string[];
  /**
   * Opens without changing anything; many may at once, while nobody writes. A store whose writer was
   * killed must be opened for writing first (STORE_READ_ONLY). Default false.
   */
  readOnly?: boolean;
  /**
   * When an acknowledged write survives a power failure: `sync` at once (default), `interval` within
   * `flush_interval_ms`, `off` when the system likes. A killed process loses nothing in any of them.
   */
  durability?: Durability;
  /**
   * For texts: a function, or "hashed-tfidf", the built-in one, which an empty store then remembers. That
   * one is fitted to the texts in the store while they are few; to be fitted again, a row has to have
   * its text as `text` in its payload.
   */
  encoder?: Encoder | typeof BUILT_IN_ENCODER;
}

/** A vector as it is put: values, or a text for the encoder. */
export type VectorInput = Float32Array | number[] | { text: string };

/** One row of `putMany`. What `get` and `entries` return is one too: their `tier` is passed over, as new rows start hot. */
export interface Entry {
  id: Id;
  vector?: Float32Array | number[];
  text?: string;
  payload?: Payload | undefined;
  tier?: Tier;
}

/** Columns of `putMany`: `vectors` holds ids.length x dimensions values, or `texts` one text an id. */
export interface EntryColumns {
  ids: Id[];
  vectors?: Float32Array;
  texts?: string[];
  payloads?: (Payload | undefined)[];
}

export interface ProgressOptions {
  /** Called with the rows that are in and how many there are (undefined for an iterable): after each 1,000 of an iterable, once for a batch. */
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface Stored {
  id: Id;
  /** As it was given; where `storage.keep_originals` is false and it left tier hot, what its tier can give back. */
  vector: Float32Array;
  payload: Payload | undefined;
  tier: Tier;
}

export interface SearchOptions {
  /** How many results, 1-1,000,000. Default 10. */
  k?: number;
  /**
   * Candidates kept while searching the bottom layer (`ef` in Malkov & Yashunin 2018, Alg. 2).
   * Range 1-1,000,000, default `hnsw_ef_search` (64). Lower loses recall; higher costs about linearly more distance
   * computations. A value below `k` is raised to `k`.
   */
  ef?: number;
  /**
   * Only rows whose payload matches. The first search with a filter reads all payloads, or those
   * that a declared index finds; later ones reuse its bitmap, while it is among the last 64 used.
   */
  filter?: Filter;
  /** What hits carry beside id, score and distance. Default ["payload"]. */
  include?: ("payload" | "vector")[];
  /** Leaves out what is farther than this. */
  maxDistance?: number;
  /** Compares with every vector: the truth, to measure recall with. Default false. */
  exact?: boolean;
  /**
   * Vectors that left tier hot are found by what their tier holds of them. `rerank: r`, 1-1024, compares the best
   * r x k again with their originals; `false` leaves distances as the codes estimate them. Default 4; with `exact`,
   * originals alone are compared. Where originals are not kept it changes nothing.
   */
  rerank?: number | false;
}

export interface Hit {
  id: Id;
  /** Larger is better: the cosine, the dot product, or minus the squared L2 distance. Neural and hybrid queries have scores of their own. */
  score: number;
  /** Smaller is nearer: 1 - cosine, minus the dot product, or the squared L2 distance. */
  distance: number;
  payload?: Payload | undefined;
  vector?: Float32Array;
}

export const QUERY_MODES = ["vector", "neural", "subgraph", "differentiable"] as const;
export type QueryMode = (typeof QUERY_MODES)[number];

/** What a query asks with: exactly one of a vector, a text, a stored id, or examples. */
export interface QueryInput {
  vector?: Float32Array | number[];
  text?: string;
  id?: Id;
  /** More like these ... */
  positive?: Id[];
  /** ... and unlike those. */
  negative?: Id[];
  /** One weight > 0 for each of `positive`, or for each of `positive` then `negative`. Default: 1 each. */
  weights?: number[];
}

export interface Query extends QueryInput, Omit<SearchOptions, "exact" | "rerank"> {
  /** Default "vector". */
  mode?: QueryMode;
  /** With `text`: fuses the ranking by vectors with BM25 over the payloads' `text` field (reciprocal rank). */
  hybrid?: boolean;
  /** Of the softmax over candidates in `differentiable`. Default: `temperature` of the config (0.07). */
  temperature?: number;
  /** Message-passing hops, 0 to the number of layers. This release has no layers: 0. */
  gnnDepth?: number;
  /** Attention weights of message passing. This release has none to return: false. */
  returnAttention?: boolean;
}

export interface QueryResult {
  hits: Hit[];
  latencyMs: number;
  /** Mode `subgraph`: the hits and the edges of the graph among them; `weight` is the score between both ends. */
  subgraph?: { nodes: Id[]; edges: { from: Id; to: Id; weight: number }[] };
  /** Mode `differentiable`: [0] is the soft vector, the softmax-weighted mean of the candidates; empty where there is none. */
  embeddings?: Float32Array[];
  /** Mode `differentiable`, where there are hits: from the gradient by the soft vector to those by the query and by each hit's vector. */
  backward?: (gradient: Float32Array) => { query: Float32Array; candidates: Float32Array[] };
}

/** What somebody did with results. */
export interface Feedback {
  query:
    | Float32Array
    | number[]
    | { text: string }
    | { id: Id }
    | { positive: Id[]; negative?: Id[]; weights?: number[] };
  /** What was relevant, with a grade > 0 (default 1). */
  chosen: (Id | { id: Id; grade: number })[];
  /** What was displayed, in that order; `chosen` must be among it. */
  shown?: Id[];
  /** What was marked as wrong. */
  rejected?: Id[];
  /** Who it came from, at most 512 bytes. Where there are several, none counts for more than `learning.source_share` of recent events. */
  source?: string;
  /** Milliseconds since 1970. Default: now. */
  time?: number;
}

export interface TrainOptions {
  /** Passes of the adapter over the feedback, 1-1000; shifts take two thirds as many. Default: `learning.adapter_epochs`. */
  epochs?: number;
  /** Called with what is done of a phase and how much that phase has; phases follow one another. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export interface RetierOptions {
  /** Milliseconds since 1970. Default: the time it is. */
  now?: number;
  /** Every vector goes to this tier, and cools and warms from there as any other. */
  force?: Tier;
}

export interface Fault {
  code: string;
  section: string;
  /** Where in the section: a byte offset, a node of the graph or of a catalog row, or the LSN of feedback. */
  offset: number;
  message: string;
}
