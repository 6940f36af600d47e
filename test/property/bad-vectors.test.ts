/**
 * Vectors that are none - NaN, infinite, beyond f32, of other dimensions, without a direction - at every call that takes
 * one, alone or anywhere in a batch: refused, and nothing of the batch is in. And the smallest that are some: denormal
 * numbers, zeros where no direction is needed.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FrozenIndex, HebbError, type Index, type Metric, open, openFrozen } from "../../src/index.js";
import { figure } from "../support/figures.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";
import { range } from "../support/tiers.js";

const path = scratch();
const d = 5;
const good = randomRows(40, d, 1);
const goodOne = (i: number) => rowOf(good, i % 40, d);

/** A vector with one bad value somewhere, or one too many or too few. */
const bad = fc
  .record({
    value: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e39, -1e300),
    at: fc.nat(d - 1),
    kind: fc.constantFrom("value", "value", "longer", "shorter", "empty"),
    row: fc.nat(39),
  })
  .map(({ value, at, kind, row }) => {
    const vector = [...goodOne(row)];
    if (kind === "value") vector[at] = value;
    else if (kind === "longer") vector.push(1);
    else vector.length = kind === "empty" ? 0 : d - 1;
    return vector;
  });
/** No direction: zeros, denormal numbers, and what is so small that its square is none. */
const flat = fc.array(fc.constantFrom(0, -0, 1e-45, -1e-40, 1.17e-38, 1e-17), { minLength: d, maxLength: d });

/** Calls that take one vector, by what they do with it. */
type Call = (index: Index, vector: number[]) => unknown;
const row = (id: string, vector: number[] | Float32Array) => ({ id, vector });
const floats = (...vectors: (number[] | Float32Array)[]) => Float32Array.from(vectors.flatMap((one) => [...one]));

/** Some good rows with a bad one among them. */
const among = <T>(at: number, one: T, others: (i: number) => T): T[] =>
  range(5).map((i) => (i === at % 5 ? one : others(i)));
let turn = 0;

const writing: { [call: string]: Call } = {
  put: (index, vector) => index.put("new", vector),
  "put a Float32Array": (index, vector) => index.put("new", Float32Array.from(vector)),
  "put over a row": (index, vector) => index.put(1, vector),
  "putMany of entries": (index, vector) =>
    index.putMany(among(turn++, row("bad", vector), (i) => row(`good-${i}`, goodOne(i)))),
  "putMany of columns": (index, vector) => {
    const vectors = floats(...among(turn++, vector, (i) => [...goodOne(i)]));
    return index.putMany({ ids: range(5).map((i) => `column-${i}`), vectors });
  },
  "putMany of an iterable": (index, vector) =>
    index.putMany(new Set(among(turn++, row("bad", vector), (i) => row(`good-${i}`, goodOne(i))))),
  "putMany of an async iterable": (index, vector) =>
    index.putMany(
      (async function* () {
        yield* among(turn++, row("bad", vector), (i) => row(`good-${i}`, goodOne(i)));
      })(),
    ),
  learn: (index, vector) =>
    index.learn(among(turn++, { query: vector, chosen: [1] }, (i) => ({ query: [...goodOne(i)], chosen: [2] }))),
  "gradients.accumulate": (index, vector) =>
    index.gradients.accumulate(
      among(turn++, { id: 3, gradient: vector }, (i) => ({ id: i, gradient: [...goodOne(i)] })),
    ),
  "gradients.accumulate of columns": (index, vector) =>
    index.gradients.accumulate({ ids: range(5), gradients: floats(...among(turn++, vector, (i) => [...goodOne(i)])) }),
};

const reading: { [call: string]: Call } = {
  search: (index, vector) => index.search(vector),
  "exact search": (index, vector) => index.search(Float32Array.from(vector), { exact: true }),
  searchMany: (index, vector) => index.searchMany(floats(goodOne(0), vector, goodOne(1))),
  searchNodes: (index, vector) =>
    index.searchNodes(Float32Array.from(vector), 3, 10, new Uint32Array(3), new Float32Array(3)),
  ...Object.fromEntries(
    (["vector", "neural", "subgraph", "differentiable"] as const).map((mode): [string, Call] => [
      `query, mode ${mode}`,
      (index, vector) => index.query({ vector, mode }),
    ]),
  ),
};

