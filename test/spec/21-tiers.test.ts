/** Five tiers: by force, by use, with originals and without, while everything else goes on. */
import { statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Hit, type Index, open, type Tier } from "../../src/index.js";
import { distanceOf, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";
import {
  clusteredRows,
  counts,
  countsOf,
  expectSound,
  flipBit,
  HALF_LIFE,
  range,
  relativeError,
  seenIn,
  TIERS,
} from "../support/tiers.js";

const path = scratch();
const METRICS = ["l2", "cosine", "dot"] as const;
const COMPRESSED = ["warm", "cool", "cold", "archive"] as const;
const d = 24;
const n = 1000;
const k = 10;
const rows = clusteredRows(n, d, 1);
const queries = clusteredRows(40, d, 2);

interface Settings {
  metric?: (typeof METRICS)[number];
  dimensions?: number;
  keep?: boolean;
  compress?: object;
  rows?: Float32Array;
}

/** Thresholds that no use reaches: what a test forced stays where it is while it searches. */
const STILL = { hot_threshold: 1 - 1e-6, warm_threshold: 1 - 1e-5, cool_threshold: 1 - 1e-4, cold_threshold: 1 - 1e-3 };

/** A store with all rows in, linked; ids are their numbers. */
async function filled(name: string, settings: Settings = {}): Promise<Index> {
  const { metric = "l2", dimensions = d, keep = true, compress = {}, rows: vectors = rows } = settings;
  const config = { storage: { keep_originals: keep }, tensor_compress: compress, ruvector: { hnsw_m: 8 } };
  const index = await open(path(name), { dimensions, metric, durability: "off", config });
  await index.putMany({ ids: range(vectors.length / dimensions), vectors });
  await index.settle();
  return index;
}

const idsOf = (hits: Hit[][]) => hits.map((list) => list.map(({ id }) => id));

/** Share of the true ids that were found. */
function recall(found: Hit[][], truth: Hit[][]): number {
  const shares = found.map((hits, i) => {
    const wanted = new Set(truth[i].map(({ id }) => id));
    return hits.filter(({ id }) => wanted.has(id)).length / wanted.size;
  });
  return shares.reduce((a, b) => a + b) / shares.length;
}

function expectOriginals(index: Index, ids: readonly number[], vectors = rows, dimensions = d): void {
  for (const id of ids) expect(index.get(id)?.vector, `id ${id}`).toEqual(rowOf(vectors, id, dimensions));
}

/** Waits for what happens in the background. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe.each(METRICS)("by force, under %s", (metric) => {
  /** Of ten nearest among all, by codes alone, and with the best 40 compared again. */
  const floors = { warm: [0.98, 1], cool: [0.92, 0.999], cold: [0.6, 0.97], archive: [0.2, 0.5] };

  test("each tier holds all rows in fewer bytes, and answers as well as it can", async () => {
    const index = await filled(`force-${metric}`, { metric, compress: STILL });
    const truth = await index.searchMany(queries, { k, exact: true });
    const before = await index.searchMany(queries, { k });
    const found: number[] = [];
    for (const tier of COMPRESSED) {
      const report = await index.retier({ force: tier });
      expect(report).toEqual({ promoted: 0, demoted: n, refused: 0, untrained: 0, tiers: counts({ [tier]: n }) });
      expect(countsOf(index)).toEqual(counts({ [tier]: n }));
      const { count, bytes, bytesPerVector, ratio, codec, residentBytes } = index.stats().tiers[tier];
      expect(bytes).toBe(count * bytesPerVector);
      expect(residentBytes).toBeGreaterThanOrEqual(bytes); // all of it was just written
      expect(ratio).toBeCloseTo((4 * d) / bytesPerVector, 6);
      expect(codec).toBeTypeOf("string");
      expect(index.stats().vectors).toEqual({ bytes, bytesPerVector, ratio });
      expect(index.get(7)?.tier).toBe(tier);
      expectOriginals(index, range(n));

      const alone = await index.searchMany(queries, { k, exact: true, rerank: false });
      const again = await index.searchMany(queries, { k, exact: true, rerank: 4 });
      found.push(recall(alone, truth));
      expect(found.at(-1)).toBeGreaterThanOrEqual(floors[tier][0]);
      expect(recall(again, truth)).toBeGreaterThanOrEqual(floors[tier][1]);
      // 1 compares the same ten again; 1,024 x 10 is everything; without `rerank`, exact is exact.
      const same = await index.searchMany(queries, { k, exact: true, rerank: 1 });
      expect(idsOf(same).map((ids) => ids.toSorted())).toEqual(idsOf(alone).map((ids) => ids.toSorted()));
      expect(await index.searchMany(queries, { k, exact: true, rerank: 1024 })).toEqual(truth);
      expect(await index.searchMany(queries, { k, exact: true })).toEqual(truth);
      const walked = await index.searchMany(queries, { k, ef: 100 });
      expect(recall(walked, truth)).toBeGreaterThan(recall(again, truth) - 0.15);
      for (const hits of [...alone, ...again, ...same, ...walked]) {
        const distances = hits.map(({ distance }) => distance);
        expect(distances).toEqual(distances.toSorted((a, b) => a - b));
        if (metric !== "dot") expect(distances[0]).toBeGreaterThanOrEqual(0); // estimates may think otherwise
      }
      for (const [q, hits] of again.entries()) {
        for (const { id, distance } of hits) {
          const right = distanceOf(metric, rowOf(queries, q, d), rowOf(rows, id as number, d));
          expect(Math.abs(distance - right)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(right)));
        }
      }
    }
    expect(found).toEqual(found.toSorted((a, b) => b - a)); // no tier tells more than the one above it
    const { promoted } = await index.retier({ force: "hot" });
    expect(promoted).toBe(n);
    expect(await index.searchMany(queries, { k })).toEqual(before);
    await expectSound(index);
    await index.close();
  });

  test("search, searchMany and searchNodes agree in every tier", async () => {
    const index = await filled(`agree-${metric}`, { metric, compress: STILL });
    const nodes = new Uint32Array(k);
    const distances = new Float32Array(k);
    for (const tier of TIERS) {
      await index.retier({ force: tier });
      for (const options of [{}, { rerank: false }, { rerank: 1 }, { rerank: 9, exact: true }] as const) {
        const many = await index.searchMany(queries, { k, ef: 50, ...options });
        for (let q = 0; q < 40; q++) {
          expect(index.search(rowOf(queries, q, d), { k, ef: 50, ...options })).toEqual(many[q]);
        }
      }
      for (let q = 0; q < 40; q++) {
        const hits = index.search(rowOf(queries, q, d), { k, ef: 50 });
        expect(index.searchNodes(rowOf(queries, q, d), k, 50, nodes, distances)).toBe(k);
        expect(Array.from(nodes, (node) => index.idOf(node))).toEqual(hits.map(({ id }) => id));
        expect(Array.from(distances)).toEqual(hits.map(({ distance }) => distance));
      }
      const asked = await index.query({ vector: rowOf(queries, 0, d), k, ef: 50 });
      expect(asked.hits).toEqual(index.search(rowOf(queries, 0, d), { k, ef: 50 }));
    }
    await index.close();
  });

  test("no order of moves changes an original", async () => {
    const index = await filled(`moves-${metric}`, { metric, compress: STILL, rows: rows.subarray(0, 400 * d) });
    const truth = await index.searchMany(queries, { k, exact: true });
    const order = fc.array(fc.constantFrom(...TIERS), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(order, async (tiers) => {
        for (const tier of tiers) {
          expect((await index.retier({ force: tier })).tiers).toEqual(counts({ [tier]: 400 }));
        }
        expectOriginals(index, range(400));
        expect(await index.searchMany(queries, { k, exact: true })).toEqual(truth);
      }),
      runs(6),
    );
    await expectSound(index);
    await index.close();
  });
});

