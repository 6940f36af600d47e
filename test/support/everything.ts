/** A small store that holds everything a store can, and all that it answers: for tests that damage one. */
import { Prng } from "../../base/prng.js";
import { type Index, type OpenOptions, open, type Payload } from "../../src/index.js";
import { HALF_LIFE, range } from "./tiers.js";

const D = 8;
/** A codebook needs 256 rows; twenty of them are deleted again. */
const ROWS = 330;
const LEARNED = 110;

const CONFIG: NonNullable<OpenOptions["config"]> = {
  ruvector: {
    ...{ hnsw_m: 4, graph_profile: "small", gnn_layers: 2, gnn_hidden_dim: 16, gnn_heads: 2 },
    ...{ gnn_dropout: 0.05, learning_rate: 0.02 },
  },
  learning: { rank: 1, shift_bound: 2 },
  tensor_compress: { codebook_iterations: 2 },
};

const prng = new Prng(3);
const VECTORS = range(ROWS).map(() => {
  const row = Float32Array.from({ length: D }, () => prng.gaussian());
  return row.map((x) => x / Math.hypot(...row));
});
/** What rows are asked for by: only a network can learn such a turn, so that there is one afterwards. */
const turned = (i: number) => VECTORS[i].map((_, x) => VECTORS[i][(x + D / 2) % D] * (x % 2 ? 1 : -1));

const payloadOf = (i: number): Payload | undefined =>
  i % 4 === 0 ? undefined : { n: i, lang: i % 3 ? "en" : "de", text: `row ${i} words${i % 7}` };
const idOf = (i: number) => (i % 10 === 5 ? `row-${i}` : i % 50 === 7 ? `${i}-`.padEnd(60, "long") : i);

/** Makes it: texts and their encoder's fit, feedback and all that is learned from it, gradients, rows in every tier. */
export async function makeEverything(directory: string): Promise<void> {
  const index = await open(directory, {
    ...{ dimensions: D, metric: "cosine", config: CONFIG, durability: "off", indexes: ["lang"] },
    encoder: "hashed-tfidf",
  });
  const columns = { ids: range(ROWS).map(idOf), payloads: range(ROWS).map(payloadOf) };
  await index.putMany({ ...columns, vectors: Float32Array.from(VECTORS.flatMap((one) => [...one])) });
  await index.settle();
  await index.learn(range(LEARNED).map((i) => ({ query: turned(i), chosen: [idOf(i)], source: `s${i % 3}`, time: i })));
  await index.learn(range(20).map((i) => ({ query: { id: idOf(i) }, chosen: [idOf(i + 1), idOf(i + 2)], time: i })));
  await index.train({ epochs: 60 });
  await index.putMany(range(6).map((i) => ({ id: `text-${i}`, text: `a text, words${i}`, payload: payloadOf(i + 1) })));
  await index.delete(range(20, ROWS - 20).map(idOf));
  await index.settle();
  const given = range(40).map((i) => ({ id: idOf(i * 3), gradient: VECTORS[i + 1] }));
  await index.gradients.accumulate(given);
  await index.gradients.apply();
  await index.gradients.accumulate(given.slice(0, 10));
  await spread(index);
  await index.checkpoint();
  await index.close();
}

/** Changes something in every section that changes by itself, so that most blocks have an older version. */
export async function changeEverything(directory: string): Promise<void> {
  const index = await openEverything(directory, false);
  await index.putMany(range(12, 200).map((i) => ({ id: idOf(i), vector: turned(i), payload: payloadOf(i + 1) })));
  await index.putMany(range(30).map((i) => ({ id: `later-${i}`, vector: turned(i), payload: payloadOf(i) })));
  await index.delete(range(5, 150).map(idOf));
  await index.settle();
  await index.learn(range(12, 60).map((i) => ({ query: turned(i), chosen: [idOf(i), idOf(i + 1)], time: i })));
  const given = range(20, 10).map((i) => ({ id: idOf(i * 3), gradient: VECTORS[i + 2] }));
  await index.gradients.accumulate(given);
  await index.gradients.apply();
  await index.gradients.accumulate(given);
  await index.close();
}

/** Rows go to all tiers, by how often they were used, and when. */
async function spread(index: Index): Promise<void> {
  const start = Date.now();
  const use = (from: number, times: number) => {
    for (let i = from; i < from + 12; i++) {
      for (let n = 0; n < times; n++) index.search(VECTORS[i], { k: 1, exact: true });
    }
  };
  const goOn = (halfLives: number) => index.retier({ now: start + halfLives * HALF_LIFE });
  await goOn(12);
  use(0, 1);
  await goOn(12);
  await goOn(15);
  use(20, 1);
  await goOn(15);
  await goOn(16.9);
  use(40, 1);
  use(60, 30);
  await goOn(16.9);
}

export const openEverything = (directory: string, readOnly = true): Promise<Index> =>
  open(directory, { readOnly, config: CONFIG, durability: "off" });

/** All that a store answers, comparable. */
export async function answersOf(index: Index): Promise<unknown> {
  const queries = range(12).map((i) => turned(i * 9));
  const rows = [...index.entries()];
  const ids = rows.map(({ id }) => id);
  const { size, graph, tiers, learning } = index.stats();
  const asked = [];
  for (const vector of queries.slice(0, 4)) {
    for (const mode of ["vector", "neural", "subgraph", "differentiable"] as const) {
      const { latencyMs, backward, ...result } = await index.query({ vector, mode, k: 8, gnnDepth: 1 });
      asked.push([result, backward?.(VECTORS[5])]);
    }
  }
  const { latencyMs, ...byText } = await index.query({ text: "words3 row", hybrid: true, k: 20 });
  const counted = Object.entries(tiers).map(([tier, { count }]) => [tier, count]);
  return [
    ...[size, graph, counted, learning, rows, index.getMany(ids)],
    ...[index.count({ lang: "de" }), index.search(queries[0], { k: 20, filter: { n: { $gt: 50 } } })],
    ...queries.map((query) => [
      index.search(query, { k: 30, exact: true }),
      index.search(query, { k: 10, rerank: false }),
    ]),
    ...[asked, byText, ids.map((id) => index.gradients.get(id)), index.gradients.stats()],
  ];
}
