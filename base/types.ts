/** Shapes that several layers share. Words: docs/glossary.md. */

/** How distances are measured: squared L2, 1 - cosine, or minus the dot product. */
export const METRICS = ["cosine", "l2", "dot"] as const;
export type Metric = (typeof METRICS)[number];

/** A caller's id: a string of 1-512 bytes of UTF-8, or a safe integer. `42` is not `"42"`. */
export type Id = string | number;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What a caller keeps beside a vector: a JSON object. */
export type Payload = { [key: string]: Json };

/** Precision tiers, from the one used most to the one used least: f32, fp16, 8 bits a value, 4, about 1. */
export const TIERS = ["hot", "warm", "cool", "cold", "archive"] as const;
export type Tier = (typeof TIERS)[number];

/**
 * A filter over payloads, in the form users of other vector stores know:
 * `{ lang: "en", year: { $gte: 2020 }, $or: [{ a: 1 }, { tag: { $in: ["x"] } }] }`.
 * A bare value means `$eq`; keys with dots reach into nested objects.
 *
 * Of a field: `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$not`, `$exists`. Of filters: `$and`, `$or`,
 * `$not`. Values are compared within one JSON type: "10" is not >= 5. An array matches by its elements. A field that is
 * not there matches `$ne`, `$nin`, `$not` and `$exists: false` alone. At most 64 levels deep.
 */
export type Filter = { [key: string]: unknown };

/** When an acknowledged write is on disk: at once, within an interval, or when the system likes. */
export const DURABILITIES = ["sync", "interval", "off"] as const;
export type Durability = (typeof DURABILITIES)[number];

/** Damage: what a file holds and cannot have been written there. */
export interface Fault {
  /** INDEX_CORRUPT, JOURNAL_CORRUPT, WAL_CORRUPT or CATALOG_CORRUPT. */
  code: string;
  /**
   * A section of index.hebb by name, `meta` for its slots, a segment of the log, `wal` for all of it, or `catalog`; of a
   * store that cannot be opened also `index.hebb` or `journal`.
   */
  section: string;
  /** Of a section of index.hebb: its block of 64 KiB. */
  block?: number;
  /** A byte of index.hebb or of the log's segment; else a node of a row, or the LSN of a record. */
  offset: number;
  /** What was expected, and what was found. */
  message: string;
}
