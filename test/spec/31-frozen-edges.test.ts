/** Frozen bundles where data are unkind: ties, lengths next to nothing, caps of few comparisons, calls of many queries. */
import { readdirSync } from "node:fs";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { type FreezeOptions, type FrozenIndex, type Metric, open, openFrozen } from "../../src/index.js";
import { BundleWriter } from "../../storage/bundle-writer.js";
import { diskFiles } from "../../storage/files.js";
import { bare, idsOf } from "../support/frozen.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const path = scratch();
const opened: { close(): Promise<void> }[] = [];
afterAll(async () => {
  for (const one of opened) await one.close();
});
let made = 0;

/** A bundle of these rows, whose ids are their numbers; put in the opposite order. */
async function bundleOf(
  metric: Metric,
  rows: Float32Array,
  d: number,
  options: FreezeOptions = {},
): Promise<FrozenIndex> {
  const name = path(`${++made}`);
  const n = rows.length / d;
  const index = await open(`${name}.hebb`, { dimensions: d, metric, durability: "off" });
  const back = new Float32Array(rows.length);
  for (let i = 0; i < n; i++) back.set(rowOf(rows, n - 1 - i, d), i * d);
  await index.putMany({ ids: range(n).reverse(), vectors: back });
  const frozen = await index.freeze(`${name}.frozen`, options);
  opened.push(frozen, index);
  return frozen;
}

describe("of equally near rows the lower ids come first", () => {
  const [n, d] = [300, 8];
  const inOrder = (hits: readonly { id: unknown; distance: number }[]) => {
    for (let i = 1; i < hits.length; i++) {
      if (hits[i].distance === hits[i - 1].distance) expect(hits[i].id).toBeGreaterThan(hits[i - 1].id as number);
      else expect(hits[i].distance).toBeGreaterThan(hits[i - 1].distance);
    }
  };

  test.each(["l2", "cosine", "dot"] as const)("%s, by both modes, and by estimates", async (metric) => {
    // Twenty directions, each in different lengths under cosine, where rounding takes some distances below zero.
    const directions = randomRows(20, d, 311);
    const rows = new Float32Array(n * d);
    for (let i = 0; i < n; i++) {
      const length = metric === "cosine" ? 1 + (i % 7) / 3 : 1;
      rows.set(
        rowOf(directions, i % 20, d).map((x) => x * length),
        i * d,
      );
    }
    const frozen = await bundleOf(metric, rows, d);
    for (let i = 0; i < n; i += 3) {
      const query = rowOf(rows, i, d);
      inOrder(frozen.search(query, { k: 40 }));
      inOrder(frozen.search(query, { k: 40, rerankFactor: 0 }));
      inOrder(frozen.search(query, { k: 40, mode: "graph" }));
      const [nearest] = frozen.search(query, { k: 1 });
      if (metric === "l2") expect(nearest).toMatchObject({ id: i % 20, distance: 0 });
    }
  });
});

describe("vectors next to nothing", () => {
  test.each([1e-12, 1e-15, 1e-16, 1e-18, 1e-19])("of about %d are told apart, by any bits", async (scale) => {
    const [n, d] = [40, 63];
    const rows = randomRows(n, d, 312).map((x) => x * scale);
    for (const bits of [1, 4, 7]) {
      const frozen = await bundleOf("l2", rows, d, { bits });
      for (let i = 0; i < n; i++) {
        const query = rowOf(rows, i, d);
        const distances = range(n).map((id) => distanceOf("l2", query, rowOf(rows, id, d)));
        const [nearest] = frozen.search(query, { k: 1, rerankFactor: 1024 });
        expect(distances[nearest.id as number]).toBe(Math.min(...distances));
      }
    }
  });
});

