/**
 * The codecs' references (model/codecs/) read what stores hold, and write the same bytes. All of it is equal bit for
 * bit: the kernel's sums have one order on every processor, and the references follow it.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import type { Metric, Tier } from "../../base/types.js";
import { recordBytes } from "../../model/codecs/codec.js";
import { createGraph, GRAPH_SECTIONS, type GraphOptions, graphStrides } from "../../native/graph.js";
import { createRegion } from "../../native/index.js";
import { open } from "../../src/index.js";
import { codebookAt, codecOf, encodedOf, placeAt, readTiers, vectorOf } from "../support/codecs.js";
import { randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";
import { clusteredRows, countsOf, range, relativeError, TIERS } from "../support/tiers.js";

const path = scratch();

/** Rows that go to each tier: the first ones train the codebook. */
const GROUPS = { archive: 280, cold: 40, cool: 40, warm: 40, hot: 10 };
const N = 410;

interface Case {
  d: number;
  metric: Metric;
  rows: Float32Array;
  compress?: object;
}

/** Each value one of four. */
function gridRows(d: number): Float32Array {
  const prng = new Prng(5);
  return Float32Array.from({ length: N * d }, () => prng.below(4));
}

/** Some values far out. */
function heavyRows(d: number): Float32Array {
  const prng = new Prng(6);
  return Float32Array.from({ length: N * d }, () => prng.gaussian() / (0.05 + prng.next()));
}

/** Lengths from a thousandth to a thousand. */
function longAndShortRows(d: number): Float32Array {
  const prng = new Prng(7);
  const by = Float32Array.from({ length: N }, () => Math.exp(3 * prng.gaussian()));
  return randomRows(N, d, 3).map((x, i) => x * by[Math.floor(i / d)]);
}

const of = (d: number) => randomRows(N, d, 1);

/** So different that training chooses each codec for one of them; the last test sees to it. */
const CASES: Record<string, Case> = {
  "one dimension": { d: 1, metric: "l2", rows: of(1) },
  "6 dimensions": { d: 6, metric: "dot", rows: of(6) },
  "7 dimensions": { d: 7, metric: "cosine", rows: of(7) },
  "7 dimensions, few values": { d: 7, metric: "l2", rows: gridRows(7) },
  "rows all the same": { d: 20, metric: "l2", rows: new Float32Array(N * 20).fill(3) },
  "no entropy coder, few centroids": {
    d: 33,
    metric: "l2",
    rows: longAndShortRows(33),
    compress: { entropy_coder: "none", pq8_centroids: 20, pq4_centroids: 5 },
  },
  "Huffman codes": { d: 48, metric: "dot", rows: longAndShortRows(48), compress: { entropy_coder: "huffman" } },
  "no residuals": { d: 48, metric: "l2", rows: longAndShortRows(48), compress: { residual_bits: 0 } },
  "values too small for halves": { d: 64, metric: "l2", rows: of(64).map((x) => x * 1e-30) },
  "values too large for halves, two centroids": {
    d: 65,
    metric: "dot",
    rows: of(65).map((x) => x * 1e15),
    compress: { pq8_centroids: 2 },
  },
  "384 dimensions, few values": { d: 384, metric: "dot", rows: gridRows(384) },
  "384 dimensions, clusters": {
    d: 384,
    metric: "cosine",
    rows: clusteredRows(N, 384, 1),
    compress: { entropy_coder: "huffman" },
  },
  "384 dimensions, many lengths": { d: 384, metric: "l2", rows: longAndShortRows(384) },
  "1,100 dimensions, values far out": {
    d: 1100,
    metric: "dot",
    rows: heavyRows(1100),
    compress: { pq_subvectors: 7 },
  },
};
const chosen = new Set<string>();

/** Equal bit for bit; comparing byte by byte in vitest takes long. */
function expectSame(found: Uint8Array | Float32Array, wanted: Uint8Array | Float32Array, what: string): void {
  const [a, b] = [found, wanted].map((x) => Buffer.from(x.buffer, x.byteOffset, x.byteLength));
  if (!a.equals(b)) expect.fail(`${what}: ${[...found].join()}; expected ${[...wanted].join()}`);
}

