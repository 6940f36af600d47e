/** usearch, f32. Its ef is fixed when an index is made, so the built graph is loaded once for each ef. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { AnnSet } from "../data.js";
import { loadRival } from "../rivals.js";
import { type Engine, type GraphSettings, queryRows } from "./engine.js";

interface UsearchIndex {
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
  search(vectors: Float32Array, k: number, threads: number): { keys: BigUint64Array };
  save(path: string): void;
  load(path: string): void;
}
interface Usearch {
  Index: new (options: {
    metric: string;
    quantization: string;
    dimensions: number;
    connectivity: number;
    expansion_add: number;
    expansion_search: number;
  }) => UsearchIndex;
}

export function usearchEngine(set: AnnSet, { m, efConstruction, threads }: GraphSettings, folder: string): Engine {
  const rival = loadRival("usearch")!;
  const { Index } = rival.module as Usearch;
  const path = join(folder, "usearch.bin");
  const create = (ef: number) =>
    new Index({
      metric: "l2sq",
      quantization: "f32",
      dimensions: set.d,
      connectivity: m,
      expansion_add: efConstruction,
      expansion_search: ef,
    });
  const rows = queryRows(set);
  let index = create(64);

  /** Copies keys (64 bits) into `out`; -1 where there are fewer than k. */
  const copy = (keys: BigUint64Array, out: Int32Array, at: number) => {
    for (let i = 0; i < keys.length; i++) out[at + i] = Number(keys[i]);
    out.fill(-1, at + keys.length, at + Math.max(set.k, keys.length));
  };
  return {
    version: rival.version,
    kernel: undefined,
    buildThreads: threads,
    async build() {
      const start = performance.now();
      index.add(
        BigUint64Array.from({ length: set.n }, (_, i) => BigInt(i)),
        set.base,
        threads,
      );
      return { acknowledgedSeconds: (performance.now() - start) / 1e3 };
    },
    useEf(ef) {
      index = create(ef);
      index.load(path);
    },
    search(query, out, at) {
      copy(index.search(rows[query], set.k, 1).keys, out, at);
    },
    async searchMany(out) {
      copy(index.search(set.queries, set.k, threads).keys, out, 0);
    },
    toRows() {},
    async fileBytes() {
      index.save(path);
      return statSync(path).size;
    },
    async close() {},
  };
}
