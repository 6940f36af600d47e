/** Texts in a store that grows: the built-in encoder follows it, and one space holds all of them at any moment. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Index, type OpenOptions, open } from "../../src/index.js";

const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
/** Few, so that words of one subject come together. */
const D = 8;
const MADE: OpenOptions = { dimensions: D, metric: "cosine", encoder: "hashed-tfidf", durability: "off" };
const SUBJECTS = [
  "wing lift drag airflow boundary layer mach supersonic flutter nozzle",
  "protein cell gene enzyme tissue receptor antibody membrane kinase genome",
  "court appeal judge statute verdict witness contract liability counsel plaintiff",
  "yeast dough oven crust flour knead loaf rise bake butter",
  "orbit comet star galaxy telescope planet nebula eclipse lunar crater",
].map((words) => words.split(" "));

/** Texts on five subjects, four words of the subject and one that only this text has. */
function textsOf(count: number): string[] {
  const random = new Prng(11);
  return Array.from({ length: count }, (_, i) => {
    const words = SUBJECTS[i % SUBJECTS.length]!;
    return [...Array.from({ length: 4 }, () => words[random.below(10)]), `unique${i}`].join(" ");
  });
}

let folder: string;
let stores = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hebb-texts-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
const fresh = (): string => join(folder, String(stores++));

const put = (index: Index, id: number, text: string) => index.put(id, { text }, { text });

/** Share of the ten nearest texts of each word that are of its subject. Rows are numbered as their texts. */
async function quality(index: Index): Promise<number> {
  let found = 0;
  let asked = 0;
  for (const [subject, words] of SUBJECTS.entries()) {
    for (const word of words) {
      const { hits } = await index.query({ text: word, k: 10, include: [] });
      found += hits.filter(({ id }) => (id as number) % SUBJECTS.length === subject).length / 10;
      asked++;
    }
  }
  return found / asked;
}

/** Every row's vector is what its text encodes to now. */
async function expectOneSpace(index: Index): Promise<void> {
  for (const { id, payload } of [...index.entries()]) {
    const { hits } = await index.query({ text: String(payload?.text), k: 1, filter: { text: payload!.text! } });
    expect(hits[0]?.distance, `row ${id}`).toBeLessThan(1e-5);
  }
}

const vectorsOf = (index: Index): Map<unknown, number[]> =>
  new Map(Array.from(index.entries(), ({ id, vector }) => [id, [...vector]]));

