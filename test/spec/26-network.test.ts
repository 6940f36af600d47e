/**
 * The attention network as users meet it. People here ask for a row by a turned copy of it, each row once: nothing
 * that was chosen is ever asked for again, and no low-rank change of the query undoes the turn, so that only the
 * network can learn anything.
 */
import { cpSync } from "node:fs";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { Prng } from "../../base/prng.js";
import { edgeWeights, MOST_BIAS, UNTRAINED_EDGES } from "../../model/field.js";
import { Learned } from "../../src/engine/learned.js";
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

/** What an index has learned, behind its back. */
async function learnedOf(index: Index): Promise<Learned> {
  const spy = vi.spyOn(Learned.prototype, "around");
  try {
    await index.query({ vector: rows[0], mode: "subgraph", k: 1 });
    return spy.mock.contexts[0] as Learned;
  } finally {
    spy.mockRestore();
  }
}

/** Logits of the edges that nodes hear by, and how many of them are not 0. */
function biasesOf({ corpus }: Learned, nodes: Iterable<number>): { by: Map<string, number>; count: number } {
  const by = new Map<string, number>();
  for (const node of nodes) {
    const [{ nodes: ends, biases }] = corpus.neighbourhoods(Uint32Array.of(node));
    ends.forEach((end, i) => void by.set(`${node} ${end}`, biases[i]));
  }
  return { by, count: [...by.values()].filter((bias) => bias !== 0).length };
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

  test("learns what edges are worth: alpha, beta and biases of edges that leave chosen rows", async () => {
    const learnedThere = await learnedOf(index);
    const { corpus, state } = learnedThere;
    const network = state.network!;
    expect(network.edges.alpha).not.toBe(UNTRAINED_EDGES.alpha);
    expect(network.edges.beta).not.toBe(UNTRAINED_EDGES.beta);
    expect(network.biased.length).toBeGreaterThan(learned / 2);
    const { by, count } = biasesOf(learnedThere, network.biased);
    expect(count).toBeGreaterThan(network.biased.length);
    expect(Math.max(...[...by.values()].map(Math.abs))).toBeLessThanOrEqual(MOST_BIAS);
    const unchosen = Array.from({ length: n }, (_, node) => node).filter((node) => !network.biased.includes(node));
    expect(biasesOf(learnedThere, unchosen).count).toBe(0);

    // Subgraphs weigh edges as the network does.
    const node = network.biased[3];
    const [heard] = corpus.neighbourhoods(Uint32Array.of(node));
    const parts = { scalars: network.edges, structural: heard.structural, biases: heard.biases };
    const wanted = edgeWeights(heard.scores, "cosine", 1, parts);
    const { nodes, weights } = learnedThere.around(node);
    const weightOf = new Map(Array.from(nodes, (other, i) => [other, weights[i]]));
    const strengthless = Array.from(heard.nodes).filter((other) => !state.edges.record(node)?.targets.includes(other));
    expect(strengthless.length).toBeGreaterThan(3);
    for (const other of strengthless) expect(weightOf.get(other)).toBeCloseTo(wanted[heard.nodes.indexOf(other)], 6);
  });

  test("is there again after closing, to the last bit; and after a kill", async () => {
    const biases = biasesOf(await learnedOf(index), (await learnedOf(index)).state.network!.biased);
    const ask = async (of: Index) => {
      const { hits } = await of.query({ vector: turned(250), mode: "neural", k: 20 });
      return hits.map(({ id, score }) => [id, score]);
    };
    const before = await ask(index);
    for (const copy of ["killed.hebb", "killed-again.hebb"])
      cpSync(path("trained.hebb"), path(copy), { recursive: true });
    await index.close();
    index = await open(path("trained.hebb"), { config });
    expect(await ask(index)).toEqual(before);
    expect(biasesOf(await learnedOf(index), (await learnedOf(index)).state.network!.biased)).toEqual(biases);
    const killed = await open(path("killed.hebb"), { config });
    await killed.settle(); // linked anew: other neighbours are heard
    expect(await found(killed)).toBeGreaterThan(0.4);
    // Edges that are there again have their biases again, though they were linked after the log was read.
    const again = await learnedOf(killed);
    const { by } = biasesOf(again, again.state.network!.biased);
    const same = [...by].filter(([edge]) => biases.by.has(edge));
    expect(same.length).toBeGreaterThan(biases.by.size / 2);
    for (const [edge, bias] of same) expect(bias).toBe(biases.by.get(edge));
    await killed.close();
  });

  test.each([
    ["gnn_layers", 3, 2],
    ["gnn_hidden_dim", 32, 16],
    ["gnn_heads", 4, 2],
    ["hierarchical", true, false],
  ])("is refused with another %s, which the error names with both values", async (name, wanted, stored) => {
    cpSync(path("trained.hebb"), path(`${name}.hebb`), { recursive: true });
    const other = { ...config, ruvector: { ...network, [name]: wanted } };
    const error = await errorOf(() => open(path(`${name}.hebb`), { config: other }));
    expect(error.message).toMatch(new RegExp(`CONFIG_INVALID: .*${name} ${stored}.*${wanted}`));
    const linear = await open(path(`${name}.hebb`), { config: { ruvector: { propagation: "linear" } } });
    expect(linear.size).toBe(n);
    await linear.close();
  });

  test("is opened as it was trained by whoever does not say otherwise", async () => {
    cpSync(path("trained.hebb"), path("unsaid.hebb"), { recursive: true });
    const index = await open(path("unsaid.hebb"));
    const { layers, hidden, heads } = (await learnedOf(index)).state.options.network!;
    expect([layers, hidden, heads]).toEqual([network.gnn_layers, network.gnn_hidden_dim, network.gnn_heads]);
    await index.close();
  });

  test("a killed store that is closed before its rows are linked again keeps its biases", async () => {
    const killed = await open(path("killed-again.hebb"), { config });
    await killed.close();
    const reopened = await open(path("killed-again.hebb"), { config });
    const again = await learnedOf(reopened);
    expect(biasesOf(again, again.state.network!.biased).count).toBeGreaterThan(again.state.network!.biased.length);
    await reopened.close();
  });

  test("goes on with rows that come and go", async () => {
    await index.delete([480, 481]);
    await index.put("new", turned(480));
    await index.settle();
    const { hits } = await index.query({ vector: turned(490), mode: "neural", k: 50 });
    expect(hits.map(({ id }) => id)).not.toContain(480);
  });

  test("takes its biases with it when it goes", async () => {
    const { state } = await learnedOf(index);
    const biased = [...state.network!.biased];
    expect(biasesOf(await learnedOf(index), biased).count).toBeGreaterThan(0);
    await index.close();
    index = await open(path("trained.hebb"), { config: { ruvector: { propagation: "linear" } } });
    expect(index.stats().learning.serving).not.toContain("attention"); // stored, and yet out
    expect((await learnedOf(index)).attend(turned(3)).attention).toEqual([]);
    await index.learn([{ query: turned(3), chosen: [3] }]);
    expect(index.stats().learning.serving).not.toContain("attention");
    await index.train({ epochs: 1 });
    expect(index.stats().learning.serving).not.toContain("attention");
    expect(biasesOf(await learnedOf(index), biased).count).toBe(0);
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
