/**
 * Another process that opens an index, tells what is in it, and does all that can be done with one until it is killed.
 * Arguments: the directory, a seed, the first operation's number, as JSON the durability and whether originals are kept,
 * and an operation that is to be among the first. It says what it is about to do before it does it, and that it is
 * done once it is acknowledged: what was said to be done must be there after any death. What only moves, links or writes
 * down changes nothing that must be there; it goes on beside the rest.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../dist/base/prng.js";
import { open, openFrozen } from "../../dist/src/index.js";
import { gradientFor } from "./gradients.mjs";

const DIMENSIONS = 12;
/** So many that searches walk the graph, and that there is a codebook for the lowest tiers. */
const IDS = 1200;
const HALF_LIFE = 3_600_000;
const TIERS = ["hot", "warm", "cool", "cold", "archive"];
/**
 * How far what a tier gives back may be off, relative to the vector's length: one row, which may lie outside of what
 * its codebook was trained on, and many on average. Another row's vector is off by 1.4, give or take.
 */
const MOST_OFF = { hot: 0, warm: 1e-3, cool: 0.5, cold: 0.6, archive: 0.9 };
const MEAN_OFF = { hot: 0, warm: 5e-4, cool: 0.1, cold: 0.2, archive: 0.4 };

const [directory, seed, from, json, early] = process.argv.slice(2);
const { durability, keep } = JSON.parse(json);
const prng = new Prng(Number(seed));
const say = (message) => new Promise((resolve) => process.send(message, resolve));
const pick = (list) => list[prng.below(list.length)];
const bundle = `${directory}-frozen`;

/** The vector of an id as operation `op` put it. */
function vectorOf(id, op) {
  const values = new Prng(id * 7919 + op * 2);
  return Float32Array.from({ length: DIMENSIONS }, () => values.gaussian());
}

function relativeError(a, b) {
  let [error, square] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i] - b[i]) ** 2;
    square += b[i] ** 2;
  }
  return Math.sqrt(error / square);
}

const digest = (values) => (values ? createHash("sha1").update(new Uint8Array(values.buffer)).digest("hex") : "");

/** Vectors against what was put; those of tiers below hot are near it, where originals are not kept. */
function judgeVectors(rows, wrong) {
  const [count, off] = [{}, {}];
  for (const { id, vector, tier, payload } of rows) {
    const error = relativeError(vector, vectorOf(id, payload.op));
    if (!(error <= (keep ? 0 : MOST_OFF[tier])))
      wrong.push(`id ${id}, put by ${payload.op}, is off by ${error} in tier ${tier}`);
    count[tier] = (count[tier] ?? 0) + 1;
    off[tier] = (off[tier] ?? 0) + error;
  }
  for (const tier of Object.keys(count)) {
    const mean = off[tier] / count[tier];
    if (!keep && count[tier] >= 50 && mean > MEAN_OFF[tier]) wrong.push(`tier ${tier} is off by ${mean} on average`);
  }
  return count;
}

/** Rows as [id, put by, labelled by, what waits for a step, steps], and what contradicts itself. */
async function contents(index) {
  const wrong = [];
  const entries = [...index.entries()];
  const tiers = judgeVectors(entries, wrong);
  const rows = entries.map(({ id, payload: { op, label } }) => {
    if (index.get(id)?.payload.op !== op) wrong.push(`get(${id}) is not what entries() says`);
    const { gradient, steps } = index.gradients.get(id) ?? {};
    return [id, op, label ?? 0, digest(gradient), steps ?? 0];
  });
  const stats = index.stats();
  for (const tier of TIERS) {
    if (stats.tiers[tier].count !== (tiers[tier] ?? 0))
      wrong.push(`stats() says ${stats.tiers[tier].count} in ${tier}`);
  }
  if (rows.length !== index.size || index.count({ op: { $gte: 0 } }) !== index.size) wrong.push("the counts differ");
  for (const [id, op] of rows.slice(0, 30)) {
    const hits = index.search(vectorOf(id, op), { k: keep ? 1 : rows.length, exact: !keep });
    const hit = hits.find((one) => one.id === id);
    if (!hit || (keep && hit.distance !== 0)) wrong.push(`search does not find id ${id}`);
  }
  for (const { message } of (await index.check()).faults) wrong.push(`check: ${message}`);
  const { accumulated, applied } = index.gradients.stats();
  const { events } = stats.learning;
  return { rows, events, accumulated, applied, tiers, wrong, frozen: await frozenContents(wrong) };
}

