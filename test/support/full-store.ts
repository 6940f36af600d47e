/** Stores in which every section and every type of log record has something, for tests that damage them; and their use. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HebbError } from "../../base/errors.js";
import { type Index, open } from "../../src/index.js";
import { clusteredRows } from "./tiers.js";

const FULL_DIMENSIONS = 8;
/** From 256 rows on there is a codebook. */
const ROWS = 300;
const TEXTS = ["a raincoat", "an umbrella", "a sun hat", "boots"];

const rows = clusteredRows(ROWS, FULL_DIMENSIONS, 1);
const rowOf = (i: number): Float32Array => rows.slice(i * FULL_DIMENSIONS, (i + 1) * FULL_DIMENSIONS);
const CONFIG = {
  ruvector: { max_nodes: 5000, hnsw_m: 4 },
  learning: { minimum_events: 30 },
  tensor_compress: { memory_budget: 0.5 },
};

async function changeAll(index: Index, from: number): Promise<void> {
  await index.put(`new ${from}`, rowOf(from), { text: TEXTS[from % 4], n: from });
  await index.putMany(
    [1, 2, 3].map((i) => ({ id: from + i, vector: rowOf((from + 3 * i) % ROWS), payload: { n: i } })),
  );
  await index.delete([from + 1]);
  await index.setPayload(from + 2, { n: "changed" });
  await index.learn([
    { query: rowOf(from + 5), chosen: [from + 2, 7], shown: [from + 3, 7, from + 2], rejected: [from + 3] },
    { query: rowOf(from + 9), chosen: [9], source: "someone" },
  ]);
  await index.gradients.accumulate([7, from + 2].map((id) => ({ id, gradient: rowOf(id % ROWS) })));
  await index.gradients.apply({ optimizer: from % 2 ? "sgd" : "adam" });
  await index.gradients.accumulate([{ id: 8, gradient: rowOf(8) }]);
}

/**
 * Makes two stores in a directory: `full`, with a checkpoint of everything and the same again in its log; and `young`, of
 * which there is a log alone. Both as a killed process leaves them.
 */
export async function makeFullStores(directory: string): Promise<{ full: string; young: string }> {
  const made = join(directory, "made");
  const create = { dimensions: FULL_DIMENSIONS, metric: "l2", config: CONFIG, durability: "off" } as const;
  let index = await open(made, create);
  await index.putMany({ ids: Array.from({ length: ROWS }, (_, i) => i), vectors: rows });
  await index.settle();
  await index.retier();
  await changeAll(index, 20);
  await index.close();
  index = await open(made, { config: CONFIG, durability: "off" });
  await changeAll(index, 41);
  await index.settle();
  const full = join(directory, "full");
  cpSync(made, full, { recursive: true });
  await index.close();
  index = await open(join(directory, "made-young"), create);
  await index.putMany({ ids: Array.from({ length: 60 }, (_, i) => i), vectors: rows.slice(0, 60 * FULL_DIMENSIONS) });
  await changeAll(index, 20);
  await index.settle();
  const young = join(directory, "young");
  cpSync(join(directory, "made-young"), young, { recursive: true });
  await index.close();
  for (const name of ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"]) {
    rmSync(join(young, name), { force: true });
  }
  for (const one of [full, young]) rmSync(join(one, "LOCK"), { force: true });
  return { full, young };
}

/**
 * Opens a store that may be damaged and reads all of it; `thorough`: it is checked and changed, too. Returns the codes of what it
 * refused, that of opening it first. Whatever is not a HebbError is thrown.
 */
export async function useStore(directory: string, thorough: boolean): Promise<string[]> {
  const refused: string[] = [];
  const attempt = async <T>(what: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await what();
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      refused.push(error.code);
      return undefined;
    }
  };
  const index = await attempt(() => open(directory, { config: CONFIG, durability: "off" }));
  if (index === undefined) return refused;
  try {
    for (const i of [0, 7, 41]) await attempt(() => index.search(rowOf(i), { k: 10 }));
    await attempt(() => index.search(rowOf(5), { k: 5, exact: true }));
    await attempt(() => index.search(rowOf(5), { k: 5, filter: { n: { $gt: 0 } } }));
    await attempt(() => index.searchMany(rows.slice(0, 2 * FULL_DIMENSIONS), { k: 4 }));
    for (const mode of ["vector", "neural"] as const) await attempt(() => index.query({ vector: rowOf(7), mode }));
    await attempt(() => index.get(7));
    await attempt(async () => {
      for (const _ of index.entries());
    });
    await attempt(() => index.stats());
    if (thorough) {
      await attempt(() => index.check());
      await attempt(() => changeAll(index, 60));
      await attempt(() => index.retier());
      await attempt(() => index.settle());
      await attempt(() => index.query({ vector: rowOf(9), mode: "neural" }));
    }
  } finally {
    await attempt(() => index.close());
  }
  return refused;
}
