/** What a tiered store refuses, and how it says so: settings, options, budgets, damage. Nothing changes by it. */
import { existsSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Config } from "../../src/config.js";
import { HebbError, type Index, open, type RetierOptions, type SearchOptions } from "../../src/index.js";
import { errorOf, rowOf, scratch } from "../support/rows.js";
import {
  clusteredRows,
  counts,
  countsOf,
  expectSound,
  flipBit,
  HALF_LIFE,
  range,
  sectionBytes,
  TIERS,
} from "../support/tiers.js";

const path = scratch();
const d = 24;
const n = 300;
const rows = clusteredRows(n, d, 1);
type Given = Partial<Record<keyof Config["tensor_compress"], unknown>>;

interface Settings {
  dimensions?: number;
  compress?: Given;
  keep?: boolean;
}

const configOf = (compress: Given, storage?: object) =>
  ({ ruvector: { hnsw_m: 8 }, tensor_compress: compress, ...(storage && { storage }) }) as object;

async function filled(name: string, vectors: Float32Array, settings: Settings = {}): Promise<Index> {
  const { dimensions = d, compress = {}, keep = true } = settings;
  const config = configOf(compress, { keep_originals: keep });
  const index = await open(path(name), { dimensions, metric: "l2", durability: "off", config });
  await index.putMany({ ids: range(vectors.length / dimensions), vectors });
  await index.settle();
  return index;
}

/** All that can be seen of an index; searches count as use, so there is none. */
function contents(index: Index) {
  const tiers = Object.entries(index.stats().tiers).map(([tier, { residentBytes: _, ...kept }]) => [tier, kept]);
  return { rows: [...index.entries()], tiers };
}

function expectFault(error: Error & { code?: string }, code: string, message: string | RegExp): void {
  expect(error).toBeInstanceOf(HebbError);
  expect(error.code).toBe(code);
  if (typeof message === "string") expect(error.message).toBe(`${code}: ${message}`);
  else expect(error.message).toMatch(message);
}

/** Bytes of a vector in tier archive. */
async function archiveBytes(dimensions: number): Promise<number> {
  const index = await open(path(`empty-${dimensions}`), { dimensions, metric: "l2" });
  const { bytesPerVector } = index.stats().tiers.archive;
  await index.close();
  return bytesPerVector;
}

