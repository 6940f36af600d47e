/** A handle that only reads answers everything, changes nothing, and says so. (After a writer was killed: 19.) */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Index, open } from "../../src/index.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 5;
const rows = randomRows(300, d, 71);
let reader: Index;
let expected: unknown;

const answers = (index: Index) => [
  index.size,
  index.get(7),
  index.count({ even: true }),
  [...index.entries({ filter: { i: { $lt: 10 } } })],
  index.search(rowOf(rows, 5, d), { k: 20, filter: { even: true } }),
  index.stats().learning,
];

beforeAll(async () => {
  const writer = await open(path("a.hebb"), { dimensions: d, metric: "dot" });
  await writer.putMany(
    Array.from({ length: 300 }, (_, i) => ({ id: i, vector: rowOf(rows, i, d), payload: { i, even: i % 2 === 0 } })),
  );
  await writer.learn([{ query: rowOf(rows, 1, d), chosen: [2] }]);
  expected = answers(writer);
  await writer.close();
  reader = await open(path("a.hebb"), { readOnly: true });
});
afterAll(() => reader.close());

test("answers as the writer did", async () => {
  expect(answers(reader)).toEqual(expected);
  const [many] = await reader.searchMany(rowOf(rows, 5, d).slice(), { k: 3 });
  expect(many).toEqual(reader.search(rowOf(rows, 5, d), { k: 3 }));
  for (const mode of ["vector", "neural", "subgraph", "differentiable"] as const) {
    expect((await reader.query({ id: 3, mode, k: 4 })).hits).toHaveLength(4);
  }
  expect(await reader.check()).toEqual({ ok: true, faults: [] });
  await reader.settle(); // nothing to wait for
});

test.each<[string, (index: Index) => unknown]>([
  ["put", (index) => index.put("a", [1, 1, 1, 1, 1])],
  ["putMany", (index) => index.putMany([{ id: "a", vector: [1, 1, 1, 1, 1] }])],
  ["setPayload", (index) => index.setPayload(1, {})],
  ["delete", (index) => index.delete([1])],
  ["delete by filter", (index) => index.delete({ filter: { even: true } })],
  ["learn", (index) => index.learn([{ query: [1, 1, 1, 1, 1], chosen: [1] }])],
  ["train", (index) => index.train()],
  ["checkpoint", (index) => index.checkpoint()],
])("%s is refused", async (_, call) => {
  const error = await errorOf(() => call(reader));
  expect(error).toMatchObject({ code: "STORE_READ_ONLY" });
  expect(error.message).toMatch(/was opened with readOnly; open it without to write$/);
  expect(answers(reader)).toEqual(expected);
});

test("many read at once, beside a writer: each its own state", async () => {
  const others = await Promise.all([1, 2].map(() => open(path("a.hebb"), { readOnly: true })));
  for (const other of others) expect(answers(other)).toEqual(expected);
  const writer = await open(path("a.hebb"));
  expect(await errorOf(() => open(path("a.hebb")))).toMatchObject({ code: "STORE_LOCKED" });
  await writer.put(7, [9, 9, 9, 9, 9], { i: 7, even: false });
  await writer.learn([{ query: rowOf(rows, 3, d), chosen: [4] }]);
  await writer.delete([5]);
  const early = await open(path("a.hebb"), { readOnly: true });
  await writer.checkpoint();
  const late = await open(path("a.hebb"), { readOnly: true });
  expect(late.size).toBe(299);
  expect(late.get(7)).toMatchObject({ vector: Float32Array.of(9, 9, 9, 9, 9), payload: { i: 7, even: false } });
  expect(late.stats().learning.events).toBe(2);
  for (const other of [reader, ...others]) expect(answers(other)).toEqual(expected);
  // What was acknowledged shortly before is in the one state or in the other, and never in part.
  expect([300, 299]).toContain(early.size);
  await writer.close();
  for (const other of [reader, ...others]) expect(answers(other)).toEqual(expected);
  for (const other of [...others, early, late]) await other.close();
});

test("what was acknowledged is there for who opens half a second later, without a checkpoint", async () => {
  const writer = await open(path("b.hebb"), { dimensions: 2, metric: "l2" });
  await writer.put("a", [1, 2]);
  let seen = 0;
  while (seen === 0) {
    const other = await open(path("b.hebb"), { readOnly: true });
    seen = other.size;
    await other.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await writer.close();
});
