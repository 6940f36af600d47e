/** Thoughts that are linked when they are stored, and the way from symbols to vectors and back. */
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { type Expression, termsOf, textOf } from "../../model/expression.js";
import { generalize, isInstance, isVariable, minePatterns } from "../../model/patterns.js";
import { SymbolEncoder } from "../../model/symbol-encoder.js";
import { Trainer } from "../../src/engine/trainer.js";
import { type Filter, type Id, type Index, open, type SymbolicExpression, type ThoughtInput } from "../../src/index.js";
import { errorOf, randomRows, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";

const path = scratch();

/** Counts four words: a space to compute by hand in. */
const WORDS = ["sun", "rain", "snow", "wind"];
const weather = async (texts: string[]): Promise<Float32Array[]> =>
  texts.map((text) => Float32Array.from(WORDS, (word) => text.split(word).length - 1));

const cosine = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / Math.sqrt(aa * bb);
};

/** All that can be seen of an index. */
const contents = (index: Index): unknown => [index.stats().learning, [...index.entries()]];

describe("thoughts", () => {
  const create = (name: string, metric: Metric = "cosine"): Promise<Index> =>
    open(path(name), { dimensions: 4, metric, encoder: weather });

  test("a thought is a row with its text, found by search, query and full text", async () => {
    const index = await create("row");
    const { id, related } = await index.thoughts.store({ content: "sun and wind", payload: { mood: "good" } });
    expect(related).toEqual([]);
    expect(index.get(id)).toEqual({
      id,
      vector: Float32Array.of(1, 0, 0, 1),
      payload: { mood: "good", text: "sun and wind" },
      tier: "hot",
    });
    expect(index.search([1, 0, 0, 1], { k: 1 })[0].id).toBe(id);
    expect((await index.query({ text: "wind", hybrid: true })).hits[0].id).toBe(id);
    expect(await index.thoughts.store({ id: "mine", content: "rain", payload: { text: "rain" } })).toEqual({
      id: "mine",
      related: [],
    });
    expect(index.get("mine")!.payload).toEqual({ text: "rain" });
    await index.close();
    const again = await open(path("row"), { encoder: weather });
    expect(again.get(id)!.payload).toEqual({ mood: "good", text: "sun and wind" });
    expect((await again.thoughts.context("sun")).thoughts[0].id).toBe(id);
    await again.close();
  });

  test("ids are unique where none is given, and one that is there is replaced", async () => {
    const index = await create("ids");
    const stored = await Promise.all(Array.from({ length: 30 }, () => index.thoughts.store({ content: "sun" })));
    expect(new Set(stored.map(({ id }) => id)).size).toBe(30);
    expect(stored.every(({ id }) => typeof id === "string")).toBe(true);
    expect(index.size).toBe(30);
    await index.thoughts.store({ id: 7, content: "rain" });
    await index.thoughts.store({ id: 7, content: "snow" });
    expect(index.size).toBe(31);
    expect(index.get(7)!.payload).toEqual({ text: "snow" });
    await index.close();
  });

  test.each(METRICS)(
    "under %s, related are the nearest thoughts that point the same way, 10 at most",
    async (metric) => {
      const index = await create(`related ${metric}`, metric);
      await index.put("no text", [1, 0, 0, 0], { text: 5 });
      await index.put("none either", [1, 0, 0, 0]);
      await index.thoughts.store({ id: "rain", content: "rain rain" });
      await index.thoughts.store({ id: "both", content: "sun rain" });
      const { related } = await index.thoughts.store({ id: "sun", content: "sun" });
      const [best] = related;
      const expected = metric === "cosine" ? Math.SQRT1_2 : metric === "dot" ? 1 : -1;
      expect(related).toHaveLength(1);
      expect(best.id).toBe("both");
      expect(best.score).toBeCloseTo(expected, 6);
      for (let i = 0; i < 12; i++) await index.thoughts.store({ id: i, content: `${"wind ".repeat(i + 1)}snow` });
      const windy = await index.thoughts.store({ content: "wind ".repeat(6) });
      expect(windy.related).toHaveLength(10);
      expect(windy.related.map(({ score }) => score)).toEqual(
        windy.related.map(({ score }) => score).sort((a, b) => b - a),
      );
      await index.close();
    },
  );

  test("links are learned edges as strong as the cosine, and are there after reopening", async () => {
    const index = await create("linked", "dot");
    const connect = vi.spyOn(Trainer.prototype, "connect");
    await index.thoughts.store({ id: "sun", content: "sun" });
    await index.thoughts.store({ id: "snow", content: "snow snow" });
    expect(connect).not.toHaveBeenCalled();
    expect(index.stats().learning.linked).toBe(0);
    const { related } = await index.thoughts.store({ id: "both", content: "sun snow" });
    expect(related).toEqual([
      { id: "snow", score: 2 },
      { id: "sun", score: 1 },
    ]);
    const strength = expect.closeTo(Math.SQRT1_2, 6);
    expect(connect.mock.calls).toEqual([
      [
        "both",
        [
          { id: "snow", strength },
          { id: "sun", strength },
        ],
      ],
    ]);
    expect(index.stats().learning).toMatchObject({ linked: 3, events: 0, serving: "static" });
    connect.mockRestore();
    await index.close();
    const again = await open(path("linked"), { encoder: weather });
    expect(again.stats().learning.linked).toBe(3);
    expect(await again.check()).toEqual({ ok: true, faults: [] });
    await again.close();
  });

  test("what is deleted between finding and linking is not linked, and the thought is kept", async () => {
    const index = await create("deleted meanwhile");
    await index.thoughts.store({ id: "stays", content: "sun" });
    await index.thoughts.store({ id: "goes", content: "sun" });
    const connect = Trainer.prototype.connect;
    const spy = vi.spyOn(Trainer.prototype, "connect").mockImplementationOnce(async function (this: Trainer, ...given) {
      await index.delete(["goes"]);
      return connect.apply(this, given);
    });
    const { related } = await index.thoughts.store({ id: "new", content: "sun sun" });
    expect(related.map(({ id }) => id)).toEqual(["stays"]);
    spy.mockImplementationOnce(async function (this: Trainer, ...given) {
      await index.delete(["newer"]);
      return connect.apply(this, given);
    });
    expect(await index.thoughts.store({ id: "newer", content: "sun" })).toEqual({ id: "newer", related: [] });
    expect([index.has("new"), index.has("newer")]).toEqual([true, false]);
    spy.mockRestore();
    await index.close();
  });

  test("context is the nearest thoughts and the edges among them", async () => {
    const index = await create("context");
    const prng = new Prng(5);
    const texts = Array.from({ length: 60 }, () =>
      Array.from({ length: 6 }, () => WORDS[prng.below(WORDS.length)]).join(" "),
    );
    await index.putMany({
      ids: texts.map((_, i) => i),
      texts,
      payloads: texts.map((text, i) => ({ text, even: i % 2 === 0 })),
    });
    await index.put("no thought", [1, 1, 1, 1], { even: true });
    await index.put("a list of texts", [3, 2, 0, 0], { even: false, text: ["sun"] });
    await index.settle();
    const { thoughts, edges } = await index.thoughts.context("sun sun rain");
    expect(thoughts).toHaveLength(19); // what is no thought may take a place
    expect(thoughts.map(({ id, score }) => ({ id, score }))).toEqual(
      index
        .search([2, 1, 0, 0], { k: 20, ef: 200, filter: { text: { $exists: true } } })
        .filter(({ id }) => id !== "a list of texts")
        .map(({ id, score }) => ({ id, score })),
    );
    for (const { id, content, payload } of thoughts) {
      expect(content).toBe(texts[id as number]);
      expect(payload).toEqual(index.get(id)!.payload);
    }
    const ids = thoughts.map(({ id }) => id);
    expect(edges.length).toBeGreaterThan(20);
    for (const { from, to } of edges) for (const end of [from, to]) expect(ids).toContain(end);

    const few = await index.thoughts.context("sun", { k: 3, depth: 0, filter: { even: true } });
    expect(few.thoughts).toHaveLength(3);
    for (const { payload } of few.thoughts) expect(payload!.even).toBe(true);
    await index.close();
  });

  test("links lead on from the nearest thoughts, as many hops as asked for", async () => {
    const index = await create("hops");
    for (const id of ["sun", "sun rain", "rain snow", "snow wind"]) await index.thoughts.store({ id, content: id });
    const found = async (options: { depth?: number; k?: number; filter?: Filter }) =>
      (await index.thoughts.context("sun", { k: 2, ...options })).thoughts.map(({ id }) => id);
    expect(await found({ depth: 0 })).toEqual(["sun", "sun rain"]);
    expect(await found({})).toEqual(["sun", "sun rain", "rain snow"]);
    expect(await found({ depth: 2 })).toEqual(["sun", "sun rain", "rain snow", "snow wind"]);
    expect(await found({ depth: 8, k: 1 })).toEqual(["sun", "sun rain"]); // one more for each of k
    expect(await found({ depth: 8, filter: { text: { $ne: "rain snow" } } })).toEqual(["sun", "sun rain"]);
    const { thoughts, edges } = await index.thoughts.context("sun", { k: 2, depth: 2 });
    for (const { score } of thoughts.slice(2)) expect(score).toBe(0); // their own, not that of who led to them
    expect(edges.map(({ from, to }) => `${from}-${to}`)).toContain("rain snow-snow wind");
    await index.delete(["rain snow"]);
    expect(await found({ depth: 8 })).toEqual(["sun", "sun rain"]);
    await index.close();
  });

  test("an empty index has no context", async () => {
    const index = await create("empty");
    expect(await index.thoughts.context("sun")).toEqual({ thoughts: [], edges: [] });
    await index.close();
  });

  test("the built-in encoder may be fitted anew with every thought", async () => {
    const index = await open(path("built-in"), { dimensions: 16, metric: "cosine", encoder: "hashed-tfidf" });
    const contents = ["the cat sleeps", "the cat eats fish", "a dog barks", "fish swim in the sea", "the dog sleeps"];
    for (const [id, content] of contents.entries()) await index.thoughts.store({ id, content });
    const { thoughts } = await index.thoughts.context("cat fish", { k: 2 });
    expect(thoughts.map(({ id }) => id)).toContain(1);
    expect(index.size).toBe(5);
    await index.close();
  });

  test("links stay when the built-in encoder is fitted anew, after a reopening too", async () => {
    const directory = path("refitted");
    let index = await open(directory, { dimensions: 32, metric: "cosine", encoder: "hashed-tfidf" });
    const prng = new Prng(11);
    const names = ["cat", "dog", "fish", "sea", "bird", "tree", "sun", "moon", "rain", "stone"];
    const [expected, weak] = [new Set<string>(), new Set<string>()];
    /** Edges that weigh more than their ends' likeness alone makes them, as links do and no edge of the graph's own. */
    const linked = async () => {
      const { edges } = await index.thoughts.context(names.join(" "), { k: 100 });
      const strong = edges.filter(({ from, to, weight }) => {
        const apart = 1 - cosine(index.get(from)!.vector, index.get(to)!.vector);
        return Math.exp(8 * apart) / (1 / weight - 1) > 1.01;
      });
      return new Set(strong.map(({ from, to }) => `${from}-${to}`).filter((edge) => !weak.has(edge)));
    };
    let fits = 0;
    for (let id = 0; id < 40; id++) {
      const before = index.get(0)?.vector;
      const content = Array.from({ length: 4 }, () => names[prng.below(names.length)]).join(" ");
      const { related } = await index.thoughts.store({ id, content });
      for (const { id: other } of related) {
        const strength = cosine(index.get(id)!.vector, index.get(other)!.vector);
        if (strength > 0.1) expected.add(`${id}-${other}`).add(`${other}-${id}`);
        else weak.add(`${id}-${other}`).add(`${other}-${id}`);
      }
      if (before?.some((x, i) => x !== index.get(0)!.vector[i])) fits++;
    }
    expect(fits).toBeGreaterThan(5); // rows were put anew so often
    expect(expected.size).toBeGreaterThan(100);
    const { linked: rows } = index.stats().learning;
    expect(await linked()).toEqual(expected);
    await index.close();
    index = await open(directory);
    expect(await linked()).toEqual(expected);
    expect(index.stats().learning.linked).toBe(rows);
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  });

  test("without an encoder, through a read-only handle, or after closing: the code says so, and nothing changes", async () => {
    const index = await open(path("bare"), { dimensions: 2, metric: "l2" });
    await index.put(1, [1, 2], { text: "there" });
    const before = contents(index);
    expect(await errorOf(() => index.thoughts.store({ content: "x" }))).toMatchObject({ code: "NO_ENCODER" });
    expect(await errorOf(() => index.thoughts.context("x"))).toMatchObject({ code: "NO_ENCODER" });
    expect(contents(index)).toEqual(before);
    const { thoughts, symbols } = index;
    await index.close();
    for (const call of [
      () => thoughts.store({ content: "x" }),
      () => thoughts.context("x"),
      () => symbols.put(1, "x"),
      () => symbols.ground("x"),
      () => symbols.lift([1, 2]),
    ]) {
      expect(await errorOf(call)).toMatchObject({ code: "INDEX_CLOSED" });
    }
    const reader = await open(path("bare"), { readOnly: true, encoder: async () => [Float32Array.of(1, 2)] });
    for (const call of [() => reader.thoughts.store({ content: "x" }), () => reader.symbols.put(2, "x")]) {
      expect(await errorOf(call)).toMatchObject({ code: "STORE_READ_ONLY" });
    }
    expect((await reader.thoughts.context("x")).thoughts.map(({ content }) => content)).toEqual(["there"]);
    expect((await reader.symbols.ground("x")).retrieved).toHaveLength(1);
    expect(await reader.symbols.lift([1, 2])).toEqual([]);
    await reader.close();
  });

  test("an encoder that fails leaves nothing behind", async () => {
    const encoder = async () => {
      throw new Error("offline");
    };
    const index = await open(path("offline"), { dimensions: 2, metric: "l2", encoder });
    expect(await errorOf(() => index.thoughts.store({ content: "x" }))).toMatchObject({ code: "ENCODER_FAILED" });
    expect(await errorOf(() => index.thoughts.context("x"))).toMatchObject({ code: "ENCODER_FAILED" });
    expect(index.size).toBe(0);
    await index.close();
  });

  describe("is refused", () => {
    let index: Index;
    let before: unknown;
    beforeAll(async () => {
      index = await create("refused");
      await index.thoughts.store({ id: 1, content: "sun" });
    });
    afterAll(() => index.close());
    beforeEach(() => {
      before = contents(index);
    });

    const store = (thought: unknown) => () => index.thoughts.store(thought as ThoughtInput);
    const context = (query: unknown, options?: unknown) => () =>
      index.thoughts.context(query as string, options as object);
    const cases: [string, () => () => unknown, typeof TypeError | typeof RangeError, RegExp][] = [
      ["nothing", () => store(undefined), TypeError, /thought: the options are undefined; expected an object/],
      ["a bare text", () => store("sun"), TypeError, /thought: the options are "sun"/],
      ["a misspelt field", () => store({ contents: "sun" }), TypeError, /unknown option "contents".*"content"/],
      ["no content", () => store({ id: 2 }), TypeError, /content is undefined; expected a text/],
      ["content that is no text", () => store({ content: ["sun"] }), TypeError, /content is an array of 1/],
      ["empty content", () => store({ content: "" }), RangeError, /content is ""; expected a text of at least one/],
      ["an id that is none", () => store({ content: "sun", id: 1.5 }), TypeError, /id is 1\.5/],
      ["an id that is null", () => store({ content: "sun", id: null }), TypeError, /id is null/],
      ["an empty id", () => store({ content: "sun", id: "" }), RangeError, /id "" has 0 bytes/],
      ["a payload that is none", () => store({ content: "sun", payload: [1] }), TypeError, /payload of id .* an array/],
      [
        "another text",
        () => store({ content: "sun", payload: { text: "rain" } }),
        TypeError,
        /has text "rain"; expected none/,
      ],
      ["context of nothing", () => context(undefined), TypeError, /query is undefined; expected a text/],
      ["context of a vector", () => context([1, 0, 0, 0]), TypeError, /query is an array of 4; expected a text/],
      ["context of an empty text", () => context(""), RangeError, /query is ""/],
      ["an unknown option", () => context("sun", { dept: 1 }), TypeError, /unknown option "dept".*"depth"/],
      ["options that are none", () => context("sun", 3), TypeError, /context: the options are 3/],
      ["k = 0", () => context("sun", { k: 0 }), RangeError, /k is 0; expected an integer from 1/],
      [
        "a depth below 0",
        () => context("sun", { depth: -1 }),
        RangeError,
        /depth is -1; expected an integer from 0 to 8/,
      ],
      ["a depth that is no integer", () => context("sun", { depth: 0.5 }), RangeError, /depth is 0\.5/],
      ["a filter that is none", () => context("sun", { filter: 3 }), TypeError, /is 3; expected an object/],
      ["an unknown operator", () => context("sun", { filter: { a: { $gtt: 1 } } }), TypeError, /\$gtt/],
    ];
    test.each(cases)("%s", async (_, call, kind, message) => {
      const error = await errorOf(call());
      expect(error.message).toMatch(message);
      expect(error).toBeInstanceOf(kind);
      expect(contents(index)).toEqual(before);
    });
  });
});

