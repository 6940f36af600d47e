/**
 * Another process that opens an index, tells what is in it, and moves vectors between tiers until it is killed.
 * Arguments: the directory, a seed, the first operation's number, whether originals are kept. It says what it is about
 * to put or delete before it does, and that it is done once it is acknowledged. What only moves changes nothing that
 * must be there, and is not told.
 */
import { Prng } from "../../dist/base/prng.js";
import { open } from "../../dist/src/index.js";

const DIMENSIONS = 12;
const IDS = 500;
const HALF_LIFE = 3_600_000;
const TIERS = ["hot", "warm", "cool", "cold", "archive"];
/**
 * How far what a tier gives back may be off, relative to the vector's length: one row, which may lie outside of what
 * its codebook was trained on, and many on average. Another row's vector is off by 1.4, give or take.
 */
const MOST_OFF = { hot: 0, warm: 1e-3, cool: 0.5, cold: 0.6, archive: 0.9 };
const MEAN_OFF = { hot: 0, warm: 5e-4, cool: 0.1, cold: 0.2, archive: 0.4 };

/** The vector of an id as operation `op` put it. */
function vectorOf(id, op) {
  const prng = new Prng(id * 7919 + op * 2);
  return Float32Array.from({ length: DIMENSIONS }, () => prng.gaussian());
}

function relativeError(a, b) {
  let [error, square] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i] - b[i]) ** 2;
    square += b[i] ** 2;
  }
  return Math.sqrt(error / square);
}

/** Rows as [id, put by], the tiers they are in, and what contradicts what was put. */
async function contents(index) {
  const wrong = [];
  const tiers = {};
  const off = {};
  const rows = [...index.entries()].map(({ id, vector, tier, payload: { op } }) => {
    const error = relativeError(vector, vectorOf(id, op));
    if (!(error <= (keep ? 0 : MOST_OFF[tier])))
      wrong.push(`id ${id}, put by ${op}, is off by ${error} in tier ${tier}`);
    tiers[tier] = (tiers[tier] ?? 0) + 1;
    off[tier] = (off[tier] ?? 0) + error;
    if (index.get(id)?.payload.op !== op) wrong.push(`get(${id}) is not what entries() says`);
    return [id, op];
  });
  for (const [tier, count] of Object.entries(tiers)) {
    const mean = off[tier] / count;
    if (count >= 50 && mean > MEAN_OFF[tier]) wrong.push(`tier ${tier} is off by ${mean} on average`);
  }
  const said = index.stats().tiers;
  for (const tier of TIERS) {
    if (said[tier].count !== (tiers[tier] ?? 0)) wrong.push(`stats() says ${said[tier].count} in tier ${tier}`);
  }
  if (rows.length !== index.size) wrong.push("the counts differ");
  for (const [id, op] of rows.slice(0, 20)) {
    const options = { k: keep ? 1 : rows.length, exact: true };
    const hit = index.search(vectorOf(id, op), options).find((one) => one.id === id);
    if (!hit || (keep && hit.distance !== 0)) wrong.push(`search does not find id ${id}`);
  }
  for (const { message } of (await index.check()).faults) wrong.push(`check: ${message}`);
  return { rows, wrong, tiers };
}

const [directory, seed, from, originals] = process.argv.slice(2);
const keep = originals === "true";
const prng = new Prng(Number(seed));
const say = (message) => new Promise((resolve) => process.send(message, resolve));
const pick = (list) => list[prng.below(list.length)];

const opening = () =>
  open(directory, {
    dimensions: DIMENSIONS,
    metric: "l2",
    durability: "off", // no system dies here
    config: {
      storage: { keep_originals: keep },
      tensor_compress: { codebook_update_freq: 200, codebook_iterations: 2 },
      ruvector: { hnsw_m: 8 },
    },
  });
let index = await opening();
await say({ opened: await contents(index) });

/** Things that go on beside each other. */
const moves = [
  () => index.retier({ force: pick(TIERS) }),
  () => index.retier({ force: pick(TIERS) }).then(() => index.checkpoint()),
  () => index.retier({ force: pick(TIERS) }).then(() => index.compact()),
  () => index.retier({ now: Date.now() + prng.below(12) * HALF_LIFE }),
  () => index.retier(),
  () => index.compact(),
  () => index.checkpoint(),
  () => index.settle(),
  async () => {
    for (let i = 0; i < 200; i++) index.search(vectorOf(i % 7, 1), { k: 3 });
  },
];
for (let op = Number(from); ; op++) {
  const moving = Promise.all(Array.from({ length: prng.below(4) }, () => pick(moves)()));
  const ids = [...new Set(Array.from({ length: 1 + prng.below(300) }, () => prng.below(IDS)))];
  const kind = prng.next();
  if (op === 1 || kind < 0.35) {
    const all = op === 1 ? Array.from({ length: IDS }, (_, id) => id) : ids;
    await say({ op, put: all });
    const vectors = Float32Array.from(all.flatMap((id) => [...vectorOf(id, op)]));
    await index.putMany({ ids: all, vectors, payloads: all.map(() => ({ op })) });
  } else if (kind < 0.5) {
    await say({ op, delete: ids.slice(0, 60) });
    await index.delete(ids.slice(0, 60));
  } else {
    await say({ op });
  }
  await moving;
  if (kind > 0.97) {
    await index.close();
    index = await opening();
  }
  await say({ done: op });
}
