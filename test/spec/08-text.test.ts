import { describe, expect, it } from "vitest";
import { Prng } from "../../base/prng.js";
import { fuseRankings } from "../../src/text/fuse.js";
import { HashedTfidf } from "../../src/text/hashed-tfidf.js";
import { stem, TermCounter } from "../../src/text/words.js";

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** Texts of two subjects; words of one subject occur together, the two share a few words. */
function twoSubjects(count: number): string[] {
  const random = new Prng(3);
  const words = [
    ["wing", "lift", "drag", "airflow", "boundary", "layer", "mach", "supersonic", "flutter", "nozzle"],
    ["protein", "cell", "gene", "enzyme", "tissue", "receptor", "antibody", "membrane", "kinase", "genome"],
  ];
  const shared = ["study", "result", "method", "measure", "figure"];
  return Array.from({ length: count }, (_, i) =>
    Array.from({ length: 12 }, (_, j) =>
      j % 4 === 0 ? shared[random.below(5)] : words[i % 2]![random.below(10)],
    ).join(" "),
  );
}

describe("terms", () => {
  const terms = (text: string) => [...new TermCounter(1).count(text).keys()].sort();

  it("join forms of a word, whatever their case", () => {
    expect(terms("Connected CONNECTING connects")).toEqual(terms("connect"));
    expect(["libraries", "library", "boxes", "status", "class", "running"].map(stem)).toEqual([
      "library",
      "library",
      "box",
      "status",
      "class",
      "run",
    ]);
  });

  it("leave stop words out, unless there is nothing else", () => {
    expect(terms("the wing of the bird")).toEqual(terms("wing bird"));
    expect(terms("to be or not to be").length).toBeGreaterThan(0);
  });

  it("are counted", () => {
    expect([...new TermCounter(1).count("wing wings bird").values()].sort()).toEqual([1, 2]);
  });

  it("of scripts without spaces are pairs of characters", () => {
    expect(terms("機械学習").length).toBe(3);
    expect(terms("学習").every((t) => terms("機械学習").includes(t))).toBe(true);
    expect(terms("ｗｉｎｇ")).toEqual(terms("wing")); // full-width letters
  });
});

