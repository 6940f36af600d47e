/** What `bench smoke` runs of `bench tiers`: every part that needs no compiler, on small seeded data, in seconds. Its figures mean nothing. */
import type { AnnSpec } from "../data.js";
import { runTiers } from "./run.js";

export function smokeTiers(out: string): Promise<boolean> {
  const spec: AnnSpec = { data: "synthetic", base: 1000, queries: 50, k: 10, dimensions: 96, seed: 1 };
  return runTiers({
    parts: ["recall", "store", "traces", "semantic"],
    sets: [spec],
    stores: [spec],
    fresh: 50,
    m: 8,
    efConstruction: 60,
    repeats: 1,
    traces: [{ data: "zipf", sizes: [0.05], budgets: [0.2] }],
    semantic: spec,
    smoke: true,
    out,
    name: "smoke-tiers",
  });
}
