/** Searching: the nearest rows, ascending by distance, synchronously. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, type Metric, open } from "../../src/index.js";
import { distanceOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, d] = [2000, 12];
const rows = randomRows(n, d, 1);
const queries = randomRows(40, d, 2);
const ids = Array.from({ length: n }, (_, i) => `doc-${i}`);
const indexes = {} as Record<Metric, Index>;

beforeAll(async () => {
  for (const metric of ["l2", "cosine", "dot"] as const) {
    indexes[metric] = await open(path(metric), { dimensions: d, metric });
    await indexes[metric].putMany({ ids, vectors: rows, payloads: ids.map((_, i) => ({ i })) });
  }
});
afterAll(() => Promise.all(Object.values(indexes).map((index) => index.close())));

/** All rows by distance, by comparing with every one of them. */
function truth(metric: Metric, query: Float32Array): { id: string; distance: number }[] {
  return ids
    .map((id, i) => ({ id, distance: distanceOf(metric, query, rowOf(rows, i, d)) }))
    .sort((a, b) => a.distance - b.distance);
}

const query = (i: number) => rowOf(queries, i, d);

describe.each(["l2", "cosine", "dot"] as const)("under %s", (metric) => {
  test("exact search is the truth", () => {
    for (let i = 0; i < 10; i++) {
      const hits = indexes[metric].search(query(i), { k: 25, exact: true });
      const expected = truth(metric, query(i)).slice(0, 25);
      expect(hits.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
      hits.forEach(({ distance }, j) => {
        expect(distance).toBeCloseTo(expected[j].distance, 3);
      });
    }
  });

  test("the graph finds nearly all of it", () => {
    let found = 0;
    for (let i = 0; i < 40; i++) {
      const expected = new Set(
        truth(metric, query(i))
          .slice(0, 10)
          .map(({ id }) => id),
      );
      found += indexes[metric]
        .search(query(i), { k: 10, ef: 150 })
        .filter(({ id }) => expected.has(id as string)).length;
    }
    expect(found / 400).toBeGreaterThan(0.97);
  });

  test("scores grow where distances shrink", () => {
    const hits = indexes[metric].search(query(0), { k: 20 });
    for (const { score, distance } of hits)
      expect(score).toBeCloseTo(metric === "cosine" ? 1 - distance : -distance, 5);
    const distances = hits.map(({ distance }) => distance);
    expect(distances).toEqual([...distances].sort((a, b) => a - b));
  });
});

describe("options", () => {
  const index = () => indexes.l2;

  test("k is 10 unless given, is not capped by ef, and not more than there is comes back", () => {
    expect(index().search(query(0))).toHaveLength(10);
    expect(index().search(query(0), { k: 700, ef: 10 })).toHaveLength(700);
    const all = index().search(query(0), { k: 1_000_000 });
    expect(new Set(all.map(({ id }) => id)).size).toBe(n);
  });

  test("a larger ef finds more", () => {
    const recall = (ef: number) => {
      let found = 0;
      for (let i = 0; i < 40; i++) {
        const expected = new Set(
          truth("l2", query(i))
            .slice(0, 10)
            .map(({ id }) => id),
        );
        found += index()
          .search(query(i), { k: 10, ef })
          .filter(({ id }) => expected.has(id as string)).length;
      }
      return found;
    };
    expect(recall(120)).toBeGreaterThanOrEqual(recall(10));
  });

  test("include says what hits carry", () => {
    const [plain] = index().search(query(0), { k: 1 });
    expect(Object.keys(plain).sort()).toEqual(["distance", "id", "payload", "score"]);
    const [bare] = index().search(query(0), { k: 1, include: [] });
    expect(Object.keys(bare).sort()).toEqual(["distance", "id", "score"]);
    const [full] = index().search(query(0), { k: 1, include: ["payload", "vector"] });
    const at = (full.payload as { i: number }).i;
    expect(full.vector).toEqual(rowOf(rows, at, d).slice());
  });

  test("maxDistance leaves out what is farther", () => {
    const all = index().search(query(3), { k: 50, exact: true });
    const limit = all[20].distance;
    expect(index().search(query(3), { k: 50, exact: true, maxDistance: limit })).toEqual(all.slice(0, 21));
    expect(index().search(query(3), { maxDistance: -1 })).toEqual([]);
    expect(index().search(query(3), { maxDistance: Infinity })).toHaveLength(10);
  });

  test("undefined options are as if not given", () => {
    const plain = index().search(query(0));
    expect(index().search(query(0), { k: undefined, ef: undefined, filter: undefined, include: undefined })).toEqual(
      plain,
    );
  });

  test("the query is not changed", () => {
    const asked = query(0).slice();
    indexes.cosine.search(asked);
    expect(asked).toEqual(query(0).slice());
  });
});

describe("searchMany", () => {
  test("equals search for each query, with every option", async () => {
    for (const options of [
      {},
      { k: 3, ef: 50 },
      { exact: true },
      { k: 5, filter: { i: { $lt: 100 } } },
      { maxDistance: 12 },
    ]) {
      const lists = await indexes.l2.searchMany(queries, options);
      expect(lists).toHaveLength(40);
      lists.forEach((hits, i) => {
        expect(hits).toEqual(indexes.l2.search(query(i), options));
      });
    }
    expect(await indexes.l2.searchMany(new Float32Array(0))).toEqual([]);
  });

  test("copies the queries before it returns", async () => {
    const asked = queries.slice();
    const answers = indexes.l2.searchMany(asked, { k: 2 });
    asked.fill(Number.NaN);
    expect(await answers).toEqual(await indexes.l2.searchMany(queries, { k: 2 }));
  });
});

describe("searchNodes", () => {
  test("equals search, into the caller's arrays", () => {
    const nodes = new Uint32Array(12).fill(77);
    const distances = new Float32Array(12).fill(77);
    expect(indexes.l2.searchNodes(query(1), 10, 64, nodes, distances)).toBe(10);
    const hits = indexes.l2.search(query(1), { k: 10, ef: 64 });
    expect(Array.from(nodes.subarray(0, 10), (node) => indexes.l2.idOf(node))).toEqual(hits.map(({ id }) => id));
    expect(Array.from(distances.subarray(0, 10))).toEqual(hits.map(({ distance }) => distance));
    expect([nodes[10], distances[11]]).toEqual([77, 77]);
  });

  test("finds fewer where there are fewer", async () => {
    const index = await open(path("few"), { dimensions: 2, metric: "l2" });
    const [nodes, distances] = [new Uint32Array(5), new Float32Array(5)];
    expect(index.searchNodes(Float32Array.of(0, 0), 5, 5, nodes, distances)).toBe(0);
    await index.put("only", [1, 1]);
    expect(index.searchNodes(Float32Array.of(0, 0), 5, 5, nodes, distances)).toBe(1);
    expect([index.idOf(nodes[0]), distances[0]]).toEqual(["only", 2]);
    await index.close();
  });

  test("idOf knows no node that is not there", () => {
    for (const node of [-1, n, 2 ** 32, 0.5, Number.NaN, "0" as unknown as number]) {
      expect(indexes.l2.idOf(node)).toBeUndefined();
    }
  });
});

test("equal vectors are all found", async () => {
  const index = await open(path("equal"), { dimensions: 3, metric: "cosine" });
  await index.putMany({ ids: ids.slice(0, 300), vectors: new Float32Array(900).fill(0.5) });
  await index.put("other", [1, 0, 0]);
  const hits = index.search([1, 1, 1], { k: 400 });
  expect(new Set(hits.map(({ id }) => id)).size).toBe(301);
  expect(hits[300].id).toBe("other");
  await index.close();
});

test("the same search gives the same answer", () => {
  const prng = new Prng(4);
  for (let i = 0; i < 20; i++) {
    const options = { k: 1 + prng.below(30), ef: 1 + prng.below(100) };
    expect(indexes.l2.search(query(i), options)).toEqual(indexes.l2.search(query(i), options));
  }
});
