/**
 * Frozen bundles: what an index answers exhaustively, a bundle of it answers, bit for bit, for ever, and by one number
 * everybody can tell which bundle it is. (What is refused: 29. Kernels against each other: test/kernel. Being killed:
 * test/crash.)
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Prng } from "../../base/prng.js";
import { FrozenReader } from "../../src/engine/frozen-reader.js";
import { compareIds } from "../../src/engine/id-order.js";
import { Learned } from "../../src/engine/learned.js";
import { Linker } from "../../src/engine/linker.js";
import {
  type Feedback,
  type FreezeOptions,
  type FrozenIndex,
  type FrozenSearchOptions,
  type Id,
  type Index,
  type Metric,
  open,
  openFrozen,
  type Payload,
} from "../../src/index.js";
import { ADAPTER, SHIFT } from "../../training/arms.js";
import { bare, bytesIn, digestsIn, flipIn, idsOf, manifestIn, sectionsIn, touchAll } from "../support/frozen.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const path = scratch();
const CHILD = fileURLToPath(new URL("../support/frozen-child.mjs", import.meta.url));
const METRICS = ["l2", "cosine", "dot"] as const;
const [n, d] = [1500, 24];
const rows = randomRows(n, d, 281);
const queries = randomRows(30, d, 282);
const query = (i: number) => rowOf(queries, i, d);

/** Ids of every kind, in the order that a bundle has them: integers ascending, then strings by their UTF-8. */
const KINDS: Id[] = [
  Number.MIN_SAFE_INTEGER,
  -1,
  0,
  7,
  42,
  2 ** 32,
  2 ** 32 + 1,
  Number.MAX_SAFE_INTEGER,
  "\0",
  "42",
  "__proto__",
  "a",
  "a\0b",
  "ab",
  "y".repeat(46),
  "z".repeat(46),
  "z".repeat(47),
  "z".repeat(512),
  "é",
  "é".repeat(24), // 48 bytes
  "é".repeat(256),
  "日本",
  "\uffff", // in UTF-16 behind the next, in UTF-8 before it
  "\u{1d4b3}",
];
/** Where the ids of every kind are among the rows. */
const idAt = (i: number): Id => (i % 50 === 3 && i < 50 * KINDS.length ? KINDS[Math.floor(i / 50)] : `doc-${i}`);
const ids = range(n).map(idAt);
const payloadAt = (i: number): Payload | undefined =>
  i % 3 === 0 ? undefined : { i, text: `row "${i}", née`, tags: ["x", i % 2 === 0], deep: { none: null } };
const payloads = range(n).map(payloadAt);
const indexes = {} as Record<Metric, Index>;
const bundles = {} as Record<Metric, FrozenIndex>;

beforeAll(async () => {
  for (const metric of METRICS) {
    indexes[metric] = await create(`${metric}.hebb`, metric);
    await indexes[metric].putMany({ ids, vectors: rows, payloads });
    bundles[metric] = await indexes[metric].freeze(path(metric));
  }
});
afterAll(async () => {
  for (const metric of METRICS) await Promise.all([indexes[metric].close(), bundles[metric].close()]);
});
afterEach(() => {
  vi.restoreAllMocks();
});

const create = (name: string, metric: Metric = "l2", dimensions = d) =>
  open(path(name), { dimensions, metric, durability: "off", config: { ruvector: { hnsw_m: 8 } } });

/** A small index of these rows, settled. */
async function small(name: string, order: readonly number[] = range(200), metric: Metric = "l2"): Promise<Index> {
  const index = await create(name, metric);
  await index.putMany({
    ids: order.map(idAt),
    vectors: Float32Array.from(order.flatMap((i) => [...rowOf(rows, i, d)])),
    payloads: order.map(payloadAt),
  });
  await index.settle();
  return index;
}

async function frozenOnce<T>(index: Index, name: string, use: (frozen: FrozenIndex) => T, options?: FreezeOptions) {
  const frozen = await index.freeze(path(name), options);
  try {
    return await use(frozen);
  } finally {
    await frozen.close();
  }
}

const witnessOf = (index: Index, name: string, options?: FreezeOptions) =>
  frozenOnce(index, name, ({ witness }) => witness, options);

