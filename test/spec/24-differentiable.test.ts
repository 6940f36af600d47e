/** Mode `differentiable`: what its candidates are, what each estimator makes of them, and the gradients of it. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { type SoftSettings, softSearch } from "../../src/engine/soft-search.js";
import { type Id, type Index, open, type Query, type QueryResult } from "../../src/index.js";
import { ESTIMATORS } from "../../src/types.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";

const path = scratch();

describe("gradients equal central differences", () => {
  const STEP = 1e-4;
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);

  /** By central differences of fourth order. */
  function numeric(x: Float64Array, i: number, loss: () => number): number {
    const held = x[i];
    const at = (steps: number) => {
      x[i] = held + steps * STEP;
      return loss();
    };
    const slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP);
    x[i] = held;
    return slope;
  }

  function expectSame(analytic: Float64Array, x: Float64Array, loss: () => number): void {
    const expected = Float64Array.from(x, (_, i) => numeric(x, i, loss));
    const scale = Math.max(1e-2, ...expected.map(Math.abs));
    for (let i = 0; i < x.length; i++) expect(Math.abs(analytic[i] - expected[i]) / scale).toBeLessThan(1e-6);
  }

  const shapes = fc.record({
    metric: fc.constantFrom<Metric>(...METRICS),
    estimator: fc.constantFrom(...ESTIMATORS),
    d: fc.integer({ min: 1, max: 8 }),
    count: fc.integer({ min: 1, max: 7 }),
    equal: fc.boolean(),
    temperature: fc.double({ min: 0.5, max: 4, noNaN: true }),
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  });

  test("of every estimator with respect to the query and each candidate", () => {
    fc.assert(
      fc.property(shapes, ({ d, count, equal, ...settings }) => {
        const prng = new Prng(settings.seed);
        const vector = () => {
          const v = Float64Array.from({ length: d }, () => prng.gaussian());
          const length = Math.hypot(...v);
          return v.map((x) => x * (0.5 / length + 0.5)); // under cosine, steps must be short beside vectors
        };
        const query = vector();
        const first = vector();
        const candidates = Array.from({ length: count }, () => (equal ? first.slice() : vector()));
        const gradient = vector();
        // What is differentiated: straight-through's forward pass has steps, its backward pass is that of `soft`.
        const smooth: SoftSettings =
          settings.estimator === "straight-through" ? { ...settings, estimator: "soft" } : settings;
        const loss = () => dot(gradient, softSearch(query, candidates, smooth).vector);
        const slopes = softSearch(query, candidates, settings).backward(gradient);
        expectSame(slopes.query, query, loss);
        for (const [i, candidate] of candidates.entries()) expectSame(slopes.candidates[i], candidate, loss);
      }),
      runs(500),
    );
  });
});

describe("samples of gumbel", () => {
  const query = Float64Array.of(1, 0);
  const candidates = [Float64Array.of(1, 0.2), Float64Array.of(0.8, 0.9), Float64Array.of(-0.3, 1)];
  const settings = { metric: "cosine", temperature: 0.7 } as const;
  // A dimension more for each candidate, which the query does not see: there the vector shows the weights.
  const marked = candidates.map((v, i) => Float64Array.from([...v, ...candidates.map((_, j) => Number(i === j))]));
  const weightsOf = (estimator: "soft" | "gumbel", seed: number): number[] => [
    ...softSearch(Float64Array.of(...query, 0, 0, 0), marked, { ...settings, estimator, seed }).vector.slice(2),
  ];

  test("prefer a candidate exactly as often as soft weighs it", () => {
    const soft = weightsOf("soft", 1);
    expect(Math.max(...soft)).toBeLessThan(0.8);
    const wins = [0, 0, 0];
    const runs = 20_000;
    for (let seed = 1; seed <= runs; seed++) {
      const weights = weightsOf("gumbel", seed);
      expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
      wins[weights.indexOf(Math.max(...weights))]++;
    }
    // Four standard deviations of a binomial share; the seeds are fixed, and so is the outcome.
    wins.forEach((won, i) => {
      expect(Math.abs(won / runs - soft[i])).toBeLessThan(4 * Math.sqrt((soft[i] * (1 - soft[i])) / runs));
    });
  });

  test("go to the nearest candidate as the temperature falls", () => {
    const cold = { ...settings, temperature: 1e-3, estimator: "gumbel" as const };
    for (let seed = 1; seed < 50; seed++) {
      const { vector } = softSearch(query, candidates, { ...cold, seed });
      expect(vector[0]).toBeCloseTo(candidates[0][0], 9);
    }
  });
});

