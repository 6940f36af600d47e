/** A worker thread that ends in the middle of native work: linking, a search of many, a checkpoint. */
import { workerData } from "node:worker_threads";
import { open } from "../../dist/src/index.js";

const { at, delayMs } = workerData;
const index = await open(at, { dimensions: 8, metric: "l2" });
const vectors = Float32Array.from({ length: 3000 * 8 }, (_, i) => Math.sin(i * i));
const ids = Array.from({ length: 3000 }, (_, i) => i);
await index.putMany({ ids, vectors });
const ignore = () => {};
index.searchMany(vectors, { k: 10 }).catch(ignore);
index.putMany({ ids, vectors }).catch(ignore);
index.settle().catch(ignore);
index.checkpoint().catch(ignore);
setTimeout(() => process.exit(0), delayMs);
