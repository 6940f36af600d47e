/**
 * Damage, section by section: `check` names it, `repair` makes anew what is derived and loses nothing by that, and
 * lists what is lost where something is, which it drops only when told to. What is repaired passes its check, searches
 * as before, and needs no second repair.
 */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, open, type RepairReport, repair } from "../../src/index.js";
import { changeBytes, forge, garble, metaOf, offsetOf, peek, sectionOf, words } from "../support/damage.js";
import { errorOf, rowOf, scratch } from "../support/rows.js";
import { clusteredRows, range } from "../support/tiers.js";

const path = scratch();
const d = 24;
const n = 2400; // from 2,048 on rows have codes
const m = 8;
const rows = clusteredRows(n, d, 5);
const idOf = (i: number): string | number => (i % 3 === 0 ? i : i % 3 === 1 ? `row-${i}` : `row-${i}-${"x".repeat(60)}`);

/** A store with something in every section. */
async function make(name: string, keep = true, metric: "cosine" | "l2" = "cosine"): Promise<string> {
  const config = { ruvector: { hnsw_m: m }, storage: { keep_originals: keep }, learning: { rank: 8 } } as object;
  const index = await open(path(name), { dimensions: d, metric, durability: "off", config, indexes: ["n"] });
  const ids = range(n).map(idOf);
  const payloads = range(n).map((i) => ({ n: i, text: `row ${i} ${i % 7 === 0 ? "seven" : "other"}` }));
  await index.putMany({ ids, vectors: rows, payloads });
  await index.settle();
  await index.retier({ force: "cold" });
  await index.retier({ force: "warm" });
  await index.putMany({ ids: ["late", "later"], vectors: clusteredRows(2, d, 9) });
  await index.delete([idOf(2000), idOf(2001)]);
  const events = range(40).map((i) => ({ query: rowOf(rows, i, d).slice(), chosen: [idOf(i + 1)] }));
  await index.learn(events);
  const accumulator = index.gradients;
  await accumulator.accumulate(range(5).map((i) => ({ id: idOf(i), gradient: rowOf(rows, i + 3, d).slice() })));
  await index.settle();
  await index.close();
  return path(name);
}

let whole: string;
let lossy: string;
/** What the whole store answers. */
let before: Contents;

interface Contents {
  rows: Map<string, { vector: Float32Array; payload: unknown }>;
  events: number;
  found: string[];
  filtered: number;
  recall: number;
  shifted: number;
  waiting: number;
}

const keyOf = (id: string | number) => JSON.stringify(id);

async function contentsOf(index: Index): Promise<Contents> {
  const all = new Map([...index.entries()].map(({ id, vector, payload }) => [keyOf(id), { vector, payload }]));
  const hits = await index.query({ text: "seven", hybrid: true, k: 5 }).catch(() => undefined);
  const prng = new Prng(3);
  let found = 0;
  for (let i = 0; i < 40; i++) {
    const query = Float32Array.from(rowOf(rows, prng.below(n), d), (x) => x + 0.3 * prng.gaussian());
    const truth = new Set(index.search(query, { k: 10, exact: true }).map(({ id }) => keyOf(id)));
    for (const { id } of index.search(query, { k: 10, ef: 100 })) if (truth.has(keyOf(id))) found++;
  }
  const stats = index.stats();
  return {
    rows: all,
    events: stats.learning.events,
    found: (hits?.hits ?? []).map(({ id }) => keyOf(id)),
    filtered: index.count({ n: { $lt: 100 } }),
    recall: found / 400,
    shifted: stats.learning.shifted,
    waiting: index.gradients.stats().rows,
  };
}

beforeAll(async () => {
  whole = await make("whole");
  lossy = await make("lossy", false, "l2");
  const index = await open(whole, { readOnly: true });
  before = await contentsOf(index);
  expect((await index.check()).faults).toEqual([]);
  await index.close();
});

function copyOf(name: string, of = whole): string {
  cpSync(of, path(name), { recursive: true });
  return path(name);
}

/** All bytes of a store's files, but for the lock and what SQLite shares. */
function bytesOf(directory: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const file = join(name.parentPath, name.name);
    if (name.isFile() && !/LOCK$|-shm$|-wal$/.test(file)) files.set(file, readFileSync(file).toString("base64"));
  }
  return files;
}

async function checkOf(directory: string) {
  const index = await open(directory, { readOnly: true });
  try {
    return (await index.check()).faults;
  } finally {
    await index.close();
  }
}

/** A repair that loses nothing: everything is as before, and there is nothing left to do. */
async function expectWhole(directory: string): Promise<RepairReport> {
  const report = await repair(directory);
  expect(report.lost).toEqual([]);
  expect(report).toMatchObject({ ok: true, repaired: true });
  expect(report.faults.length).toBeGreaterThan(0);
  expect(readdirSync(directory)).not.toContain("repair");
  const index = await open(directory);
  expect((await index.check()).faults).toEqual([]);
  const after = await contentsOf(index);
  expect(after.rows).toEqual(before.rows);
  expect({ ...after, rows: 0, recall: 0, found: 0 }).toEqual({ ...before, rows: 0, recall: 0, found: 0 });
  expect(after.found).toEqual(before.found);
  expect(after.recall).toBeGreaterThan(before.recall - 0.02);
  await index.close();
  expect(await repair(directory)).toEqual({ ok: true, repaired: false, faults: [], rebuilt: [], lost: [] });
  return report;
}

