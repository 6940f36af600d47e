/**
 * Another process that opens indexes and bundles, gives them work and forgets them, while garbage is collected all the
 * time. Arguments: a directory, a bundle, how many rounds. Ends with 42 where every task ended with what it had to give.
 */
import { setTimeout } from "node:timers/promises";
import { open, openFrozen } from "../../dist/src/index.js";

const [directory, bundle, rounds] = process.argv.slice(2);
const vectors = Float32Array.from({ length: 600 * 8 }, (_, i) => Math.sin(i * i));
const ids = Array.from({ length: 600 }, (_, i) => i);

async function work() {
  const index = await open(directory, { dimensions: 8, metric: "l2" });
  await index.putMany({ ids, vectors }); // replaces what the round before put: old and new rows are linked meanwhile
  const found = index.searchMany(vectors.slice(0, 800), { k: 5 });
  const settled = index.settle();
  // Closing lets go of graph and region once the tasks have ended, not before.
  const closed = index.close();
  return Promise.all([found, settled, closed]).then(([lists]) => lists);
}

/** Of a bundle that is never closed: its memory goes with the last who holds it. */
async function scan(mode) {
  const frozen = await openFrozen(bundle);
  return frozen.searchMany(vectors.slice(0, 800), { k: 5, mode });
}

/** A closed bundle gives its memory back behind what is under way. */
async function scanAndClose() {
  const frozen = await openFrozen(bundle);
  const found = frozen.searchMany(vectors.slice(0, 800), { k: 5 });
  await frozen.close();
  return found;
}

for (let round = 0; round < Number(rounds); round++) {
  const all = Promise.all([work(), scan("scan"), scan("graph"), scanAndClose()]);
  let ended = false;
  const end = all.finally(() => {
    ended = true;
  });
  while (!ended) {
    globalThis.gc();
    await setTimeout(10);
  }
  for (const lists of await end) {
    const wrong = lists.some((hits) => hits.length !== 5 || hits[0].distance !== 0);
    if (wrong || lists.length !== 100) process.exit(1);
  }
}
process.exit(42);
