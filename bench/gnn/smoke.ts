/** What `bench smoke` runs of `bench gnn`: every part, without the rival, on small seeded data. Its figures mean nothing. */
import { GNN_PARTS } from "./options.js";
import { runGnn } from "./run.js";

export function smokeGnn(out: string): Promise<boolean> {
  const layer = { dimensions: 16, hidden: 16, heads: 4, neighbours: 4, candidates: 9, pool: 32 };
  return runGnn({
    parts: [...GNN_PARTS],
    step: { ...layer, layers: 1, anchors: 8, repeats: 2 },
    hop: { ...layer, layers: 2, anchors: 1, queries: 10 },
    learn: { spec: { data: "synthetic", base: 1000, queries: 20, k: 10, dimensions: 24, seed: 1 }, events: 10 },
    memory: { sizes: [500, 1000], dimensions: 16, events: 8 },
    smoke: true,
    out,
    name: "smoke-gnn",
  });
}