describe("a setting out of its range", () => {
  const FREQUENCY = "a number above 0, below 1";
  const FLAG = "true or false";
  const NUMBERS = [Number.NaN, Infinity, -Infinity, -1, "1", "", null, true, [], {}, 1n];
  const INTEGERS = [...NUMBERS, 1.5, 2 ** 53];
  const COUNTS = [...INTEGERS, 0];
  const refused: Record<keyof Config["tensor_compress"], [expects: string, values: unknown[]]> = {
    hot_threshold: [FREQUENCY, [...NUMBERS, 0, 1, 1.5]],
    warm_threshold: [FREQUENCY, [...NUMBERS, 0, 1]],
    cool_threshold: [FREQUENCY, [...NUMBERS, 0, 1]],
    cold_threshold: [FREQUENCY, [...NUMBERS, 0, 1]],
    memory_budget: ["a number from 0 to 1,125,899,906,842,624", [...NUMBERS, -0.1, 2 ** 50 + 1]],
    semantic_tiering: [FLAG, [0, 1, "true", "", null, [], {}]],
    pq_subvectors: ["an integer from 1 to 65,536", [...COUNTS, 65_537]],
    pq8_centroids: ["an integer from 2 to 256", [...COUNTS, 1, 257]],
    pq4_centroids: ["an integer from 2 to 16", [...COUNTS, 1, 17]],
    outlier_threshold: ["a number above 0, at most 10", [...NUMBERS, 0, 10.1]],
    entropy_coder: ['one of "ans", "huffman", "none"', ["zip", "ANS", "", 0, null, true, [], ["ans"], {}]],
    residual_bits: ["an integer from 0 to 8", [...INTEGERS, 9]],
    recompress_interval_s: ["an integer from 1 to 604,800", [...COUNTS, 604_801]],
    access_decay_halflife_s: ["an integer from 1 to 31,536,000", [...COUNTS, 31_536_001]],
    promotion_threshold: ["a number above 1, at most 100", [...NUMBERS, 1, 0, 101]],
    demotion_threshold: ["a number from 0 to below 1", [...NUMBERS, 1]],
    decompress_cache_size_mb: ["an integer from 0 to 1,048,576", [...INTEGERS, 1_048_577]],
    prefetch_neighbors: [FLAG, [0, 1, "false", null]],
    codebook_sample_size: ["an integer from 256 to 10,000,000", [...COUNTS, 255, 10_000_001]],
    codebook_iterations: ["an integer from 1 to 1,000", [...COUNTS, 1001]],
    codebook_update_freq: ["an integer from 1 to 1,000,000,000", [...COUNTS, 1_000_000_001]],
  };
  const shown = (value: unknown) =>
    typeof value === "object" || typeof value === "string" ? JSON.stringify(value) : `${value}`;
  const directory = path("never");

  afterEach(() => expect(existsSync(directory)).toBe(false));

  test.each(Object.entries(refused))("%s", async (key, [expects, values]) => {
    for (const value of values) {
      const config = configOf({ [key]: value });
      const error = await errorOf(() => open(directory, { dimensions: d, metric: "l2", config }));
      expectFault(error, "CONFIG_INVALID", `tensor_compress.${key} is ${shown(value)}; expected ${expects}`);
    }
  });

  test("and its neighbours within the range are taken", async () => {
    const index = await filled("within", rows, {
      compress: { residual_bits: 0, promotion_threshold: 100, decompress_cache_size_mb: 0, codebook_sample_size: 256 },
    });
    expect((await index.retier({ force: "cold" })).tiers).toEqual(counts({ cold: n }));
    await index.close();
  });

  test("a key of another name", async () => {
    const config = configOf({ hot_treshold: 0.5 } as Given);
    const error = await errorOf(() => open(directory, { dimensions: d, metric: "l2", config }));
    expectFault(
      error,
      "CONFIG_INVALID",
      "unknown key tensor_compress.hot_treshold; did you mean tensor_compress.hot_threshold?",
    );
  });

  test("in a file, which the message begins with", async () => {
    const file = path("tiers.toml");
    writeFileSync(file, "[tensor_compress]\nresidual_bits = 9\n");
    const error = await errorOf(() => open(directory, { dimensions: d, metric: "l2", config: file }));
    expectFault(
      error,
      "CONFIG_INVALID",
      `${file}: tensor_compress.residual_bits is 9; expected an integer from 0 to 8`,
    );
  });

  test.each<[Given, string, number, string, number]>([
    [{ hot_threshold: 0.3 }, "warm", 0.4, "hot", 0.3],
    [{ hot_threshold: 0.4 }, "warm", 0.4, "hot", 0.4],
    [{ warm_threshold: 0.8 }, "warm", 0.8, "hot", 0.8],
    [{ warm_threshold: 0.05 }, "cool", 0.1, "warm", 0.05],
    [{ cool_threshold: 0.005 }, "cold", 0.01, "cool", 0.005],
    [{ cold_threshold: 0.5 }, "cold", 0.5, "cool", 0.1],
    [
      { hot_threshold: 0.01, warm_threshold: 0.02, cool_threshold: 0.3, cold_threshold: 0.4 },
      "warm",
      0.02,
      "hot",
      0.01,
    ],
  ])("thresholds that do not fall: %j", async (compress, low, lowValue, high, highValue) => {
    const error = await errorOf(() => open(directory, { dimensions: d, metric: "l2", config: configOf(compress) }));
    expectFault(
      error,
      "CONFIG_INVALID",
      `tensor_compress.${low}_threshold is ${lowValue}; expected less than tensor_compress.${high}_threshold, which is ${highValue}`,
    );
  });

  test("a budget with nothing that is ever demoted", async () => {
    const config = configOf({ memory_budget: 0.5, demotion_threshold: 0 });
    const error = await errorOf(() => open(directory, { dimensions: d, metric: "l2", config }));
    expectFault(
      error,
      "CONFIG_INVALID",
      /tensor_compress\.demotion_threshold is 0; expected more where .*memory_budget/,
    );
  });

  test.each([1, 24, 600])("a budget below what the archive of %d dimensions takes of raw", async (dimensions) => {
    const share = (await archiveBytes(dimensions)) / (4 * dimensions);
    for (const memory_budget of [share - 1e-6, 1e-9]) {
      const config = configOf({ memory_budget });
      const error = await errorOf(() => open(directory, { dimensions, metric: "l2", config }));
      expectFault(
        error,
        "CONFIG_INVALID",
        /^CONFIG_INVALID: tensor_compress\.memory_budget is .* take in tier archive$/,
      );
      const [, given, least] = /is (.*) of what vectors take as f32; expected at least (.*), what/.exec(error.message)!;
      expect(Number(given)).toBe(memory_budget);
      expect(Math.abs(Number(least) - share)).toBeLessThanOrEqual(1e-4);
      const config2 = configOf({ memory_budget: Number(least) });
      await (await open(path(`least-${dimensions}-${given}`), { dimensions, metric: "l2", config: config2 })).close();
    }
  });
});

