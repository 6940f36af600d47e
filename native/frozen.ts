/**
 * Frozen bundles' typed face: taking a snapshot of a graph, and searching one by its codes (native/frozen/). Numbers
 * are validated by the caller; what is checked below this face is what memory safety needs.
 */
import { HebbError, reasonOf } from "../base/errors.js";
import type { Graph, ManyResults } from "./graph.js";
import { FROZEN_SECTIONS, GRAPH_SECTIONS } from "./layout.js";
import { addonAs } from "./loader.js";

export { FROZEN_SECTIONS } from "./layout.js";

const addon = addonAs<{
  Snapshot: new (graph: Graph, shape: CodeShape, nodes: Uint32Array, left: Uint8Array, tier: number) => Snapshot;
  Frozen: {
    new (graph: Graph, shape: CodeShape & CodeCounts): FrozenCodes;
    strides(shape: { dimensions: number; bits: number }): FrozenStrides;
  };
}>();

/** Numbers of these sections in a bundle's region: they follow the graph's. */
export const frozenSection = (name: (typeof FROZEN_SECTIONS)[number]): number =>
  GRAPH_SECTIONS.length + FROZEN_SECTIONS.indexOf(name);

/** How vectors are coded. */
export interface CodeShape {
  /** Of a value in a code, 1-8. */
  bits: number;
  /** A rotation drawn by Haar's measure; else the fast one of signs and Hadamard transforms. */
  haar: boolean;
  /** Of the rotation and the clusters: a safe integer from 0 on. */
  seed: number;
}

/** What the sections of a bundle hold. */
export interface CodeCounts {
  clusters: number;
  blocks: number;
  /** Vectors with a code. */
  coded: number;
}

export interface FrozenStrides {
  /** Values of a code: the dimensions, filled up to a multiple of 64. */
  padded: number;
  /** Bytes of a cluster's record, of a block of 32 codes, and of one code in planes (0 where one bit is all). */
  cluster: number;
  block: number;
  planes: number;
}

export const frozenStrides = (shape: { dimensions: number; bits: number }): FrozenStrides =>
  addon.Frozen.strides(shape);

/** What a bundle holds of a graph. While it is in use nothing may write to the graph. */
export interface Snapshot {
  /** Numbers everything anew; `build` does it too. Without `build` there are no codes. */
  prepare(): void;
  /** On `threads` threads (0: all), with `clusters` clusters (0: as many as suit). The bytes do not depend on threads. */
  build(clusters: number, threads: number): Promise<void>;
  /** Records of a section, and their bytes. Call after `prepare` or `build`. */
  size(section: number): { stride: number; count: number };
  /** The bytes of `count` records from `first` on. */
  read(section: number, first: number, count: number): Uint8Array;
  /** Lets go of the graph's memory. */
  close(): void;
}

/**
 * @param nodes the graph's live, linked nodes, each once, in the order in which the bundle counts them
 * @param left a byte for each: 1 for those that get no code; empty: none
 * @param tier the place in TIERS of the one in which all of them are; 0: vectors go along as they can be read
 */
export const createSnapshot = (
  graph: Graph,
  shape: CodeShape,
  nodes: Uint32Array,
  left: Uint8Array,
  tier = 0,
): Snapshot => new addon.Snapshot(graph, shape, nodes, left, tier);

/** Searching by codes. */
export interface FrozenCodes {
  /**
   * Writes the k nearest of the vectors that have codes, ascending, of equal ones the lower numbers first, and returns
   * how many. At most `rerank` x k vectors are compared; with 0 none, and distances are estimates.
   */
  scan(query: Float32Array, k: number, rerank: number, outNodes: Uint32Array, outDistances: Float32Array): number;
  /** The same for many queries on all cores, off this thread. The queries are copied. */
  scanMany(queries: Float32Array, k: number, rerank: number): Promise<ManyResults>;
  /** Of all scans so far: how many, clusters and blocks looked at, codes that one bit did not rule out, codes looked at in planes, vectors compared. */
  work(): { queries: number; clusters: number; blocks: number; candidates: number; looked: number; compared: number };
  close(): void;
}

/**
 * Attaches to the codes in the region of a graph.
 * @throws {HebbError} BUNDLE_CORRUPT where they contradict the counts; INDEX_CORRUPT for a damaged block
 */
export function attachCodes(graph: Graph, shape: CodeShape & CodeCounts): FrozenCodes {
  try {
    return new addon.Frozen(graph, shape);
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
    throw new HebbError("BUNDLE_CORRUPT", reasonOf(cause), {}, cause);
  }
}
