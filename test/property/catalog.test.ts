/** The catalog against an in-memory model, through commits, crashes, replays, checkpoints and damage. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import type { Id, Payload } from "../../base/types.js";
import { Catalog, type CatalogOptions } from "../../src/catalog/catalog.js";
import { runs } from "../support/seed.js";

const storeId = Uint8Array.from({ length: 16 }, (_, i) => i);
const folder = mkdtempSync(join(tmpdir(), "catalog-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newPath = () => join(folder, `${files++}.sqlite`);
const isLive = () => true;
const all = (catalog: Catalog) => [...catalog.entries()];

async function create(options: Partial<CatalogOptions> = {}): Promise<{ catalog: Catalog; path: string }> {
  const path = newPath();
  return { catalog: await Catalog.open(path, { storeId, create: true, ...options }), path };
}

/** What a crash at this moment leaves on disk. */
function crashed(path: string): string {
  const copy = newPath();
  for (const end of ["", "-wal"]) if (existsSync(path + end)) copyFileSync(path + end, copy + end);
  return copy;
}

/** Changes the closed file behind the catalog's back. */
function tamper(path: string, sql: string): void {
  const db = new Database(path);
  db.unsafeMode(true);
  db.pragma("writable_schema = ON");
  db.exec(sql);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof HebbError) return error.code;
    throw error;
  }
  return "none";
}

