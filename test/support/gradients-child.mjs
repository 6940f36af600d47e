/**
 * Another process that opens an index, tells what its gradients are, and accumulates and applies until it is killed.
 * Arguments: the directory, a seed, the first operation's number, dimensions, ids. It says what it is about to do before it does
 * it, and that it is done once it is acknowledged. Calls overlap; their order is that in which they were told.
 */
import { createHash } from "node:crypto";
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";
import { gradientFor, OPTIMIZERS, vectorFor } from "./gradients.mjs";

const [directory, seed, from, dimensions, most] = process.argv.slice(2);
const [d, ids] = [Number(dimensions), Number(most)];
const prng = new Prng(Number(seed));
const say = (message) => new Promise((resolve) => process.send(message, resolve));
const some = (count) => Array.from({ length: count }, () => prng.below(ids));

const digest = (values) =>
  values &&
  createHash("sha1")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");

/** Rows as [id, put by, sum, shift, steps], how many were ever added and stepped, and what contradicts itself. */
async function contents(index) {
  const rows = [...index.entries()].map(({ id, payload }) => {
    const { gradient, shift, steps } = index.gradients.get(id) ?? {};
    return [id, payload.op, digest(gradient) ?? "", digest(shift) ?? "", steps ?? 0];
  });
  const { accumulated, applied } = index.gradients.stats();
  const wrong = (await index.check()).faults.map(({ message }) => message);
  return { rows: rows.sort(([a], [b]) => a - b), accumulated, applied, wrong };
}

const opening = () => open(directory, { dimensions: d, metric: "cosine", durability: "off" }); // no system dies here
let index = await opening();
await say({ opened: await contents(index) });

for (let op = Number(from); ; op++) {
  const kind = prng.next();
  if (index.size === 0 || kind < 0.1) {
    const put = index.size === 0 ? Array.from({ length: ids }, (_, id) => id) : [...new Set(some(1 + ids / 10))];
    await say({ op, put });
    const vectors = Float32Array.from(put.flatMap((id) => [...vectorFor(id, op, d)]));
    await index.putMany({ ids: put, vectors, payloads: put.map(() => ({ op })) });
    await say({ done: op });
  } else if (kind < 0.18) {
    const gone = [...new Set(some(ids / 10))];
    await say({ op, delete: gone });
    await index.delete(gone);
    if (prng.below(2) === 0) await index.settle(); // places are used again
    await say({ done: op });
  } else {
    const calls = [];
    for (let left = 1 + prng.below(4); left > 0; left--, op++) {
      const beside = prng.next();
      if (beside < 0.3) calls.push([0, index.checkpoint()]); // changes nothing that must be there, and is not told
      if (prng.next() < 0.3) {
        const optimizer = OPTIMIZERS[prng.below(3)];
        await say({ op, apply: optimizer });
        calls.push([op, index.gradients.apply({ optimizer, rate: 0.05 })]);
      } else {
        const touched = some(prng.below(2) === 0 ? 1 + prng.below(5) : ids).filter((id) => index.has(id));
        await say({ op, accumulate: touched });
        const entries = touched.map((id, i) => ({ id, gradient: gradientFor(id, op, i, d) }));
        calls.push([op, index.gradients.accumulate(entries)]);
      }
    }
    op--;
    for (const [done, call] of calls) {
      await call;
      if (done > 0) await say({ done });
    }
  }
  if (kind > 0.97) {
    await index.close();
    index = await opening();
  }
}
