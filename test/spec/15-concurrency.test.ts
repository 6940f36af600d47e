/** Many things at a time on one handle: calls that nobody waited for keep their order, searches see whole batches. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, open } from "../../src/index.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 8;
let count = 0;
let index: Index;
beforeEach(async () => {
  index = await open(path(`store-${count++}`), { dimensions: d, metric: "l2" });
});
afterEach(async () => {
  expect((await index.check()).faults).toEqual([]);
  await index.close();
});

const turn = () => new Promise((resolve) => setImmediate(resolve));
const vector = (seed: number) => randomRows(1, d, seed);
const idsOf = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe("changes that nobody waited for", () => {
  test("happen in the order of the calls", async () => {
    const results = await Promise.all([
      index.put("a", vector(1), { version: 1 }),
      index.put("a", vector(2), { version: 2 }),
      index.setPayload("a", { version: 3 }),
      index.delete(["a"]),
      index.delete(["a"]),
      index.put("a", vector(4), { version: 4 }),
      index.setPayload("a", { version: 5 }),
      index.put("b", vector(6)),
      index.delete(["b", "a", "c"]),
      index.put("b", vector(7), { version: 7 }),
    ]);
    expect(results).toEqual([undefined, undefined, undefined, 1, 0, undefined, undefined, undefined, 2, undefined]);
    expect([...index.entries()]).toMatchObject([{ id: "b", vector: vector(7), payload: { version: 7 } }]);
    expect(index.search(vector(4), { k: 10 }).map(({ id }) => id)).toEqual(["b"]);
  });

  test("fail one by one: a refused change takes no other with it", async () => {
    const results = await Promise.allSettled([
      index.put("a", vector(1)),
      index.setPayload("ghost", {}),
      index.put("", vector(2)),
      index.put("b", vector(3)),
      index.delete(["a"]),
      index.setPayload("a", {}),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "rejected",
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
    expect([...index.entries()].map(({ id }) => id)).toEqual(["b"]);
  });

  test("share the waiting for the disk: a thousand puts at once are all there", async () => {
    const rows = randomRows(1000, d, 5);
    await Promise.all(idsOf(0, 1000).map((id) => index.put(id, rowOf(rows, id, d), { id })));
    expect(index.size).toBe(1000);
    for (const id of [0, 1, 500, 999]) expect(index.search(rowOf(rows, id, d), { k: 1 })[0].id).toBe(id);
  });

  test("come in any mixture and end as they would one after the other", async () => {
    const prng = new Prng(6);
    const model = new Map<number, number>();
    const pending: Promise<unknown>[] = [];
    for (let step = 0; step < 400; step++) {
      const id = prng.below(40);
      const kind = prng.below(10);
      if (kind < 5) {
        pending.push(index.put(id, vector(step), { step }));
        model.set(id, step);
      } else if (kind < 7) {
        pending.push(index.delete([id]));
        model.delete(id);
      } else if (kind < 8 && model.has(id)) {
        pending.push(index.setPayload(id, { step }));
        model.set(id, step);
      } else if (kind === 8) pending.push(index.searchMany(randomRows(3, d, step), { k: 3 }));
      else if (prng.below(20) === 0) pending.push(prng.below(2) ? index.checkpoint() : index.settle());
      if (prng.below(30) === 0) await turn();
    }
    await Promise.all(pending);
    expect(new Map([...index.entries()].map(({ id, payload }) => [id, payload!.step]))).toEqual(model);
  });
});

describe("searching while things change", () => {
  test("a batch shows whole or not at all", async () => {
    const batches = 20;
    const size = 150;
    const rows = randomRows(batches * size, d, 7);
    const seen = new Set<number>();
    let done = false;
    const writing = (async () => {
      for (let b = 0; b < batches; b++) {
        const [from, to] = [b * size, (b + 1) * size];
        await index.putMany({
          ids: idsOf(from, to),
          vectors: rows.subarray(from * d, to * d),
          payloads: idsOf(from, to).map(() => ({ batch: b })),
        });
      }
      done = true;
    })();
    while (!done) {
      seen.add(index.size);
      expect(index.size % size).toBe(0);
      expect(index.count({ batch: { $gte: 0 } })).toBe(index.size);
      const hits = index.search(vector(8), { k: 30, ef: 50 });
      expect(hits).toHaveLength(Math.min(30, index.size));
      for (const { id, payload, distance } of hits) {
        expect(payload).toEqual({ batch: Math.floor((id as number) / size) });
        expect(Number.isFinite(distance)).toBe(true);
      }
      await turn();
    }
    await writing;
    expect(seen.size).toBeGreaterThan(2);
  });

  test("a replaced row is there all the time, old or new, once", async () => {
    const rows = randomRows(300, d, 9);
    await index.putMany({ ids: idsOf(0, 300), vectors: rows, payloads: idsOf(0, 300).map(() => ({ round: 0 })) });
    let done = false;
    const writing = (async () => {
      for (let round = 1; round <= 15; round++) {
        await index.putMany({ ids: idsOf(0, 300), vectors: rows, payloads: idsOf(0, 300).map(() => ({ round })) });
      }
      done = true;
    })();
    while (!done) {
      expect(index.size).toBe(300);
      const hits = index.search(vector(10), { k: 300 });
      expect(new Set(hits.map(({ id }) => id)).size).toBe(300);
      expect(new Set(hits.map(({ payload }) => payload!.round)).size).toBe(1);
      expect([...index.entries()].length).toBe(300);
      await turn();
    }
    await writing;
    expect(index.count({ round: 15 })).toBe(300);
  });

  test("searchMany never returns what was deleted or replaced while it ran, nor fewer than there are", async () => {
    const rows = randomRows(4000, d, 11);
    const id = (i: number) => `row-${i}`;
    await index.putMany({
      ids: idsOf(0, 2000).map(id),
      vectors: rows.subarray(0, 2000 * d),
      payloads: idsOf(0, 2000).map((i) => ({ i })),
    });
    const queries = randomRows(400, d, 12);
    for (let round = 0; round < 12; round++) {
      const running = index.searchMany(queries, { k: 10, ef: 40 });
      const gone = idsOf(round * 100, round * 100 + 100);
      const changes = Promise.all([
        index.delete(gone.map(id)),
        index.settle(), // frees their places
        index.putMany({
          ids: gone.map((i) => id(2000 + i)),
          vectors: rows.subarray((2000 + gone[0]) * d, (2100 + gone[0]) * d),
          payloads: gone.map((i) => ({ i: 2000 + i })),
        }),
      ]);
      for (const [q, hits] of (await running).entries()) {
        expect(hits).toHaveLength(10);
        for (const hit of hits) {
          const i = (hit.payload as { i: number }).i;
          expect(hit.id).toBe(id(i));
          const [query, row] = [rowOf(queries, q, d), rowOf(rows, i, d)];
          expect(hit.distance).toBeCloseTo(
            query.reduce((sum, x, j) => sum + (x - row[j]) ** 2, 0),
            3,
          );
        }
      }
      await changes;
    }
    expect(index.size).toBe(2000);
  });

  test("entries go on through changes: what was there all along is seen once", async () => {
    await index.putMany(idsOf(0, 1000).map((i) => ({ id: i, vector: vector(i) })));
    const seen: unknown[] = [];
    let step = 0;
    for (const { id } of index.entries()) {
      seen.push(id);
      if (++step % 100 === 0)
        await Promise.all([index.delete([1000 - step, `new-${step - 100}`]), index.put(`new-${step}`, vector(step))]);
    }
    const stayed = idsOf(0, 1000).filter((i) => index.has(i));
    expect(seen.filter((id) => typeof id === "number" && index.has(id)).sort()).toEqual(stayed.sort());
    expect(new Set(seen).size).toBe(seen.length);
  });
});

describe("closing", () => {
  test("waits for all that began before it", async () => {
    const at = path("closing");
    const one = await open(at, { dimensions: d, metric: "l2" });
    const rows = randomRows(2000, d, 13);
    const pending = [
      one.putMany({ ids: idsOf(0, 2000), vectors: rows, payloads: idsOf(0, 2000).map((i) => ({ odd: i % 2 })) }),
      one.delete({ filter: { odd: 1 } }),
      one.searchMany(rows, { k: 3 }),
      one.query({ vector: vector(1), k: 2 }),
      one.put("last", vector(2)),
      one.learn([{ query: vector(3), chosen: ["last"] }]),
      one.settle(),
      one.checkpoint(),
      one.check(),
    ];
    const closing = one.close();
    const results = await Promise.all(pending);
    expect(results[1]).toBe(1000);
    expect(results[8]).toEqual({ ok: true, faults: [] });
    await closing;
    const again = await open(at);
    expect([again.size, again.has("last"), again.stats().learning.events]).toEqual([1001, true, 1]);
    await again.close();
  });

  test("waits for texts that are being encoded", async () => {
    const at = path("encoding");
    let encoded = () => {};
    const encoder = async (texts: string[]) => {
      await new Promise<void>((resolve) => {
        encoded = resolve;
      });
      return texts.map((_, i) => vector(i));
    };
    const one = await open(at, { dimensions: d, metric: "l2", encoder });
    const put = one.put("text", { text: "words" });
    await turn();
    const closing = one.close();
    await turn();
    encoded();
    await Promise.all([put, closing]);
    const again = await open(at);
    expect(again.has("text")).toBe(true);
    await again.close();
  });

  test("an iterable that is still being read is told where it was cut", async () => {
    const at = path("cut");
    const one = await open(at, { dimensions: d, metric: "l2" });
    async function* source() {
      for (let i = 0; ; i++) {
        if (i === 1500) void one.close();
        yield { id: i, vector: vector(i) };
      }
    }
    await expect(one.putMany(source())).rejects.toMatchObject({
      code: "BATCH_INCOMPLETE",
      details: { committed: 1000 },
      cause: expect.objectContaining({ code: "INDEX_CLOSED" }),
    });
    await one.close();
    const again = await open(at);
    expect(again.size).toBe(1000);
    await again.close();
  });
});