describe("a catalog", () => {
  const ids: fc.Arbitrary<Id> = fc.oneof(
    fc.constantFrom<Id>(42, "42", 0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 31, "a\0b", "é", "😀"),
    fc.maxSafeInteger(),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
  );
  const payload = fc.option(fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 })), {
    nil: undefined,
  });
  const node = fc.nat(40);
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("insert" as const), node, id: ids, payload }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), node }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("payload" as const), node, payload }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("commit" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("checkpoint" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const) }) },
  );

  it("holds what a model holds, and after a crash what was committed; a replay completes it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        let { catalog, path } = await create();
        const model = new Map<number, { node: number; id: Id; payload: Payload | undefined }>();
        let committed = { lsn: 0, entries: [] as unknown[] };
        const apply = async (one: (typeof steps)[number], lsn: number) => {
          if (one.do === "insert") await catalog.insert([{ ...one, payload: one.payload as Payload }], lsn);
          else if (one.do === "remove") await catalog.remove([one.node], lsn);
          else if (one.do === "payload") await catalog.setPayload(one.node, one.payload as Payload, lsn);
        };
        const expected = () => [...model.values()].sort((a, b) => a.node - b.node);
        for (const [i, one] of steps.entries()) {
          const lsn = i + 1;
          const stored =
            "payload" in one && one.payload ? (JSON.parse(JSON.stringify(one.payload)) as Payload) : undefined;
          await apply(one, lsn);
          if (one.do === "insert") model.set(one.node, { node: one.node, id: one.id, payload: stored });
          else if (one.do === "remove") model.delete(one.node);
          else if (one.do === "payload" && model.has(one.node)) model.get(one.node)!.payload = stored;
          else if (one.do === "commit") {
            catalog.commit(lsn);
            committed = { lsn, entries: structuredClone(expected()) };
          } else if (one.do === "checkpoint") {
            expect(await catalog.checkpoint()).toBe(catalog.committedLsn);
          } else if (one.do === "crash") {
            const copy = crashed(path);
            await catalog.close();
            path = copy;
            catalog = await Catalog.open(path, { storeId });
            expect(catalog.committedLsn).toBe(committed.lsn);
            expect(all(catalog)).toEqual(committed.entries);
            for (let j = committed.lsn; j <= i; j++) await apply(steps[j], j + 1);
          }
          expect(all(catalog)).toEqual(expected());
          expect(catalog.size).toBe(model.size);
          for (const { node, id, payload } of model.values()) {
            expect(catalog.idOf(node)).toBe(id);
            expect(catalog.nodeOf(id, (other) => other === node)).toBe(node);
            expect(catalog.payloads([node], 1)).toEqual([payload]);
          }
        }
        expect(await catalog.check()).toEqual([]);
        await catalog.close();
      }),
      runs(25),
    );
  });

  it('tells 42 from "42", and among rows of one id the live one', async () => {
    const { catalog } = await create();
    await catalog.insert(
      [
        { node: 0, id: 42 },
        { node: 1, id: "42" },
        { node: 2, id: "42", payload: { new: true } },
      ],
      1,
    );
    expect(catalog.nodeOf(42, isLive)).toBe(0);
    const nodes = ["42", 42, "43"].map((id) => catalog.nodeOf(id, (node) => node !== 1));
    expect(nodes).toEqual([2, 0, undefined]);
    expect(catalog.nodeOf("42", () => false)).toBeUndefined();
    expect(catalog.idOf(9)).toBeUndefined();
    await catalog.close();
  });

  it("gives fresh payload objects, undefined where there is none", async () => {
    const { catalog } = await create();
    await catalog.insert(
      [
        { node: 3, id: "a", payload: { list: [1] } },
        { node: 5, id: "b" },
        { node: 6, id: "c", json: '{"x":1}' },
      ],
      1,
    );
    const [first] = catalog.payloads(Uint32Array.of(3, 5), 1);
    (first!.list as number[]).push(2);
    expect(catalog.payloads(Uint32Array.of(3, 5, 4, 6), 4)).toEqual([{ list: [1] }, undefined, undefined, { x: 1 }]);
    await catalog.close();
  });

  it("iterates while rows come and go", async () => {
    const { catalog } = await create();
    await catalog.insert(
      Array.from({ length: 1000 }, (_, node) => ({ node, id: node })),
      1,
    );
    const seen: number[] = [];
    for (const { node } of catalog.entries()) {
      seen.push(node);
      if (node === 10)
        await catalog.remove(
          Array.from({ length: 500 }, (_, i) => 500 + i),
          2,
        );
      if (node === 11) await catalog.insert([{ node: 2000, id: "late" }], 3);
    }
    expect(seen).toEqual([...Array.from({ length: 500 }, (_, i) => i), 2000]);
    await catalog.close();
  });

  it("lets other work run during a large change, and commits part of it under the LSN before", async () => {
    const { catalog, path } = await create();
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await catalog.insert(
      Array.from({ length: 20_000 }, (_, node) => ({ node, id: `id-${node}`, payload: { node } })),
      7,
    );
    expect(turns).toBeGreaterThan(5);
    expect(catalog.needsCommit).toBe(true);
    expect([catalog.lsn, catalog.committedLsn, catalog.pendingRows]).toEqual([7, 0, 20_000]);
    catalog.commit(6);
    expect([catalog.lsn, catalog.committedLsn, catalog.pendingRows, catalog.pendingBytes]).toEqual([7, 6, 0, 0]);
    turns = 0;
    await catalog.remove(
      Array.from({ length: 20_000 }, (_, node) => node),
      8,
    );
    expect(turns).toBeGreaterThan(5);
    clearImmediate(timer);
    const again = await Catalog.open(crashed(path), { storeId });
    expect([again.lsn, again.size]).toEqual([6, 20_000]);
    await again.close();
    await catalog.close();
  });

  it("refuses a commit before the last one", async () => {
    const { catalog } = await create();
    catalog.commit(5);
    expect(() => catalog.commit(4)).toThrow(/commit at LSN 4; expected at least 5/);
    await catalog.close();
    expect(await codeOf(() => catalog.commit(6))).toBe("INDEX_CLOSED");
    expect(await codeOf(() => all(catalog))).toBe("INDEX_CLOSED");
  });

  it("keeps what it was given when a write fails, reads on, and takes the same again", async () => {
    const { catalog } = await create();
    await catalog.insert([{ node: 0, id: "kept", payload: { n: 0 } }], 1);
    catalog.commit(1);
    await catalog.insert([{ node: 1, id: "replayed", payload: { n: 1 } }], 2);
    expect(catalog.bitmap({ n: { $gte: 0 } }).count).toBe(2);
    const failing = {
      node: 2,
      id: "no row",
      get json(): string {
        throw new HebbError("IO_ERROR", "not the catalog's");
      },
    };
    await expect(catalog.insert([failing], 3)).rejects.toThrow("not the catalog's");
    expect(catalog.size).toBe(2); // the caller's failure is no failed write
    await expect(catalog.insert([{ node: -1.5, id: "x" }], 3)).rejects.toThrow(HebbError);
    expect([catalog.size, catalog.lsn, catalog.committedLsn, catalog.pendingRows]).toEqual([2, 2, 1, 1]);
    expect(catalog.bitmap({ n: { $gte: 0 } }).count).toBe(2);
    expect(catalog.nodeOf("replayed", isLive)).toBe(1);
    await catalog.insert([{ node: 1, id: "replayed", payload: { n: 1 } }], 2);
    catalog.commit(2);
    expect(all(catalog).map(({ id }) => id)).toEqual(["kept", "replayed"]);
    await catalog.close();
  });

  it("keeps feedback by LSN and settings by name", async () => {
    const { catalog, path } = await create();
    const event = {
      query: Float32Array.of(0.1, -0, 3),
      chosen: [{ id: 42, grade: 2 }],
      shown: ["a", 42],
      rejected: [],
      time: 5,
    };
    for (let lsn = 1; lsn <= 600; lsn++)
      await catalog.addFeedback(lsn, { ...event, source: lsn % 2 ? "user" : undefined });
    await catalog.addFeedback(600, { ...event, time: 9 });
    await catalog.putSetting("statistics", Uint8Array.of(1, 2, 3), 601);
    await catalog.putSetting("statistics", Uint8Array.of(4), 602);
    catalog.commit(602);
    await catalog.close();
    const again = await Catalog.open(path, { storeId, readOnly: true });
    const kept = [...again.feedback()];
    expect([kept.length, again.feedbackCount]).toEqual([600, 600]);
    expect(kept[0]).toEqual({ lsn: 1, ...event, source: "user" });
    expect(kept[599]).toEqual({ lsn: 600, ...event, time: 9 });
    expect([...again.feedback(598)].map(({ lsn }) => lsn)).toEqual([599, 600]);
    expect(again.setting("statistics")).toEqual(Uint8Array.of(4));
    expect(again.setting("other")).toBeUndefined();
    await again.close();
  });

  it("changes its indexes to those declared, and keeps them where none are", async () => {
    const { catalog, path } = await create({ indexes: ["lang", "year"] });
    await catalog.insert([{ node: 0, id: "a", payload: { lang: "en", author: { "na'me": "x" } } }], 1);
    catalog.commit(1);
    await catalog.close();
    for (const [indexes, expected] of [
      [undefined, ["lang", "year"]],
      [
        ["author.na'me", "lang"],
        ["author.na'me", "lang"],
      ],
      [[], []],
    ] as const) {
      const again = await Catalog.open(path, { storeId, indexes });
      expect(again.indexes).toEqual(expected);
      expect(again.bitmap({ "author.na'me": "x" }).count).toBe(1);
      expect(await again.check()).toEqual([]);
      await again.close();
    }
    for (const bad of ["", "a..b", 'a"b', "a\\b"]) {
      await expect(Catalog.open(path, { storeId, indexes: [bad] })).rejects.toThrow(TypeError);
    }
  });
});

