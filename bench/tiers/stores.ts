/** Stores in temporary folders, as the parts of `bench tiers` need them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConfigInput, type Index, open } from "../../src/index.js";

/** Nothing moves by itself: rounds are days apart, and no number of accesses that a bench makes promotes. */
export const STILL = {
  hot_threshold: 0.9,
  warm_threshold: 0.89,
  cool_threshold: 0.88,
  cold_threshold: 0.87,
  promotion_threshold: 100,
  recompress_interval_s: 604_800,
  access_decay_halflife_s: 31_536_000,
} as const;

/** A graph that is linked quickly, for what does not walk it. */
export const LOOSE = { hnsw_m: 4, hnsw_ef_construction: 8 } as const;

/** Runs `task` with a folder that is gone afterwards. */
export async function withFolder<T>(task: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "hebb-bench-tiers-"));
  try {
    return await task(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Opens an empty store of squared L2, runs `task` and closes it. */
export async function withStore<T>(
  path: string,
  { dimensions, config }: { dimensions: number; config: ConfigInput },
  task: (index: Index) => Promise<T>,
): Promise<T> {
  const index = await open(path, { dimensions, metric: "l2", durability: "off", config });
  try {
    return await task(index);
  } finally {
    await index.close();
  }
}

/** Row i gets the id `first` + i. */
export const putRows = (
  index: Index,
  vectors: Float32Array,
  payloads?: { [key: string]: string }[],
  first = 0,
): Promise<void> =>
  index.putMany({
    ids: Array.from({ length: vectors.length / index.dimensions }, (_, i) => first + i),
    vectors,
    ...(payloads ? { payloads } : {}),
  });

/** The ids of an exhaustive or a graph search of all queries, k a query, -1 where fewer came back. */
export async function searchAll(
  index: Index,
  queries: Float32Array,
  options: { k: number; ef?: number; exact?: boolean; rerank?: number | false },
): Promise<Int32Array> {
  const lists = await index.searchMany(queries, { ...options, include: [] });
  const out = new Int32Array(lists.length * options.k).fill(-1);
  lists.forEach((hits, query) => {
    hits.forEach(({ id }, i) => {
      out[query * options.k + i] = id as number;
    });
  });
  return out;
}

/** The k nearest rows of each query, by the originals. */
export const exactNeighbours = (base: Float32Array, queries: Float32Array, d: number, k: number): Promise<Int32Array> =>
  withFolder((folder) =>
    withStore(
      join(folder, "exact.hebb"),
      { dimensions: d, config: { ruvector: LOOSE, tensor_compress: STILL } },
      async (index) => {
        await putRows(index, base);
        return searchAll(index, queries, { k, exact: true });
      },
    ),
  );