describe("a store that is there", () => {
  let index: Index;
  let before: ReturnType<typeof contents>;

  beforeAll(async () => {
    index = await filled("there", rows, { compress: { pq_subvectors: 6 } });
    await index.retier({ force: "cool" });
  });
  afterAll(() => index.close());
  beforeEach(() => {
    before = contents(index);
  });
  afterEach(async () => {
    expect(contents(index)).toEqual(before);
    await expectSound(index);
  });

  test.each<[unknown, typeof TypeError | typeof RangeError, string]>([
    [{ force: "x" }, TypeError, 'force is "x"; expected one of hot, warm, cool, cold, archive'],
    [{ force: "" }, TypeError, 'force is ""; expected one of hot'],
    [{ force: "Hot" }, TypeError, 'force is "Hot"; expected one of hot'],
    [{ force: "binary" }, TypeError, 'force is "binary"; expected one of hot'],
    [{ force: 0 }, TypeError, "force is 0; expected one of hot"],
    [{ force: 4 }, TypeError, "force is 4; expected one of hot"],
    [{ force: null }, TypeError, "force is null; expected one of hot"],
    [{ force: true }, TypeError, "force is true; expected one of hot"],
    [{ force: ["hot"] }, TypeError, 'force is ["hot"]; expected one of hot'],
    [{ now: Number.NaN }, TypeError, "now is NaN; expected milliseconds since 1970"],
    [{ now: Infinity }, TypeError, "now is Infinity; expected milliseconds since 1970"],
    [{ now: -Infinity }, TypeError, "now is -Infinity; expected milliseconds since 1970"],
    [{ now: "0" }, TypeError, 'now is "0"; expected milliseconds since 1970'],
    [{ now: null }, TypeError, "now is null; expected milliseconds since 1970"],
    [{ now: 1n }, TypeError, "now is 1n; expected milliseconds since 1970"],
    [{ now: new Date() }, TypeError, "now is an object; expected milliseconds since 1970"],
    [{ now: 1e300 }, RangeError, "now is 1e+300; expected milliseconds since 1970, at most 8640000000000000"],
    [{ now: 8.64e15 + 2 }, RangeError, "now is 8640000000000002; expected milliseconds since 1970, at most"],
    [{ force: "hot", now: -1e300 }, RangeError, "now is -1e+300; expected milliseconds"],
    [{ tier: "hot" }, TypeError, 'retier: unknown option "tier"; did you mean '],
    [{ forse: "hot" }, TypeError, 'retier: unknown option "forse"; did you mean "force"? Valid: now, force'],
    ["hot", TypeError, 'retier: the options are "hot"; expected an object with any of now, force'],
    [["hot"], TypeError, "retier: the options are an array; expected an object"],
    [null, TypeError, "retier: the options are null; expected an object"],
    [5, TypeError, "retier: the options are 5; expected an object"],
  ])("retier(%o)", async (options, kind, message) => {
    const error = await errorOf(() => index.retier(options as RetierOptions));
    expect(error).toBeInstanceOf(kind);
    expect(error).not.toBeInstanceOf(HebbError);
    expect(error.message).toContain(message);
  });

  test.each([-1, 0, -0, -8.64e15, 1.5])("retier({ now: %d }) is in the past, and no mistake", async (now) => {
    expect(await index.retier({ now })).toEqual({
      promoted: 0,
      demoted: 0,
      refused: 0,
      untrained: 0,
      tiers: counts({ cool: n }),
    });
  });

  test.each([0, -1, 1.5, 1025, Number.NaN, Infinity, 2 ** 32 - 1, "4", true, null, [], {}])(
    "rerank: %o",
    async (rerank) => {
      const options = { k: 3, rerank } as SearchOptions;
      const query = rowOf(rows, 0, d);
      const isObject = typeof rerank === "object" && rerank !== null;
      const shown = isObject ? "an object" : typeof rerank === "string" ? `"${rerank}"` : String(rerank);
      for (const exact of [false, true]) {
        for (const search of [
          () => index.search(query, { ...options, exact }),
          () => index.searchMany(rows, { ...options, exact }),
        ]) {
          const error = await errorOf(search);
          expect(error).toBeInstanceOf(RangeError);
          expect(error.message).toBe(`rerank is ${shown}; expected an integer from 1 to 1024`);
        }
      }
    },
  );

  test("rerank is none of a query's options", async () => {
    const query = { vector: rowOf(rows, 0, d), rerank: 4 };
    const error = await errorOf(() => index.query(query));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^query: unknown option "rerank"/);
  });

  test("opened again meanwhile with other settings", async () => {
    const error = await errorOf(() => open(path("there")));
    expectFault(error, "STORE_LOCKED", /./);
  });
});