/** A repair that would lose something changes nothing; told to, it drops exactly that. */
async function expectLoss(directory: string): Promise<RepairReport> {
  const bytes = bytesOf(directory);
  const told = await repair(directory);
  expect(told).toMatchObject({ ok: false, repaired: false });
  expect(told.lost.length).toBeGreaterThan(0);
  expect(bytesOf(directory)).toEqual(bytes);
  const done = await repair(directory, { acceptLoss: true });
  expect(done).toMatchObject({ ok: true, repaired: true, lost: told.lost });
  expect(await checkOf(directory)).toEqual([]);
  expect(await repair(directory)).toEqual({ ok: true, repaired: false, faults: [], rebuilt: [], lost: [] });
  return done;
}

test("a store without damage has nothing to repair, and stays as it is", async () => {
  const directory = copyOf("sound");
  const bytes = bytesOf(directory);
  expect(await repair(directory)).toEqual({ ok: true, repaired: false, faults: [], rebuilt: [], lost: [] });
  expect(bytesOf(directory)).toEqual(bytes);
});

describe("what is derived is made anew, and nothing is lost, where a block is garbled", () => {
  test.each(["head", "state", "rows", "upper", "ids", "projection", "places", "warm", "codebooks"])("of section %s", async (name) => {
    const directory = copyOf(`garbled-${name}`);
    garble(directory, name, 0);
    const report = await expectWhole(directory);
    expect(report.faults).toContainEqual(
      expect.objectContaining({ code: "INDEX_CORRUPT", section: name, block: 0, offset: offsetOf(whole, name, 0) }),
    );
  });
});

describe("check names what contradicts itself under checksums that hold, and repair makes it anew", () => {
  const row = () => sectionOf(whole, "rows").stride;
  const upper = () => sectionOf(whole, "upper").stride;
  const cases: [string, string, (directory: string) => number, () => Uint8Array, RegExp][] = [
    ["a neighbour that there is not", "rows", () => 5 * row() + 16, () => words(n + 77), /node 5 names node 2477; there are \d+/],
    ["a neighbour twice", "rows", () => 5 * row() + 16, () => peek(whole, "rows", 5 * row() + 20, 4), /node 5 names one neighbour twice/],
    ["itself as a neighbour", "rows", () => 5 * row() + 16, () => words(5), /node 5 names itself/],
    ["more neighbours than there is room for", "rows", () => 5 * row() + 8, () => Uint8Array.of(17, 0), /node 5 has 17 neighbours; there is room for 16/],
    ["an in-degree", "rows", () => 5 * row(), () => words(1000), /node 5: its row counts 1000 edges that lead to it; there are \d+/],
    ["a row that is being written", "rows", () => 5 * row() + 12, () => words(3), /node 5: its row says that it is being written/],
    ["a bias", "rows", () => 5 * row() + 16 + 32 * 12, () => Uint8Array.of(0, 0x7c), /node 5: the bias of its edge to node \d+ is not/],
    ["a code", "rows", () => 5 * row() + 16 + 32 * 4, () => words(0x40000000), /node 5: its code of neighbour \d+ is not/],
    ["an upper list's length", "upper", () => upper(), () => words(m + 1), /its list has 9 neighbours; there is room for 8/],
    ["an upper list's neighbour", "upper", () => upper() + 4, () => words(0xfffffff0), /its list names node 4294967280/],
    ["the count of live nodes", "head", () => 24, () => words(7), /the head counts 7 live nodes, the states 2400/],
    ["the entry", "head", () => 32, () => words(0xffffffff), /walks begin at node 4294967295/],
    ["a state", "state", () => 5, () => Uint8Array.of(2), /node 5: its state is 2, which is none/],
    ["an id", "ids", () => 6 * 48 + 8, () => words(123456), /node 6 is 123456 in the graph and 6 in the catalog/],
    ["a place", "places", () => 16 * 5, () => words(4_000_000), /slot that does not exist/],
    ["a length beside a vector", "vectors", () => 5 * sectionOf(whole, "vectors").stride + 4 * d, () => words(0x3f800000), /node 5: the length that is kept/],
    ["the count of a tier", "codebooks", () => 16 + 4, () => words(3), /the head counts 3 live nodes in tier 1, the places \d+/],
  ];
  test.each(cases)("%s", async (what, section, at, bytes, message) => {
    const directory = copyOf(`forged-${what.replaceAll(" ", "-")}`);
    forge(directory, section, at(directory), bytes());
    const faults = await checkOf(directory);
    expect(faults.map((fault) => fault.message).join("\n")).toMatch(message);
    await expectWhole(directory);
  });
});