describe("checkpoints", () => {
  it("run beside writers, and make what was committed before durable without SQLite's log", async () => {
    const { catalog, path } = await create();
    const rows = (from: number) =>
      Array.from({ length: 3000 }, (_, i) => ({ node: from + i, id: from + i, payload: { i } }));
    for (let lsn = 1; lsn <= 6; lsn++) {
      await catalog.insert(rows(lsn * 3000), lsn);
      catalog.commit(lsn);
      const checkpoint = catalog.checkpoint();
      const more = catalog.setPayload(3000, { lsn }, lsn + 1); // visible at once, or once SQLite's log is emptied
      expect(await checkpoint).toBe(lsn);
      const copy = newPath();
      copyFileSync(path, copy); // the database file alone
      const other = await Catalog.open(copy, { storeId });
      expect([other.lsn, other.size, other.nodeOf(lsn * 3000 + 2999, isLive)]).toEqual([
        lsn,
        lsn * 3000,
        lsn * 3000 + 2999,
      ]);
      await other.close();
      await more;
    }
    catalog.commit(7);
    await catalog.checkpoint();
    expect(catalog.payloads([3000], 1)).toEqual([{ lsn: 6 }]);
    await catalog.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  it("make writers wait while SQLite's log is emptied, in order", async () => {
    const { catalog } = await create();
    await catalog.insert(
      Array.from({ length: 5000 }, (_, node) => ({ node, id: node, payload: { n: "x".repeat(200) } })),
      1,
    );
    catalog.commit(1);
    let done = false;
    const checkpoint = catalog.checkpoint().finally(() => {
      done = true;
    });
    const changes: Promise<void>[] = [];
    for (let i = 0; !done; i++) {
      changes.push(catalog.setPayload(0, { i }, 2 + i));
      if (i % 3 === 0) catalog.commit(2 + i);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all([checkpoint, ...changes]);
    expect(catalog.payloads([0], 1)).toEqual([{ i: changes.length - 1 }]);
    catalog.commit(changes.length + 2);
    expect(await catalog.checkpoint()).toBe(changes.length + 2);
    await catalog.close();
  });

  it("are durable too where a reader still needs an older state, and that reader sees it", async () => {
    const { catalog, path } = await create();
    await catalog.insert([{ node: 0, id: "a" }], 1);
    catalog.commit(1);
    expect(await catalog.checkpoint()).toBe(1);
    const reader = await Catalog.open(path, { storeId, readOnly: true });
    await catalog.insert([{ node: 1, id: "b" }], 2);
    catalog.commit(2);
    await catalog.insert([{ node: 2, id: "c" }], 3);
    catalog.commit(3);
    expect(await catalog.checkpoint()).toBe(3);
    expect(readFileSync(`${path}-wal`).length).toBeGreaterThan(0);
    expect([reader.lsn, all(reader).length]).toEqual([1, 1]);
    expect(await codeOf(() => reader.insert([{ node: 5, id: "d" }], 4))).toBe("STORE_READ_ONLY");
    await reader.close();
    expect(await catalog.checkpoint()).toBe(3);
    await catalog.close();
  });
});

describe("full text", () => {
  it("ranks, accepts, and follows changes", async () => {
    const { catalog } = await create();
    const texts = ["the cat sat on the mat", "cats and dogs", "a dog barked", "naïve café", "nothing here"];
    await catalog.insert(
      texts.map((text, node) => ({ node, id: node, payload: { text } })),
      1,
    );
    const nodes = (query: string, limit = 10, accept?: (node: number) => boolean) =>
      catalog.fullText(query, limit, accept).map(({ node }) => node);
    expect(nodes("cat").sort()).toEqual([0, 1]);
    expect(nodes("CAFE naive")).toEqual([3]);
    expect(nodes("dogs cats")[0]).toBe(1);
    expect(nodes("dog", 1)).toHaveLength(1);
    expect(nodes("dog cat", 10, (node) => node === 2)).toEqual([2]);
    const scores = catalog.fullText("dogs cats", 10).map(({ score }) => score);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
    await catalog.setPayload(0, { text: "a parrot" }, 2);
    await catalog.setPayload(1, { text: 5 }, 2);
    await catalog.remove([2], 2);
    expect([nodes("cat dog"), nodes("parrots")]).toEqual([[], [0]]);
    catalog.commit(2);
    expect(await catalog.check()).toEqual([]);
    await catalog.close();
  });

  it("keeps its segments few over thousands of commits", async () => {
    const { catalog, path } = await create();
    for (let node = 0; node < 2500; node++) {
      await catalog.insert([{ node, id: node, payload: { text: `word${node} common` } }], node + 1);
      catalog.commit(node + 1);
    }
    expect(catalog.fullText("word77 common", 3)[0].node).toBe(77);
    await catalog.close();
    const db = new Database(path);
    expect(db.prepare("SELECT count(DISTINCT segid) FROM full_text_idx").pluck().get()).toBeLessThan(60);
    db.close();
  });

  it("takes any string as a query", async () => {
    const { catalog } = await create();
    await catalog.insert(
      [{ node: 0, id: 0, payload: { text: 'NEAR "quoted" AND OR NOT (a) text:b ^c* d+e \0 \u0301 x' } }],
      1,
    );
    const syntax = fc.constantFrom(
      '"',
      "'",
      "(",
      ")",
      "*",
      "^",
      ":",
      "+",
      "-",
      "{",
      "}",
      "NEAR",
      "AND",
      "OR",
      "NOT",
      "\0",
      "\u0301",
      "\ud800",
      "a",
      " ",
      "²",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.array(syntax).map((parts) => parts.join("")),
          fc.string(),
        ),
        (query) => {
          for (const { node, score } of catalog.fullText(query, 3))
            expect([node, Number.isFinite(score)]).toEqual([0, true]);
        },
      ),
      runs(1000),
    );
    expect(catalog.fullText("x ".repeat(100_000), 1)).toHaveLength(1);
    expect(catalog.fullText("NEAR", 1)).toHaveLength(1);
    expect(catalog.fullText("a", 0)).toEqual([]);
    await catalog.close();
  });
});

describe("damage", () => {
  async function sample(): Promise<string> {
    const { catalog, path } = await create({ indexes: ["lang"] });
    const rows = Array.from({ length: 40 }, (_, node) => ({
      node,
      id: node % 2 ? node : `doc-${node}`,
      payload: { lang: node % 3 ? "en" : "de", text: `some words ${node}` },
    }));
    await catalog.insert(rows, 1);
    await catalog.addFeedback(2, { query: Float32Array.of(1, 2), chosen: [], shown: [], rejected: [], time: 0 });
    await catalog.putSetting("s", Uint8Array.of(1, 2, 3), 3);
    catalog.commit(3);
    await catalog.close();
    return path;
  }

  it("in a row names id and node, in a read and in the check", async () => {
    const path = await sample();
    tamper(path, `UPDATE entry SET payload = replace(payload, '"de"', '"xx"') WHERE node = 6`);
    const catalog = await Catalog.open(path, { storeId });
    const message = /CATALOG_CORRUPT: .*id "doc-6" \(node 6\): checksum -?\d+ stored, -?\d+ computed/;
    expect(() => catalog.payloads([6], 1)).toThrow(message);
    expect(() => catalog.idOf(6)).toThrow(message);
    expect(() => catalog.nodeOf("doc-6", isLive)).toThrow(message);
    expect(() => all(catalog)).toThrow(message);
    expect(() => catalog.bitmap({ year: 1 })).toThrow(message);
    expect(catalog.idOf(7)).toBe(7);
    expect(await catalog.check()).toMatchObject([{ code: "CATALOG_CORRUPT", section: "catalog", offset: 6 }]);
    await catalog.close();
  });

  it("elsewhere is found by open, by reads or by the check", async () => {
    const cases: [string, RegExp][] = [
      ["UPDATE entry SET id = 'doc-7' WHERE node = 6", /id "doc-7" \(node 6\)/],
      ["DELETE FROM entry WHERE node = 6", /39 entries found; expected 40/],
      ["UPDATE feedback SET event = '{}'", /feedback 2: its checksum/],
      ["DELETE FROM feedback", /0 feedback found; expected 1/],
      ["UPDATE setting SET value = x'00'", /setting "s": its checksum/],
      ["DELETE FROM full_text WHERE rowid = 6", /full text holds/],
      ["UPDATE full_text_data SET block = zeroblob(length(block)) WHERE id > 10", /./],
      // What BM25 goes by beside the words:
      ["UPDATE full_text_docsize SET sz = x'09' WHERE id = 6", /lengths of 40 texts/],
      ["UPDATE full_text_docsize SET sz = 'text' WHERE id = 6", /lengths of 40 texts/],
      ["UPDATE full_text_data SET block = x'2879' WHERE id = 1", /does not count the texts/],
    ];
    for (const [sql, message] of cases) {
      const path = await sample();
      tamper(path, sql);
      const catalog = await Catalog.open(path, { storeId });
      const faults = await catalog.check();
      expect(faults.map((fault) => fault.message).join("\n"), sql).toMatch(message);
      await catalog.close();
    }
  });

  it("of the meta row, the schema or the header is refused at open", async () => {
    const cases: [string, string][] = [
      ["UPDATE meta SET value = replace(value, '\"lsn\":3', '\"lsn\":9')", "CATALOG_CORRUPT"],
      ["DELETE FROM meta", "CATALOG_CORRUPT"],
      ["DROP TABLE setting", "CATALOG_CORRUPT"],
      ["DROP INDEX entry_id", "CATALOG_CORRUPT"],
      ["UPDATE sqlite_schema SET sql = replace(sql, 'lang', 'mang') WHERE name = 'field:lang'", "CATALOG_CORRUPT"],
      ["UPDATE sqlite_schema SET sql = 'CREATE TABLE (' WHERE name = 'entry'", "CATALOG_CORRUPT"],
      ["UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'entry'", "CATALOG_CORRUPT"],
      ["PRAGMA application_id = 1", "CATALOG_CORRUPT"],
      ["PRAGMA user_version = 2", "STORE_VERSION"],
    ];
    for (const [sql, code] of cases) {
      const path = await sample();
      tamper(path, sql);
      expect(await codeOf(() => Catalog.open(path, { storeId })), sql).toBe(code);
    }
  });

  it("of the file as a whole, another store's and none are refused by name", async () => {
    const path = await sample();
    expect(await codeOf(() => Catalog.open(path, { storeId: new Uint8Array(16) }))).toBe("STORE_MISMATCH");
    expect(await codeOf(() => Catalog.open(newPath(), { storeId }))).toBe("CATALOG_CORRUPT");
    writeFileSync(path, "this is no database, but a text that is long enough to look like one ".repeat(100));
    expect(await codeOf(() => Catalog.open(path, { storeId }))).toBe("CATALOG_CORRUPT");
    expect(await codeOf(() => Catalog.open(path, { storeId, create: true }))).toBe("CATALOG_CORRUPT");
    expect(readFileSync(path, "utf8")).toMatch(/^this is no database/);
    truncateSync(path, 0);
    expect(await codeOf(() => Catalog.open(path, { storeId }))).toBe("CATALOG_CORRUPT");
    await (await Catalog.open(path, { storeId, create: true })).close();
  });

  it("by a flipped bit anywhere gives a typed error, or the check finds it, or it harms nothing", async () => {
    const path = await sample();
    const bytes = readFileSync(path);
    const view = async (catalog: Catalog) => ({
      rows: all(catalog),
      ids: all(catalog).map(({ id }) => catalog.nodeOf(id, isLive)),
      filtered: [...catalog.bitmap({ lang: "en" }).bits],
      words: catalog.fullText("words 7 12", 5),
      feedback: [...catalog.feedback()],
      setting: catalog.setting("s"),
      lsn: catalog.lsn,
    });
    const intact = await Catalog.open(path, { storeId });
    const truth = await view(intact);
    await intact.close();
    const flip = fc.tuple(fc.nat(bytes.length - 1), fc.nat(7));
    const outcomes = { open: 0, read: 0, check: 0, harmless: 0 };
    await fc.assert(
      fc.asyncProperty(flip, async ([offset, bit]) => {
        const copy = newPath();
        const damaged = Buffer.from(bytes);
        damaged[offset] ^= 1 << bit;
        writeFileSync(copy, damaged);
        const code = await codeOf(async () => {
          const catalog = await Catalog.open(copy, { storeId });
          try {
            let seen: unknown;
            const read = await codeOf(async () => {
              seen = await view(catalog);
            });
            if (read !== "none") outcomes.read++;
            else if ((await catalog.check()).length > 0) outcomes.check++;
            else {
              expect(seen).toEqual(truth);
              outcomes.harmless++;
            }
          } finally {
            await codeOf(() => catalog.close());
          }
        });
        if (code !== "none") outcomes.open++;
        expect(["none", "CATALOG_CORRUPT", "STORE_VERSION", "IO_ERROR", "STORE_MISMATCH"]).toContain(code);
        for (const end of ["", "-wal", "-shm"]) rmSync(copy + end, { force: true });
      }),
      { ...runs(80), endOnFailure: true },
    );
    expect(outcomes.open + outcomes.read + outcomes.check).toBeGreaterThan(0);
  });

  it("at random, thousands of bytes at once, never gives anything but a typed error", async () => {
    const path = await sample();
    const bytes = readFileSync(path);
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.nat(bytes.length), async (seed, length) => {
        const random = new Prng(seed);
        const damaged = Buffer.from(bytes).subarray(0, 1 + random.below(bytes.length));
        const start = random.below(damaged.length);
        for (let i = start; i < Math.min(damaged.length, start + length); i++) damaged[i] = random.below(256);
        const copy = newPath();
        writeFileSync(copy, damaged);
        await codeOf(async () => {
          const catalog = await Catalog.open(copy, { storeId });
          try {
            await codeOf(() => all(catalog));
            await codeOf(() => catalog.bitmap({ lang: "en" }));
            await codeOf(() => catalog.fullText("words", 5));
            await codeOf(() => catalog.insert([{ node: 3, id: 3, payload: { text: "words" } }], 9));
            await catalog.check();
          } finally {
            await codeOf(() => catalog.close());
          }
        });
        for (const end of ["", "-wal", "-shm"]) rmSync(copy + end, { force: true });
      }),
      { ...runs(100), endOnFailure: true },
    );
  });
});
