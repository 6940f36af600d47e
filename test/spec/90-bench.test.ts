/** The bench's own arithmetic: a figure is worth what computes it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { dataFolder, loadAnn, loadJudged, UsageError } from "../../bench/data.js";
import { clusteredVectors } from "../../bench/generate.js";
import { CONTROLS, chooseControl, rank, solvePositiveDefinite, unlearned } from "../../bench/learn/controls.js";
import { foldRandom, permutation, splitFolds } from "../../bench/learn/folds.js";
import { judge, ndcg } from "../../bench/learn/ndcg.js";
import { readNpy } from "../../bench/npy.js";
import { Options } from "../../bench/options.js";
import { bootstrapInterval, mean, median, percentile, randomisationTest, speedAt } from "../../bench/stats.js";
import { drawChart, linearTicks, logTicks } from "../../bench/svg.js";
import { kthDistances, recallOf, squaredL2 } from "../../bench/truth.js";
import { runs } from "../support/seed.js";

const folder = mkdtempSync(join(tmpdir(), "hebb-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function npyBytes(descr: string, shape: number[], data: Uint8Array, fortran = "False"): Buffer {
  const dict = `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const header = `${dict.padEnd(117)}\n`;
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0]);
  return Buffer.concat([start, Buffer.from(header, "latin1"), data]);
}

describe("reading .npy", () => {
  it("reads what was written, plain and gzipped", () => {
    const values = Float32Array.of(1.5, -2, 3, 0, 1e-30, 7);
    const bytes = npyBytes("<f4", [2, 3], new Uint8Array(values.buffer));
    for (const [name, body] of [
      ["a.npy", bytes],
      ["a.npy.gz", gzipSync(bytes)],
    ] as const) {
      writeFileSync(join(folder, name), body);
      const { shape, data } = readNpy(join(folder, name));
      expect(shape).toEqual([2, 3]);
      expect(data).toEqual(values);
    }
  });

  it.each([
    ["a type it does not know", npyBytes("<f2", [2], new Uint8Array(4)), /type <f2 cannot be read/],
    ["columns first", npyBytes("<f4", [1], new Uint8Array(4), "True"), /Fortran/],
    ["a file cut short", npyBytes("<f4", [9], new Uint8Array(4)), /its header promises/],
    ["something else", Buffer.from("hello, this is text"), /is no .npy file/],
  ])("refuses %s", (_, body, message) => {
    writeFileSync(join(folder, "bad.npy"), body);
    expect(() => readNpy(join(folder, "bad.npy"))).toThrow(message);
  });
});

describe("truth and recall", () => {
  const d = 7;
  const base = clusteredVectors(300, d, 3);
  const queries = clusteredVectors(12, d, 4);

  it("finds the k-th distance that sorting finds, with and without a filter", () => {
    for (const admits of [() => true, (row: number) => row % 3 === 0]) {
      const rows = Array.from({ length: 300 }, (_, i) => i).filter(admits);
      const sorted = Array.from(
        { length: 12 },
        (_, q) => rows.map((row) => squaredL2(queries, q, base, row, d)).sort((a, b) => a - b)[4],
      );
      expect([...kthDistances(base, queries, d, 5, admits)]).toEqual(sorted);
    }
    expect(kthDistances(base, queries, d, 5, (row) => row < 3)[0]).toBe(Number.POSITIVE_INFINITY);
  });

  it("counts true neighbours once, ties fairly, and nothing outside a filter", () => {
    const line = Float32Array.of(0, 1, 1, 2, 3);
    const set = { base: line, queries: Float32Array.of(0), d: 1, k: 2 };
    const kth = kthDistances(line, set.queries, 1, 2);
    const recall = (...rows: number[]) => recallOf(Int32Array.from(rows), set, kth);
    expect(recall(0, 1)).toBe(1);
    expect(recall(0, 2)).toBe(1); // rows 1 and 2 are equally near
    expect(recall(0, 0)).toBe(0.5);
    expect(recall(0, -1)).toBe(0.5);
    expect(recall(3, 4)).toBe(0);
    const even = (row: number) => row % 2 === 0;
    const within = kthDistances(line, set.queries, 1, 2, even);
    expect(recallOf(Int32Array.of(0, 2), set, within, even)).toBe(1);
    expect(recallOf(Int32Array.of(0, 1), set, within, even)).toBe(0.5);
  });

  it("asks for no more than a filter admits", () => {
    const line = Float32Array.of(0, 1, 2);
    const only = (row: number) => row === 2;
    const set = { base: line, queries: Float32Array.of(0), d: 1, k: 2 };
    const kth = kthDistances(line, set.queries, 1, 1, only);
    expect(recallOf(Int32Array.of(2, -1), set, kth, only, 1)).toBe(1);
  });
});

describe("statistics", () => {
  it("takes percentiles by nearest rank", () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(percentile([1, 2, 3, 4], 0.5)).toBe(2);
    expect(percentile([1, 2, 3, 4], 0.99)).toBe(4);
    expect(percentile([7], 0)).toBe(7);
  });

  it("reads speed between two points logarithmically, and says where a curve does not reach", () => {
    const curve = [
      { ef: 10, recall: 0.9, queriesPerSecond: 1000 },
      { ef: 20, recall: 1, queriesPerSecond: 10 },
    ];
    expect(speedAt(curve, 0.95)).toBeCloseTo(100, 9);
    expect(speedAt(curve, 0.5)).toBe(1000);
    expect(speedAt(curve, 1)).toBeCloseTo(10, 9);
    expect(speedAt(curve.slice(0, 1), 0.95)).toBeUndefined();
  });

  it("stays between the two points around the recall asked for", () => {
    const points = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1, max: 1e6 })), {
      minLength: 2,
      selector: ([recall]) => recall,
    });
    fc.assert(
      fc.property(points, fc.double({ min: 0, max: 1, noNaN: true }), (some, at) => {
        const curve = some.map(([recall, queriesPerSecond]) => ({ ef: 1, recall: recall / 1000, queriesPerSecond }));
        const speed = speedAt(curve, at);
        const speeds = curve.map(({ queriesPerSecond }) => queriesPerSecond);
        if (speed === undefined) expect(Math.max(...curve.map(({ recall }) => recall))).toBeLessThan(at);
        else {
          expect(speed).toBeGreaterThanOrEqual(Math.min(...speeds) * (1 - 1e-9));
          expect(speed).toBeLessThanOrEqual(Math.max(...speeds) * (1 + 1e-9));
        }
      }),
      runs(200),
    );
  });

  it("tells a gain from noise, the same each time", () => {
    const gain = Array.from({ length: 60 }, (_, i) => 0.05 + 0.1 * Math.sin(i));
    const noise = Array.from({ length: 60 }, (_, i) => (i % 2 ? 0.1 : -0.1));
    const { low, high } = bootstrapInterval(gain);
    expect(low).toBeGreaterThan(0);
    expect(low).toBeLessThan(mean(gain));
    expect(high).toBeGreaterThan(mean(gain));
    expect(bootstrapInterval(gain)).toEqual({ mean: mean(gain), low, high });
    expect(randomisationTest(gain)).toBeLessThan(0.01);
    expect(randomisationTest(noise)).toBeGreaterThan(0.5);
  });
});

describe("ranking quality", () => {
  it("is 1 for the ideal order, falls with rank, and is 0 where nothing is relevant", () => {
    const gains = new Map([
      [3, 2],
      [5, 1],
    ]);
    expect(ndcg([3, 5, 1], gains)).toBe(1);
    expect(ndcg([5, 3, 1], gains)).toBeCloseTo((1 + 2 / Math.log2(3)) / (2 + 1 / Math.log2(3)), 12);
    expect(ndcg([1, 2], gains)).toBe(0);
    expect(ndcg([1], new Map())).toBe(0);
    expect(ndcg([0, 0, 0, 3], gains, 3)).toBe(0);
  });

  it("leaves training positives out of the disjoint stratum", () => {
    const gains = new Map([
      [1, 1],
      [2, 1],
    ]);
    expect(judge([1, 2, 3], gains, new Set([1])).disjoint).toBe(1);
    expect(judge([3, 1, 2], gains, new Set([1])).disjoint).toBeCloseTo(1 / Math.log2(3), 12);
    expect(judge([1, 2], gains, new Set([1, 2])).disjoint).toBeNaN();
  });

  it("makes folds that test each query once and never train on it", () => {
    const order = permutation(23, foldRandom(1));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 23 }, (_, i) => i));
    const folds = splitFolds(order, 5);
    expect(folds.flatMap(({ test }) => test).sort((a, b) => a - b)).toEqual([...order].sort((a, b) => a - b));
    for (const { train, test } of folds) expect(new Set([...train, ...test]).size).toBe(23);
  });
});

describe("simple learners", () => {
  it("solves linear systems", () => {
    // A = L L^T of a known L, X known.
    const a = Float64Array.of(4, 2, 2, 10);
    const b = Float64Array.of(4 * 3 + 2 * -1, 4, 2 * 3 + 10 * -1, 2);
    solvePositiveDefinite(a, b, 2, 2);
    expect([...b].map((x) => Number(x.toFixed(12)))).toEqual([3, 1, -1, 0]);
  });

  it("each beat static search where there is something to learn", () => {
    const set = loadJudged("synthetic");
    const [{ train, test }] = splitFolds(permutation(set.queries.length, foldRandom(1)), 5);
    const feedback = train.map((query) => ({ query, chosen: [...set.relevant[query].keys()] }));
    const reached = (learned: ReturnType<typeof unlearned>) =>
      mean(test.map((query) => ndcg(rank(set, learned, query), set.relevant[query])));
    const still = reached(unlearned(set, feedback));
    for (const name of Object.keys(CONTROLS)) {
      expect(reached(chooseControl(name, set, feedback).learner(set, feedback)), name).toBeGreaterThan(still + 0.05);
    }
  });
});

describe("data", () => {
  it("says where it looked when there is none, and what to do", () => {
    expect(() => dataFolder("no-such-data")).toThrow(UsageError);
    expect(() => dataFolder("no-such-data")).toThrow(/looked in .*HEBB_DATA.*smoke/);
  });

  it("makes the same synthetic set each time, with its truth", () => {
    const spec = { data: "synthetic", base: 200, queries: 5, k: 3, dimensions: 8, seed: 2 };
    const set = loadAnn(spec);
    expect(set).toEqual(loadAnn(spec));
    expect([set.n, set.nq, set.d, set.kth.length]).toEqual([200, 5, 8, 5]);
    expect(loadAnn({ ...spec, seed: 3 }).base).not.toEqual(set.base);
  });
});

describe("options", () => {
  it("reads values, lists and flags", () => {
    const options = new Options(["--m", "8", "--ef=1,2", "--placebo"], ["m", "ef", "k"], ["placebo"]);
    expect(options.count("m", 16)).toBe(8);
    expect(options.counts("ef", [])).toEqual([1, 2]);
    expect(options.count("k", 10)).toBe(10);
    expect(options.flag("placebo")).toBe(true);
  });

  it.each([
    [["--querys", "3"], /unknown option --querys; did you mean --queries/],
    [["--queries"], /takes a value/],
    [["--queries", "2.5"], /not an integer/],
    [["queries"], /is no option/],
  ])("refuses %j", (args, message) => {
    expect(() => new Options(args, ["queries", "m"]).count("queries", 1)).toThrow(message);
  });
});

describe("the drawing", () => {
  const chart = {
    title: 'a <b> & "c"',
    subtitle: "",
    xLabel: "recall@10",
    yLabel: "queries/s",
    series: [
      {
        name: "one",
        points: [
          { x: 0.9, y: 100 },
          { x: 1, y: 10 },
        ],
      },
      { name: "empty", points: [] },
    ],
  };

  it("escapes text, leaves out what is empty, and keeps its points inside", () => {
    const svg = drawChart(chart);
    expect(svg).toContain("a &#60;b&#62; &#38; &#34;c&#34;");
    expect(svg).not.toContain("empty");
    expect(svg).toContain("prefers-color-scheme:dark");
    const [first, second] = /<polyline points="([^"]+)"/
      .exec(svg)![1]
      .split(" ")
      .map((pair) => pair.split(",").map(Number));
    expect(first[0]).toBeLessThan(second[0]);
    expect(first[1]).toBeLessThan(second[1]); // faster is higher up
  });

  it("refuses what a log axis cannot show", () => {
    expect(() => drawChart({ ...chart, series: [] })).toThrow(/nothing to draw/);
    expect(() => drawChart({ ...chart, series: [{ name: "x", points: [{ x: 1, y: 0 }] }] })).toThrow(/above 0/);
  });

  it("puts ticks at round numbers", () => {
    expect(logTicks(900, 12_000)).toEqual([1000, 2000, 5000, 10_000]);
    expect(linearTicks(0.9, 1, 5)).toEqual([0.9, 0.92, 0.94, 0.96, 0.98, 1]);
  });
});
