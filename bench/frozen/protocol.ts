/** A process for each kernel holds a live index and bundles of it, all open; the parent asks, and judges what comes back. */
import type { Found } from "./hits.js";

/** What is called. Exhaustive and graph searches of the live index are named by what they do. */
export type Call =
  | { call: "scan" | "scanMany"; bits: number }
  | { call: "graph"; bits: number; ef: number }
  | { call: "live"; ef: number }
  /** Of the first `queries`. */
  | { call: "exact"; queries: number };

export interface Setup {
  store: string;
  bundles: { bits: number; directory: string }[];
  /** n rows of d columns. */
  queries: Float32Array;
  d: number;
  k: number;
}

/** What one scan did, on average. */
export interface Work {
  clusters: number;
  blocks: number;
  candidates: number;
  looked: number;
  compared: number;
}

/** With what the timed loop itself returned. */
export interface FrozenPass extends Found {
  seconds: number;
  queries: number;
  /** Of scans. */
  work: Work | undefined;
}

/** Requests by name: what goes out, what comes back. */
export interface Requests {
  /** Gives the kernel that runs. */
  setup: [Setup, string];
  pass: [Call, FrozenPass];
  close: [undefined, undefined];
}
