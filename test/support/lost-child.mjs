/**
 * Another process whose store, or bundle, is cut while it is open. Arguments, as JSON: `directory`; `bundle`, where it is
 * one; `file`, which is cut to `bytes`; `config`; `fresh`, rows put before that and never checkpointed, but linked with
 * `settled`; the step `during` it; and the `steps` after it. A copy of the file lies beside it then, as `<file>.whole`. Says how each step ended, what was written after
 * the first one, and exits with 42: any other end is a death.
 */
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { open, openFrozen } from "../../dist/src/index.js";
import { DIMENSIONS, rowOf, vectorOf } from "./lost-rows.mjs";

const { directory, bundle, file, bytes, config, fresh = 0, settled, during, steps } = JSON.parse(process.argv[2]);
const handle = bundle ? await openFrozen(directory) : await open(directory, { config });
if (fresh > 0) await handle.putMany(Array.from({ length: fresh }, (_, i) => rowOf(100_000 + i)));
if (settled) await handle.settle();
handle.search(vectorOf(1), { k: 10 }); // blocks that were verified before the cut are no safer
const queries = Float32Array.from({ length: 3000 * DIMENSIONS }, (_, i) => Math.sin(i));

const run = {
  search: () => handle.search(vectorOf(7), { k: 10, exact: true }),
  walk: () => handle.search(vectorOf(7), { k: 10, ...(bundle && { mode: "graph" }) }),
  scan: () => handle.search(vectorOf(7), { k: 10 }),
  searchMany: () => handle.searchMany(queries, { k: 10 }),
  filtered: () => handle.search(vectorOf(7), { k: 10, filter: { n: { $lt: 500 } } }),
  query: () => handle.query({ vector: vectorOf(7), k: 10 }),
  get: () => handle.get(7),
  entries: () => [...handle.entries()],
  put: () => handle.put("late", vectorOf(5)),
  delete: () => handle.delete([3]),
  learn: () => handle.learn([{ query: vectorOf(9), chosen: [9] }]),
  settle: () => handle.settle(),
  checkpoint: () => handle.checkpoint(),
  compact: () => handle.compact(),
  retier: () => handle.retier({ force: "warm" }),
  stats: () => handle.stats(),
  freeze: () => handle.freeze(`${directory}.frozen`),
  check: async () => {
    const { faults } = await handle.check();
    if (faults.length > 0) throw Object.assign(new Error(faults[0].message), { code: faults[0].code });
  },
  verify: () => handle.verify(),
  close: () => handle.close(),
};

/** Steps whose result is told. */
const SHOWN = ["scan", "get", "search"];

/** All bytes of the log and the journal, and the length of the index. */
function written() {
  const names = ["index.hebb-journal", ...readdirSync(join(directory, "wal")).map((name) => join("wal", name))];
  const digest = createHash("sha256");
  for (const name of names.sort()) digest.update(name).update(readFileSync(join(directory, name)));
  return `${digest.digest("hex")} ${statSync(join(directory, "index.hebb")).size}`;
}

copyFileSync(join(directory, file), join(directory, `${file}.whole`));
const ends = [];
async function note(step, work) {
  try {
    const value = await work();
    ends.push({ step, value: SHOWN.includes(step) ? value : undefined });
  } catch (error) {
    ends.push({ step, code: error.code ?? error.name, lost: error.details?.lost, message: error.message });
  }
}
const begun = during && note(during, run[during]);
if (during) await new Promise((resolve) => setTimeout(resolve, 10)); // on its way
truncateSync(join(directory, file), bytes);
await begun;
let first;
for (const step of steps) {
  await note(step, run[step]);
  if (!bundle) first ??= written();
}
const last = bundle ? undefined : written();
process.send({ ends, same: first === last }, () => process.exit(42));
