/** Bundles whose vectors are in a tier's codec: exact for what the codec gives back, which is what `get` returns. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TIERS } from "../../base/types.js";
import { type FreezeOptions, type FrozenIndex, type Index, open, openFrozen, readRbpx } from "../../src/index.js";
import { hebb } from "../support/cli.js";
import { bare, flipIn, idsOf, touchAll } from "../support/frozen.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const path = scratch();
const METRICS = ["l2", "cosine", "dot"] as const;
const [n, d] = [700, 48];
const rows = randomRows(n, d, 301);
const queries = randomRows(12, d, 302);
const indexes: Index[] = [];
const bundles: FrozenIndex[] = [];

beforeAll(async () => {
  for (const metric of METRICS) {
    const index = await open(path(`${metric}.hebb`), { dimensions: d, metric, durability: "off" });
    await index.putMany({ ids: range(n), vectors: rows });
    await index.settle();
    indexes.push(index);
  }
});
afterAll(async () => {
  for (const opened of [...bundles, ...indexes]) await opened.close();
});

async function frozenOf(index: Index, name: string, options: FreezeOptions): Promise<FrozenIndex> {
  const frozen = await index.freeze(path(name), { seed: 5, ...options });
  bundles.push(frozen);
  return frozen;
}

describe.each(METRICS)("%s", (metric) => {
  const index = () => indexes[METRICS.indexOf(metric)];

  test.each(TIERS)("tier %s: both modes find the nearest of the vectors that `get` returns", async (tier) => {
    const frozen = await frozenOf(index(), `${metric}-${tier}.frozen`, { tier });
    expect(frozen.stats().tier).toBe(tier);
    const vectors = range(n).map((id) => frozen.get(id)!.vector);
    for (let q = 0; q < 12; q++) {
      const query = rowOf(queries, q, d);
      const truth = vectors.map((vector, id) => ({ id, distance: distanceOf(metric, query, vector) }));
      truth.sort((a, b) => a.distance - b.distance || a.id - b.id);
      const hits = frozen.search(query, { k: 10, rerankFactor: 1024 });
      hits.forEach(({ id, distance }, i) => {
        // Rounding may exchange two that are as near as floats can tell.
        expect(Math.abs(distance - truth[i].distance)).toBeLessThanOrEqual(2e-5 * (1 + Math.abs(truth[i].distance)));
        expect(Math.abs(distance - distanceOf(metric, query, vectors[id as number]))).toBeLessThanOrEqual(
          2e-5 * (1 + Math.abs(distance)),
        );
      });
      const walk = frozen.search(query, { k: 10, ef: 200, mode: "graph" });
      for (const hit of walk) {
        const same = hits.find(({ id }) => id === hit.id);
        if (same) expect(bare([hit])).toEqual(bare([same]));
      }
      const found = walk.filter(({ id }) => hits.some((hit) => hit.id === id));
      expect(found.length).toBeGreaterThanOrEqual(tier === "archive" ? 5 : 8); // its walk goes by estimates
    }
    expect(bare((await frozen.searchMany(queries, { k: 3 })).flat())).toEqual(
      range(12).flatMap((q) => bare(frozen.search(rowOf(queries, q, d), { k: 3 }))),
    );
  });

  test("frozen twice, a bundle has one witness, whatever tiers the index moved its vectors through", async () => {
    const before = await frozenOf(index(), `${metric}-before.frozen`, { tier: "cool" });
    await index().retier({ force: "archive" });
    const after = await frozenOf(index(), `${metric}-after.frozen`, { tier: "cool" });
    await index().retier({ force: "hot" });
    expect(after.witness).toBe(before.witness);
  });
});

test("coarser tiers take fewer bytes, and what they give back is the farther from what was put", async () => {
  const bytes: number[] = [];
  const errors: number[] = [];
  for (const tier of TIERS) {
    const frozen = await frozenOf(indexes[0], `size-${tier}.frozen`, { tier });
    const { sections } = frozen.stats().bytes;
    bytes.push(sections[tier === "hot" ? "vectors" : tier]);
    errors.push(range(50).reduce((sum, id) => sum + distanceOf("l2", rowOf(rows, id, d), frozen.get(id)!.vector), 0));
  }
  expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
  expect(errors).toEqual([...errors].sort((a, b) => a - b));
  expect(errors[0]).toBe(0);
});

test("a store that keeps no originals freezes what its tiers give back", async () => {
  const config = { storage: { keep_originals: false } };
  const index = await open(path("lossy.hebb"), { dimensions: d, metric: "l2", durability: "off", config });
  await index.putMany({ ids: range(n), vectors: rows });
  await index.settle();
  await index.retier({ force: "cold" });
  const frozen = await frozenOf(index, "lossy.frozen", {});
  for (const id of [0, 17, n - 1]) expect(frozen.get(id)!.vector).toEqual(index.get(id)!.vector);
  expect(idsOf(frozen.search(rowOf(queries, 0, d), { k: 5 }))).toHaveLength(5);
  await index.close();
});

test("too few rows for a codebook are refused with the way out; tier warm needs none", async () => {
  const index = await open(path("few.hebb"), { dimensions: 4, metric: "l2", durability: "off" });
  await index.putMany({ ids: range(255), vectors: randomRows(255, 4, 3) });
  const error = await errorOf(() => index.freeze(path("few.frozen"), { tier: "cold" }));
  expect(error).toMatchObject({ code: "TIER_UNTRAINED", details: { tier: "cold", rows: 255 } });
  expect(error.message).toMatch(/255.*freeze in tier hot or warm/);
  expect(existsSync(path("few.frozen/manifest.json"))).toBe(false);
  const warm = await frozenOf(index, "few.frozen", { tier: "warm" });
  expect(warm.size).toBe(255);
  const bad = await errorOf(() => index.freeze(path("bad.frozen"), { tier: "frozen" as "hot" }));
  expect(bad).toBeInstanceOf(TypeError);
  expect(bad.message).toMatch(/tier is "frozen"; expected one of hot, warm, cool, cold, archive/);
  await index.close();
});

test("damage in a tier's records is found where it is touched, and by verify", async () => {
  await frozenOf(indexes[0], "damaged.frozen", { tier: "cool" });
  for (const section of ["places", "cool", "codebooks"]) {
    flipIn(path("damaged.frozen"), section, 100);
    const error = await errorOf(async () => {
      const lazy = await openFrozen(path("damaged.frozen"));
      try {
        touchAll(lazy, rowOf(queries, 0, d));
      } finally {
        await lazy.close();
      }
    });
    expect(error).toMatchObject({ code: "WITNESS_MISMATCH", details: { section } });
    expect(await errorOf(() => openFrozen(path("damaged.frozen"), { verify: "eager" }))).toMatchObject({
      code: "WITNESS_MISMATCH",
      details: { section },
    });
    flipIn(path("damaged.frozen"), section, 100);
  }
});

describe("hebb freeze, verify and add", () => {
  test("from a file to a store, a bundle, a container and back", async () => {
    const [store, bundle, container] = [path("cli.hebb"), path("cli.frozen"), path("cli.rbpx")];
    const lines = range(40).map((id) => JSON.stringify({ id, vector: [id, 1, -id], name: `n${id}` }));
    writeFileSync(path("cli.jsonl"), lines.join("\n"));
    expect((await hebb("create", store, "--dimensions", "3", "--metric", "l2")).code).toBe(0);
    expect((await hebb("add", store, path("cli.jsonl"))).code).toBe(0);
    const frozen = await hebb(
      ...["freeze", store, bundle, "--seed", "7", "--bits", "2", "--tier", "warm", "--rotation", "haar"],
      ...["--memory-class", "tests", "--generation", "g1", "--rerank-factor", "3", "--rbpx", container, "--json"],
    );
    const stats = JSON.parse(frozen.out);
    expect(stats).toMatchObject({ size: 40, seed: 7, bits: 2, tier: "warm", rotation: "haar", rerankFactor: 3 });
    expect(stats).toMatchObject({ memoryClass: "tests", generation: "g1", leftOut: 0 });
    expect(statSync(container).size).toBe(32 + 40 * 16);
    expect(await readRbpx(container)).toMatchObject({ dimensions: 3, seed: 7n, rerankFactor: 3, ids: range(40) });

    const verified = await hebb("verify", bundle, "--witness", stats.witness);
    expect(verified.code).toBe(0);
    expect(verified.out).toContain(stats.witness);
    const another = await hebb("verify", bundle, "--witness", "0".repeat(64));
    expect(another.code).toBe(1);
    expect(another.err).toMatch(/^hebb: WITNESS_MISMATCH: .* It is another bundle: .*\n$/m);
    flipIn(bundle, "codes", 9);
    const damaged = await hebb("verify", bundle);
    expect(damaged.code).toBe(1);
    expect(damaged.err).toMatch(/hebb: WITNESS_MISMATCH: section codes/);
    expect((await hebb("verify", store)).err).toMatch(/hebb: NOT_A_BUNDLE/);
    expect((await hebb("freeze", store, store)).err).toMatch(/hebb: NOT_A_BUNDLE/);

    expect((await hebb("create", path("back.hebb"), "--dimensions", "3", "--metric", "l2")).code).toBe(0);
    expect((await hebb("add", path("back.hebb"), container)).code).toBe(0);
    const back = await open(path("back.hebb"));
    expect(back.size).toBe(40);
    expect(back.get(39)!.vector).toEqual(Float32Array.of(39, 1, -39));
    await back.close();
  });
});
