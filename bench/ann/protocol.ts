/**
 * Each engine runs in a process of its own, so that its memory can be told from the others' and
 * from what they left behind; the parent asks, one request at a time, and judges what comes back.
 */
import type { AnnSpec } from "../data.js";
import type { CallsResult } from "./calls.js";
import type { ChurnResult } from "./churn.js";
import type { EngineName, GraphFigures, GraphSettings, HebbSettings } from "./engine.js";
import type { FilterResult } from "./filters.js";
import type { IngestCase, IngestResult } from "./ingest.js";
import type { Pass } from "./pass.js";
import type { ReopenResult } from "./reopen.js";
import type { Reach, ReachSettings } from "./scale.js";

export interface Setup {
  engine: EngineName;
  spec: AnnSpec;
  /** The truth, as `AnnSet` has it: computed once, by the parent. */
  kth: Float64Array;
  graph: GraphSettings;
  hebb: HebbSettings;
  /** Where the engine may write; the parent removes it. */
  folder: string;
}

export interface BuildResult {
  version: string;
  /** Rows built. */
  rows: number;
  kernel: string | undefined;
  threads: number;
  /** Until the last row was acknowledged: durable as far as was asked for, and found by searches. */
  acknowledgedSeconds: number;
  /** Until the last row was linked. */
  seconds: number;
  /** The highest the resident set was during the build, above where it began; undefined where the system does not tell (not Linux). */
  peakBytes: number | undefined;
  fileBytes: number;
  /** Of Hebb alone. */
  graph: GraphFigures | undefined;
}

/** Requests by name: what goes out, what comes back. */
export interface Requests {
  setup: [Setup, { n: number; d: number }];
  build: [undefined, BuildResult];
  /** In place of `build`, where the setup names a store to attach to. Gives the kernel that runs. */
  attach: [undefined, string | undefined];
  /** Growth of the resident set from just before the build to now; the input vectors are in neither. */
  resident: [undefined, number];
  /** One pass over all queries on one thread (`many: false`) or all at once; undefined where the engine cannot. */
  pass: [{ ef: number; many: boolean }, Pass | undefined];
  /** A hash of every id and distance of every query. */
  digest: [{ ef: number }, string];
  calls: [{ ef: number; repeats: number }, CallsResult];
  reopen: [{ ef: number; repeats: number }, ReopenResult];
  filters: [{ efs: number[]; queries: number; repeats: number; selectivities: number[] }, FilterResult[]];
  churn: [{ efs: number[]; share: number; rounds: number }, ChurnResult];
  /** Neither builds nor attaches: it makes stores of its own. */
  ingest: [{ cases: IngestCase[]; repeats: number }, IngestResult[]];
  reach: [ReachSettings, Reach];
  /** Closes the store, so that others may read it, and gives its path; `resume` opens it again. */
  release: [undefined, string];
  resume: [undefined, undefined];
  close: [undefined, undefined];
}
