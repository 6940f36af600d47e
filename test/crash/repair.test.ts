/**
 * A repair that is cut short leaves the store as damaged as it was, or repaired: killed at random moments, and failing
 * at every single step by which its files take their places. `HEBB_SEED=n` repeats the moments of a run.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { open, repair } from "../../src/index.js";
import { diskFiles, type Files } from "../../storage/files.js";
import { finishRepair, markReady } from "../../storage/repair-swap.js";
import { hasWriter } from "../../storage/store.js";
import { garble } from "../support/damage.js";
import { killsOf, replay, SEED } from "../support/kills.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const KILLS = killsOf("repair");
const CHILD = fileURLToPath(new URL("../support/repair-child.mjs", import.meta.url));
const path = scratch();
const d = 16;
const n = 300;
const rows = randomRows(n, d, 3);
/** Closed, with damage to what is derived, and with it to a vector. */
let damaged: string;

beforeAll(async () => {
  damaged = path("damaged");
  const index = await open(damaged, { dimensions: d, metric: "l2", durability: "off", indexes: ["i"] });
  await index.putMany({ ids: range(n), vectors: rows, payloads: range(n).map((i) => ({ i, text: `row ${i}` })) });
  await index.learn(range(10).map((i) => ({ query: rowOf(rows, i, d).slice(), chosen: [i + 1] })));
  await index.settle();
  await index.close();
  garble(damaged, "rows", 0);
  garble(damaged, "ids", 0);
});

/** All files that are the store's, by name; what SQLite shares and the lock are not. */
function filesOf(directory: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    const name = file.slice(directory.length);
    if (entry.isFile() && !/LOCK$|-shm$|-wal$/.test(name) && !name.startsWith("/repair/"))
      files.set(name, readFileSync(file).toString("base64"));
  }
  return files;
}

async function expectWhole(directory: string, replay: string): Promise<void> {
  const index = await open(directory);
  expect((await index.check()).faults, replay).toEqual([]);
  expect(index.size, replay).toBe(n);
  for (const i of [0, 7, n - 1]) {
    expect(index.get(i), replay).toMatchObject({ vector: rowOf(rows, i, d), payload: { i } });
    expect(index.search(rowOf(rows, i, d), { k: 1 }), replay).toMatchObject([{ id: i, distance: 0 }]);
  }
  expect(index.stats().learning.events, replay).toBe(10);
  await index.close();
}

