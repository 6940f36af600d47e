/** Texts in place of vectors: by the user's encoder or the built-in one; and hybrid queries, by vectors and words. */
import { describe, expect, test } from "vitest";
import { type Encoder, HebbError, type Index, open } from "../../src/index.js";
import { errorOf, scratch } from "../support/rows.js";

const path = scratch();

/** Counts vowels: enough of a space to tell texts apart, and to compute by hand. */
const vowels = async (texts: string[]): Promise<Float32Array[]> =>
  texts.map((text) => Float32Array.from("aeiou", (vowel) => text.split(vowel).length - 1));

describe("a user's encoder", () => {
  test("turns texts into vectors wherever vectors are taken", async () => {
    const index = await open(path("custom"), { dimensions: 5, metric: "l2", encoder: vowels });
    await index.put("one", { text: "banana" }, { text: "banana" });
    await index.putMany({ ids: ["two", "three"], texts: ["kiwi", "cocoa"], payloads: [{ n: 2 }, undefined] });
    await index.putMany([
      { id: "four", text: "prune" },
      { id: "five", vector: [0, 0, 0, 0, 9] },
    ]);
    expect(index.get("one")!.vector).toEqual(Float32Array.of(3, 0, 0, 0, 0));
    expect(index.get("three")).toMatchObject({ vector: Float32Array.of(1, 0, 0, 2, 0), payload: undefined });
    expect((await index.query({ text: "papaya", k: 1 })).hits[0]).toMatchObject({ id: "one", distance: 0 });
    await index.learn([{ query: { text: "fig" }, chosen: ["two"] }]);
    expect(index.stats()).toMatchObject({ encoder: "custom", size: 5, learning: { events: 1 } });
    await index.close();
    // Vectors stay; a text needs the encoder again.
    const again = await open(path("custom"));
    expect(again.get("four")!.vector).toEqual(Float32Array.of(0, 1, 0, 0, 1));
    expect(await errorOf(() => again.query({ text: "fig" }))).toMatchObject({ code: "NO_ENCODER" });
    await again.close();
  });

  test("gets a batch in one call, and may be synchronous", async () => {
    const calls: string[][] = [];
    const encoder: Encoder = (texts) => {
      calls.push([...texts]);
      const vectors = texts.map((_, i) => Float32Array.of(i + 1));
      texts.length = 0; // its own copy
      return vectors;
    };
    const index = await open(path("batch"), { dimensions: 1, metric: "cosine", encoder });
    await index.putMany({ ids: [1, 2, 3], texts: ["a", "b", "c"] });
    expect(calls).toEqual([["a", "b", "c"]]);
    expect(index.get(3)!.vector).toEqual(Float32Array.of(3));
    await index.close();
  });

  const bad: [string, unknown, RegExp][] = [
    [
      "throws",
      () => {
        throw new Error("out of quota");
      },
      /the encoder threw: out of quota$/,
    ],
    ["rejects", () => Promise.reject(new Error("offline")), /the encoder threw: offline$/],
    ["rejects with no error", () => Promise.reject("offline"), /the encoder threw: offline$/],
    ["returns too few", async () => [], /returned an array of 0 for 1 texts; expected as many Float32Arrays$/],
    ["returns no list", async () => "vectors", /returned "vectors" for 1 texts/],
    ["returns nothing", () => undefined, /returned undefined for 1 texts/],
    ["returns null in the list", async () => [null], /vector for text 0 is null; expected a Float32Array/],
    ["returns other dimensions", async () => [Float32Array.of(1, 2)], /vector for text 0 has 2 values; expected 5/],
    ["returns NaN", async () => [new Float32Array(5).fill(Number.NaN)], /vector for text 0 holds NaN at position 0/],
    ["returns zeros under cosine", async () => [new Float32Array(5)], /vector for text 0 has length 0; .*cosine/],
  ];
  test.each(bad)("that %s is named, and nothing changes", async (name, encoder, message) => {
    const index = await open(path(`bad ${name}`), { dimensions: 5, metric: "cosine", encoder: encoder as Encoder });
    await index.put("there", [1, 1, 1, 1, 1]);
    const calls = [
      () => index.put("a", { text: "x" }),
      () => index.putMany({ ids: ["a"], texts: ["x"] }),
      () =>
        index.putMany([
          { id: "b", vector: [1, 1, 1, 1, 1] },
          { id: "a", text: "x" },
        ]),
      () => index.query({ text: "x" }),
      () => index.learn([{ query: { text: "x" }, chosen: ["there"] }]),
    ];
    for (const call of calls) {
      const error = await errorOf(call);
      expect(error).toBeInstanceOf(HebbError);
      expect(error).toMatchObject({ code: "ENCODER_FAILED", message: expect.stringMatching(message) });
    }
    expect([index.size, index.stats().learning.events]).toEqual([1, 0]);
    await index.put("goes on", [1, 2, 3, 4, 5]);
    await index.close();
  });

  test("is not needed for rows that have vectors", async () => {
    const index = await open(path("none"), { dimensions: 5, metric: "l2" });
    await index.put("a", [1, 2, 3, 4, 5], { text: "hello" });
    for (const call of [() => index.put("b", { text: "x" }), () => index.query({ text: "x", hybrid: true })]) {
      expect(await errorOf(call)).toMatchObject({
        code: "NO_ENCODER",
        message: expect.stringContaining("hashed-tfidf"),
      });
    }
    expect(index.size).toBe(1);
    await index.close();
  });
});