describe("vectors of expressions", () => {
  const D = 1024;
  const encode = (expression: Expression, d = D) => new SymbolEncoder(d, 1).encode(expression);
  const alike = (a: Expression, b: Expression) => cosine(encode(a), encode(b));

  test("are of unit length in any dimensions, and the same for the same expression alone", () => {
    const expressions: Expression[] = ["a", 0, false, ["f"], ["f", "f"], ["f", ["f", "f"], 1, true], [[["a"]], "b"]];
    for (const d of [1, 2, 3, 64]) {
      for (const expression of expressions) {
        const vector = encode(expression, d);
        expect(vector).toHaveLength(d);
        expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
        expect(encode(expression, d)).toEqual(vector);
      }
    }
    expect(new SymbolEncoder(8, 2).encode("a")).not.toEqual(encode("a", 8));
    const different = [
      ...expressions,
      "0",
      "false",
      "f",
      ["f", 1],
      ["f", "1"],
      ["f", true],
      ["f", ["f"]],
      [["f"], "f"],
    ];
    const texts = new Set(different.map((expression) => encode(expression, 64).join()));
    expect(texts.size).toBe(different.length);
  });

  // Half where things stand (m of n elements in their places), half what there is (m of n different terms).
  const pairs: [string, Expression, Expression, shape: number, terms: number][] = [
    ["a different atom", ["f", "a", "b", "c"], ["f", "a", "b", "d"], 3 / 4, 3 / 5],
    ["all but the head", ["f", "a", "b", "c"], ["g", "a", "b", "c"], 3 / 4, 3 / 5],
    ["another order", ["f", "a", "b"], ["f", "b", "a"], 1 / 3, 3 / 4],
    ["another nesting", ["f", ["g", "a"]], ["g", ["f", "a"]], 1 / 4, 3 / 5],
    ["a part elsewhere", ["f", ["g", "a"]], ["h", "x", ["g", "a"]], 0, 3 / Math.sqrt(5 * 6)],
    ["a part inside", ["f", "x", ["g", "a"]], ["f", "y", ["g", "b"]], (1 + 0 + 1 / 2) / 3, 2 / 6],
    ["nothing", ["f", "a", ["g", "b"]], ["h", "c", ["i", "d"]], 0, 0],
    ["a number for a text", ["f", 1], ["f", "1"], 1 / 2, 1 / 3],
  ];
  test.each(pairs)(
    "of two expressions that differ in %s have the cosine that the documents promise",
    (_, a, b, shape, terms) => {
      const noise = 4 / Math.sqrt(D);
      expect(Math.abs(alike(a, b) - (shape + terms) / 2)).toBeLessThan(noise);
    },
  );

  test("of a list and an atom in it are alike too", () => {
    // An atom's vector is its own; in that of (f a) it is one of three terms, and terms are half of it.
    expect(alike(["f", "a"], "a")).toBeGreaterThan(1 / Math.sqrt(6) - 4 / Math.sqrt(D));
    expect(Math.abs(alike(["f", "a"], "b"))).toBeLessThan(4 / Math.sqrt(D));
  });

  test("are nearer the more is shared, whatever the tree", () => {
    const atom = fc.constant<Expression>("x");
    const { tree } = fc.letrec<{ tree: Expression }>((tie) => ({
      tree: fc.oneof({ maxDepth: 2 }, atom, fc.array(tie("tree"), { minLength: 2, maxLength: 4 })),
    }));
    const list = fc.array(tree, { minLength: 3, maxLength: 3 });
    const wide = 2048; // a third of half a cosine is more than 5 standard deviations of noise
    fc.assert(
      fc.property(list, list, fc.nat({ max: 2 }), (first, second, at) => {
        // All atoms are different ones: nothing is shared but by what is put there.
        let count = 0;
        const named = (shape: Expression[]) =>
          JSON.parse(JSON.stringify(shape).replaceAll('"x"', () => `"x${count++}"`)) as Expression[];
        const [mine, renamed] = [named(first), named(second)];
        const own = encode(mine, wide);
        const alikeOwn = (t: Expression) => cosine(own, encode(t, wide));
        const none = alikeOwn(renamed);
        expect(Math.abs(none)).toBeLessThan(6 / Math.sqrt(wide));
        expect(alikeOwn(renamed.with(at, mine[at]))).toBeGreaterThan(none);
        expect(alikeOwn(mine.with(at, renamed[at]))).toBeGreaterThan(none);
      }),
      runs(30),
    );
  });
});

