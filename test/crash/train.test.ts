/**
 * kill -9 in the middle of `train`: the next one goes on after the last phase that ended, and what is learned in the
 * end is that of a training nobody interrupted, to the last bit. `HEBB_SEED=n` repeats when it dies.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { open } from "../../src/index.js";
import { errorOf, scratch } from "../support/rows.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const CHILD = fileURLToPath(new URL("../support/train-child.mjs", import.meta.url));
const path = scratch();
const d = 16;
/** As many as the child learns; it tells of each before it tells of phases. */
const EVENTS = 60;

interface Told {
  done: number;
  total: number;
}

/** Trains in a process of its own, which dies after so many words; returns what it said of phases. */
async function trains(directory: string, most: number | "all"): Promise<Told[]> {
  const child = fork(CHILD, [directory, String(most), String(d)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const told: Told[] = [];
  child.on("message", ({ isLast, ...message }: Told & { isLast: boolean }) => {
    told.push(message);
    if (isLast) child.kill("SIGKILL");
  });
  const [[, signal]] = await Promise.all([once(child, "exit"), once(child, "disconnect")]);
  expect(signal).toBe(most === "all" ? null : "SIGKILL");
  const total = told.at(-1)!.total;
  return total === EVENTS ? [] : told.filter((one) => one.total === total);
}

/** All that was learned, and what it answers. */
async function learned(directory: string) {
  const index = await open(directory, { config: { ruvector: { propagation: "linear" } } });
  const { learning } = index.stats();
  const prng = new Prng(9);
  const answers = [];
  for (let q = 0; q < 20; q++) {
    const vector = Float32Array.from({ length: d }, () => prng.next() * 2 - 1);
    answers.push((await index.query({ vector, mode: "neural", k: 20 })).hits);
  }
  const shifts = Array.from({ length: 300 }, (_, id) => index.gradients.get(id)?.shift);
  const { faults } = await index.check();
  await index.close();
  return { learning, answers, shifts, faults };
}

test("killed again and again, train goes on and ends as if nothing had been", async () => {
  const replay = `HEBB_SEED=${SEED}`;
  const prng = new Prng(SEED);
  const whole = path("whole");
  const phases = await trains(whole, "all");
  const expected = await learned(whole);
  expect(expected.faults).toEqual([]);
  const killed = path("killed");
  let done = -1;
  for (let death = 0; death < 3; death++) {
    const told = await trains(killed, EVENTS + 2 + prng.below(2));
    if (told.length === 0) continue;
    expect(told[0].done, replay).toBeGreaterThanOrEqual(Math.max(0, done));
    done = told.at(-1)!.done;
  }
  expect(done, replay).toBeGreaterThan(2);
  const last = await trains(killed, "all");
  expect(last[0].done, replay).toBeGreaterThanOrEqual(done);
  expect(last.length, replay).toBeLessThan(phases.length);
  expect(existsSync(join(killed, "train.progress"))).toBe(false);
  expect(await learned(killed), replay).toEqual(expected);
});

test("what changed since, or is damaged, makes it start anew", async () => {
  const directory = path("changed");
  await trains(directory, EVENTS + 4);
  const file = join(directory, "train.progress");
  const left = readFileSync(file);
  const copy = path("damaged");
  cpSync(directory, copy, { recursive: true });
  writeFileSync(join(copy, "train.progress"), left.subarray(0, 30));
  expect((await trains(copy, "all"))[0].done).toBeLessThan(2);

  const row = path("row");
  cpSync(directory, row, { recursive: true });
  const index = await open(row);
  await index.put(0, new Float32Array(d).fill(1));
  await index.close();
  expect((await trains(row, "all"))[0].done).toBeLessThan(2);
});

test("one that is stopped by its signal goes on when it is asked again", async () => {
  const directory = path("stopped");
  await trains(directory, 1); // rows and feedback are there
  const index = await open(directory, { config: { ruvector: { propagation: "linear" } } });
  const stop = new AbortController();
  const onProgress = (done: number, total: number) => total < EVENTS && done === 3 && stop.abort();
  expect(await errorOf(() => index.train({ epochs: 2, signal: stop.signal, onProgress }))).toMatchObject({
    code: "ABORTED",
  });
  expect(existsSync(join(directory, "train.progress"))).toBe(true);
  await index.close();
  const told = await trains(directory, "all");
  expect(told[0].done).toBe(3);
});
