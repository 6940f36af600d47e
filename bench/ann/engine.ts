/** What the sweep asks of an engine; one file beside this for each. */
import type { Stats } from "../../src/index.js";
import type { AnnSet } from "../data.js";

export const ENGINES = ["hebb", "usearch", "hnswlib-node"] as const;
export type EngineName = (typeof ENGINES)[number];

/** What a graph of Hebb keeps beside its vectors (`ruvector.graph_profile`), the fastest first. */
export const PROFILES = ["turbo", "compact", "small"] as const;
export type Profile = (typeof PROFILES)[number];

export interface GraphSettings {
  /** Links a node (`M`): degree M above, 2M at the bottom, in all three engines. */
  m: number;
  efConstruction: number;
  /** Threads for building and for searching many; an engine whose binding has one thread ignores it. */
  threads: number;
}

/** How Hebb is opened; the rivals have nothing of the kind. */
export interface HebbSettings {
  profile: Profile;
  /** `search_stop_margin` of the adaptive stop; undefined: a walk ends once `ef` are expanded. */
  margin?: number;
  /** A store that was built before: opened for reading. */
  attach?: string;
}

/** What Hebb says of its graph, and the bytes of its file. */
export type GraphFigures = Stats["graph"] & { fileBytesPerVector: number };

/**
 * An engine over one `AnnSet`: base row i has the id i. Queries are named by number, so that
 * each engine can hold them in the form it takes and no conversion is timed.
 */
export interface Engine {
  readonly version: string;
  /** Which vector instructions run, where the engine says so. */
  readonly kernel: string | undefined;
  /** Threads the build really used. */
  readonly buildThreads: number;
  /** Adds all base rows; resolves when they are searchable and linked. Gives the seconds after which they were acknowledged. */
  build(): Promise<{ acknowledgedSeconds: number }>;
  /** Called before the passes at `ef`, untimed. */
  useEf(ef: number): void;
  /** The k nearest of one query into `out` at `at`, in the engine's own numbers. One thread. */
  search(query: number, out: Int32Array, at: number): void;
  /** All queries at once on all threads; undefined where the binding cannot. */
  readonly searchMany: ((out: Int32Array) => Promise<void>) | undefined;
  /** Own numbers into base rows, untimed, in place. */
  toRows(out: Int32Array): void;
  /** Writes everything to disk and gives its size in bytes. */
  fileBytes(): Promise<number>;
  close(): Promise<void>;
}

/** The row views `search` hands to an engine; made once, so that no pass pays for them. */
export const queryRows = (set: AnnSet): Float32Array[] =>
  Array.from({ length: set.nq }, (_, i) => set.queries.subarray(i * set.d, (i + 1) * set.d));
