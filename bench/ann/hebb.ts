/** Hebb, through its public API: `searchNodes` on one thread, `searchMany` on all. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import { type Index, open } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { CHECKOUT, versionAt } from "../record.js";
import { type Engine, type GraphFigures, type GraphSettings, type HebbSettings, queryRows } from "./engine.js";

/** Buckets a row's payload is drawn from: a filter `bucket < b` admits b/1000 of the rows, whatever their vectors. */
export const BUCKETS = 1000;

/** Rows of one `putMany`: all of them, unless they are very many. */
const BATCH = 100_000;

/** The bucket of each row, uniform and seeded. */
export function bucketsOf(n: number): Uint16Array {
  const random = new Prng(1000);
  return Uint16Array.from({ length: n }, () => random.below(BUCKETS));
}

export function directoryBytes(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, entry) => sum + directoryBytes(join(path, entry)), 0);
}

export interface HebbEngine extends Engine {
  /** The store's directory, and the open index, for the measures that the rivals have no part in. */
  readonly path: string;
  index(): Index;
  graph(): GraphFigures;
  /** Opens the store once more as it was opened first, and takes that index from now on; the one before was closed. */
  open(): Promise<Index>;
}

export async function hebbEngine(
  set: AnnSet,
  settings: GraphSettings,
  hebb: HebbSettings,
  folder: string,
): Promise<HebbEngine> {
  const path = hebb.attach ?? join(folder, `${hebb.profile}.hebb`);
  const openIndex = () => openStore(path, set, settings, hebb);
  let index = await openIndex();
  const rows = queryRows(set);
  const { k } = set;
  const nodes = new Uint32Array(k);
  const distances = new Float32Array(k);
  const rowOfNode = new Map<number, number>();
  let useEf = 64;
  let inNodes = false;
  return {
    path,
    index: () => index,
    graph: () => {
      const { graph, bytes, size } = index.stats();
      return { ...graph, fileBytesPerVector: bytes.file / size };
    },
    async open() {
      index = await openIndex();
      rowOfNode.clear();
      return index;
    },
    version: versionAt(join(CHECKOUT, "package.json")),
    kernel: index.stats().kernel,
    buildThreads: settings.threads,
    async build() {
      const { n, d, base } = set;
      const buckets = bucketsOf(n);
      const batches = Array.from({ length: Math.ceil(n / BATCH) }, (_, at) => {
        const [from, to] = [at * BATCH, Math.min(n, (at + 1) * BATCH)];
        const ids = Array.from({ length: to - from }, (_, i) => from + i);
        return { ids, vectors: base.subarray(from * d, to * d), payloads: ids.map((i) => ({ bucket: buckets[i] })) };
      });
      const start = performance.now();
      for (const batch of batches) await index.putMany(batch);
      const acknowledgedSeconds = (performance.now() - start) / 1e3;
      await index.settle();
      return { acknowledgedSeconds };
    },
    useEf(ef) {
      useEf = ef;
    },
    search(query, out, at) {
      inNodes = true;
      const found = index.searchNodes(rows[query], k, useEf, nodes, distances);
      for (let i = 0; i < k; i++) out[at + i] = i < found ? nodes[i] : -1;
    },
    async searchMany(out) {
      inNodes = false;
      const many = await index.searchMany(set.queries, { k, ef: useEf, include: [] });
      many.forEach((hits, query) => {
        for (let i = 0; i < k; i++) out[query * k + i] = i < hits.length ? (hits[i].id as number) : -1;
      });
    },
    toRows(out) {
      if (!inNodes) return;
      for (let i = 0; i < out.length; i++) {
        if (out[i] < 0) continue;
        let row = rowOfNode.get(out[i]);
        if (row === undefined) {
          row = index.idOf(out[i]) as number;
          rowOfNode.set(out[i], row);
        }
        out[i] = row;
      }
    },
    async fileBytes() {
      await index.checkpoint();
      return directoryBytes(path);
    },
    close: () => index.close(),
  };
}

function openStore(path: string, set: AnnSet, graph: GraphSettings, hebb: HebbSettings): Promise<Index> {
  const stop = hebb.margin === undefined ? {} : ({ search_stop: "adaptive", search_stop_margin: hebb.margin } as const);
  if (hebb.attach !== undefined) return open(path, { readOnly: true, config: { ruvector: stop } });
  return open(path, {
    dimensions: set.d,
    metric: "l2",
    durability: "off", // the rivals write nothing while they build either
    indexes: ["bucket"],
    config: {
      ruvector: {
        hnsw_m: graph.m,
        hnsw_ef_construction: graph.efConstruction,
        graph_profile: hebb.profile,
        ...stop,
      },
    },
  });
}