test.each([true, false])("a thousand times down and up loses no more than once (keep_originals %s)", async (keep) => {
  const index = await filled(`cycles-${keep}`, { keep, rows: rows.subarray(0, 300 * d) });
  await index.retier({ force: "archive" });
  const vectors = range(300).map((id) => index.get(id)!.vector);
  const found = await index.searchMany(queries, { k, exact: true, rerank: false });
  for (let cycle = 0; cycle < 1000; cycle++) {
    await index.retier({ force: TIERS[cycle % 4]! });
    await index.retier({ force: "archive" });
  }
  expect(range(300).map((id) => index.get(id)!.vector)).toEqual(vectors);
  expect(await index.searchMany(queries, { k, exact: true, rerank: false })).toEqual(found);
  if (keep) expectOriginals(index, range(300));
  await expectSound(index);
  await index.close();
});

test("wide vectors shrink as much as is promised", async () => {
  const wide = clusteredRows(300, 384, 3);
  const index = await filled("wide", { dimensions: 384, rows: wide });
  const ratios = { hot: 1, warm: 2, cool: 4, cold: 7.6, archive: 26 };
  for (const tier of TIERS) {
    await index.retier({ force: tier });
    expect(index.stats().tiers[tier].ratio).toBeGreaterThanOrEqual(ratios[tier] * 0.98);
    expect(index.search(rowOf(wide, 5, 384), { k: 1 })).toMatchObject([{ id: 5, distance: 0 }]);
  }
  await index.close();
});

