/**
 * Another process that trains an index until it is killed. Arguments: the directory, how many calls of onProgress it
 * survives ("all": it trains to the end and closes), and the dimensions.
 */
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";

const [directory, most, dimensions] = process.argv.slice(2);
const d = Number(dimensions);
const prng = new Prng(5);
const vector = () => Float32Array.from({ length: d }, () => prng.next() * 2 - 1);

const config = { ruvector: { propagation: "linear" } };
const index = await open(directory, { dimensions: d, metric: "cosine", config });
if (index.size === 0) {
  const ids = Array.from({ length: 600 }, (_, i) => i);
  const vectors = new Float32Array(ids.length * d);
  for (const i of ids) vectors.set(vector(), i * d);
  await index.putMany({ ids, vectors });
  await index.settle();
  await index.learn(
    Array.from({ length: 60 }, (_, time) => ({ query: vector(), chosen: [prng.below(300), prng.below(300)], time })),
  );
}
let told = 0;
await index.train({
  epochs: 2,
  onProgress(done, total) {
    const isLast = ++told === Number(most);
    process.send({ done, total, isLast });
    if (isLast) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); // nothing more is done: who hears it kills
  },
});
await index.close();
process.disconnect();
