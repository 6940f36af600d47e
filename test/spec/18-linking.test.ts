/** Rows are acknowledged before they are linked into the graph: they are found all the same, and nothing is lost between. */
import { describe, expect, test } from "vitest";
import { type Index, open } from "../../src/index.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 24;
const n = 6000;
const METRICS = ["l2", "cosine", "dot"] as const;
const rows = randomRows(n, d, 5);
const ids = Array.from({ length: n }, (_, i) => i);
const config = { ruvector: { hnsw_m: 8 } };

const create = (name: string, metric: (typeof METRICS)[number] = "l2", more: object = {}) =>
  open(path(name), { dimensions: d, metric, durability: "off", config: { ruvector: { ...config.ruvector, ...more } } });

const put = (index: Index, from: number, to: number) =>
  index.putMany({
    ids: ids.slice(from, to),
    vectors: rows.subarray(from * d, to * d),
    payloads: ids.slice(from, to).map((i) => ({ even: i % 2 === 0 })),
  });

/** Share of the ten nearest among `there` that a search finds. */
function recall(index: Index, metric: (typeof METRICS)[number], there: readonly number[], ef = 100): number {
  const queries = randomRows(30, d, 77);
  let found = 0;
  for (let q = 0; q < 30; q++) {
    const query = rowOf(queries, q, d);
    const truth = there.map((i) => distanceOf(metric, query, rowOf(rows, i, d))).sort((a, b) => a - b);
    const hits = index.search(query, { k: 10, ef });
    expect(hits).toHaveLength(10);
    for (const { id, distance } of hits) {
      expect(distance).toBeCloseTo(distanceOf(metric, query, rowOf(rows, id as number, d)), 3);
      if (distance <= truth[9] + 1e-4) found++;
    }
    expect(new Set(hits.map(({ id }) => id)).size).toBe(10);
  }
  return found / 300;
}

describe.each(METRICS)("under %s", (metric) => {
  test("what is acknowledged is found while it waits, and as well once it is linked", async () => {
    const index = await create(`waits-${metric}`, metric);
    await put(index, 0, n);
    expect(index.stats().backlog).toBeGreaterThan(0);
    expect(recall(index, metric, ids)).toBeGreaterThan(0.98);
    await index.settle();
    expect(index.stats().backlog).toBe(0);
    expect(recall(index, metric, ids)).toBeGreaterThan(0.9);
    await index.close();
  });
});

test("every row is found at the moment it is acknowledged, whatever is linked meanwhile", async () => {
  const index = await create("at-once");
  let waited = 0;
  for (let at = 0; at < n; at += 250) {
    await put(index, at, at + 250);
    waited = Math.max(waited, index.stats().backlog);
    for (let i = at; i < at + 250; i += 10) {
      expect(index.search(rowOf(rows, i, d), { k: 1, ef: 64 })).toMatchObject([{ id: i, distance: 0 }]);
    }
  }
  expect(waited).toBeGreaterThan(0);
  await index.settle();
  expect((await index.check()).faults).toEqual([]);
  await index.close();
});

test("rows that wait can be deleted, replaced and filtered", async () => {
  const index = await create("changed");
  await put(index, 0, n);
  expect(index.stats().backlog).toBeGreaterThan(0);
  await index.delete(ids.filter((i) => i % 3 === 0));
  await index.put(1, rowOf(rows, 0, d), { even: true });
  expect(index.search(rowOf(rows, 0, d), { k: 1 })).toMatchObject([{ id: 1, distance: 0 }]);
  const hits = index.search(rowOf(rows, 7, d), { k: 20, ef: 100, filter: { even: true } });
  expect(hits).toHaveLength(20);
  for (const { id } of hits) expect(id === 1 || ((id as number) % 2 === 0 && (id as number) % 3 !== 0)).toBe(true);
  expect(await index.searchMany(rowOf(rows, 3, d), { k: 5 })).toMatchObject([[{}, {}, {}, {}, {}]]);
  await index.settle();
  expect(index.size).toBe(n - n / 3);
  expect(index.stats()).toMatchObject({ backlog: 0, deleted: 0 });
  for (const i of [2, 5, 7, 8]) expect(index.search(rowOf(rows, i, d), { k: 1 })).toMatchObject([{ id: i }]);
  await index.close();
});