describe("without originals", () => {
  /** Least and most that a vector may be off in a tier, relative to its length. */
  const errors = { hot: [0, 0], warm: [1e-6, 5e-4], cool: [1e-4, 0.03], cold: [1e-3, 0.15], archive: [0.01, 0.5] };

  describe.each(METRICS)("under %s", (metric) => {
    test.each(TIERS)("what %s gives back is near, and stays what it is", async (tier) => {
      const name = `lean-${metric}-${tier}`;
      const index = await filled(name, { metric, keep: false, rows: rows.subarray(0, 300 * d) });
      await index.retier({ force: tier });
      const back = range(300).map((id) => index.get(id)!);
      const off = back.map(({ vector }, id) => relativeError(vector, rowOf(rows, id, d)));
      expect(Math.max(...off)).toBeGreaterThanOrEqual(errors[tier][0]);
      expect(off.reduce((a, b) => a + b) / 300).toBeLessThanOrEqual(errors[tier][1]);
      const answers = await index.searchMany(queries, { k, exact: true });
      // There is nothing that codes could be compared again with.
      expect(await index.searchMany(queries, { k, exact: true, rerank: false })).toEqual(answers);
      expect(await index.searchMany(queries, { k, exact: true, rerank: 1024 })).toEqual(answers);
      await index.compact();
      expect(range(300).map((id) => index.get(id)!)).toEqual(back);
      await index.close();

      const again = await open(path(name));
      expect(range(300).map((id) => again.get(id)!)).toEqual(back);
      expect(await again.searchMany(queries, { k, exact: true })).toEqual(answers);
      await expectSound(again);
      await again.close();
    });
  });

  test("nothing becomes more precise again, and what was refused is counted", async () => {
    const index = await filled("refused", { keep: false });
    await index.retier({ force: "cold" });
    const before = index.get(3);
    for (const force of ["hot", "warm", "cool"] as const) {
      expect(await index.retier({ force })).toEqual({
        promoted: 0,
        demoted: 0,
        refused: n,
        untrained: 0,
        tiers: counts({ cold: n }),
      });
    }
    for (let i = 0; i < 30; i++) index.search(rowOf(rows, 3, d), { k: 1, exact: true });
    expect((await index.retier()).promoted).toBe(0);
    expect(index.get(3)).toEqual(before);
    expect((await index.retier({ force: "archive" })).demoted).toBe(n);
    await expectSound(index);
    await index.close();
  });

  test("the file shrinks by what the tier saves", async () => {
    const wide = clusteredRows(2000, 128, 5);
    const sizes: number[] = [];
    for (const tier of ["hot", "cool", "archive"] as const) {
      const index = await filled(`shrinks-${tier}`, { keep: false, dimensions: 128, rows: wide });
      await index.retier({ force: tier });
      await index.compact();
      sizes.push(index.stats().bytes.file);
      await index.close();
      expect(statSync(join(path(`shrinks-${tier}`), "index.hebb")).size).toBeLessThanOrEqual(sizes.at(-1)!);
    }
    const raw = 2000 * 128 * 4;
    expect(sizes[0] - sizes[1]).toBeGreaterThan(0.75 * raw * (1 - 1 / 4));
    expect(sizes[0] - sizes[2]).toBeGreaterThan(0.75 * raw * (1 - 1 / 26));
  });

  test("rows come and go: slots and nodes are used again, and new rows are linked among compressed ones", async () => {
    const index = await filled("lives", { keep: false, rows: rows.subarray(0, 600 * d) });
    const fresh = clusteredRows(600, d, 9);
    /** Whether a walk finds it; codes may think a few others nearer than a distance of 0. */
    const walksTo = (id: number) => {
      const hit = index.search(rowOf(fresh, id, d), { k: 20, ef: 70 }).find((one) => one.id === id);
      if (hit) expect(hit.distance).toBe(0);
      return hit !== undefined;
    };
    for (let round = 0; round < 6; round++) {
      await index.retier({ force: COMPRESSED[round % 4] });
      const from = (round % 3) * 200;
      await index.delete(range(100, from));
      if (round % 2 === 0) await index.settle(); // frees the places of the deleted
      await index.putMany({ ids: range(200, from), vectors: fresh.subarray(from * d, (from + 200) * d) });
      for (const id of range(200, from)) {
        expect(index.get(id)).toMatchObject({ tier: "hot", vector: rowOf(fresh, id, d) });
        expect(walksTo(id)).toBe(true);
      }
      await index.settle();
      expect(range(200, from).filter(walksTo).length).toBeGreaterThanOrEqual(198);
      await expectSound(index);
      expect(index.size).toBe(600);
    }
    await index.close();
    const again = await open(path("lives"));
    await expectSound(again);
    await again.close();
  });
});

