/** Hebb, through its public API: `searchNodes` on one thread, `searchMany` on all. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import { type Index, open } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { CHECKOUT, versionAt } from "../record.js";
import { type Engine, type GraphSettings, queryRows } from "./engine.js";

/** Buckets a row's payload is drawn from: a filter `bucket < b` admits b/1000 of the rows, whatever their vectors. */
export const BUCKETS = 1000;

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

export const openStore = (path: string, set: AnnSet, { m, efConstruction }: GraphSettings): Promise<Index> =>
  open(path, {
    dimensions: set.d,
    metric: "l2",
    durability: "off", // the rivals write nothing while they build either
    indexes: ["bucket"],
    config: { ruvector: { hnsw_m: m, hnsw_ef_construction: efConstruction } },
  });

export interface HebbEngine extends Engine {
  /** The store's directory, and the open index, for the measures that the rivals have no part in. */
  readonly path: string;
  index(): Index;
  /** Takes the place of the open index after a measure closed it. */
  replace(index: Index): void;
}

export async function hebbEngine(set: AnnSet, settings: GraphSettings, folder: string): Promise<HebbEngine> {
  const path = join(folder, "bench.hebb");
  let index = await openStore(path, set, settings);
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
    replace(opened) {
      index = opened;
      rowOfNode.clear();
    },
    version: versionAt(join(CHECKOUT, "package.json")),
    kernel: index.stats().kernel,
    buildThreads: settings.threads,
    async build() {
      const buckets = bucketsOf(set.n);
      const ids = Array.from({ length: set.n }, (_, i) => i);
      const payloads = ids.map((i) => ({ bucket: buckets[i] }));
      const start = performance.now();
      await index.putMany({ ids, vectors: set.base, payloads });
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
