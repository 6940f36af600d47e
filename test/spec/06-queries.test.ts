/** Queries: by vector, stored id or examples, in four modes. (By text: 12-text; what learning adds: 11-learning.) */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Index, type Metric, open, type Query } from "../../src/index.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, d] = [1500, 8];
const rows = randomRows(n, d, 21);
const indexes = {} as Record<Metric, Index>;
const metrics = ["l2", "cosine", "dot"] as const;
beforeAll(async () => {
  for (const metric of metrics) {
    indexes[metric] = await open(path(metric), { dimensions: d, metric });
    const payloads = Array.from({ length: n }, (_, i) => ({ even: i % 2 === 0 }));
    await indexes[metric].putMany({ ids: payloads.map((_, i) => i), vectors: rows, payloads });
    await indexes[metric].settle();
  }
});
afterAll(() => Promise.all(metrics.map((metric) => indexes[metric].close())));

const row = (i: number) => rowOf(rows, i, d);
const asked = randomRows(1, d, 22);

describe.each(metrics)("under %s", (metric) => {
  const index = () => indexes[metric];

  test("a query by vector is a search, and says how long it took", async () => {
    for (const options of [{}, { k: 3, ef: 40 }, { filter: { even: true } }, { include: ["vector" as const] }]) {
      const { hits, latencyMs } = await index().query({ vector: asked, ...options });
      expect(hits).toEqual(index().search(asked, options));
      expect(latencyMs).toBeGreaterThan(0);
    }
  });

  test("without feedback, neural is vector bit for bit", async () => {
    for (let i = 0; i < 20; i++) {
      const query = { vector: randomRows(1, d, 50 + i), k: 1 + i, ef: 30 };
      const plain = await index().query({ ...query, mode: "vector" });
      expect((await index().query({ ...query, mode: "neural" })).hits).toEqual(plain.hits);
    }
  });

  test("a stored id asks with its vector, and is not its own answer", async () => {
    const { hits } = await index().query({ id: 5, k: 6, ef: 200 });
    const expected = index()
      .search(row(5), { k: 7, ef: 200 })
      .filter(({ id }) => id !== 5)
      .slice(0, 6);
    expect(hits).toEqual(expected);
  });

  test("examples ask for more like these and unlike those, and are no answers themselves", async () => {
    const { hits } = await index().query({ positive: [1, 2], negative: [3], k: 20, ef: 300 });
    expect(hits).toHaveLength(20);
    expect(hits.map(({ id }) => id)).not.toEqual(expect.arrayContaining([1]));
    for (const { id } of hits) expect([1, 2, 3]).not.toContain(id);

    const [one] = (await index().query({ positive: [1], k: 1 })).hits;
    expect(one.id).toBe((await index().query({ id: 1, k: 1 })).hits[0].id);
    const heavy = await index().query({ positive: [1, 2], weights: [1e6, 1], k: 3, ef: 200 });
    const alone = await index().query({ id: 1, k: 4, ef: 200 });
    expect(heavy.hits.map(({ id }) => id)).toEqual(
      alone.hits
        .map(({ id }) => id)
        .filter((id) => id !== 2)
        .slice(0, 3),
    );
  });

  test("subgraph gives the hits, and the edges among them", async () => {
    const { hits, subgraph } = await index().query({ vector: asked, mode: "subgraph", k: 40, ef: 200 });
    expect(subgraph!.nodes).toEqual(hits.map(({ id }) => id));
    expect(subgraph!.edges.length).toBeGreaterThan(20);
    for (const { from, to, weight } of subgraph!.edges) {
      expect(subgraph!.nodes).toContain(from);
      expect(subgraph!.nodes).toContain(to);
      expect(from).not.toBe(to);
      expect(weight).toBeGreaterThan(0);
      expect(weight).toBeLessThan(1);
    }
    // The nearer both ends, the heavier the edge.
    const apart = ({ from, to }: { from: unknown; to: unknown }) =>
      distanceOf(metric, row(from as number), row(to as number));
    const edges = subgraph!.edges.toSorted((a, b) => apart(a) - apart(b));
    for (const [i, { weight }] of edges.slice(1).entries()) expect(weight).toBeLessThanOrEqual(edges[i].weight + 1e-4);
    if (metric === "cosine") {
      for (const edge of edges) expect(edge.weight).toBeCloseTo(1 / (1 + Math.exp(8 * apart(edge))), 3);
    }
  });

  test("differentiable gives the softmax-weighted mean of the candidates", async () => {
    const temperature = 0.5;
    const { hits, candidates, embeddings } = await index().query({
      vector: asked,
      mode: "differentiable",
      k: 8,
      ef: 200,
      temperature,
    });
    const near = index().search(asked, { k: 4 * 8, ef: 200 });
    expect(hits).toEqual(near.slice(0, 8));
    expect(candidates).toEqual(near.map(({ id }) => id));
    const powers = near.map(({ score }) => Math.exp((score - near[0].score) / temperature));
    const total = powers.reduce((a, b) => a + b);
    for (let x = 0; x < d; x++) {
      const mean = near.reduce((sum, { id }, i) => sum + (powers[i] / total) * row(id as number)[x], 0);
      expect(embeddings![0][x]).toBeCloseTo(mean, 4);
    }
  });

  test("and backward, the gradients of it", async () => {
    const options = { mode: "differentiable" as const, k: 5, ef: 200, temperature: 2 };
    const { hits, candidates: ids, embeddings, backward } = await index().query({ vector: asked, ...options });
    const gradient = randomRows(1, d, 23);
    const { query, candidates } = backward!(gradient);
    expect(candidates).toHaveLength(4 * 5);
    expect(ids!.slice(0, 5)).toEqual(hits.map(({ id }) => id));
    // The loss is gradient . embedding; its slope along each axis, by central differences on a copy of the formula.
    const loss = (q: ArrayLike<number>, vectors: ArrayLike<number>[]) => {
      const scores = vectors.map((v) =>
        metric === "cosine" ? 1 - distanceOf(metric, q, v) : -distanceOf(metric, q, v),
      );
      const powers = scores.map((s) => Math.exp((s - Math.max(...scores)) / options.temperature));
      const total = powers.reduce((a, b) => a + b);
      return vectors.reduce(
        (sum, v, i) => sum + (powers[i] / total) * Array.from(v).reduce((s, x, j) => s + x * gradient[j], 0),
        0,
      );
    };
    const vectors = ids!.map((id) => Array.from(row(id as number)));
    const q = Array.from(asked);
    const slope = (change: (by: number) => number) => (change(1e-4) - change(-1e-4)) / 2e-4;
    expect(loss(q, vectors)).toBeCloseTo(
      embeddings![0].reduce((sum, x, j) => sum + x * gradient[j], 0),
      4,
    );
    for (let x = 0; x < d; x++) {
      expect(query[x]).toBeCloseTo(
        slope((by) => loss(q.with(x, q[x] + by), vectors)),
        3,
      );
      for (let c = 0; c < vectors.length; c++) {
        const moved = (by: number) => loss(q, vectors.with(c, vectors[c].with(x, vectors[c][x] + by)));
        expect(candidates[c][x]).toBeCloseTo(slope(moved), 3);
      }
    }
  });
});

