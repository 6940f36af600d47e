/** One writer at a time, across handles and processes, and a process killed with -9 is in nobody's way. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { Store } from "../../storage/store.js";
import { figure } from "../support/figures.js";
import { long } from "../support/seed.js";
import { IDENTITY, SECTIONS } from "../support/store-model.js";

const CHILD = fileURLToPath(new URL("../support/store-child.mjs", import.meta.url));
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hebb-lock-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const open = (directory: string, readOnly = false) =>
  Store.open(directory, { create: IDENTITY, sections: SECTIONS, readOnly });

function child(...parameters: string[]): ChildProcess {
  return spawn(process.execPath, [CHILD, ...parameters], { stdio: ["ignore", "pipe", "inherit"] });
}

test("of handles opened at the same moment exactly one wins", async () => {
  const directory = join(scratch, "handles");
  const rounds = long ? 1000 : 100;
  for (let round = 0; round < rounds; round++) {
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => open(directory)));
    const winners = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(winners).toHaveLength(1);
    await expect(open(directory)).rejects.toThrow("is held by this process");
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      expect(result.reason).toMatchObject({ code: "STORE_LOCKED" });
    }
    await winners[0].close();
  }
  figure(12, "races of four handles for a store: exactly one won", rounds);
});

test("processes never have a store at the same time", async () => {
  const directory = join(scratch, "processes");
  const rounds = long ? 250 : 60;
  const children = Array.from({ length: 4 }, () => child("race", directory, String(rounds)));
  const tries = children.map(async (one) => {
    let output = "";
    one.stdout!.on("data", (data) => {
      output += String(data);
    });
    const [code] = await once(one, "exit");
    expect(code).toBe(0);
    return Number(output);
  });
  const total = (await Promise.all(tries)).reduce((sum, n) => sum + n, 0);
  expect(total).toBeGreaterThan(4 * rounds); // they were in each other's way
  figure(12, "races of four processes for a store, each until it had won its share: never two had it", 4 * rounds);
  figure(12, "openings in these races", total);
});

test("killed with -9 while it writes: nothing acknowledged is lost, and its lock blocks nobody", async () => {
  const directory = join(scratch, "killed");
  const prng = new Prng(Number(process.env.HEBB_SEED ?? 5));
  let acknowledged = 0;
  for (let round = 0; round < 8; round++) {
    const one = child("write", directory);
    const lines = createInterface({ input: one.stdout! });
    let left = 1 + prng.below(60);
    for await (const line of lines) {
      if (line.startsWith("open")) {
        expect(Number(line.slice(5))).toBeGreaterThanOrEqual(acknowledged);
        continue;
      }
      acknowledged = Number(line);
      if (--left === 0) one.kill("SIGKILL"); // what it still prints was acknowledged too
    }
    expect((await readFile(join(directory, "LOCK"))).toString()).toBe(String(one.pid));
  }
  const store = await Store.open(directory, {
    sections: () => [{ kind: 1, name: "rows", stride: 8, reserveBytes: 1 << 20 }],
  });
  for await (const _ of store.replay());
  expect(store.log.lastLsn).toBeGreaterThanOrEqual(acknowledged);
  expect(await store.check()).toEqual([]);
  await store.close();
});

test("the error names the process that holds the store", async () => {
  const directory = join(scratch, "named");
  const one = child("write", directory);
  await once(createInterface({ input: one.stdout! }), "line");
  await expect(open(directory)).rejects.toThrow(`STORE_LOCKED: ${directory} is held by process ${one.pid}`);
  one.kill("SIGKILL");
  await once(one, "exit");
});

test("readers share a store with each other and with one writer, and write nothing", async () => {
  const directory = join(scratch, "readers");
  await (await open(directory)).close();
  const readers = [await open(directory, true), await open(directory, true)];
  for await (const _ of readers[0].replay());
  await expect(readers[0].log.append([{ type: 1, payload: new Uint8Array(1) }])).rejects.toMatchObject({
    code: "STORE_READ_ONLY",
  });
  await expect(readers[0].checkpoint(0)).rejects.toMatchObject({ code: "STORE_READ_ONLY" });
  const writer = await open(directory);
  await expect(open(directory)).rejects.toMatchObject({ code: "STORE_LOCKED" });
  readers.push(await open(directory, true));
  for (const reader of readers) await reader.close();
  await writer.close();
});
