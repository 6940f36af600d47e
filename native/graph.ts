/**
 * The graph's typed face: HNSW over records in a Region (native/graph/graph.hpp tells how it
 * departs from the paper). Numbers, nodes and ids are validated by the caller; what is checked
 * below this face is what memory safety needs.
 *
 * Searching may go on beside everything. `link`, `consolidate` and `reconnect` exclude each other, and
 * `consolidate` excludes `allocate`, `claim`, `abandon` and `publish`: the engine sees to it.
 */
import { HebbError, reasonOf } from "../base/errors.js";
import type { Id, Metric } from "../base/types.js";
import type { Region } from "./index.js";
import type { GraphProfile } from "./layout.js";
import { addonAs } from "./loader.js";

export { GRAPH_PROFILES, GRAPH_SECTIONS, type GraphProfile, LEVEL_SEED } from "./layout.js";

const addon = addonAs<{
  Graph: (new (region: Region, options: GraphOptions) => Graph) & { strides(options: GraphOptions): GraphStrides };
}>();

export interface GraphOptions {
  dimensions: number;
  metric: Metric;
  /** Edges a node gets on each layer; twice as many fit on the bottom one (M in the paper). 2-128. */
  m: number;
  /** Candidates kept while linking. 1-4096. */
  efConstruction: number;
  /** Level multiplier; 1/ln(m) in the paper. */
  ml: number;
  /** Of the levels' hash; a stored graph keeps its own. */
  seed: number;
  /** Numbers that may be in use at once. */
  maxNodes: number;
  profile: GraphProfile;
  /** A walk ends where what is left is farther than the k-th by this share of it; below 0: once `ef` are expanded. */
  stopMargin: number;
  /** Bytes for vectors unpacked from slow codecs. */
  cacheBytes: number;
  /** Whether a vector's floats stay when it leaves tier hot. Fixed when the graph is made. */
  keepOriginals: boolean;
  /**
   * Hops from where a walk is to the nodes whose blocks are read ahead, while there are blocks that nobody has touched
   * since opening. Default 0: none.
   */
  readAhead?: number;
}

/** What a codebook is trained with (native/quantize/codebook.hpp). */
export interface TrainingOptions {
  /** At most so many vectors are looked at. */
  sample: number;
  seed: number;
  /** 0: as many as the rate allows. */
  subvectors: number;
  centroids8: number;
  centroids4: number;
  outlierThreshold: number;
  coder: "ans" | "huffman" | "none";
  residualBits: number;
  iterations: number;
}

/** What became of nodes that were to move to a tier. */
export interface Moves {
  moved: number;
  /** Stayed: the tier asked for is more precise, and the original is gone. */
  lossy: number;
  /** Went to tier warm, for want of a codebook. */
  untrained: number;
}

/** `rerank` that makes a search compare with the originals, whatever the tier. */
export const ORIGINALS = 0xffffffff;

/** In `places`, the tier of a node that is not live. */
export const NOT_LIVE = 255;

/** Bytes of a node's record in each section. `upper` is per node and upper layer. */
export interface GraphStrides {
  vector: number;
  row: number;
  upper: number;
  id: number;
  /** One record for the whole graph; 0 in profiles that project nothing. */
  projection: number;
  place: number;
  warm: number;
  cool: number;
  cold: number;
  archive: number;
  /** All of section `codebooks`. */
  codebooks: number;
}

export interface ManyResults {
  /** Row i holds the results of query i, ascending by distance: nodes[i * k .. i * k + counts[i]). */
  nodes: Uint32Array;
  distances: Float32Array;
  counts: Int32Array;
}

/** What a look at all of a graph found. */
export interface GraphChecked {
  /** Bytes that no healthy graph has: of each kind the first 20, and how many more. `section`: its number. */
  faults: { section: number; offset: number; message: string }[];
  /** Live linked nodes that no walk comes to. `reconnect` leaves none, and linking may make some until it runs. */
  unreached: number;
  /** All nodes whose vector is none. */
  lost: Uint32Array;
  /** All nodes whose record in a tier is none. */
  unreadable: Uint32Array;
}