test("the query's vector is copied before the call returns", async () => {
  const given = asked.slice();
  const answer = indexes.cosine.query({ vector: given, mode: "differentiable", k: 3 });
  given.fill(0);
  const { hits, backward } = await answer;
  expect(hits).toEqual(indexes.cosine.search(asked, { k: 3 }));
  expect(backward!(asked).query.every(Number.isFinite)).toBe(true);
});

test("an empty index answers with nothing", async () => {
  const index = await open(path("empty"), { dimensions: 2, metric: "l2" });
  for (const mode of ["vector", "neural"] as const) {
    expect((await index.query({ vector: [1, 2], mode })).hits).toEqual([]);
  }
  expect((await index.query({ vector: [1, 2], mode: "subgraph" })).subgraph).toEqual({ nodes: [], edges: [] });
  const soft = await index.query({ vector: [1, 2], mode: "differentiable" });
  expect([soft.embeddings, soft.backward]).toEqual([[], undefined]);
  await index.close();
});

test("examples that cancel each other out have no direction", async () => {
  const index = await open(path("cancel"), { dimensions: 2, metric: "cosine" });
  await index.putMany({ ids: ["east", "west"], vectors: Float32Array.of(1, 0, -1, 0) });
  const error = await errorOf(() => index.query({ positive: ["east", "west"] }));
  expect(error).toBeInstanceOf(RangeError);
  expect(error.message).toContain("cancel each other out");
  await index.close();
});

