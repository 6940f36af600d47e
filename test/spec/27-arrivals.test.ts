/** Rows put after feedback: they take over what was learned of those near them, durably, where that serves; and nothing else changes. */
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, open } from "../../src/index.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, asked, d] = [300, 60, 16];
const rows = randomRows(n, d, 41);
const away = randomRows(asked, d, 42);

/** Row i is asked for from a place of its own, which no turn of all queries reaches: only row i can move. */
function queryFor(i: number, prng: Prng): Float32Array {
  const [row, offset] = [rowOf(rows, i, d), rowOf(away, i, d)];
  return row.map((x, j) => 0.6 * x + offset[j] + 0.1 * prng.gaussian());
}

/** Copies of the rows that are asked for, a little beside them. */
function copies(): { ids: string[]; vectors: Float32Array } {
  const prng = new Prng(3);
  const vectors = new Float32Array(asked * d);
  for (let i = 0; i < asked; i++)
    vectors.set(
      rowOf(rows, i, d).map((x) => x + 0.02 * prng.gaussian()),
      i * d,
    );
  return { ids: Array.from({ length: asked }, (_, i) => `copy-${i}`), vectors };
}

const settings = (local_steps?: number) => ({
  config: { ruvector: { propagation: "linear" as const, ...(local_steps !== undefined && { local_steps }) } },
});

/** Mean reciprocal rank of copies for what their originals are asked by. */
async function found(index: Index): Promise<number> {
  const prng = new Prng(9);
  let sum = 0;
  for (let i = 0; i < asked; i++) {
    const { hits } = await index.query({ vector: queryFor(i, prng), mode: "neural", k: 20 });
    const rank = hits.findIndex(({ id }) => id === `copy-${i}`);
    if (rank >= 0) sum += 1 / (rank + 1);
  }
  return sum / asked;
}

const shifts = (index: Index) => copies().ids.map((id) => index.gradients.get(id)?.shift);

const taught = path("taught");
beforeAll(async () => {
  const index = await open(taught, { dimensions: d, metric: "cosine", ...settings() });
  await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: rows });
  await index.settle();
  const prng = new Prng(1);
  await index.learn(
    Array.from({ length: 300 }, (_, time) => ({ query: queryFor(time % asked, prng), chosen: [time % asked], time })),
  );
  await index.train();
  expect(index.stats().learning.serving).toContain("shift");
  await index.close();
});

async function opened(name: string, local_steps?: number): Promise<Index> {
  const directory = path(name);
  cpSync(taught, directory, { recursive: true });
  return open(directory, settings(local_steps));
}

test("new rows are found by what those near them are asked by; with local_steps = 0 they are not", async () => {
  const ranks = [];
  for (const steps of [0, undefined]) {
    const index = await opened(`steps ${steps}`, steps);
    await index.putMany(copies());
    expect(shifts(index).filter(Boolean).length).toBe(steps === 0 ? 0 : asked);
    ranks.push(await found(index));
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  }
  expect(ranks[1]).toBeGreaterThan(ranks[0] + 0.1);
});

test("what they took over is durable with them", async () => {
  const directory = path("killed");
  cpSync(taught, directory, { recursive: true });
  const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
  const { ids, vectors } = copies();
  const program = `
    import { open } from ${JSON.stringify(library)};
    const index = await open(${JSON.stringify(directory)}, ${JSON.stringify(settings())});
    await index.putMany({ ids: ${JSON.stringify(ids)}, vectors: Float32Array.from(${JSON.stringify([...vectors])}) });
    process.kill(process.pid, "SIGKILL");`;
  const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  expect({ signal, stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
  const index = await open(directory, settings());
  const other = await opened("alive");
  await other.putMany(copies());
  expect(shifts(index)).toEqual(shifts(other));
  expect((await index.check()).faults).toEqual([]);
  await other.close();
  await index.close();
});

test("rows that are deleted or put again lose it, their places give it to nobody", async () => {
  const index = await opened("replaced");
  await index.putMany(copies());
  await index.delete(copies().ids.slice(0, 30));
  await index.settle();
  const far = randomRows(30, d, 77).map((x) => 50 * x);
  await index.putMany({ ids: Array.from({ length: 30 }, (_, i) => `far-${i}`), vectors: far });
  const chosen = new Set(Array.from({ length: asked }, (_, i) => i));
  for (let i = 0; i < 30; i++) {
    const near = index.search(rowOf(far, i, d), { k: 17 }).filter(({ id }) => id !== `far-${i}`);
    if (near.slice(0, 16).some(({ id }) => chosen.has(id as number))) continue;
    expect(index.gradients.get(`far-${i}`)).toBeUndefined();
  }
  await index.close();
});

test("while nothing serves, rows are put as they always were", async () => {
  const index = await open(path("plain"), { dimensions: d, metric: "cosine", ...settings() });
  await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: rows });
  await index.learn([{ query: rowOf(rows, 1, d), chosen: [2] }]); // row 2 has a shift, which serves nobody
  await index.putMany(copies());
  expect(shifts(index).filter(Boolean)).toEqual([]);
  await index.close();
});
