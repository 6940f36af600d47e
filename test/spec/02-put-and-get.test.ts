/** Rows go in by id, one or many at a time, and come back as they were given. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Entry, HebbError, type Index, open } from "../../src/index.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 4;
let index: Index;
beforeAll(async () => {
  index = await open(path("a.hebb"), { dimensions: d, metric: "cosine" });
});
afterAll(() => index.close());

const vector = (seed: number) => randomRows(1, d, seed);

describe("put", () => {
  test("resolves once the row can be read and found", async () => {
    await index.put("doc-1", Float32Array.of(1, 2, 3, 4), { lang: "en" });
    expect(index.get("doc-1")).toEqual({
      id: "doc-1",
      vector: Float32Array.of(1, 2, 3, 4), // as it was given, whatever cosine makes of it
      payload: { lang: "en" },
      tier: "hot",
    });
    expect(index.search([2, 4, 6, 8], { k: 1 })).toMatchObject([{ id: "doc-1", payload: { lang: "en" } }]);
    expect([index.has("doc-1"), index.has("doc-2"), index.get("doc-2")]).toEqual([true, false, undefined]);
  });

  test("of an id that is there replaces vector and payload", async () => {
    await index.put("twice", vector(1), { version: 1 });
    const size = index.size;
    await index.put("twice", Float32Array.of(9, 0, 0, 1));
    expect(index.size).toBe(size);
    expect(index.get("twice")).toMatchObject({ vector: Float32Array.of(9, 0, 0, 1), payload: undefined });
    expect(index.search([9, 0, 0, 1], { k: 1 })[0].id).toBe("twice");
    const ids = index.search(vector(1), { k: 100, exact: true }).map((hit) => hit.id);
    expect(ids.filter((id) => id === "twice")).toHaveLength(1);
  });

  test("takes arrays of numbers, views into larger arrays, and memory shared between threads", async () => {
    const large = Float32Array.from({ length: 20 }, (_, i) => i);
    const shared = new Float32Array(new SharedArrayBuffer(16));
    shared.set([4, 3, 2, 1]);
    await index.put("array", [1, 0, 0, 0.5]);
    await index.put("view", large.subarray(7, 11));
    await index.put("shared", shared);
    expect([...index.get("array")!.vector]).toEqual([1, 0, 0, 0.5]);
    expect([...index.get("view")!.vector]).toEqual([7, 8, 9, 10]);
    expect([...index.get("shared")!.vector]).toEqual([4, 3, 2, 1]);
    expect(index.search(large.subarray(7, 11), { k: 1 })[0].id).toBe("view");
    expect(index.search(shared, { k: 1 })[0].id).toBe("shared");
  });

  test("copies what it is given before it returns: changing it afterwards changes nothing", async () => {
    const given = Float32Array.of(1, 1, 1, 2);
    const payload = { n: 1, list: [1] };
    const done = index.put("copied", given, payload);
    given.fill(7);
    payload.n = 2;
    payload.list.push(2);
    await done;
    expect(index.get("copied")).toMatchObject({ vector: Float32Array.of(1, 1, 1, 2), payload: { n: 1, list: [1] } });

    const columns = { ids: ["copied-2"], vectors: Float32Array.of(1, 1, 2, 2), payloads: [{ n: 1 }] };
    const many = index.putMany(columns);
    columns.ids[0] = "changed";
    columns.vectors.fill(7);
    columns.payloads[0].n = 2;
    await many;
    expect(index.get("copied-2")).toMatchObject({ vector: Float32Array.of(1, 1, 2, 2), payload: { n: 1 } });
    expect(index.has("changed")).toBe(false);
  });

  test("what get returns is the caller's: changing it changes nothing", async () => {
    await index.put("fresh", [1, 2, 3, 5], { list: [1] });
    const got = index.get("fresh")!;
    got.vector.fill(0);
    (got.payload!.list as number[]).push(2);
    expect(index.get("fresh")).toMatchObject({ vector: Float32Array.of(1, 2, 3, 5), payload: { list: [1] } });
  });
});

describe("ids", () => {
  const ids = [
    ...["__proto__", "constructor", "toString", "hasOwnProperty", " ", "\t\r\n", "a\0b", "\0", "\ufeffx", "null"],
    ...["é".repeat(256), "😀".repeat(128), "x".repeat(512), "y".repeat(46), "z".repeat(47)],
    ...["1", "n1", "s1", "-0", "'; DROP TABLE entry; --", "é", "e\u0301"],
    ...[0, 1, -1, 42, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 31, 2 ** 32 + 1],
  ];

  test("are strings of 1-512 bytes, whatever they hold, and safe integers; 42 is not '42'", async () => {
    const at = path("ids.hebb");
    const vectors = Float32Array.from({ length: ids.length * 2 }, (_, i) => i);
    const first = await open(at, { dimensions: 2, metric: "l2" });
    await first.putMany({ ids, vectors, payloads: ids.map((id) => ({ id })) });
    await first.close();
    const index = await open(at);
    for (const [i, id] of ids.entries()) {
      expect(index.get(id)).toMatchObject({ id, vector: vectors.slice(2 * i, 2 * i + 2), payload: { id } });
      expect(index.search(rowOf(vectors, i, 2), { k: 1 })[0].id).toBe(id);
    }
    expect(index.has("42")).toBe(false);
    expect(new Set([...index.entries()].map(({ id }) => id))).toEqual(new Set(ids));
    expect(await index.check()).toEqual({ ok: true, faults: [] });
    expect(await index.delete(ids)).toBe(ids.length);
    expect(index.size).toBe(0);
    await index.close();
  });

  test("-0 is 0", async () => {
    await index.put(-0, vector(3));
    expect(Object.is(index.get(-0)!.id, 0)).toBe(true);
    expect(await index.delete([0])).toBe(1);
  });
});

describe("payloads", () => {
  test("are JSON objects, as JSON.stringify writes them", async () => {
    const payload = {
      ...{ text: "half a pair \ud800, \0 and “quotes”", nested: { a: [1, "2", null, { b: true }] }, "": 0 },
      ...{ date: new Date(0) as unknown as string, nan: Number.NaN, none: undefined as unknown as null },
      ...JSON.parse('{ "__proto__": { "polluted": true }, "constructor": 1 }'),
    };
    await index.put("json", vector(4), payload);
    const { payload: got } = index.get("json")!;
    expect(JSON.stringify(got)).toBe(JSON.stringify(payload));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test("null and undefined are none", async () => {
    await index.put("none", vector(5), null as unknown as undefined);
    expect(index.get("none")!.payload).toBeUndefined();
  });

  test("setPayload replaces them and leaves the vector", async () => {
    await index.put("labelled", vector(6), { a: 1 });
    await index.setPayload("labelled", { b: 2 });
    expect(index.get("labelled")).toMatchObject({ vector: vector(6), payload: { b: 2 } });
    expect(index.search(vector(6), { k: 1 })[0].payload).toEqual({ b: 2 });
    await index.setPayload("labelled", undefined);
    expect(index.get("labelled")!.payload).toBeUndefined();
  });

  test("of a row that is not there cannot be set", async () => {
    const error = await errorOf(() => index.setPayload("ghost", {}));
    expect(error).toMatchObject({ code: "UNKNOWN_ID", details: { id: "ghost" } });
    expect(error.message).toContain('"ghost"');
  });
});

describe("putMany", () => {
  const entries = (n: number, prefix: string): Entry[] =>
    Array.from({ length: n }, (_, i) => ({ id: `${prefix}${i}`, vector: vector(i), payload: { i } }));

  test("takes columns, entries, and nothing", async () => {
    const vectors = randomRows(3, d, 8);
    await index.putMany({ ids: ["c0", "c1", "c2"], vectors, payloads: [{ i: 0 }, undefined, { i: 2 }] });
    expect(index.getMany(["c2", "nope", "c1"])).toMatchObject([
      { id: "c2", vector: vectors.slice(8), payload: { i: 2 } },
      undefined,
      { id: "c1", payload: undefined },
    ]);
    await index.putMany(entries(3, "e"));
    expect(index.get("e1")).toMatchObject({ vector: vector(1), payload: { i: 1 } });
    const size = index.size;
    await index.putMany([]);
    await index.putMany({ ids: [], vectors: new Float32Array(0) });
    await index.putMany(new Set<Entry>());
    expect(index.size).toBe(size);
  });

  test("of columns and arrays is all or nothing", async () => {
    const size = index.size;
    const bad = [...entries(5, "bad"), { id: "bad5", vector: [1, 2, Number.NaN, 4] }];
    expect((await errorOf(() => index.putMany(bad))).message).toContain('"bad5"');
    expect([index.size, index.has("bad0")]).toEqual([size, false]);
  });

  test("of an iterable commits every 1,000 rows, and an error says how many are in", async () => {
    const seen: [number, number | undefined][] = [];
    await index.putMany(entries(2300, "it").values(), { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toEqual([1000, 2000, 2300].map((done) => [done, undefined]));
    expect(index.get("it2299")).toMatchObject({ payload: { i: 2299 } });

    async function* source() {
      yield* entries(1500, "half");
      throw new Error("the network went away");
    }
    const error = await errorOf(() => index.putMany(source()));
    expect(error).toBeInstanceOf(HebbError);
    expect(error).toMatchObject({
      code: "BATCH_INCOMPLETE",
      details: { committed: 1000 },
      message: expect.stringContaining("the network went away"),
      cause: expect.objectContaining({ message: "the network went away" }),
    });
    expect([index.has("half999"), index.has("half1000")]).toEqual([true, false]);
  });

  test("tells an array's progress once it is in; what the callback throws is the caller's", async () => {
    const seen: unknown[] = [];
    await index.putMany(entries(3, "p"), { onProgress: (...progress) => seen.push(progress) });
    expect(seen).toEqual([[3, 3]]);
    const thrown = new Error("mine");
    const onProgress = () => {
      throw thrown;
    };
    expect(await errorOf(() => index.putMany(entries(3, "thrown"), { onProgress }))).toBe(thrown);
    expect(index.has("thrown2")).toBe(true);
    await index.put("goes-on", vector(1));
  });

  test("takes payloads of many megabytes in one batch", async () => {
    const text = "x".repeat(4 << 20);
    await index.putMany(
      Array.from({ length: 17 }, (_, i) => ({ id: `large${i}`, vector: vector(i), payload: { text } })),
    );
    expect(index.get("large16")!.payload).toEqual({ text });
    expect(await index.delete(Array.from({ length: 17 }, (_, i) => `large${i}`))).toBe(17);
  });
});

test.each([1, 2, 3, 1000, 4096])("vectors of %i dimensions come back bit for bit and are found", async (dimensions) => {
  for (const metric of ["l2", "cosine", "dot"] as const) {
    const index = await open(path(`${metric}-${dimensions}`), { dimensions, metric });
    const rows = randomRows(30, dimensions, dimensions);
    await index.putMany({ ids: Array.from({ length: 30 }, (_, i) => i), vectors: rows });
    for (let i = 0; i < 30; i++) {
      const row = rowOf(rows, i, dimensions);
      expect(index.get(i)!.vector).toEqual(row.slice());
      const distance = metric === "dot" ? -row.reduce((sum, x) => sum + x * x, 0) : 0;
      const hit = index.search(row, { k: 30, exact: true }).find(({ id }) => id === i)!;
      expect(hit.distance).toBeCloseTo(distance, distance < -100 ? 1 : 4);
    }
    await index.close();
  }
});
