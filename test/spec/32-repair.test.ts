/**
 * Damage, section by section: `check` names it, `repair` makes anew what is derived and loses nothing by that, and
 * lists what is lost where something is, which it drops only when told to. What is repaired passes its check, searches
 * as before, and needs no second repair.
 */
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import Database from "better-sqlite3";
import { beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { RECORD } from "../../src/engine/records.js";
import { type Index, open, type RepairReport, repair } from "../../src/index.js";
import { encodeSlot } from "../../storage/format.js";
import { changeBytes, forge, garble, metaOf, offsetOf, peek, sectionOf, words } from "../support/damage.js";
import { ForgedLog } from "../support/forged-store.js";
import { errorOf, rowOf, scratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import { clusteredRows, range } from "../support/tiers.js";

const path = scratch();
const d = 24;
const n = long ? 2400 : 300; // from 2,048 on rows have codes
const m = 8;
const rows = clusteredRows(n, d, 5);
const idOf = (i: number): string | number =>
  i % 3 === 0 ? i : i % 3 === 1 ? `row-${i}` : `row-${i}-${"x".repeat(60)}`;

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
  await index.delete([idOf(200), idOf(201)]);
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

const DERIVED = [
  "head",
  "state",
  "rows",
  "upper",
  "ids",
  ...(long ? ["projection"] : []),
  "places",
  "warm",
  "codebooks",
];

describe("what is derived is made anew, and nothing is lost, where a block is garbled", () => {
  const expectNamed = (report: RepairReport, names: readonly string[]) => {
    for (const section of names) {
      const place = { block: 0, offset: offsetOf(whole, section, 0) };
      expect(report.faults).toContainEqual(expect.objectContaining({ code: "INDEX_CORRUPT", section, ...place }));
    }
  };

  test("of all sections that are derived", async () => {
    const directory = copyOf("garbled");
    for (const name of DERIVED) garble(directory, name, 0);
    expectNamed(await expectWhole(directory), DERIVED);
  });

  test.each(long ? DERIVED : ["rows"])("of section %s", async (name) => {
    const directory = copyOf(`garbled-${name}`);
    garble(directory, name, 0);
    expectNamed(await expectWhole(directory), [name]);
  });
});

describe("check names what contradicts itself under checksums that hold, and repair makes it anew", () => {
  const row = () => sectionOf(whole, "rows").stride;
  const upper = () => sectionOf(whole, "upper").stride;
  type Case = [string, string, (directory: string) => number, () => Uint8Array, RegExp];
  const code: Case = [
    "a code",
    "rows",
    () => 5 * row() + 16 + 32 * 4,
    () => words(0x40000000),
    /node 5: its code of neighbour \d+ is not/,
  ];
  const cases: Case[] = [
    [
      "a neighbour that there is not",
      "rows",
      () => 5 * row() + 16,
      () => words(n + 77),
      /node 5 names node \d+; there are \d+/,
    ],
    [
      "a neighbour twice",
      "rows",
      () => 5 * row() + 16,
      () => peek(whole, "rows", 5 * row() + 20, 4),
      /node 5 names one neighbour twice/,
    ],
    ["itself as a neighbour", "rows", () => 5 * row() + 16, () => words(5), /node 5 names itself/],
    [
      "more neighbours than there is room for",
      "rows",
      () => 5 * row() + 8,
      () => Uint8Array.of(17, 0),
      /node 5 has 17 neighbours; there is room for 16/,
    ],
    [
      "an in-degree",
      "rows",
      () => 5 * row(),
      () => words(1000),
      /node 5: its row counts 1000 edges that lead to it; there are \d+/,
    ],
    [
      "a row that is being written",
      "rows",
      () => 5 * row() + 12,
      () => words(3),
      /node 5: its row says that it is being written/,
    ],
    [
      "a bias",
      "rows",
      () => 5 * row() + 16 + 32 * 12,
      () => Uint8Array.of(0, 0x7c),
      /node 5: the bias of its edge to node \d+ is not/,
    ],
    ...(long ? [code] : []),
    [
      "an upper list's length",
      "upper",
      () => upper(),
      () => words(m + 1),
      /its list has 9 neighbours; there is room for 8/,
    ],
    [
      "an upper list's neighbour",
      "upper",
      () => upper() + 4,
      () => words(0xfffffff0),
      /its list names node 4294967280/,
    ],
    ["the count of live nodes", "head", () => 24, () => words(7), /the head counts 7 live nodes, the states \d+/],
    ["the entry", "head", () => 32, () => words(0xffffffff), /walks begin at node 4294967295/],
    ["a state", "state", () => 5, () => Uint8Array.of(2), /node 5: its state is 2, which is none/],
    ["an id", "ids", () => 6 * 48 + 8, () => words(123456), /node 6 is 123456 in the graph and 6 in the catalog/],
    ["a place", "places", () => 16 * 5, () => words(4_000_000), /slot that does not exist/],
    [
      "a length beside a vector",
      "vectors",
      () => 5 * sectionOf(whole, "vectors").stride + 4 * d,
      () => words(0x3f800000),
      /node 5: the length that is kept/,
    ],
    [
      "the count of a tier",
      "codebooks",
      () => 16 + 4,
      () => words(3),
      /the head counts 3 live nodes in tier 1, the places \d+/,
    ],
  ];
  test.each(cases)("%s", async (what, section, at, bytes, message) => {
    const directory = copyOf(`forged-${what.replaceAll(" ", "-")}`);
    forge(directory, section, at(directory), bytes());
    const faults = await checkOf(directory);
    expect(faults.map((fault) => fault.message).join("\n")).toMatch(message);
    if (long) await expectWhole(directory);
  });

  test("all of them at once", async () => {
    const directory = copyOf("forged");
    for (const [, section, at, bytes] of cases) forge(directory, section, at(directory), bytes());
    await expectWhole(directory);
  });
});

describe("the files beside", () => {
  test("a meta slot comes from the other one; two slots that are damaged in other places, from both", async () => {
    const one = copyOf("slot");
    changeBytes(join(one, "index.hebb"), 200, 8, (byte) => byte ^ 1);
    const report = await repair(one); // opening it mends it, too
    expect(report).toMatchObject({ ok: true, repaired: true, lost: [] });
    expect(await checkOf(one)).toEqual([]);
    const both = copyOf("slots");
    changeBytes(join(both, "index.hebb"), 200, 8, (byte) => byte ^ 1);
    changeBytes(join(both, "index.hebb"), 32_768 + 40, 8, (byte) => byte ^ 1);
    expect((await errorOf(() => open(both))).code).toBe("INDEX_CORRUPT");
    expect((await expectWhole(both)).faults.filter(({ section }) => section === "meta")).toHaveLength(2);
  });

  test("without any slot nothing is written, and what can be done is said", async () => {
    const directory = copyOf("slotless");
    changeBytes(join(directory, "index.hebb"), 0, 65_536, (byte, i) => (i % 32_768 < 8 ? byte : byte ^ 0x11));
    const bytes = bytesOf(directory);
    for (const acceptLoss of [false, true]) {
      const error = await errorOf(() => repair(directory, { acceptLoss }));
      expect(error).toMatchObject({ code: "INDEX_CORRUPT" });
      expect(error.message).toMatch(
        /both meta slots are damaged.*Nothing was changed. Restore the whole store from a copy/,
      );
    }
    expect(bytesOf(directory)).toEqual(bytes);
  });

  test("between two checkpoints without their journal, and without index.hebb, nothing is written either", async () => {
    const between = copyOf("between");
    const older = encodeSlot({ ...metaOf(between), generation: metaOf(between).generation - 1 });
    changeBytes(join(between, "index.hebb"), 32_768, 32_768, (_, i) => older[i]);
    const headless = copyOf("headless");
    rmSync(join(headless, "index.hebb"));
    for (const [directory, code] of [
      [between, "JOURNAL_CORRUPT"],
      [headless, "INDEX_CORRUPT"],
    ] as const) {
      expect((await errorOf(() => open(directory))).code).toBe(code);
      const bytes = bytesOf(directory);
      const error = await errorOf(() => repair(directory, { acceptLoss: true }));
      expect(error.code).toBe(code);
      expect(error.message).toMatch(/Restore the whole store from a copy$/);
      expect(bytesOf(directory)).toEqual(bytes);
    }
  });

  test("a record that says what cannot be, though its checksums hold, is named, and nothing is written", async () => {
    const index = await open(path("alive"), { dimensions: d, metric: "l2" });
    await index.put("a", rowOf(rows, 0, d));
    const killed = path("killed-and-forged");
    cpSync(path("alive"), killed, { recursive: true });
    await index.close();
    const log = new ForgedLog(killed);
    log.ofType(RECORD.put).payload.writeUInt32LE(0x7fffffff, 0);
    log.save();
    const bytes = bytesOf(killed);
    const error = await errorOf(() => repair(killed, { acceptLoss: true }));
    expect(error).toMatchObject({ code: "WAL_CORRUPT" });
    expect(error.message).toMatch(/log record 1: .*Restore the store from a copy$/);
    expect(bytesOf(killed)).toEqual(bytes);
  });

  test("a checksum page that lost one checksum still proves the others", async () => {
    const directory = copyOf("page");
    const block = Math.floor(offsetOf(directory, "rows", 0) / 65_536);
    garble(directory, "checksums", block * 4, 4);
    const report = await expectWhole(directory);
    expect(report.faults.map(({ section }) => section)).toEqual(expect.arrayContaining(["checksums", "rows"]));
  });

  test("a checksum page that is gone leaves vectors without proof: kept as they are, and only when told to", async () => {
    const directory = copyOf("unproven");
    garble(directory, "checksums", 0, 4096);
    const { lost } = await expectLoss(directory);
    expect(lost.find(({ what }) => what === "proof")).toMatchObject({ count: n });
    const index = await open(directory);
    expect((await contentsOf(index)).rows).toEqual(before.rows);
    await index.close();
  });

  test("full text, declared indexes and the index of ids come from the rows", async () => {
    const directory = copyOf("derived");
    const db = new Database(join(directory, "catalog.sqlite"));
    db.exec("DELETE FROM full_text WHERE rowid = 7");
    db.close();
    const messages = (await checkOf(directory)).map(({ message }) => message);
    expect(messages.length).toBeGreaterThan(0);
    for (const message of messages) expect(message).toContain("full text holds");
    await expectWhole(directory);
    const pages = copyOf("indexes");
    const root = rootPage(pages, "entry_id");
    changeBytes(join(pages, "catalog.sqlite"), (root - 1) * 4096 + 8, 64, () => 0x77);
    await expectWhole(pages);
  });
});

function rootPage(directory: string, name: string): number {
  const db = new Database(join(directory, "catalog.sqlite"), { readonly: true });
  const root = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").pluck().get(name) as number;
  db.close();
  return root;
}

/** Changes rows of the catalog behind its back. */
function inCatalog(directory: string, sql: string): void {
  const db = new Database(join(directory, "catalog.sqlite"));
  db.exec(sql);
  db.close();
}

describe("what is lost is listed, and dropped only when told to", () => {
  test("vectors, by id", async () => {
    const directory = copyOf("vectors");
    const { stride } = sectionOf(directory, "vectors");
    garble(directory, "vectors", 0);
    const gone = range(Math.ceil(65_536 / stride))
      .filter((i) => i < n && i !== 200 && i !== 201)
      .map(idOf);
    const { lost } = await expectLoss(directory);
    const ids = lost.find(({ what }) => what === "rows")!.ids!;
    expect(new Set(ids)).toEqual(new Set([...gone, ...(n * stride < 65_536 ? ["late", "later"] : [])]));
    const index = await open(directory);
    for (const id of ids) expect(index.has(id)).toBe(false);
    expect(index.size).toBe(n - ids.length);
    await index.close();
  });

  test("without originals also a record of a tier, a place and a codebook", async () => {
    for (const [section, at] of [
      ["cold", 0],
      ["places", 0],
      ["codebooks", 65_536],
    ] as const) {
      const directory = copyOf(`lossy-${section}`, lossy);
      garble(directory, section, at);
      const { lost } = await expectLoss(directory);
      expect(lost[0]).toMatchObject({ what: "rows" });
      expect(lost[0].ids!.length).toBeGreaterThan(100);
    }
    const directory = copyOf("lossy-head", lossy); // which is derived, but for when codebooks were trained
    garble(directory, "codebooks", 0);
    expect(await repair(directory)).toMatchObject({ ok: true, repaired: true, lost: [] });
    expect(await checkOf(directory)).toEqual([]);
  });

  test("a row of the catalog: its payload, where the index has its id, else all of it", async () => {
    const directory = copyOf("payloads");
    inCatalog(directory, "UPDATE entry SET payload = '{}' WHERE node IN (3, 5)");
    const { lost } = await expectLoss(directory);
    expect(lost).toMatchObject(
      [
        { what: "rows", count: 1, ids: [] }, // its id is too long for the index
        { what: "payloads", count: 1, ids: [3] },
      ].concat(lost.slice(2) as never[]),
    );
    const index = await open(directory);
    expect(index.get(3)).toEqual({ id: 3, vector: rowOf(rows, 3, d), payload: undefined, tier: "warm" });
    expect(index.size).toBe(n - 1);
    await index.close();
  });

  test("feedback and settings of the catalog", async () => {
    const directory = copyOf("feedback");
    inCatalog(directory, "UPDATE feedback SET event = '{}' WHERE lsn = (SELECT min(lsn) FROM feedback)");
    const { lost } = await expectLoss(directory);
    expect(lost).toMatchObject([{ what: "feedback", count: 1 }]);
    expect(lost[0].lsns).toHaveLength(1);
    const index = await open(directory);
    expect(index.stats().learning.events).toBe(before.events - 1);
    await index.close();
  });

  test("the whole catalog: the ids that the index has go on, without payloads", async () => {
    const directory = copyOf("no-catalog");
    rmSync(join(directory, "catalog.sqlite"));
    const { lost } = await expectLoss(directory);
    expect(lost.map(({ what }) => what)).toEqual(expect.arrayContaining(["rows", "payloads", "feedback"]));
    const index = await open(directory);
    expect(index.search(rowOf(rows, 3, d), { k: 1 })).toMatchObject([{ id: 3 }]);
    expect(index.size).toBe(lost.find(({ what }) => what === "payloads")!.count);
    await index.close();
  });

  test.each(["parameters", "overlay", "edges", "gradients", "gradient-values"])(
    "section %s; feedback stays",
    async (name) => {
      const directory = copyOf(`lost-${name}`);
      garble(directory, name, 0);
      const { lost } = await expectLoss(directory);
      expect(lost.map(({ what }) => what)).toEqual([name.startsWith("gradient") ? "gradients" : "learned"]);
      const index = await open(directory);
      const after = await contentsOf(index);
      expect(after.rows).toEqual(before.rows);
      expect(after.events).toBe(before.events);
      if (name === "parameters") await index.train();
      await index.close();
    },
  );

  test("a shift that is not finite, though its checksum holds", async () => {
    const directory = copyOf("forged-shift");
    const { stride } = sectionOf(directory, "overlay");
    forge(directory, "overlay", stride + 16, words(0x7fc00000));
    expect((await checkOf(directory)).map(({ section }) => section)).toEqual(["overlay"]);
    const { lost } = await expectLoss(directory);
    expect(lost).toMatchObject([{ what: "learned", count: 1, message: "shifts of 1 rows" }]);
  });

  test("a vector that is not finite, though its checksum holds", async () => {
    const directory = copyOf("forged-vector");
    forge(directory, "vectors", 7 * sectionOf(directory, "vectors").stride, words(0x7fc00000));
    expect((await checkOf(directory))[0]).toMatchObject({ section: "vectors" });
    const done = await repair(directory, { acceptLoss: true });
    expect(done.lost[0]).toMatchObject({ what: "rows", ids: [idOf(7)] });
    expect(await checkOf(directory)).toEqual([]);
  });
});

describe("the log", () => {
  /** A store whose writer died behind a checkpoint, with five rows in the log alone. */
  async function dead(name: string): Promise<string> {
    const directory = copyOf(`${name}-living`);
    const index = await open(directory);
    await index.put("before", rowOf(rows, 1, d));
    await index.checkpoint();
    for (const i of range(5)) await index.put(`logged-${i}`, rowOf(rows, i, d), { i });
    cpSync(directory, path(name), { recursive: true });
    await index.close();
    return path(name);
  }
  const segmentOf = (directory: string) => join(directory, "wal", readdirSync(join(directory, "wal")).sort().at(-1)!);

  test("a store whose writer was killed has nothing to repair; a torn tail is none either", async () => {
    const directory = await dead("killed");
    appendFileSync(segmentOf(directory), Buffer.alloc(100, 7));
    expect(await repair(directory)).toEqual({ ok: true, repaired: false, faults: [], rebuilt: [], lost: [] });
    const index = await open(directory);
    expect(index.has("logged-4")).toBe(true);
    await index.close();
  });

  test("damage to the graph is repaired beside it, and what is in the log alone is kept", async () => {
    const directory = await dead("killed-damaged");
    garble(directory, "rows", 0);
    garble(directory, "state", 0);
    expect(await repair(directory)).toMatchObject({ ok: true, repaired: true, lost: [] });
    const index = await open(directory);
    expect(index.size).toBe(n + 6);
    expect(index.get("logged-2")).toMatchObject({ vector: rowOf(rows, 2, d), payload: { i: 2 } });
    await index.close();
  });

  test("a durable record that is damaged is lost with all behind it, by LSN", async () => {
    const directory = await dead("log");
    const segment = segmentOf(directory);
    const at = readFileSync(segment).indexOf("logged-2");
    changeBytes(segment, at, 4, (byte) => byte ^ 1);
    expect((await errorOf(() => open(directory))).code).toBe("WAL_CORRUPT");
    const { lost, faults } = await expectLoss(directory);
    expect(faults).toMatchObject([{ code: "WAL_CORRUPT", section: basename(segment) }]);
    const { lsns } = lost.find(({ what }) => what === "log")!;
    expect(faults[0].message).toContain(`record ${lsns![0]} is damaged`);
    expect(lsns).toEqual(range(lsns!.length, lsns![0]));
    const index = await open(directory);
    expect(range(5).map((i) => index.has(`logged-${i}`))).toEqual([true, true, false, false, false]);
    await index.put("after", rowOf(rows, 1, d));
    await index.close();
    expect(await checkOf(directory)).toEqual([]);
  });

  test("without a log, what was in it alone is lost, and nobody can tell what that was", async () => {
    const directory = copyOf("no-log");
    rmSync(join(directory, "wal"), { recursive: true });
    const { lost } = await expectLoss(directory);
    expect(lost).toMatchObject([{ what: "log", count: 0 }]);
    const index = await open(directory);
    expect((await contentsOf(index)).rows).toEqual(before.rows);
    await index.close();
  });

  test("a catalog that is gone comes from a log that was never cut", async () => {
    const living = path("young-living");
    const index = await open(living, { dimensions: d, metric: "l2" });
    for (const i of range(5)) await index.put(i, rowOf(rows, i, d), { i });
    cpSync(living, path("young"), { recursive: true });
    await index.close();
    for (const name of readdirSync(path("young"))) if (name.startsWith("catalog")) rmSync(join(path("young"), name));
    const report = await repair(path("young"));
    expect(report).toMatchObject({ ok: true, repaired: true, lost: [] });
    const again = await open(path("young"));
    expect([...again.entries()].map(({ id, payload }) => [id, payload])).toEqual(range(5).map((i) => [i, { i }]));
    await again.close();
  });
});

test("nobody else may have the store open, and options are checked", async () => {
  const directory = copyOf("busy");
  const index = await open(directory);
  expect((await errorOf(() => repair(directory))).code).toBe("STORE_LOCKED");
  await index.close();
  expect((await errorOf(() => repair(path("nowhere")))).code).toBe("STORE_NOT_FOUND");
  expect((await errorOf(() => repair(directory, { acceptLoss: 1 as never }))).message).toMatch(/acceptLoss is 1/);
  expect((await errorOf(() => repair(directory, { accept: true } as never))).message).toMatch(
    /did you mean "acceptLoss"/,
  );
});
