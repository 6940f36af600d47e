/** What a run of `bench ann` is given. */
import type { AnnSpec } from "../data.js";
import type { EngineName, GraphSettings } from "./engine.js";
import type { Part } from "./parts.js";

export interface AnnOptions {
  spec: AnnSpec;
  graph: GraphSettings;
  engines: EngineName[];
  parts: Part[];
  /** Search efs of the sweeps, rising. */
  efs: number[];
  /** Timed passes at each ef, and of everything else that is timed. */
  repeats: number;
  filterQueries: number;
  /** Margins of the adaptive stop that are tried. */
  margins: number[];
  churn: { share: number; rounds: number };
  ingest: { rows: number; dimensions: number };
  scale: { sizes: number[]; dimensions: number; recall: number };
  /** Below this recall at the largest ef an engine is broken, and the run fails. */
  floor: number;
  /** A small run: it goes on without rivals that are not installed, and holds itself to no target, since its speeds mean nothing. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

/** 10,000, 30,000, 100,000 and so on, each about three times the one before, and `most` as the last. */
export function scaleSizes(most: number): number[] {
  const steps = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000].map((step) => 10_000 * step);
  return [...steps.filter((size) => size < most), most];
}
