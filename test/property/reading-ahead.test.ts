/** Reading ahead changes when blocks come, and never what is found; and stats tell which blocks anybody has touched. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { type Index, open } from "../../src/index.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";

const path = scratch();
const [ROWS, D] = [3000, 24];
const vectors = randomRows(ROWS, D, 11);
const ruvector = { hnsw_m: 8, hnsw_ef_construction: 40 };
const profiles = ["turbo", "small"] as const;

beforeAll(async () => {
  for (const graph_profile of profiles) {
    const config = { ruvector: { ...ruvector, graph_profile } };
    const index = await open(path(graph_profile), { dimensions: D, metric: "l2", config });
    await index.putMany({ ids: Array.from({ length: ROWS }, (_, i) => i), vectors });
    await index.settle();
    await index.close();
  }
});

const answers = (index: Index, seed: number) => {
  const queries = randomRows(30, D, seed);
  return Array.from({ length: 30 }, (_, i) => index.search(rowOf(queries, i, D), { k: 10 }));
};

test("any depth finds the same", async () => {
  const depth = fc.integer({ min: 0, max: 8 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...profiles), depth, fc.nat(1000), async (profile, prefetch_depth, seed) => {
      const plain = await open(path(profile), { readOnly: true, config: { ruvector: { prefetch_depth: 0 } } });
      const expected = answers(plain, seed);
      const touched = plain.stats().blocks;
      await plain.close();
      const index = await open(path(profile), { readOnly: true, config: { ruvector: { prefetch_depth } } });
      expect(index.stats().warnings).toEqual([]);
      expect(answers(index, seed)).toEqual(expected);
      expect(index.stats().blocks, "what is asked for is not touched by that").toEqual(touched);
      await index.close();
    }),
    runs(6),
  );
});

test("blocks that were touched are counted: few after opening, all after reading everything", async () => {
  const index = await open(path("turbo"), { readOnly: true });
  const first = index.stats().blocks;
  expect(first.touched).toBeGreaterThan(0);
  expect(first.touched).toBeLessThan(first.all / 2);
  answers(index, 5);
  const searched = index.stats().blocks;
  expect(searched.touched).toBeGreaterThan(first.touched);
  expect(searched.touched).toBeLessThanOrEqual(first.all);
  expect(searched.all).toBe(first.all);
  await index.close();
});

test("safe_reads: the same answers, and a file that is cut harms nothing but the next checkpoint", async () => {
  const mapped = await open(path("turbo"), { readOnly: true });
  const expected = answers(mapped, 3);
  await mapped.close();
  const index = await open(path("turbo"), { config: { ruvector, storage: { safe_reads: true } } });
  expect(answers(index, 3)).toEqual(expected);
  await index.put("new", rowOf(vectors, 0, D));
  await index.checkpoint(); // what it wrote is not mapped either
  const file = join(path("turbo"), "index.hebb");
  const whole = readFileSync(file);
  truncateSync(file, 65_536);
  expect(answers(index, 3)).toEqual(expected);
  expect(index.get("new")?.vector).toEqual(rowOf(vectors, 0, D));
  await index.put("late", rowOf(vectors, 1, D));
  await index.settle();
  const error = await errorOf(() => index.checkpoint());
  expect(error).toMatchObject({ code: "IO_ERROR", details: { found: 65_536, expected: whole.length } });
  expect(await errorOf(() => index.put("later", rowOf(vectors, 2, D)))).toMatchObject({ code: "STORE_POISONED" });
  await index.close();
  writeFileSync(file, whole);
  const again = await open(path("turbo"), { config: { ruvector } });
  expect(again.size).toBe(ROWS + 2);
  expect(again.get("late")?.vector).toEqual(rowOf(vectors, 1, D));
  expect((await again.check()).faults).toEqual([]);
  await again.close();
});