describe("by use", () => {
  /** By default one access is worth as much as warm takes, to the last bit. */
  const ONCE_IS_COOL = { warm_threshold: 0.45 };
  const small = rows.subarray(0, 300 * d);
  /** What the default thresholds mean for a new row, whose heat is 8: after how many half-lives it is where. */
  const course: [halfLives: number, tier: Tier][] = [
    [0, "hot"],
    [1.9, "hot"],
    [2.1, "warm"],
    [4.5, "warm"],
    [4.7, "cool"],
    [7.1, "cool"],
    [7.3, "cold"],
    [10.5, "cold"],
    [10.7, "archive"],
    [500, "archive"],
  ];

  test("rows that nobody asks for cool, each threshold in its time, and one that is asked for does not", async () => {
    const index = await filled("cools", { rows: small });
    const start = Date.now();
    for (const [halfLives, tier] of course) {
      for (let i = 0; i < 4; i++) index.search(rowOf(rows, 0, d), { k: 1 });
      expect(index.get(1)?.tier).toBe(course[Math.max(0, course.findIndex(([at]) => at === halfLives) - 1)][1]);
      const { tiers } = await index.retier({ now: start + halfLives * HALF_LIFE });
      expect(index.get(1)?.tier).toBe(tier);
      expect(tiers[tier]).toBeGreaterThanOrEqual(299);
      if (halfLives < 400) expect(index.get(0)?.tier).toBe("hot");
      expect(tiers).toEqual(seenIn(index));
    }
    await expectSound(index);
    await index.close();
  });

  test("time that runs backwards changes nothing", async () => {
    const index = await filled("backwards", { rows: small });
    const start = Date.now();
    await index.retier({ now: start + 5 * HALF_LIFE });
    for (const now of [start + 4 * HALF_LIFE, start, 0, -1e12]) {
      const report = await index.retier({ now });
      expect(report).toMatchObject({ promoted: 0, demoted: 0, tiers: counts({ cool: 300 }) });
    }
    await index.close();
  });

  test.each<[string, (index: Index, id: number) => unknown]>([
    ["search", (index, id) => index.search(rowOf(rows, id, d), { k: 1 })],
    ["exact search", (index, id) => index.search(rowOf(rows, id, d), { k: 1, exact: true })],
    ["searchMany", (index, id) => index.searchMany(rowOf(rows, id, d), { k: 1 })],
    [
      "searchNodes",
      (index, id) => index.searchNodes(rowOf(rows, id, d), 1, 50, new Uint32Array(1), new Float32Array(1)),
    ],
    ["query", (index, id) => index.query({ vector: rowOf(rows, id, d), k: 1 })],
    ["a neural query", (index, id) => index.query({ vector: rowOf(rows, id, d), k: 1, mode: "neural" })],
    ["learn", (index, id) => index.learn([{ query: new Float32Array(d).fill(1), chosen: [id] }])],
  ])("%s counts as use", async (name, use) => {
    const index = await filled(`use-${name}`, { rows: small });
    await index.retier({ force: "archive" });
    for (let i = 0; i < 12; i++) await use(index, 5);
    expect((await index.retier()).tiers).toEqual(counts({ hot: 1, archive: 299 })); // if not before, in the background
    expect(index.get(5)?.tier).toBe("hot");
    await index.close();
  });

  test("reading a row by its id, listing and checking are no use", async () => {
    const index = await filled("no-use", { rows: small });
    await index.retier({ force: "archive" });
    for (let i = 0; i < 50; i++) {
      index.get(5);
      index.getMany([5, 6]);
      index.has(5);
      index.count();
      if (i % 10 === 0) expect([...index.entries()]).toHaveLength(300);
    }
    await index.check();
    await index.settle();
    expect(await index.retier()).toMatchObject({ promoted: 0, tiers: counts({ archive: 300 }) });
    await index.close();
  });

  test("what is found again and again is promoted in the background", async () => {
    const index = await filled("soon", { rows: small });
    await index.retier({ force: "cold" });
    for (let i = 0; i < 5000; i++) index.search(rowOf(rows, 5, d), { k: 1 });
    await until(() => index.get(5)?.tier === "hot");
    expect(countsOf(index)).toEqual(counts({ hot: 1, cold: 299 }));
    await expectSound(index);
    await index.close();
  });

  test("a row between two thresholds stays where it is, on whichever side it came from", async () => {
    const index = await filled("between", { rows: small });
    const start = Date.now();
    const use = (id: number, times: number) => {
      for (let i = 0; i < times; i++) index.search(rowOf(rows, id, d), { k: 1 });
    };
    // Hot from 4 on; out of it below 2, into it above 6.
    await index.retier({ now: start + 1.5 * HALF_LIFE });
    expect(index.get(1)?.tier).toBe("hot"); // 2.8
    await index.retier({ force: "warm" }); // 0.67
    use(1, 5);
    use(2, 7);
    await index.retier();
    expect([1, 2].map((id) => index.get(id)?.tier)).toEqual(["warm", "hot"]);
    for (let i = 0; i < 5; i++) {
      expect(await index.retier()).toMatchObject({ promoted: 0, demoted: 0 }); // nothing flaps
    }
    await index.close();
  });

  test("a forced tier stays until use changes it, and use before does not count", async () => {
    const index = await filled("stays", { rows: small, compress: ONCE_IS_COOL });
    for (const tier of TIERS) {
      await index.retier({ force: tier });
      expect((await index.retier()).tiers).toEqual(counts({ [tier]: 300 }));
    }
    for (let i = 0; i < 6; i++) index.search(rowOf(rows, 5, d), { k: 1 });
    await index.retier({ force: "archive" });
    index.search(rowOf(rows, 5, d), { k: 1 });
    expect((await index.retier()).tiers).toEqual(counts({ cool: 1, archive: 299 })); // what one access is worth
    await index.close();
  });

  test("heat and tiers survive closing", async () => {
    const index = await filled("survives", { rows: small });
    for (let i = 0; i < 100; i++) index.search(rowOf(rows, 5, d), { k: 1 });
    await index.close();
    const again = await open(path("survives"));
    await again.retier({ now: Date.now() + 4 * HALF_LIFE });
    expect(again.get(5)?.tier).toBe("hot"); // above 100 / 16
    expect(countsOf(again)).toEqual(counts({ hot: 1, warm: 299 }));
    await again.close();
    const third = await open(path("survives"));
    expect(countsOf(third)).toEqual(counts({ hot: 1, warm: 299 }));
    expect(await third.retier({ now: Date.now() })).toMatchObject({ promoted: 0, demoted: 0 }); // before what was said last
    await third.close();
  });

  test("a row in the place of a deleted one does not inherit its use", async () => {
    const index = await filled("heirs", { rows: small });
    for (let i = 0; i < 9000; i++) index.search(rowOf(rows, 0, d), { k: 1 });
    await index.delete([0]);
    await index.settle(); // its place is free
    await index.putMany([
      { id: "heir", vector: new Float32Array(d).fill(30) },
      { id: "other", vector: new Float32Array(d).fill(-30) },
    ]);
    await index.retier({ now: Date.now() + 8 * HALF_LIFE });
    expect(index.get("heir")?.tier).toBe(index.get("other")?.tier);
    await index.close();
  });

  test("many rows used once are not taken for a few used often, in a store that grew while it was open", async () => {
    const many = clusteredRows(6500, 4, 6, 2000);
    const index = await filled("grew", { dimensions: 4, rows: many, compress: ONCE_IS_COOL });
    const promoted = async (one: Index) => {
      await one.retier({ force: "archive" });
      await one.searchMany(many.subarray(0, 4 * 2000), { k: 1, exact: true });
      const { tiers } = await one.retier();
      expect(tiers.archive).toBe(4500);
      return tiers.warm; // once is enough for cool alone
    };
    const grown = await promoted(index);
    await index.close();
    const again = await open(path("grew"), { config: { tensor_compress: ONCE_IS_COOL } });
    expect(grown).toBeLessThanOrEqual(1.5 * (await promoted(again)) + 100);
    await again.close();
  });

  test("forgetting faster is a setting", async () => {
    const index = await filled("fast", { rows: small, compress: { access_decay_halflife_s: 60 } });
    await index.retier({ now: Date.now() + 12 * 60_000 });
    expect(countsOf(index)).toEqual(counts({ archive: 300 }));
    await index.close();
  });

  test("semantic tiering keeps what was learned from longer", async () => {
    const index = await filled("semantic", { rows: small, compress: { semantic_tiering: true } });
    await index.learn([{ query: rowOf(rows, 9, d), chosen: [5] }]);
    await index.retier({ now: Date.now() + 0.9 * HALF_LIFE });
    await index.retier({ force: "warm" });
    await index.learn([{ query: rowOf(rows, 9, d), chosen: [6, 6] }]);
    await index.retier();
    await expectSound(index);
    await index.close();
  });
});