export interface Graph {
  /** Numbers ever used; every node is below. */
  readonly nodes: number;
  readonly live: number;
  /** Deleted and not consolidated yet. */
  readonly dead: number;
  /** Live and not linked yet: found by a scan. */
  readonly backlog: number;
  /** How the bottom layer is searched; short vectors decide it by measuring. */
  readonly path: "codes" | "vectors";
  isLive(node: number): boolean;
  /** A bit per node that is live; with `linked`, that is in the graph too. */
  liveBits(linked?: boolean): Uint32Array;

  /** Takes numbers for new nodes; null where `maxNodes` would be passed. */
  allocate(count: number): Uint32Array | null;
  /** Takes these very numbers (a log being replayed); false where one is in use. */
  claim(nodes: Uint32Array): boolean;
  /** Gives back numbers that were taken and never linked. */
  abandon(nodes: Uint32Array): void;
  /** `vectors` holds nodes.length x dimensions values. The nodes are hot, and of this heat. */
  setVectors(nodes: Uint32Array, vectors: Float32Array, heat: number): void;
  setIds(nodes: Uint32Array, ids: readonly Id[]): void;
  /** Makes nodes visible (from now on they are in the backlog) and others dead, in one step as far as this thread can see. */
  publish(live: Uint32Array, dead: Uint32Array): void;
  /** Adds nodes of the backlog to the graph, lowest numbers first and at most `most`, on all cores. */
  link(most: number): Promise<void>;
  /** Removes dead nodes from all rows and frees their numbers. */
  consolidate(): Promise<void>;
  /** Makes every live node reachable from the entry; resolves to how many still are not. */
  reconnect(): Promise<number>;

  /**
   * Holds everything that the sections say against each other, off this thread; damaged blocks are passed over. Reads
   * all of them, and changes nothing. Excludes what changes rows, places and states.
   */
  check(): Promise<GraphChecked>;

  /** Ids of the first `count` nodes; null for one too long for its slot, which the catalog knows. */
  idsOf(nodes: Uint32Array, count: number): (Id | null)[];
  /** Whether originals stay when a vector leaves tier hot. */
  readonly keepsOriginals: boolean;
  /** Whether all vectors were made hot again on attaching, because a codebook was damaged. */
  readonly reset: boolean;
  /**
   * Encodes live nodes into a tier (its place in TIERS), from the originals where they are kept, on all cores.
   * Excludes `link`, `consolidate`, `train` and `squeeze`.
   */
  retier(nodes: Uint32Array, tier: number): Promise<Moves>;
  /** Trains a codebook, by which vectors are encoded from then on. False where there are too few, or all codebooks are in use. */
  train(options: TrainingOptions): Promise<boolean>;
  /** Whether any vector is elsewhere than in tier hot. */
  readonly compressed: boolean;
  /** Unpacks the neighbours of nodes ahead of searches, off this thread, where unpacking is slow. */
  prefetch(nodes: Uint32Array): Promise<void>;
  /** How often an unpacked vector was at hand. */
  cache(): { hits: number; misses: number };
  /** Moves records into free slots, so that the tiers' sections can shrink; without `all` only where a quarter is free. */
  squeeze(all: boolean): Promise<void>;
  /** Slots that were left are free from now on, and sections end behind the last slot in use. False where a search is under way: nothing is done then. */
  rest(): boolean;
  /** Live nodes of each tier. */
  tierCounts(): Uint32Array;
  tierOf(node: number): number;
  /** Of each node: its tier (NOT_LIVE where it is not), whether an older codebook encoded it, its heat. */
  places(nodes: Uint32Array): { tiers: Uint8Array; stale: Uint8Array; heats: Float32Array };
  /** Throws where a place cannot be read, or two name one slot. */
  checkTiers(): void;
  /** Whether what a node's tier holds of it can be read. */
  readable(node: number): boolean;
  /** Edges of the bottom layer that lead to a node. */
  inDegree(node: number): number;
  setHeats(nodes: Uint32Array, heats: Float32Array): void;
  /** The codec that each tier encodes with; null without a codebook. */
  codecs(): (string | null)[];
  /** Eight numbers that the graph keeps for the engine. */
  notes(): Float64Array;
  setNotes(notes: Float64Array): void;