describe.each(METRICS)("under %s", (metric) => {
  test("a bundle holds all rows as they were put, in the order of their ids", async () => {
    const frozen = await openFrozen(path(metric), { verify: "eager" });
    const order = range(n).sort((a, b) => compareIds(ids[a], ids[b]));
    expect([...frozen.entries()]).toEqual(
      order.map((i) => ({ id: ids[i], vector: rowOf(rows, i, d), payload: payloads[i] })),
    );
    expect(order.map((i) => ids[i]).filter((id) => KINDS.includes(id))).toEqual(KINDS);
    for (const i of range(n)) {
      expect(frozen.get(ids[i])).toEqual({ id: ids[i], vector: rowOf(rows, i, d), payload: payloads[i] });
      expect(frozen.has(ids[i])).toBe(true);
    }
    for (const absent of [
      -2,
      1,
      43,
      "0",
      "-1",
      "doc-",
      "z".repeat(45),
      "z".repeat(511),
      "é".repeat(255),
      "\u{1d4b4}",
    ]) {
      expect(frozen.get(absent)).toBeUndefined();
      expect(frozen.has(absent)).toBe(false);
    }
    expect(frozen.get(-0)?.id).toBe(0);
    expect([frozen.size, frozen.dimensions, frozen.metric, frozen.rotationKind]).toEqual([n, d, metric, "hadamard"]);
    expect(frozen.get(42)).not.toEqual(frozen.get("42"));
    await frozen.close();
  });

  test("a scan answers as an exhaustive search of the index: ids, distances and scores, to the last bit", async () => {
    const opened = await openFrozen(path(metric));
    for (const frozen of [bundles[metric], opened]) {
      for (const options of [{ k: 1 }, {}, { k: 100 }, { k: 10, rerankFactor: 1024 }]) {
        for (let q = 0; q < 30; q++) {
          const exact = indexes[metric].search(query(q), { k: options.k, exact: true });
          expect(frozen.search(query(q), options)).toEqual(exact);
        }
      }
    }
    const all = opened.search(query(0), { k: 1_000_000 });
    expect(all).toEqual(indexes[metric].search(query(0), { k: n, exact: true }));
    await opened.close();
  });

  test("in mode graph a bundle answers as the index does", () => {
    let missed = 0;
    for (const options of [{}, { k: 50 }, { k: 3, ef: 200 }, { k: 20, ef: 1 }, { k: 1, ef: 1 }]) {
      for (let q = 0; q < 30; q++) {
        const hits = bundles[metric].search(query(q), { mode: "graph", ...options });
        expect(hits).toEqual(indexes[metric].search(query(q), options));
        if (hits[0].id !== bundles[metric].search(query(q))[0].id) missed++;
      }
    }
    expect(missed).toBeGreaterThan(0); // else nobody walked
  });

  test("searchMany answers as search does, whatever is asked", async () => {
    for (const options of [
      {},
      { k: 3 },
      { k: 2000 },
      { rerankFactor: 0 },
      { rerankFactor: 1 },
      { mode: "graph" },
      { mode: "graph", ef: 100, include: ["vector"] },
      { include: [] },
    ] satisfies FrozenSearchOptions[]) {
      const many = await bundles[metric].searchMany(queries, options);
      expect(many).toEqual(range(30).map((q) => bundles[metric].search(query(q), options)));
    }
    const more = randomRows(700, d, 283); // more than go together
    const many = await bundles[metric].searchMany(more, { k: 2 });
    expect(many).toEqual(range(700).map((q) => bundles[metric].search(rowOf(more, q, d), { k: 2 })));
    expect(await bundles[metric].searchMany(new Float32Array(0))).toEqual([]);
    const asked = queries.slice();
    const answers = bundles[metric].searchMany(asked, { k: 2 });
    asked.fill(Number.NaN);
    expect(await answers).toEqual(range(30).map((q) => bundles[metric].search(query(q), { k: 2 })));
  });

  test("rerankFactor caps how many vectors are compared; with 0 distances are estimates, and better ones with more bits", async () => {
    const frozen = bundles[metric];
    const comparedBy = (options: FrozenSearchOptions) => {
      const before = frozen.stats().scans;
      const hits = frozen.search(query(1), { k: 10, ...options });
      const { queries: asked, compared } = frozen.stats().scans;
      expect(asked).toBe(before.queries + 1);
      expect(hits).toHaveLength(10);
      return { hits, compared: compared - before.compared };
    };
    const exact = indexes[metric].search(query(1), { k: 10, exact: true });
    expect(comparedBy({ rerankFactor: 1 }).compared).toBeLessThanOrEqual(10);
    expect(comparedBy({ rerankFactor: 2 }).compared).toBeLessThanOrEqual(20);
    expect(comparedBy({ rerankFactor: 1024 }).hits).toEqual(exact);
    expect(comparedBy({ rerankFactor: 1024 }).compared).toBeLessThan(n / 2);
    for (const { id, distance, score } of comparedBy({ rerankFactor: 1 }).hits) {
      const right = indexes[metric].search(query(1), { k: n, exact: true }).find((hit) => hit.id === id)!;
      expect({ distance, score }).toEqual({ distance: right.distance, score: right.score });
    }
    expect(comparedBy({ rerankFactor: 0 }).compared).toBe(0);
    const errors: number[] = [];
    for (const bits of [1, 4, 8]) {
      errors.push(
        await frozenOnce(
          indexes[metric],
          `bits-${metric}`,
          (coded) => {
            const hits = coded.search(query(1), { k: n, rerankFactor: 0 });
            expect(new Set(idsOf(hits)).size).toBe(n);
            const distances = hits.map(({ distance }) => distance);
            expect(distances).toEqual(distances.toSorted((a, b) => a - b));
            const byId = new Map(indexes[metric].search(query(1), { k: n, exact: true }).map((hit) => [hit.id, hit]));
            return hits.reduce((sum, hit) => sum + Math.abs(hit.distance - byId.get(hit.id)!.distance) / n, 0);
          },
          { bits },
        ),
      );
    }
    expect(errors).toEqual(errors.toSorted((a, b) => b - a));
    expect(errors[2]).toBeGreaterThan(0);
    expect(errors[2]).toBeLessThan(errors[0] / 20);
  });

  test.each([
    { rotation: "haar" },
    { bits: 1 },
    { bits: 8, seed: Number.MAX_SAFE_INTEGER },
    { rotation: "haar", bits: 2, seed: 3, rerankFactor: 1024 },
  ] satisfies FreezeOptions[])("%j changes the codes; answers as good as none", async (options) => {
    await frozenOnce(
      indexes[metric],
      `coded-${metric}`,
      (frozen) => {
        expect(frozen.stats()).toMatchObject(options);
        expect(frozen.witness).not.toBe(bundles[metric].witness);
        let missed = 0;
        for (let q = 0; q < 30; q++) {
          const exact = indexes[metric].search(query(q), { k: 12, exact: true });
          const hits = frozen.search(query(q), { k: 10, rerankFactor: 1024 });
          missed += 10 - hits.filter(({ id }) => exact.slice(0, 10).some((hit) => hit.id === id)).length;
          // Whatever is missed lies beyond three standard deviations; what is found is exact.
          expect(exact).toEqual(expect.arrayContaining(hits));
        }
        expect(missed).toBeLessThanOrEqual(1);
      },
      options,
    );
  });
});

test("of equally near rows the lower ids come first, whatever the order they were put in", async () => {
  const answers = [];
  for (const [name, order] of [
    ["forwards", range(KINDS.length)],
    ["backwards", range(KINDS.length).reverse()],
    ["shuffled", new Prng(4).shuffle(range(KINDS.length))],
  ] as const) {
    const index = await create(`ties-${name}`);
    await index.putMany(order.map((i) => ({ id: KINDS[i], vector: rowOf(rows, i % 2, d) })));
    answers.push(
      await frozenOnce(index, `ties-${name}.frozen`, async (frozen) => {
        const found = frozen.search(rowOf(rows, 0, d), { k: 100 });
        const nearest = range(KINDS.length).filter((i) => i % 2 === 0);
        const farther = range(KINDS.length).filter((i) => i % 2 === 1);
        expect(idsOf(found)).toEqual([...nearest, ...farther].map((i) => KINDS[i]));
        for (let k = 1; k < KINDS.length; k++) {
          expect(frozen.search(rowOf(rows, 0, d), { k })).toEqual(found.slice(0, k));
          expect(await frozen.searchMany(rowOf(rows, 0, d).slice(), { k })).toEqual([found.slice(0, k)]);
        }
        return found;
      }),
    );
    await index.close();
  }
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
});