describe("originals", () => {
  test.each([true, false])("are kept or not as the store was made (%s), whatever is asked later", async (keep) => {
    const name = `kept-${keep}`;
    const index = await filled(name, rows, { keep });
    await index.retier({ force: "cold" });
    const before = contents(index);
    await index.close();
    const asked = { config: configOf({}, { keep_originals: !keep }) };
    for (const options of [asked, { ...asked, readOnly: true }, { ...asked, dimensions: d, metric: "l2" as const }]) {
      expectFault(
        await errorOf(() => open(path(name), options)),
        "STORE_MISMATCH",
        `storage.keep_originals is ${!keep}, but the store was made with ${keep}; leave the key out, or build a new store`,
      );
    }
    for (const config of [{}, { storage: { keep_originals: keep } }]) {
      const again = await open(path(name), { config });
      expect(contents(again)).toEqual(before);
      await expectSound(again);
      await again.close();
    }
  });
});

describe("a handle that cannot write", () => {
  const works: [string, (index: Index) => unknown][] = [
    ["retier", (index) => index.retier()],
    ["retier by force", (index) => index.retier({ force: "hot" })],
    ["retier by time", (index) => index.retier({ now: Date.now() + 100 * HALF_LIFE })],
    ["compact", (index) => index.compact()],
    ["checkpoint", (index) => index.checkpoint()],
  ];

  beforeAll(async () => {
    const index = await filled("shut", rows);
    await index.retier({ force: "archive" });
    await index.close();
  });

  test.each(works)("because it only reads: %s", async (_, work) => {
    const reader = await open(path("shut"), { readOnly: true });
    const before = contents(reader);
    const error = await errorOf(() => work(reader));
    expectFault(
      error,
      "STORE_READ_ONLY",
      `the index at ${path("shut")} was opened with readOnly; open it without to write`,
    );
    expect(contents(reader)).toEqual(before);
    expect(countsOf(reader)).toEqual(counts({ archive: n }));
    await expectSound(reader);
    await reader.close();
  });

  test.each(works)("because it was closed: %s", async (_, work) => {
    const index = await open(path("shut"));
    await index.close();
    const error = await errorOf(() => work(index));
    expectFault(error, "INDEX_CLOSED", `the index at ${path("shut")} was closed; open it again`);
    const again = await open(path("shut"));
    expect(countsOf(again)).toEqual(counts({ archive: n }));
    await again.close();
  });
});

