/** Live indexes in a temporary folder, each built once for all parts, and bundles of them. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type FreezeOptions, type FrozenIndex, type Index, open, openFrozen } from "../../src/index.js";
import { type AnnSet, type AnnSpec, loadAnn } from "../data.js";
import { count } from "../table.js";
import { putRows } from "../tiers/stores.js";
import type { FrozenOptions } from "./options.js";

export interface Stored {
  path: string;
  set: AnnSet;
}

/** Rows of one `putMany`: all of them, unless they are very many. */
const BATCH = 100_000;
const PROGRESS_MS = 15_000;

export class Stores {
  private readonly built = new Map<string, string>();
  private bundles = 0;

  /** `folder` is removed by whoever made it. */
  constructor(
    readonly folder: string,
    private readonly graph: FrozenOptions["graph"],
  ) {}

  /** The live index of a set's base rows, closed; `kth` as `loadAnn` takes it. */
  async of(spec: AnnSpec, kth?: Float64Array): Promise<Stored> {
    const { data, base, dimensions, clusters, seed } = spec;
    const key = JSON.stringify([data, base, dimensions, clusters, seed]);
    const set = loadAnn(spec, kth);
    let path = this.built.get(key);
    if (path === undefined) {
      path = join(this.folder, `${this.built.size}.hebb`);
      await this.build(path, set);
      this.built.set(key, path);
    }
    return { path, set };
  }

  /** Freezes into a folder of its own, which `drop` removes. */
  async freeze(path: string, options: FreezeOptions): Promise<string> {
    const directory = join(this.folder, `${this.bundles++}.frozen`);
    const index = await open(path);
    try {
      await (await index.freeze(directory, options)).close();
    } finally {
      await index.close();
    }
    return directory;
  }

  drop(directory: string): void {
    rmSync(directory, { recursive: true, force: true });
  }

  /** Freezes, opens the bundle, runs `task`, and removes it. */
  async withBundle<T>(path: string, options: FreezeOptions, task: (frozen: FrozenIndex) => Promise<T>): Promise<T> {
    const directory = await this.freeze(path, options);
    const frozen = await openFrozen(directory);
    try {
      return await task(frozen);
    } finally {
      await frozen.close();
      this.drop(directory);
    }
  }

  private async build(path: string, { d, n, base, name }: AnnSet): Promise<void> {
    const { m, efConstruction } = this.graph;
    const index = await open(path, {
      dimensions: d,
      metric: "l2",
      durability: "off",
      config: { ruvector: { hnsw_m: m, hnsw_ef_construction: efConstruction } },
    });
    try {
      for (let at = 0; at < n; at += BATCH)
        await putRows(index, base.subarray(at * d, (at + BATCH) * d), undefined, at);
      await settle(index, name);
    } finally {
      await index.close();
    }
  }
}

/** Waits until all is linked, and says how far that is where it takes long. */
async function settle(index: Index, name: string): Promise<void> {
  const start = performance.now();
  const timer = setInterval(() => {
    const { backlog, size } = index.stats();
    const seconds = ((performance.now() - start) / 1e3).toFixed(0);
    console.log(`${name}: ${count(size - backlog)} of ${count(size)} rows linked after ${seconds} s`);
  }, PROGRESS_MS);
  try {
    await index.settle();
  } finally {
    clearInterval(timer);
  }
}
