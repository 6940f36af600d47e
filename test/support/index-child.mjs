/**
 * Another process that opens an index, tells what is in it, and writes until it is killed. Arguments: the directory, a
 * seed, the first operation's number, the durability. It says what it is about to do before it does it, and that it is
 * done once it is acknowledged: what was said to be done must be there after any death.
 */
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";

const DIMENSIONS = 24;
/** So many that searches walk the graph. */
const IDS = 1200;

/** The vector of an id as operation `op` put it. */
function vectorOf(id, op) {
  const prng = new Prng(id * 7919 + op * 2);
  return Float32Array.from({ length: DIMENSIONS }, () => prng.next() * 2 - 1);
}

/** Rows as [id, put by, labelled by], and what contradicts itself. */
function contents(index) {
  const wrong = [];
  const rows = [...index.entries()].map(({ id, vector, payload: { op, label } }) => {
    const expected = vectorOf(id, op);
    if (vector.some((x, i) => x !== expected[i])) wrong.push(`id ${id} holds a vector that was never written`);
    if (index.get(id)?.payload.op !== op) wrong.push(`get(${id}) is not what entries() says`);
    return [id, op, label];
  });
  if (rows.length !== index.size || index.count({ op: { $gte: 0 } }) !== index.size) wrong.push("the counts differ");
  for (const [id, op] of rows.slice(0, 40)) {
    const [hit] = index.search(vectorOf(id, op), { k: 1 });
    if (hit?.id !== id || hit.distance !== 0) wrong.push(`search does not find id ${id}`);
  }
  return { rows, wrong, events: index.stats().learning.events };
}

const [directory, seed, from, durability] = process.argv.slice(2);
const prng = new Prng(Number(seed));
const say = (message) => new Promise((resolve) => process.send(message, resolve));

const opening = () => open(directory, { dimensions: DIMENSIONS, metric: "l2", durability });
let index = await opening();
await say({ opened: contents(index) });
for (let op = Number(from); ; op++) {
  const most = prng.below(8) === 0 ? 300 : 20;
  const ids = [...new Set(Array.from({ length: 1 + prng.below(most) }, () => prng.below(IDS)))];
  const there = ids.filter((id) => index.has(id));
  const kind = prng.next();
  if (kind < 0.55) {
    await say({ op, put: ids });
    const vectors = Float32Array.from(ids.flatMap((id) => [...vectorOf(id, op)]));
    await index.putMany({ ids, vectors, payloads: ids.map(() => ({ op, text: `operation ${op}` })) });
  } else if (kind < 0.7) {
    await say({ op, delete: ids });
    await index.delete(ids);
  } else if (kind < 0.78 && there.length > 0) {
    await say({ op, label: there[0] });
    await index.setPayload(there[0], { ...index.get(there[0]).payload, label: op });
  } else if (kind < 0.9 && there.length > 0) {
    const shown = there.slice(0, 3);
    await say({ op, learn: shown.length });
    await index.learn(
      shown.map((id) => ({ query: vectorOf(id, op + 0.5), chosen: [id], shown, source: `s${id % 5}` })),
    );
  } else {
    await say({ op });
    if (kind < 0.92) await index.train({ epochs: 1 });
    else if (kind < 0.94) await index.settle();
    else if (kind < 0.98) await index.checkpoint();
    else {
      await index.close();
      index = await opening();
    }
  }
  await say({ done: op });
}