describe("is refused", () => {
  const cases: [string, unknown, RegExp][] = [
    ["nothing at all", undefined, /undefined; expected an object/],
    ["no input", { k: 3 }, /none of vector, text, id and positive; expected exactly one/],
    ["two inputs", { vector: asked, id: 1 }, /vector and id.*exactly one/],
    ["negative alone", { id: 1, negative: [2] }, /without positive/],
    ["no positive", { positive: [] }, /positive.*at least one id/],
    ["ids that are none", { positive: [1.5] }, /id is 1\.5/],
    ["negative that is no array", { positive: [1], negative: 2 }, /negative.*array of ids/],
    ["too few weights", { positive: [1, 2, 3], weights: [1, 2] }, /weights.*3 numbers > 0/],
    ["a weight of 0", { positive: [1, 2], weights: [1, 0] }, /weights.*> 0/],
    ["an unknown mode", { id: 1, mode: "nueral" }, /mode is "nueral".*neural/],
    ["an unknown option", { id: 1, temprature: 1 }, /"temprature"; did you mean "temperature"/],
    ["exact, which is search's", { id: 1, exact: true }, /unknown option "exact"/],
    ["a temperature of 0", { id: 1, temperature: 0 }, /temperature is 0; expected a number > 0/],
    ["hybrid without text", { vector: asked, hybrid: true }, /hybrid needs a text/],
    ["more layers than there are", { id: 1, gnnDepth: 4 }, /gnnDepth is 4; expected an integer from 0 to .*which is 3/],
    ["half a layer", { id: 1, gnnDepth: 0.5 }, /gnnDepth is 0\.5/],
    ["attention that is no yes or no", { id: 1, returnAttention: 1 }, /returnAttention is 1; expected true or false/],
    ["a vector of other dimensions", { vector: [1, 2] }, /2 values; expected 8/],
    ["k = 0", { id: 1, k: 0 }, /k is 0/],
  ];
  test.each(cases)("%s", async (_, query, message) => {
    const error = await errorOf(() => indexes.l2.query(query as Query));
    expect(error.message).toMatch(message);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
  });

  test("nothing of weights beyond all bounds: they count beside each other", async () => {
    const ids = async (weights: number[]) =>
      (await indexes.l2.query({ positive: [1, 2], weights })).hits.map(({ id }) => id);
    expect(await ids([1e308, 1e308])).toEqual(await ids([1, 1]));
    expect(await ids([5e-324, 5e-324])).toEqual(await ids([1, 1]));
  });

  test.each([{ id: "ghost" }, { positive: [1, "ghost"] }, { positive: [1], negative: ["ghost"] }])(
    "%o",
    async (query) => {
      const error = await errorOf(() => indexes.l2.query(query));
      expect(error).toMatchObject({ code: "UNKNOWN_ID", details: { id: "ghost" } });
    },
  );

  test("a gradient of another length", async () => {
    const { backward } = await indexes.l2.query({ id: 1, mode: "differentiable", k: 2 });
    expect((await errorOf(() => backward!(new Float32Array(3)))).message).toContain("8 values");
  });
});
