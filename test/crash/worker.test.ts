/**
 * A worker thread that ends while the kernel works for it takes neither the process nor what it was acknowledged with it;
 * nor does garbage collection take memory that a task is reading.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { open } from "../../src/index.js";
import { scratch } from "../support/rows.js";
import { long } from "../support/seed.js";

const path = scratch();
const WORKER = new URL("../support/ending-worker.mjs", import.meta.url).href;
const GARBAGE = new URL("../support/garbage-child.mjs", import.meta.url);
const bundle = path("bundle");

beforeAll(async () => {
  const index = await open(path("template"), { dimensions: 8, metric: "l2" });
  const vectors = Float32Array.from({ length: 3000 * 8 }, (_, i) => Math.sin(i * i));
  await index.putMany({ ids: Array.from({ length: 3000 }, (_, i) => i), vectors });
  await (await index.freeze(bundle)).close();
  await index.close();
});

test("a thread that ends in the middle of its work leaves the process running and its store whole", async () => {
  const delays = long ? Array.from({ length: 40 }, (_, i) => 2 * i) : [0, 3, 30, 100];
  const program = `
    import { Worker } from "node:worker_threads";
    import { once } from "node:events";
    for (const delayMs of ${JSON.stringify(delays)}) {
      const workerData = { at: ${JSON.stringify(path("ending"))} + delayMs, delayMs, bundle: ${JSON.stringify(bundle)} };
      const worker = new Worker(new URL(${JSON.stringify(WORKER)}), { workerData, execArgv: [] });
      await once(worker, "exit");
      globalThis.gc();
    }
    process.exit(42);`;
  const child = spawn(process.execPath, ["--expose-gc", "--input-type=module", "-e", program], { stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([42, null]);
  for (const delayMs of delays) {
    const index = await open(path(`ending${delayMs}`));
    expect(index.size).toBe(3000);
    expect((await index.check()).faults).toEqual([]);
    await index.close();
    rmSync(path(`ending${delayMs}`), { recursive: true });
  }
});

test("handles that nobody holds any more are collected, and no task loses what it reads", async () => {
  const args = ["--expose-gc", GARBAGE.pathname, path("garbage"), bundle, String(long ? 40 : 4)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([42, null]);
});
