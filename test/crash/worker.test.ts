/** A worker thread that ends while the kernel works for it takes neither the process nor what it was acknowledged with it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { open } from "../../src/index.js";
import { scratch } from "../support/rows.js";

const path = scratch();
const WORKER = new URL("../support/ending-worker.mjs", import.meta.url).href;

test("a thread that ends in the middle of its work leaves the process running and its store whole", async () => {
  const delays = [0, 1, 3, 10, 30];
  const program = `
    import { Worker } from "node:worker_threads";
    import { once } from "node:events";
    for (const delayMs of ${JSON.stringify(delays)}) {
      const at = ${JSON.stringify(path("ending"))} + delayMs;
      await once(new Worker(new URL(${JSON.stringify(WORKER)}), { workerData: { at, delayMs }, execArgv: [] }), "exit");
    }
    process.exit(42);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([42, null]);
  for (const delayMs of delays) {
    const index = await open(path(`ending${delayMs}`));
    expect(index.size).toBe(3000);
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  }
});