test("killed at random moments", async () => {
  const prng = new Prng(SEED);
  const seen = { asBefore: 0, repaired: 0 };
  const bytes = filesOf(damaged);
  let tookMs = 400;
  for (let kill = 0; kill < KILLS; kill++) {
    const directory = path(`killed-${kill}`);
    cpSync(damaged, directory, { recursive: true });
    const child = fork(CHILD, [directory], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const ended = once(child, "exit");
    await once(child, "message");
    const began = performance.now();
    const timer = setTimeout(() => child.kill("SIGKILL"), prng.next() * 1.2 * tookMs);
    const [code, signal] = await ended;
    clearTimeout(timer);
    if (signal === null) tookMs = performance.now() - began;
    expect(signal === "SIGKILL" || code === 0, `${replay}: ended with ${code}`).toBe(true);
    // Either it never came to its moment, and not a byte has changed; or opening ends it.
    const isReady =
      readdirSync(directory).includes("repair") && readdirSync(join(directory, "repair")).includes("ready");
    const after = filesOf(directory);
    const isAsBefore = !isReady && isSame(after, bytes);
    seen[isAsBefore ? "asBefore" : "repaired"]++;
    if (isAsBefore) expect(await repair(directory), replay).toMatchObject({ ok: true, repaired: true, lost: [] });
    await expectWhole(directory, replay);
    expect(await repair(directory), replay).toMatchObject({ ok: true, repaired: false, faults: [] });
    expect(readdirSync(directory)).not.toContain("repair");
    rmSync(directory, { recursive: true });
  }
  expect(seen.asBefore, JSON.stringify(seen)).toBeGreaterThan(0);
});

const isSame = (a: Map<string, string>, b: Map<string, string>): boolean =>
  a.size === b.size && [...a].every(([name, content]) => b.get(name) === content);

/** A damaged store with a repair that is ready and none of whose files has taken its place. */
async function readyAt(name: string): Promise<string> {
  const directory = path(name);
  const whole = path(`${name}-whole`);
  cpSync(damaged, whole, { recursive: true });
  await repair(whole);
  cpSync(damaged, directory, { recursive: true });
  mkdirSync(join(directory, "repair"));
  for (const one of ["index.hebb", "catalog.sqlite", "wal"]) {
    renameSync(join(whole, one), join(directory, "repair", one));
  }
  return directory;
}

const MUTATIONS = ["rename", "unlink", "makeDirectory", "syncDirectory"] as const;

/** The disk, until the `most`-th call that changes something, which fails and does nothing. */
function failingAt(most: number): { files: Files; calls: () => number } {
  let calls = 0;
  const files: Files = { ...diskFiles };
  for (const name of MUTATIONS) {
    const call = diskFiles[name] as (...args: string[]) => Promise<void>;
    (files as unknown as Record<string, typeof call>)[name] = async (...args) => {
      if (++calls >= most) throw new HebbError("IO_ERROR", `${name} fails`);
      await call.apply(diskFiles, args);
    };
  }
  return { files, calls: () => calls };
}

test("every step by which files take their places can be the last before a crash", async () => {
  const ready = await readyAt("ready");
  writeFileSync(join(ready, "wal", "0000000000000001.wal"), "a segment of the old log");
  await markReady(diskFiles, ready);
  let steps = 0;
  for (let most = 1; ; most++) {
    const directory = path(`step-${most}`);
    cpSync(ready, directory, { recursive: true });
    const { files, calls } = failingAt(most);
    const error = await finishRepair(files, directory).catch((thrown: unknown) => thrown);
    if (error === undefined) {
      steps = calls();
      const built = filesOf(join(ready, "repair"));
      const placed = filesOf(directory);
      for (const name of ["/index.hebb", "/catalog.sqlite"]) expect(placed.get(name) === built.get(name)).toBe(true);
      expect(readdirSync(join(directory, "wal"))).toEqual(readdirSync(join(ready, "repair", "wal")));
      expect(placed.has("/index.hebb-journal")).toBe(false);
      break;
    }
    expect(error).toMatchObject({ code: "IO_ERROR" });
    // The last step but one takes the mark away: all files are in their places by then.
    const isReady = readdirSync(join(directory, "repair")).includes("ready");
    if (isReady) expect((await errorOf(() => open(directory, { readOnly: true }))).code).toBe("STORE_READ_ONLY");
    await expectWhole(directory, `step ${most}`);
    rmSync(directory, { recursive: true });
  }
  expect(steps).toBeGreaterThan(8);
});

test("before the mark is whole, the store is as it was", async () => {
  const directory = await readyAt("unmarked");
  for (let most = 1; most <= 4; most++) {
    const { files } = failingAt(most);
    expect(await markReady(files, directory).catch((error: HebbError) => error.code)).toBe("IO_ERROR");
    expect(isSame(filesOf(directory), filesOf(damaged))).toBe(true);
  }
  expect(await repair(directory)).toMatchObject({ ok: true, repaired: true });
  await expectWhole(directory, "after the mark failed");
});

test("who waited to read while a repair was cut short does not read what is half in place", async () => {
  const directory = path("waited");
  cpSync(damaged, directory, { recursive: true });
  const repairing = await diskFiles.lockDirectory(directory, "exclusive");
  const reading = errorOf(() => open(directory, { readOnly: true }));
  await delay(100); // it has seen that no repair is to be ended, most likely, and waits
  mkdirSync(join(directory, "repair"));
  writeFileSync(join(directory, "repair/ready"), "{}");
  await repairing?.release();
  expect(await reading).toMatchObject({ code: "STORE_READ_ONLY", message: expect.stringContaining("being repaired") });
});

test("nobody writes while a repair looks for what contradicts itself", async () => {
  const directory = path("written");
  const index = await open(directory, { dimensions: d, metric: "l2", durability: "off" });
  await index.putMany({ ids: range(n), vectors: rows });
  await index.close();
  let over = false;
  const repairing = repair(directory).finally(() => {
    over = true;
  });
  while (!over && !(await hasWriter(directory))) await delay(1);
  const codes = new Set<unknown>();
  while (!over) {
    const writer = await open(directory).catch(({ code }: HebbError) => code);
    if (typeof writer === "object") {
      expect(over).toBe(true);
      await writer.close();
    } else {
      codes.add(writer);
    }
  }
  expect(await repairing).toMatchObject({ ok: true, repaired: false });
  expect([...codes]).toEqual(["STORE_LOCKED"]);
});