test("options: k, include, and undefined ones", () => {
  const frozen = bundles.cosine;
  expect(frozen.search(query(0))).toHaveLength(10);
  const [plain] = frozen.search(query(0), { k: 1 });
  expect(Object.keys(plain).sort()).toEqual(["distance", "id", "payload", "score"]);
  const [nothing] = frozen.search(query(0), { k: 1, include: [] });
  expect(Object.keys(nothing).sort()).toEqual(["distance", "id", "score"]);
  const [full] = frozen.search(query(0), { k: 1, include: ["vector", "payload"] });
  expect(full).toEqual({ ...plain, vector: rowOf(rows, ids.indexOf(plain.id), d) });
  const none = { k: undefined, mode: undefined, ef: undefined, rerankFactor: undefined, include: undefined };
  expect(frozen.search(query(0), none)).toEqual(frozen.search(query(0)));
  const asked = Array.from(query(0));
  expect(frozen.search(asked)).toEqual(frozen.search(query(0)));
  expect(asked).toEqual(Array.from(query(0)));
});

test("one row, and rows without any payload or long id, which need no texts", async () => {
  const index = await create("one.hebb");
  await index.put("only", rowOf(rows, 0, d));
  await frozenOnce(index, "one", async (frozen) => {
    const hit = { id: "only", distance: 0, score: 0, payload: undefined };
    expect(frozen.search(rowOf(rows, 0, d), { k: 5 })).toEqual([hit]);
    expect(frozen.search(rowOf(rows, 0, d), { k: 5, mode: "graph" })).toEqual([hit]);
    expect([...frozen.entries()]).toEqual([{ id: "only", vector: rowOf(rows, 0, d), payload: undefined }]);
    expect(sectionsIn(path("one")).filter((name) => name.includes("text"))).toEqual([]);
  });
  await index.close();
});

describe("the witness", () => {
  const base = { name: "base.hebb" };
  let index: Index;
  let witness: string;
  beforeAll(async () => {
    index = await small(base.name);
    witness = await witnessOf(index, "base");
  });
  afterAll(() => index.close());

  test("is the same when the same rows are frozen again, here, elsewhere and from another index", async () => {
    expect(witness).toMatch(/^[0-9a-f]{64}$/);
    expect(await witnessOf(index, "base")).toBe(witness);
    expect(await witnessOf(index, "elsewhere/and/deeper")).toBe(witness);
    const other = await small("other.hebb");
    expect(other.stats()).toMatchObject({ size: 200 });
    expect(await witnessOf(other, "other")).toBe(witness);
    expect(manifestIn(path("other")).lineage).not.toBe(manifestIn(path("base")).lineage);
    expect(manifestIn(path("other")).seal).not.toBe(manifestIn(path("base")).seal);
    await other.close();
  });

  test("is the same after searches, moves between tiers, a checkpoint and reopening", async () => {
    const moved = await small("moved.hebb");
    moved.search(query(0));
    await moved.retier({ force: "archive" }); // for want of a codebook, warm
    expect(await witnessOf(moved, "moved")).toBe(witness);
    await moved.retier({ force: "hot" });
    await moved.retier({ force: "warm" });
    await moved.checkpoint();
    await moved.close();
    const again = await open(path("moved.hebb"));
    expect(again.stats().tiers.warm.count).toBe(200);
    again.search(query(1));
    expect(await witnessOf(again, "moved")).toBe(witness);
    await again.compact();
    expect(await witnessOf(again, "moved")).toBe(witness);
    await again.close();
  });

  test("is not touched by memoryClass, generation and lineage, which are kept", async () => {
    const named = { memoryClass: "née", generation: "after lunch", lineage: "mine" };
    await frozenOnce(index, "named", (frozen) => expect(frozen.stats()).toMatchObject({ ...named, witness }), named);
    expect(manifestIn(path("named"))).toMatchObject(named);
    const other = { memoryClass: "", generation: 0, lineage: "" };
    await frozenOnce(index, "named", (frozen) => expect(frozen.stats()).toMatchObject({ ...other, witness }), other);
    await frozenOnce(index, "named", (frozen) => {
      expect(frozen.stats()).toMatchObject({ memoryClass: undefined, lineage: manifestIn(path("base")).lineage });
      expect(frozen.stats().generation).toBeTypeOf("number");
    });
  });

  test.each<[string, FreezeOptions]>([
    ["the seed", { seed: 1 }],
    ["the rotation", { rotation: "haar" }],
    ["the bits", { bits: 5 }],
    ["rerankFactor", { rerankFactor: 21 }],
  ])("is another where %s is", async (_, options) => {
    expect(await witnessOf(index, "optioned", options)).not.toBe(witness);
  });

  test("is another where one vector, id or payload is", async () => {
    const changes: [string, (of: Index) => Promise<unknown>][] = [
      [
        "vector",
        (of) =>
          of.put(
            "doc-9",
            rowOf(rows, 9, d).map((x, j) => (j === 5 ? Math.fround(x + 1e-6) : x)),
            payloads[9],
          ),
      ],
      ["payload", (of) => of.setPayload("doc-9", { i: 10 })],
      ["no payload", (of) => of.setPayload("doc-10", undefined)],
      ["id", (of) => of.delete(["doc-9"]).then(() => of.put("doc-09", rowOf(rows, 9, d), payloads[9]))],
      ["one less", (of) => of.delete(["doc-9"])],
    ];
    const seen = new Set([witness]);
    for (const [name, change] of changes) {
      cpSync(path(base.name), path(`${name}.hebb`), { recursive: true });
      const changed = await open(path(`${name}.hebb`));
      await change(changed);
      seen.add(await witnessOf(changed, "changed"));
      await changed.close();
    }
    expect(seen.size).toBe(1 + changes.length);
  });

  test("of rows put in another order differs by the graph alone: whatever a scan or get reads is the same", async () => {
    const other = await small("order.hebb", new Prng(9).shuffle(range(200)));
    await frozenOnce(other, "order", (frozen) => {
      const [mine, theirs] = [digestsIn(path("order")), digestsIn(path("base"))];
      const differing = Object.keys(theirs).filter((name) => mine[name] !== theirs[name]);
      expect(Object.keys(mine)).toEqual(Object.keys(theirs));
      for (const name of differing) expect(["head", "rows", "upper", "projection"]).toContain(name);
      expect(differing).toContain("rows");
      expect(frozen.witness).not.toBe(witness);
      for (let q = 0; q < 10; q++) {
        const hits = frozen.search(query(q));
        expect(hits).toEqual(index.search(query(q), { exact: true }));
      }
    });
    await other.close();
  });
});

