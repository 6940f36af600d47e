/** The full check of a catalog: SQLite's structure, our checksums and counts, and full text against the rows. */
import Database from "better-sqlite3";
import { bareMessage, HebbError } from "../../base/errors.js";
import type { Fault } from "../../base/types.js";
import { blobCrc, textCrc } from "./checksum.js";
import { type EntryRow, parsePayload, verified } from "./entry-rows.js";
import { decodeFeedback, type FeedbackRow } from "./feedback-rows.js";
import { textOf } from "./full-text.js";
import { type Meta, readMeta, TEXT_TABLE, totalsCrc } from "./schema.js";
import { decodeSetting, type SettingRow } from "./setting-rows.js";
import { asHebbError } from "./sqlite-errors.js";

const MOST_FAULTS = 1000;

/** Reads everything once; a fault in one part does not hide those of others. Offsets: a row's node, feedback's LSN, else 0. */
export function checkCatalog(db: Database.Database): Fault[] {
  const faults: Fault[] = [];
  const report = (message: string, offset = 0) => {
    if (faults.length < MOST_FAULTS) faults.push({ code: "CATALOG_CORRUPT", section: "catalog", offset, message });
  };
  const part = <T>(what: string, offset: number, work: () => T): T | undefined => {
    try {
      return work();
    } catch (thrown) {
      const error = asHebbError(what, thrown);
      if (!(error instanceof HebbError) || !["CATALOG_CORRUPT", "STORE_VERSION"].includes(error.code)) throw error;
      report(bareMessage(error), offset);
      return undefined;
    }
  };
  part("begin", 0, () => db.exec("BEGIN")); // one state throughout
  const meta = part("check the meta row", 0, () => readMeta(db));
  part("check the structure", 0, () => {
    for (const { integrity_check: line } of db.pragma(`integrity_check(${MOST_FAULTS})`) as {
      integrity_check: string;
    }[]) {
      if (line !== "ok") report(`catalog.sqlite: ${line}`);
    }
  });
  const tables = {
    entries: ["SELECT node, id, payload, crc FROM entry", (row: unknown) => verified(row as EntryRow)],
    feedback: ["SELECT lsn, query, event, crc FROM feedback", (row: unknown) => decodeFeedback(row as FeedbackRow)],
    settings: ["SELECT name, value, crc FROM setting", (row: unknown) => decodeSetting(row as SettingRow)],
  } as const;
  for (const [name, [sql, decode]] of Object.entries(tables)) {
    part(`check ${name}`, 0, () => {
      let rows = 0;
      for (const row of db.prepare(sql).raw().iterate() as Iterable<[unknown]>) {
        rows++;
        part(`check ${name}`, typeof row[0] === "number" ? row[0] : 0, () => decode(row));
      }
      const expected = meta?.[name as keyof Meta] ?? rows;
      if (name !== "settings" && rows !== expected)
        report(`catalog.sqlite: ${rows} ${name} found; expected ${expected}`);
    });
  }
  part("check full text", 0, () => {
    if (meta?.totals !== undefined && meta.totals !== totalsCrc(db))
      report(
        "catalog.sqlite: full text does not count the texts and words that were there when it was written; rebuild it",
      );
    if (faults.length === 0) checkFullText(db, report);
  });
  return faults;
}

/**
 * Every occurrence of every word, and the length of every text, summed without order: the table's own must be those of
 * the rows' texts. BM25 goes by the lengths too.
 */
function checkFullText(db: Database.Database, report: (message: string) => void): void {
  db.exec("CREATE VIRTUAL TABLE temp.stored_word USING fts5vocab(main, full_text, instance)");
  const stored = occurrences(db, "temp.stored_word");
  const storedLengths = lengths(db);
  const expected: Sum = { count: 0, sum: 0 };
  const expectedLengths: Sum = { count: 0, sum: 0 };
  const fresh = new Database(":memory:");
  try {
    fresh.exec(`BEGIN; ${TEXT_TABLE}`);
    fresh.exec("CREATE VIRTUAL TABLE fresh_word USING fts5vocab(full_text, instance)");
    const insert = fresh.prepare("INSERT INTO full_text (rowid, text) VALUES (?, ?)");
    let pending = 0;
    const drain = () => {
      add(expected, occurrences(fresh, "fresh_word"));
      add(expectedLengths, lengths(fresh));
      fresh.exec("INSERT INTO full_text (full_text) VALUES ('delete-all')");
      pending = 0;
    };
    const rows = db.prepare("SELECT node, payload FROM entry WHERE payload LIKE '%\"text\":%'").raw();
    for (const [node, text] of rows.iterate() as Iterable<[number, string]>) {
      const words = textOf(parsePayload(text));
      if (words === undefined) continue;
      insert.run(node, words);
      pending += words.length;
      if (pending > 1 << 20) drain();
    }
    drain();
  } finally {
    fresh.close();
  }
  if (stored.count !== expected.count || stored.sum !== expected.sum) {
    report(
      `catalog.sqlite: full text holds ${stored.count} words that are not the rows' ${expected.count}; rebuild it`,
    );
  }
  if (storedLengths.count !== expectedLengths.count || storedLengths.sum !== expectedLengths.sum) {
    report(
      `catalog.sqlite: full text holds lengths of ${storedLengths.count} texts that are not those of the rows' ${expectedLengths.count}; rebuild it`,
    );
  }
}

/** Of things in any order: how many, and their hashes added up. */
interface Sum {
  count: number;
  sum: number;
}

function add(total: Sum, { count, sum }: Sum): void {
  total.count += count;
  total.sum = (total.sum + sum) >>> 0;
}

/** The words of each text, as FTS5 keeps them beside its index: a varint. */
function lengths(db: Database.Database): Sum {
  const total: Sum = { count: 0, sum: 0 };
  const rows = db.prepare("SELECT id, sz FROM main.full_text_docsize").raw();
  for (const [doc, size] of rows.iterate() as Iterable<[number, unknown]>) {
    const bytes = size instanceof Uint8Array ? size : new Uint8Array(0); // damage may make anything of it
    add(total, { count: 1, sum: mixed(doc, blobCrc("length", "", bytes), 0) });
  }
  return total;
}

function mixed(hash: number, doc: number, offset: number): number {
  let bits = Math.imul(hash ^ Math.imul(doc + 1, 0x9e3779b1), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 15) ^ offset, 0xc2b2ae35);
  return (bits ^ (bits >>> 13)) >>> 0;
}

/** Terms come in order, so that each is hashed once. */
function occurrences(db: Database.Database, table: string): Sum {
  const total: Sum = { count: 0, sum: 0 };
  let lastTerm: unknown;
  let hash = 0;
  for (const [term, doc, offset] of db.prepare(`SELECT term, doc, offset FROM ${table}`).raw().iterate() as Iterable<
    [unknown, number, number]
  >) {
    if (term !== lastTerm) hash = textCrc("word", String(term));
    lastTerm = term;
    add(total, { count: 1, sum: mixed(hash, doc, offset) });
  }
  return total;
}
