/** What a run of `bench frozen` is given, and what it consists of. */
import type { AnnSpec } from "../data.js";

export const FROZEN_PARTS = ["speed", "mnist", "build", "open", "memory", "estimator", "exact"] as const;
export type FrozenPart = (typeof FROZEN_PARTS)[number];

export interface FrozenOptions {
  parts: FrozenPart[];
  /** Generated rows, and real ones of more dimensions. */
  generated: AnnSpec;
  real: AnnSpec;
  /** Of the live indexes that are frozen. */
  graph: { m: number; efConstruction: number };
  /** Of both graphs, where they are walked. */
  ef: number;
  /** Queries that exhaustive search is timed on: the first ones. */
  exactQueries: number;
  /** Timed passes. */
  repeats: number;
  open: { rows: number; dimensions: number };
  estimator: {
    /** Dimensions of the Gaussian vectors. */
    dimensions: number;
    /** Of vectors, and rotations of each. */
    samples: number;
    turns: number;
  };
  exact: {
    /** Of the generated set: at least so many different ones. */
    queries: number;
    /** Of the real set, whose queries are fewer: each is asked under so many seeds. */
    seeds: number;
  };
  /** A small run: held to assertions alone. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

/** "1 bit", "4 bits". */
export const inBits = (bits: number): string => `${bits} ${bits === 1 ? "bit" : "bits"}`;
