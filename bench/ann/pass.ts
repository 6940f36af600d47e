/** The timed loops: all queries of a set, one after the other on one thread, or all at once. */
import type { AnnSet } from "../data.js";
import type { Engine } from "./engine.js";

export interface Pass {
  /** k base rows a query, -1 where fewer came back: what the timed loop itself returned. */
  rows: Int32Array;
  seconds: number;
  /** Milliseconds of each query; empty where all queries were asked at once. */
  latenciesMs: Float64Array;
}

/** Untimed queries before each timed pass. */
const WARM_UP_QUERIES = 100;

export function passOneByOne(engine: Engine, { nq, k }: AnnSet): Pass {
  const rows = new Int32Array(nq * k);
  const latenciesMs = new Float64Array(nq);
  // Whoever ran before filled the caches with something else.
  for (let query = 0; query < Math.min(nq, WARM_UP_QUERIES); query++) engine.search(query, rows, query * k);
  const start = performance.now();
  let last = start;
  for (let query = 0; query < nq; query++) {
    engine.search(query, rows, query * k);
    const now = performance.now();
    latenciesMs[query] = now - last;
    last = now;
  }
  engine.toRows(rows);
  return { rows, seconds: (last - start) / 1e3, latenciesMs };
}

/** Undefined where the engine cannot. */
export async function passTogether(engine: Engine, { nq, k }: AnnSet): Promise<Pass | undefined> {
  if (!engine.searchMany) return undefined;
  const rows = new Int32Array(nq * k);
  const start = performance.now();
  await engine.searchMany(rows);
  const seconds = (performance.now() - start) / 1e3;
  engine.toRows(rows);
  return { rows, seconds, latenciesMs: new Float64Array(0) };
}
