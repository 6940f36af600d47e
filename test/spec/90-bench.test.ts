/** The bench's own arithmetic: a figure is worth what computes it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Prng } from "../../base/prng.js";
import { scaleSizes } from "../../bench/ann/options.js";
import { PARTS } from "../../bench/ann/parts.js";
import { profileClaims, profilesOf } from "../../bench/ann/profiles.js";
import type { EngineResult } from "../../bench/ann/sweep.js";
import { parseProcessors, processorCounts } from "../../bench/ann/threads.js";
import { atLeast, atMost } from "../../bench/claims.js";
import { dataFolder, loadAnn, loadJudged, UsageError } from "../../bench/data.js";
import { ownCodes } from "../../bench/frozen/codes.js";
import { ratio, type Timed } from "../../bench/frozen/contest.js";
import { foundIn } from "../../bench/frozen/hits.js";
import { FROZEN_PARTS } from "../../bench/frozen/options.js";
import { clusteredVectors, sheetVectors } from "../../bench/generate.js";
import { memorySizes } from "../../bench/gnn/options.js";
import { clicksOn } from "../../bench/learn/clicks.js";
import { CONTROLS, chooseControl, rank, unlearned } from "../../bench/learn/controls.js";
import { halved, topics } from "../../bench/learn/failures.js";
import { foldRandom, permutation, splitFolds } from "../../bench/learn/folds.js";
import { judge, ndcg } from "../../bench/learn/ndcg.js";
import { effectiveRank, eigenvalues } from "../../bench/learn/rank.js";
import { readNpy } from "../../bench/npy.js";
import { Options } from "../../bench/options.js";
import { everything, fading, History, historyOf, itemVectors } from "../../bench/recommend/history.js";
import { inverse } from "../../bench/recommend/inverse.js";
import { gini } from "../../bench/recommend/loop.js";
import { candidatesOf, choose, credit, CONTROLS as RECOMMENDERS, rankOf } from "../../bench/recommend/rankers.js";
import { windowsOf } from "../../bench/recommend/run.js";
import { shuffledTrain } from "../../bench/recommend/split.js";
import { loadSplit, loadTimeline } from "../../bench/recommend/timeline.js";
import {
  bootstrapInterval,
  envelope,
  growthExponent,
  mean,
  median,
  percentile,
  randomisationTest,
  shareInterval,
  speedAt,
} from "../../bench/stats.js";
import { drawChart } from "../../bench/svg.js";
import { kthDistances, recallOf, squaredL2 } from "../../bench/truth.js";
import { solvePositiveDefinite } from "../../model/solve.js";
import { linearTicks, logTicks } from "../../src/cli/report/svg.js";
import { open } from "../../src/index.js";
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

  it("keeps of several curves what no point beats", () => {
    const point = (recall: number, queriesPerSecond: number) => ({ ef: 1, recall, queriesPerSecond });
    const best = [point(0.9, 300), point(0.95, 200), point(0.99, 150)];
    const beaten = [point(0.9, 200), point(0.94, 199), point(0.99, 149)];
    expect(envelope([[best[0], beaten[1], best[2]], [beaten[0], best[1]], [beaten[2]]])).toEqual(best);
    expect(envelope([best, best])).toEqual(best.flatMap((one) => [one, one])); // neither beats the other
  });

  it("finds the exponent of a power law", () => {
    const law = [1e4, 1e5, 1e6].map((x) => ({ x, y: 3 * x ** 0.25 }));
    expect(growthExponent(law)).toBeCloseTo(0.25, 12);
    expect(growthExponent(law.slice(0, 1))).toBeNaN();
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

describe("shares", () => {
  it("have an interval that holds near 0 and 1 too", () => {
    const half = shareInterval(50, 100);
    expect([half.share, half.low, half.high].map((x) => x.toFixed(4))).toEqual(["0.5000", "0.4038", "0.5962"]);
    const none = shareInterval(0, 100);
    expect([none.low, none.high.toFixed(4)]).toEqual([0, "0.0370"]);
    expect(shareInterval(100, 100).high).toBe(1);
  });
});

describe("frozen bundles", () => {
  const hit = (id: number, distance: number) => ({ id, distance, score: -distance });
  const call = (queries: number, passSeconds: number[]): Timed => ({
    name: "",
    queries,
    recalls: [],
    passSeconds,
    queriesPerSecond: 0,
    work: undefined,
  });

  it("are judged by what came back, with room for what did not", () => {
    const { rows, distances } = foundIn([[hit(7, 0.5), hit(3, 2)], [hit(1, 0.25)]], 2);
    expect([...rows]).toEqual([7, 3, 1, -1]);
    expect([...distances]).toEqual([0.5, 2, 0.25, 0]);
  });

  it("are compared within rounds, whatever each call is asked", () => {
    expect(ratio(call(1000, [1, 2, 9]), call(100, [1, 2, 1]))).toBe(10);
    expect(ratio(call(10, [4]), call(10, [1]))).toBe(0.25);
  });

  it("have codes that are the nearer to their vectors the more bits they have", async () => {
    const d = 100;
    const rows = clusteredVectors(32, d, 5);
    const index = await open(join(folder, "codes.hebb"), { dimensions: d, metric: "l2", durability: "off" });
    await index.putMany({ ids: Array.from({ length: 32 }, (_, i) => i), vectors: rows });
    const centre = Float64Array.from({ length: d }, (_, j) =>
      mean(Array.from({ length: 32 }, (_, i) => rows[i * d + j])),
    );
    const aligned: number[] = [];
    for (const bits of [1, 2, 4]) {
      const directory = join(folder, `codes-${bits}.frozen`);
      await (await index.freeze(directory, { bits })).close();
      const codes = ownCodes(directory, { dimensions: d, bits });
      expect(codes).toHaveLength(32);
      const cosines = codes.map(({ rescale, length, error }, row) => {
        const own = Math.hypot(...centre.map((c, j) => rows[row * d + j] - c));
        const cosine = (2 * own) / (-rescale * length);
        expect(error).toBeCloseTo(2 * own * Math.sqrt((1 / cosine ** 2 - 1) / 127), 3); // of 128 values, the padded ones
        return cosine;
      });
      aligned.push(mean(cosines));
    }
    await index.close();
    expect(aligned[0]).toBeCloseTo(Math.sqrt(2 / Math.PI), 1);
    expect(aligned[1]).toBeGreaterThan(0.92);
    expect(aligned[2]).toBeGreaterThan(0.99);
    expect(aligned[2]).toBeLessThan(1);
  });
});

describe("claims", () => {
  const show = (value: number) => value.toFixed(1);

  it("say by how much a target is met or missed", () => {
    const met = atLeast("speed", 8.4, 7, show);
    expect(met).toMatchObject({ name: "speed >= 7.0", kind: "target", holds: true, figure: "8.4, 20.0% better" });
    expect(met).toMatchObject({ measured: 8.4, wanted: 7 });
    expect(met.by).toBeCloseTo(0.2, 12);
    expect(atLeast("speed", 3.5, 7, show)).toMatchObject({ holds: false, by: -0.5, figure: "3.5, 50.0% short" });
    expect(atMost("time", 3, 4, show)).toMatchObject({ name: "time <= 4.0", holds: true, by: 0.25 });
    expect(atMost("time", 6, 4, show)).toMatchObject({ holds: false, by: -0.5 });
    expect(atMost("time", 4, 4, show).holds).toBe(true);
  });

  it("miss a target that was not reached at all", () => {
    const claim = atLeast("speed", undefined, 7, show);
    expect(claim).toMatchObject({ holds: false, figure: "not reached", wanted: 7 });
    expect(claim.by).toBeUndefined();
  });

  it("hold profiles to bytes of hnswlib's and speeds of usearch's", () => {
    const curve = (speed: number) => [
      { recall: 0.9, queriesPerSecond: speed },
      { recall: 1, queriesPerSecond: speed },
    ];
    const engine = (profile: string | undefined, speed: number, bytesPerVector = 0) =>
      ({
        engine: profile ? "hebb" : "usearch",
        build: { graph: profile && { profile, rowBytes: 100, bytesPerVector, fileBytesPerVector: bytesPerVector } },
        points: curve(speed),
      }) as EngineResult;
    const rows = profilesOf([engine("small", 150, 528), engine("compact", 600, 792), engine(undefined, 100)], {
      d: 100,
      m: 16,
    });
    expect(rows.map(({ profile, overHnswlib }) => [profile, overHnswlib])).toEqual([
      ["compact", 1.5],
      ["small", 1],
    ]);
    expect(rows[0].atRecall[0].overUsearch).toBeCloseTo(6, 9);
    expect(profileClaims(rows, true).map(({ holds }) => holds)).toEqual([false, true, true, false]);
    expect(profileClaims(rows, false).map(({ holds }) => holds)).toEqual([false, true]);
  });
});

describe("what is run", () => {
  it("grows in threes up to the size asked for", () => {
    expect(scaleSizes(100_000)).toEqual([10_000, 30_000, 100_000]);
    expect(scaleSizes(1_000_000)).toEqual([10_000, 30_000, 100_000, 300_000, 1_000_000]);
    expect(scaleSizes(50_000)).toEqual([10_000, 30_000, 50_000]);
    expect(scaleSizes(500)).toEqual([500]);
  });

  it("reads lists of processors and doubles them", () => {
    expect(parseProcessors("0-2,5,8-9")).toEqual([0, 1, 2, 5, 8, 9]);
    expect(parseProcessors("3")).toEqual([3]);
    expect(processorCounts(1)).toEqual([1]);
    expect(processorCounts(2)).toEqual([1, 2]);
    expect(processorCounts(12)).toEqual([1, 2, 4, 8, 12]);
  });

  it("grows tenfold where memory is measured", () => {
    expect(memorySizes(100_000)).toEqual([10_000, 100_000]);
    expect(memorySizes(1_000_000)).toEqual([10_000, 100_000, 1_000_000]);
    expect(memorySizes(500)).toEqual([500]);
  });

  it("is every part, or those that are named", () => {
    const parts = (...args: string[]) => new Options(args, ["only"]).words("only", PARTS);
    expect(parts()).toEqual(PARTS);
    expect(parts("--only=scale,kernels")).toEqual(["scale", "kernels"]);
    expect(() => parts("--only=scales")).toThrow(/valid are sweep/);
    expect(new Options([], ["only"]).words("only", FROZEN_PARTS)).toContain("exact");
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

describe("recommenders", () => {
  const liking = (user: number, item: number, liked = true) => ({ user, item, liked, time: 0 });

  it("invert what times its inverse is the unit matrix", () => {
    const sides = fc.integer({ min: 1, max: 23 });
    fc.assert(
      fc.property(sides, fc.integer(), (n, seed) => {
        const random = new Prng(seed);
        const factor = Float64Array.from({ length: n * n }, () => random.gaussian());
        const a = new Float64Array(n * n);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) {
            for (let k = 0; k < n; k++) a[i * n + j] += factor[i * n + k] * factor[j * n + k];
            if (i === j) a[i * n + j] += 1;
          }
        }
        const b = inverse(a, n);
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            expect(sum).toBeCloseTo(i === j ? 1 : 0, 8);
          }
        }
      }),
      runs(60),
    );
    expect(() => inverse([1, 2, 2, 1], 2)).toThrow(/not positive definite/);
  });

  it("give equal scores the middle of their places, and skip what was seen", () => {
    const scores = Float64Array.of(5, 1, 1, 1, 0);
    expect(rankOf(0, scores, new Set())).toBe(0);
    expect(rankOf(1, scores, new Set())).toBe(2);
    expect(rankOf(1, scores, new Set([0, 2]))).toBe(0.5);
    expect(rankOf(2, new Float64Array(100), new Set())).toBe(49.5); // knowing nothing earns nothing
    expect([credit(0), credit(9.5), credit(10), credit(-1)]).toEqual([1, 1 / Math.log2(11.5), 0, 0]);
  });

  it("keep what is known at a moment, and nothing later", () => {
    const history = historyOf(4, [liking(1, 0), liking(1, 2), liking(2, 3, false), liking(1, 3)]);
    expect(history.likedBy(1)).toEqual([0, 2, 3]);
    expect([...history.seenBy(2)]).toEqual([3]);
    expect([...history.likes]).toEqual([1, 0, 1, 1]);
    expect(history.both[0 * 4 + 2] + history.both[2 * 4 + 0]).toBe(2);
    expect(history.near[1 * 4 + 2]).toBe(0);
    expect(fading([7, 8, 9], 2, 0.5)).toEqual({ items: [8, 9], weights: [0.5, 1] });
    expect(everything([7, 8]).weights).toEqual([1, 1]);
    const long = new History(60);
    for (let item = 0; item < 60; item++) long.reveal(liking(1, item));
    expect([long.both[59], long.near[59], long.near[9 * 60 + 59]]).toEqual([1, 0, 1]);
    const vectors = itemVectors(history, 8, 1);
    for (let i = 0; i < 4; i++) expect(Math.hypot(...vectors.subarray(i * 8, (i + 1) * 8))).toBeCloseTo(1, 6);
  });

  it("that know who likes what beat popularity where there are groups", () => {
    const { items, events } = loadTimeline("synthetic");
    const known = Math.floor(events.length * 0.7);
    const reached = RECOMMENDERS.map((control) => {
      const [only] = candidatesOf(control, true);
      const { tried } = choose([only, only], items.length, events.slice(0, known), events.slice(known));
      return tried[0].ndcg;
    });
    for (const better of reached.slice(1)) expect(better).toBeGreaterThan(reached[0] + 0.05);
  });

  it("solve EASE as its closed form says", () => {
    // Two users like 0 and 1, one likes 2: B = I - P diag(1 / P), P = (G + lambda I)^-1, by hand for the block of 0 and 1.
    const history = historyOf(3, [liking(1, 0), liking(1, 1), liking(2, 0), liking(2, 1), liking(3, 2)]);
    const { model, settings } = candidatesOf("EASE", true)[0];
    model.refit(history);
    const lambda = Number(/lambda (\d+)/.exec(settings)![1]);
    const out = new Float64Array(3);
    model.scores(everything([0]), history, out);
    expect(out[1]).toBeCloseTo(2 / (2 + lambda), 10);
    expect([out[0], out[2]].map(Math.abs)).toEqual([0, 0]);
  });

  it("are tested on a timeline in its order, and on a split that shares no interaction", () => {
    const { events } = loadTimeline("synthetic");
    expect(events.every(({ time }, i) => i === 0 || time >= events[i - 1].time)).toBe(true);
    expect(new Set(events.map(({ user, item }) => `${user} ${item}`)).size).toBe(events.length);
    const split = loadSplit("synthetic-split");
    const name = ({ user, item }: { user: number; item: number }) => `${user} ${item}`;
    const train = new Set(split.train.map(name));
    expect(split.test.some((event) => train.has(name(event)))).toBe(false);
    const some = shuffledTrain(split, 50, 1);
    expect(some).toEqual(shuffledTrain(split, 50, 1));
    for (const user of new Set(some.map((event) => event.user))) {
      const whole = split.train.filter((event) => event.user === user).length;
      expect(some.filter((event) => event.user === user)).toHaveLength(whole);
    }
  });

  it("are compared by means of windows", () => {
    expect([...windowsOf([1, 3, 5, 7, 9], 2)]).toEqual([2, 6, 9]);
    expect([...windowsOf([1, 1, 1, 1, 9], 4)]).toEqual([1]);
    expect([...windowsOf([4], 10)]).toEqual([4]);
  });

  it("expose all alike at Gini 0 and one alone at almost 1", () => {
    expect(gini(Float64Array.of(3, 3, 3))).toBeCloseTo(0, 12);
    expect(gini(Float64Array.of(0, 0, 0, 8))).toBeCloseTo(3 / 4, 12);
    expect(gini(new Float64Array(5))).toBe(0);
  });
});

describe("simulated feedback", () => {
  it("is clicked on as often as eta and noise say", () => {
    const random = new Prng(1);
    const relevant = [true, false, true, false];
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    for (let i = 0; i < draws; i++)
      for (const place of clicksOn(relevant, { eta: 1, noise: 0.2 }, random)) counts[place]++;
    [0.8, 0.1 / 2, 0.8 / 3, 0.1 / 4].forEach((share, place) => {
      expect(counts[place] / draws).toBeCloseTo(share, 1.5);
    });
    expect(clicksOn(relevant, { eta: 0, noise: 0 }, random)).toEqual([0, 2]);
  });

  it("flips between two halves of the documents that share nothing", () => {
    const set = loadJudged("synthetic-small");
    const [first, second] = halved(set);
    for (const [query, gains] of set.relevant.entries()) {
      const parts = [...first.relevant[query].keys(), ...second.relevant[query].keys()];
      expect(parts.sort((x, y) => x - y)).toEqual([...gains.keys()].sort((x, y) => x - y));
    }
    expect(first.relevant.flatMap((gains) => [...gains.keys()]).length).toBeGreaterThan(50);
  });

  it("falls into two topics that share no query", () => {
    const set = loadJudged("synthetic-small");
    const [a, b] = topics(set);
    expect([...a, ...b].sort((x, y) => x - y)).toEqual([...set.queries.keys()]);
    expect(b.length).toBeGreaterThan(5);
    expect(a.length).toBeGreaterThanOrEqual(b.length);
  });
});

describe("collapse", () => {
  it("shows in the effective rank", () => {
    expect(effectiveRank([1, 0, 0, 0, 1, 0, 0, 0, 1], 3)).toBeCloseTo(3, 9);
    expect(effectiveRank([1, 2, 3, 2, 4, 6], 3)).toBeCloseTo(1, 5);
    const random = new Prng(3);
    const flat = Float64Array.from({ length: 200 * 6 }, (_, at) => (at % 6 < 4 ? random.gaussian() : 0));
    expect(effectiveRank(flat, 6)).toBeGreaterThan(3.9);
    expect(effectiveRank(flat, 6)).toBeLessThanOrEqual(4);
  });

  it("is computed from eigenvalues that add up and multiply as they must", () => {
    const found = [...eigenvalues(Float64Array.of(2, 1, 0, 1, 2, 0, 0, 0, 5), 3)].sort((a, b) => a - b);
    for (const [i, value] of [1, 3, 5].entries()) expect(found[i]).toBeCloseTo(value, 9);
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

  it("makes rows for scale that a larger set begins with, without a truth that nobody asked for", () => {
    const rows = sheetVectors(50, 16, 1);
    expect(sheetVectors(80, 16, 1).subarray(0, rows.length)).toEqual(rows);
    expect(sheetVectors(50, 16, 2)).not.toEqual(rows);
    expect(rows.every(Number.isFinite)).toBe(true);
    const spec = { data: "sheet", base: 40, queries: 10, k: 3, dimensions: 16, seed: 1 };
    const set = loadAnn(spec, new Float64Array(0));
    expect([set.n, set.nq, set.kth.length]).toEqual([40, 10, 0]);
    expect([...set.base, ...set.queries]).toEqual([...rows]);
    expect(loadAnn(spec).kth.length).toBe(10);
    expect(loadAnn({ ...spec, clusters: 2000 }).base).toEqual(set.base);
    expect(loadAnn({ ...spec, clusters: 3 }).base).not.toEqual(set.base);
  });

  it("does not take a word that every object knows for a set", () => {
    expect(() => loadAnn({ data: "toString", queries: 1, k: 1, dimensions: 2, seed: 1 })).toThrow(UsageError);
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

  it("keeps a legend of many names on the page", () => {
    const many = Array.from({ length: 7 }, (_, i) => ({ ...chart.series[0], name: `series ${i}` }));
    const svg = drawChart({ ...chart, series: many });
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
    const names = [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)"[^>]*>series \d</g)];
    expect(names).toHaveLength(7);
    expect(new Set(names.map(([, x, y]) => `${x} ${y}`)).size).toBe(7);
    for (const [, x, y] of names) {
      expect(Number(x)).toBeLessThan(width - 100);
      expect(Number(y)).toBeLessThan(height);
    }
  });

  it("has a log axis to the right where one is wanted", () => {
    const points = [1e4, 1e5, 1e6].map((x) => ({ x, y: 10 }));
    const svg = drawChart({ ...chart, logX: true, series: [{ name: "one", points }] });
    const [a, b, c] = /<polyline points="([^"]+)"/
      .exec(svg)![1]
      .split(" ")
      .map((pair) => Number(pair.split(",")[0]));
    expect(c - b).toBeCloseTo(b - a, 0);
    expect(svg).toContain(">100,000<");
    expect(() => drawChart({ ...chart, logX: true, series: [{ name: "x", points: [{ x: 0, y: 1 }] }] })).toThrow(
      /above 0/,
    );
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
