/** What is closed opens again with the same rows, the same answers and the same learning, at once. */
import { cpSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, type Metric, open } from "../../src/index.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, d] = [1200, 16];
const rows = randomRows(n, d, 31);
const queries = randomRows(25, d, 32);

/** What searches say, to the last bit. */
function answers(index: Index) {
  return Array.from({ length: 25 }, (_, i) => [
    index.search(rowOf(queries, i, d), { k: 10, ef: 64, include: ["payload", "vector"] }),
    index.search(rowOf(queries, i, d), { k: 10, filter: { mod: i % 5 } }),
    index.search(rowOf(queries, i, d), { k: 5, exact: true }),
  ]);
}

const contents = (index: Index) =>
  [...index.entries()].sort((a, b) => String(a.id).localeCompare(String(b.id))).map((entry) => ({ ...entry }));

async function fill(at: string, metric: Metric): Promise<Index> {
  const index = await open(at, { dimensions: d, metric });
  const payloads = Array.from({ length: n }, (_, i) => (i % 7 === 0 ? undefined : { mod: i % 5, text: `row ${i}` }));
  await index.putMany({ ids: payloads.map((_, i) => (i % 2 ? i : `id-${i}`)), vectors: rows, payloads });
  await index.delete({ filter: { mod: 3 } });
  await index.setPayload("id-2", { mod: 0, changed: true });
  await index.put(1, rowOf(rows, 3, d), { mod: 1 });
  return index;
}

test.each(["l2", "cosine", "dot"] as const)(
  "under %s: the same rows and answers, closed once or five times",
  async (metric) => {
    const at = path(metric);
    const first = await fill(at, metric);
    await first.settle(); // linking changes answers, as little as that is
    const expected = { answers: answers(first), contents: contents(first), size: first.size };
    await first.close();
    for (let round = 0; round < 5; round++) {
      const index = await open(at);
      expect({ answers: answers(index), contents: contents(index), size: index.size }).toEqual(expected);
      expect(await index.check()).toEqual({ ok: true, faults: [] });
      await index.close();
    }
  },
);

test("a checkpoint, a settle and a consolidation change no answer that is the same without them", async () => {
  const index = await fill(path("maintained"), "l2");
  const expected = contents(index);
  const exact = () => Array.from({ length: 25 }, (_, i) => index.search(rowOf(queries, i, d), { k: 10, exact: true }));
  const truth = exact();
  await index.checkpoint();
  await index.settle();
  expect(index.stats().deleted).toBe(0);
  await index.checkpoint();
  expect(contents(index)).toEqual(expected);
  expect(exact()).toEqual(truth);
  await index.close();
});

test("a closed store can be copied anywhere", async () => {
  const index = await fill(path("original"), "cosine");
  const expected = answers(index);
  await index.close();
  cpSync(path("original"), path("elsewhere"), { recursive: true });
  rmSync(path("original"), { recursive: true });
  const copy = await open(path("elsewhere"));
  expect(answers(copy)).toEqual(expected);
  await copy.close();
});

test("closing leaves one empty segment of log and nothing to replay", async () => {
  const at = path("tidy");
  await (await fill(at, "l2")).close();
  const segments = readdirSync(join(at, "wal"));
  expect(segments).toHaveLength(1);
  expect(statSync(join(at, "wal", segments[0])).size).toBeLessThan(4096);
  const read = await open(at, { readOnly: true }); // which cannot replay
  expect(read.size).toBeGreaterThan(0);
  await read.close();
});

test("work of many sessions adds up", async () => {
  const at = path("sessions");
  const prng = new Prng(34);
  const model = new Map<number, number>();
  for (let session = 0; session < 12; session++) {
    const index = await open(at, { dimensions: 2, metric: "l2" });
    expect(new Map([...index.entries()].map(({ id, payload }) => [id, payload!.value]))).toEqual(model);
    for (let step = 0; step < 10; step++) {
      const ids = [...new Set(Array.from({ length: 1 + prng.below(20) }, () => prng.below(150)))];
      if (prng.below(3) === 0) {
        await index.delete(ids);
        for (const id of ids) model.delete(id);
      } else {
        const value = session * 100 + step;
        await index.putMany(ids.map((id) => ({ id, vector: [id, value], payload: { value } })));
        for (const id of ids) model.set(id, value);
      }
    }
    for (const [id, value] of model) expect(index.search([id, value], { k: 1 })[0]).toMatchObject({ id, distance: 0 });
    await index.close();
  }
});
