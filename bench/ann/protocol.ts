/**
 * Each engine runs in a process of its own, so that its memory can be told from the others' and
 * from what they left behind; the parent asks, one request at a time, and judges what comes back.
 */
import type { AnnSpec } from "../data.js";
import type { ChurnResult } from "./churn.js";
import type { EngineName, GraphSettings } from "./engine.js";
import type { FilterResult } from "./filters.js";
import type { ReopenResult } from "./reopen.js";

export interface Setup {
  engine: EngineName;
  spec: AnnSpec;
  /** The truth, as `AnnSet` has it: computed once, by the parent. */
  kth: Float64Array;
  graph: GraphSettings;
  /** Where the engine may write; the parent removes it. */
  folder: string;
}

export interface BuildResult {
  version: string;
  /** Rows built. */
  rows: number;
  kernel: string | undefined;
  threads: number;
  acknowledgedSeconds: number;
  seconds: number;
  /** The highest the resident set was during the build, above where it began; undefined where the system does not tell (not Linux). */
  peakBytes: number | undefined;
  fileBytes: number;
}

export interface Pass {
  /** k base rows a query, -1 where fewer came back: what the timed loop itself returned. */
  rows: Int32Array;
  seconds: number;
  /** Milliseconds of each query; empty where all queries were asked at once. */
  latenciesMs: Float64Array;
}

/** Requests by name: what goes out, what comes back. */
export interface Requests {
  setup: [Setup, { n: number; d: number }];
  build: [undefined, BuildResult];
  /** Growth of the resident set from just before the build to now; the input vectors are in neither. */
  resident: [undefined, number];
  /** One pass over all queries on one thread (`many: false`) or all at once; undefined where the engine cannot. */
  pass: [{ ef: number; many: boolean }, Pass | undefined];
  reopen: [{ ef: number; repeats: number }, ReopenResult];
  filters: [{ efs: number[]; queries: number; repeats: number; selectivities: number[] }, FilterResult[]];
  churn: [{ efs: number[] }, ChurnResult];
  close: [undefined, undefined];
}
export type RequestName = keyof Requests;