describe("patterns", () => {
  const atom = fc.constantFrom<Expression>("a", "b", 1, "1", true);
  const { tree } = fc.letrec<{ tree: Expression }>((tie) => ({
    tree: fc.oneof({ maxDepth: 2 }, atom, fc.array(tie("tree"), { minLength: 1, maxLength: 3 })),
  }));
  /** Variables in the order in which they stand. */
  const renamed = (pattern: Expression): Expression => generalize(pattern, pattern);

  test("the least general generalization", () => {
    const cases: [Expression, Expression, Expression][] = [
      [
        ["f", "a"],
        ["f", "a"],
        ["f", "a"],
      ],
      [
        ["f", "a", "a"],
        ["f", "b", "b"],
        ["f", "?1", "?1"],
      ],
      [
        ["f", "a", "b"],
        ["f", "b", "a"],
        ["f", "?1", "?2"],
      ],
      [
        ["f", ["g", "a"], "a"],
        ["f", ["g", "b"], "b"],
        ["f", ["g", "?1"], "?1"],
      ],
      [["f", "a"], ["f", "a", "b"], "?1"],
      [
        ["f", ["g"]],
        ["f", "g"],
        ["f", "?1"],
      ],
      [
        ["f", 1],
        ["f", "1"],
        ["f", "?1"],
      ],
      [
        ["f", ["g"], ["g"]],
        ["f", "x", "x"],
        ["f", "?1", "?1"],
      ],
      [
        ["f", '["g"]'],
        ["f", ["g"]],
        ["f", "?1"],
      ],
      ["a", "b", "?1"],
    ];
    for (const [a, b, expected] of cases) expect(generalize(a, b)).toEqual(expected);
  });

  test("instances have one term for each variable", () => {
    const cases: [Expression, Expression, boolean][] = [
      [["f", "a", "a"], ["f", "?1", "?1"], true],
      [["f", "a", "b"], ["f", "?1", "?1"], false],
      [["f", "a", "b"], ["f", "?1", "?2"], true],
      [["f", "a", "a"], ["f", "?1", "?2"], true],
      [["f", ["g", "a"], ["g", "a"]], ["f", "?1", "?1"], true],
      [["f", 1, "1"], ["f", "?1", "?1"], false],
      [["f", ["g"], '["g"]'], ["f", "?1", "?1"], false],
      [["f", "?2", "?2"], ["f", "?1", "?1"], true],
      [["f", "?1", "?2"], ["f", "?1", "?1"], false],
      [["f", "a"], ["f"], false],
      ["f", ["f"], false],
      [["f"], "?1", true],
    ];
    for (const [term, pattern, expected] of cases) expect(isInstance(term, pattern)).toBe(expected);
    const mined = minePatterns(
      [
        ["f", "a", "a"],
        ["f", "b", "b"],
        ["f", "a", "b"],
      ].map((e) => ({ expression: e, weight: 1 })),
    );
    expect(mined.find(({ pattern }) => textOf(pattern) === '["f","?1","?1"]')!.from).toEqual([0, 1]);
  });

  test("is one that both are instances of, and an instance of any other such", () => {
    const patternTree = fc.letrec<{ tree: Expression }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 2 },
        fc.oneof(atom, fc.constantFrom("?1", "?2")),
        fc.array(tie("tree"), { minLength: 1, maxLength: 3 }),
      ),
    })).tree;
    const substitute = (pattern: Expression, values: Expression[]): Expression =>
      Array.isArray(pattern)
        ? pattern.map((part) => substitute(part, values))
        : isVariable(pattern)
          ? values[Number(pattern.slice(1)) - 1]
          : pattern;
    fc.assert(
      fc.property(patternTree, fc.tuple(tree, tree), fc.tuple(tree, tree), (pattern, first, second) => {
        const [a, b] = [substitute(pattern, first), substitute(pattern, second)];
        const least = generalize(a, b);
        expect(isInstance(a, pattern) && isInstance(b, pattern)).toBe(true);
        expect(isInstance(a, least) && isInstance(b, least)).toBe(true);
        expect(isInstance(least, pattern)).toBe(true);
      }),
      runs(1000),
    );
  });

  test("mined are those that a search through all pairs finds", () => {
    const weights = fc.double({ min: 0, max: 1, noNaN: true });
    const examples = fc.array(fc.record({ expression: tree, weight: weights }), { maxLength: 5 });
    fc.assert(
      fc.property(examples, (given) => {
        const mined = minePatterns(given);
        const listsIn = (expression: Expression) => termsOf(expression).filter((term) => Array.isArray(term));
        const holders = (pattern: Expression): number[] =>
          given.flatMap(({ expression }, i) => (termsOf(expression).some((t) => isInstance(t, pattern)) ? [i] : []));
        const hasConstant = (pattern: Expression) =>
          termsOf(pattern).some((term) => !Array.isArray(term) && !isVariable(term));
        const contains = (more: Expression, less: Expression) => termsOf(more).some((term) => isInstance(term, less));
        for (const { pattern, from, score } of mined) {
          expect(from).toEqual(holders(pattern));
          expect(from.length >= 2 || given.some(({ expression }) => textOf(expression) === textOf(pattern))).toBe(true);
          expect(score).toBeCloseTo(from.reduce((sum, i) => sum + given[i].weight, 0) / from.length, 12);
          expect(renamed(pattern)).toEqual(pattern);
        }
        // Each says something that no other one of the same examples says.
        for (const a of mined) {
          for (const b of mined) {
            if (a !== b && a.from.join() === b.from.join()) expect(contains(b.pattern, a.pattern)).toBe(false);
          }
        }
        // And whatever two lists have in common is said by one of them.
        const lists = given.flatMap(({ expression }) => listsIn(expression));
        const common = lists.flatMap((a) => lists.map((b) => generalize(a, b)));
        for (const pattern of [...common, ...given.map(({ expression }) => expression)]) {
          const from = holders(pattern);
          const isWhole = given.some(({ expression }) => textOf(expression) === textOf(pattern));
          if (!hasConstant(pattern) || (from.length < 2 && !isWhole)) continue;
          const said = mined.some((m) => m.from.join() === from.join() && contains(m.pattern, pattern));
          expect(said).toBe(true);
        }
        const ranks = mined.map(({ from, score }) => from.length * score);
        ranks.forEach((rank, i) => {
          if (i > 0) expect(rank).toBeLessThanOrEqual(ranks[i - 1] + 1e-12);
        });
        // The order of the examples decides nothing but the numbers they have.
        const turned = minePatterns(given.toReversed());
        expect(new Set(turned.map(({ pattern }) => textOf(pattern)))).toEqual(
          new Set(mined.map(({ pattern }) => textOf(pattern))),
        );
      }),
      runs(500),
    );
  });
});

