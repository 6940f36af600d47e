/** An index is a directory. The first `open` creates it; later ones find everything there. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HebbError, Index, open } from "../../src/index.js";
import { errorOf, scratch } from "../support/rows.js";

const path = scratch();

test("open creates an index, empty, of the dimensions and metric asked for", async () => {
  const index = await open(path("new.hebb"), { dimensions: 3, metric: "cosine" });
  expect(index).toBeInstanceOf(Index);
  expect([index.size, index.dimensions, index.metric]).toEqual([0, 3, "cosine"]);
  expect(index.search([1, 2, 3])).toEqual([]);
  expect([...index.entries()]).toEqual([]);
  expect(await index.check()).toEqual({ ok: true, faults: [] });
  await index.close();
});

test("missing parents are created too", async () => {
  const index = await open(path("some/where/deep.hebb"), { dimensions: 2, metric: "l2" });
  await index.close();
  expect(existsSync(path("some/where/deep.hebb/index.hebb"))).toBe(true);
});

test("what is there opens with nothing but its path, or with the same dimensions and metric", async () => {
  const at = path("again.hebb");
  await (await open(at, { dimensions: 3, metric: "dot" })).close();
  for (const options of [undefined, {}, { dimensions: 3, metric: "dot" as const }]) {
    const index = await open(at, options);
    expect([index.dimensions, index.metric]).toEqual([3, "dot"]);
    await index.close();
  }
});

test("without dimensions and metric nothing is created", async () => {
  expect(await errorOf(() => open(path("missing.hebb")))).toMatchObject({ code: "STORE_NOT_FOUND" });
  expect(existsSync(path("missing.hebb"))).toBe(false);
  expect((await errorOf(() => open(path("missing.hebb"), { dimensions: 3 }))).message).toContain("only one of");
  expect(existsSync(path("missing.hebb"))).toBe(false);
});

test("other dimensions or another metric than stored are refused, and both are named", async () => {
  const at = path("mismatch.hebb");
  await (await open(at, { dimensions: 3, metric: "l2" })).close();
  const dimensions = await errorOf(() => open(at, { dimensions: 4, metric: "l2" }));
  expect(dimensions).toMatchObject({ code: "STORE_MISMATCH", message: expect.stringMatching(/3.*4|4.*3/) });
  const metric = await errorOf(() => open(at, { dimensions: 3, metric: "cosine" }));
  expect(metric).toMatchObject({ code: "STORE_MISMATCH", message: expect.stringMatching(/l2.*cosine|cosine.*l2/) });
  await (await open(at)).close();
});

test("a file, and a directory that holds something else, are left alone", async () => {
  writeFileSync(path("file"), "notes");
  expect(await errorOf(() => open(path("file"), { dimensions: 3, metric: "l2" }))).toMatchObject({
    code: "NOT_A_STORE",
  });
  mkdirSync(path("photos"));
  writeFileSync(join(path("photos"), "cat.jpg"), "");
  expect(await errorOf(() => open(path("photos"), { dimensions: 3, metric: "l2" }))).toMatchObject({
    code: "NOT_A_STORE",
  });
  expect(readdirSync(path("photos"))).toEqual(["cat.jpg"]);
});

test("one handle writes at a time; its close lets the next one in", async () => {
  const at = path("locked.hebb");
  const first = await open(at, { dimensions: 3, metric: "l2" });
  const second = await errorOf(() => open(at));
  expect(second).toBeInstanceOf(HebbError);
  expect(second).toMatchObject({ code: "STORE_LOCKED", message: expect.stringContaining("this process") });
  await first.put("a", [1, 2, 3]);
  await first.close();
  const third = await open(at);
  expect(third.size).toBe(1);
  await third.close();
});

test("a refused open lets go of the store", async () => {
  const at = path("refused.hebb");
  await (await open(at, { dimensions: 3, metric: "l2" })).close();
  for (const config of [{ ruvector: { hnsw_m: 33 } }, { ruvector: { embedding_dim: 5 } }]) {
    await errorOf(() => open(at, { config: config as object }));
  }
  await (await open(at)).close();
});

test("close may be called again, and everything else then fails with INDEX_CLOSED", async () => {
  const index = await open(path("closed.hebb"), { dimensions: 2, metric: "l2" });
  await index.putMany({ ids: ["a", "b"], vectors: Float32Array.of(1, 2, 3, 4) });
  const entries = index.entries();
  expect(entries.next().value).toMatchObject({ id: "a" });
  const closing = index.close();
  const duringClose = await errorOf(() => index.put("c", [1, 2]));
  expect(duringClose).toMatchObject({ code: "INDEX_CLOSED" });
  await closing;
  await index.close();
  await index[Symbol.asyncDispose]();
  const calls: Record<string, () => unknown> = {
    size: () => index.size,
    put: () => index.put("c", [1, 2]),
    putMany: () => index.putMany([]),
    "putMany of an iterable": () => index.putMany(new Set([{ id: "c", vector: [1, 2] }])),
    setPayload: () => index.setPayload("a", {}),
    delete: () => index.delete(["a"]),
    "delete by filter": () => index.delete({ filter: { x: 1 } }),
    settle: () => index.settle(),
    get: () => index.get("a"),
    getMany: () => index.getMany(["a"]),
    has: () => index.has("a"),
    count: () => index.count(),
    entries: () => index.entries(),
    "entries, begun before": () => entries.next(),
    search: () => index.search([1, 2]),
    searchMany: () => index.searchMany(Float32Array.of(1, 2)),
    searchNodes: () => index.searchNodes(Float32Array.of(1, 2), 1, 1, new Uint32Array(1), new Float32Array(1)),
    idOf: () => index.idOf(0),
    query: () => index.query({ vector: [1, 2] }),
    learn: () => index.learn([{ query: [1, 2], chosen: ["a"] }]),
    train: () => index.train(),
    checkpoint: () => index.checkpoint(),
    stats: () => index.stats(),
    check: () => index.check(),
  };
  for (const [name, call] of Object.entries(calls)) {
    const error = await errorOf(call);
    const reason = error.cause instanceof HebbError ? error.cause : error; // an iterable's error has it as its cause
    expect({ name, code: (reason as HebbError).code }).toEqual({ name, code: "INDEX_CLOSED" });
    expect(reason.message).toContain("open it again");
  }
  expect([index.dimensions, index.metric]).toEqual([2, "l2"]);
});

test("stats name the kernel and what there is", async () => {
  const index = await open(path("stats.hebb"), { dimensions: 4, metric: "l2" });
  await index.putMany({ ids: [1, 2, 3], vectors: new Float32Array(12).fill(1) });
  await index.settle();
  const stats = index.stats();
  expect(["scalar", "avx2", "avx512", "neon"]).toContain(stats.kernel);
  expect(stats).toMatchObject({ size: 3, dimensions: 4, metric: "l2", backlog: 0, tiers: { hot: { count: 3 } } });
  expect(Object.keys(stats.tiers)).toEqual(["hot", "warm", "cool", "cold", "archive"]);
  const { journal, dirty, ...bytesOnDisk } = stats.bytes;
  expect(journal).toBe(0);
  expect(dirty).toBeGreaterThanOrEqual(0);
  for (const bytes of Object.values(bytesOnDisk)) expect(bytes).toBeGreaterThan(0);
  expect(stats.learning.events).toBe(0);
  expect(stats.warnings).toEqual([]);
  await index.close();
});
