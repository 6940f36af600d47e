/** Feedback events as rows of the catalog, keyed by the log sequence number they came with. */
import type Database from "better-sqlite3";
import { HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { blobCrc } from "./checksum.js";

/** A feedback event by ids, as the caller named rows; ids may since be gone. */
export interface StoredFeedback {
  /** Dimensions as in the store. */
  query: Float32Array;
  chosen: { id: Id; grade: number }[];
  /** In the order of display. */
  shown: Id[];
  rejected: Id[];
  /** Rows that the query was made from: no answers to it. */
  examples?: Id[];
  /** Of the first of `examples`, those to be like: how much. */
  weights?: number[];
  source?: string;
  /** Milliseconds since 1970, as the caller gave it. */
  time: number;
}

export type FeedbackRecord = StoredFeedback & { lsn: number };
export type FeedbackRow = [lsn: number, query: Buffer, event: string, crc: number];

const PAGE_ROWS = 256;

export class FeedbackRows {
  readonly #insert: Database.Statement;
  readonly #exists: Database.Statement;
  readonly #page: Database.Statement;
  readonly #newest: Database.Statement;

  constructor(db: Database.Database) {
    this.#insert = db.prepare("INSERT OR REPLACE INTO feedback (lsn, query, event, crc) VALUES (?, ?, ?, ?)");
    this.#exists = db.prepare("SELECT 1 FROM feedback WHERE lsn = ?").pluck();
    this.#newest = db.prepare("SELECT lsn, query, event, crc FROM feedback ORDER BY lsn DESC LIMIT ?").raw();
    this.#page = db
      .prepare(`SELECT lsn, query, event, crc FROM feedback WHERE lsn > ? ORDER BY lsn LIMIT ${PAGE_ROWS}`)
      .raw();
  }

  /** @returns true for a new row, false where the LSN's row was written again */
  put(lsn: number, { query, ...rest }: StoredFeedback): boolean {
    const isNew = this.#exists.get(lsn) === undefined;
    const bytes = Buffer.from(query.buffer, query.byteOffset, query.byteLength);
    const event = JSON.stringify(rest);
    this.#insert.run(lsn, bytes, event, blobCrc(String(lsn), event, bytes));
    return isNew;
  }

  /** Rows after `lsn`, in order, at most a page of them. */
  page(lsn: number): FeedbackRow[] {
    return this.#page.all(lsn) as FeedbackRow[];
  }

  /** The last `count` rows, in order. */
  newest(count: number): FeedbackRow[] {
    return (this.#newest.all(count) as FeedbackRow[]).reverse();
  }
}

/** Verifies and decodes a row. @throws {HebbError} CATALOG_CORRUPT naming the LSN */
export function decodeFeedback([lsn, query, event, crc]: FeedbackRow): FeedbackRecord {
  const isIntact = Buffer.isBuffer(query) && typeof event === "string" && blobCrc(String(lsn), event, query) === crc;
  if (!isIntact || query.length % 4 !== 0) {
    throw new HebbError(
      "CATALOG_CORRUPT",
      `catalog.sqlite: feedback ${lsn}: its checksum does not match. Run "hebb check <dir>"`,
      {
        lsn,
      },
    );
  }
  const values = new Float32Array(query.length / 4);
  new Uint8Array(values.buffer).set(query);
  return { lsn, query: values, ...(JSON.parse(event) as Omit<StoredFeedback, "query">) };
}
