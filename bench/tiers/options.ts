/** What a run of `bench tiers` is given, and what it consists of. */
import type { AnnSpec } from "../data.js";

export const TIER_PARTS = ["recall", "codecs", "store", "traces", "semantic"] as const;
export type TierPart = (typeof TIER_PARTS)[number];

export interface TiersOptions {
  parts: TierPart[];
  /** What recall is measured on. */
  sets: AnnSpec[];
  /** What stores with a mix of tiers are made of: the queries are those that used the rows. */
  stores: AnnSpec[];
  /** Searches that nobody asked before, of those stores. */
  fresh: number;
  m: number;
  efConstruction: number;
  /** Timed passes. */
  repeats: number;
  traces: TraceSpec[];
  semantic: AnnSpec;
  /** A small run: held to assertions alone, and without what needs a compiler. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

export interface TraceSpec {
  /** A folder with an access trace, or "zipf": generated. */
  data: string;
  /** Shares of all keys that may be held as f32. */
  sizes: number[];
  /** Budgets of replays through a real index, as shares of raw; none: no such replay. */
  budgets: number[];
}