const [n, d] = [1200, 8];
const rows = randomRows(n, d, 31);
const row = (id: Id) => rowOf(rows, id as number, d);
const asked = randomRows(1, d, 32);
const gradient = randomRows(1, d, 33);
const indexes = {} as Record<Metric, Index>;
beforeAll(async () => {
  for (const metric of METRICS) {
    indexes[metric] = await open(path(metric), { dimensions: d, metric });
    const payloads = Array.from({ length: n }, (_, i) => ({ even: i % 2 === 0 }));
    await indexes[metric].putMany({ ids: payloads.map((_, i) => i), vectors: rows, payloads });
  }
});
afterAll(() => Promise.all(METRICS.map((metric) => indexes[metric].close())));

const ask = (index: Index, query: Query): Promise<QueryResult> => index.query({ mode: "differentiable", ...query });

/** The vector that the documents promise, in f64. */
function softMean(metric: Metric, ids: Id[], temperature: number): Float64Array {
  const scores = ids.map((id) => (metric === "cosine" ? 1 : 0) - distanceOf(metric, asked, row(id)));
  const powers = scores.map((s) => Math.exp((s - Math.max(...scores)) / temperature));
  const total = powers.reduce((a, b) => a + b);
  return new Float64Array(d).map((_, x) =>
    ids.reduce<number>((sum, id, i) => sum + (powers[i] / total) * row(id)[x], 0),
  );
}

