/** Filters: conditions on payloads, in the form users of other vector stores know. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Filter, type Id, type Index, open, type Payload } from "../../src/index.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();

describe("what matches", () => {
  const payloads: Record<string, Payload | undefined> = {
    en: { lang: "en", year: 2021, tags: ["a", "b"], author: { name: "Ada" }, done: true },
    de: { lang: "de", year: 2019, tags: [], author: { name: "Bo" }, done: false },
    text: { lang: "10", year: "2020", tags: "a", author: "Ada", done: 1 },
    null: { lang: null, year: null, tags: [null, 3], author: {}, done: null },
    empty: {},
    none: undefined,
  };
  let index: Index;
  beforeAll(async () => {
    index = await open(path("what"), { dimensions: 2, metric: "l2", indexes: ["year", "author.name"] });
    await index.putMany(Object.entries(payloads).map(([id, payload], i) => ({ id, vector: [i, 1], payload })));
  });
  afterAll(() => index.close());

  const cases: [Filter, string[]][] = [
    [{}, ["en", "de", "text", "null", "empty", "none"]],
    [{ lang: "en" }, ["en"]],
    [{ lang: { $eq: "de" } }, ["de"]],
    [{ lang: "en", year: 2021 }, ["en"]],
    [{ lang: "en", year: 2019 }, []],
    [{ lang: { $ne: "en" } }, ["de", "text", "null", "empty", "none"]],
    // within one JSON type only
    [{ year: { $gte: 2000 } }, ["en", "de"]],
    [{ year: { $gte: "2000" } }, ["text"]],
    [{ lang: 10 }, []],
    [{ done: 1 }, ["text"]],
    [{ done: true }, ["en"]],
    [{ year: { $gt: 2019, $lte: 2021 } }, ["en"]],
    [{ year: { $lt: 2021 } }, ["de"]],
    // arrays match by element, and as a whole
    [{ tags: "a" }, ["en", "text"]],
    [{ tags: { $in: ["b", 3] } }, ["en", "null"]],
    [{ tags: ["a", "b"] }, ["en"]],
    [{ tags: [] }, ["de"]],
    [{ tags: { $nin: ["a", 3] } }, ["de", "empty", "none"]],
    // a missing field matches only $ne, $nin, $not and $exists: false
    [{ year: { $exists: true } }, ["en", "de", "text", "null"]],
    [{ year: { $exists: false } }, ["empty", "none"]],
    [{ year: null }, ["null"]],
    [{ year: { $not: { $gte: 2020 } } }, ["de", "text", "null", "empty", "none"]],
    // dots reach into objects
    [{ "author.name": "Ada" }, ["en"]],
    [{ "author.name": { $exists: false } }, ["text", "null", "empty", "none"]],
    [{ author: { $eq: { name: "Bo" } } }, ["de"]],
    // groups
    [{ $or: [{ lang: "en" }, { year: "2020" }] }, ["en", "text"]],
    [{ $and: [{ done: { $ne: true } }, { lang: { $exists: true } }] }, ["de", "text", "null"]],
    [{ $not: { lang: "en" } }, ["de", "text", "null", "empty", "none"]],
    [{ lang: { $in: ["en", "de"] }, $or: [{ year: { $lt: 2020 } }, { tags: "b" }] }, ["en", "de"]],
    // names that objects have by themselves
    [{ constructor: { $exists: true } }, []],
    [JSON.parse('{ "__proto__": 1 }') as Filter, []],
  ];
  test.each(cases.map(([filter, ids]) => [JSON.stringify(filter), filter, ids] as const))(
    "%s",
    async (_, filter, ids) => {
      const sorted = (all: Iterable<{ id: Id }>) => [...all].map(({ id }) => id as string).sort();
      const expected = [...ids].sort();
      expect(sorted(index.search([0, 0], { k: 10, filter }))).toEqual(expected);
      expect(sorted(index.search([0, 0], { k: 10, filter, exact: true }))).toEqual(expected);
      expect(sorted((await index.searchMany(Float32Array.of(0, 0), { filter }))[0])).toEqual(expected);
      expect(sorted((await index.query({ vector: [0, 0], filter })).hits)).toEqual(expected);
      expect(sorted(index.entries({ filter }))).toEqual(expected);
      expect(index.count(filter)).toBe(expected.length);
    },
  );

  test("an unknown operator is an error that names the nearest and lists all", async () => {
    const error = await errorOf(() => index.search([0, 0], { filter: { year: { $gtt: 3 } } }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/\$gtt.*did you mean "\$gte?".*\$eq, \$ne, \$gt, \$gte, \$lt, \$lte, \$in, \$nin/);
  });

  test.each<[string, unknown]>([
    ["no object", "lang"],
    ["null", null],
    ["an array", [{ lang: "en" }]],
    ["an empty $or", { $or: [] }],
    ["$in without an array", { lang: { $in: "en" } }],
    ["NaN", { year: { $gte: Number.NaN } }],
    ["a bound of another type", { year: { $gte: true } }],
    ["a Date", { year: new Date() }],
    ["a group inside a field", { year: { $or: [1, 2] } }],
    ["an operator beside fields", { $gte: 5 }],
    ["a field without a name", { "a..b": 1 }],
    ["no operators", { year: {} }],
    ["too many levels", JSON.parse(`${'{"$not":'.repeat(100)}{"a":1}${"}".repeat(100)}`)],
  ])("%s is no filter", async (_, filter) => {
    const given = filter as Filter;
    const calls = [
      () => index.search([0, 0], { filter: given }),
      () => index.searchMany(Float32Array.of(0, 0), { filter: given }),
      () => index.query({ vector: [0, 0], filter: given }),
      () => index.count(given),
      () => index.entries({ filter: given }),
      () => index.delete({ filter: given }),
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/filter.*expected|filter.*deep/s);
    }
    expect(index.size).toBe(6);
  });
});

describe("filtered searching", () => {
  const [n, d] = [3000, 8];
  const rows = randomRows(n, d, 5);
  let index: Index;
  beforeAll(async () => {
    index = await open(path("searching"), { dimensions: d, metric: "l2" });
    const payloads = Array.from({ length: n }, (_, i) => ({ i, mod: i % 100 }));
    await index.putMany({ ids: payloads.map(({ i }) => i), vectors: rows, payloads });
  });
  afterAll(() => index.close());

  const truth = (query: Float32Array, k: number, matches: (i: number) => boolean) =>
    Array.from({ length: n }, (_, i) => i)
      .filter(matches)
      .map((i) => ({ i, distance: distanceOf("l2", query, rowOf(rows, i, d)) }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, k)
      .map(({ i }) => i);

  test.each([1, 10, 50, 90])("fills k and finds the nearest where %i percent match", (percent) => {
    let found = 0;
    for (let q = 0; q < 20; q++) {
      const query = randomRows(1, d, 100 + q);
      const hits = index.search(query, { k: 10, ef: 100, filter: { mod: { $lt: percent } } });
      expect(hits).toHaveLength(10);
      for (const { id } of hits) expect((id as number) % 100).toBeLessThan(percent);
      const expected = truth(query, 10, (i) => i % 100 < percent);
      found += hits.filter(({ id }) => expected.includes(id as number)).length;
    }
    expect(found / 200).toBeGreaterThan(0.97);
  });

  test("k larger than what matches gives all that matches", () => {
    const hits = index.search(randomRows(1, d, 9), { k: 500, filter: { mod: { $in: [3, 4] } } });
    expect(hits).toHaveLength(60);
    expect(index.search(randomRows(1, d, 9), { filter: { mod: 100 } })).toEqual([]);
  });

  test("a filter that was used before follows every change", async () => {
    const filter = { mod: 7, extra: { $ne: true } };
    const count = () => [index.count(filter), index.search(randomRows(1, d, 9), { k: 100, filter }).length];
    expect(count()).toEqual([30, 30]);
    await index.setPayload(7, { mod: 8 });
    expect(count()).toEqual([29, 29]);
    await index.put(107, rowOf(rows, 107, d), { mod: 7, extra: true });
    expect(count()).toEqual([28, 28]);
    await index.putMany(
      Array.from({ length: 100 }, (_, i) => ({ id: `new-${i}`, vector: rowOf(rows, i, d), payload: { mod: 7 } })),
    );
    expect(count()).toEqual([128, 100]);
    expect(await index.delete({ filter: { mod: 7 } })).toBe(129);
    expect(count()).toEqual([0, 0]);
    await index.settle();
    await index.put("after", rowOf(rows, 1, d), { mod: 7 }); // may get the place of a row that matched
    await index.put("other", rowOf(rows, 1, d), { mod: 6 });
    expect(index.search(rowOf(rows, 1, d), { k: 10, filter }).map(({ id }) => id)).toEqual(["after"]);
  });
});

test("declared indexes change nothing but time, may be declared later, and stay", async () => {
  const at = path("declared");
  const rowsOf = Array.from({ length: 500 }, (_, i) => ({
    id: i,
    vector: [i, 0],
    payload: { a: { b: i % 7 }, c: `${i % 3}` },
  }));
  const filters: Filter[] = [
    { "a.b": 3 },
    { "a.b": { $gte: 2, $lt: 4 } },
    { c: { $in: ["1", "2"] }, "a.b": { $ne: 0 } },
  ];
  const plain = await open(at, { dimensions: 2, metric: "l2" });
  await plain.putMany(rowsOf);
  const expected = filters.map((filter) => plain.count(filter));
  await plain.close();
  for (const indexes of [["a.b"], ["a.b", "c"], undefined, [], ["c"]]) {
    const index = await open(at, { indexes });
    expect(filters.map((filter) => index.count(filter))).toEqual(expected);
    expect((await index.check()).ok).toBe(true);
    await index.close();
  }
});