test.each(Object.keys(CASES))(
  "%s: what the reference decodes is what get gives, what it encodes what is stored",
  async (name) => {
    const { d, metric, rows, compress } = CASES[name];
    const config = {
      storage: { keep_originals: false },
      tensor_compress: { codebook_iterations: 3, ...compress },
      ruvector: { hnsw_m: 4, hnsw_ef_construction: 8 },
    };
    const index = await open(path(name), { dimensions: d, metric, durability: "off", config });
    let from = 0;
    for (const tier of ["archive", "cold", "cool", "warm", "hot"] as const) {
      const ids = range(GROUPS[tier], from);
      await index.putMany({ ids, vectors: rows.subarray(from * d, (from + ids.length) * d) });
      if (tier !== "hot") await index.retier({ force: tier }); // what is less precise stays where it is
      from += ids.length;
    }
    expect(countsOf(index)).toEqual(GROUPS);
    const got = range(N).map((id) => index.get(id)!.vector);
    await index.close();

    const store = readTiers(path(name));
    for (const { kind } of Object.values(store.codebooks[0]!)) chosen.add(kind);
    expect(store.rows.map(({ id }) => id)).toEqual(range(N));
    for (const row of store.rows) {
      const given = rowOf(rows, row.id, d);
      if (row.tier === "hot") {
        expectSame(got[row.id], given, `row ${row.id} as it was given`);
        expectSame(row.record.subarray(0, 4 * d), new Uint8Array(given.slice().buffer), `record of row ${row.id}`);
        continue;
      }
      const codec = codecOf(row, store.codebooks);
      expectSame(got[row.id], vectorOf(row.record, row, codec, d, metric), `row ${row.id} in tier ${row.tier}`);
      if (row.id % 20 > 1) continue;
      const encoded = codec.encode(encodedOf(given, row, metric));
      expectSame(row.record, encoded, `record of row ${row.id} in tier ${row.tier}`);
    }
    // A power of two that brings the largest value to 1 or above, where halves could not hold it.
    for (const { exponent, id } of store.rows.filter(({ tier }) => tier === "warm")) {
      const most = Math.max(...rowOf(rows, id, d).map(Math.abs));
      const fits = metric === "cosine" || most === 0 || (most >= 2 ** -8 && most <= 2 ** 14);
      const scaled = most * 2 ** -exponent;
      expect(fits ? exponent === 0 : scaled >= 1 && scaled < 2, `exponent ${exponent} of ${most}`).toBe(true);
    }
  },
);

test("each codec was among them", () => {
  expect([...chosen].toSorted()).toEqual(["ecsq", "levels", "pairs", "product", "scalar", "signs"]);
});

