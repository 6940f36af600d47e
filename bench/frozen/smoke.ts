/** What `bench smoke` runs of `bench frozen`: every part on small seeded data, in seconds. Its figures mean nothing. */
import { FROZEN_PARTS } from "./options.js";
import { runFrozen } from "./run.js";

export function smokeFrozen(out: string): Promise<boolean> {
  const common = { queries: 100, k: 10, seed: 1 };
  return runFrozen({
    parts: [...FROZEN_PARTS],
    generated: { ...common, data: "sheet", base: 3000, dimensions: 48, clusters: 50 },
    real: { ...common, data: "synthetic", base: 2000, dimensions: 70 },
    graph: { m: 16, efConstruction: 100 },
    ef: 64,
    exactQueries: 20,
    repeats: 1,
    open: { rows: 2000, dimensions: 32 },
    estimator: { dimensions: 64, samples: 2, turns: 4 },
    exact: { queries: 300, seeds: 2 },
    smoke: true,
    out,
    name: "smoke-frozen",
  });
}