describe("the fit follows the store", () => {
  const texts = textsOf(60);

  it("texts put one by one, with the store reopened on the way, are found as well as in one batch", async () => {
    const batch = await open(fresh(), MADE);
    await batch.putMany({ ids: texts.map((_, i) => i), texts, payloads: texts.map((text) => ({ text })) });
    const best = await quality(batch);
    await batch.close();

    const directory = fresh();
    let index = await open(directory, MADE);
    for (const [i, text] of texts.entries()) {
      if (i === 25 || i === 41) {
        await index.close();
        index = await open(directory); // the encoder is remembered
      }
      await put(index, i, text);
    }
    expect(index.size).toBe(texts.length);
    await expectOneSpace(index);
    expect(await quality(index)).toBeGreaterThan(best - 0.02);
    expect(await index.check()).toMatchObject({ ok: true, faults: [] });
    await index.close();

    const frozen = await open(fresh(), MADE); // what happens without
    for (const [i, text] of texts.entries()) await frozen.put(i, { text });
    expect(await quality(frozen)).toBeLessThan(best - 0.2);
    await frozen.close();
  });

  it("many at once, beside deletes, other payloads and queries", async () => {
    const index = await open(fresh(), MADE);
    const acknowledged = new Set<number>();
    const puts = texts.map((text, i) => put(index, i, text).then(() => acknowledged.add(i)));
    const others = [
      index.put("vector", new Float32Array(D).fill(1), { text: texts[0]! }),
      puts[3]!.then(() => index.delete([3])),
      puts[4]!.then(() => index.setPayload(4, { text: texts[4]!, seen: true })),
    ];
    let isDone = false;
    const asking = (async () => {
      while (!isDone) {
        for (const i of acknowledged) {
          if (i === 3) continue;
          const { hits } = await index.query({ text: texts[i]!, k: 1, filter: { text: texts[i]! } });
          expect(hits).toMatchObject([{ id: i }]);
          expect(hits[0]!.distance).toBeLessThan(1e-5);
          await new Promise(setImmediate);
        }
        await new Promise(setImmediate);
      }
    })();
    await Promise.all([...puts, ...others]).finally(() => {
      isDone = true;
    });
    await asking;
    expect(index.get("vector")!.vector).toEqual(new Float32Array(D).fill(1));
    expect(index.get(4)!.payload).toEqual({ text: texts[4], seen: true });
    expect(index.size).toBe(60);
    await index.delete(["vector"]);
    await expectOneSpace(index);
    await index.close();
  });

  it("where max_nodes leaves no room for stored texts a second time, they keep the fit they have", async () => {
    const index = await open(fresh(), { ...MADE, config: { ruvector: { max_nodes: 40 } } });
    for (const [i, text] of texts.slice(0, 40).entries()) await put(index, i, text);
    expect(index.size).toBe(40);
    await expectOneSpace(index);
    await expect(put(index, 40, texts[40]!)).rejects.toMatchObject({ code: "STORE_FULL" });
    await index.close();
  });

  it("a text without words changes nothing", async () => {
    const index = await open(fresh(), MADE);
    await expect(put(index, 0, "!!")).rejects.toThrow(/at least one letter or digit/);
    for (const [i, text] of texts.slice(0, 4).entries()) await put(index, i, text);
    const before = vectorsOf(index);
    await expect(put(index, 9, "?")).rejects.toThrow(/at least one letter or digit/); // 5 texts would be fitted again
    expect(vectorsOf(index)).toEqual(before);
    await put(index, 4, texts[4]!);
    await expectOneSpace(index);
    await index.close();
  });
});

describe("what freezes the fit", () => {
  const texts = textsOf(80);
  const start = async (directory = fresh()): Promise<Index> => {
    const index = await open(directory, MADE);
    await index.putMany(texts.slice(0, 20).map((text, id) => ({ id, text, payload: { text } })));
    return index;
  };
  const putRest = async (index: Index) => {
    for (let i = 20; i < 80; i++) await put(index, i, texts[i]!);
  };
  const isRefitted = (before: Map<unknown, number[]>, index: Index) =>
    JSON.stringify(before.get(1)) !== JSON.stringify([...index.get(1)!.vector]);

  it.each<[string, (index: Index) => Promise<void>, boolean]>([
    ["nothing", async () => {}, false],
    ["a text put without its payload", (index) => index.put("bare", { text: "orbit of a comet" }), true],
    ["a text whose payload has another", (index) => index.put("x", { text: "orbit" }, { text: "comet" }), true],
    ["a payload that loses its text", (index) => index.setPayload(2, { other: 1 }), true],
    ["no payload any more", (index) => index.setPayload(2, undefined), true],
    [
      "a payload that loses its text, in the same turn as the put",
      async (index) => {
        await Promise.all([put(index, 2, "star"), index.setPayload(2, { other: 1 })]);
      },
      true,
    ],
    ["a payload that keeps its text", (index) => index.setPayload(2, { text: texts[2]!, other: 1 }), false],
    ["a vector's payload", (index) => index.put("v", new Float32Array(D).fill(1), { text: "a" }), false],
    [
      "another text for a vector",
      async (index) => {
        await index.put("v", new Float32Array(D).fill(1), { text: "a" });
        await index.setPayload("v", { text: "b" });
      },
      false,
    ],
    [
      "feedback",
      async (index) => {
        await index.learn([{ query: { text: "lift" }, chosen: [0], time: 0 }]);
      },
      true,
    ],
  ])("%s", async (_, act, freezes) => {
    const directory = fresh();
    let index = await start(directory);
    await act(index);
    const before = vectorsOf(index);
    await index.close();
    index = await open(directory); // frozen for good
    await putRest(index);
    expect(isRefitted(before, index)).toBe(!freezes);
    const untouched = index.get("v");
    if (untouched) expect(untouched.vector).toEqual(new Float32Array(D).fill(1));
    for (const id of ["v", "bare", "x", 2]) await index.delete([id]);
    await expectOneSpace(index);
    await index.close();
  });
});

