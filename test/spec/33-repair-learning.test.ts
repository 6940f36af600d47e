/** What was learned survives a graph that is made anew: shifts, learned edges, the network, and its biases in the rows. */
import { cpSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { openSession } from "../../src/engine/opening.js";
import { type ConfigInput, open, repair } from "../../src/index.js";
import { FIELD } from "../../training/state.js";
import { forge, garble, peek, sectionOf, words } from "../support/damage.js";
import { scratch } from "../support/rows.js";

const path = scratch();
const [n, d, learned] = [300, 8, 130];
const prng = new Prng(3);
const rows = Array.from({ length: n }, () => {
  const row = Float32Array.from({ length: d }, () => prng.gaussian());
  return row.map((x) => x / Math.hypot(...row));
});
/** People ask for a row by a turned copy of it, which only a network can learn. */
const turned = (i: number) => rows[i].map((_, x) => rows[i][(x + d / 2) % d] * (x % 2 ? 1 : -1));
const network = { hnsw_m: 16, gnn_layers: 2, gnn_hidden_dim: 16, gnn_heads: 2, gnn_dropout: 0.05, learning_rate: 0.02 };
const config: ConfigInput = { ruvector: network, learning: { rank: 1, shift_bound: 2 } };

/** Everything learned, and the biases of edges by their ends. */
async function learnedOf(directory: string) {
  const session = await openSession(directory, { readOnly: true });
  const { state } = session.learned;
  const biases = new Map<string, number>();
  const edges = new Set<string>();
  for (let node = 0; node < session.graph.nodes; node++) {
    const { nodes, biases: values, counts } = session.graph.fields(Uint32Array.of(node), 64);
    for (let i = 0; i < counts[0]; i++) {
      edges.add(`${node} ${nodes[i]}`);
      if (values[i] !== 0) biases.set(`${node} ${nodes[i]}`, values[i]);
    }
  }
  const clock = state.header[FIELD.clock];
  const strengths = Array.from({ length: session.graph.nodes }, (_, node) => state.edges.from(node, clock));
  const kept = { parameters: [...state.bytes], network: [...(state.network?.bytes ?? [])], strengths };
  const shifts = [...state.overlay.nodes].map((node) => [node, [...state.overlay.shiftOf(node)!]]).sort();
  await session.close();
  return { ...kept, shifts, biases, edges };
}

let trained: string;
let before: Awaited<ReturnType<typeof learnedOf>>;
beforeAll(async () => {
  trained = path("trained");
  const index = await open(trained, { dimensions: d, metric: "cosine", config, durability: "off" });
  await index.putMany(rows.map((vector, id) => ({ id, vector })));
  await index.settle();
  await index.learn(Array.from({ length: learned }, (_, i) => ({ query: turned(i), chosen: [i] })));
  await index.train({ epochs: 40 });
  await index.close();
  before = await learnedOf(trained);
  expect(before.network.length).toBeGreaterThan(1000);
  expect(before.biases.size).toBeGreaterThan(20);
});

function copyOf(name: string): string {
  cpSync(trained, path(name), { recursive: true });
  return path(name);
}

test("rows are linked anew, and edges that are there again have the biases that they had", async () => {
  const directory = copyOf("linked");
  forge(directory, "rows", 0, words(1000)); // the in-degree of node 0
  expect(await repair(directory)).toMatchObject({ ok: true, repaired: true, lost: [] });
  const after = await learnedOf(directory);
  for (const part of ["parameters", "network", "strengths", "shifts"] as const)
    expect(after[part]).toEqual(before[part]);
  let kept = 0;
  for (const [edge, bias] of before.biases) {
    if (!after.edges.has(edge)) continue;
    expect(after.biases.get(edge)).toBe(bias);
    kept++;
  }
  expect(kept).toBeGreaterThan(0.7 * before.biases.size);
  expect(after.biases.size).toBe(kept);
});

test.each(["garbled", "forged"])("biases in rows that cannot be read are a loss: %s", async (how) => {
  const directory = copyOf(how);
  if (how === "garbled") garble(directory, "rows", 0);
  const { stride } = sectionOf(directory, "rows");
  const lanes = 32; // of 2 m, which is as many: where biases begin
  for (let node = 0; node < n && how === "forged"; node++) {
    forge(directory, "rows", node * stride + 16 + lanes * 12, words(0x7c007c00, 0x7c007c00)); // infinite
  }
  const told = await repair(directory);
  expect(told).toMatchObject({ ok: false, lost: [{ what: "learned" }] });
  expect(told.lost[0].message).toMatch(/attention network learned of the edges/);
  expect(await repair(directory, { acceptLoss: true })).toMatchObject({ ok: true, repaired: true, lost: told.lost });
});

test("a network that is damaged goes, and serves no more; what else was learned stays", async () => {
  const directory = copyOf("network");
  garble(directory, "network", 400);
  const { lost } = await repair(directory, { acceptLoss: true });
  expect(lost).toMatchObject([{ what: "learned", message: expect.stringMatching(/^the attention network/) }]);
  const after = await learnedOf(directory);
  expect(after.network).toEqual([]);
  expect(after.biases.size).toBe(0);
  expect(after.strengths).toEqual(before.strengths);
  const index = await open(directory);
  expect(index.stats().learning.serving).not.toContain("attention");
  await index.close();
});

test("a network of a size that there is not is told, and nothing is taken for it", async () => {
  const directory = copyOf("hostile");
  for (const [at, value] of [
    [0, 0xffffffff],
    [8, 0xffffffff],
    [12, 0],
    [28, 0xffffffff],
  ]) {
    const stored = Uint8Array.from(peek(directory, "network", at, 4));
    forge(directory, "network", at, words(value));
    await expect(open(directory)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
    forge(directory, "network", at, stored);
  }
  await (await open(directory)).close();
});