describe("symbols", () => {
  const d = 256;
  const facts: [Id, SymbolicExpression][] = [
    ["cat", ["is", "cat", "animal"]],
    ["dog", ["is", "dog", "animal"]],
    ["oak", ["is", "oak", "tree"]],
    ["ann", ["believes", "ann", ["is", "cat", "animal"]]],
    ["bob", ["believes", "bob", ["is", "dog", "animal"]]],
    ["self", ["likes", "ann", "ann"]],
    ["love", ["likes", "bob", "bob"]],
  ];
  const filled = async (name: string, metric: Metric = "cosine"): Promise<Index> => {
    const index = await open(path(name), { dimensions: d, metric });
    for (const [id, expression] of facts) await index.symbols.put(id, expression, { kind: "fact" });
    return index;
  };

  test("an expression is put by its structure, and kept in the payload", async () => {
    const index = await filled("kept");
    const { structural } = await index.symbols.ground(["is", "cat", "animal"]);
    expect(index.get("cat")).toEqual({
      id: "cat",
      vector: structural,
      payload: { kind: "fact", expression: ["is", "cat", "animal"] },
      tier: "hot",
    });
    const given: SymbolicExpression[] = ["f", -0, ["g", true]];
    const written = index.symbols.put("later", given);
    given[1] = 99; // what the caller changes afterwards is not stored
    await written;
    expect(index.get("later")!.payload).toEqual({ expression: ["f", 0, ["g", true]] });
    await index.close();
    const again = await open(path("kept"));
    expect((await again.symbols.ground(["is", "cat", "animal"])).retrieved[0]).toEqual({
      id: "cat",
      score: expect.closeTo(1, 5),
    });
    await again.close();
  });

  test("the same expression has the same vector in every store of the same dimensions", async () => {
    const vectors = [];
    for (const metric of METRICS) {
      const index = await open(path(`same ${metric}`), { dimensions: 32, metric });
      const { vector, structural, retrieved } = await index.symbols.ground(["f", ["g", 1, false]]);
      expect(retrieved).toEqual([]);
      expect(vector).toEqual(structural);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      vectors.push(vector);
      await index.close();
    }
    expect(new Set(vectors.map((v) => v.join())).size).toBe(1);
  });

  test.each(METRICS)(
    "under %s, grounding goes half-way to the mean of the rows found, by their cosines",
    async (metric) => {
      const index = await open(path(`ground ${metric}`), { dimensions: 16, metric });
      const rows = randomRows(50, 16, 3);
      await index.putMany({ ids: Array.from({ length: 50 }, (_, i) => i), vectors: rows });
      const { vector, structural, retrieved } = await index.symbols.ground(["f", "a"]);
      const hits = index.search(structural, { k: 5, ef: 200 });
      expect(retrieved).toEqual(hits.map(({ id, score }) => ({ id, score })));
      const unit = (v: number[]) => v.map((x) => x / Math.hypot(...v));
      const vectors = hits.map(({ id }) => [...index.get(id)!.vector]);
      const weights = vectors.map((v) => Math.max(0, cosine(structural, v)));
      const total = weights.reduce((a, b) => a + b);
      expect(total).toBeGreaterThan(0);
      const mean = [...structural].map((_, x) =>
        vectors.reduce((sum, v, i) => sum + (weights[i] / total) * unit(v)[x], 0),
      );
      const expected = unit([...structural].map((x, i) => 0.5 * x + 0.5 * mean[i]));
      for (let x = 0; x < 16; x++) expect(vector[x]).toBeCloseTo(expected[x], 5);
      await index.close();
    },
  );

  test("rows that point away ground nothing", async () => {
    for (const metric of METRICS) {
      const index = await open(path(`away ${metric}`), { dimensions: 8, metric });
      const { structural } = await index.symbols.ground("x");
      await index.put(
        "opposite",
        structural.map((x) => -3 * x),
      );
      if (metric !== "cosine") await index.put("zero", new Float32Array(8));
      const { vector, retrieved } = await index.symbols.ground("x");
      expect(vector).toEqual(structural);
      expect(retrieved).toHaveLength(metric === "cosine" ? 1 : 2);
      await index.close();
    }
  });

  test("a vector is lifted to what the expressions around it have in common", async () => {
    const index = await filled("lift");
    const { vector } = await index.symbols.ground(["is", "fox", "animal"]);
    const patterns = await index.symbols.lift(vector);
    const found = new Map(patterns.map(({ pattern, from }) => [JSON.stringify(pattern), new Set(from)]));
    expect(found.get('["is","?1","animal"]')).toEqual(new Set(["cat", "dog", "ann", "bob"]));
    expect(found.get('["is","?1","?2"]')).toEqual(new Set(["cat", "dog", "oak", "ann", "bob"]));
    expect(found.get('["is","cat","animal"]')).toEqual(new Set(["cat", "ann"]));
    expect(found.get('["believes","?1",["is","?2","animal"]]')).toEqual(new Set(["ann", "bob"]));
    expect(found.get('["likes","?1","?1"]')).toEqual(new Set(["self", "love"]));
    for (const [, expression] of facts) expect(found.has(JSON.stringify(expression))).toBe(true);
    expect(found.has('["?1","?2","?3"]')).toBe(false);
    for (const { support, score, from } of patterns) {
      expect(support).toBe(from.length);
      const likenesses = from.map((id) => Math.max(0, cosine(vector, index.get(id)!.vector)));
      expect(score).toBeCloseTo(likenesses.reduce((a, b) => a + b) / support, 5);
    }
    const ranks = patterns.map(({ support, score }) => support * score);
    expect(ranks).toEqual([...ranks].sort((a, b) => b - a));
    expect(await index.symbols.lift([...vector])).toEqual(patterns);

    const [nearest] = await index.symbols.lift(vector, { beamWidth: 1 });
    const [hit] = index.search(vector, { k: 1 });
    expect(nearest).toEqual({
      pattern: hit.payload!.expression,
      support: 1,
      score: expect.closeTo(hit.score, 5),
      from: [hit.id],
    });
    await index.close();
  });

  test("expressions on rows with other vectors are lifted, what is no expression is passed over", async () => {
    const index = await open(path("mixed"), { dimensions: 2, metric: "l2" });
    expect(await index.symbols.lift([1, 0])).toEqual([]);
    await index.putMany([
      { id: 1, vector: [1, 0], payload: { expression: ["near", "a"] } },
      { id: 2, vector: [0.9, 0.1], payload: { expression: ["near", "b"] } },
      { id: 3, vector: [1, 0.1], payload: { expression: { head: "near" } } },
      { id: 4, vector: [1, 0.2], payload: { expression: [] } },
      { id: 5, vector: [1, 0.3], payload: { expression: null } },
      { id: 6, vector: [1, 0.4], payload: { expression: ["near", "?1"] } },
      { id: 7, vector: [1, 0], payload: { text: "near" } },
      { id: 8, vector: [1, 0] },
    ]);
    const patterns = await index.symbols.lift([2, 0]);
    expect(patterns.map(({ pattern }) => pattern)).toEqual([
      ["near", "?1"],
      ["near", "a"],
      ["near", "b"],
    ]);
    expect(patterns[0]).toMatchObject({ support: 2, from: [1, 2] });
    expect(patterns[1]).toMatchObject({ support: 1, score: 1 });
    await index.close();
  });

  describe("is refused", () => {
    let index: Index;
    let before: unknown;
    beforeAll(async () => {
      index = await filled("refused symbols");
    });
    afterAll(() => index.close());
    beforeEach(() => {
      before = contents(index);
    });

    const nested = (levels: number): Expression => (levels === 0 ? "a" : ["f", nested(levels - 1)]);
    const wide = (n: number): Expression => Array.from({ length: n }, () => "a");
    const cycle: unknown[] = ["f"];
    cycle.push(cycle);
    const expressions: [string, unknown, typeof TypeError | typeof RangeError, RegExp][] = [
      ["nothing", undefined, TypeError, /^expression is undefined; expected a string, a number/],
      ["null inside", ["f", ["g", null]], TypeError, /^expression\[1\]\[1\] is null/],
      ["an object", ["f", { a: 1 }], TypeError, /^expression\[1\] is an object/],
      ["a vector", Float32Array.of(1), TypeError, /^expression is a Float32Array/],
      ["a bigint", ["f", 1n], TypeError, /^expression\[1\] is 1n/],
      ["a hole", Array(2), TypeError, /^expression\[0\] is undefined/],
      ["half a character", ["f", "\ud800"], TypeError, /^expression\[1\] .*surrogate/],
      ["NaN", ["f", Number.NaN], RangeError, /^expression\[1\] is NaN; expected a finite number/],
      ["infinity", -Infinity, RangeError, /^expression is -Infinity/],
      ["an empty list", ["f", []], RangeError, /^expression\[1\] is a list of 0; expected 1-64 elements/],
      ["a list of 65", wide(65), RangeError, /^expression is a list of 65/],
      ["33 levels", nested(33), RangeError, /more than 32 levels/],
      ["a cycle", cycle, RangeError, /more than 32 levels/],
      ["1,025 terms", Array.from({ length: 16 }, () => wide(64)), RangeError, /more than 1024 atoms and lists/],
      ["a variable", ["f", "?12"], RangeError, /^expression\[1\] is "\?12", a variable of patterns/],
    ];
    test.each(expressions)("an expression: %s", async (_, expression, kind, message) => {
      for (const call of [
        () => index.symbols.put("new", expression as Expression),
        () => index.symbols.ground(expression as Expression),
      ]) {
        const error = await errorOf(call);
        expect(error.message).toMatch(message);
        expect(error).toBeInstanceOf(kind);
      }
      expect(contents(index)).toEqual(before);
    });

    test("but not what is just within bounds", async () => {
      for (const expression of [
        nested(32),
        wide(64),
        Array.from({ length: 15 }, () => wide(64)),
        "?",
        "?0",
        "?a",
        "",
      ]) {
        const { vector } = await index.symbols.ground(expression);
        expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      }
    });

    const lift = (vector: unknown, options?: unknown) => () =>
      index.symbols.lift(vector as Float32Array, options as object);
    const put = (id: unknown, payload?: unknown) => () => index.symbols.put(id as Id, "x", payload as never);
    const cases: [string, () => () => unknown, typeof TypeError | typeof RangeError, RegExp][] = [
      ["an id that is none", () => put(1.5), TypeError, /id is 1\.5/],
      ["a payload that is none", () => put("x", "y"), TypeError, /payload of id "x" is "y"; expected a plain object/],
      [
        "a second expression",
        () => put("x", { expression: "x" }),
        TypeError,
        /has an expression of its own; expected none/,
      ],
      ["no vector", () => lift(undefined), TypeError, /vector is undefined; expected a Float32Array/],
      ["a short vector", () => lift([1, 2]), RangeError, /vector has 2 values; expected 256/],
      ["a zero vector", () => lift(new Float32Array(d)), RangeError, /vector has length 0; expected/],
      ["NaN", () => lift(new Float32Array(d).fill(Number.NaN)), RangeError, /vector holds NaN at position 0/],
      ["no beam", () => lift(new Float32Array(d).fill(1), { beamWidth: 0 }), RangeError, /beamWidth is 0; .* 1 to 128/],
      ["a beam too wide", () => lift(new Float32Array(d).fill(1), { beamWidth: 129 }), RangeError, /beamWidth is 129/],
      ["a misspelt beam", () => lift(new Float32Array(d).fill(1), { beam: 3 }), TypeError, /"beam".*"beamWidth"/],
    ];
    test.each(cases)("%s", async (_, call, kind, message) => {
      const error = await errorOf(call());
      expect(error.message).toMatch(message);
      expect(error).toBeInstanceOf(kind);
      expect(contents(index)).toEqual(before);
    });
  });
});
