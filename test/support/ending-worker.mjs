/**
 * A worker thread that ends in the middle of native work: linking, searches of many, a checkpoint, moves between tiers, a
 * freeze, a bundle's scans. What it opened it never closes; some of it is garbage by then.
 */
import { workerData } from "node:worker_threads";
import { open, openFrozen } from "../../dist/src/index.js";

const { at, delayMs, bundle } = workerData;
const index = await open(at, { dimensions: 8, metric: "l2" });
const vectors = Float32Array.from({ length: 3000 * 8 }, (_, i) => Math.sin(i * i));
const ids = Array.from({ length: 3000 }, (_, i) => i);
await index.putMany({ ids, vectors });
const ignore = () => {};
index.searchMany(vectors, { k: 10 }).catch(ignore);
index.putMany({ ids, vectors }).catch(ignore);
index.settle().catch(ignore);
index.checkpoint().catch(ignore);
index.retier({ force: "warm" }).catch(ignore);
index.freeze(`${at}.frozen`).catch(ignore);
if (bundle) {
  for (let i = 0; i < 4; i++) {
    const frozen = await openFrozen(bundle); // nobody holds it but its task
    frozen.searchMany(vectors, { k: 10, mode: i % 2 ? "graph" : "scan" }).catch(ignore);
    globalThis.gc?.();
  }
}
setTimeout(() => process.exit(0), delayMs);