describe("a budget that the archive exceeds", () => {
  let each: number;
  let bytes: number;
  let compress: Given;
  const message = (rowsThere: number) =>
    `memory_budget is ${bytes} bytes; expected at least ${each * rowsThere}, what ${rowsThere} vectors take in the archive tier`;

  beforeAll(async () => {
    each = await archiveBytes(d);
    bytes = each * 280;
    compress = { memory_budget: bytes };
  });

  async function expectTooSmall(index: Index, rowsThere: number): Promise<void> {
    for (const options of [{}, { now: Date.now() + HALF_LIFE }]) {
      const error = await errorOf(() => index.retier(options));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe(message(rowsThere));
    }
  }

  test("of a store that is there: opening and reading go on, moving is refused, less rows fit", async () => {
    await (await filled("small", rows)).close();
    const index = await open(path("small"), { config: configOf(compress) });
    const before = contents(index);
    await expectTooSmall(index, n);
    expect(contents(index)).toEqual(before);
    await expectSound(index);
    await index.delete(range(20));
    await index.retier();
    expect(index.stats().vectors.bytes).toBeLessThanOrEqual(bytes);
    await expectSound(index);
    await index.close();
  });

  test("because rows came: they are taken, and the warning says what it takes", async () => {
    const index = await filled("grows", rows.subarray(0, 270 * d), { compress });
    await index.retier();
    expect(index.stats().vectors.bytes).toBeLessThanOrEqual(bytes);
    await index.putMany({ ids: range(n - 270, 270), vectors: rows.subarray(270 * d) });
    expect(index.size).toBe(n);
    await until(() => index.stats().warnings.length > 0);
    expect(index.stats().warnings).toEqual([`the last round of tiering in the background failed: ${message(n)}`]);
    await expectTooSmall(index, n);
    for (const id of range(n)) expect(index.get(id)?.vector).toEqual(rowOf(rows, id, d));
    expect(index.search(rowOf(rows, 7, d), { k: 1 })).toMatchObject([{ id: 7, distance: 0 }]);
    await expectSound(index);
    await index.close();
    const again = await open(path("grows")); // without the budget all is well
    await again.retier();
    expect(again.stats().warnings).toEqual([]);
    await expectSound(again);
    await again.close();
  });

  test("until rows went, and then nobody is warned any more", async () => {
    const index = await filled("shrinks", rows, { compress });
    await until(() => index.stats().warnings.length > 0);
    await index.retier().catch(() => {});
    expect(index.stats().warnings).toHaveLength(1);
    await index.delete(range(30));
    await index.retier();
    expect(index.stats().warnings).toEqual([]);
    expect(index.stats().vectors.bytes).toBeLessThanOrEqual(bytes);
    await expectSound(index);
    await index.close();
  });
});

