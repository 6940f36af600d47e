/** The child's side of protocol.ts: holds one engine and answers requests about it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { memoryUsage } from "node:process";
import { setTimeout } from "node:timers/promises";
import { type AnnSet, loadAnn } from "../data.js";
import { measureChurn } from "./churn.js";
import type { Engine, EngineName } from "./engine.js";
import { measureFilters } from "./filters.js";
import { type HebbEngine, hebbEngine } from "./hebb.js";
import { hnswlibEngine } from "./hnswlib.js";
import type { BuildResult, Pass, RequestName, Requests, Setup } from "./protocol.js";
import { measureReopen } from "./reopen.js";
import { usearchEngine } from "./usearch.js";

let setup: Setup;
let set: AnnSet;
let engine: Engine;
let residentBefore = 0;

type Handlers = { [Name in RequestName]: (input: Requests[Name][0]) => Promise<Requests[Name][1]> };

const handlers: Handlers = {
  async setup(input) {
    setup = input;
    set = loadAnn(input.spec, input.kth);
    return { n: set.n, d: set.d };
  },

  async build() {
    residentBefore = await quietResident();
    startPeak();
    engine = await createEngine(setup.engine);
    const start = performance.now();
    const { acknowledgedSeconds } = await engine.build();
    const seconds = (performance.now() - start) / 1e3;
    const peak = peakResident();
    const result: Omit<BuildResult, "fileBytes"> = {
      version: engine.version,
      rows: set.n,
      kernel: engine.kernel,
      threads: engine.buildThreads,
      acknowledgedSeconds,
      seconds,
      peakBytes: peak === undefined ? undefined : peak - residentBefore,
    };
    return { ...result, fileBytes: await engine.fileBytes() };
  },

  resident: async () => (await quietResident()) - residentBefore,

  async pass({ ef, many }) {
    if (many && !engine.searchMany) return undefined;
    engine.useEf(ef);
    collectGarbage();
    return many ? passTogether() : passOneByOne();
  },

  reopen: (input) => measureReopen(hebb(), set, setup.graph, input),
  filters: (input) => measureFilters(hebb().index(), set, input),
  churn: (input) => measureChurn(hebb().index(), set, input),
  close: async () => {
    await engine.close();
    return undefined;
  },
};

async function createEngine(name: EngineName): Promise<Engine> {
  switch (name) {
    case "hebb":
      return hebbEngine(set, setup.graph, setup.folder);
    case "usearch":
      return usearchEngine(set, setup.graph, setup.folder);
    case "hnswlib-node":
      return hnswlibEngine(set, setup.graph, setup.folder);
  }
}

function hebb(): HebbEngine {
  if (!("path" in engine)) throw new Error("only Hebb is measured so");
  return engine as HebbEngine;
}

/** Untimed queries before each timed pass. */
const WARM_UP_QUERIES = 100;

function passOneByOne(): Pass {
  const { nq, k } = set;
  const rows = new Int32Array(nq * k);
  const latenciesMs = new Float64Array(nq);
  // Whoever ran before filled the caches with something else.
  for (let query = 0; query < Math.min(nq, WARM_UP_QUERIES); query++) engine.search(query, rows, query * k);
  const start = performance.now();
  let last = start;
  for (let query = 0; query < nq; query++) {
    engine.search(query, rows, query * k);
    const now = performance.now();
    latenciesMs[query] = now - last;
    last = now;
  }
  engine.toRows(rows);
  return { rows, seconds: (last - start) / 1e3, latenciesMs };
}

async function passTogether(): Promise<Pass> {
  const rows = new Int32Array(set.nq * set.k);
  const start = performance.now();
  await engine.searchMany!(rows);
  const seconds = (performance.now() - start) / 1e3;
  engine.toRows(rows);
  return { rows, seconds, latenciesMs: new Float64Array(0) };
}

const collectGarbage = () => globalThis.gc?.();

/** The resident set once what is garbage has been given back, which takes V8 and the allocator a moment. */
async function quietResident(): Promise<number> {
  let last = Number.POSITIVE_INFINITY;
  for (;;) {
    collectGarbage();
    await setTimeout(100);
    const now = memoryUsage.rss();
    if (now > last - 1e6) return now;
    last = now;
  }
}

/** From here on, `peakResident` tells the highest resident set. Linux keeps that figure and lets a process restart it. */
function startPeak(): void {
  if (existsSync("/proc/self/clear_refs")) writeFileSync("/proc/self/clear_refs", "5");
}

/** Bytes; undefined where the system does not tell. */
function peakResident(): number | undefined {
  if (!existsSync("/proc/self/clear_refs")) return undefined;
  const kilobytes = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

process.on("message", ({ name, input }: { name: RequestName; input: never }) => {
  handlers[name](input).then(
    (output) => process.send!({ output }),
    (error: unknown) =>
      process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
