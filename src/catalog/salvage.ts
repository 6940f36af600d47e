/**
 * Reading a catalog.sqlite that is damaged, row by row and each by its checksum; what cannot be read is told by number.
 * Nothing is written to it. From what is left a catalog is made anew, indexes and full text included.
 */
import { existsSync } from "node:fs";
import type Database from "better-sqlite3";
import { HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { textCrc } from "./checksum.js";
import { type EntryRow, verified } from "./entry-rows.js";
import { decodeFeedback, type FeedbackRecord, type FeedbackRow } from "./feedback-rows.js";
import { connect, type Meta, readMeta } from "./schema.js";
import { decodeSetting, type SettingRow } from "./setting-rows.js";
import { asHebbError } from "./sqlite-errors.js";

const BUSY_MS = 1000;
/** Keys that are tried one by one at most. */
const MOST_TRIES = 20_000_000;
/** Rows read at once. */
const PAGE_ROWS = 256;

export interface SalvagedRow {
  node: number;
  id: Id;
  /** The payload's JSON. */
  text: string | null;
}

export class SalvagedCatalog {
  private constructor(
    private readonly db: Database.Database | undefined,
    /** What the catalog says of itself; undefined where that is damaged. */
    readonly meta: Meta | undefined,
    /** Declared indexes, as far as anything tells them. */
    readonly indexes: readonly string[],
    /** Whether table definitions and the row that sums them up are as they were written. */
    readonly isSound: boolean,
  ) {}

  /** @throws {HebbError} STORE_MISMATCH for another store's, STORE_VERSION, IO_ERROR */
  static open(path: string, store: string): SalvagedCatalog {
    if (!existsSync(path)) return new SalvagedCatalog(undefined, undefined, [], false);
    let db: Database.Database;
    try {
      db = connect(path, "read", BUSY_MS);
    } catch (error) {
      if (isDamage(error)) return new SalvagedCatalog(undefined, undefined, [], false);
      throw error;
    }
    try {
      db.exec("BEGIN"); // one state throughout
      const sound = attempt(() => readMeta(db));
      const meta = sound ?? attempt(() => metaRow(db));
      if (meta !== undefined && meta.store !== store) {
        throw new HebbError(
          "STORE_MISMATCH",
          `${path} belongs to store ${meta.store}; expected ${store}. Restore the whole store from one copy`,
          { path },
        );
      }
      const named = attempt(() => db.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'field:%'").pluck().all());
      const indexes = meta?.indexes ?? ((named ?? []) as string[]).map((name) => name.slice("field:".length)).sort();
      return new SalvagedCatalog(db, meta, indexes, sound !== undefined);
    } catch (error) {
      db.close();
      if (isDamage(error)) return new SalvagedCatalog(undefined, undefined, [], false);
      throw error;
    }
  }

  /** Whether there is anything to read from. */
  get isThere(): boolean {
    return this.db !== undefined;
  }

  /**
   * All rows that can be read, in the order of nodes.
   * @param nodes numbers that rows may have: looked for one by one where a page is damaged
   * @param onLost told of each row that is there and cannot be read, where its number is known
   */
  *rows(nodes: number, onLost: (node: number) => void): Generator<SalvagedRow> {
    const sql = "SELECT node, id, payload, crc FROM entry";
    for (const row of this.all<EntryRow>(sql, "node", nodes, onLost)) {
      const intact = attempt(() => verified(row));
      if (intact !== undefined) yield { node: intact[0], id: intact[1], text: intact[2] };
      else if (Number.isInteger(row[0])) onLost(row[0]);
    }
  }

  /** All feedback that can be read, in the order of the log, of which the last record is `last`. */
  *feedback(last: number, onLost: (lsn: number) => void): Generator<FeedbackRecord> {
    const sql = "SELECT lsn, query, event, crc FROM feedback";
    for (const row of this.all<FeedbackRow>(sql, "lsn", last + 1, onLost)) {
      const event = attempt(() => decodeFeedback(row));
      if (event !== undefined) yield event;
      else if (Number.isInteger(row[0])) onLost(row[0]);
    }
  }

  /** All settings that can be read. */
  settings(onLost: (name: string) => void): Map<string, Uint8Array> {
    const settings = new Map<string, Uint8Array>();
    const rows = attempt(() => this.db?.prepare("SELECT name, value, crc FROM setting").raw().all() as SettingRow[]);
    for (const row of rows ?? []) {
      const value = attempt(() => decodeSetting(row));
      if (value === undefined) onLost(String(row[0]));
      else settings.set(row[0], value);
    }
    return settings;
  }

  /** Whether `settings` can be listed at all. */
  get knowsSettings(): boolean {
    return (
      attempt(() => this.db?.prepare("SELECT count(*), sum(length(value)) FROM setting").raw().get()) !== undefined
    );
  }

  close(): void {
    this.db?.close();
  }

  /** Rows by key, page by page; where a page of the file is damaged, key by key until one can be read again. */
  private *all<Row extends [number, ...unknown[]]>(
    sql: string,
    key: string,
    end: number,
    onLost: (key: number) => void,
  ): Generator<Row> {
    const { db } = this;
    if (db === undefined) return;
    const prepared = attempt(() => ({
      page: db.prepare(`${sql} WHERE ${key} > ? ORDER BY ${key} LIMIT ${PAGE_ROWS}`).raw(),
      one: db.prepare(`${sql} WHERE ${key} = ?`).raw(),
    }));
    if (prepared === undefined) return;
    let tries = 0;
    for (let last = -1; ; ) {
      const page = attempt(() => prepared.page.all(last) as Row[]);
      if (page?.length === 0) return;
      if (page !== undefined) {
        yield* page;
        last = page[page.length - 1][0];
        continue;
      }
      // One by one, until a whole page has gone by without damage.
      let sound = 0;
      for (; last + 1 < end && sound < PAGE_ROWS; ) {
        last++;
        if (++tries > MOST_TRIES) return;
        let row: Row | undefined;
        try {
          row = prepared.one.get(last) as Row | undefined;
        } catch (error) {
          if (!isDamage(asHebbError("read a row", error))) throw error;
          onLost(last);
          sound = 0;
          continue;
        }
        sound++;
        if (row !== undefined) yield row;
      }
      if (last + 1 >= end) return;
    }
  }
}

/** The row of `meta`, where its checksum holds though table definitions are not those it knows. */
function metaRow(db: Database.Database): Meta | undefined {
  const row = db.prepare("SELECT value, crc FROM meta WHERE key = 1").raw().get() as [unknown, unknown] | undefined;
  if (row === undefined || typeof row[0] !== "string" || textCrc("meta", row[0]) !== row[1]) return undefined;
  return JSON.parse(row[0]) as Meta;
}

const isDamage = (error: unknown): boolean => error instanceof HebbError && error.code === "CATALOG_CORRUPT";

/** Undefined where what is read is damaged. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    const error = asHebbError("read", thrown);
    if (isDamage(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
