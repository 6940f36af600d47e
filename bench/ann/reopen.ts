/** Closing and opening again: how long until the first result, how much comes into memory, and whether anything changed. */
import { memoryUsage } from "node:process";
import type { Index } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { median } from "../stats.js";
import { type GraphSettings, queryRows } from "./engine.js";
import { directoryBytes, type HebbEngine, openStore } from "./hebb.js";

export interface ReopenResult {
  /** Close, open and one search: milliseconds from before `open` to after the first result, of each repeat. */
  openToFirstResultMs: number[];
  medianMs: number;
  closeMs: number[];
  /** Growth of the resident set from before `open` to after the first result (median). */
  residentBytes: number;
  directoryBytes: number;
  /** Whether every id and every distance of every query is bit for bit the same after the last opening. */
  identical: boolean;
}

export async function measureReopen(
  engine: HebbEngine,
  set: AnnSet,
  graph: GraphSettings,
  { ef, repeats }: { ef: number; repeats: number },
): Promise<ReopenResult> {
  const rows = queryRows(set);
  const before = answers(engine.index(), rows, set.k, ef);
  const openToFirstResultMs: number[] = [];
  const closeMs: number[] = [];
  const residentBytes: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const closing = performance.now();
    await engine.index().close();
    closeMs.push(performance.now() - closing);
    globalThis.gc?.();
    const residentBefore = memoryUsage.rss();
    const start = performance.now();
    const index = await openStore(engine.path, set, graph);
    index.search(rows[0], { k: set.k, ef });
    openToFirstResultMs.push(performance.now() - start);
    residentBytes.push(memoryUsage.rss() - residentBefore);
    engine.replace(index);
  }
  return {
    openToFirstResultMs,
    medianMs: median(openToFirstResultMs),
    closeMs,
    residentBytes: median(residentBytes),
    directoryBytes: directoryBytes(engine.path),
    identical: answers(engine.index(), rows, set.k, ef) === before,
  };
}

/** Every id and distance in order; JSON writes a double so that it reads back to the same bits. */
const answers = (index: Index, rows: Float32Array[], k: number, ef: number): string =>
  JSON.stringify(rows.map((row) => index.search(row, { k, ef }).map(({ id, distance }) => [id, distance])));
