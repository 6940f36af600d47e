/** Rows of `entry`: every one is verified against its checksum when it is read. */
import type Database from "better-sqlite3";
import { HebbError } from "../../base/errors.js";
import type { Id, Payload } from "../../base/types.js";
import type { Candidates } from "./candidates.js";
import { entryCrc } from "./checksum.js";

/** A row as SQLite hands it over; the types are checked with the checksum. */
export type EntryRow = [node: number, id: Id, payload: string | null, crc: number];

const COLUMNS = "node, id, payload, crc";
const PAGE_ROWS = 256;
const CACHE_BYTES = 16 << 20;
/** Ids that a node is remembered for: about 10 MiB. */
const CACHE_IDS = 100_000;
/** What a cached text costs beside its characters: a map's slot and a string's header. */
const CACHE_SLOT_BYTES = 80;

export class EntryRows {
  readonly #db: Database.Database;
  readonly #insert: Database.Statement;
  readonly #delete: Database.Statement;
  readonly #byNode: Database.Statement;
  readonly #byId: Database.Statement;
  readonly #page: Database.Statement;
  /** Verified payload texts by node (null: a row without payload), oldest first. Objects are parsed anew each time. */
  readonly #cache = new Map<number, string | null>();
  #cacheBytes = 0;
  /** Nodes that ids were found to name, and the other way round, oldest first. */
  readonly #nodes = new Map<Id, number>();
  readonly #ids = new Map<number, Id>();

  constructor(db: Database.Database) {
    this.#db = db;
    this.#insert = db.prepare(`INSERT INTO entry (${COLUMNS}) VALUES (?, ?, ?, ?)`);
    this.#delete = db.prepare("DELETE FROM entry WHERE node = ?");
    this.#byNode = db.prepare(`SELECT ${COLUMNS} FROM entry WHERE node = ?`).raw();
    this.#byId = db.prepare(`SELECT ${COLUMNS} FROM entry WHERE id = ?`).raw();
    this.#page = db.prepare(`SELECT ${COLUMNS} FROM entry WHERE node > ? ORDER BY node LIMIT ${PAGE_ROWS}`).raw();
  }

  /** One more than the largest node. */
  nodesEnd(): number {
    const last = this.#db.prepare("SELECT max(node) FROM entry").pluck().get() as number | null;
    return last === null ? 0 : last + 1;
  }

  insert(node: number, id: Id, payload: string | null): void {
    this.#forget(node);
    // As a bigint, a number is stored as SQLite's INTEGER and not as its REAL.
    this.#insert.run(node, typeof id === "number" ? BigInt(id) : id, payload, entryCrc(node, id, payload));
  }

  /** @returns true where there was such a row */
  remove(node: number): boolean {
    this.#forget(node);
    return this.#delete.run(node).changes > 0;
  }

  byNode(node: number): EntryRow | undefined {
    const row = this.#byNode.get(node) as EntryRow | undefined;
    return row && verified(row);
  }

  /** The node with this id that is accepted; more than one has it while it is replaced. */
  nodeOf(id: Id, accept: (node: number) => boolean): number | undefined {
    const known = this.#nodes.get(id);
    if (known !== undefined && accept(known)) return known;
    const rows = this.#byId.all(typeof id === "number" ? BigInt(id) : id) as EntryRow[];
    const node = rows.map(verified).find(([found]) => accept(found))?.[0];
    if (node !== undefined) this.#rememberId(id, node);
    return node;
  }

  /** Rows after `node`, in order, at most a page of them. */
  page(node: number): EntryRow[] {
    const rows = this.#page.all(node) as EntryRow[];
    for (const row of rows) verified(row);
    return rows;
  }

  /** Visits all rows in the order of nodes, or those that a query for nodes selects. */
  scan(nodes: Candidates | undefined, visit: (row: EntryRow) => void): void {
    if (nodes !== undefined) {
      const statement = this.#db.prepare(`SELECT ${COLUMNS} FROM entry WHERE node IN (${nodes.sql})`).raw();
      for (const row of statement.iterate(...nodes.parameters)) visit(verified(row as EntryRow));
      return;
    }
    for (let page = this.page(-1); page.length > 0; page = this.page(page[page.length - 1][0])) {
      for (const row of page) visit(row);
    }
  }

  /** A fresh object; undefined for a row without payload, and for a missing row. */
  payload(node: number): Payload | undefined {
    const text = this.payloadText(node);
    return text === null ? undefined : parsePayload(text);
  }

  /** The JSON of a payload; null for a row without one, and for a missing row. */
  payloadText(node: number): string | null {
    let text = this.#cache.get(node);
    if (text === undefined) {
      const row = this.byNode(node);
      if (row === undefined) return null;
      text = row[2];
      this.#remember(node, text);
    }
    return text;
  }

  forgetAll(): void {
    this.#cache.clear();
    this.#cacheBytes = 0;
    this.#nodes.clear();
    this.#ids.clear();
  }

  #rememberId(id: Id, node: number): void {
    this.#forgetId(node);
    this.#nodes.set(id, node);
    this.#ids.set(node, id);
    if (this.#ids.size > CACHE_IDS) this.#forgetId(this.#ids.keys().next().value!);
  }

  #forgetId(node: number): void {
    const id = this.#ids.get(node);
    if (id === undefined) return;
    this.#ids.delete(node);
    if (this.#nodes.get(id) === node) this.#nodes.delete(id);
  }

  #remember(node: number, text: string | null): void {
    const bytes = cacheBytes(text);
    if (bytes > CACHE_BYTES / 16) return;
    this.#cache.set(node, text);
    this.#cacheBytes += bytes;
    for (const oldest of this.#cache.keys()) {
      if (this.#cacheBytes <= CACHE_BYTES) break;
      this.#forgetText(oldest);
    }
  }

  /** The row changes, or ends. */
  #forget(node: number): void {
    this.#forgetId(node);
    this.#forgetText(node);
  }

  #forgetText(node: number): void {
    const text = this.#cache.get(node);
    if (text === undefined) return;
    this.#cache.delete(node);
    this.#cacheBytes -= cacheBytes(text);
  }
}

const cacheBytes = (text: string | null): number => 2 * (text?.length ?? 0) + CACHE_SLOT_BYTES;

export const parsePayload = (text: string | null): Payload | undefined =>
  text === null ? undefined : (JSON.parse(text) as Payload);

/** @throws {HebbError} CATALOG_CORRUPT naming the id and the node */
export function verified(row: EntryRow): EntryRow {
  const [node, id, payload, crc] = row;
  const hasTypes =
    (typeof id === "string" || typeof id === "number") && (payload === null || typeof payload === "string");
  const computed = hasTypes ? entryCrc(node, id, payload) : undefined;
  if (computed !== crc) {
    throw new HebbError(
      "CATALOG_CORRUPT",
      `catalog.sqlite: the row of id ${JSON.stringify(id)} (node ${node}): checksum ${crc} stored, ${computed} computed. ` +
        'Run "hebb check <dir>"',
      { id, node },
    );
  }
  return row;
}