/** Waits for what happens in the background. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("few rows", () => {
  test.each([1, 8192])("of %d dimensions go no further than warm, through all tiers and back", async (dimensions) => {
    for (const keep of [true, false]) {
      const vectors = clusteredRows(5, dimensions, 3);
      const index = await filled(`few-${dimensions}-${keep}`, vectors, { dimensions, keep });
      for (const force of ["warm", "cool", "cold", "archive"] as const) {
        const { untrained, tiers } = await index.retier({ force });
        expect({ untrained, tiers }).toEqual({ untrained: force === "warm" ? 0 : 5, tiers: counts({ warm: 5 }) });
        expect(index.stats().warnings.join()).toMatch(
          /need a codebook.*256 vectors: the store has 5.* stay in tier warm/,
        );
      }
      for (const id of range(5)) {
        const { vector } = index.get(id)!;
        const original = rowOf(vectors, id, dimensions);
        if (keep) expect(vector).toEqual(original);
        else for (let i = 0; i < dimensions; i++) expect(Math.abs(vector[i] - original[i])).toBeLessThan(4e-3);
        expect(index.search(vector, { k: 1 })).toMatchObject([{ id }]);
      }
      const back = await index.retier({ force: "hot" });
      expect(back).toMatchObject(keep ? { promoted: 5, refused: 0 } : { promoted: 0, refused: 5 });
      await expectSound(index);
      await index.close();
    }
  });
});

describe("subvectors that do not divide the dimensions", () => {
  test.each<[number, string[]]>([
    [6, []],
    [24, []],
    [
      7,
      [
        "tensor_compress.pq_subvectors is 7, which does not divide the 24 dimensions: some parts have one more than others",
      ],
    ],
    [48, ["tensor_compress.pq_subvectors is 48, and the vectors have 24 dimensions: as many parts are used"]],
  ])("%d: taken, and said so", async (pq_subvectors, warnings) => {
    const index = await filled(`parts-${pq_subvectors}`, rows, { compress: { pq_subvectors } });
    for (const force of TIERS) expect((await index.retier({ force })).tiers).toEqual(counts({ [force]: n }));
    expect(index.stats().warnings).toEqual(warnings);
    await expectSound(index);
    await index.close();
    const again = await open(path(`parts-${pq_subvectors}`));
    expect(again.stats().warnings).toEqual([]); // nobody asked
    await again.close();
  });
});

describe("damage to the codebooks", () => {
  /** In the head of the section, in a codebook, in its last byte. */
  const places: [string, (directory: string) => number][] = [
    ["the head", () => 9],
    ["a codebook", () => 65_536 + 100],
    ["what is free behind them", (directory) => sectionBytes(directory, "codebooks") - 1],
  ];
  const late = clusteredRows(5, d, 7);

  /** A copy of a closed store of 300 cold rows and five that are hot, with one bit flipped. */
  async function damaged(name: string, keep: boolean, offset: (directory: string) => number): Promise<string> {
    const index = await filled(name, rows, { keep });
    await index.retier({ force: "cold" });
    await index.putMany({ ids: range(5, n), vectors: late });
    await index.close();
    flipBit(path(name), "codebooks", offset(path(name)));
    return path(name);
  }

  test.each(places)(
    "in %s heals where originals are kept: all are hot again, and nothing is lost",
    async (name, offset) => {
      const directory = await damaged(`heals-${name}`, true, offset);
      const expectAll = (index: Index) => {
        for (const id of range(n)) expect(index.get(id)?.vector).toEqual(rowOf(rows, id, d));
        for (const id of range(5)) expect(index.get(n + id)?.vector).toEqual(rowOf(late, id, d));
        expect(index.search(rowOf(late, 2, d), { k: 1 })).toMatchObject([{ id: n + 2, distance: 0 }]);
      };
      const reader = await open(directory, { readOnly: true });
      expectAll(reader);
      await reader.close();
      const index = await open(directory);
      expect(countsOf(index)).toEqual(counts({ hot: n + 5 }));
      expect(index.stats().warnings).toEqual([
        expect.stringMatching(/codebooks.* damaged: all vectors are in tier hot again, from their originals/),
      ]);
      expectAll(index);
      const [fault] = (await index.check()).faults;
      expect(fault).toMatchObject({ code: "INDEX_CORRUPT", section: "codebooks" });
      expect((await index.retier({ force: "archive" })).tiers).toEqual(counts({ archive: n + 5 }));
      expectAll(index);
      await index.close();
      const again = await open(directory);
      expect(again.stats().warnings).toEqual([]);
      expectAll(again);
      await expectSound(again);
      await again.close();
    },
  );

  test("is told where originals are not kept: who can be read is read, and check names the others", async () => {
    const directory = await damaged("names", false, places[1][1]);
    const index = await open(directory);
    for (const id of range(5)) expect(index.get(n + id)?.vector).toEqual(rowOf(late, id, d));
    for (const work of [() => index.get(7), () => index.search(rowOf(rows, 7, d))]) {
      expectFault(await errorOf(work), "INDEX_CORRUPT", /the codebook that a vector was encoded with is damaged/);
    }
    const { faults } = await index.check();
    expect(faults[0]).toMatchObject({ code: "INDEX_CORRUPT", section: "codebooks" });
    const named = faults.flatMap(({ message }) => /^the vector of id (\d+) cannot be read: /.exec(message)?.[1] ?? []);
    expect(named).toHaveLength(20);
    for (const id of named) expect(Number(id)).toBeLessThan(n);
    expect(faults.at(-1)!.message).toBe(`and ${n - 20} more of this kind`);
    await index.delete(range(n)); // what remains is a store that works
    await index.settle();
    expect(index.search(rowOf(late, 2, d), { k: 1 })).toMatchObject([{ id: n + 2, distance: 0 }]);
    await index.close();
  });

  test("in the head is told where originals are not kept", async () => {
    const directory = await damaged("beheaded", false, places[0][1]);
    expectFault(await errorOf(() => open(directory)), "INDEX_CORRUPT", /section codebooks, block 0/);
  });
});