test("a graph much smaller than the backlog is searched as widely as asked for", async () => {
  const index = await create("tiny-graph");
  await put(index, 0, 4);
  await index.settle();
  await put(index, 4, n);
  await index.delete([0]);
  for (const ef of [1, 2, 7]) {
    expect(index.stats().backlog).toBeGreaterThan(0);
    for (const i of [1, 3, 5, 4000]) {
      expect(index.search(rowOf(rows, i, d), { k: 1, ef })).toMatchObject([{ id: i, distance: 0 }]);
    }
  }
  await index.close();
});

test.each([
  ["an outlier", "l2", "turbo", (i: number) => (i === 7 ? 1e4 : 1), 0],
  ["an offset far beyond the spread", "l2", "turbo", () => 1, 300],
  ["an offset far beyond the spread", "l2", "compact", () => 1, 300],
  ["an offset far beyond the spread", "l2", "small", () => 1, 300],
  ["an offset", "dot", "turbo", () => 1, 1],
  ["an offset", "dot", "small", () => 1, 1],
] as const)("%s under %s, %s: the graph is as good", async (_, metric, graph_profile, factor, offset) => {
  const moved = rows.map((x, i) => x * factor(Math.floor(i / d)) + offset);
  const index = await create(`moved-${metric}-${graph_profile}-${offset}`, metric, { graph_profile });
  await index.putMany({ ids, vectors: moved });
  await index.settle();
  let found = 0;
  for (let q = 0; q < 30; q++) {
    const query = randomRows(1, d, 500 + q).map((x) => x + offset);
    const truth = new Set(index.search(query, { k: 10, exact: true }).map(({ id }) => id));
    for (const { id } of index.search(query, { k: 10, ef: 200 })) if (truth.has(id)) found++;
  }
  expect(found / 300).toBeGreaterThan(0.85);
  await index.close();
});

test("a store that is closed while rows wait has them all when it is opened again", async () => {
  const index = await create("closed");
  await put(index, 0, n - 500);
  await put(index, n - 500, n); // acknowledged while the first are being linked
  await index.close();
  const reader = await open(path("closed"), { readOnly: true });
  expect(reader.stats().backlog).toBeGreaterThan(0);
  expect(recall(reader, "l2", ids)).toBeGreaterThan(0.9);
  await reader.settle(); // nothing to wait for: it never links
  expect(reader.stats().backlog).toBeGreaterThan(0);
  await reader.close();
  const again = await open(path("closed"), { config });
  expect(again.search(rowOf(rows, n - 1, d), { k: 1 })).toMatchObject([{ id: n - 1, distance: 0 }]);
  await again.settle();
  expect(again.stats().backlog).toBe(0);
  expect((await again.check()).faults).toEqual([]);
  expect(recall(again, "l2", ids)).toBeGreaterThan(0.9);
  await again.close();
});

test("closing waits for who asked to settle", async () => {
  const index = await create("settling");
  await put(index, 0, 2000);
  const settled = index.settle();
  await Promise.all([settled, index.close()]);
  const again = await open(path("settling"), { readOnly: true });
  expect(again.stats().backlog).toBe(0);
  await again.close();
});

test("the same calls give the same answers", async () => {
  const answers = [];
  const wide = 136; // how short vectors are walked is timed, and may be either
  const rows = randomRows(n, wide, 6);
  for (const name of ["one", "two"]) {
    const index = await open(path(name), { dimensions: wide, metric: "l2", durability: "off", config });
    const add = (from: number, to: number) =>
      index.putMany({ ids: ids.slice(from, to), vectors: rows.subarray(from * wide, to * wide) });
    await add(0, 4000);
    await index.settle();
    await index.delete(ids.slice(0, 1500));
    await add(4000, n);
    await index.settle();
    answers.push(await index.searchMany(randomRows(100, wide, 7), { k: 10, ef: 10 }));
    await index.close();
  }
  expect(answers[0]).toEqual(answers[1]);
});

