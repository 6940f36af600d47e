/** What a run of `bench durability` is given, and what it consists of. */
export const DURABILITY_PARTS = ["ingest", "search", "long"] as const;
export type DurabilityPart = (typeof DURABILITY_PARTS)[number];

export interface DurabilityOptions {
  parts: DurabilityPart[];
  dimensions: number;
  /** Rows that are there before, and that are put one by one, each of them synced before it is acknowledged. */
  ingest: { before: number; rows: number; smallRows: number };
  /** Callers that put at the same time. */
  callers: number[];
  /** Rows of the store that is searched, rows that change before each checkpoint, and checkpoints. */
  search: { rows: number; changed: number; checkpoints: number };
  /** Rows of the long ingest, and the limit of the log in its settings. */
  long: { rows: number; checkpointWalMb: number };
  /** Runs of each engine, in turns. */
  repeats: number;
  /** A small run: held to assertions alone. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}
