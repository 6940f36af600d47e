/**
 * Another process that puts texts by the built-in encoder until it is killed. The encoder is fitted again and again
 * while the store is young, and stored texts get new vectors then: after any death all must lie in one space.
 * Arguments: the directory, a seed, the first text's number.
 */
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";

const [directory, seed, from] = process.argv.slice(2);
const prng = new Prng(Number(seed));
const say = (message) => new Promise((resolve) => process.send(message, resolve));

/** Words that texts share, and one that is the text's own. */
function textOf(i) {
  const words = new Prng(i);
  return `${Array.from({ length: 8 }, () => `word${words.below(200)}`).join(" ")} own${i}`;
}

const index = await open(directory, { dimensions: 48, metric: "cosine", encoder: "hashed-tfidf" });
const ids = [...index.entries()].map(({ id }) => id).sort((a, b) => a - b);
const wrong = [];
for (const id of prng.shuffle([...ids]).slice(0, 40)) {
  const [hit] = (await index.query({ text: textOf(id), k: 1 })).hits;
  if (hit?.id !== id || Math.abs(hit.distance) > 1e-5) wrong.push(`text ${id} finds ${hit?.id} at ${hit?.distance}`);
}
await say({ opened: { ids, wrong } });
for (let next = Number(from); ; ) {
  const batch = Array.from({ length: 1 + prng.below(prng.below(4) === 0 ? 60 : 8) }, () => next++);
  await say({ put: batch });
  await index.putMany(batch.map((id) => ({ id, text: textOf(id), payload: { text: textOf(id) } })));
  await say({ done: true });
  if (prng.below(6) === 0) await index.checkpoint();
}
