/**
 * kill -9 at random moments of freezing over a bundle: what is there afterwards is the bundle that was acknowledged last,
 * or the one on its way, every byte of it.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type FreezeOptions, open, openFrozen } from "../../src/index.js";
import { figure } from "../support/figures.js";
import { manifestIn } from "../support/frozen.js";
import { killsOf, replay, SEED } from "../support/kills.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const KILLS = killsOf("frozen");
const CHILD = fileURLToPath(new URL("../support/freeze-child.mjs", import.meta.url));
const path = scratch();

/** Bundles that share some of their files, and others not. */
const WAYS: FreezeOptions[] = [{}, { seed: 1, bits: 1 }, { rotation: "haar", bits: 8 }, { rerankFactor: 3 }];

test("killed again and again, a freeze leaves the bundle before it or the new one, whole", async () => {
  const prng = new Prng(SEED);
  const [n, d] = [1500, 32];
  const rows = randomRows(n, d, 5);
  const source = await open(path("index.hebb"), { dimensions: d, metric: "cosine", durability: "off" });
  await source.putMany({ ids: range(n), vectors: rows, payloads: range(n).map((i) => ({ i })) });
  await source.settle();
  const witnesses: string[] = [];
  for (const way of WAYS) {
    const frozen = await source.freeze(path("reference"), way);
    witnesses.push(frozen.witness);
    await frozen.close();
  }
  expect(new Set(witnesses).size).toBe(WAYS.length);
  const truth = source.search(rowOf(rows, 9, d), { exact: true });
  let last = 0;
  await (await source.freeze(path("frozen"), { ...WAYS[0], generation: last })).close();
  await source.close();

  let pending: number | undefined;
  let interrupted = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const argv = [path("index.hebb"), path("frozen"), String((pending ?? last) + 1), JSON.stringify(WAYS)];
    const child = fork(CHILD, argv, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    let more = prng.below(3); // freezes that it gets through before the one at which it dies
    const delayMs = kill % 3 === 0 ? 0 : prng.below(60);
    const failures: unknown[] = [];
    pending = undefined;
    let timer: NodeJS.Timeout | undefined;
    child.on("message", (message: { freezing?: number; done?: number; witness?: string }) => {
      if (message.freezing !== undefined) {
        pending = message.freezing;
        if (more-- === 0) timer = setTimeout(() => child.kill("SIGKILL"), delayMs);
      } else {
        last = message.done!;
        pending = undefined;
        if (message.witness !== witnesses[last % WAYS.length]) failures.push(new Error(`${replay}: freeze ${last}`));
      }
    });
    const [[code, signal]] = await Promise.all([once(child, "exit"), once(child, "disconnect")]); // all it said has come
    clearTimeout(timer);
    if (failures.length > 0) throw failures[0];
    expect({ code, signal }, replay).toEqual({ code: null, signal: "SIGKILL" });
    if (pending !== undefined) interrupted++;

    const frozen = await openFrozen(path("frozen"), { verify: "eager" });
    const generation = frozen.stats().generation as number;
    expect([last, pending], replay).toContain(generation);
    expect(frozen.witness, replay).toBe(witnesses[generation % WAYS.length]);
    expect(frozen.search(rowOf(rows, 9, d), { rerankFactor: 1024 }), replay).toEqual(truth);
    expect(frozen.get(77), replay).toEqual({ id: 77, vector: rowOf(rows, 77, d), payload: { i: 77 } });
    await frozen.close();
    last = generation; // on its way, and there: then it stays
  }
  expect(last, replay).toBeGreaterThan(KILLS / 4); // it did freeze in between,
  expect(interrupted, replay).toBeGreaterThan(0); // and was stopped at it

  // What the dead left is gone with the next freeze.
  const again = await open(path("index.hebb"), { readOnly: true });
  const frozen = await again.freeze(path("frozen"), { ...WAYS[1], generation: 1 });
  expect(frozen.witness).toBe(witnesses[1]);
  await frozen.close();
  await again.close();
  const names = ["manifest.json", ...manifestIn(path("frozen")).sections.map(({ file }) => file)].sort();
  expect(readdirSync(path("frozen")).sort()).toEqual(names);
  figure(1, "kills of freezes: the bundle before or the new one, every byte", KILLS);
});