describe("a memory budget", () => {
  const bytesOf = (index: Index) => index.stats().vectors.bytes;

  test.each([
    ["a share", 0.3, 0.3 * n * d * 4],
    ["bytes", 40 * n, 40 * n],
    ["hardly more than the archive takes", 8 / 96, 8 * n],
  ])("of %s is kept, whatever is put and used", async (name, memory_budget, bytes) => {
    const index = await filled(`budget-${name}`, { compress: { memory_budget } });
    await index.retier();
    expect(bytesOf(index)).toBeLessThanOrEqual(bytes);
    expect(bytesOf(index)).toBeGreaterThan(0.8 * bytes - 1000); // and used
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 300; i++) index.search(rowOf(rows, (i * i) % (10 * (round + 1)), d), { k: 2 });
      await index.retier();
      expect(bytesOf(index)).toBeLessThanOrEqual(bytes);
    }
    expectOriginals(index, range(n));
    await expectSound(index);
    await index.close();
    const again = await open(path(`budget-${name}`), { config: { tensor_compress: { memory_budget } } });
    await again.retier();
    expect(bytesOf(again)).toBeLessThanOrEqual(bytes);
    await again.close();
  });

  test("that new rows exceed is kept in the background", async () => {
    const index = await filled("over", { compress: { memory_budget: 100_000 } });
    await index.retier();
    await index.putMany({ ids: range(n, n), vectors: clusteredRows(n, d, 8) });
    await until(() => bytesOf(index) <= 100_000);
    expect(index.stats().warnings).toEqual([]);
    await expectSound(index);
    await index.close();
  });

  test("keeps what is used often at full precision", async () => {
    const index = await filled("favourites", { compress: { memory_budget: 0.3 } });
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 400; i++) index.search(rowOf(rows, i % 20, d), { k: 1, exact: true });
      await index.retier();
    }
    const favourites = range(20).filter((id) => ["hot", "warm"].includes(index.get(id)!.tier));
    expect(favourites.length).toBeGreaterThanOrEqual(19);
    await index.close();
  });

  test("follows use without a call, however rare rounds are by the clock", async () => {
    const index = await filled("alone", { compress: { memory_budget: 0.2, recompress_interval_s: 604_800 } });
    await index.retier(); // all rows are alike, and thresholds such that one access is worth nothing
    for (let i = 0; i < 6000; i++) {
      index.search(rowOf(rows, i % 200, d), { k: 1, exact: true });
      if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const favourites = range(200).filter((id) => ["hot", "warm"].includes(index.get(id)!.tier));
    expect(favourites.length).toBeGreaterThanOrEqual(150);
    await index.close();
  });
});

