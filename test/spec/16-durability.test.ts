/**
 * What survives what. An acknowledged change survives the death of the process under every durability: here by
 * reading a copy of the directory as it was at that moment, in crash/kill.test.ts by kill -9. When it survives a
 * power failure is what `sync`, `interval` and `off` differ in: crash/simulated.test.ts has that, with a disk that
 * forgets what was not synced.
 */
import { cpSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Index as IndexHandle } from "../../src/engine/hebb-index.js";
import { openSession } from "../../src/engine/opening.js";
import { type Durability, type Index, open } from "../../src/index.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const d = 6;
const rows = randomRows(600, d, 61);
const vector = (i: number) => rowOf(rows, i, d);
const durabilities: Durability[] = ["sync", "interval", "off"];

/** Opens what a process that dies now would leave behind. (SQLite's shared memory would be gone with it.) */
async function afterDeath(at: string): Promise<Index> {
  const copy = `${at}-${performance.now()}`;
  cpSync(at, copy, { recursive: true, filter: (name) => !name.endsWith("-shm") });
  return open(copy);
}

test.each(durabilities)("%s: acknowledged is there after the process died", async (durability) => {
  const at = path(durability);
  const index = await open(at, { dimensions: d, metric: "l2", durability });
  const expectAll = async (what: string) => {
    const other = await afterDeath(at);
    const seen = (one: Index) => ({
      rows: [...one.entries()].sort((a, b) => Number(a.id) - Number(b.id)),
      events: one.stats().learning.events,
      found: Array.from({ length: 5 }, (_, i) => one.search(vector(500 + i), { k: 5, exact: true })),
    });
    expect({ what, ...seen(other) }).toEqual({ what, ...seen(index) });
    expect((await other.check()).faults).toEqual([]);
    await other.close();
  };
  await expectAll("nothing yet");
  await index.put(1, vector(1), { a: 1 });
  await expectAll("a put");
  const ids = Array.from({ length: 300 }, (_, i) => i);
  await index.putMany({ ids, vectors: rows.subarray(0, 300 * d), payloads: ids.map((i) => ({ i })) });
  await expectAll("a batch");
  await index.delete(ids.slice(100, 200));
  await expectAll("a delete");
  await index.setPayload(1, { b: 2 });
  await expectAll("a payload");
  await index.learn([{ query: vector(500), chosen: [1] }]);
  await expectAll("feedback");
  await index.checkpoint();
  await expectAll("a checkpoint");
  await index.settle();
  await expectAll("a consolidation");
  await index.putMany({ ids: ids.slice(150, 260), vectors: rows.subarray(150 * d, 260 * d) });
  await expectAll("a batch in places that were freed");
  await index.checkpoint();
  await index.delete({ filter: { i: { $gte: 0 } } });
  await expectAll("a delete by filter");
  await index.close();
  const again = await open(at);
  expect(again.size).toBe(111); // 150 to 259 have no payload, and 1 has another one: they stayed
  await again.close();
});

test.each(durabilities)("%s: a close leaves everything on disk", async (durability) => {
  const at = path(`closed-${durability}`);
  const index = await open(at, { dimensions: d, metric: "l2", durability });
  await index.putMany({ ids: Array.from({ length: 600 }, (_, i) => i), vectors: rows });
  await index.close();
  const other = await afterDeath(at);
  expect(other.size).toBe(600);
  await other.close();
});

test("a log of many megabytes is checkpointed by itself, and cut", async () => {
  const at = path("long");
  const index = await open(at, {
    dimensions: 256,
    metric: "l2",
    durability: "off",
    config: { storage: { checkpoint_wal_mb: 4 } },
  });
  const large = randomRows(400, 256, 62);
  const ids = Array.from({ length: 400 }, (_, i) => i);
  for (let round = 0; round < 30; round++) await index.putMany({ ids, vectors: large });
  expect(index.stats().bytes.wal).toBeLessThan(12 << 20);
  expect(index.size).toBe(400);
  expect(index.search(rowOf(large, 9, 256), { k: 1 })[0]).toMatchObject({ id: 9, distance: 0 });
  const other = await afterDeath(at);
  expect([other.size, other.search(rowOf(large, 9, 256), { k: 1 })[0].id]).toEqual([400, 9]);
  await other.close();
  await index.close();
});

test("a disk that was full when the catalog was committed in passing is no reason to stop writing", async () => {
  const session = await openSession(path("full"), { dimensions: 2, metric: "l2", durability: "off" });
  const index = new IndexHandle(session);
  const commit = vi.spyOn(session.catalog, "commit").mockImplementationOnce(() => {
    throw new HebbError("DISK_FULL", "catalog.sqlite: commit: database or disk is full", { sqlite: "SQLITE_FULL" });
  });
  await index.put(1, [1, 1]);
  await vi.waitFor(() => expect(commit).toHaveBeenCalledTimes(2), { timeout: 60_000 }); // tried again by itself
  await index.put(2, [2, 2]);
  expect(index.size).toBe(2);
  await index.close();
});
