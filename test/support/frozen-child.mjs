/**
 * Another process that has a bundle open. Arguments: its directory, and a query as JSON. Searches all the time; when it
 * is asked to `tell`, it searches once more and says what it answers now, and whether it ever answered anything else.
 * When it is asked to `refresh`, it says what that gave.
 */
import { openFrozen } from "../../dist/src/index.js";

const [directory, query] = process.argv.slice(2);
const asked = Float32Array.from(JSON.parse(query));
const frozen = await openFrozen(directory);

const answer = async () =>
  JSON.stringify([
    frozen.witness,
    frozen.search(asked, { k: 50 }),
    frozen.search(asked, { k: 50, mode: "graph" }),
    await frozen.searchMany(asked, { k: 5, include: ["vector"] }),
    [...frozen.entries()].length,
  ]);

let first = await answer();
let rounds = 0;
let others = 0;
process.on("message", async (message) => {
  if (message === "refresh") {
    const state = await frozen.refresh();
    first = await answer();
    process.send({ state, answer: first });
    return;
  }
  for (const from = rounds; rounds < from + 2; ) await new Promise((resolve) => setImmediate(resolve)); // one of them whole
  process.send({ answer: await answer(), rounds, others });
});
process.on("disconnect", () => process.exit());
process.send({ answer: first });
for (;;) {
  const [now, expected] = [await answer(), first];
  rounds++;
  if (now !== expected && first === expected) others++;
  await new Promise((resolve) => setImmediate(resolve));
}