describe.each(METRICS)("under %s", (metric) => {
  const index = () => indexes[metric];

  test("candidates are the nearest 4 k, and the hits are the first of them", async () => {
    for (const k of [1, 3, 40]) {
      const { hits, candidates } = await ask(index(), { vector: asked, k, ef: 400 });
      expect(hits).toEqual(index().search(asked, { k, ef: 400 }));
      expect(candidates).toEqual(
        index()
          .search(asked, { k: 4 * k, ef: 400 })
          .map(({ id }) => id),
      );
    }
  });

  test("soft is their mean under the softmax, as without an estimator", async () => {
    for (const temperature of [0.3, 5]) {
      const { candidates, embeddings } = await ask(index(), { vector: asked, k: 6, ef: 300, temperature });
      const mean = softMean(metric, candidates!, temperature);
      for (let x = 0; x < d; x++) expect(embeddings![0][x]).toBeCloseTo(mean[x], 4);
      const named = await ask(index(), { vector: asked, k: 6, ef: 300, temperature, estimator: "soft" });
      expect(named.embeddings).toEqual(embeddings);
    }
  });

  test("straight-through is the best candidate, and backward as soft", async () => {
    const options = { vector: asked, k: 5, ef: 300, temperature: 1.5 };
    const soft = await ask(index(), options);
    const hard = await ask(index(), { ...options, estimator: "straight-through" });
    expect(hard.hits).toEqual(soft.hits);
    expect(hard.candidates).toEqual(soft.candidates);
    expect(hard.embeddings).toEqual([index().get(hard.hits[0].id)!.vector]);
    expect(hard.embeddings).not.toEqual(soft.embeddings);
    expect(hard.backward!(gradient)).toEqual(soft.backward!(gradient));
  });

  test("gumbel is a sample: by default of seed 1, each seed its own", async () => {
    const options = { vector: asked, k: 5, ef: 300, temperature: 1.5, estimator: "gumbel" } as const;
    const first = await ask(index(), options);
    expect((await ask(index(), { ...options, seed: 1 })).embeddings).toEqual(first.embeddings);
    const others = await Promise.all([0, 2, 3, 2 ** 32 - 1].map((seed) => ask(index(), { ...options, seed })));
    for (const { embeddings, candidates } of others) {
      expect(candidates).toEqual(first.candidates);
      expect(embeddings).not.toEqual(first.embeddings);
    }
    const { vector: sample } = softSearch(asked, first.candidates!.map(row), {
      metric,
      temperature: 1.5,
      estimator: "gumbel",
      seed: 1,
    });
    for (let x = 0; x < d; x++) expect(first.embeddings![0][x]).toBeCloseTo(sample[x], 5);
  });

  test("backward has a gradient for each candidate, in their order", async () => {
    for (const estimator of ESTIMATORS) {
      const settings = { metric, temperature: 2, estimator, seed: 1 };
      const result = await ask(index(), { vector: asked, k: 4, ef: 300, temperature: 2, estimator });
      const { query, candidates } = result.backward!(gradient);
      expect(candidates).toHaveLength(16);
      const expected = softSearch(asked, result.candidates!.map(row), settings).backward(gradient);
      for (let x = 0; x < d; x++) {
        expect(query[x]).toBeCloseTo(expected.query[x], 4);
        for (let i = 0; i < 16; i++) expect(candidates[i][x]).toBeCloseTo(expected.candidates[i][x], 4);
      }
    }
  });

  test("a filter and maxDistance hold for candidates as for hits", async () => {
    const filtered = await ask(index(), { vector: asked, k: 5, filter: { even: true } });
    expect(filtered.candidates).toHaveLength(20);
    for (const id of filtered.candidates!) expect((id as number) % 2).toBe(0);
    const near = index().search(asked, { k: 12, ef: 300 });
    for (const [limit, hits, candidates] of [
      [near[10].distance, 5, 11],
      [near[2].distance, 3, 3],
      [near[0].distance - 1, 0, 0],
    ]) {
      const result = await ask(index(), { vector: asked, k: 5, ef: 300, maxDistance: limit });
      expect(result.hits).toHaveLength(hits);
      expect(result.candidates).toEqual(near.slice(0, candidates).map(({ id }) => id));
      expect(result.embeddings).toHaveLength(candidates === 0 ? 0 : 1);
      expect(result.backward?.(gradient).candidates.length ?? 0).toBe(candidates);
    }
  });
});

test("what was asked with is no candidate", async () => {
  const byId = await ask(indexes.l2, { id: 7, k: 5 });
  expect(byId.candidates).toHaveLength(20);
  expect(byId.candidates).not.toContain(7);
  const byExamples = await ask(indexes.l2, { positive: [1, 2], negative: [3], k: 5 });
  expect(byExamples.candidates).toHaveLength(20);
  for (const id of [1, 2, 3]) expect(byExamples.candidates).not.toContain(id);
});

test("fewer rows than candidates, equal ones, and a single one", async () => {
  const index = await open(path("few"), { dimensions: 2, metric: "cosine" });
  await index.put("only", [3, 4]);
  for (const estimator of ESTIMATORS) {
    const one = await ask(index, { vector: [1, 0], k: 5, estimator });
    expect(one.candidates).toEqual(["only"]);
    expect(one.embeddings).toEqual([Float32Array.of(3, 4)]);
    // A softmax over one is 1 whatever its score: all of the gradient is the candidate's.
    expect(one.backward!(Float32Array.of(1, 2))).toEqual({
      query: new Float32Array(2),
      candidates: [Float32Array.of(1, 2)],
    });
  }
  await index.putMany({ ids: ["same", "again"], vectors: Float32Array.of(3, 4, 3, 4) });
  for (const estimator of ["soft", "straight-through"] as const) {
    const { embeddings, backward } = await ask(index, { vector: [1, 0], k: 1, estimator });
    expect(embeddings![0][0]).toBeCloseTo(3, 6);
    const { query, candidates } = backward!(Float32Array.of(3, 6));
    expect(Math.hypot(...query)).toBeLessThan(1e-6);
    for (const g of candidates) expect([...g]).toEqual([expect.closeTo(1, 5), expect.closeTo(2, 5)]);
  }
  await index.close();
});