describe("the built-in encoder", () => {
  const texts: Record<string, string> = {
    wing: "The lift of a wing grows with the angle of attack until the flow separates",
    nozzle: "Supersonic flow through a converging and diverging nozzle, and where the shock stands",
    heat: "Heat transfer to a blunt body at hypersonic speed",
    cell: "The membrane of a living cell lets water through and keeps proteins inside",
    gene: "Genes are copied into messenger RNA, and proteins are made from that",
    soup: "Boil the potatoes, add leek and cream, and serve the soup hot",
  };
  async function filled(name: string): Promise<Index> {
    const index = await open(path(name), { dimensions: 64, metric: "cosine", encoder: "hashed-tfidf" });
    const ids = Object.keys(texts);
    await index.putMany({ ids, texts: Object.values(texts), payloads: ids.map((id) => ({ text: texts[id] })) });
    return index;
  }
  const first = async (index: Index, text: string) => (await index.query({ text, k: 1 })).hits[0].id;

  test("finds texts by their words, and is remembered by the store", async () => {
    const index = await filled("built-in");
    const asked = {
      "lift of wings": "wing",
      "shocks in nozzles": "nozzle",
      "hot potato soup": "soup",
      "protein and RNA": "gene",
    };
    for (const [text, id] of Object.entries(asked)) expect(await first(index, text)).toBe(id);
    const hits = (await index.query({ text: "cell membranes", k: 6 })).hits;
    expect(index.stats().encoder).toBe("hashed-tfidf");
    await index.close();

    const again = await open(path("built-in")); // without naming it
    expect(again.stats().encoder).toBe("hashed-tfidf");
    expect((await again.query({ text: "cell membranes", k: 6 })).hits).toEqual(hits);
    await again.put(
      "later",
      { text: "Bread is baked from flour and water" },
      { text: "Bread is baked from flour and water" },
    );
    expect(await first(again, "baking bread")).toBe("later");
    await again.close();
  });

  test("gives way to no other once texts are in", async () => {
    await (await filled("one encoder")).close();
    const error = await errorOf(() => open(path("one encoder"), { encoder: vowels }));
    expect(error).toMatchObject({ code: "STORE_MISMATCH", message: expect.stringContaining("hashed-tfidf") });
    await (await open(path("one encoder"))).close();
  });

  test("is the same for texts put at the same moment", async () => {
    const index = await open(path("at once"), { dimensions: 64, metric: "cosine", encoder: "hashed-tfidf" });
    await Promise.all(Object.entries(texts).map(([id, text]) => index.put(id, { text }, { text })));
    for (const [id, text] of Object.entries(texts)) expect(await first(index, text)).toBe(id);
    await index.close();
    const again = await open(path("at once"));
    for (const [id, text] of Object.entries(texts)) expect(await first(again, text)).toBe(id);
    await again.close();
  });

  test("refuses a text without words, and nothing changes", async () => {
    const index = await filled("wordless");
    for (const text of ["", " ", "...", "—"]) {
      const error = await errorOf(() => index.put("new", { text }));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toMatch(/at least one letter or digit/);
      expect((await errorOf(() => index.query({ text }))).message).toMatch(/^text of query is .*one letter or digit/);
      const events = [{ query: { text }, chosen: ["cat"] }];
      const asked = await errorOf(() => index.learn(events));
      expect(asked.message).toMatch(/^text of query of event 0 is .*one letter or digit/);
    }
    expect(index.has("new")).toBe(false);
    await index.close();
  });
});

