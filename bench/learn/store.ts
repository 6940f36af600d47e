/** Indexes of judged documents, as all parts of `bench learn` need them. */
import { join } from "node:path";
import { type ConfigInput, type Index, open } from "../../src/index.js";
import type { JudgedSet } from "../data.js";
import { withFolder } from "../tiers/stores.js";
import { DEPTH } from "./controls.js";
import { ndcg } from "./ndcg.js";

/** A network that is trained in no time, for smoke runs. */
export const SMALL_NETWORK: ConfigInput = { ruvector: { gnn_layers: 1, gnn_hidden_dim: 8, gnn_heads: 2 } };

export type Mode = "vector" | "neural";

/** What is measured, and the config of the stores it is measured in. */
export interface Subject {
  set: JudgedSet;
  config: ConfigInput;
}

/** A store of all documents; gone afterwards. */
export function withDocuments<T>({ set, config }: Subject, use: (index: Index) => Promise<T>): Promise<T> {
  return withFolder(async (folder) => {
    const index = await open(join(folder, "learn.hebb"), {
      dimensions: set.d,
      metric: "cosine",
      durability: "off",
      config,
    });
    try {
      await index.putMany({ ids: set.documents, vectors: set.documentVectors });
      await index.settle();
      return await use(index);
    } finally {
      await index.close();
    }
  });
}

export const queryVector = ({ queryVectors, d }: JudgedSet, query: number): Float32Array =>
  queryVectors.subarray(query * d, (query + 1) * d);

const numberings = new WeakMap<JudgedSet, Map<string, number>>();

/** Number of a document by its id. */
function numbersIn(set: JudgedSet): ReadonlyMap<string, number> {
  const known = numberings.get(set) ?? new Map(set.documents.map((id, i) => [id, i]));
  numberings.set(set, known);
  return known;
}

/** Which learners serve, as one word. */
export function servingIn(index: Index): string {
  const { serving } = index.stats().learning;
  return typeof serving === "string" ? serving : serving.join(" + ");
}

/** Document numbers, best first. */
export async function ask(
  index: Index,
  set: JudgedSet,
  vector: Float32Array,
  mode: Mode,
  k = DEPTH,
): Promise<number[]> {
  const numbers = numbersIn(set);
  const depth = Math.min(k, set.documents.length);
  const { hits } = await index.query({ vector, mode, k: depth, ef: DEPTH });
  return hits.map(({ id }) => numbers.get(String(id))!);
}

/** nDCG@10 of each of `queries`. */
export async function judgeAll(
  index: Index,
  set: JudgedSet,
  queries: readonly number[],
  mode: Mode,
  vectorOf: (query: number) => Float32Array = (query) => queryVector(set, query),
): Promise<number[]> {
  const out: number[] = [];
  for (const query of queries) out.push(ndcg(await ask(index, set, vectorOf(query), mode, 10), set.relevant[query]));
  return out;
}
