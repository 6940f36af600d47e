/**
 * Another process that opens an index to read, again and again, while somebody writes to it. The writer puts all rows in one
 * batch each time, so that every row of a state has the same `op`; a state must be whole, must not change while it is
 * open, and may only be newer than the one before. Prints one line of JSON: how many states it saw, and what was wrong.
 */
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";
import { vectorOf } from "./reading.mjs";

const [directory, seed, rows, dimensions] = process.argv.slice(2);
const prng = new Prng(Number(seed));
const wrong = [];
const seen = new Set();
let last = -1;
let ended = false;
process.on("message", () => {
  ended = true;
});

/** The operation that a state is of. */
function opOf(index, when) {
  const ops = new Set();
  let count = 0;
  for (const { id, vector, payload } of index.entries()) {
    ops.add(payload.op);
    count++;
    const expected = vectorOf(id, payload.op, Number(dimensions));
    if (vector.some((x, i) => x !== expected[i]))
      wrong.push(`${when}: id ${id} of operation ${payload.op} has another vector`);
  }
  if (count !== Number(rows) || ops.size !== 1) wrong.push(`${when}: ${count} rows of operations ${[...ops]}`);
  const [op] = ops;
  for (let i = 0; i < 5; i++) {
    const id = prng.below(Number(rows));
    const [hit] = index.search(vectorOf(id, op, Number(dimensions)), { k: 1 });
    if (hit?.id !== id || hit.distance !== 0) wrong.push(`${when}: a search does not find id ${id}`);
  }
  return op;
}

while (!ended && wrong.length === 0) {
  const index = await open(directory, { readOnly: true });
  const op = opOf(index, "opened");
  if (op < last) wrong.push(`operation ${op} after ${last}`);
  last = op;
  seen.add(op);
  await new Promise((resolve) => setTimeout(resolve, prng.below(4) === 0 ? prng.below(400) : prng.below(20)));
  if (opOf(index, "later") !== op) wrong.push("a state changed while it was open");
  if (prng.below(10) === 0) {
    const { faults } = await index.check();
    if (faults.length > 0) wrong.push(`check: ${faults[0].message}`);
  }
  await index.close();
}
process.send({ states: seen.size, wrong: wrong.slice(0, 5) }, () => process.disconnect());
