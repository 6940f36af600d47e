/**
 * Full text over the payloads' `text` field: SQLite's FTS5, ranked by BM25 (k1 = 1.2, b = .75; Robertson &
 * Zaragoza 2009). Words are runs of letters, marks and digits, folded in case and accents, English endings cut
 * (Porter 1980).
 */
import type Database from "better-sqlite3";
import type { Payload } from "../../base/types.js";

/** More distinct words than a query needs; a whole document as the query is cut here. */
const MOST_WORDS = 64;

export interface TextHit {
  node: number;
  /** BM25: larger is better, comparable within one answer only. */
  score: number;
}

export class FullText {
  readonly #insert: Database.Statement;
  readonly #delete: Database.Statement;
  readonly #query: Database.Statement;

  constructor(db: Database.Database) {
    this.#insert = db.prepare("INSERT INTO full_text (rowid, text) VALUES (?, ?)");
    this.#delete = db.prepare("DELETE FROM full_text WHERE rowid = ?");
    this.#query = db.prepare("SELECT rowid, rank FROM full_text WHERE full_text MATCH ? ORDER BY rank").raw();
  }

  insert(node: number, text: string): void {
    this.#insert.run(node, text);
  }

  remove(node: number): void {
    this.#delete.run(node);
  }

  /** The `limit` best rows among those accepted; rows hold at least one word of the query. Any string is a query. */
  search(query: string, limit: number, accept: (node: number) => boolean): TextHit[] {
    const match = matchExpression(query);
    const hits: TextHit[] = [];
    if (match === "" || limit < 1) return hits;
    for (const [node, rank] of this.#query.iterate(match) as Iterable<[number, number]>) {
      if (!accept(node)) continue;
      hits.push({ node, score: -rank });
      if (hits.length === limit) break;
    }
    return hits;
  }
}

/** The text of a payload that full text indexes. */
export function textOf(payload: Payload | undefined): string | undefined {
  const text = payload?.text;
  return typeof text === "string" && text !== "" ? text : undefined;
}

/** The query's words, each quoted and so no syntax, joined by OR. */
function matchExpression(query: string): string {
  const words = new Set(query.toLowerCase().match(/[\p{L}\p{N}\p{M}\p{Co}]+/gu));
  return [...words]
    .slice(0, MOST_WORDS)
    .map((word) => `"${word}"`)
    .join(" OR ");
}