test("records of several codebooks, and slots that are used again", async () => {
  const d = 24;
  const n = 300;
  const rows = [0, 1, 2].map((round) => clusteredRows(n, d, round).map((x) => x + 4 * round));
  const config = {
    storage: { keep_originals: false },
    tensor_compress: { codebook_update_freq: n, codebook_iterations: 3 },
  };
  const index = await open(path("versions"), { dimensions: d, metric: "l2", durability: "off", config });
  await index.putMany({ ids: range(n), vectors: rows[0] });
  await index.retier({ force: "warm" });
  await index.retier({ force: "cold" });
  await index.putMany({ ids: range(n, n), vectors: rows[1] });
  await index.retier({ force: "cold" });
  await index.delete(range(n));
  await index.putMany({ ids: range(n, 2 * n), vectors: rows[2] });
  await index.settle();
  await index.retier({ force: "cool" });
  await index.retier({ force: "cold" });
  const got = new Map(range(2 * n, n).map((id) => [id, index.get(id)!.vector]));
  await index.close();

  const { rows: kept, codebooks, head } = readTiers(path("versions"));
  expect(kept.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(range(2 * n, n));
  for (const row of kept) {
    const vector = vectorOf(row.record, row, codecOf(row, codebooks), d, "l2");
    expectSame(got.get(row.id)!, vector, `row ${row.id}`);
    expect(relativeError(vector, rowOf(rows[Math.floor(row.id / n)], row.id % n, d))).toBeLessThan(0.3);
  }
  const slots = kept.map(({ tier, slot }) => `${tier} ${slot}`);
  expect(new Set(slots).size).toBe(2 * n);

  expect(Buffer.from(head.buffer, 0, 4).toString()).toBe("HTIR");
  const [, version, keepsOriginals, current, ...counters] = head;
  expect([version, keepsOriginals]).toEqual([1, 0]);
  const [counts, used, users, order] = [
    counters.slice(0, 5),
    counters.slice(5, 10),
    counters.slice(10, 14),
    counters.slice(14, 18),
  ];
  expect(counts).toEqual([0, 0, 0, 2 * n, 0]);
  for (const { tier, slot } of kept) expect(slot).toBeLessThanOrEqual(used[TIERS.indexOf(tier)]);
  const versions = range(4).map((v) => kept.filter((row) => row.version === v).length);
  expect(users).toEqual(versions);
  expect(versions.filter((count) => count > 0)).toEqual([n, n]);
  expect(order.map((when) => when > 0)).toEqual(codebooks.map((book) => book !== undefined));
  expect(order[current - 1]).toBe(Math.max(...order));
});

describe("records of any bytes are read as the reference reads them, or refused as it refuses them", () => {
  const n = 300;
  const PLACES = GRAPH_SECTIONS.indexOf("places");
  const BOOKS = GRAPH_SECTIONS.indexOf("codebooks");

  /** A graph of which each tier but hot has a quarter. */
  async function tiered(rows: Float32Array, d: number, metric: Metric, coder: "ans" | "huffman" | "none") {
    const options: GraphOptions = {
      dimensions: d,
      metric,
      m: 4,
      efConstruction: 8,
      ml: 1,
      seed: 1,
      maxNodes: 4096,
      profile: "small",
      stopMargin: -1,
      keepOriginals: false,
      cacheBytes: 0,
    };
    const { vector, row, upper, id, place, warm, cool, cold, archive, codebooks } = graphStrides(options);
    const perNode = [1, vector, row, upper, id].map((bytes) => 4096 * bytes);
    const tiers = [place, warm, cool, cold, archive].map((bytes) => 4096 * bytes);
    const region = createRegion([4096, ...perNode, 1 << 20, ...tiers, codebooks]);
    const graph = createGraph(region, options);
    const nodes = graph.allocate(n)!;
    graph.setVectors(nodes, rows.subarray(0, n * d), 1);
    graph.publish(nodes, new Uint32Array(0));
    const training = { sample: n, seed: 1, subvectors: 0, centroids8: 200, centroids4: 10, outlierThreshold: 1.5 };
    expect(await graph.train({ ...training, coder, residualBits: 8, iterations: 3 })).toBe(true);
    for (const tier of [1, 2, 3, 4]) await graph.retier(nodes.subarray(((tier - 1) * n) / 4, (tier * n) / 4), tier);
    return { region, graph, books: Buffer.from(region.read(BOOKS, 0, codebooks)) };
  }

  test.each([
    [1, "l2", "ans", of],
    [7, "cosine", "ans", of],
    [33, "dot", "huffman", longAndShortRows],
    [40, "l2", "ans", (d: number) => of(d).map((x) => x * 6e37)],
    [70, "l2", "none", heavyRows],
    [384, "cosine", "ans", heavyRows],
    [384, "l2", "ans", longAndShortRows],
    [1100, "dot", "huffman", heavyRows],
  ] as const)("of %d dimensions under %s, coder %s", async (d, metric, coder, rows) => {
    const { region, graph, books } = await tiered(rows(d), d, metric, coder);
    const codebooks = [codebookAt(books, 0, d, metric)];
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 1, maxLength: 4 });
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(n - 1), fc.oneof(flips, fc.integer()), (node, change) => {
        const place = placeAt(Buffer.from(region.read(PLACES, 16 * node, 16)), 0);
        const section = GRAPH_SECTIONS.indexOf(place.tier as Exclude<Tier, "hot">);
        const bytes = recordBytes(place.tier, d);
        const at = (place.slot - 1) * bytes;
        const before = region.read(section, at, bytes);
        const record = before.slice();
        if (typeof change === "number") {
          const prng = new Prng(change);
          for (let i = 0; i < bytes; i++) record[i] = prng.below(256);
        } else {
          for (const [byte, bit] of change) record[byte % bytes] ^= 1 << bit;
        }
        region.write(section, at, record);
        const codec = codecOf(place, codebooks);
        if (codec.decode(record) === undefined) refused++;
        expectSame(graph.vector(node), vectorOf(record, place, codec, d, metric), `a record of tier ${place.tier}`);
        region.write(section, at, before);
      }),
      runs(400),
    );
    if (d > 7) expect(refused).toBeGreaterThan(0);
    graph.close();
  });
});
