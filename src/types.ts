/** The public types: what users pass and get. */
import type { Durability, Fault, Filter, Id, Metric, Payload, Tier } from "../base/types.js";
import type { Expression } from "../model/expression.js";
import type { Learner } from "../training/arms.js";
import type { ConfigInput } from "./config.js";

export type { Durability, Fault, Filter, Id, Json, Metric, Payload, Tier } from "../base/types.js";
export type { ConfigInput } from "./config.js";

/** Turns texts into vectors of the index's dimensions, in the order given. */
export type Encoder = (texts: string[]) => Promise<Float32Array[]> | Float32Array[];

/** The built-in encoder: words, not meanings, and no model weights (docs/decisions/0014-text-encoder.md). */
export const BUILT_IN_ENCODER = "hashed-tfidf";

export interface OpenOptions {
  /** Values per vector, 1-65536. With `metric`, required to create; checked against the store on opening. */
  dimensions?: number;
  /** `cosine` | `l2` | `dot`. With `dimensions`, required to create; one of them alone is a TypeError. */
  metric?: Metric;
  /** The path of a config.toml, or a part of one: `{ ruvector: { hnsw_m: 16 } }`. Default: all defaults. */
  config?: string | ConfigInput;
  /**
   * Payload fields (dotted, at most 32) that filters use often; each gets an index. Default: those the store has. Not
   * with `readOnly`.
   */
  indexes?: string[];
  /**
   * Opens to read one state, that of the opening, which never changes: beside a writer and any number of readers, of this
   * process and others. A store whose writer was killed must be opened for writing first (STORE_READ_ONLY). Default false.
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

/**
 * One row of `putMany`. What `get` and `entries` return is one too: their `tier` is passed over, as new rows start hot.
 */
export interface Entry {
  id: Id;
  /** `dimensions` finite numbers, not zero under cosine; or else: */
  vector?: Float32Array | number[];
  /** What the store's encoder makes the vector of. It becomes part of the payload only if it is there, too. */
  text?: string;
  /** A JSON object; a string as `text` can be searched in full. Default: none. */
  payload?: Payload | undefined;
  /** Passed over. */
  tier?: Tier;
}

/** Columns of `putMany`: `vectors` holds ids.length x dimensions values, or `texts` one text an id. */
export interface EntryColumns {
  /** Each once. */
  ids: Id[];
  /** One row after the other; or else: */
  vectors?: Float32Array;
  /** For the store's encoder, as many as ids. */
  texts?: string[];
  /** As many as ids. Default: none. */
  payloads?: (Payload | undefined)[];
}

export interface ProgressOptions {
  /**
   * Called with the rows that are in and how many there are (undefined for an iterable): after each 1,000 of an
   * iterable, once for a batch.
   */
  onProgress?: (done: number, total: number | undefined) => void;
}

/** A row, as `get` and `entries` return it; a copy. */
export interface Stored {
  id: Id;
  /** As it was given; where `storage.keep_originals` is false and it left tier hot, what its tier can give back. */
  vector: Float32Array;
  /** A fresh object; undefined where none was put. */
  payload: Payload | undefined;
  /** How precisely the vector is kept now (docs/concepts/tiers.md). */
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
  /** Leaves out what is farther than this, as `Hit.distance` counts. Default: nothing. */
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
  /**
   * Larger is better: the cosine, the dot product, or minus the squared L2 distance. Neural and hybrid queries have
   * scores of their own.
   */
  score: number;
  /** Smaller is nearer: 1 - cosine, minus the dot product, or the squared L2 distance. */
  distance: number;
  /** Unless `include` leaves it out; a fresh object. */
  payload?: Payload | undefined;
  /** Where `include` asks for it: as `get` returns it. */
  vector?: Float32Array;
}

export const QUERY_MODES = ["vector", "neural", "subgraph", "differentiable"] as const;
export type QueryMode = (typeof QUERY_MODES)[number];

/** How a differentiable query turns its candidates into one vector (docs/concepts/bridges.md). */
export const ESTIMATORS = ["soft", "straight-through", "gumbel"] as const;
export type Estimator = (typeof ESTIMATORS)[number];

/** What a query asks with: exactly one of a vector, a text, a stored id, or examples. */
export interface QueryInput {
  /** `dimensions` finite numbers; not zero under cosine. */
  vector?: Float32Array | number[];
  /** For the store's encoder. */
  text?: string;
  /** More like this row. */
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
  /**
   * Of the softmax over candidates in `differentiable`, above 0: lower looks at the nearest alone. Default:
   * `temperature` of the config (0.07).
   */
  temperature?: number;
  /**
   * Mode `differentiable`: the vector is the mean of the candidates under the softmax (`soft`, the default), the
   * candidate with the largest score and backward as `soft` (`straight-through`), or a sample of such a mean
   * (`gumbel`).
   */
  estimator?: Estimator;
  /** Of the sample of `gumbel`: the same one, the same sample. 0 to 4,294,967,295, default 1. */
  seed?: number;
  /**
   * 0 to `gnn_layers`. Mode `neural`: layers of the network that the query goes through where it serves, from the first
   * on (which of a hierarchical one is the coarsest); default all. Mode `subgraph`: hops beyond the hits; default 0.
   */
  gnnDepth?: number;
  /** Mode `neural`: returns what the query heard in the network. Default false. */
  returnAttention?: boolean;
}

export interface QueryResult {
  /** Best first, at most k. */
  hits: Hit[];
  /** Milliseconds from the call to this result, encoding a text included. */
  latencyMs: number;
  /**
   * With `returnAttention`: for each hop the ids that the query heard, and the share of attention that each got (mean
   * over heads, summing to 1). Empty while no network serves.
   */
  attention?: { nodes: Id[]; weights: Float32Array }[];
  /**
   * Mode `subgraph`: the hits, what lies within `gnnDepth` hops, and the edges among them, learned ones too; weights in
   * (0, 1). Hops stop at 10,000 nodes.
   */
  subgraph?: { nodes: Id[]; edges: { from: Id; to: Id; weight: number }[] };
  /** Mode `differentiable`: [0] is the vector that `estimator` makes of the candidates; empty where there is none. */
  embeddings?: Float32Array[];
  /** Mode `differentiable`: what the softmax is over, the nearest 4 k at most. The hits are the first of them. */
  candidates?: Id[];
  /**
   * Mode `differentiable`, where there are hits: from the gradient by `embeddings[0]` to those by the query and by each
   * candidate's vector. `candidates[i]` belongs to `candidates[i]` of the result, and so to `hits[i]` for the first.
   */
  backward?: (gradient: Float32Array) => { query: Float32Array; candidates: Float32Array[] };
}

export interface InspectOptions {
  /** Also tells why the row ranks where it ranks for this query. Default: nothing of that. */
  explain?: QueryInput;
  /** With `explain`: ranks are looked for among so many hits, 1-1,000,000. Default 100. */
  k?: number;
}

/** A neighbour of a row: by an edge of the graph's bottom layer, a learned one, or both. */
export interface Neighbour {
  id: Id;
  /** By the store's metric, from the row. */
  distance: number;
  /** How loud message passing hears it, in (0, 1). */
  weight: number;
  /** What was learned of the graph's edge; 0 where nothing was, or the graph has none. */
  bias: number;
  /** Of the learned edge to it, now; 0 where there is none. */
  strength: number;
  /** Whether the graph's bottom layer has the edge. */
  inGraph: boolean;
}

/** A row with all that the index keeps about it. */
export interface Inspection extends Stored {
  /** Accesses, halved with each half-life that passes; what tiers go by. */
  heat: number;
  /** Whether it is in the graph; else a search finds it by a scan, and it has no neighbours yet. */
  linked: boolean;
  /** The highest layer of the graph that it is on; 0 is the bottom one. */
  level: number;
  /** Bottom-layer edges that lead to it. */
  inDegree: number;
  /** Nearest first. */
  neighbours: Neighbour[];
  /**
   * What learning adds to its vector (of unit length under cosine) where shifts serve, how long that is, and how often
   * the row was chosen in what it was learned from. Undefined where it has none.
   */
  shift: { vector: Float32Array; length: number; choices: number } | undefined;
  /** With `explain`. */
  explanation?: Explanation;
}

/** Why a row ranks where it ranks for a query. */
export interface Explanation {
  /** What answers `neural` queries. */
  serving: "static" | Learner[];
  /** Ranks are among so many hits. */
  k: number;
  /** In mode `vector`. `rank` from 1; undefined where it is not among the k, or the query was made of the row. */
  static: { rank: number | undefined; score: number; distance: number };
  /** In mode `neural`. */
  neural: { rank: number | undefined; score: number };
  /**
   * What each learner that serves adds to the score, one after the other: with the static score they sum up to the
   * neural one. `rank` is where that would put it among the candidates of the query; empty while nothing serves.
   */
  parts: { learner: Learner; adds: number; rank: number }[];
  /** Learned edges to the row from what stands for the query, and the share of the query that each of those stands for. */
  edges: { from: Id; share: number; strength: number }[];
}

/** Where a row stands in the graph. */
export interface SurveyedRow {
  id: Id;
  tier: Tier;
  /** The highest layer that it is on; 0 is the bottom one. */
  level: number;
  /** Bottom-layer edges that leave it, at most 2 M, and that lead to it. */
  outDegree: number;
  inDegree: number;
}

/** A text to keep as a thought. */
export interface ThoughtInput {
  /** What the store's encoder turns into a vector; becomes `text` of the payload. */
  content: string;
  /** What to keep beside it, without `text`, which the content is. Default: nothing. */
  payload?: Payload;
  /** Default: a new unique string. One that is there already is replaced. */
  id?: Id;
}

export interface StoredThought {
  id: Id;
  /** What it was linked to, nearest first; at most 10. */
  related: { id: Id; score: number }[];
}

export interface ContextOptions {
  /** Hops along learned edges beyond the nearest thoughts, 0-8, default 1; they bring at most k more. */
  depth?: number;
  /** How many of the nearest thoughts, 1-1,000,000. Default 20. */
  k?: number;
  /** Only thoughts whose payload matches. */
  filter?: Filter;
}

export interface Thought {
  id: Id;
  /** `text` of the payload. */
  content: string;
  payload: Payload | undefined;
  /** Of the query and its vector by the store's metric, larger is better, for those that edges led to as well. */
  score: number;
}

/**
 * The nearest thoughts, nearest first, then those that learned edges lead to; and the edges among all of them, with
 * weights in (0, 1).
 */
export interface ThoughtContext {
  thoughts: Thought[];
  edges: { from: Id; to: Id; weight: number }[];
}

/**
 * A symbolic expression: a string, a finite number, a boolean, or a list of 1-64 expressions, the first its head.
 * At most 32 levels of lists, and 1,024 atoms and lists in all.
 */
export type SymbolicExpression = Expression;

export interface Grounded {
  /** Of unit length: half structure, half what was retrieved. */
  vector: Float32Array;
  /** Of unit length: the expression alone, by its structure. */
  structural: Float32Array;
  /** The rows that a neural query found by it, nearest first; at most 5. */
  retrieved: { id: Id; score: number }[];
}

export interface LiftOptions {
  /** Expressions to look at, 1-128. Default 10. */
  beamWidth?: number;
}

export interface LiftedPattern {
  /** An expression, or one with the variables "?1", "?2", ... in place of what differs. */
  pattern: SymbolicExpression;
  /** How many of the expressions have it. */
  support: number;
  /** The mean of their likeness to the vector: the cosine where it is positive; 0 to 1. */
  score: number;
  /** The ids of those, nearest first. */
  from: Id[];
}

/** What somebody did with results. */
export interface Feedback {
  /** As of a query: a vector, a text, a stored id, or examples. */
  query:
    | Float32Array
    | number[]
    | { text: string }
    | { id: Id }
    | { positive: Id[]; negative?: Id[]; weights?: number[] };
  /** What was relevant, at least one id, with a grade > 0 (default 1). Of more than 256 the first ones count. */
  chosen: (Id | { id: Id; grade: number })[];
  /**
   * What was displayed, in that order; `chosen` must be among it. Default: nobody knows. With it, what was
   * not chosen counts against a document as far as it was looked at, by what choices themselves tell of how far down
   * people look (`learning.position_bias` bounds it).
   */
  shown?: Id[];
  /** What was marked as wrong. Default: nothing. */
  rejected?: Id[];
  /**
   * Who it came from, at most 512 bytes. Where there are several, none counts for more than `learning.source_share` of
   * recent events.
   */
  source?: string;
  /**
   * Milliseconds since 1970, 0 to 8.64e15. Default: now. Kept with the event; learning goes by the order of events
   * alone.
   */
  time?: number;
}

export interface LearnOptions {
  /**
   * Learns what it can: ids that are not in the index are left out, and events that then choose nothing, or asked by
   * such an id. Default false.
   */
  partial?: boolean;
}

export interface LearnResult {
  /** Ids that were left out; none without `partial`. */
  unknown: Id[];
}

export interface TrainOptions {
  /**
   * Passes of the adapter over the feedback, 1-1000; shifts take two thirds as many. Default:
   * `learning.adapter_epochs`.
   */
  epochs?: number;
  /**
   * Called with what is done and of how much: events read, then phases; those that an interrupted call ended are done
   * at once.
   */
  onProgress?: (done: number, total: number) => void;
  /** Ends the training with ABORTED at its next piece. */
  signal?: AbortSignal;
}

/** A gradient of some loss with respect to the vector of a row. */
export interface GradientRow {
  id: Id;
  /** `dimensions` finite numbers, of length 1e15 at most. */
  gradient: Float32Array | number[];
}

/** Gradients in columns: ids.length x dimensions values. */
export interface GradientColumns {
  ids: Id[];
  gradients: Float32Array;
}

export interface ApplyGradientsOptions {
  /**
   * `adamw` (default), `adam`, or `sgd` with momentum .9. Moments count the steps of a row, not all steps; beta1 .9,
   * beta2 .999, epsilon 1e-8.
   */
  optimizer?: "adamw" | "adam" | "sgd";
  /** Length of the step, above 0 and at most 1, default .001: with Adam about what each value of a shift moves. */
  rate?: number;
  /**
   * Pull of shifts back to 0, 0-1: beside the step in `adamw` (default .01), added to the gradient in the others
   * (default 0).
   */
  weightDecay?: number;
  /** Longest shift relative to the vector's length, 0-2. Default: `learning.shift_bound` of the config. */
  bound?: number;
}

export interface AppliedGradients {
  /** Rows that gradients waited for. */
  rows: number;
  /** Length of all that waited, together. */
  norm: number;
}

/** What the accumulator holds of a row. */
export interface WaitingGradient {
  /** The sum that waits for the next `apply`; undefined where none does. */
  gradient: Float32Array | undefined;
  /** The learned shift, from `apply` and from feedback; undefined where there is none. */
  shift: Float32Array | undefined;
  /** Steps taken with the moments that are kept. */
  steps: number;
}

export interface GradientStats {
  /** Rows with a slot: those that ever had a gradient, and are still there. */
  rows: number;
  /** Of these slots in index.hebb, and of ones that became free. */
  bytes: number;
  /** Gradients ever added; in one call those of one id are one. */
  accumulated: number;
  /** Rows' steps ever taken. */
  applied: number;
  /** Length of all that waits, together. */
  pendingNorm: number;
}

export interface RetierOptions {
  /** Milliseconds since 1970. Default: the time it is. */
  now?: number;
  /** Every vector goes to this tier, and cools and warms from there as any other. */
  force?: Tier;
}

export interface FreezeOptions {
  /**
   * How vectors are rotated before they are coded: `hadamard` (default), in time d log d, or `haar`, drawn evenly from
   * all rotations, in time and memory d^2.
   */
  rotation?: "hadamard" | "haar";
  /** Of the rotation and the clusters; 0 (default) to 2^53 - 1. The same rows and seed give the same codes. */
  seed?: number;
  /** Of a value in a code, 1-8, default 4. Fewer take less memory; with fewer, more vectors are compared. */
  bits?: number;
  /** What searches have where they say nothing else, 0-1024, default 20: see `FrozenSearchOptions`. */
  rerankFactor?: number;
  /**
   * Precision of the vectors, default `hot` (f32). In another tier nothing is left of the originals: answers are exact
   * for what the tier's codec gives back, and `get` returns that. Takes memory for all vectors while freezing.
   */
  tier?: Tier;
  /**
   * Pins what the gate lets serve of the query adapter and of shifted rows; default false. What serves beside them
   * (edges, propagation) is not pinned.
   */
  overlay?: boolean;
  /**
   * Waits until all rows that were acknowledged before are linked (default); `false` leaves rows out that are not, and
   * `stats().leftOut` counts them.
   */
  settle?: boolean;
  /** Which state of the index this is: an integer from 0 or a string. Default: the number of the last change in its log. */
  generation?: number | string;
  /** What the bundles of one index have in common. Default: the index's own id. */
  lineage?: string;
  /** A tag of yours, at most 4,096 bytes; it is not in the witness. */
  memoryClass?: string;
}

export interface OpenFrozenOptions {
  /**
   * `eager`: all bytes are held to the witness before anything is answered. `lazy` (default): each block of 64 KiB is
   * held to its checksum when it is first touched. `off`: sizes alone.
   */
  verify?: "eager" | "lazy" | "off";
}

export interface FrozenSearchOptions {
  /** How many results, 1-1,000,000. Default 10. */
  k?: number;
  /**
   * At most so many times k vectors are compared with the query, 0-1024; default: as the bundle was frozen with. A cap: a
   * search ends once nothing else can be among the k nearest, by RaBitQ's bound of three standard deviations. 0 compares
   * none, and distances are estimates. Has no effect in mode `graph`.
   */
  rerankFactor?: number;
  /**
   * `scan` (default): by the codes of all clusters that may hold a result; results are those of an exhaustive search,
   * but for the few whose estimates are off by more than the bound. `graph`: a walk, as `Index.search` does it.
   */
  mode?: "scan" | "graph";
  /** Candidates kept in mode `graph`, 1-1,000,000; default: that of the index when it was frozen. Raised to k. */
  ef?: number;
  /** What hits carry beside id, score and distance. Default ["payload"]. */
  include?: ("payload" | "vector")[];
}

/** A row of a frozen bundle. */
export interface StoredFrozen {
  id: Id;
  vector: Float32Array;
  payload: Payload | undefined;
}

export interface FrozenStats {
  /** Rows in the bundle. */
  size: number;
  /** Acknowledged rows that were not linked yet, and were left out. */
  leftOut: number;
  /** Values per vector. */
  dimensions: number;
  /** How distances are measured. */
  metric: Metric;
  /** Which compiled kernel runs: scalar, avx2, avx512 or neon. */
  kernel: string;
  /** SHAKE-256, 64 digits of hex, of all that can change an answer. */
  witness: string;
  /** As it was frozen with, like the next three. */
  rotation: "hadamard" | "haar";
  seed: number;
  bits: number;
  /** Of all vectors. */
  tier: Tier;
  rerankFactor: number;
  /** That scans pass over or look into. */
  clusters: number;
  /** Codes with their factors. */
  codes: { bytes: number; bytesPerVector: number };
  /** What was learned and is pinned: directions of the query adapter (0: none serves), and rows that are shifted. */
  overlay: { adapterRank: number; shifted: number } | undefined;
  /** As `freeze` was told, like the next two. */
  generation: number | string;
  lineage: string;
  memoryClass: string | undefined;
  /** On disk, in all and by section; `resident`: what of it is in memory. */
  bytes: { total: number; resident: number; sections: { [name: string]: number } };
  /**
   * What scans did since opening: how many there were, clusters and blocks of 32 codes that they scanned, codes that
   * were candidates by one bit, those that were looked at by all bits, and vectors compared.
   */
  scans: { queries: number; clusters: number; blocks: number; candidates: number; looked: number; compared: number };
}

/** What opening a store found that the last writer had left. */
export interface RecoveryReport {
  /** Records of the log that were applied, because no checkpoint had them. */
  replayed: number;
  /** Records at the log's end that a power failure left in pieces, and that were cut off. They had never been synced. */
  torn: number;
  /**
   * Milliseconds before a power failure of which acknowledged writes may be missing, where the last writer did not close
   * the store: 0 under durability "sync", `flush_interval_ms` under "interval", null, for no bound, under "off".
   */
  windowMs: number | null;
  /** What had to be put right, in words. */
  notes: string[];
}

/** What `backup` wrote. */
export interface BackupReport {
  /** LSN of the last change that the copy holds, as `stats().lsn` counts. */
  lsn: number;
}

export interface CheckResult {
  /** Whether there is no fault. */
  ok: boolean;
  /** In the order in which they were found; of one kind, the first 20 and a line for the rest. */
  faults: Fault[];
  /** What is no damage and worth knowing; absent where there is nothing to say. */
  notes?: string[];
}

export interface RepairOptions {
  /** Drops what is lost instead of leaving the store as it is. Default false. */
  acceptLoss?: boolean;
  /** As in `open`: where the store was made with a larger `ruvector.max_nodes` than the default. */
  config?: OpenOptions["config"];
}

/** Something that is derived of nothing else, and damaged. */
export interface RepairLoss {
  /**
   * `rows`: whole rows; `payloads`: of rows that stay; `proof`: of vectors that stay; `feedback`, `settings`: of the
   * catalog; `log`: records that were durable; `learned`, `gradients`: sections, or slots of rows in them; `section`: one
   * of a newer release
   */
  what: "rows" | "payloads" | "proof" | "feedback" | "settings" | "log" | "learned" | "gradients" | "section";
  /** Rows, events or records; 0 where nobody can count them. */
  count: number;
  message: string;
  /** Of rows, as far as they are known. */
  ids?: Id[];
  /** Of events and records, as far as they are known. */
  lsns?: number[];
}

export interface RepairReport {
  /** Whether the store is whole now. */
  ok: boolean;
  /** Whether anything was written. */
  repaired: boolean;
  /** What was damaged. */
  faults: Fault[];
  /** What was made anew, or would be. */
  rebuilt: string[];
  /** What is lost: dropped where the store was repaired, else what repairing would drop. */
  lost: RepairLoss[];
}
