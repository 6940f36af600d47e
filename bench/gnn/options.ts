/** What a run of `bench gnn` is given, and what it consists of. */
import type { AnnSpec } from "../data.js";

export const GNN_PARTS = ["step", "hop", "learn", "memory"] as const;
export type GnnPart = (typeof GNN_PARTS)[number];

/** Sizes of a layer and of a batch. */
export interface Scene {
  dimensions: number;
  hidden: number;
  heads: number;
  layers: number;
  anchors: number;
  neighbours: number;
  /** Candidates of an anchor: one positive, the others negatives. */
  candidates: number;
  /** Rows that neighbours are drawn from. */
  pool: number;
}

export interface GnnOptions {
  parts: GnnPart[];
  step: Scene & { repeats: number };
  hop: Scene & { queries: number };
  /** `learn` of one event, durable. */
  learn: { spec: AnnSpec; events: number };
  memory: { sizes: number[]; dimensions: number; events: number };
  /** A small run: held to assertions alone. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

/** 10,000, 100,000, ... up to `largest`. */
export function memorySizes(largest: number): number[] {
  const sizes: number[] = [];
  for (let n = 10_000; n < largest; n *= 10) sizes.push(n);
  return [...sizes, largest];
}