test("backward keeps to what the query saw, whatever happens to the rows", async () => {
  const index = await open(path("moving"), { dimensions: 2, metric: "l2" });
  await index.putMany({ ids: [1, 2, 3], vectors: Float32Array.of(1, 0, 0, 1, 1, 1) });
  const { backward } = await ask(index, { vector: [1, 0.5], temperature: 1 });
  const before = backward!(Float32Array.of(1, -1));
  await index.put(1, [9, 9]);
  await index.delete([2]);
  expect(backward!(Float32Array.of(1, -1))).toEqual(before);
  await index.close();
});

test("many candidates are no trouble", async () => {
  const { hits, candidates, embeddings } = await ask(indexes.dot, { vector: asked, k: 1_000_000 });
  expect([hits.length, candidates!.length]).toEqual([n, n]);
  expect(embeddings![0].every(Number.isFinite)).toBe(true);
});

test("temperatures that underflow everything but the best", async () => {
  for (const metric of METRICS) {
    for (const estimator of ESTIMATORS) {
      const { hits, embeddings, backward } = await ask(indexes[metric], {
        vector: asked,
        k: 3,
        temperature: 1e-300,
        estimator,
      });
      expect(embeddings).toEqual([row(hits[0].id)]);
      expect(backward!(gradient).candidates[0]).toEqual(gradient);
      expect(backward!(gradient).query).toEqual(new Float32Array(d));
    }
  }
});

describe("is refused", () => {
  const soft = { id: 1, mode: "differentiable" };
  const cases: [string, unknown, RegExp][] = [
    ["an estimator that is none", { ...soft, estimator: "gumble" }, /estimator is "gumble".*soft, straight-through/],
    ["an estimator of another type", { ...soft, estimator: 3 }, /estimator is 3; expected one of/],
    ["an estimator of another mode", { id: 1, estimator: "gumbel" }, /"gumbel" in mode "vector".*"differentiable"/],
    ["a seed without noise", { ...soft, seed: 3 }, /seed is 3 .*expected it with estimator "gumbel"/],
    ["a seed that is no integer", { ...soft, estimator: "gumbel", seed: 1.5 }, /seed is 1\.5; expected an integer/],
    [
      "a seed below 0",
      { ...soft, estimator: "gumbel", seed: -1 },
      /seed is -1; expected an integer from 0 to 4294967295/,
    ],
    ["a seed beyond 32 bits", { ...soft, estimator: "gumbel", seed: 2 ** 32 }, /seed is 4294967296/],
    ["a seed that is text", { ...soft, estimator: "gumbel", seed: "1" }, /seed is "1"; expected an integer/],
    ["a temperature of NaN", { ...soft, temperature: Number.NaN }, /temperature is NaN; expected a number > 0/],
  ];
  test.each(cases)("%s", async (_, query, message) => {
    const error = await errorOf(() => indexes.l2.query(query as Query));
    expect(error.message).toMatch(message);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
  });

  test.each<[string, unknown, RegExp]>([
    ["of another type", [1, 2], /gradient is not a Float32Array of 8 values/],
    ["of another length", new Float32Array(3), /gradient is not a Float32Array of 8 values/],
    ["with NaN", Float32Array.from(asked, (x, i) => (i === 5 ? Number.NaN : x)), /gradient holds NaN at position 5/],
    ["that is infinite", new Float32Array(d).fill(Infinity), /gradient holds Infinity at position 0/],
  ])("a gradient %s", async (_, given, message) => {
    const { backward } = await ask(indexes.l2, { id: 1, k: 2 });
    expect((await errorOf(() => backward!(given as Float32Array))).message).toMatch(message);
  });
});
