/** `bench smoke`: both benches on small seeded data, in seconds. It keeps them from rotting; its figures mean nothing. */
import { ENGINES } from "./ann/engine.js";
import { MEASURES } from "./ann/measures.js";
import { runAnn } from "./ann/run.js";
import { runLearn } from "./learn/run.js";

export async function runSmoke(out: string): Promise<boolean> {
  const ann = await runAnn({
    spec: { data: "synthetic", base: 3000, queries: 100, k: 10, dimensions: 48, seed: 1 },
    graph: { m: 16, efConstruction: 100, threads: 2 },
    engines: [...ENGINES],
    efs: [16, 64, 200],
    repeats: 2,
    measures: [...MEASURES],
    filterQueries: 50,
    floor: 0.95,
    smoke: true,
    out,
    name: "smoke-ann",
  });
  console.log();
  const learn = await runLearn({ data: "synthetic", placebo: false, smoke: true, out, name: "smoke-learn" });
  return ann && learn;
}
