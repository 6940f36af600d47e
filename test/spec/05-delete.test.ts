/** Deleted rows are gone at once, their places are used again, and the graph stays whole. */
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { open } from "../../src/index.js";
import { distanceOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();

test("delete resolves to how many were there", async () => {
  const index = await open(path("counts"), { dimensions: 2, metric: "l2" });
  await index.putMany({ ids: ["a", "b", "c", 1, "1"], vectors: randomRows(5, 2, 1) });
  expect(await index.delete(["a", "nope", "b"])).toBe(2);
  expect(await index.delete(["a", "b"])).toBe(0);
  expect(await index.delete([])).toBe(0);
  expect(await index.delete(["c", "c", "c"])).toBe(1);
  expect(await index.delete([1])).toBe(1);
  expect([index.size, index.has("1"), index.has(1)]).toEqual([1, true, false]);
  await index.close();
});

test("delete by filter", async () => {
  const index = await open(path("filter"), { dimensions: 2, metric: "l2" });
  await index.putMany(
    Array.from({ length: 100 }, (_, i) => ({ id: i, vector: [i, 1], payload: { odd: i % 2 === 1 } })),
  );
  expect(await index.delete({ filter: { odd: true } })).toBe(50);
  expect(await index.delete({ filter: { odd: true } })).toBe(0);
  expect(index.count({ odd: false })).toBe(50);
  // Sees what was put just before, waited for or not.
  const put = index.put("late", [1, 1], { odd: true });
  expect(await index.delete({ filter: { odd: true } })).toBe(1);
  await put;
  expect(await index.delete({ filter: {} })).toBe(50);
  expect(index.size).toBe(0);
  await index.close();
});

test("a deleted row is nowhere", async () => {
  const index = await open(path("nowhere"), { dimensions: 3, metric: "cosine" });
  await index.putMany([
    { id: "stays", vector: [1, 0, 0], payload: { text: "wing" } },
    { id: "goes", vector: [1, 0.1, 0], payload: { text: "wing of a bird" } },
  ]);
  const nodes = new Uint32Array(2);
  index.searchNodes(Float32Array.of(1, 0.1, 0), 1, 10, nodes, new Float32Array(2));
  expect(index.idOf(nodes[0])).toBe("goes");
  await index.delete(["goes"]);
  expect(index.idOf(nodes[0])).toBeUndefined();
  expect(index.get("goes")).toBeUndefined();
  expect(index.search([1, 0.1, 0]).map(({ id }) => id)).toEqual(["stays"]);
  expect(index.search([1, 0.1, 0], { exact: true }).map(({ id }) => id)).toEqual(["stays"]);
  expect([...index.entries()].map(({ id }) => id)).toEqual(["stays"]);
  expect(index.count({ text: { $exists: true } })).toBe(1);
  await index.put("goes", [0, 1, 0]);
  expect(index.get("goes")).toMatchObject({ vector: Float32Array.of(0, 1, 0), payload: undefined });
  await index.close();
});

test("an emptied index fills again", async () => {
  const index = await open(path("emptied"), { dimensions: 4, metric: "l2" });
  for (let round = 0; round < 3; round++) {
    const rows = randomRows(400, 4, round);
    await index.putMany({ ids: Array.from({ length: 400 }, (_, i) => i), vectors: rows });
    expect(index.search(rowOf(rows, 7, 4), { k: 1 })[0].id).toBe(7);
    expect(await index.delete({ filter: {} })).toBe(400);
    expect([index.size, index.search(rowOf(rows, 7, 4))]).toEqual([0, []]);
    if (round === 1) await index.settle();
  }
  expect((await index.check()).ok).toBe(true);
  await index.close();
});

describe("half deleted and as many put again", () => {
  test.each(["l2", "cosine", "dot"] as const)("under %s: all is found as in a fresh index", async (metric) => {
    const [n, d] = [2000, 10];
    const prng = new Prng(11);
    const index = await open(path(`churn-${metric}`), { dimensions: d, metric });
    const all = randomRows(2 * n, d, 12);
    await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: all.subarray(0, n * d) });
    const gone = prng.shuffle(Array.from({ length: n }, (_, i) => i)).slice(0, n / 2);
    expect(await index.delete(gone)).toBe(n / 2);
    await index.putMany({
      ids: Array.from({ length: n / 2 }, (_, i) => n + i),
      vectors: all.subarray(n * d, 1.5 * n * d),
    });
    await index.settle();
    expect(index.stats().deleted).toBe(0);
    const live = new Set([...index.entries()].map(({ id }) => id as number));
    expect(live.size).toBe(n);

    let found = 0;
    for (let q = 0; q < 30; q++) {
      const query = randomRows(1, d, 500 + q);
      const expected = [...live]
        .map((i) => ({ i, distance: distanceOf(metric, query, rowOf(all, i, d)) }))
        .sort((a, b) => a.distance - b.distance)
        .slice(0, 10)
        .map(({ i }) => i);
      found += index.search(query, { k: 10, ef: 120 }).filter(({ id }) => expected.includes(id as number)).length;
    }
    expect(found / 300).toBeGreaterThan(0.96);
    // Every row can be reached: asked for by its own vector, each is found in a wide search.
    if (metric !== "dot") {
      const lost = [...live].filter(
        (i) => !index.search(rowOf(all, i, d), { k: 1, ef: 64 }).some(({ id }) => id === i),
      );
      expect(lost).toEqual([]);
    }
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  });
});

test("a full index has room again once rows were deleted", async () => {
  const index = await open(path("full"), { dimensions: 4, metric: "l2", config: { ruvector: { max_nodes: 1000 } } });
  const rows = randomRows(1001, 4, 3);
  const ids = Array.from({ length: 1000 }, (_, i) => i);
  await index.putMany({ ids, vectors: rows.subarray(0, 4000) });
  const full = { code: "STORE_FULL", message: expect.stringContaining("max_nodes") };
  await expect(index.put("more", rowOf(rows, 1000, 4))).rejects.toMatchObject(full);
  expect([index.size, index.has("more")]).toEqual([1000, false]);
  await index.delete([0, 1]);
  await index.put("more", rowOf(rows, 1000, 4));
  await index.put("and more", rowOf(rows, 0, 4));
  await expect(index.put("too much", rowOf(rows, 1, 4))).rejects.toMatchObject(full);
  expect(index.search(rowOf(rows, 1000, 4), { k: 1 })[0].id).toBe("more");
  await index.close();
  const again = await open(path("full"), { config: { ruvector: { max_nodes: 1000 } } });
  expect([again.size, again.has("and more"), again.has(0)]).toEqual([1000, true, false]);
  expect((await again.check()).faults).toEqual([]);
  await again.close();
});

test("it has, too, while searches are under way that may still look at what was deleted", async () => {
  const index = await open(path("searched"), {
    dimensions: 64,
    metric: "l2",
    config: { ruvector: { max_nodes: 1000 } },
  });
  const rows = randomRows(1000, 64, 4);
  await index.putMany({ ids: Array.from({ length: 1000 }, (_, i) => i), vectors: rows });
  await index.settle();
  await index.delete([0, 1]);
  const searching = index.searchMany(randomRows(4000, 64, 5), { k: 10, exact: true });
  await index.put("more", rowOf(rows, 0, 64));
  expect(index.search(rowOf(rows, 0, 64), { k: 1 })).toMatchObject([{ id: "more", distance: 0 }]);
  await searching;
  await index.close();
});