  /** A copy of the vector: as it was given where originals are kept, else what its tier can give back. */
  vector(node: number): Float32Array;
  /** The same of many: nodes.length x dimensions values. */
  vectors(nodes: Uint32Array): Float32Array;
  neighbors(node: number): Uint32Array;
  /**
   * Of each node its nearest live neighbours, nearest first, at most `most` (cut to 2 M) and as many as `counts` says;
   * they, their distances from it and the biases of its edges begin at `i * (nodes.length / wanted.length)`.
   */
  fields(
    wanted: Uint32Array,
    most: number,
  ): { nodes: Uint32Array; distances: Float32Array; biases: Float32Array; counts: Uint32Array };
  /**
   * Replaces the biases of edges in rows (kept in half precision): of each of `nodes`, those of the edges to
   * to.length / nodes.length nodes, 0xffffffff for none. All its other edges have bias 0 then; nodes that it has no
   * edge to are passed over, and so are those that are not linked. Excludes `link`, `consolidate` and `reconnect`.
   */
  setBiases(nodes: Uint32Array, to: Uint32Array, biases: Float32Array): void;
  /** Of each node the highest layer that it is on (0: the bottom one alone), and the bottom-layer edges that lead to it. */
  standing(nodes: Uint32Array): { levels: Uint8Array; inDegrees: Uint32Array };
  /** The topmost layer; 0 where there is only the bottom one. */
  readonly topLevel: number;
  /**
   * Writes the k nearest live nodes of those that are on a layer, ascending, and returns how many there are; a walk, as on
   * the bottom layer, so it may miss some. `level` is cut to the topmost one. Nodes that are not linked are on none.
   */
  searchLevel(query: Float32Array, level: number, k: number, outNodes: Uint32Array, outDistances: Float32Array): number;
  /** Distances of a query to nodes, live or not. */
  distances(query: Float32Array, nodes: Uint32Array): Float32Array;
  /**
   * Writes the k nearest live nodes that match, ascending, and returns how many there are. Distances are what the
   * nodes' tiers can tell; the best `rerank` x k are compared again with their originals (0: none; ORIGINALS: all
   * distances are those of originals). `filterBits`: a bit per node, `filterCount` of them set.
   */
  search(
    query: Float32Array,
    k: number,
    ef: number,
    outNodes: Uint32Array,
    outDistances: Float32Array,
    exact: boolean,
    rerank: number,
    filterBits?: Uint32Array,
    filterCount?: number,
  ): number;
  /** The same for many queries on all cores, off this thread. The arguments are copied. */
  searchMany(
    queries: Float32Array,
    k: number,
    ef: number,
    exact: boolean,
    rerank: number,
    filterBits?: Uint32Array,
    filterCount?: number,
  ): Promise<ManyResults>;
  close(): void;
}

/**
 * Attaches to the graph that a region holds, or starts an empty one.
 * @throws {HebbError} INDEX_CORRUPT where what it holds is no graph of these options
 */
export function createGraph(region: Region, options: GraphOptions): Graph {
  try {
    return new addon.Graph(region, options);
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
    throw new HebbError("INDEX_CORRUPT", reasonOf(cause), {}, cause);
  }
}

export const graphStrides = (options: GraphOptions): GraphStrides => addon.Graph.strides(options);