test("stats say what is in the bundle and what was done with it", async () => {
  const index = await small("stats.hebb");
  const options = { rotation: "haar", seed: 5, bits: 3, rerankFactor: 7 } as const;
  const frozen = await index.freeze(path("stats"), options);
  const stats = frozen.stats();
  const manifest = manifestIn(path("stats"));
  expect(stats).toMatchObject({ size: 200, leftOut: 0, dimensions: d, metric: "l2", ...options });
  expect(stats.kernel).toBe(index.stats().kernel);
  expect(stats.witness).toBe(manifest.witness);
  expect(stats.overlay).toBeUndefined();
  expect(stats.generation).toBe(manifest.generation);
  expect(stats.lineage).toMatch(/^[0-9a-f]{32}$/);
  expect(stats.clusters).toBe(manifest.parameters.clusters);
  const sectionBytes = Object.fromEntries(manifest.sections.map(({ name, bytes }) => [name, bytes]));
  expect(stats.bytes.sections).toEqual(sectionBytes);
  expect(stats.bytes.total).toBe(Object.values(sectionBytes).reduce((a, b) => a + b));
  expect(stats.bytes.resident).toBeGreaterThan(0);
  expect(stats.codes.bytes).toBe(sectionBytes.codes + sectionBytes.planes);
  expect(stats.codes.bytesPerVector).toBe(stats.codes.bytes / 200);
  expect(sectionBytes.rotation).toBe(4 * d * 64);
  expect(stats.scans).toEqual({ queries: 0, clusters: 0, blocks: 0, candidates: 0, looked: 0, compared: 0 });
  frozen.search(query(0));
  frozen.search(query(0), { mode: "graph" }); // no scan
  await frozen.searchMany(queries.subarray(0, 3 * d));
  const { scans } = frozen.stats();
  expect(scans.queries).toBe(4);
  for (const count of Object.values(scans)) expect(count).toBeGreaterThan(0);
  expect(scans.compared).toBeLessThanOrEqual(4 * 7 * 10);
  await frozen.close();
  await index.close();
});

describe("refresh", () => {
  test("says whether the bundle is the one that is there, and answers from the one that is", async () => {
    const index = await small("refresh.hebb");
    const writer = await index.freeze(path("refresh"));
    const frozen = await openFrozen(path("refresh"), { verify: "eager" });
    expect(await frozen.refresh()).toBe("up-to-date");
    await (await index.freeze(path("refresh"))).close(); // the same
    expect(await frozen.refresh()).toBe("up-to-date");
    await (await index.freeze(path("refresh"), { generation: "another" })).close(); // the same rows, of another state
    expect(await frozen.refresh()).toBe("replaced");
    expect(frozen.stats()).toMatchObject({ generation: "another", witness: writer.witness });
    const [witness, before] = [frozen.witness, frozen.search(query(0), { k: 300 })];

    await index.put("new", query(0), { is: "new" });
    await index.delete(["doc-1"]);
    const next = await index.freeze(path("refresh"));
    expect(frozen.search(query(0), { k: 300 })).toEqual(before);
    expect(frozen.has("new")).toBe(false);
    const entries = frozen.entries();
    expect(entries.next().value).toEqual(frozen.get(KINDS[0]));
    const inFlight = frozen.searchMany(queries, { k: 300 });
    const expected = range(30).map((q) => frozen.search(query(q), { k: 300 }));
    expect(await frozen.refresh()).toBe("replaced");
    expect(await inFlight).toEqual(expected); // of the one that was asked
    expect(() => entries.next()).toThrow("was replaced; ask for its entries again");
    expect(frozen.witness).toBe(next.witness);
    expect(frozen.witness).not.toBe(witness);
    expect(frozen.search(query(0), { k: 300 })).toEqual(index.search(query(0), { k: 300, exact: true }));
    expect(frozen.get("new")).toEqual({ id: "new", vector: query(0), payload: { is: "new" } });
    expect([frozen.size, frozen.has("doc-1"), [...frozen.entries()].length]).toEqual([200, false, 200]);
    await frozen.verify();
    expect(await frozen.refresh()).toBe("up-to-date");

    // The handle that froze the first goes on with it until it is asked.
    expect([writer.witness, writer.has("doc-1")]).toEqual([witness, true]);
    expect(await errorOf(() => writer.verify())).toMatchObject({ code: "BUNDLE_CORRUPT" });
    expect(await Promise.all([writer.refresh(), writer.refresh()])).toEqual(["replaced", "replaced"]);
    expect(writer.witness).toBe(next.witness);

    renameSync(path("refresh"), path("refresh-moved"));
    expect(await frozen.refresh()).toBe("missing");
    expect(frozen.search(query(0), { k: 1 })).toMatchObject([{ id: "new", distance: 0 }]);
    renameSync(path("refresh-moved"), path("refresh"));
    expect(await frozen.refresh()).toBe("up-to-date");
    for (const one of [writer, frozen, next]) await one.close();
    await index.close();
  });

  test("to a bundle that cannot be opened leaves the handle as it was", async () => {
    const index = await small("unrefreshed.hebb");
    const frozen = await index.freeze(path("unrefreshed"));
    const before = touchAll(frozen, query(0));
    await (await index.freeze(path("unrefreshed"), { seed: 1 })).close();
    rmSync(join(path("unrefreshed"), manifestIn(path("unrefreshed")).sections[0].file));
    expect(await errorOf(() => frozen.refresh())).toMatchObject({ code: "BUNDLE_CORRUPT" });
    expect(touchAll(frozen, query(0))).toEqual(before);
    await (await index.freeze(path("unrefreshed"), { seed: 2 })).close();
    expect(await frozen.refresh()).toBe("replaced");
    expect(frozen.stats().seed).toBe(2);
    await frozen.close();
    await index.close();
  });
});

test("a bundle that is replaced while another process searches it changes nothing there until it is refreshed", async () => {
  const index = await small("shared.hebb");
  const first = await index.freeze(path("shared"));
  const child: ChildProcess = fork(CHILD, [path("shared"), JSON.stringify([...query(2)])]);
  try {
    const heard = async () => (await once(child, "message"))[0];
    const { answer } = await heard();
    expect(answer).toContain(first.witness);
    let rounds = -1;
    for (let i = 0; i < 5; i++) {
      await index.put(`more-${i}`, query(2));
      await index.delete([`doc-${i + 10}`]);
      await (await index.freeze(path("shared"), { seed: i, bits: 1 + i })).close();
      const asked = heard();
      child.send("tell");
      const told = await asked;
      expect(told).toMatchObject({ answer, others: 0 });
      expect(told.rounds).toBeGreaterThan(rounds); // it searched meanwhile
      rounds = told.rounds;
    }
    const asked = heard();
    child.send("refresh");
    const refreshed = await asked;
    expect(refreshed.state).toBe("replaced");
    expect(refreshed.answer).toContain(manifestIn(path("shared")).witness);
    expect(refreshed.answer).toContain("more-4");
  } finally {
    const gone = once(child, "exit");
    child.kill();
    await gone;
    await first.close();
    await index.close();
  }
});

