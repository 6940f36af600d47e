/** `learn` of one event, durable, in a store of real size; and what a search takes while events are learned. */
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import { type Index, open } from "../../src/index.js";
import { atMost, type Claim } from "../claims.js";
import { type AnnSet, loadAnn } from "../data.js";
import { mean, percentile } from "../stats.js";
import { count, fixed, table } from "../table.js";
import { withFolder } from "../tiers/stores.js";
import { recallOf } from "../truth.js";
import { lessons } from "./lessons.js";
import type { GnnOptions } from "./options.js";

interface Latencies {
  /** Milliseconds of the calls themselves. */
  callMs: number[];
  /** From when a search was due until it had its hits: learning on the same thread makes it wait. */
  answerMs: number[];
}

export interface LearningResult {
  data: string;
  n: number;
  d: number;
  recall: number;
  /** Of `learn` with one event, awaited: it is on the disk then. */
  learnMs: number[];
  alone: Latencies;
  beside: Latencies;
  /** Events learned while searches were timed. */
  eventsBeside: number;
}

const EF = 64;
/** Searches are due so far apart. */
const EVERY_MS = 5;
const LEARN_MS = 5;
/** A search beside learning may take so many times as long as alone. */
const SEARCH_BESIDE = 1.1;

export async function measureLearning({ learn }: GnnOptions, claims: Claim[]): Promise<LearningResult> {
  const set = loadAnn(learn.spec);
  const { n, d } = set;
  return withFolder(async (folder) => {
    const index = await open(join(folder, "learn.hebb"), { dimensions: d, metric: "l2" }); // durability: sync
    try {
      await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: set.base });
      await index.settle();
      const recall = recallIn(index, set);
      const events = lessons(index, set.queries, d, 2 * learn.events);
      await timeSearches(index, set, Math.min(20, set.nq)); // untimed: pages and code warm up
      const alone = await timeSearches(index, set, set.nq);
      const learnMs: number[] = [];
      for (const event of events.slice(0, learn.events)) {
        const before = performance.now();
        await index.learn([event]);
        learnMs.push(performance.now() - before);
      }
      let searching = true;
      let eventsBeside = 0;
      const learning = (async () => {
        for (let i = 0; searching; i++) {
          await index.learn([events[learn.events + (i % learn.events)]]);
          eventsBeside++;
          await setImmediate();
        }
      })();
      const beside = await timeSearches(index, set, set.nq);
      searching = false;
      await learning;
      const result = { data: set.name, n, d, recall, learnMs, alone, beside, eventsBeside };
      print(result);
      const show = (value: number) => `${value.toFixed(2)} ms`;
      claims.push(
        {
          name: `${set.name}: the events were kept`,
          kind: "assertion",
          holds: index.stats().learning.events === learn.events + eventsBeside,
          figure: count(index.stats().learning.events),
        },
        {
          name: `${set.name}: recall@10 of the store that learns is >= .95 at ef ${EF}`,
          kind: "assertion",
          holds: recall >= 0.95,
          figure: fixed(recall),
        },
        atMost(`${set.name}: learn of one event, durable, p50`, percentile(learnMs, 0.5), LEARN_MS, show),
        atMost(
          `${set.name}: a search's own time beside learning, p50, over alone`,
          percentile(beside.callMs, 0.5) / percentile(alone.callMs, 0.5),
          SEARCH_BESIDE,
          (value) => `${value.toFixed(2)}x`,
        ),
      );
      return result;
    } finally {
      await index.close();
    }
  });
}

function recallIn(index: Index, set: AnnSet): number {
  const results = new Int32Array(set.nq * set.k).fill(-1);
  for (let i = 0; i < set.nq; i++) {
    const hits = index.search(queryOf(set, i), { k: set.k, ef: EF, include: [] });
    hits.forEach(({ id }, at) => {
      results[i * set.k + at] = Number(id);
    });
  }
  return recallOf(results, set, set.kth);
}

/** One search each `EVERY_MS`; one that is late is made at once, and its lateness counts. */
async function timeSearches(index: Index, set: AnnSet, searches: number): Promise<Latencies> {
  const out: Latencies = { callMs: [], answerMs: [] };
  let due = performance.now() + EVERY_MS;
  for (let i = 0; i < searches; i++) {
    while (performance.now() < due) {
      const left = due - performance.now();
      await (left > 2 ? setTimeout(left - 2) : setImmediate()); // timers are late by up to a millisecond
    }
    const before = performance.now();
    index.search(queryOf(set, i), { k: set.k, ef: EF, include: [] });
    const after = performance.now();
    out.callMs.push(after - before);
    out.answerMs.push(after - due);
    due = Math.max(due + EVERY_MS, after);
  }
  return out;
}

const queryOf = ({ queries, d, nq }: AnnSet, i: number) => queries.subarray((i % nq) * d, ((i % nq) + 1) * d);

function print({ data, n, d, recall, learnMs, alone, beside, eventsBeside }: LearningResult): void {
  const row = (name: string, ms: number[]) => [
    name,
    mean(ms).toFixed(3),
    percentile(ms, 0.5).toFixed(3),
    percentile(ms, 0.99).toFixed(3),
    String(ms.length),
  ];
  console.log(`${data}: ${count(n)} x ${d}, recall@10 ${fixed(recall)} at ef ${EF}; each event durable (sync)`);
  console.log(
    `${table(
      ["ms", "mean", "p50", "p99", "of"],
      [
        row("learn of one event", learnMs),
        row("search alone, the call", alone.callMs),
        row("search alone, until answered", alone.answerMs),
        row(`search beside ${count(eventsBeside)} events, the call`, beside.callMs),
        row("search beside them, until answered", beside.answerMs),
      ],
    )}\n`,
  );
}