/** The bundle that is there: which one it is, and its rows as [id, put by, labelled by]. */
async function frozenContents(wrong) {
  if (!existsSync(join(bundle, "manifest.json"))) return undefined;
  const frozen = await openFrozen(bundle, { verify: "eager" });
  const entries = [...frozen.entries()];
  const { tier } = frozen.stats();
  judgeVectors(keep ? entries.map((row) => ({ ...row, tier })) : [], wrong); // else they are what the index's tiers held
  const rows = entries.map(({ id, payload: { op, label } }) => [id, op, label ?? 0]);
  const { generation } = frozen.stats();
  await frozen.close();
  return { generation, rows };
}

const opening = () =>
  open(directory, {
    dimensions: DIMENSIONS,
    metric: "l2",
    durability,
    config: {
      storage: { keep_originals: keep },
      tensor_compress: { codebook_update_freq: 200, codebook_iterations: 2 },
      ruvector: { hnsw_m: 8, gnn_hidden_dim: 16, gnn_heads: 2 },
    },
  });
let index = await opening();
await say({ opened: await contents(index) });

/** Things that go on beside the operations, and beside each other. */
const moves = [
  () => index.retier({ force: pick(TIERS) }),
  () => index.retier({ force: pick(TIERS) }).then(() => index.checkpoint()),
  () => index.retier({ force: pick(TIERS) }).then(() => index.compact()),
  () => index.retier({ now: Date.now() + prng.below(12) * HALF_LIFE }),
  () => index.compact(),
  () => index.checkpoint(),
  () => index.settle(),
  async () => {
    for (let i = 0; i < 200; i++) index.search(vectorOf(i % 7, 1), { k: 3 });
  },
];

const some = (most) => [...new Set(Array.from({ length: 1 + prng.below(most) }, () => prng.below(IDS)))];
const there = (most) => some(most).filter((id) => index.has(id));

/** Each says what it is about to do, beside its kind, and does it. */
const operations = {
  async put(op, ids = some(prng.below(8) === 0 ? 300 : 20)) {
    await say({ op, kind: "put", put: ids });
    const vectors = Float32Array.from(ids.flatMap((id) => [...vectorOf(id, op)]));
    await index.putMany({ ids, vectors, payloads: ids.map(() => ({ op, text: `operation ${op}` })) });
  },
  async delete(op) {
    const ids = some(60);
    await say({ op, kind: "delete", delete: ids });
    await index.delete(ids);
  },
  async label(op) {
    const [id] = there(20);
    await say({ op, kind: "label", label: id });
    if (id !== undefined) await index.setPayload(id, { ...index.get(id).payload, label: op });
  },
  async learn(op) {
    const shown = there(8).slice(0, 3);
    await say({ op, kind: "learn", learn: shown.length });
    if (shown.length === 0) return;
    await index.learn(
      shown.map((id) => ({ query: vectorOf(id, op + 0.5), chosen: [id], shown, source: `s${id % 5}` })),
    );
  },
  async accumulate(op) {
    const ids = there(prng.below(2) === 0 ? 5 : 200);
    await say({ op, kind: "accumulate", accumulate: ids });
    if (ids.length === 0) return;
    await index.gradients.accumulate(ids.map((id, i) => ({ id, gradient: gradientFor(id, op, i, DIMENSIONS) })));
  },
  async apply(op) {
    await say({ op, kind: "apply", apply: true });
    await index.gradients.apply({ optimizer: "adamw", rate: 0.05 });
  },
  async freeze(op) {
    await say({ op, kind: "freeze", freeze: index.size > 0 });
    if (index.size === 0) return;
    const frozen = await index.freeze(bundle, { generation: op, seed: op % 3, bits: 1 + (op % 8) });
    await frozen.close();
  },
  async train(op) {
    await say({ op, kind: "train" });
    await index.train({ epochs: 1 });
  },
  async settle(op) {
    await say({ op, kind: "settle" });
    await index.settle();
  },
  async checkpoint(op) {
    await say({ op, kind: "checkpoint" });
    await index.checkpoint();
  },
  async compact(op) {
    await say({ op, kind: "compact" });
    await index.compact();
  },
  async retier(op) {
    await say({ op, kind: "retier" });
    await index.retier({ force: pick(TIERS) });
  },
  async close(op) {
    await say({ op, kind: "close" });
    await index.close();
    index = await opening();
  },
};
const often = ["put", "put", "put", "delete", "label", "learn", "accumulate", "apply"];

const until = prng.below(3);
for (let op = Number(from), done = 0; ; op++, done++) {
  const kind = done === until && early ? early : prng.below(4) === 0 ? pick(Object.keys(operations)) : pick(often);
  // Closing and freezing wait for whatever goes on, so that beside them little is left to go on.
  const moving = Promise.all(
    Array.from({ length: prng.below(3) }, () => (kind === "close" ? undefined : pick(moves)())),
  );
  if (op === 1)
    await operations.put(
      op,
      Array.from({ length: IDS }, (_, id) => id),
    );
  else await operations[kind](op);
  await moving;
  await say({ done: op });
}
