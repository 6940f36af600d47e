/** The child's side of protocol.ts: holds one engine and answers requests about it. */
import { memoryUsage } from "node:process";
import { setTimeout } from "node:timers/promises";
import { type AnnSet, loadAnn } from "../data.js";
import { answerRequests } from "../remote.js";
import { measureCalls } from "./calls.js";
import { measureChurn } from "./churn.js";
import type { Engine, EngineName } from "./engine.js";
import { measureFilters } from "./filters.js";
import { type HebbEngine, hebbEngine } from "./hebb.js";
import { hnswlibEngine } from "./hnswlib.js";
import { measureIngest } from "./ingest.js";
import { passOneByOne, passTogether } from "./pass.js";
import { peakResident, startPeak } from "./peak.js";
import type { Requests, Setup } from "./protocol.js";
import { digestOf, measureReopen } from "./reopen.js";
import { measureReach } from "./scale.js";
import { usearchEngine } from "./usearch.js";

let setup: Setup;
let set: AnnSet;
let engine: Engine;
let residentBefore = 0;

answerRequests<Requests>({
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
    const fileBytes = await engine.fileBytes();
    return {
      version: engine.version,
      rows: set.n,
      kernel: engine.kernel,
      threads: engine.buildThreads,
      acknowledgedSeconds,
      seconds,
      peakBytes: peak === undefined ? undefined : peak - residentBefore,
      fileBytes,
      graph: isHebb(engine) ? engine.graph() : undefined,
    };
  },

  async attach() {
    engine = await createEngine(setup.engine);
    return engine.kernel;
  },

  resident: async () => (await quietResident()) - residentBefore,

  async pass({ ef, many }) {
    engine.useEf(ef);
    collectGarbage();
    return many ? passTogether(engine, set) : passOneByOne(engine, set);
  },

  digest: async ({ ef }) => digestOf(hebb().index(), set, ef),
  calls: (input) => measureCalls(hebb().index(), set, input),
  reopen: (input) => measureReopen(hebb(), set, input),
  filters: (input) => measureFilters(hebb().index(), set, input),
  churn: (input) => measureChurn(hebb().index(), set, input),
  ingest: (input) => measureIngest(set, setup, input),
  reach: (input) => measureReach(hebb(), set, input),

  async release() {
    await engine.close();
    return hebb().path;
  },
  async resume() {
    await hebb().open();
    return undefined;
  },
  async close() {
    await engine.close();
    return undefined;
  },
});

async function createEngine(name: EngineName): Promise<Engine> {
  switch (name) {
    case "hebb":
      return hebbEngine(set, setup.graph, setup.hebb, setup.folder);
    case "usearch":
      return usearchEngine(set, setup.graph, setup.folder);
    case "hnswlib-node":
      return hnswlibEngine(set, setup.graph, setup.folder);
  }
}

const isHebb = (some: Engine): some is HebbEngine => "graph" in some;

function hebb(): HebbEngine {
  if (!isHebb(engine)) throw new Error("only Hebb is measured so");
  return engine;
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
