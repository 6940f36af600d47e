/** One search in three forms: bare nodes, hits with ids and payloads, and hits for all queries on all cores. */
import type { Index } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { median } from "../stats.js";
import { queryRows } from "./engine.js";

export interface CallsResult {
  ef: number;
  /** Seconds of each pass over all queries; the three take turns. */
  seconds: { searchNodes: number[]; search: number[]; searchMany: number[] };
  queriesPerSecond: { searchNodes: number; search: number; searchMany: number };
}

/** `search` and `searchMany` with what they give by default. */
export async function measureCalls(
  index: Index,
  set: AnnSet,
  { ef, repeats }: { ef: number; repeats: number },
): Promise<CallsResult> {
  const rows = queryRows(set);
  const { k, nq } = set;
  const nodes = new Uint32Array(k);
  const distances = new Float32Array(k);
  const calls = {
    searchNodes: async () => {
      for (const row of rows) index.searchNodes(row, k, ef, nodes, distances);
    },
    search: async () => {
      for (const row of rows) index.search(row, { k, ef });
    },
    searchMany: async () => {
      await index.searchMany(set.queries, { k, ef });
    },
  };
  const names = ["searchNodes", "search", "searchMany"] as const;
  const seconds: CallsResult["seconds"] = { searchNodes: [], search: [], searchMany: [] };
  for (let round = -1; round < repeats; round++) {
    for (const name of names) {
      globalThis.gc?.();
      const start = performance.now();
      await calls[name]();
      if (round >= 0) seconds[name].push((performance.now() - start) / 1e3); // the round before it warms up
    }
  }
  const speed = (name: (typeof names)[number]) => nq / median(seconds[name]);
  return {
    ef,
    seconds,
    queriesPerSecond: {
      searchNodes: speed("searchNodes"),
      search: speed("search"),
      searchMany: speed("searchMany"),
    },
  };
}
