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
  /** Values per vector, 1-65536. Required to create; checked against the store on opening. */
  dimensions?: number;
  /** `cosine` | `l2` | `dot`. Required to create; checked against the store on opening. */
  metric?: Metric;
  /** The path of a config.toml, or a part of one: `{ ruvector: { hnsw_m: 16 } }`. Default: all defaults. */
  config?: string | ConfigInput;
  /** Payload fields (dotted) that filters use often; each gets an index. Default: those the store has. */
  indexes?: string[];
  /** Opens without the right to write; many may at once, while nobody writes. Default false. */
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

/** One row of `putMany`. */
export interface Entry {
  id: Id;
  vector?: Float32Array | number[];
  text?: string;
  payload?: Payload;
}

/** Columns of `putMany`: `vectors` holds ids.length x dimensions values, or `texts` one text an id. */
export interface EntryColumns {
  ids: Id[];
  vectors?: Float32Array;
  texts?: string[];
  payloads?: (Payload | undefined)[];
}

export interface ProgressOptions {
  /** Called now and then with what is done and what there is in all (undefined where unknown). */
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface Stored {
  id: Id;
  /** As it was given. */
  vector: Float32Array;
  payload: Payload | undefined;
  tier: Tier;
}

export interface SearchOptions {
  /** How many results, 1-1,000,000. Default 10. */
  k?: number;
  /**
   * Candidates kept while searching the bottom layer (`ef` in Malkov & Yashunin 2018, Alg. 2).
   * Default: `hnsw_ef_search` (64). Lower loses recall; higher costs about linearly more distance
   * computations. A value below `k` is raised to `k`.
   */
  ef?: number;
  /** Only rows whose payload matches. The first search with a filter reads all payloads; later ones are free. */
  filter?: Filter;
  /** What hits carry beside id, score and distance. Default ["payload"]. */
  include?: ("payload" | "vector")[];
  /** Leaves out what is farther than this. */
  maxDistance?: number;
  /** Compares with every vector: the truth, to measure recall with. Default false. */
  exact?: boolean;
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

export interface Query extends QueryInput, Omit<SearchOptions, "exact"> {
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
  /** Mode `differentiable`: [0] is the soft vector, the softmax-weighted mean of the candidates. */
  embeddings?: Float32Array[];
  /** Mode `differentiable`: from the gradient by the soft vector to those by the query and by each hit's vector. */
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
  /** What was displayed, in that order. */
  shown?: Id[];
  /** What was marked as wrong. */
  rejected?: Id[];
  /** Who it came from; no one source can steer the learners alone. */
  source?: string;
  /** Milliseconds since 1970. Default: now. */
  time?: number;
}

export interface TrainOptions {
  /** Passes over the feedback, 1-1000. Default: the learners'. */
  epochs?: number;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export interface Fault {
  code: string;
  section: string;
  /** Byte offset in the section's file, where known. */
  offset: number;
  message: string;
}
