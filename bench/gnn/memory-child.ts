/** The child's side of memory.ts: one store, events learned one by one. */
import { join } from "node:path";
import { memoryUsage } from "node:process";
import { setTimeout } from "node:timers/promises";
import { open } from "../../src/index.js";
import { sheetVectors } from "../generate.js";
import { percentile } from "../stats.js";
import { withFolder } from "../tiers/stores.js";
import { lessons } from "./lessons.js";

export interface MemoryRequest {
  n: number;
  d: number;
  events: number;
}

export interface MemoryResult extends MemoryRequest {
  p50Ms: number;
  p99Ms: number;
  /** Growth over the timed events, garbage collected: V8's heap and buffers, and the resident set. */
  heapBytes: number;
  residentBytes: number;
  /** The resident set at the end. */
  resident: number;
  /** Events in the store at the end. */
  learned: number;
}

const QUERIES = 500;
const PUT = 50_000;

async function measure({ n, d, events }: MemoryRequest): Promise<MemoryResult> {
  const rows = sheetVectors(n + QUERIES, d, 1);
  return withFolder(async (folder) => {
    const index = await open(join(folder, "memory.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    for (let at = 0; at < n; at += PUT) {
      const to = Math.min(n, at + PUT);
      await index.putMany({
        ids: Array.from({ length: to - at }, (_, i) => at + i),
        vectors: rows.subarray(at * d, to * d),
      });
    }
    await index.settle();
    const untimed = Math.ceil(events / 4);
    const all = lessons(index, rows.subarray(n * d), d, untimed + events);
    for (const event of all.slice(0, untimed)) await index.learn([event]);
    const before = await quiet();
    const ms: number[] = [];
    for (const event of all.slice(untimed)) {
      const start = performance.now();
      await index.learn([event]);
      ms.push(performance.now() - start);
    }
    const after = await quiet();
    const learned = index.stats().learning.events;
    await index.close();
    return {
      n,
      d,
      events,
      p50Ms: percentile(ms, 0.5),
      p99Ms: percentile(ms, 0.99),
      heapBytes: after.heap - before.heap,
      residentBytes: after.resident - before.resident,
      resident: after.resident,
      learned,
    };
  });
}

async function quiet(): Promise<{ heap: number; resident: number }> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await setTimeout(30);
  }
  const { heapUsed, arrayBuffers, rss } = memoryUsage();
  return { heap: heapUsed + arrayBuffers, resident: rss };
}

process.once("message", (request: MemoryRequest) => {
  measure(request).then(
    (result) => {
      process.send!(result);
      process.disconnect();
    },
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