describe("verifying", () => {
  /** A bundle that has every section there is. */
  async function whole(name: string): Promise<void> {
    const index = await small(`${name}.hebb`, range(n)); // so many that mode graph walks
    const learned = pin(rows, [3, 77, 150]);
    await frozenOnce(index, name, () => {}, { rotation: "haar", overlay: true });
    learned.mockRestore();
    await index.close();
  }
  beforeAll(() => whole("sound"));

  test("the bundle has every section", () => {
    expect(sectionsIn(path("sound"))).toEqual([
      "checksums",
      "head",
      "state",
      "vectors",
      "rows",
      "upper",
      "ids",
      "projection",
      "rotation",
      "clusters",
      "codes",
      "planes",
      "ranges",
      "text-offsets",
      "texts",
      "adapter",
      "shifted",
      "shifts",
    ]);
  });

  test("finds a flipped bit of any section: eagerly at once, lazily where it is touched; off does not look", async () => {
    const sound = await openFrozen(path("sound"), { verify: "eager" });
    const expected = touchAll(sound, query(0));
    await sound.close();
    for (const section of sectionsIn(path("sound"))) {
      for (const [offset, bit] of [
        [0, 1],
        [-1, 0x10],
      ]) {
        const directory = path("damaged");
        cpSync(path("sound"), directory, { recursive: true });
        flipIn(directory, section, offset, bit);
        const mismatch = { code: "WITNESS_MISMATCH", details: { section } };
        const eager = await errorOf(() => openFrozen(directory, { verify: "eager" }));
        expect(eager).toMatchObject(mismatch);
        expect(eager.message).toContain(`section ${section}`);
        expect(eager.message).toContain("Copy the bundle again, whole, or freeze again");

        const lazy = await errorOf(async () => {
          const opened = await openFrozen(directory);
          try {
            touchAll(opened, query(0));
          } finally {
            await opened.close();
          }
          throw new Error(`nobody noticed section ${section}, byte ${offset}`);
        });
        expect(lazy, `${section}, byte ${offset}`).toMatchObject(mismatch);
        expect(lazy.message).toContain(`section ${section}`);

        // Where a flipped bit is no contradiction, nobody finds it; numbers of rows are always looked at.
        if (offset === (section === "shifted" ? 0 : -1)) {
          const off = await openFrozen(directory, { verify: "off" });
          expect(await errorOf(() => off.verify())).toMatchObject(mismatch);
          expect(await off.refresh()).toBe("up-to-date");
          await off.close();
        }
        rmSync(directory, { recursive: true });
      }
    }
    const again = await openFrozen(path("sound"), { verify: "off" });
    expect(touchAll(again, query(0))).toEqual(expected);
    await again.verify();
    await again.close();
  });

  test("lazily a damaged block stops who touches it, and nobody else", async () => {
    cpSync(path("l2"), path("one-block"), { recursive: true });
    flipIn(path("one-block"), "vectors", 70_000); // of its second block
    const frozen = await openFrozen(path("one-block"));
    const order = range(n).sort((a, b) => compareIds(ids[a], ids[b]));
    const perBlock = 65_536 / (4 * d);
    expect(frozen.get(ids[order[0]])?.vector).toEqual(rowOf(rows, order[0], d));
    for (let i = 0; i < 2; i++) {
      const touched = order[Math.ceil(perBlock) + 1];
      const error = await errorOf(() => frozen.get(ids[touched]));
      expect(error).toMatchObject({ code: "WITNESS_MISMATCH", details: { section: "vectors", block: 1 } });
      expect(await errorOf(() => frozen.search(query(0), { k: n }))).toMatchObject({ code: "WITNESS_MISMATCH" });
      const many = await errorOf(() => frozen.searchMany(queries, { k: n }));
      expect(many).toMatchObject({ code: "WITNESS_MISMATCH", details: { section: "vectors", block: 1 } });
    }
    expect(frozen.search(query(0), { rerankFactor: 0 })).toHaveLength(10);
    await frozen.close();
  });
});

