/** The child's side of protocol.ts. */
import { type FrozenIndex, type Hit, type Index, open, openFrozen } from "../../src/index.js";
import { answerRequests } from "../remote.js";
import { foundIn } from "./hits.js";
import type { Call, FrozenPass, Requests, Setup, Work } from "./protocol.js";

/** Untimed queries before each timed pass, at most: whoever ran before filled the caches with something else. */
const WARM_UP_QUERIES = 100;

let setup: Setup;
let rows: Float32Array[];
let index: Index;
const bundles = new Map<number, FrozenIndex>();

answerRequests<Requests>({
  async setup(input) {
    setup = input;
    const { queries, d, store } = setup;
    rows = Array.from({ length: queries.length / d }, (_, i) => queries.subarray(i * d, (i + 1) * d));
    index = await open(store, { readOnly: true });
    for (const { bits, directory } of setup.bundles) bundles.set(bits, await openFrozen(directory));
    return index.stats().kernel;
  },
  pass,
  async close() {
    for (const frozen of bundles.values()) await frozen.close();
    await index.close();
    return undefined;
  },
});

async function pass(call: Call): Promise<FrozenPass> {
  const { k, queries: all } = setup;
  const asked = call.call === "exact" ? rows.slice(0, call.queries) : rows;
  const frozen = "bits" in call ? bundles.get(call.bits)! : undefined;
  const search = searchOf(call, frozen);
  globalThis.gc?.();
  for (const query of asked.slice(0, Math.min(WARM_UP_QUERIES, Math.ceil(asked.length / 10)))) search(query);
  const before = frozen?.stats().scans;
  let lists: Hit[][];
  const start = performance.now();
  if (call.call === "scanMany") lists = await frozen!.searchMany(all, { k, include: [] });
  else {
    lists = new Array(asked.length);
    for (let i = 0; i < asked.length; i++) lists[i] = search(asked[i]);
  }
  const seconds = (performance.now() - start) / 1e3;
  const after = frozen?.stats().scans;
  return { seconds, queries: asked.length, ...foundIn(lists, k), work: workBetween(before, after) };
}

function searchOf(call: Call, frozen: FrozenIndex | undefined): (query: Float32Array) => Hit[] {
  const { k } = setup;
  switch (call.call) {
    case "exact":
      return (query) => index.search(query, { k, exact: true, include: [] });
    case "live":
      return (query) => index.search(query, { k, ef: call.ef, include: [] });
    case "graph":
      return (query) => frozen!.search(query, { k, mode: "graph", ef: call.ef, include: [] });
    default:
      return (query) => frozen!.search(query, { k, include: [] });
  }
}

type Scans = Work & { queries: number };

function workBetween(before: Scans | undefined, after: Scans | undefined): Work | undefined {
  const queries = before && after ? after.queries - before.queries : 0;
  if (queries === 0) return undefined;
  const each = (key: keyof Work) => (after![key] - before![key]) / queries;
  return {
    clusters: each("clusters"),
    blocks: each("blocks"),
    candidates: each("candidates"),
    looked: each("looked"),
    compared: each("compared"),
  };
}