describe("codebooks", () => {
  test.each([true, false])(
    "are refreshed as rows come, and old codes stay readable (keep_originals %s)",
    async (keep) => {
      const compress = { codebook_update_freq: 300, codebook_iterations: 4 };
      const index = await filled(`refresh-${keep}`, { keep, compress, rows: rows.subarray(0, 400 * d) });
      await index.retier({ force: "archive" }); // from where nothing gets coarser
      const old = range(400).map((id) => index.get(id)!.vector);
      // More refreshes than codebooks that may be in use at once.
      for (let round = 1; round <= 6; round++) {
        const from = 400 + (round - 1) * 300;
        const drifted = clusteredRows(300, d, 50 + round).map((x) => x + 3 * round);
        await index.putMany({ ids: range(300, from), vectors: drifted });
        await index.retier({ now: Date.now() + round * 9 * HALF_LIFE });
        await index.retier();
        for (const id of range(400)) expect(index.get(id)!.vector).toEqual(old[id]);
        for (const id of range(300, from)) {
          const error = relativeError(index.get(id)!.vector, rowOf(drifted, id - from, d));
          expect(error).toBeLessThanOrEqual(keep ? 0 : 0.6);
        }
        const hits = index.search(rowOf(drifted, 0, d), { k: 20, exact: true, rerank: false });
        // Without originals all codebooks stay in use, and what drifted is encoded with one of before.
        expect(hits.filter(({ id }) => (id as number) >= from).length).toBeGreaterThanOrEqual(keep ? 15 : 10);
        await expectSound(index);
      }
      await index.close();
      const again = await open(path(`refresh-${keep}`));
      for (const id of range(400)) expect(again.get(id)!.vector).toEqual(old[id]);
      await expectSound(again);
      await again.close();
    },
  );

  test.each(["ans", "huffman", "none"] as const)("with coder %s, and any bits for what is left over", async (coder) => {
    for (const residual_bits of coder === "ans" ? [0, 1, 3, 4, 8] : [0, 4]) {
      const name = `coder-${coder}-${residual_bits}`;
      const compress = { entropy_coder: coder, residual_bits, codebook_iterations: 3 };
      const index = await filled(name, { keep: false, compress, rows: rows.subarray(0, 300 * d) });
      for (const tier of ["cool", "cold", "archive"] as const) {
        await index.retier({ force: tier });
        expect(countsOf(index)).toEqual(counts({ [tier]: 300 }));
        const off = range(300).map((id) => relativeError(index.get(id)!.vector, rowOf(rows, id, d)));
        const most = { cool: 0.03, cold: 0.15, archive: 0.5 }[tier];
        expect(off.reduce((a, b) => a + b) / 300).toBeLessThanOrEqual(most);
      }
      await index.close();
    }
  });

  test.each([1, 7, 24, 65_536])("cut vectors of 24 values into %d parts", async (pq_subvectors) => {
    const compress = { pq_subvectors, codebook_iterations: 3 };
    const index = await filled(`parts-${pq_subvectors}`, { compress, rows: rows.subarray(0, 300 * d) });
    for (const tier of COMPRESSED) {
      await index.retier({ force: tier });
      const alone = await index.searchMany(queries, { k, exact: true, rerank: false });
      const truth = await index.searchMany(queries, { k, exact: true });
      expect(recall(alone, truth)).toBeGreaterThan({ warm: 0.95, cool: 0.9, cold: 0.5, archive: 0.1 }[tier]);
    }
    await index.close();
  });
});

describe("whatever the vectors are", () => {
  test.each([1, 2, 3, 17, 8192])("of %d dimensions", async (dimensions) => {
    const vectors = clusteredRows(260, dimensions, 4);
    const index = await filled(`of-${dimensions}`, { dimensions, rows: vectors });
    const sizes = TIERS.map((tier) => index.stats().tiers[tier].bytesPerVector);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
    for (const tier of [...COMPRESSED, "hot"] as const) {
      await index.retier({ force: tier });
      expect(countsOf(index)).toEqual(counts({ [tier]: 260 }));
      expect(index.search(rowOf(vectors, 9, dimensions), { k: 1 })).toMatchObject([{ distance: 0 }]);
      const [nearest] = index.search(rowOf(vectors, 9, dimensions), { k: 1, exact: true, rerank: false });
      expect(Number.isFinite(nearest.distance)).toBe(true);
    }
    expectOriginals(index, [0, 9, 259], vectors, dimensions);
    await expectSound(index);
    await index.close();
  });

  test.each([
    ["l2", 1e15],
    ["l2", 1e-15],
    ["dot", 1e15],
    ["dot", 1e-15],
    ["cosine", 1e13],
    ["cosine", 1e-13],
    ["l2", 1e-30],
    ["dot", 1e-30],
  ] as const)("under %s and of size %d", async (metric, size) => {
    const vectors = clusteredRows(300, d, 4).map((x) => x * size);
    for (const keep of [true, false]) {
      const compress = { codebook_iterations: 3 };
      const index = await filled(`size-${metric}-${size}-${keep}`, { metric, keep, compress, rows: vectors });
      for (const tier of COMPRESSED) {
        await index.retier({ force: tier });
        const off = range(300).map((id) =>
          relativeError(
            index.get(id)!.vector.map((x) => x / size),
            rowOf(vectors, id, d).map((x) => x / size),
          ),
        );
        const most = { warm: 1e-3, cool: 0.05, cold: 0.3, archive: 0.8 }[tier];
        expect(off.reduce((a, b) => a + b) / 300).toBeLessThanOrEqual(keep ? 0 : most);
        for (const { distance } of index.search(rowOf(vectors, 3, d), { k: 20, exact: true, rerank: false })) {
          expect(Number.isFinite(distance)).toBe(true);
        }
      }
      await index.close();
    }
  });

  test.each(["l2", "dot"] as const)("zeros and duplicates among them, under %s", async (metric) => {
    const vectors = clusteredRows(400, d, 4);
    vectors.fill(0, 0, 100 * d);
    for (let id = 200; id < 300; id++) vectors.copyWithin(id * d, 200 * d, 201 * d);
    for (const keep of [true, false]) {
      const index = await filled(`same-${metric}-${keep}`, { metric, keep, rows: vectors });
      for (const tier of COMPRESSED) {
        await index.retier({ force: tier });
        const twins = index.search(rowOf(vectors, 200, d), { k: 100, exact: true, rerank: false });
        if (metric === "l2") expect(twins.filter(({ id }) => Number(id) >= 200 && Number(id) < 300)).toHaveLength(100);
        const [first, last] = [index.get(200)!.vector, index.get(299)!.vector];
        expect(first).toEqual(last);
        const zero = index.get(50)!.vector;
        expect(Math.max(...zero.map(Math.abs))).toBeLessThan(keep ? 1e-9 : 1);
      }
      await expectSound(index);
      await index.close();
    }
  });

  test("all of them the same", async () => {
    for (const value of [0, 3]) {
      const vectors = new Float32Array(300 * d).fill(value);
      const index = await filled(`equal-${value}`, { keep: false, rows: vectors });
      for (const tier of COMPRESSED) {
        await index.retier({ force: tier });
        expect(relativeErrorOrZero(index.get(9)!.vector, value)).toBeLessThan(1e-3);
        expect(index.search(rowOf(vectors, 0, d), { k: 300, exact: true })).toHaveLength(300);
      }
      await index.close();
    }
  });
});