describe("what is frozen", () => {
  test("is the state of the moment: updates, deletes and payloads before it, none after it", async () => {
    const index = await small("moment.hebb");
    await index.put("doc-5", query(5), { now: 1 });
    await index.delete(["doc-6", 7]);
    await index.setPayload("doc-7", { only: "this" });
    const frozen = await index.freeze(path("moment"));
    await Promise.all([index.put("later", query(6)), index.delete(["doc-8"])]);
    expect(frozen.get("doc-5")).toEqual({ id: "doc-5", vector: query(5), payload: { now: 1 } });
    expect([frozen.has("doc-6"), frozen.has(7), frozen.size]).toEqual([false, false, 198]);
    expect(frozen.get("doc-7")?.payload).toEqual({ only: "this" });
    expect([frozen.has("doc-8"), frozen.has("later")]).toEqual([true, false]);
    await frozen.close();
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  });

  test("has all that was acknowledged, unless it is not to settle: then rows that wait are left out and counted", async () => {
    const index = await small("unsettled.hebb");
    const linking = vi.spyOn(Linker.prototype, "start").mockImplementation(() => {}); // nothing is linked by itself
    await index.putMany({ ids: range(20, 1000), vectors: randomRows(20, d, 284) });
    await index.delete(["doc-1", 1019]);
    expect(index.stats().backlog).toBe(19);
    await frozenOnce(
      index,
      "unsettled",
      (frozen) => {
        expect(frozen.stats()).toMatchObject({ size: 199, leftOut: 19 });
        expect([frozen.has(1000), frozen.has("doc-1"), frozen.has("doc-2")]).toEqual([false, false, true]);
        expect([...frozen.entries()]).toHaveLength(199);
        const exact = index
          .search(query(0), { k: 300, exact: true })
          .filter(({ id }) => typeof id !== "number" || id < 1000 || id > 1019);
        expect(frozen.search(query(0), { k: 300 })).toEqual(exact);
      },
      { settle: false },
    );
    linking.mockRestore();
    await frozenOnce(index, "unsettled", (frozen) => {
      expect(frozen.stats()).toMatchObject({ size: 218, leftOut: 0 });
      expect(frozen.search(query(0), { k: 300 })).toEqual(index.search(query(0), { k: 300, exact: true }));
    });
    await index.close();
  });

  test("is what get gives back, where originals are not kept", async () => {
    const config = { storage: { keep_originals: false }, ruvector: { hnsw_m: 8 } };
    const index = await open(path("lossy.hebb"), { dimensions: d, metric: "l2", durability: "off", config });
    await index.putMany({ ids: range(n), vectors: rows });
    for (const tier of ["warm", "cold"] as const) {
      await index.retier({ force: tier });
      await frozenOnce(index, "lossy", (frozen) => {
        for (const { id, vector } of index.entries()) expect(frozen.get(id)?.vector).toEqual(vector);
        for (let q = 0; q < 10; q++) {
          const truth = [...frozen.entries()]
            .map(({ id, vector }) => ({ id, distance: distanceOf("l2", query(q), vector) }))
            .sort((a, b) => a.distance - b.distance);
          expect(idsOf(frozen.search(query(q)))).toEqual(idsOf(truth.slice(0, 10)));
        }
      });
    }
    await index.close();
  });

  test("may be what a handle that only reads sees; where rows wait or are deleted only a writer freezes", async () => {
    const index = await small("readonly.hebb");
    const witness = await witnessOf(index, "written");
    await index.close();
    const reader = await open(path("readonly.hebb"), { readOnly: true });
    expect(await witnessOf(reader, "read")).toBe(witness);
    await reader.close();

    const writer = await open(path("readonly.hebb"));
    const linking = vi.spyOn(Linker.prototype, "start").mockImplementation(() => {});
    await writer.put("waits", query(0));
    await writer.close();
    linking.mockRestore();
    const again = await open(path("readonly.hebb"), { readOnly: true });
    const refused = await errorOf(() => again.freeze(path("refused")));
    expect(refused).toMatchObject({ code: "STORE_READ_ONLY", details: { backlog: 1, deleted: 0 } });
    expect(await witnessOf(again, "read", { settle: false })).not.toBe(witness); // it says that a row was left out
    expect(manifestIn(path("read")).parameters).toMatchObject({ rows: 200, leftOut: 1 });
    await again.close();

    const deleting = await open(path("readonly.hebb"));
    await deleting.settle();
    await deleting.delete(["doc-1"]);
    await deleting.close();
    const last = await open(path("readonly.hebb"), { readOnly: true });
    expect(last.stats().deleted).toBe(1); // it still has a place in the graph
    for (const settle of [true, false]) {
      const error = await errorOf(() => last.freeze(path("refused"), { settle }));
      expect(error).toMatchObject({ code: "STORE_READ_ONLY", details: { backlog: 0, deleted: 1 } });
      expect(error.message).toContain("which only a writer can see to; open it without readOnly");
    }
    await last.close();
  });

  test("goes on beside searches and writes", async () => {
    const index = await small("beside.hebb");
    const freezing = range(4).map((i) => index.freeze(path(`beside-${i}`), { seed: i }));
    const writing = range(20).map((i) => index.put(`beside-${i}`, rowOf(rows, 300 + i, d)));
    expect(index.search(query(0))).toHaveLength(10);
    expect(await index.searchMany(queries, { k: 3 })).toHaveLength(30);
    const all = await Promise.all(freezing);
    await Promise.all(writing);
    for (const frozen of all) {
      await frozen.verify();
      expect(frozen.search(query(1), { k: 5 })).toHaveLength(5);
      await frozen.close();
    }
    await index.close();
  });
});

describe("closing", () => {
  test("ends every method, twice does nothing, and waits for what is under way", async () => {
    const index = await small("closing.hebb");
    const frozen = await index.freeze(path("closing"));
    const expected = range(30).map((q) => frozen.search(query(q), { k: 100 }));
    let [many, verified]: [unknown, boolean] = [undefined, false];
    const underWay = [
      frozen.searchMany(queries, { k: 100 }).then((lists) => {
        many = lists;
      }),
      frozen.verify().then(() => {
        verified = true;
      }),
    ];
    const entries = frozen.entries();
    entries.next();
    await Promise.all([frozen.close(), frozen.close()]);
    expect([many, verified]).toEqual([expected, true]);
    await Promise.all(underWay);
    await frozen.close();
    const calls: (() => unknown)[] = [
      () => frozen.search(query(0)),
      () => frozen.searchMany(queries),
      () => frozen.get("doc-1"),
      () => frozen.has("doc-1"),
      () => [...frozen.entries()],
      () => entries.next(),
      () => frozen.verify(),
      () => frozen.refresh(),
      () => frozen.stats(),
      () => frozen.exportRbpx(path("never")),
      () => frozen.size,
      () => frozen.dimensions,
      () => frozen.metric,
      () => frozen.witness,
      () => frozen.rotationKind,
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error).toMatchObject({ code: "INDEX_CLOSED" });
      expect(error.message).toContain(`the bundle at ${path("closing")} was closed; open it again`);
    }
    await index.close();
  });

  test("the index leaves its bundles open, and a closed index freezes nothing", async () => {
    const index = await small("left.hebb");
    const frozen = await index.freeze(path("left"));
    const expected = index.search(query(0), { exact: true });
    await index.close();
    expect(frozen.search(query(0))).toEqual(expected);
    expect(await errorOf(() => index.freeze(path("left")))).toMatchObject({ code: "INDEX_CLOSED" });
    await frozen.close();
  });

  test("waits for a freeze that is under way", async () => {
    const index = await small("busy.hebb");
    const freezing = index.freeze(path("busy"));
    await index.close();
    const frozen = await freezing;
    expect(frozen.size).toBe(200);
    await frozen.close();
  });

  test("and refreshing let go of every bundle that was mapped, once", async () => {
    const index = await small("refreshing.hebb");
    const [opening, closing] = [vi.spyOn(FrozenReader, "open"), vi.spyOn(FrozenReader.prototype, "close")];
    const frozen = await index.freeze(path("refreshing"));
    const mapped = async () => {
      const made = await Promise.all(opening.mock.results.map(({ value }) => value as Promise<FrozenReader>));
      const closed = closing.mock.contexts as FrozenReader[];
      expect(new Set(closed).size).toBe(closed.length);
      return made.filter((one) => !closed.includes(one)).length;
    };
    await (await index.freeze(path("refreshing"), { seed: 1 })).close();
    expect(await Promise.all([frozen.refresh(), frozen.refresh()])).toEqual(["replaced", "replaced"]);
    expect(opening).toHaveBeenCalledTimes(4); // both looked, and opened what they found
    expect(await mapped()).toBe(1);
    await (await index.freeze(path("refreshing"), { seed: 2 })).close();
    const refreshing = errorOf(() => frozen.refresh());
    await frozen.close(); // meanwhile
    expect(await refreshing).toMatchObject({ code: "INDEX_CLOSED" });
    expect(await mapped()).toBe(0);
    expect(await errorOf(() => frozen.size)).toMatchObject({ code: "INDEX_CLOSED" });
    await index.close();
  });

  test("is what `await using` does", async () => {
    const frozen = await openFrozen(path("l2"));
    await frozen[Symbol.asyncDispose]();
    expect(await errorOf(() => frozen.size)).toMatchObject({ code: "INDEX_CLOSED" });
  });
});