describe("HashedTfidf", () => {
  it("gives unit vectors of the dimensions asked for, fitted or not", async () => {
    const encoder = new HashedTfidf(32, 7);
    for (let fitted = 0; fitted < 2; fitted++) {
      for (const vector of encoder.encode(["wing", "protein cell gene", "zzz unheard of", "the"])) {
        expect(vector).toHaveLength(32);
        expect(dot(vector, vector)).toBeCloseTo(1, 5);
      }
      await encoder.fit(twoSubjects(100));
    }
  });

  it("puts words that occur together near one another, which hashing alone does not", async () => {
    // Mean cosine of two words of one subject, less that of two words of different subjects.
    const margin = (encoder: HashedTfidf) => {
      const wings = encoder.encode(["wing", "lift", "drag", "airflow", "flutter", "nozzle"]);
      const cells = encoder.encode(["protein", "cell", "gene", "enzyme", "tissue", "kinase"]);
      const pairs = wings.flatMap((a, i) => wings.slice(i + 1).map((b) => dot(a, b)));
      const across = wings.flatMap((a) => cells.map((b) => dot(a, b)));
      return pairs.reduce((x, y) => x + y) / pairs.length - across.reduce((x, y) => x + y) / across.length;
    };
    const encoder = new HashedTfidf(4, 7);
    const before = margin(encoder);
    await encoder.fit(twoSubjects(400));
    expect(margin(encoder)).toBeGreaterThan(Math.max(0.3, before + 0.3));
  });

  it("keeps words that it never saw apart from one another", async () => {
    const encoder = new HashedTfidf(256, 7);
    await encoder.fit(twoSubjects(100));
    const [a, same, b] = encoder.encode(["xylophone", "xylophones", "quasar"]) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    expect(dot(a, same)).toBeCloseTo(1, 5);
    expect(Math.abs(dot(a, b))).toBeLessThan(0.5);
  });

  it("is the same for the same texts and seed, and another for another seed", async () => {
    const run = async (seed: number) => {
      const encoder = new HashedTfidf(16, seed);
      await encoder.fit(twoSubjects(60));
      return encoder.encode(["wing drag", "unseen words"]);
    };
    expect(await run(5)).toEqual(await run(5));
    expect(await run(5)).not.toEqual(await run(6));
  });

  it("goes on from its state, bit for bit", async () => {
    const encoder = new HashedTfidf(24, 9);
    expect(encoder.state()).toHaveLength(0);
    await encoder.fit(twoSubjects(80));
    const state = encoder.state();
    const again = new HashedTfidf(24, 9, state);
    const texts = ["wing lift drag", "gene study", "never seen"];
    expect(again.encode(texts)).toEqual(encoder.encode(texts));
    expect(again.fittedTexts).toBe(80);
    expect(again.state()).toEqual(state);
    // A view at an odd offset, as it lies in a file.
    const padded = new Uint8Array(state.length + 3);
    padded.set(state, 3);
    expect(new HashedTfidf(24, 9, padded.subarray(3)).encode(texts)).toEqual(encoder.encode(texts));
  });

  it("refuses a state that is damaged or of another encoder", async () => {
    const encoder = new HashedTfidf(24, 9);
    await encoder.fit(twoSubjects(80));
    const state = encoder.state();
    const refusal = (dimensions: number, seed: number, bytes: Uint8Array) => () =>
      new HashedTfidf(dimensions, seed, bytes);
    expect(refusal(25, 9, state)).toThrow(/INDEX_CORRUPT.*24 dimensions; expected 25/);
    expect(refusal(24, 8, state)).toThrow(/INDEX_CORRUPT.*seed 9; expected 8/);
    expect(refusal(24, 9, state.subarray(0, state.length - 1))).toThrow(/INDEX_CORRUPT.*bytes; expected/);
    expect(refusal(24, 9, state.subarray(0, 10))).toThrow(/INDEX_CORRUPT.*10 bytes/);
    expect(refusal(24, 9, state.slice().fill(0, 0, 4))).toThrow(/INDEX_CORRUPT.*begins with/);
  });

  it("fits few texts, equal texts and texts without words", async () => {
    for (const texts of [[], ["one text"], ["same words", "same words", "same words"], ["", "!!!"], ["the", "of"]]) {
      const encoder = new HashedTfidf(16, 1);
      await encoder.fit(texts);
      for (const vector of encoder.encode(["one text", "same words", "other"]))
        expect(dot(vector, vector)).toBeCloseTo(1, 5);
    }
  });

  it("says when to fit again: a quarter more texts, until hardly more are looked at", async () => {
    const encoder = new HashedTfidf(8, 1);
    expect(encoder.nextFit).toBe(1);
    await encoder.fit(twoSubjects(20));
    expect(encoder.nextFit).toBe(25);
    await encoder.fit(twoSubjects(1639));
    expect(encoder.nextFit).toBe(Infinity);
  });

  it("refuses a text without words, and settings out of range", () => {
    const encoder = new HashedTfidf(16, 1);
    expect(() => encoder.encode(["fine", " -- !"])).toThrow(RangeError);
    expect(() => encoder.encode(["fine", " -- !"])).toThrow(/texts\[1\] is " -- !".*at least one letter or digit/);
    expect(() => new HashedTfidf(0, 1)).toThrow(/dimensions is 0; expected an integer from 1 to 65536/);
    expect(() => new HashedTfidf(16, -1)).toThrow(/seed is -1/);
  });
});

describe("fuseRankings", () => {
  it("adds 1 / (60 + rank) over the rankings", () => {
    const fused = fuseRankings([
      ["a", "b", "c"],
      ["b", "d"],
    ]);
    expect(fused.map((x) => x.item)).toEqual(["b", "a", "d", "c"]);
    expect(fused[0]!.score).toBeCloseTo(1 / 62 + 1 / 61, 12);
    expect(fused[1]!.score).toBeCloseTo(1 / 61, 12);
  });

  it("keeps one ranking as it is, prefers the first where scores are equal, and takes empty ones", () => {
    expect(fuseRankings([["x", "y", "z"], []]).map((x) => x.item)).toEqual(["x", "y", "z"]);
    expect(fuseRankings([["x"], ["y"]]).map((x) => x.item)).toEqual(["x", "y"]);
    expect(fuseRankings([])).toEqual([]);
  });

  it("takes another constant, and refuses a bad one", () => {
    expect(fuseRankings([["x"]], 0)[0]!.score).toBe(1);
    expect(() => fuseRankings([["x"]], -1)).toThrow(RangeError);
    expect(() => fuseRankings([["x"]], Number.NaN)).toThrow(/k is NaN/);
  });
});