const relativeErrorOrZero = (vector: Float32Array, value: number) =>
  Math.max(...vector.map((x) => Math.abs(x - value))) / (value || 1);

describe("too few rows for a codebook", () => {
  test("stay in tier warm, which is said in the report and in stats", async () => {
    const index = await filled("few", { rows: rows.subarray(0, 255 * d) });
    const report = await index.retier({ force: "archive" });
    expect(report).toEqual({ promoted: 0, demoted: 255, refused: 0, untrained: 255, tiers: counts({ warm: 255 }) });
    expect(index.stats().warnings.join()).toMatch(/codebook.*256.*255.*warm/);
    expect(index.stats().tiers.cool.codec).toBeUndefined();
    await index.retier({ now: Date.now() + 20 * HALF_LIFE });
    expect(countsOf(index)).toEqual(counts({ warm: 255 }));
    expectOriginals(index, range(255));
    await index.put(255, rowOf(rows, 255, d));
    expect((await index.retier({ force: "archive" })).tiers).toEqual(counts({ archive: 256 }));
    expect(index.stats().warnings).toEqual([]);
    await expectSound(index);
    await index.close();
  });

  test("are counted as rows, without those that were deleted", async () => {
    const index = await filled("few-left", { rows: rows.subarray(0, 100 * d) });
    await index.delete(range(40));
    expect((await index.retier({ force: "cold" })).untrained).toBe(60);
    await index.close();
  });

  test("an empty store has nothing to move", async () => {
    const index = await open(path("empty"), { dimensions: d, metric: "l2" });
    for (const force of [undefined, ...TIERS]) {
      const report = await index.retier(force ? { force } : {});
      expect(report).toEqual({ promoted: 0, demoted: 0, refused: 0, untrained: 0, tiers: counts({}) });
    }
    expect(index.stats().vectors).toEqual({ bytes: 0, bytesPerVector: 0, ratio: 0 });
    await index.close();
  });
});

