/** hnswlib-node. Its binding takes plain arrays and has one thread for adding and for searching. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { AnnSet } from "../data.js";
import { loadRival } from "../rivals.js";
import { type Engine, type GraphSettings, queryRows } from "./engine.js";

interface HnswlibIndex {
  initIndex(capacity: number, m: number, efConstruction: number, randomSeed: number): void;
  addPoint(point: number[], label: number): void;
  setEf(ef: number): void;
  searchKnn(query: number[], k: number): { neighbors: number[] };
  writeIndexSync(path: string): void;
}
interface Hnswlib {
  HierarchicalNSW: new (space: "l2", dimensions: number) => HnswlibIndex;
}

export function hnswlibEngine(set: AnnSet, { m, efConstruction }: GraphSettings, folder: string): Engine {
  const rival = loadRival("hnswlib-node")!;
  const { HierarchicalNSW } = rival.module as Hnswlib;
  const index = new HierarchicalNSW("l2", set.d);
  const rows = queryRows(set).map((row) => Array.from(row));
  return {
    version: rival.version,
    kernel: undefined,
    buildThreads: 1,
    async build() {
      const start = performance.now();
      index.initIndex(set.n, m, efConstruction, 100);
      for (let i = 0; i < set.n; i++) index.addPoint(Array.from(set.base.subarray(i * set.d, (i + 1) * set.d)), i);
      return { acknowledgedSeconds: (performance.now() - start) / 1e3 };
    },
    useEf(ef) {
      index.setEf(ef);
    },
    search(query, out, at) {
      const { neighbors } = index.searchKnn(rows[query], set.k);
      for (let i = 0; i < set.k; i++) out[at + i] = neighbors[i] ?? -1;
    },
    searchMany: undefined,
    toRows() {},
    async fileBytes() {
      const path = join(folder, "hnswlib.bin");
      index.writeIndexSync(path);
      return statSync(path).size;
    },
    async close() {},
  };
}
