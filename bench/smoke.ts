/** `bench smoke`: all benches, and every part but what needs a compiler, on small seeded data, in seconds. It keeps them from rotting. Its speeds mean nothing; what it finds is held to a baseline. */
import { ENGINES } from "./ann/engine.js";
import { PARTS } from "./ann/parts.js";
import { runAnn } from "./ann/run.js";
import { BASELINE, foundBy, heldToBaseline, readBaseline, writeBaseline } from "./baseline.js";
import { printClaims } from "./claims.js";
import { smokeDurability } from "./durability/smoke.js";
import { smokeFrozen } from "./frozen/smoke.js";
import { smokeGnn } from "./gnn/smoke.js";
import { smokeLearn } from "./learn/smoke.js";
import { smokeRecommend } from "./recommend/smoke.js";
import { smokeTiers } from "./tiers/smoke.js";

/** With `rebase`, what this run finds becomes the baseline; it must hold in all else. */
export async function runSmoke(out: string, rebase: boolean): Promise<boolean> {
  const ann = await runAnn({
    spec: { data: "synthetic", base: 3000, queries: 100, k: 10, dimensions: 48, seed: 1 },
    graph: { m: 16, efConstruction: 100, threads: 2 },
    engines: [...ENGINES],
    efs: [16, 64, 200],
    repeats: 2,
    parts: [...PARTS],
    margins: [0.1],
    churn: { share: 0.9, rounds: 3 },
    ingest: { rows: 2000, dimensions: 32 },
    scale: { sizes: [1000, 2000], dimensions: 32, recall: 0.99 },
    filterQueries: 50,
    floor: 0.95,
    smoke: true,
    out,
    name: "smoke-ann",
  });
  console.log();
  const learn = await smokeLearn(out);
  console.log();
  const recommend = await smokeRecommend(out);
  console.log();
  const gnn = await smokeGnn(out);
  console.log();
  const tiers = await smokeTiers(out);
  console.log();
  const frozen = await smokeFrozen(out);
  console.log();
  const durability = await smokeDurability(out);
  const holds = ann && learn && recommend && gnn && tiers && frozen && durability;
  console.log();
  const found = foundBy(out);
  if (!rebase) return printClaims([heldToBaseline(found, readBaseline())]) && holds;
  if (holds) writeBaseline(found);
  console.log(holds ? `wrote ${BASELINE}` : `not written: ${BASELINE}; a run that fails is no baseline`);
  return holds;
}