describe("while rows move", () => {
  /** Moves everything round and round until `stop`. */
  function roundAndRound(index: Index, tiers: readonly Tier[]): () => Promise<void> {
    let going = true;
    const done = (async () => {
      for (let i = 0; going; i++) await index.retier({ force: tiers[i % tiers.length] });
    })();
    return async () => {
      going = false;
      await done;
    };
  }

  test.each([true, false])("searches go on (keep_originals %s)", async (keep) => {
    const index = await filled(`going-${keep}`, { keep });
    const truth = await index.searchMany(queries, { k, exact: true });
    const stop = roundAndRound(index, ["cold", "hot", "archive", "warm", "cool"]);
    for (let i = 0; i < 12; i++) {
      const [exact, all, walked] = await Promise.all([
        index.searchMany(queries, { k, exact: true }),
        index.searchMany(queries, { k, exact: true, rerank: 1024 }),
        index.searchMany(queries, { k, ef: 100, rerank: i % 2 === 0 ? false : 4 }),
      ]);
      if (keep) expect([exact, all]).toEqual([truth, truth]); // whatever moves between an estimate and the original
      for (const hits of [...exact, ...all, ...walked]) {
        expect(hits).toHaveLength(k);
        expect(new Set(hits.map(({ id }) => id)).size).toBe(k);
      }
      for (let q = 0; q < 40; q++) {
        const one = index.search(rowOf(queries, q, d), { k, exact: true });
        if (keep) expect(one).toEqual(truth[q]);
        expect(one).toHaveLength(k);
      }
      if (keep) expectOriginals(index, range(20, i * 50));
    }
    await stop();
    await expectSound(index);
    await index.close();
  });

  test.each([true, false])("rows are put, replaced and deleted (keep_originals %s)", async (keep) => {
    const big = clusteredRows(3600, 4, 7, 200);
    const index = await filled(`changing-${keep}`, { keep, dimensions: 4, rows: big });
    const stop = roundAndRound(index, ["cold", "warm", "archive", "cool", "hot"]);
    for (let i = 0; i < 6; i++) {
      const from = (i % 3) * 1200;
      expect(await index.delete(range(1200, from))).toBe(1200);
      await index.putMany({ ids: range(1200, from), vectors: big.subarray(from * 4, (from + 1200) * 4) });
      if (i % 4 === 3) await index.checkpoint();
    }
    await stop();
    expect(index.size).toBe(3600);
    if (keep) expectOriginals(index, range(3600), big, 4);
    await expectSound(index);
    await index.close();
    const again = await open(path(`changing-${keep}`));
    await expectSound(again);
    await again.close();
  });

  test("check, compact, checkpoint and settle take their turns", async () => {
    const index = await filled("turns");
    const stop = roundAndRound(index, ["cold", "hot", "archive"]);
    for (let i = 0; i < 3; i++) {
      await Promise.all([index.checkpoint(), index.put(n + i, rowOf(rows, i, d)), index.settle()]);
      await index.compact();
      expect((await index.check()).faults).toEqual([]);
    }
    await stop();
    await expectSound(index);
    await index.close();
  });

  test("a checkpoint copies nothing half done, whatever is counted or moved beside it", async () => {
    const small = clusteredRows(20_000, 4, 8, 200);
    const index = await filled("copied", { dimensions: 4, rows: small });
    const now = Date.now();
    for (let i = 1; i <= 12; i++) {
      for (let j = 0; j < 200; j++) index.search(rowOf(small, (i * 200 + j) % 20_000, 4), { k: 5, ef: 10 });
      await Promise.all([index.checkpoint(), index.retier({ now: now + i * HALF_LIFE }), index.checkpoint()]);
    }
    const counted = countsOf(index);
    await index.close();
    const again = await open(path("copied"));
    expect(Object.values(countsOf(again)).reduce((a, b) => a + b)).toBe(20_000);
    expect(countsOf(again)).toEqual(counted);
    await expectSound(again);
    await again.close();
  });

  test("several who ask at once are served one after the other", async () => {
    const index = await filled("several");
    const reports = await Promise.all(TIERS.map((force) => index.retier({ force })));
    expect(reports.map(({ tiers }) => tiers)).toEqual(TIERS.map((tier) => counts({ [tier]: n })));
    await index.close();
  });

  test.each([true, false])("closing waits, and loses nothing (keep_originals %s)", async (keep) => {
    const index = await filled(`closing-${keep}`, { keep });
    await index.putMany({ ids: range(2000, n), vectors: clusteredRows(2000, d, 11) }); // still to be linked
    const moves = (["warm", "cool", "cold", "archive"] as const).map((force) => index.retier({ force }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.all([index.close(), ...moves]);
    const again = await open(path(`closing-${keep}`));
    expect(countsOf(again)).toEqual(counts({ archive: n + 2000 }));
    if (keep) expectOriginals(again, range(n));
    await again.settle();
    await expectSound(again);
    if (keep) {
      const late = clusteredRows(2000, d, 11);
      for (let id = 0; id < 2000; id += 40) {
        const hits = again.search(rowOf(late, id, d), { k: 5, ef: 300, rerank: 60 });
        expect(hits[0]).toMatchObject({ id: n + id, distance: 0 });
      }
    }
    await again.close();
  });
});

test("who only reads finds a tiered store as it was left", async () => {
  const index = await filled("readers");
  await index.retier({ force: "cold" });
  await index.retier({ force: "archive" });
  await index.delete(range(100));
  await index.putMany({ ids: range(100), vectors: rows.subarray(0, 100 * d) });
  await index.settle();
  const answers = await index.searchMany(queries, { k });
  const before = countsOf(index);
  await index.close();
  const reader = await open(path("readers"), { readOnly: true });
  expect(countsOf(reader)).toEqual(before);
  expect(await reader.searchMany(queries, { k })).toEqual(answers);
  for (let i = 0; i < 200; i++) reader.search(rowOf(rows, 500, d), { k: 30 }); // more than is noted before it is counted
  expectOriginals(reader, range(n));
  await expect(reader.retier()).rejects.toMatchObject({ code: "STORE_READ_ONLY" });
  await expect(reader.retier({ force: "hot" })).rejects.toMatchObject({ code: "STORE_READ_ONLY" });
  await expectSound(reader);
  await reader.close();
});

test("damage that a store with originals survives heals with the next moves", async () => {
  const wide = clusteredRows(300, 600, 12);
  const index = await filled("heals", { dimensions: 600, rows: wide });
  await index.retier({ force: "cold" });
  await index.close();
  flipBit(path("heals"), "codebooks", 65_536 + 100);
  const again = await open(path("heals"));
  expect(countsOf(again)).toEqual(counts({ hot: 300 }));
  expect(again.stats().warnings.join()).toMatch(/codebook.* damaged: all vectors are in tier hot/);
  expectOriginals(again, range(300), wide, 600);
  expect((await again.retier({ force: "cold" })).tiers).toEqual(counts({ cold: 300 }));
  await again.close();
  const third = await open(path("heals"));
  expect(third.stats().warnings).toEqual([]);
  await expectSound(third);
  await third.close();
});
