/** Part `search`: how long a search takes, from asking to the answer, while a checkpoint runs on the same thread. */
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";
import { open } from "../../src/index.js";
import { atMost, type Claim } from "../claims.js";
import { sheetVectors } from "../generate.js";
import { percentile } from "../stats.js";
import { count, milliseconds, table } from "../table.js";
import type { DurabilityOptions } from "./options.js";

export interface SearchFigures {
  during: "nothing" | "checkpoint";
  searches: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

export async function measureSearch(
  folder: string,
  { dimensions, search }: DurabilityOptions,
  claims: Claim[],
): Promise<{ figures: SearchFigures[]; checkpointSeconds: number[]; dirtyMegabytes: number[] }> {
  const vectors = sheetVectors(search.rows + search.changed * search.checkpoints, dimensions, 1);
  const rowAt = (i: number) => vectors.subarray(i * dimensions, (i + 1) * dimensions);
  // Checkpoints are ours alone, and nothing is linked while they are measured.
  const index = await open(join(folder, "searched.hebb"), {
    dimensions,
    metric: "l2",
    durability: "off",
    config: { storage: { checkpoint_wal_mb: 65_536, checkpoint_dirty_mb: 1_048_576 } },
  });
  const put = async (from: number, rows: number) => {
    const ids = Array.from({ length: rows }, (_, i) => from + i);
    await index.putMany({ ids, vectors: vectors.subarray(from * dimensions, (from + rows) * dimensions) });
    await index.settle();
  };
  await put(0, search.rows);
  await index.checkpoint();
  let asked = 0;
  /** A search in each turn of the event loop; each counts from the end of the one before, so that what comes between counts. */
  const latenciesWhile = async (task: () => Promise<unknown>): Promise<number[]> => {
    const latencies: number[] = [];
    let over = false;
    const running = task().finally(() => {
      over = true;
    });
    for (let before = performance.now(); !over; ) {
      await turn();
      index.search(rowAt((asked++ * 7919) % search.rows), { k: 10 });
      const now = performance.now();
      latencies.push(now - before);
      before = now;
    }
    await running;
    return latencies;
  };
  const during: Record<SearchFigures["during"], number[]> = { nothing: [], checkpoint: [] };
  const checkpointSeconds: number[] = [];
  const dirtyMegabytes: number[] = [];
  for (let i = 0; i < search.checkpoints; i++) {
    await put(search.rows + i * search.changed, search.changed);
    dirtyMegabytes.push(index.stats().bytes.dirty / 1e6);
    const start = performance.now();
    during.checkpoint.push(...(await latenciesWhile(() => index.checkpoint())));
    const took = performance.now() - start;
    checkpointSeconds.push(took / 1000);
    during.nothing.push(...(await latenciesWhile(() => new Promise((resolve) => setTimeout(resolve, took)))));
  }
  await index.close();
  const figures = (Object.keys(during) as SearchFigures["during"][]).map((what): SearchFigures => {
    const [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1].map((q) => percentile(during[what], q));
    return { during: what, searches: during[what].length, p50, p99, p999, max };
  });
  console.log(
    `\nsearches in ${count(search.rows)} rows of ${dimensions} dimensions, during ${search.checkpoints} checkpoints of ${count(percentile(dirtyMegabytes, 0.5))} MB that take ${percentile(checkpointSeconds, 0.5).toFixed(2)} s\n`,
  );
  console.log(
    table(
      ["during", "searches", "p50", "p99", "p99.9", "max"],
      figures.map((one) => [
        one.during,
        count(one.searches),
        ...[one.p50, one.p99, one.p999, one.max].map(milliseconds),
      ]),
    ),
  );
  const [, busy] = figures;
  claims.push(atMost("search during checkpoints: p99.9", busy.p999, 5, milliseconds));
  return { figures, checkpointSeconds, dirtyMegabytes };
}