describe("the end of a search", () => {
  test("adaptive finds nearly what ef does, and a margin of zero less", async () => {
    const wide = 136; // short vectors may be walked without codes, where that is faster, and then no margin ends a walk
    const [long, count] = [randomRows(3000, wide, 6), 3000];
    const index = await open(path("stop-ef"), { dimensions: wide, metric: "l2", durability: "off", config });
    await index.putMany({ ids: ids.slice(0, count), vectors: long });
    await index.settle();
    expect(index.stats().graph).toMatchObject({ path: "codes", stop: "ef" });
    const found = (of: Index) => {
      const queries = randomRows(30, wide, 77);
      let hits = 0;
      for (let q = 0; q < 30; q++) {
        const query = rowOf(queries, q, wide);
        const truth = ids.slice(0, count).map((i) => distanceOf("l2", query, rowOf(long, i, wide)));
        const tenth = truth.sort((x, y) => x - y)[9];
        hits += of.search(query, { k: 10, ef: 100 }).filter(({ distance }) => distance <= tenth * 1.00001).length;
      }
      return hits / 300;
    };
    const full = found(index);
    await index.close();
    const foundAt = async (search_stop_margin: number) => {
      const ruvector = { ...config.ruvector, search_stop: "adaptive" as const, search_stop_margin };
      const adaptive = await open(path("stop-ef"), { config: { ruvector } });
      expect(adaptive.stats().graph).toMatchObject({ path: "codes", stop: "adaptive" });
      const share = found(adaptive);
      await adaptive.close();
      return share;
    };
    const [broad, none] = [await foundAt(0.5), await foundAt(0)];
    expect(broad).toBeGreaterThan(full - 0.02);
    expect(none).toBeLessThan(broad - 0.05);
  });

  test.each([
    ["search_stop", "never", '"ef", "adaptive"'],
    ["graph_profile", "huge", '"turbo", "compact", "small"'],
  ])("%s that does not exist is refused with the ones that do", async (key, value, valid) => {
    const error = await errorOf(() => create("refused", "l2", { [key]: value }));
    expect(error).toMatchObject({ code: "CONFIG_INVALID" });
    expect(error.message).toContain(`ruvector.${key}`);
    expect(error.message).toContain(valid);
  });
});

describe("profiles", () => {
  test.each(["turbo", "compact", "small"] as const)(
    "%s: finds, changes, and is the store's for good",
    async (profile) => {
      const index = await create(`profile-${profile}`, "l2", { graph_profile: profile });
      await put(index, 0, n);
      await index.settle();
      expect(index.stats().graph.profile).toBe(profile);
      expect(recall(index, "l2", ids, 200)).toBeGreaterThan(0.9);
      await index.delete(ids.slice(0, n / 2));
      await index.settle();
      expect(recall(index, "l2", ids.slice(n / 2), 200)).toBeGreaterThan(0.9);
      await put(index, 0, n / 2);
      await index.settle();
      expect((await index.check()).faults).toEqual([]);
      const before = await index.searchMany(randomRows(40, d, 6), { k: 10, ef: 20 });
      await index.close();

      const other = profile === "turbo" ? "small" : "turbo";
      const again = await open(path(`profile-${profile}`), { config: { ruvector: { graph_profile: other } } });
      expect(again.stats().graph.profile).toBe(profile);
      expect(again.stats().warnings.join()).toMatch(new RegExp(`graph_profile is "${other}".*"${profile}"`));
      expect(await again.searchMany(randomRows(40, d, 6), { k: 10, ef: 20 })).toEqual(before);
      await again.close();
    },
  );

  test("compact has a limit of dimensions", async () => {
    const config = { ruvector: { graph_profile: "compact" as const } };
    const error = await errorOf(() => open(path("too-wide"), { dimensions: 5000, metric: "l2", config }));
    expect(error).toMatchObject({ code: "CONFIG_INVALID" });
    expect(error.message).toMatch(/compact.*5000.*4096.*turbo/);
  });

  test("rows are as small as they say", async () => {
    const bytes: Record<string, number> = {};
    for (const graph_profile of ["turbo", "compact", "small"] as const) {
      const index = await open(path(`bytes-${graph_profile}`), {
        dimensions: 784,
        metric: "l2",
        config: { ruvector: { hnsw_m: 16, graph_profile } },
      });
      bytes[graph_profile] = index.stats().graph.bytesPerVector;
      if (graph_profile === "small") expect(index.stats().graph.rowBytes).toBeLessThanOrEqual(480);
      await index.close();
    }
    const hnswlib = 4 * 784 + 4 * 32;
    expect(bytes.compact).toBeLessThanOrEqual(1.35 * hnswlib);
    expect(bytes.small).toBeLessThanOrEqual(1.15 * hnswlib);
    expect(bytes.turbo).toBeGreaterThan(bytes.compact);
  });
});
