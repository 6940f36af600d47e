// Facts as expressions: an expression that nobody stored is grounded in those that are there, and the vector lifted
// back to what they have in common.
//   npx tsx examples/symbols.ts
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open, type SymbolicExpression } from "hebb";

const folder = mkdtempSync(join(tmpdir(), "hebb-symbols-"));
const index = await open(join(folder, "facts.hebb"), { dimensions: 256, metric: "cosine" });
const text = (expression: SymbolicExpression): string =>
  Array.isArray(expression) ? `(${expression.map(text).join(" ")})` : String(expression);
try {
  const facts: SymbolicExpression[] = [
    ["is", "cat", "animal"],
    ["is", "dog", "animal"],
    ["is", "oak", "tree"],
    ["eats", "cat", "fish"],
    ["eats", "dog", "meat"],
    ["believes", "ann", ["is", "cat", "animal"]],
    ["believes", "bob", ["is", "oak", "animal"]],
  ];
  for (const [i, fact] of facts.entries()) await index.symbols.put(`fact-${i + 1}`, fact);

  const question: SymbolicExpression = ["is", "fox", "animal"];
  console.log(`${text(question)} is nobody's fact. Near it:`);
  const { vector, retrieved } = await index.symbols.ground(question);
  for (const { id, score } of retrieved) {
    console.log(`  ${score.toFixed(2)}  ${id}: ${text(index.get(id)!.payload!.expression as SymbolicExpression)}`);
  }

  console.log("\nWhat the five expressions around it have in common:");
  for (const { pattern, support, score } of await index.symbols.lift(vector, { beamWidth: 5 })) {
    console.log(`  ${text(pattern)}  in ${support}, score ${score.toFixed(2)}`);
  }
} finally {
  await index.close();
  rmSync(folder, { recursive: true });
}