describe("hybrid queries", () => {
  test("fuse the ranking by vectors with the words of the payloads' text", async () => {
    const index = await open(path("hybrid"), { dimensions: 5, metric: "l2", encoder: vowels });
    await index.putMany([
      { id: "vector", vector: [1, 0, 0, 0, 0], payload: { text: "unrelated" } },
      { id: "words", vector: [0, 0, 0, 9, 9], payload: { text: "zebra crossing, a zebra" } },
      { id: "both", vector: [1, 1, 0, 0, 0], payload: { text: "one zebra" } },
      { id: "neither", vector: [9, 9, 9, 9, 9], payload: { text: "nothing" } },
      { id: "no text", vector: [8, 8, 8, 8, 8] },
    ]);
    const plain = (await index.query({ text: "zebra", k: 5 })).hits.map(({ id }) => id);
    expect(plain[0]).toBe("both"); // e and a
    expect(plain.indexOf("words")).toBeGreaterThan(1);
    const { hits } = await index.query({ text: "zebra", hybrid: true, k: 2 });
    expect(hits.map(({ id }) => id)).toEqual(["both", "words"]);
    for (const { distance, payload } of hits) {
      expect(Number.isFinite(distance)).toBe(true);
      expect(payload!.text).toContain("zebra");
    }
    expect(hits[0].score).toBeGreaterThan(hits[1].score);
    await index.close();
  });

  test("follow filters, changes of payloads and deletes", async () => {
    const index = await open(path("hybrid changes"), { dimensions: 5, metric: "l2", encoder: vowels });
    await index.putMany(
      ["a", "b", "c"].map((id, i) => ({ id, vector: [i, 0, 0, 0, 0], payload: { text: "zebra", id } })),
    );
    const found = async (filter?: object) =>
      (await index.query({ text: "zebra", hybrid: true, k: 10, filter: filter as Record<string, unknown> })).hits
        .map(({ id }) => id)
        .sort();
    expect(await found({ id: { $ne: "b" } })).toEqual(["a", "c"]);
    await index.setPayload("a", { text: "giraffe", id: "a" });
    await index.delete(["b"]);
    expect(await found()).toEqual(["a", "c"]); // a by its vector alone
    const giraffe = await index.query({ text: "giraffe", hybrid: true, k: 1 });
    expect(giraffe.hits[0].id).toBe("a");
    await index.close();
    const again = await open(path("hybrid changes"), { encoder: vowels });
    expect((await again.query({ text: "giraffe", hybrid: true, k: 1 })).hits[0].id).toBe("a");
    await again.close();
  });

  test.each([
    '"',
    "'; DROP",
    "AND OR NOT",
    "NEAR(",
    "*",
    "a:b",
    "zebra OR 1=1",
    "\0",
    "x".repeat(100_000),
    "機械 学習",
  ])("take %s as words, not as syntax", async (text) => {
    const index = await open(path(`syntax ${text.length} ${text.charCodeAt(0)} ${Math.random()}`), {
      dimensions: 5,
      metric: "l2",
      encoder: vowels,
    });
    await index.put("a", [1, 1, 1, 1, 1], { text: "zebra 機械 学習" });
    expect((await index.query({ text, hybrid: true, k: 3 })).hits.map(({ id }) => id)).toEqual(["a"]);
    await index.close();
  });
});
