/** How fast rows are taken: until they are acknowledged, at which time every search finds them, and until they are linked. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Durability, type Index, open } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { median, percentile } from "../stats.js";
import type { GraphSettings } from "./engine.js";

/** Rows of one `putMany`; the next is called when it resolved. */
export interface IngestCase {
  durability: Durability;
  batch: number;
}

interface IngestRun {
  acknowledgedSeconds: number;
  /** From the first row handed over until the last one was linked, the look-ups below within. */
  linkedSeconds: number;
  /** Not linked yet when the last batch was acknowledged. */
  backlog: number;
  /** Of `looked` rows spread over all, searched for right then: how many came first, or lay at distance 0. */
  found: number;
  looked: number;
  /** Of those searches. */
  p50Ms: number;
  p99Ms: number;
}

export interface IngestResult extends IngestCase {
  runs: IngestRun[];
  /** Medians over the runs. Vectors/s, and seconds from the last acknowledgement until all were linked. */
  acknowledgedPerSecond: number;
  linkedPerSecond: number;
  catchUpSeconds: number;
}

const LOOKED = 200;

/** Each run in a store of its own; the cases take turns. Rows have an id and a vector, no payload. */
export async function measureIngest(
  set: AnnSet,
  { graph, folder }: { graph: GraphSettings; folder: string },
  { cases, repeats }: { cases: IngestCase[]; repeats: number },
): Promise<IngestResult[]> {
  const runs = cases.map((): IngestRun[] => []);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [which, one] of cases.entries()) {
      globalThis.gc?.();
      runs[which].push(await ingest(set, graph, join(folder, `ingest-${repeat}-${which}.hebb`), one));
    }
  }
  return cases.map((one, which) => {
    const of = (pick: (run: IngestRun) => number) => median(runs[which].map(pick));
    return {
      ...one,
      runs: runs[which],
      acknowledgedPerSecond: set.n / of(({ acknowledgedSeconds }) => acknowledgedSeconds),
      linkedPerSecond: set.n / of(({ linkedSeconds }) => linkedSeconds),
      catchUpSeconds: of(({ linkedSeconds, acknowledgedSeconds }) => linkedSeconds - acknowledgedSeconds),
    };
  });
}

async function ingest(set: AnnSet, graph: GraphSettings, path: string, one: IngestCase): Promise<IngestRun> {
  const { n, d, base } = set;
  const index = await open(path, {
    dimensions: d,
    metric: "l2",
    durability: one.durability,
    config: { ruvector: { hnsw_m: graph.m, hnsw_ef_construction: graph.efConstruction } },
  });
  const batches = Array.from({ length: Math.ceil(n / one.batch) }, (_, at) => {
    const [from, to] = [at * one.batch, Math.min(n, (at + 1) * one.batch)];
    return { ids: Array.from({ length: to - from }, (_, i) => from + i), vectors: base.subarray(from * d, to * d) };
  });
  const start = performance.now();
  for (const batch of batches) await index.putMany(batch);
  const acknowledged = performance.now();
  const { backlog } = index.stats();
  const looked = lookUp(index, set);
  await index.settle();
  const linked = performance.now();
  await index.close();
  rmSync(path, { recursive: true, force: true });
  return {
    acknowledgedSeconds: (acknowledged - start) / 1e3,
    linkedSeconds: (linked - start) / 1e3,
    backlog,
    ...looked,
  };
}

/** Searches for rows themselves, the last one included. */
function lookUp(index: Index, { n, d, base }: AnnSet): Pick<IngestRun, "found" | "looked" | "p50Ms" | "p99Ms"> {
  const looked = Math.min(n, LOOKED);
  const latenciesMs: number[] = [];
  let found = 0;
  for (let i = 1; i <= looked; i++) {
    const row = Math.floor((i * n) / looked) - 1;
    const start = performance.now();
    const [hit] = index.search(base.subarray(row * d, (row + 1) * d), { k: 1, include: [] });
    latenciesMs.push(performance.now() - start);
    if (hit && (hit.id === row || hit.distance === 0)) found++;
  }
  return { found, looked, p50Ms: percentile(latenciesMs, 0.5), p99Ms: percentile(latenciesMs, 0.99) };
}