const readingFrozen: { [call: string]: (frozen: FrozenIndex, vector: number[]) => unknown } = {
  search: (frozen, vector) => frozen.search(vector as unknown as Float32Array),
  "search by the graph": (frozen, vector) => frozen.search(Float32Array.from(vector), { mode: "graph" }),
  searchMany: (frozen, vector) => frozen.searchMany(floats(goodOne(0), vector, goodOne(1))),
};
/** A vector too long, or too short, is told apart from other rows only where it is given by itself. */
const manyAtOnce = /searchMany|of columns/;

describe.each<Metric>(["cosine", "l2", "dot"])("under %s", (metric) => {
  let index: Index;
  let frozen: FrozenIndex;
  let before: unknown;

  const contents = () => {
    const { size, learning } = index.stats();
    const rows = [...index.entries()];
    return [size, learning.events, rows, range(40).map((id) => index.gradients.get(id)), index.gradients.stats()];
  };
  beforeAll(async () => {
    index = await open(path(metric), { dimensions: d, metric, durability: "off" });
    await index.putMany({ ids: range(40), vectors: good });
    await (await index.freeze(path(`${metric}-frozen`))).close();
    frozen = await openFrozen(path(`${metric}-frozen`));
    before = contents();
  });
  afterAll(async () => {
    expect((await index.check()).faults).toEqual([]);
    await Promise.all([index.close(), frozen.close()]);
  });

  async function expectRefused(work: () => unknown, batch: boolean): Promise<void> {
    const error = await errorOf(work);
    const isMistake = error instanceof RangeError || error instanceof TypeError;
    if (batch) expect(isMistake || (error instanceof HebbError && error.code === "BATCH_INCOMPLETE")).toBe(true);
    else expect(isMistake).toBe(true);
    expect(error.message).toMatch(/expected/);
  }

  const all: [string, (vector: number[]) => unknown][] = [
    ...Object.entries({ ...writing, ...reading }).map(([name, call]): [string, (vector: number[]) => unknown] => [
      name,
      (vector) => call(index, vector),
    ]),
    ...Object.entries(readingFrozen).map(([name, call]): [string, (vector: number[]) => unknown] => [
      `frozen: ${name}`,
      (vector) => call(frozen, vector),
    ]),
  ];

  test.each(all)("%s", async (name, call) => {
    let refused = 0;
    const refuse = async (vector: number[]) => {
      await expectRefused(() => call(vector), /iterable/.test(name));
      refused++;
    };
    await fc.assert(
      fc.asyncProperty(bad, async (vector) => {
        // Two rows of half a dimension too many are one of another length.
        if (vector.length === 0 && manyAtOnce.test(name)) return;
        await refuse(vector);
      }),
      runs(12),
    );
    // A direction is needed under cosine alone, and a gradient has none.
    if (metric === "cosine" && !name.startsWith("gradients")) await fc.assert(fc.asyncProperty(flat, refuse), runs(4));
    expect(contents()).toEqual(before);
    figure(18, "vectors that are none given to a call: refused, and nothing changed", refused);
  });

  test("the smallest that are some are taken, and every answer is a number", async () => {
    const other = await open(path(`${metric}-small`), { dimensions: d, metric, durability: "off" });
    await fc.assert(
      fc.asyncProperty(fc.array(flat, { minLength: 1, maxLength: 20 }), async (vectors) => {
        // Under cosine the whole of it must be long enough, though most of its values are not.
        const taken = vectors.map((one) =>
          Float32Array.from(one, (x, i) => (metric === "cosine" && i === 0 ? 1e-14 : x)),
        );
        await other.putMany({ ids: range(taken.length), vectors: floats(...taken) });
        for (const [id, vector] of taken.entries()) {
          expect(other.get(id)?.vector).toEqual(vector);
          for (const hit of other.search(vector, { k: 30 })) {
            expect([Number.isFinite(hit.distance), Number.isFinite(hit.score)]).toEqual([true, true]);
          }
          const { hits } = await other.query({ vector, mode: "neural", k: 30 });
          expect(hits.every(({ score }) => Number.isFinite(score))).toBe(true);
        }
        await other.gradients.accumulate(taken.map((gradient, id) => ({ id, gradient })));
        await other.gradients.apply();
        for (const id of taken.keys())
          expect([...(other.gradients.get(id)?.shift ?? [])].every(Number.isFinite)).toBe(true);
      }),
      runs(6),
    );
    await other.settle();
    for (const tier of ["warm", "hot"] as const) {
      await other.retier({ force: tier });
      for (const { distance } of other.search(goodOne(1), { k: 30 })) expect(Number.isFinite(distance)).toBe(true);
    }
    expect((await other.check()).faults).toEqual([]);
    await other.close();
  });
});
