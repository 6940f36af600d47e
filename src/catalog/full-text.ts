/**
 * Full text over the payloads' `text` field: SQLite's FTS5, ranked by BM25 (k1 = 1.2, b = .75; Robertson &
 * Zaragoza 2009). Words are runs of letters, marks and digits, folded in case and accents, English endings cut
 * (Porter 1980).
 *
 * FTS5 by itself writes all its new words at commit, and merges its segments when it likes, for tens of milliseconds.
 * So it is told when: after every few texts, and a bounded number of pages at a time.
 */
import type Database from "better-sqlite3";
import type { Payload } from "../../base/types.js";

/** More distinct words than a query needs; a whole document as the query is cut here. */
const MOST_WORDS = 64;
/** Occurrences to rank for one query, at about a microsecond each; the words beyond, the commonest, are left out. */
const MOST_OCCURRENCES = 10_000;
/** Word counts remembered. */
const MOST_COUNTS = 4096;
/** Characters of text between two flushes, which take about a millisecond each, and what a removal counts as. */
const FLUSH_CHARACTERS = 24_000;
const REMOVAL_CHARACTERS = 100;
/** Pages of work in one merge (4 KB each): as many as keep up with what a flush writes, in about a millisecond. */
const MERGE_PAGES = 16n;

export interface TextHit {
  node: number;
  /** BM25: larger is better, comparable within one answer only. */
  score: number;
}

export class FullText {
  readonly #insert: Database.Statement;
  readonly #delete: Database.Statement;
  readonly #flush: Database.Statement;
  readonly #merge: Database.Statement;
  readonly #query: Database.Statement;
  readonly #count: Database.Statement;
  #unflushed = 0;
  /** Rows that hold a word, at most MOST_OCCURRENCES; emptied by every change. */
  readonly #counts = new Map<string, number>();

  constructor(db: Database.Database) {
    this.#insert = db.prepare("INSERT INTO full_text (rowid, text) VALUES (?, ?)");
    this.#delete = db.prepare("DELETE FROM full_text WHERE rowid = ?");
    this.#flush = db.prepare("INSERT INTO full_text (full_text) VALUES ('flush')");
    this.#merge = db.prepare("INSERT INTO full_text (full_text, rank) VALUES ('merge', ?)");
    this.#query = db.prepare("SELECT rowid, rank FROM full_text WHERE full_text MATCH ? ORDER BY rank").raw();
    this.#count = db
      .prepare(`SELECT count(*) FROM (SELECT 1 FROM full_text WHERE full_text MATCH ? LIMIT ${MOST_OCCURRENCES})`)
      .pluck();
  }

  insert(node: number, text: string): void {
    this.#insert.run(node, text);
    this.#changed(text.length);
  }

  remove(node: number): void {
    this.#delete.run(node);
    this.#changed(REMOVAL_CHARACTERS);
  }

  /** Forgets what is known of words, as after a rollback. */
  forget(): void {
    this.#counts.clear();
    this.#unflushed = 0;
  }

  #changed(characters: number): void {
    if (this.#counts.size > 0) this.#counts.clear();
    this.#unflushed += characters;
    if (this.#unflushed >= FLUSH_CHARACTERS) this.flush();
  }

  /** Writes what waits in memory as a segment and merges some segments; before each commit. */
  flush(): void {
    if (this.#unflushed === 0) return;
    this.#unflushed = 0;
    this.#flush.run();
    this.#merge.run(MERGE_PAGES);
  }

  /**
   * The `limit` best rows among those accepted, of `rows` in all; each holds at least one word of the query. Any string
   * is a query. Words that most rows hold carry no weight in BM25 and are left out, and so are the commonest words of
   * a query whose words occur more than 10,000 times, as long as a rarer one remains.
   */
  search(query: string, limit: number, rows: number, accept: (node: number) => boolean): TextHit[] {
    const hits: TextHit[] = [];
    const words = this.#rarest(wordsOf(query), rows);
    if (words.length === 0 || limit < 1) return hits;
    for (const [node, rank] of this.#query.iterate(words.map(quoted).join(" OR ")) as Iterable<[number, number]>) {
      if (!accept(node)) continue;
      hits.push({ node, score: -rank });
      if (hits.length === limit) break;
    }
    return hits;
  }

  #rarest(words: string[], rows: number): string[] {
    const counted = words.map((word) => ({ word, count: this.#countOf(word) })).filter(({ count }) => count > 0);
    counted.sort((a, b) => a.count - b.count);
    let left = MOST_OCCURRENCES;
    const isKept = ({ count }: { count: number }, i: number) => {
      left -= count;
      return i === 0 || (left >= 0 && count * 2 < rows);
    };
    return counted.filter(isKept).map(({ word }) => word);
  }

  #countOf(word: string): number {
    let count = this.#counts.get(word);
    if (count === undefined) {
      count = this.#count.get(quoted(word)) as number;
      if (this.#counts.size >= MOST_COUNTS) this.#counts.clear();
      this.#counts.set(word, count);
    }
    return count;
  }
}

/** The text of a payload that full text indexes. */
export function textOf(payload: Payload | undefined): string | undefined {
  const text = payload?.text;
  return typeof text === "string" && text !== "" ? text : undefined;
}

function wordsOf(query: string): string[] {
  return [...new Set(query.toLowerCase().match(/[\p{L}\p{N}\p{M}\p{Co}]+/gu))].slice(0, MOST_WORDS);
}

/** A phrase, and so no syntax of FTS5: a word holds no quotes. */
const quoted = (word: string): string => `"${word}"`;
