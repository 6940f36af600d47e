/** What `semantic_tiering` changes: hubs of the graph that stay precise, and recall, with a budget that hurts. */
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import type { Index } from "../../src/index.js";
import { loadAnn } from "../data.js";
import { fixed, table } from "../table.js";
import { recallOf, squaredL2 } from "../truth.js";
import type { TiersOptions } from "./options.js";
import { exactNeighbours, putRows, searchAll, withFolder, withStore } from "./stores.js";

export interface SemanticResult {
  data: string;
  rows: number;
  hubs: number;
  budget: number;
  accesses: number;
  /** Without and with `semantic_tiering`. */
  runs: {
    semantic: boolean;
    /** Share of hubs, and of all rows, that are hot or warm. */
    hubsPrecise: number;
    allPrecise: number;
    /** Of graph search at ef 64 on the workload's queries: on codes alone, and with originals. */
    recallCodes: number;
    recall: number;
  }[];
}

/** Of raw. */
const BUDGET = 0.1;
/** Rows with the highest in-degree, by their places among the ten nearest of all rows: a share of all. */
const HUBS = 0.01;
const EF = 64;
/** Searches between two rounds, and how often the workload is asked. */
const ROUND_EVERY = 20;
const ASKED = 10_000;

export async function measureSemantic(options: TiersOptions): Promise<SemanticResult> {
  const { smoke, m, efConstruction, semantic: spec } = options;
  const { base, queries, d, n, nq, k, name } = loadAnn(spec, new Float64Array());
  const nearest = await exactNeighbours(base, queries, d, k);
  const kth = Float64Array.from({ length: nq }, (_, query) =>
    squaredL2(queries, query, base, nearest[query * k + k - 1], d),
  );
  const hubs = await hubsOf(base, d, k, Math.ceil(HUBS * n));
  // Every query is asked as often as its rank says, in an order that is the same for both.
  const random = new Prng(1);
  const asked = Array.from({ length: smoke ? ASKED / 20 : ASKED }, () =>
    Math.min(nq - 1, Math.floor(nq ** random.next()) - 1),
  );
  const runs: SemanticResult["runs"] = [];
  for (const semantic of [false, true]) {
    const config = {
      ruvector: { hnsw_m: m, hnsw_ef_construction: efConstruction },
      tensor_compress: { memory_budget: BUDGET, semantic_tiering: semantic, recompress_interval_s: 604_800 },
    };
    const run = await withFolder((folder) =>
      withStore(join(folder, "semantic.hebb"), { dimensions: d, config }, async (index) => {
        await putRows(index, base);
        await index.settle();
        await index.retier();
        for (const [i, query] of asked.entries()) {
          index.search(queries.subarray(query * d, (query + 1) * d), { k, ef: EF, include: [] });
          if (i % ROUND_EVERY === ROUND_EVERY - 1) await index.retier();
        }
        const [hubsPrecise, allPrecise] = [preciseOf(index, hubs), preciseOf(index, [...Array(n).keys()])];
        const set = { base, queries, d, k };
        const codes = await searchAll(index, queries, { k, ef: EF, rerank: false });
        const originals = await searchAll(index, queries, { k, ef: EF });
        return {
          semantic,
          hubsPrecise,
          allPrecise,
          recallCodes: recallOf(codes, set, kth),
          recall: recallOf(originals, set, kth),
        };
      }),
    );
    runs.push(run);
  }
  const result = { data: name, rows: n, hubs: hubs.length, budget: BUDGET, accesses: asked.length, runs };
  report(result);
  return result;
}

/** Rows that are among the ten nearest of most others. */
async function hubsOf(base: Float32Array, d: number, k: number, most: number): Promise<number[]> {
  const n = base.length / d;
  const nearest = await exactNeighbours(base, base, d, k + 1); // each row is its own nearest
  const degrees = new Uint32Array(n);
  for (const row of nearest) degrees[row]++;
  return Array.from({ length: n }, (_, row) => row)
    .sort((a, b) => degrees[b] - degrees[a])
    .slice(0, most);
}

function preciseOf(index: Index, rows: readonly number[]): number {
  const precise = rows.filter((row) => ["hot", "warm"].includes(index.get(row)!.tier));
  return precise.length / rows.length;
}

function report({ data, rows, hubs, budget, accesses, runs }: SemanticResult): void {
  console.log(
    `\nsemantic_tiering on ${data}: ${rows} rows, a budget of ${budget} of raw, ${accesses} skewed searches; ${hubs} hubs`,
  );
  const lines = runs.map(({ semantic, hubsPrecise, allPrecise, recallCodes, recall }) => [
    semantic ? "with" : "without",
    `${(100 * hubsPrecise).toFixed(1)}%`,
    `${(100 * allPrecise).toFixed(1)}%`,
    fixed(recallCodes),
    fixed(recall),
  ]);
  const header = ["semantic_tiering", "hubs hot or warm", "all rows", `recall ef ${EF}, codes alone`, "with originals"];
  console.log(table(header, lines));
}
