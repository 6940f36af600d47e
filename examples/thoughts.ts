// An agent's notes: each is linked to what it is related to when it is kept, and a question brings back a context.
//   npx tsx examples/thoughts.ts
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "hebb";

const folder = mkdtempSync(join(tmpdir(), "hebb-thoughts-"));
// The built-in encoder compares words. With `encoder: async (texts) => Float32Array[]` you bring a model of meanings.
const index = await open(join(folder, "memory.hebb"), { dimensions: 128, metric: "cosine", encoder: "hashed-tfidf" });
try {
  const notes = [
    ["kitchen", "the kettle is in the kitchen, left of the stove"],
    ["kitchen", "the stove needs a minute to cool down"],
    ["garden", "the watering can is in the garden shed"],
    ["garden", "tomatoes in the garden need water every evening"],
    ["kitchen", "tomatoes are kept in the kitchen, never in the fridge"],
  ];
  for (const [i, [room, content]] of notes.entries()) {
    const { id, related } = await index.thoughts.store({ id: `note-${i + 1}`, content, payload: { room } });
    console.log(`${id}: ${content}\n    linked to ${related.map((other) => other.id).join(", ") || "nothing yet"}`);
  }

  await index.settle(); // all are linked into the graph, so that the context has the graph's edges too
  const two = (score: number) => (Math.round(100 * score) / 100 + 0).toFixed(2); // no -0.00
  console.log("\nWhat do I know about tomatoes in the garden?");
  const { thoughts, edges } = await index.thoughts.context("tomatoes in the garden", { k: 3 });
  for (const { id, content, score } of thoughts) console.log(`  ${two(score)}  ${id}: ${content}`);
  edges.sort((a, b) => b.weight - a.weight || `${a.from} ${a.to}`.localeCompare(`${b.from} ${b.to}`));
  console.log("The strongest edges among these:");
  for (const { from, to, weight } of edges.slice(0, 5)) console.log(`  ${from} -> ${to}, ${weight.toFixed(4)}`);

  console.log("\nAnd in the kitchen alone?");
  const kitchen = await index.thoughts.context("tomatoes in the garden", { k: 3, filter: { room: "kitchen" } });
  for (const { id, content, score } of kitchen.thoughts) console.log(`  ${two(score)}  ${id}: ${content}`);
} finally {
  await index.close();
  rmSync(folder, { recursive: true });
}
