/** Part `ingest`: rows put one by one, each on disk before it is acknowledged, while checkpoints run all the time. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { atLeast, type Claim } from "../claims.js";
import { sheetVectors } from "../generate.js";
import { median, percentile } from "../stats.js";
import { count, milliseconds, table, times } from "../table.js";
import { ENGINES, type EngineName, openEngine } from "./engines.js";
import type { DurabilityOptions } from "./options.js";

export interface IngestFigures {
  engine: EngineName;
  callers: number;
  /** Whether checkpoints ran all the time; in SQLite they always run by themselves, LMDB has none. */
  checkpoints: boolean;
  /** Medians over the runs. */
  rowsPerSecond: number;
  p50: number;
  p99: number;
  max: number;
  /** Of each run. */
  runs: { rowsPerSecond: number; p50: number; p99: number; max: number; checkpoints: number }[];
}

export async function measureIngest(
  folder: string,
  { dimensions, ingest, callers, repeats }: DurabilityOptions,
  claims: Claim[],
): Promise<IngestFigures[]> {
  const vectors = sheetVectors(ingest.before + ingest.rows, dimensions, 1, { clusters: 200 });
  const all: IngestFigures[] = [];
  for (const many of callers) {
    const rows = many === 1 ? ingest.smallRows : ingest.rows;
    const contestants = [
      ...ENGINES.map((engine) => ({ engine, checkpoints: engine === "hebb" })),
      { engine: "hebb" as const, checkpoints: false },
    ];
    const figures = contestants.map(
      (one): IngestFigures => ({ ...one, callers: many, rowsPerSecond: 0, p50: 0, p99: 0, max: 0, runs: [] }),
    );
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const one of figures) {
        const directory = mkdtempSync(join(folder, `${one.engine}-`));
        const engine = await openEngine(one.engine, directory, dimensions);
        if (engine === undefined) continue;
        await engine.fill(vectors.subarray(0, ingest.before * dimensions), dimensions);
        let over = false;
        let checkpoints = 0;
        const checkpointing = (async () => {
          while (one.checkpoints && engine.checkpoint !== undefined && !over) {
            await engine.checkpoint();
            checkpoints++;
          }
        })();
        const latencies = new Float64Array(rows);
        let next = 0;
        const start = performance.now();
        await Promise.all(
          Array.from({ length: many }, async () => {
            for (let i = next++; i < rows; i = next++) {
              const at = (ingest.before + i) * dimensions;
              const asked = performance.now();
              await engine.put(ingest.before + i, vectors.subarray(at, at + dimensions), { i });
              latencies[i] = performance.now() - asked;
            }
          }),
        );
        const seconds = (performance.now() - start) / 1000;
        over = true;
        await checkpointing;
        await engine.close();
        rmSync(directory, { recursive: true });
        const [p50, p99, max] = [0.5, 0.99, 1].map((q) => percentile(latencies, q));
        one.runs.push({ rowsPerSecond: rows / seconds, p50, p99, max, checkpoints });
      }
    }
    for (const one of figures) {
      for (const key of ["rowsPerSecond", "p50", "p99", "max"] as const)
        one[key] = median(one.runs.map((run) => run[key]));
    }
    const present = figures.filter(({ runs }) => runs.length > 0);
    all.push(...present);
    console.log(
      `\n${many} ${many === 1 ? "caller" : "callers"}, ${count(rows)} rows behind ${count(ingest.before)}, ${dimensions} dimensions, synced\n`,
    );
    console.log(
      table(
        ["engine", "checkpoints", "rows/s", "p50", "p99", "max"],
        present.map(({ engine, checkpoints, rowsPerSecond, p50, p99, max, runs }) => [
          engine,
          engine === "sqlite" ? "its own" : checkpoints ? count(median(runs.map((run) => run.checkpoints))) : "none",
          count(rowsPerSecond),
          milliseconds(p50),
          milliseconds(p99),
          milliseconds(max),
        ]),
      ),
    );
    const [hebb, ...others] = present;
    for (const rival of others.filter(({ engine }) => engine !== "hebb")) {
      const ratio = hebb.rowsPerSecond / rival.rowsPerSecond;
      claims.push(atLeast(`ingest, ${many} at a time: rows/s over ${rival.engine}'s`, ratio, 1, times));
      claims.push(
        atLeast(`ingest, ${many} at a time: ${rival.engine}'s p99 over ours`, rival.p99 / hebb.p99, 1, times),
      );
    }
  }
  return all;
}