describe("a cap of few comparisons", () => {
  test("is spent on those that seem nearest: a stored vector is found by itself", async () => {
    const [n, d] = [3000, 32];
    const rows = randomRows(n, d, 313);
    const frozen = await bundleOf("l2", rows, d);
    let found = 0;
    for (let i = 0; i < n; i += 10) {
      for (const rerankFactor of [1, 2, 4]) {
        const before = frozen.stats().scans.compared;
        const [nearest] = frozen.search(rowOf(rows, i, d), { k: 1, rerankFactor });
        expect(frozen.stats().scans.compared - before).toBeLessThanOrEqual(rerankFactor);
        if (nearest.id === i) found++;
      }
    }
    expect(found).toBeGreaterThanOrEqual(0.99 * 900);
  });

  test("more comparisons never find less, on average", async () => {
    const [n, d, k] = [3000, 32, 10];
    const rows = randomRows(n, d, 314);
    const queries = randomRows(60, d, 315);
    const frozen = await bundleOf("cosine", rows, d, { bits: 2 });
    const recalls = [1, 2, 3, 4, 8, 20].map((rerankFactor) => {
      let hits = 0;
      for (let q = 0; q < 60; q++) {
        const truth = new Set(idsOf(frozen.search(rowOf(queries, q, d), { k, rerankFactor: 1024 })));
        for (const id of idsOf(frozen.search(rowOf(queries, q, d), { k, rerankFactor }))) if (truth.has(id)) hits++;
      }
      return hits / (60 * k);
    });
    for (let i = 1; i < recalls.length; i++) expect(recalls[i]).toBeGreaterThanOrEqual(recalls[i - 1] - 0.01);
    expect(recalls[0]).toBeGreaterThan(0.6);
    expect(recalls.at(-1)).toBeGreaterThan(0.98);
  });
});

test("thousands of queries at once get what each gets alone, in their order, and others have their turns", async () => {
  const [n, d] = [500, 16];
  const frozen = await bundleOf("l2", randomRows(n, d, 316), d);
  const queries = randomRows(3000, d, 317);
  for (const mode of ["scan", "graph"] as const) {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    const many = await frozen.searchMany(queries, { k: 3, mode });
    expect(turned).toBe(true);
    expect(many).toHaveLength(3000);
    for (let q = 0; q < 3000; q += 7) {
      expect(bare(many[q])).toEqual(bare(frozen.search(rowOf(queries, q, d), { k: 3, mode })));
    }
  }
  expect(await frozen.searchMany(new Float32Array(0))).toEqual([]);
});

describe("places", () => {
  const started = process.cwd();
  afterEach(() => process.chdir(started));

  test("a relative directory is the one that it was when the bundle was opened", async () => {
    await bundleOf("l2", randomRows(5, 4, 318), 4);
    process.chdir(path(""));
    const frozen = await openFrozen(`${made}.frozen`);
    opened.push(frozen);
    process.chdir(started);
    expect(await frozen.refresh()).toBe("up-to-date");
    await frozen.verify();
  });

  test("a container is not written over the bundle that it comes from", async () => {
    const frozen = await bundleOf("l2", randomRows(5, 4, 319), 4);
    const before = readdirSync(path(`${made}.frozen`)).sort();
    for (const name of ["manifest.json", "new.rbpx"]) {
      const error = await errorOf(() => frozen.exportRbpx(path(`${made}.frozen/${name}`)));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(/in the bundle itself; expected another directory/);
    }
    expect(readdirSync(path(`${made}.frozen`)).sort()).toEqual(before);
    await frozen.verify();
  });

  test("nobody else publishes before who has published has opened what it published", async () => {
    await bundleOf("l2", randomRows(5, 4, 320), 4);
    const directory = path(`${made}.frozen`);
    const writer = await BundleWriter.open(diskFiles, directory);
    const sink = await writer.section("state", 1);
    await sink.write(Uint8Array.of(1));
    await sink.finish();
    const publication = { parameters: {}, generation: 1, lineage: "" };
    const error = await writer.publish(publication, () => errorOf(() => BundleWriter.open(diskFiles, directory)));
    expect(error).toMatchObject({ code: "STORE_LOCKED" });
    await (await BundleWriter.open(diskFiles, directory)).abandon();
  });
});
