/**
 * The catalog's tables, `catalog.sqlite` (SQLite, WAL mode, 4 KiB pages; application_id "HEBB",
 * user_version = FORMAT_VERSION). Every row of ours carries `crc`, the CRC-32C of everything else in
 * it, as a signed 32-bit integer; checksum.ts defines the bytes it covers.
 *
 *   entry    what belongs to a node: its id, typed (TEXT or a number), and its payload as
 *            JSON.stringify wrote it (NULL: none). Two rows may hold one id while a batch replaces it.
 *   feedback one event by its log sequence number: the query as little-endian f32, the rest as JSON
 *   setting  small named blobs, such as the text encoder's statistics
 *   meta     one row: format version, store id, LSN, counts, declared indexes, checksum of the schema
 *   full_text FTS5 over the payloads' `text` field, rowid = node. Contentless: it can be rebuilt from `entry`
 *
 * Each declared index is two: `field:PATH` over the field's value, and `array:PATH` over the rows where the
 * field is an array, whose elements an expression index cannot hold. Both only narrow: filter.ts decides.
 */
import Database from "better-sqlite3";
import { HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import { blobCrc, textCrc } from "./checksum.js";
import { guarded } from "./sqlite-errors.js";

const FORMAT_VERSION = 1;
const APPLICATION_ID = 0x48454242;

const TABLES = `
CREATE TABLE entry (node INTEGER PRIMARY KEY, id ANY NOT NULL, payload TEXT, crc INTEGER NOT NULL) STRICT;
CREATE INDEX entry_id ON entry (id);
CREATE TABLE feedback (lsn INTEGER PRIMARY KEY, query BLOB NOT NULL, event TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE meta (key INTEGER PRIMARY KEY CHECK (key = 1), value TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
`;

/** Full text; the check builds the same beside it, to compare. */
export const TEXT_TABLE = `
CREATE VIRTUAL TABLE full_text USING fts5(text, content='', contentless_delete=1,
  tokenize='porter unicode61 remove_diacritics 2');
INSERT INTO full_text (full_text, rank) VALUES ('automerge', 0), ('crisismerge', 1999);
`;

/** The one row of `meta`. */
export interface Meta {
  version: number;
  /** The store's 16 bytes, in hexadecimal. */
  store: string;
  /** The last log sequence number whose effects this database holds in full. */
  lsn: number;
  /** Rows of `entry`. */
  entries: number;
  /** Rows of `feedback`. */
  feedback: number;
  /** Dotted payload fields with expression indexes. */
  indexes: string[];
  /** CRC-32C of sqlite_schema, root pages included: a damaged definition is found at open. */
  schema: number;
  /** `totalsCrc` at the time of writing; the check compares. Not in catalogs that were last written before it was there. */
  totals?: number;
}

/** Opens a connection with the settings all connections of ours share. Never creates a file unless told. */
export function connect(path: string, mode: "read" | "write" | "create", timeoutMs: number): Database.Database {
  return guarded(`open ${path}`, () => {
    const db = new Database(path, { readonly: mode === "read", fileMustExist: mode !== "create", timeout: timeoutMs });
    try {
      if (mode === "create") db.pragma("page_size = 4096");
      if (mode !== "read" && db.pragma("journal_mode = WAL", { simple: true }) !== "wal") {
        throw new HebbError("IO_ERROR", `catalog: ${path} cannot use SQLite's WAL mode on this file system`, { path });
      }
      db.pragma("synchronous = NORMAL"); // commits do not sync, checkpoints do: the log above is the truth
      db.pragma("wal_autocheckpoint = 0"); // checkpoints belong to the worker
      db.pragma("checkpoint_fullfsync = ON"); // macOS: plain fsync does not reach the disk there
      db.pragma("cell_size_check = ON");
      db.pragma("trusted_schema = OFF"); // functions inside damaged schema text stay inert
      db.pragma("temp_store = MEMORY");
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** True for a database without any table: just created, or left by a crash before creation committed. */
export function isEmpty(db: Database.Database): boolean {
  return db.prepare("SELECT count(*) FROM sqlite_schema").pluck().get() === 0;
}

/** Creates all tables for a store, in one transaction. */
export function createTables(db: Database.Database, store: string, indexes: readonly string[]): void {
  const create = db.transaction(() => {
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${FORMAT_VERSION}`);
    db.exec(TABLES + TEXT_TABLE);
    for (const field of indexes) db.exec(indexSql(field));
    const meta = { version: FORMAT_VERSION, store, lsn: 0, entries: 0, feedback: 0, indexes: [...indexes] };
    writeMeta(db, { ...meta, schema: currentSchema(db) });
  });
  create.immediate();
}

/** Creates and drops expression indexes until exactly `indexes` are there. Takes seconds per million rows. */
export function changeIndexes(db: Database.Database, indexes: readonly string[]): void {
  const change = db.transaction(() => {
    const meta = readMeta(db);
    for (const field of meta.indexes) {
      if (!indexes.includes(field)) db.exec(`DROP INDEX "field:${field}"; DROP INDEX "array:${field}";`);
    }
    for (const field of indexes) {
      if (!meta.indexes.includes(field)) db.exec(indexSql(field));
    }
    writeMeta(db, { ...meta, indexes: [...indexes], schema: currentSchema(db) });
  });
  change.immediate();
}

function indexSql(field: string): string {
  return (
    `CREATE INDEX "field:${field}" ON entry (${valueSql(field)});` +
    `CREATE INDEX "array:${field}" ON entry (node) WHERE ${isArraySql(field)};`
  );
}

/** SQL for the value of a dotted field; the very text that its index is declared over. */
export const valueSql = (field: string): string => `json_extract(payload, ${jsonPath(field)})`;

/** SQL that is true where a dotted field is an array. */
export const isArraySql = (field: string): string => `json_type(payload, ${jsonPath(field)}) = 'array'`;

function jsonPath(field: string): string {
  const steps = field.split(".").map((step) => `."${step.replaceAll("'", "''")}"`);
  return `'$${steps.join("")}'`;
}

/** Refuses names that cannot be declared as an index. @throws {TypeError} naming the field */
export function checkIndexes(indexes: readonly string[]): void {
  for (const field of indexes) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here
    if (typeof field !== "string" || /["\\\u0000-\u001f]/.test(field) || field.split(".").includes("")) {
      throw new TypeError(
        `indexes: ${JSON.stringify(field)}; expected a payload field such as "lang" or "author.name", ` +
          "without quotes, backslashes and control characters",
      );
    }
  }
  if (indexes.length > 32) throw new RangeError(`indexes: ${indexes.length} fields; expected at most 32`);
}

/** CRC-32C over what sqlite_schema says now. */
function currentSchema(db: Database.Database): number {
  const rows = db.prepare("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY rowid").raw().all();
  return textCrc("schema", JSON.stringify(rows));
}

/** Reads and verifies `meta`, and the schema against it. */
export function readMeta(db: Database.Database): Meta {
  const version = db.pragma("user_version", { simple: true });
  if (db.pragma("application_id", { simple: true }) !== APPLICATION_ID) {
    throw new HebbError("CATALOG_CORRUPT", `catalog.sqlite: application_id is not HEBB's. ${REPAIR_OR_RESTORE}`);
  }
  if (typeof version !== "number" || version > FORMAT_VERSION) {
    throw new HebbError(
      "STORE_VERSION",
      `catalog.sqlite has format version ${String(version)}; this release reads ${FORMAT_VERSION}. Update hebb`,
      { version },
    );
  }
  const row = db.prepare("SELECT value, crc FROM meta WHERE key = 1").raw().get() as [unknown, unknown] | undefined;
  if (row === undefined || typeof row[0] !== "string" || textCrc("meta", row[0]) !== row[1]) {
    throw new HebbError("CATALOG_CORRUPT", 'catalog.sqlite: the meta row is damaged. Run "hebb check <dir>"');
  }
  const meta = JSON.parse(row[0]) as Meta;
  if (meta.schema !== currentSchema(db)) {
    throw new HebbError(
      "CATALOG_CORRUPT",
      `catalog.sqlite: its table definitions are not those written. ${REPAIR_OR_RESTORE}`,
    );
  }
  return meta;
}

/**
 * CRC-32C of the record in which FTS5 counts all texts and their words. BM25 goes by it, and nothing else tells what it
 * must be: texts that were removed stay counted.
 */
export function totalsCrc(db: Database.Database): number {
  const record = db.prepare("SELECT block FROM main.full_text_data WHERE id = 1").pluck().get();
  return blobCrc("totals", "", record instanceof Uint8Array ? record : new Uint8Array(0));
}

/** Writes `meta`; belongs in the transaction whose LSN and counts it names, behind all changes of texts. */
export function writeMeta(db: Database.Database, meta: Meta): void {
  const value = JSON.stringify({ ...meta, totals: totalsCrc(db) });
  db.prepare("INSERT OR REPLACE INTO meta (key, value, crc) VALUES (1, ?, ?)").run(value, textCrc("meta", value));
}