test("bundles may be copied, renamed and opened many times", async () => {
  cpSync(path("dot"), path("copy"), { recursive: true });
  const opened = await Promise.all([1, 2, 3].map(() => openFrozen(path("copy"), { verify: "eager" })));
  for (const one of opened) {
    expect(one.witness).toBe(bundles.dot.witness);
    expect(one.search(query(0))).toEqual(bundles.dot.search(query(0)));
  }
  for (const one of opened) await one.close();
  expect(readdirSync(path("copy")).sort()).toEqual(
    ["manifest.json", ...manifestIn(path("copy")).sections.map(({ file }) => file)].sort(),
  );
});

// ---- what was learned ----

/** Has a freeze pin an adapter of rank 2 and shifts of some nodes, though nothing was learned. */
function pin(vectors: Float32Array, nodes: readonly number[]) {
  const prng = new Prng(5);
  const basis = Float32Array.from({ length: 2 * d }, () => 0.3 * prng.gaussian());
  const output = Float32Array.from({ length: 2 * d }, () => 0.3 * prng.gaussian());
  const shifted = new Map(nodes.map((node) => [node, rowOf(vectors, node, d).map((x) => x + 0.2 * prng.gaussian())]));
  const adapter = { dimensions: d, rank: 2, basis, output };
  return vi.spyOn(Learned.prototype, "servedVectors").mockReturnValue({ adapter, shifted });
}

