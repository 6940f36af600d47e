/**
 * The attention network as users meet it. People here ask for a row by a turned copy of it, each row once: nothing
 * that was chosen is ever asked for again, and no low-rank change of the query undoes the turn, so that only the
 * network can learn anything.
 */
import { cpSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type ConfigInput, type Index, open } from "../../src/index.js";
import { errorOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, d, learned] = [500, 8, 220];
const prng = new Prng(3);
const rows = Array.from({ length: n }, () => {
  const row = Float32Array.from({ length: d }, () => prng.gaussian());
  return row.map((x) => x / Math.hypot(...row));
});
const turned = (i: number) => rows[i].map((_, x) => rows[i][(x + d / 2) % d] * (x % 2 ? 1 : -1));
const network = { gnn_layers: 2, gnn_hidden_dim: 16, gnn_heads: 2, gnn_dropout: 0.05, learning_rate: 0.02 };
const config: ConfigInput = { ruvector: network, learning: { rank: 1, shift_bound: 2 } };
const create = (name: string, changed: ConfigInput = config) =>
  open(path(name), { dimensions: d, metric: "cosine", config: changed });

/** Share of rows that nobody asked for before which come first when they are asked for. */
async function found(index: Index, options: { gnnDepth?: number } = {}): Promise<number> {
  let first = 0;
  for (let i = learned; i < n; i++) {
    const { hits } = await index.query({ vector: turned(i), mode: "neural", k: 1, ...options });
    if (hits[0].id === i) first++;
  }
  return first / (n - learned);
}

describe("a network that alone can help", () => {
  let index: Index;
  beforeAll(async () => {
    index = await create("trained.hebb");
    await index.putMany(rows.map((vector, id) => ({ id, vector })));
    await index.settle();
    await index.learn(Array.from({ length: learned }, (_, i) => ({ query: turned(i), chosen: [i] })));
    await index.train({ epochs: 80 });
  }, 120_000);

  test("serves, and finds rows that were never chosen", async () => {
    const { serving, learners } = index.stats().learning;
    expect(serving).toContain("attention");
    expect(learners.attention.serves).toBe(true);
    expect(learners.attention.adds).toBeGreaterThan(0.2);
    expect(await found(index)).toBeGreaterThan(0.4);
  });

  test("gnnDepth 0 leaves the query alone; vector mode knows of nothing", async () => {
    expect(await found(index, { gnnDepth: 0 })).toBeLessThan(0.05);
    const hits = async (mode: "vector" | "neural") => (await index.query({ vector: turned(7), mode, k: 20 })).hits;
    expect((await hits("vector")).map(({ id }) => id)).not.toEqual((await hits("neural")).map(({ id }) => id));
  });

  test("returnAttention says what was heard, hop by hop", async () => {
    const { attention } = await index.query({ vector: turned(300), mode: "neural", returnAttention: true });
    expect(attention).toHaveLength(network.gnn_layers);
    for (const { nodes, weights } of attention!) {
      expect(nodes).toHaveLength(16);
      expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
      expect(nodes.every((id) => index.has(id))).toBe(true);
    }
    const one = await index.query({ vector: turned(300), mode: "neural", gnnDepth: 1, returnAttention: true });
    expect(one.attention).toHaveLength(1);
    expect((await index.query({ vector: turned(300), returnAttention: true })).attention).toEqual([]);
  });

  test("is there again after closing, to the last bit; and after a kill", async () => {
    const ask = async (of: Index) => {
      const { hits } = await of.query({ vector: turned(250), mode: "neural", k: 20 });
      return hits.map(({ id, score }) => [id, score]);
    };
    const before = await ask(index);
    cpSync(path("trained.hebb"), path("killed.hebb"), { recursive: true });
    await index.close();
    index = await open(path("trained.hebb"), { config });
    expect(await ask(index)).toEqual(before);
    const killed = await open(path("killed.hebb"), { config });
    await killed.settle(); // linked anew: other neighbours are heard
    expect(await found(killed)).toBeGreaterThan(0.4);
    await killed.close();
  });

  test.each([
    ["gnn_layers", 3, 2],
    ["gnn_hidden_dim", 32, 16],
    ["gnn_heads", 4, 2],
  ])("is refused with another %s, which the error names with both values", async (name, wanted, stored) => {
    cpSync(path("trained.hebb"), path(`${name}.hebb`), { recursive: true });
    const other = { ...config, ruvector: { ...network, [name]: wanted } };
    const error = await errorOf(() => open(path(`${name}.hebb`), { config: other }));
    expect(error.message).toMatch(new RegExp(`CONFIG_INVALID: .*${name} ${stored}.*${wanted}`));
    const linear = await open(path(`${name}.hebb`), { config: { ruvector: { propagation: "linear" } } });
    expect(linear.size).toBe(n);
    await linear.close();
  });

  test("goes on with rows that come and go", async () => {
    await index.delete([480, 481]);
    await index.put("new", turned(480));
    await index.settle();
    const { hits } = await index.query({ vector: turned(490), mode: "neural", k: 50 });
    expect(hits.map(({ id }) => id)).not.toContain(480);
    await index.close();
  });
});

test('propagation = "linear" trains none', async () => {
  const index = await create("linear.hebb", { ...config, ruvector: { ...network, propagation: "linear" } });
  await index.putMany(rows.map((vector, id) => ({ id, vector })));
  await index.learn(Array.from({ length: 60 }, (_, i) => ({ query: turned(i), chosen: [i] })));
  await index.train();
  const { learners, arms } = index.stats().learning;
  expect(learners.attention.adds).toBeUndefined();
  expect(Object.keys(arms).some((name) => name.includes("attention"))).toBe(false);
  await index.close();
});
