/**
 * Readers of other processes beside a writer that checkpoints all the time: each sees one whole state, which never changes,
 * and the writer waits for none of them. `HEBB_SEED=n` repeats the choices of a run.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { checkNothingMissing, readingSteadily } from "../../src/engine/reading.js";
import { open } from "../../src/index.js";
import { diskFiles } from "../../storage/files.js";
import { vectorOf } from "../support/reading.mjs";
import { errorOf, scratch } from "../support/rows.js";
import { long } from "../support/seed.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const CHILD = fileURLToPath(new URL("../support/reading-child.mjs", import.meta.url));
const CHECKPOINTS = long ? 1000 : 60;
const ROWS = 300;
const DIMENSIONS = 24;
const path = scratch();

const batch = (op: number) => ({
  ids: Array.from({ length: ROWS }, (_, id) => id),
  vectors: Float32Array.from(Array.from({ length: ROWS }, (_, id) => [...vectorOf(id, op, DIMENSIONS)]).flat()),
  payloads: Array.from({ length: ROWS }, () => ({ op })),
});

test(`no torn row in ${CHECKPOINTS} checkpoints`, async () => {
  const directory = path("readers");
  const prng = new Prng(SEED);
  let writer = await open(directory, { dimensions: DIMENSIONS, metric: "l2" });
  await writer.putMany(batch(0));
  await writer.checkpoint();
  const readers = [1, 2].map((n) =>
    fork(CHILD, [directory, String(SEED + n), String(ROWS), String(DIMENSIONS)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    }),
  );
  const reports = readers.map(async (reader): Promise<{ states: number; wrong: string[] }> => {
    const died = once(reader, "exit").then(([code, signal]) => ({ states: 0, wrong: [`it died: ${code ?? signal}`] }));
    return Promise.race([once(reader, "message").then(([report]) => report), died]);
  });
  let over = false;
  for (const report of reports)
    void report.then(() => {
      over = true;
    });
  let op = 0;
  for (let checkpoints = 0; checkpoints < CHECKPOINTS && !over; op++) {
    await writer.putMany(batch(op + 1));
    if (prng.below(3) === 0) await writer.settle(); // places of replaced rows are used again
    if (prng.below(40) === 0) {
      await writer.close();
      writer = await open(directory);
    }
    if (prng.below(8) > 0) {
      await writer.checkpoint();
      checkpoints++;
    }
  }
  for (const reader of readers) if (reader.connected) reader.send("end");
  for (const report of reports) {
    const { states, wrong } = await report;
    expect(wrong, `HEBB_SEED=${SEED}`).toEqual([]);
    expect(states).toBeGreaterThan(2);
  }
  // Nobody reads any more: what gathered in the journal goes in place.
  await writer.checkpoint();
  await writer.put(ROWS, vectorOf(0, 0, DIMENSIONS));
  await writer.checkpoint();
  expect(statSync(join(directory, "index.hebb-journal")).size).toBe(0);
  expect((await writer.check()).faults).toEqual([]);
  await writer.close();
  const last = await open(directory, { readOnly: true });
  expect([...last.entries({ filter: { op } })]).toHaveLength(ROWS);
  await last.close();
});

test("while somebody reads, checkpoints gather; a writer that is killed and comes again goes on with them", async () => {
  const directory = path("gathered");
  const writer = await open(directory, { dimensions: DIMENSIONS, metric: "l2" });
  await writer.putMany(batch(1));
  await writer.checkpoint();
  const reader = await open(directory, { readOnly: true });
  const states = [reader];
  for (let op = 2; op < 6; op++) {
    await writer.putMany(batch(op));
    await writer.checkpoint();
    states.push(await open(directory, { readOnly: true }));
  }
  expect(statSync(join(directory, "index.hebb-journal")).size).toBeGreaterThan(0);
  expect(await writer.compact().catch((error: unknown) => error)).toMatchObject({ code: "STORE_LOCKED" });
  await writer.close();
  const program = fork(
    fileURLToPath(new URL("../support/gathering-child.mjs", import.meta.url)),
    [directory, String(ROWS), String(DIMENSIONS)],
    { stdio: ["ignore", "ignore", "inherit", "ipc"] },
  );
  expect(await once(program, "exit")).toEqual([null, "SIGKILL"]);
  states.push(await open(directory, { readOnly: true }));
  for (const [i, state] of states.entries()) {
    const op = i + 1;
    expect(state.size).toBe(ROWS);
    for (const { id, vector, payload } of state.entries()) {
      expect(payload).toEqual({ op });
      expect(vector).toEqual(vectorOf(id as number, op, DIMENSIONS));
    }
    expect((await state.check()).faults).toEqual([]);
    expect(state.search(vectorOf(7, op, DIMENSIONS), { k: 1 })).toMatchObject([{ id: 7, distance: 0 }]);
  }
  const again = await open(directory);
  await again.putMany(batch(9));
  for (const state of states) await state.close();
  await again.compact();
  expect(statSync(join(directory, "index.hebb-journal")).size).toBe(0);
  expect((await again.check()).faults).toEqual([]);
  await again.close();
  expect(existsSync(join(directory, "index.hebb-new"))).toBe(false);
});

test("a writer that closes while somebody begins to read is not taken for one that was killed", async () => {
  const directory = path("closing");
  let begun = 0;
  const begin = async (missing: number) => {
    await checkNothingMissing(diskFiles, directory, begun++ === 0 || missing > 1 ? missing : 0);
    return begun;
  };
  mkdirSync(directory);
  expect(await readingSteadily(diskFiles, directory, () => begin(1))).toBe(2);
  expect(await errorOf(() => readingSteadily(diskFiles, directory, () => begin(2)))).toMatchObject({
    code: "STORE_READ_ONLY",
    details: { changes: 2 },
  });
});