describe("overlay", () => {
  const width = 16;
  const documents = randomRows(400, width, 41);

  /** People ask for row i with a mirrored vector, which an adapter learns; and at times for what no vector tells. */
  function events(count: number, seed: number): Feedback[] {
    const prng = new Prng(seed);
    return Array.from({ length: count }, (_, at) => {
      const i = prng.below(400);
      const asked = rowOf(documents, i, width).map((x, j) => (j < 4 ? -x : x) + 0.4 * prng.gaussian());
      return { query: asked, chosen: [i], source: `s${at % 20}`, time: at };
    });
  }

  const learnt = {} as Record<Metric, Index>;
  beforeAll(async () => {
    for (const metric of METRICS) {
      const config = { ruvector: { propagation: "linear" } } as const;
      const index = await open(path(`learned-${metric}.hebb`), {
        dimensions: width,
        metric,
        durability: "off",
        config,
      });
      await index.putMany({ ids: range(400), vectors: documents, payloads: range(400).map((i) => ({ i })) });
      await index.settle();
      await index.learn(events(300, 1));
      learnt[metric] = index;
    }
  });
  afterAll(() => Promise.all(METRICS.map((metric) => learnt[metric].close())));

  const normalized = (v: Float64Array) => {
    const length = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    return v.map((x) => x / length);
  };

  /** Rows by distance, as the pinned sections say: in float64, from the bytes on disk. */
  function bruteForce(directory: string, metric: Metric, originals: Float32Array, dimensions: number) {
    const { adapterRank, shifted: count } = manifestIn(directory).parameters.overlay as { [key: string]: number };
    const floats = (name: string) => new Float32Array(bytesIn(directory, name).buffer);
    const both = adapterRank > 0 ? floats("adapter") : undefined;
    const vectors = range(originals.length / dimensions).map((id) => rowOf(originals, id, dimensions));
    if (count > 0) {
      const moved = floats("shifts");
      // Ids are the numbers 0, 1, ..., and rows lie in their order.
      new Uint32Array(bytesIn(directory, "shifted").buffer).forEach((id, place) => {
        vectors[id] = rowOf(moved, place, dimensions);
      });
    }
    return (asked: Float32Array) => {
      let q = Float64Array.from(asked);
      if (metric === "cosine") q = normalized(q);
      if (both) {
        const turned = q.slice();
        for (let r = 0; r < adapterRank; r++) {
          const h = q.reduce((sum, x, j) => sum + x * both[r * dimensions + j], 0);
          for (let j = 0; j < dimensions; j++) turned[j] += h * both[(adapterRank + r) * dimensions + j];
        }
        q = metric === "cosine" ? normalized(turned) : turned;
      }
      return vectors
        .map((vector, id) => ({ id, distance: distanceOf(metric, q, vector) }))
        .sort((a, b) => a.distance - b.distance);
    };
  }

  function expectRanking(frozen: FrozenIndex, directory: string, originals: Float32Array, dimensions: number): void {
    const asked = randomRows(15, dimensions, 900);
    const rank = bruteForce(directory, frozen.metric, originals, dimensions);
    for (let q = 0; q < 15; q++) {
      const one = rowOf(asked, q, dimensions);
      const truth = rank(one);
      for (const options of [{ k: 12 }, { k: 400, mode: "graph" }, { k: 12, mode: "graph" }, { k: 1 }] as const) {
        const hits = frozen.search(one, options);
        expect(hits).toHaveLength(Math.min(options.k, frozen.size));
        const distances = new Map(truth.map(({ id, distance }) => [id, distance]));
        const off = hits.map(({ id, distance }, i) =>
          Math.max(Math.abs(distance - truth[i].distance), Math.abs(distance - distances.get(id as number)!)),
        );
        expect(Math.max(...off)).toBeLessThan(1e-4);
      }
    }
  }

  test.each(METRICS)(
    "under %s pins what serves: the query is turned, and shifted rows lie where they were moved to",
    async (metric) => {
      const index = learnt[metric];
      const { serving } = index.stats().learning;
      expect(serving).toContain("adapter");
      const spy = vi.spyOn(Learned.prototype, "servedVectors");
      await frozenOnce(
        index,
        `learned-${metric}`,
        async (frozen) => {
          const served = spy.mock.results[0].value as ReturnType<Learned["servedVectors"]>;
          const overlay = { adapterRank: served.adapter!.rank, shifted: served.shifted.size };
          expect(frozen.stats().overlay).toEqual(overlay);
          expect(overlay.shifted > 0).toBe(serving.includes("shift"));
          for (const [node, vector] of served.shifted) {
            expect(index.idOf(node)).toBeTypeOf("number");
            expect(vector).not.toEqual(rowOf(documents, index.idOf(node) as number, width));
          }
          expectRanking(frozen, path(`learned-${metric}`), documents, width);
          // What was learned shows, and in vectors it does not.
          const plain = range(15).map((q) => idsOf(index.search(rowOf(randomRows(15, width, 900), q, width))));
          expect(range(15).map((q) => idsOf(frozen.search(rowOf(randomRows(15, width, 900), q, width))))).not.toEqual(
            plain,
          );
          for (const i of range(400))
            expect(frozen.get(i)).toEqual({ id: i, vector: rowOf(documents, i, width), payload: { i } });
          const [hit] = frozen.search(rowOf(documents, 5, width), { include: ["vector"] });
          expect(hit.vector).toEqual(rowOf(documents, hit.id as number, width));
          const asked = randomRows(50, width, 901);
          for (const mode of ["scan", "graph"] as const) {
            const many = await frozen.searchMany(asked, { mode });
            expect(many).toEqual(range(50).map((q) => frozen.search(rowOf(asked, q, width), { mode })));
          }
          const again = await openFrozen(path(`learned-${metric}`), { verify: "eager" });
          expect(again.search(rowOf(asked, 0, width))).toEqual(frozen.search(rowOf(asked, 0, width)));
          await again.close();
        },
        { overlay: true },
      );
      // Without it nothing of that is there.
      await frozenOnce(index, `plain-${metric}`, (frozen) => {
        expect(frozen.stats().overlay).toBeUndefined();
        const asked = rowOf(randomRows(1, width, 902), 0, width);
        expect(frozen.search(asked)).toEqual(index.search(asked, { exact: true }));
      });
    },
  );

  test.each(METRICS)("under %s, whichever of the two serves", async (metric) => {
    const index = learnt[metric];
    const real = Learned.prototype.servedVectors;
    const witnesses = new Set<string>();
    for (const arm of [ADAPTER, SHIFT, ADAPTER | SHIFT]) {
      vi.spyOn(Learned.prototype, "servedVectors").mockImplementation(function (this: Learned) {
        Object.defineProperty(this.state, "gate", { value: { serving: arm }, configurable: true });
        try {
          return real.call(this);
        } finally {
          Reflect.deleteProperty(this.state, "gate");
        }
      });
      await frozenOnce(
        index,
        `arm-${metric}`,
        (frozen) => {
          const { adapterRank, shifted } = frozen.stats().overlay!;
          expect([adapterRank > 0, shifted > 100]).toEqual([(arm & ADAPTER) > 0, (arm & SHIFT) > 0]);
          expectRanking(frozen, path(`arm-${metric}`), documents, width);
          witnesses.add(frozen.witness);
        },
        { overlay: true },
      );
      vi.restoreAllMocks();
    }
    expect(witnesses.size).toBe(3);
  });

  test.each(METRICS)(
    "under %s rows that moved far away leave their places, and of equally near ones the lower ids come first",
    async (metric) => {
      const index = await small(`moved-far-${metric}.hebb`, range(200, 1200), metric); // ids are doc-1200, doc-1201, ...
      const at = (id: Id) => Number(String(id).slice(4));
      const [first, second, ...near] = index.search(query(0), { k: 12, exact: true }).map(({ id }) => at(id));
      const nodes = new Map(range(200).map((node) => [at(index.idOf(node)!), node]));
      const unit = (vector: Float32Array) =>
        metric === "cosine" ? Float32Array.from(normalized(Float64Array.from(vector))) : vector;
      // The nearest stays; three come to where it is; the others of the twelve go to the other side.
      const twins = [1200, first === 1290 ? 1291 : 1290, 1399];
      const gone = [second, ...near].filter((i) => !twins.includes(i));
      const shifted = new Map([
        ...gone.map((i) => [nodes.get(i)!, unit(rowOf(rows, i, d).map((x) => -3 * x))] as const),
        ...twins.map((i) => [nodes.get(i)!, unit(rowOf(rows, first, d).slice())] as const),
      ]);
      vi.spyOn(Learned.prototype, "servedVectors").mockReturnValue({ adapter: undefined, shifted });
      await frozenOnce(
        index,
        "moved-far",
        (frozen) => {
          const vectors = new Map(range(200, 1200).map((i) => [i, shifted.get(nodes.get(i)!) ?? rowOf(rows, i, d)]));
          const truth = [...vectors]
            .map(([i, vector]) => ({ i, vector: twins.includes(i) ? rowOf(rows, first, d) : vector }))
            .map(({ i, vector }) => ({ i, distance: distanceOf(metric, query(0), vector) }))
            .sort((a, b) => a.distance - b.distance || a.i - b.i)
            .map(({ i }) => `doc-${i}`);
          expect(truth.slice(0, 4).sort()).toEqual([first, ...twins].map((i) => `doc-${i}`).sort());
          for (const k of [1, 2, 3, 5, 12, 200]) {
            expect(idsOf(frozen.search(query(0), { k, rerankFactor: 1024 }))).toEqual(truth.slice(0, k));
            expect(idsOf(frozen.search(query(0), { k, mode: "graph" }))).toEqual(truth.slice(0, k));
          }
        },
        { overlay: true },
      );
      await index.close();
    },
  );

  test("with every row shifted there are no codes, and all is found", async () => {
    const index = await open(path("all-shifted.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    await index.putMany({ ids: range(60), vectors: rows.subarray(0, 60 * d) });
    await index.settle();
    pin(rows, range(60));
    await frozenOnce(
      index,
      "all-shifted",
      async (frozen) => {
        expect(frozen.stats()).toMatchObject({ clusters: 0, codes: { bytes: 0, bytesPerVector: 0 }, size: 60 });
        expectRanking(frozen, path("all-shifted"), rows.subarray(0, 60 * d), d);
        expect(await frozen.searchMany(queries)).toEqual(range(30).map((q) => frozen.search(query(q))));
      },
      { overlay: true },
    );
    await index.close();
  });

  test("where nothing was learned is pinned as nothing", async () => {
    const index = await small("unlearned.hebb");
    const plain = await frozenOnce(index, "unlearned-plain", () => digestsIn(path("unlearned-plain")));
    await frozenOnce(
      index,
      "unlearned",
      (frozen) => {
        expect(frozen.stats().overlay).toEqual({ adapterRank: 0, shifted: 0 });
        expect(digestsIn(path("unlearned"))).toEqual(plain);
        for (let q = 0; q < 10; q++) {
          expect(bare(frozen.search(query(q)))).toEqual(bare(index.search(query(q), { exact: true })));
        }
      },
      { overlay: true },
    );
    await index.close();
  });
});