describe("kill -9", () => {
  it.each([4, 9, 17, 38])("while text %i is being put: what was acknowledged is there, in one space", async (last) => {
    const directory = fresh();
    const program = `
      import { open } from ${JSON.stringify(library)};
      const texts = ${JSON.stringify(textsOf(60))};
      const index = await open(${JSON.stringify(directory)}, ${JSON.stringify({ ...MADE, durability: "sync" })});
      const started = [];
      for (let i = 0; i < texts.length; i++) {
        const putting = index.put(i, { text: texts[i] }, { text: texts[i] });
        if (i === ${last}) setTimeout(() => process.kill(process.pid, "SIGKILL"), ${last % 7});
        await putting;
      }`;
    const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
    });
    expect({ signal, stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
    let index = await open(directory);
    expect(index.size).toBeGreaterThanOrEqual(last);
    expect(await index.check()).toMatchObject({ ok: true, faults: [] });
    await expectOneSpace(index);
    const vectors = vectorsOf(index);
    await index.close();
    index = await open(directory);
    expect(vectorsOf(index)).toEqual(vectors);
    await index.close();
  });

  it("replaying the log gives the very vectors that were there", async () => {
    const directory = fresh();
    const program = `
      import { open } from ${JSON.stringify(library)};
      const index = await open(${JSON.stringify(directory)}, ${JSON.stringify({ ...MADE, durability: "sync" })});
      for (const [i, text] of ${JSON.stringify(textsOf(30))}.entries()) await index.put(i, { text }, { text });
      console.log(JSON.stringify(Array.from(index.entries(), ({ id, vector }) => [id, [...vector]])));
      process.kill(process.pid, "SIGKILL");`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
    const index = await open(directory);
    expect(vectorsOf(index)).toEqual(new Map(JSON.parse(stdout) as [unknown, number[]][]));
    expect(index.stats().encoder).toBe("hashed-tfidf");
    await index.close();
  });
});

describe("which encoder", () => {
  it("a store made with the built-in one remembers it without a single text", async () => {
    const directory = fresh();
    await (await open(directory, MADE)).close();
    const reader = await open(directory, { readOnly: true });
    expect(reader.stats().encoder).toBe("hashed-tfidf");
    expect((await reader.query({ text: "anything" })).hits).toEqual([]);
    await reader.close();
    await expect(open(directory, { encoder: async () => [] })).rejects.toMatchObject({
      code: "STORE_MISMATCH",
      message: expect.stringContaining('the store was made with the encoder "hashed-tfidf"'),
    });
    const index = await open(directory);
    await put(index, 1, "some words");
    expect((await index.query({ text: "words", k: 1 })).hits).toMatchObject([{ id: 1 }]);
    await index.close();
  });

  it("a store made without one has none", async () => {
    const directory = fresh();
    await (await open(directory, { dimensions: 2, metric: "l2" })).close();
    const index = await open(directory);
    expect(index.stats().encoder).toBeUndefined();
    await expect(put(index, 1, "words")).rejects.toMatchObject({ code: "NO_ENCODER" });
    await index.close();
  });

  it("naming the built-in one where rows are already does not choose for good", async () => {
    const directory = fresh();
    const made = await open(directory, { dimensions: 2, metric: "l2" });
    await made.put(1, [1, 2]);
    await made.close();
    await (await open(directory, { encoder: "hashed-tfidf" })).close();
    const index = await open(directory, { encoder: async (texts) => texts.map(() => Float32Array.of(1, 2)) });
    expect(index.stats().encoder).toBe("custom");
    await index.close();
  });
});
