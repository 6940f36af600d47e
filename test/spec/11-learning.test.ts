/**
 * Learning from feedback: it shows in `neural` queries once a gate has seen it help on events it had not learned
 * from, in no other mode, and stays what it is through closing. Feedback without meaning changes nothing.
 */
import { cpSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Feedback, HebbError, type Index, open } from "../../src/index.js";
import { Log } from "../../storage/log.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const [n, d] = [400, 16];
const rows = randomRows(n, d, 41);
const ids = Array.from({ length: n }, (_, i) => i);

/** Queries of a world in which people ask for row i with a mirrored vector: what the static index cannot know. */
function askedFor(i: number, prng: Prng): Float32Array {
  return rowOf(rows, i, d).map((x, j) => (j < 4 ? -x : x) + 0.4 * prng.gaussian());
}

function events(count: number, seed: number, chosenFor = (i: number, _: Prng) => i): Feedback[] {
  const prng = new Prng(seed);
  return Array.from({ length: count }, (_, at) => {
    const i = prng.below(n);
    return { query: askedFor(i, prng), chosen: [chosenFor(i, prng)], source: `s${at % 20}`, time: at };
  });
}

/** Without the attention network, whose training takes longer than all that is tested here. */
const CONFIG = { ruvector: { propagation: "linear" } } as const;

async function filled(name: string, metric: "cosine" | "l2" | "dot" = "cosine"): Promise<Index> {
  const index = await open(path(name), { dimensions: d, metric, config: CONFIG });
  await index.putMany({ ids, vectors: rows, payloads: ids.map((i) => ({ even: i % 2 === 0 })) });
  await index.settle(); // answers are compared: they must not change because rows are linked meanwhile
  return index;
}

/** Mean reciprocal rank, among 10, of what 200 queries that nobody learned from ask for. */
async function quality(index: Index, mode: "vector" | "neural"): Promise<number> {
  const prng = new Prng(77);
  let sum = 0;
  for (let q = 0; q < 200; q++) {
    const i = prng.below(n);
    const { hits } = await index.query({ vector: askedFor(i, prng), mode, k: 10, ef: 200 });
    const rank = hits.findIndex(({ id }) => id === i);
    if (rank >= 0) sum += 1 / (rank + 1);
  }
  return sum / 200;
}

/** The answers to some queries, to the last bit. */
async function answers(index: Index, mode: "vector" | "neural") {
  const lists = [];
  for (let q = 0; q < 25; q++) {
    const options = { mode, k: 12, filter: q % 3 === 0 ? { even: true } : undefined };
    lists.push((await index.query({ vector: randomRows(1, d, 900 + q), ...options })).hits);
  }
  return lists;
}

/** Groups of eight rows that belong together, whatever their vectors say. */
const GROUPS = n / 8;
const groupOf = (i: number) => i % GROUPS;
const membersOf = (group: number) => ids.filter((i) => groupOf(i) === group);

/** What somebody who likes some of a group is after: another one of it. */
function byExample(
  count: number,
  seed: number,
): (Omit<Feedback, "query"> & { query: { positive: number[]; weights: number[] } })[] {
  const prng = new Prng(seed);
  return Array.from({ length: count }, (_, at) => {
    const [chosen, ...positive] = prng.shuffle(membersOf(prng.below(GROUPS))).slice(0, 4);
    return { query: { positive, weights: [1, 0.8, 0.64] }, chosen: [chosen], source: `s${at % 20}`, time: at };
  });
}

/** Of the first ten, the share that is of the group asked by. */
async function groupShare(index: Index, mode: "vector" | "neural"): Promise<number> {
  let found = 0;
  for (const { query } of byExample(50, 999)) {
    const { hits } = await index.query({ ...query, mode, k: 10 });
    found += hits.filter(({ id }) => groupOf(id as number) === groupOf(query.positive[0])).length / (10 * 50);
  }
  return found;
}

/** The answers to some questions by example, to the last bit. */
async function answersByExample(index: Index, mode: "vector" | "neural") {
  const lists = [];
  for (const { query } of byExample(20, 998)) {
    const positive = query.positive.filter((id) => index.has(id));
    lists.push((await index.query({ positive, mode, k: 12 })).hits);
  }
  return lists;
}

test("the curve shows what queries gained, from nothing on, and stays through learning, training and closing", async () => {
  let index = await filled("curve");
  expect(index.stats().learning.curve).toEqual([]);
  for (let batch = 0; batch < 3; batch++) await index.learn(events(100, 60 + batch));
  const { curve: learned } = index.stats().learning;
  expect(learned[0]).toEqual({ events: 16, gain: 0, judged: 16, serving: "static", trained: false });
  expect(learned.at(-1)!.serving).not.toBe("static");
  expect(learned.at(-1)!.gain).toBeGreaterThan(0.05);
  expect(learned.length).toBeLessThanOrEqual(32);

  await index.train({ epochs: 3 });
  const { curve, serving } = index.stats().learning;
  expect(curve.slice(0, -1)).toEqual(learned);
  expect(curve.at(-1)).toMatchObject({ events: 300, judged: 1, serving, trained: true });
  expect(curve.at(-1)!.gain).toBeGreaterThan(0.05);

  await index.close();
  index = await open(path("curve"));
  expect(index.stats().learning.curve).toEqual(curve);
  await index.learn(events(3, 99));
  expect(index.stats().learning.curve.slice(0, -1)).toEqual(learned);
  await index.close();
});

test("one question, however often it is asked, decides nothing for others", async () => {
  for (const questions of [1, 4]) {
    const index = await filled(`repeated-${questions}`);
    const prng = new Prng(60);
    const asked = Array.from({ length: questions }, () => randomRows(1, d, 61 + prng.below(1000)));
    const scattered = Array.from({ length: 10 }, (_, i) => 7 + 37 * i);
    for (let i = 0; i < 200; i++)
      await index.learn([{ query: asked[i % questions]!, chosen: scattered.map((id) => (id + (i % 7)) % n) }]);
    expect(index.stats().learning.serving).toBe("static");
    await index.train({ epochs: 1 });
    expect(index.stats().learning.serving).toBe("static");
    await index.close();
  }
});

test("what was heard while rows were being linked is not kept: answers are the same after reopening", async () => {
  const [many, short] = [300, 8];
  const vectors = randomRows(many, short, 71);
  const row = (i: number) => rowOf(vectors, i % many, short);
  const prng = new Prng(72);
  const index = await open(path("linking"), { dimensions: short, metric: "cosine", config: CONFIG });
  await index.putMany({ ids: Array.from({ length: many }, (_, i) => i), vectors });
  for (let at = 0; at < 300; at += 50) {
    const given = Array.from({ length: 50 }, (_, i) => (at + i) * 7);
    await index.learn(
      given.map((i) => ({
        query: row(i).map((x) => x + 0.25 * prng.gaussian()),
        chosen: [(i + 1) % many],
        shown: [i % many, (i + 1) % many, (i + 2) % many],
      })),
    );
  }
  await index.settle();
  const asked = async (of: Index) => {
    const hits = [];
    for (let q = 0; q < 10; q++)
      hits.push((await of.query({ vector: randomRows(1, short, 800 + q), mode: "neural", k: 10 })).hits);
    return hits;
  };
  const before = await asked(index);
  await index.close();
  const again = await open(path("linking"), { config: CONFIG });
  expect(await asked(again)).toEqual(before);
  await again.close();
});

describe("what was shown", () => {
  /** Ten hits of each question on display, each liked one time in three, if somebody looks so far down. */
  async function clicked(index: Index, count: number, eta: number, seed: number): Promise<Feedback[]> {
    const prng = new Prng(seed);
    const made: Feedback[] = [];
    while (made.length < count) {
      const query = askedFor(prng.below(n), prng);
      const shown = (await index.query({ vector: query, k: 10 })).hits.map(({ id }) => id);
      const chosen = shown.filter((_, place) => prng.next() < (place + 1) ** -eta / 3);
      if (chosen.length > 0) made.push({ query, shown, chosen, source: `s${made.length % 20}`, time: made.length });
    }
    return made;
  }

  test("says how far down people look: as far as choices tell, and at most as the config allows", async () => {
    const index = await filled("places");
    const positionBias = (of: Index) => of.stats().learning.positionBias;
    await index.learn(events(50, 50)); // nothing was on display
    expect(positionBias(index)).toBe(0);
    const downTheList = await clicked(index, 300, 1, 51);
    await index.learn(downTheList.slice(0, 150));
    await index.learn(downTheList.slice(150));
    const estimate = positionBias(index);
    expect(estimate).toBeGreaterThan(0.7);
    expect(estimate).toBeLessThanOrEqual(1);
    await index.train({ epochs: 1 });
    expect(positionBias(index)).toBe(estimate);
    await index.close();

    const again = await open(path("places"), { config: { ...CONFIG, learning: { position_bias: 0.5 } } });
    expect(positionBias(again)).toBe(0.5);
    await again.close();
  });

  test("leaves gaps where rows are gone, and counts what is on it twice where it stood first", async () => {
    const bias = async (name: string, change: (shown: (number | string)[]) => (number | string)[]) => {
      const index = await filled(name);
      const given = await clicked(index, 200, 1, 54);
      await index.learn(
        given.map((one) => ({ ...one, shown: change([...one.shown!] as number[]) })),
        { partial: true },
      );
      const { positionBias } = index.stats().learning;
      await index.close();
      return positionBias;
    };
    const plain = await bias("as-shown", (shown) => shown);
    expect(plain).toBeGreaterThan(0.6);
    expect(await bias("shown-twice", (shown) => [...shown, ...shown])).toBe(plain);
    // A row that nobody knows stood before all others: each is one place further down.
    const gone = await bias("with-gaps", (shown) => ["gone", ...shown]);
    expect(gone).not.toBe(plain);
  });

  test("is looked at all alike where choices say so, and nobody asks them where the config says so", async () => {
    const index = await filled("alike");
    await index.learn(await clicked(index, 300, 0, 52));
    expect(index.stats().learning.positionBias).toBeLessThan(0.3);
    await index.close();
    const config = { ...CONFIG, learning: { position_bias: 0 } };
    const without = await open(path("unasked"), { dimensions: d, metric: "cosine", config });
    await without.putMany({ ids, vectors: rows });
    await without.learn(await clicked(without, 100, 1, 53));
    expect(without.stats().learning.positionBias).toBe(0);
    await without.close();
  });
});

describe("questions by example", () => {
  test("teach edges: what was chosen with the examples is ranked up, by id as well, and through closing and death", async () => {
    const index = await filled("groups");
    expect(await answersByExample(index, "neural")).toEqual(await answersByExample(index, "vector"));
    for (let batch = 0; batch < 5; batch++) await index.learn(byExample(100, 10 + batch));
    const learning = index.stats().learning;
    expect(learning.serving).toContain("edges");
    expect(learning.learners.edges.serves).toBe(true);
    expect(learning.learners.edges.adds).toBeGreaterThan(0.1);
    expect(learning.linked).toBeGreaterThan(0.9 * n);
    expect(await groupShare(index, "vector")).toBeLessThan(0.1);
    expect(await groupShare(index, "neural")).toBeGreaterThan(0.25); // .5 at most: five of a group are left, of ten hits
    let own = 0;
    for (let id = 0; id < 40; id++) {
      const { hits } = await index.query({ id, mode: "neural", k: 7 });
      own += hits.filter((hit) => groupOf(hit.id as number) === groupOf(id)).length / 40;
    }
    expect(own).toBeGreaterThan(2);
    expect(await answersByExample(index, "vector")).not.toEqual(await answersByExample(index, "neural"));

    // What a process that dies here leaves: the files as they are. Once from the log alone, once with a checkpoint before its end.
    const sameAs = async (name: string) => {
      const ranked = await answersByExample(index, "neural");
      cpSync(path("groups"), path(name), { recursive: true });
      const again = await open(path(name));
      expect(again.stats().learning).toEqual(index.stats().learning);
      expect(await answersByExample(again, "neural")).toEqual(ranked);
      expect((await again.check()).faults).toEqual([]);
      await again.learn(byExample(5, 20));
      await again.close();
    };
    await sameAs("groups-killed");
    await index.checkpoint();
    await index.learn(byExample(20, 21));
    await index.delete([399]);
    await sameAs("groups-killed-later");
    const [ranked, report] = [await answersByExample(index, "neural"), index.stats().learning];
    await index.close();
    const again = await open(path("groups"), { readOnly: true });
    expect(again.stats().learning).toEqual(report);
    expect(await answersByExample(again, "neural")).toEqual(ranked);
    await again.close();
  });

  test.each(["after it was learned", "while train runs"])(
    "forget a row that is deleted %s, though its number is used again",
    async (when) => {
      const index = await filled(`forgotten ${when}`);
      await index.learn(byExample(500, 10));
      const [gone, left] = [membersOf(0).slice(0, 4), membersOf(0).slice(4)];
      // What comes in their places points away from all that is asked by the rest of the group.
      const away = Float32Array.from({ length: d }, (_, j) => -left.reduce((sum, i) => sum + rowOf(rows, i, d)[j], 0));
      const replace = async () => {
        await index.delete(gone);
        await index.settle(); // their numbers are free
        await index.putMany(gone.map((i) => ({ id: `stranger-${i}`, vector: away })));
        await index.settle();
      };
      if (when === "while train runs") {
        let replacing: Promise<void> | undefined;
        let replaced = false;
        await index.train({
          onProgress: () => {
            replacing ??= replace().then(() => {
              replaced = true;
            });
          },
        });
        expect(replaced).toBe(true); // else nothing was tested
        await replacing;
      } else {
        await replace();
      }
      expect(index.stats().learning.serving).toContain("edges");
      // They have one vector: what tells them apart is what was learned of those before them.
      for (const positive of [left, ...left.map((id) => [id])]) {
        const { hits } = await index.query({ positive, mode: "neural", k: n });
        const scores = hits.filter(({ id }) => typeof id === "string").map(({ score }) => score);
        expect(scores).toHaveLength(gone.length);
        expect(Math.max(...scores) - Math.min(...scores)).toBeLessThan(0.02);
      }
      await index.close();
    },
  );
});

describe("feedback that means something", () => {
  /** A store trained on 600 events, made once: each who asks gets a copy. */
  async function trained(name: string): Promise<Index> {
    base ??= (async () => {
      const index = await filled("trained");
      await index.learn(events(600, 1));
      await index.train();
      await index.close();
    })();
    await base;
    cpSync(path("trained"), path(name), { recursive: true });
    return open(path(name), { config: CONFIG });
  }
  let base: Promise<void> | undefined;

  test.each(["cosine", "l2", "dot"] as const)("under %s: train serves what helps on other queries", async (metric) => {
    const index = await filled(`trained-${metric}`, metric);
    const before = await answers(index, "vector");
    const plain = await quality(index, "neural");
    expect(plain).toBe(await quality(index, "vector"));
    await index.learn(events(600, 1));
    const seen: [number, number][] = [];
    await index.train({ onProgress: (done, total) => seen.push([done, total]) });
    expect(index.stats().learning.serving).not.toBe("static");
    const learned = await quality(index, "neural");
    expect(learned).toBeGreaterThan(plain + 0.05);
    expect(await answers(index, "vector")).toEqual(before); // no other mode changes
    expect(index.search(randomRows(1, d, 900), { k: 12, filter: { even: true } })).toEqual(before[0]);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.at(-1)![0]).toBe(seen.at(-1)![1]);

    // And stays through closing.
    const ranked = await answers(index, "neural");
    const report = index.stats().learning;
    await index.close();
    const again = await open(path(`trained-${metric}`));
    expect(await answers(again, "neural")).toEqual(ranked);
    expect(again.stats().learning).toEqual(report);
    expect((await again.check()).faults).toEqual([]);
    await again.close();
  });

  test("learn alone serves it too, once enough events have shown it", async () => {
    const index = await filled("online");
    const plain = await quality(index, "vector");
    for (let batch = 0; batch < 12; batch++) await index.learn(events(60, 100 + batch));
    expect(index.stats().learning.events).toBe(720);
    expect(index.stats().learning.serving).not.toBe("static");
    expect(await quality(index, "neural")).toBeGreaterThan(plain + 0.02);
    await index.close();
  });

  test("hits stay sorted by score, fill k, follow filters and hold each row once", async () => {
    const index = await trained("shape");
    for (const options of [{ k: 30 }, { k: 30, filter: { even: true } }, { k: n }, { k: 5, maxDistance: 0.6 }]) {
      const { hits } = await index.query({ vector: randomRows(1, d, 5), mode: "neural", ...options });
      const scores = hits.map(({ score }) => score);
      expect(scores).toEqual([...scores].sort((a, b) => b - a));
      expect(new Set(hits.map(({ id }) => id)).size).toBe(hits.length);
      if (options.filter) for (const { payload } of hits) expect(payload).toEqual({ even: true });
      if (options.maxDistance) for (const { distance } of hits) expect(distance).toBeLessThanOrEqual(0.6);
      else expect(hits).toHaveLength(options.filter ? Math.min(options.k, n / 2) : options.k);
    }
    await index.close();
  });

  test("rows that are deleted or replaced take along what was learned of them", async () => {
    const index = await trained("gone");
    const chosen = ids.slice(0, n / 2);
    await index.delete(chosen);
    for (const hits of await answers(index, "neural")) {
      for (const { id } of hits) expect(id).toBeGreaterThanOrEqual(n / 2);
    }
    await index.settle(); // their places are used again
    await index.putMany({
      ids: chosen.map((i) => `new-${i}`),
      vectors: randomRows(n / 2, d, 55),
      payloads: chosen.map(() => ({ even: true })),
    });
    for (const hits of await answers(index, "neural")) {
      for (const { id, distance } of hits) {
        expect(index.has(id)).toBe(true);
        expect(Number.isFinite(distance)).toBe(true);
      }
    }
    expect(index.stats().learning.shifted).toBeLessThanOrEqual(n / 2);
    await index.train({ epochs: 1 });
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  });
});

test("without originals, what a tier makes of a vector is what answers are made of at once, and not from the next opening on", async () => {
  const config = {
    ...CONFIG,
    storage: { keep_originals: false },
    learning: { minimum_events: 5, confidence: 0, disjoint_tolerance: 1 },
  };
  const index = await open(path("lossy"), { dimensions: d, metric: "dot", config });
  await index.putMany({ ids, vectors: rows });
  await index.settle();
  const prng = new Prng(5);
  for (let at = 0; at < 40; at++) {
    await index.learn([{ query: askedFor(at % 8, prng), chosen: [at % 8] }]);
  }
  expect(index.stats().learning.serving).toContain("shift");
  await answers(index, "neural");
  expect(await index.retier({ force: "archive" })).toMatchObject({ demoted: n });
  const moved = await answers(index, "neural");
  await index.close();
  const again = await open(path("lossy"), { config });
  expect(await answers(again, "neural")).toEqual(moved);
  await again.close();
});

test("feedback without meaning is kept, and serves nobody", async () => {
  const index = await filled("shuffled");
  const before = await answers(index, "neural");
  await index.learn(events(400, 3, (_, prng) => prng.below(n)));
  await index.train();
  expect(index.stats().learning).toMatchObject({ events: 400, serving: "static" });
  expect(await answers(index, "neural")).toEqual(before);
  for (const { state, why } of Object.values(index.stats().learning.arms)) {
    expect(state).not.toBe("serving");
    expect(why).not.toBe("");
  }
  await index.close();
});

describe("learn", () => {
  test("takes queries by vector, id and examples, grades, what was shown and what was rejected", async () => {
    const index = await filled("kinds");
    await index.learn([
      { query: rowOf(rows, 1, d), chosen: [2] },
      { query: Array.from(rowOf(rows, 1, d)), chosen: [{ id: 3, grade: 2 }, 4], shown: [5, 3, 4], rejected: [6] },
      { query: { id: 7 }, chosen: [8], source: "user", time: 1_700_000_000_000 },
      { query: { positive: [9, 10], negative: [11], weights: [1, 2] }, chosen: [12], time: 0 },
    ]);
    expect(index.stats().learning.events).toBe(4);
    await index.close();
    const again = await open(path("kinds"));
    expect(again.stats().learning.events).toBe(4);
    await again.train();
    await again.close();
  });

  test("takes grades and weights of any size: they count beside each other only", async () => {
    const seen = [];
    for (const unit of [1, 2 ** 1022, 2 ** -1000]) {
      const index = await filled(`unit-${Math.log2(unit)}`);
      const graded = events(30, 5).map((event, at) => {
        const chosen = [...(event.chosen as number[]), (at * 7) % n, (at * 11 + 1) % n];
        const [first, second, third] = new Set(chosen);
        return {
          ...event,
          chosen: [first, second, third].map((id, i) => ({ id: id ?? (first + 1) % n, grade: (1 + (i % 3)) * unit })),
          shown: [...Array.from({ length: 5 }, (_, i) => (at + i) % n), ...chosen, (first + 1) % n],
        };
      });
      const liked = byExample(30, 6).map(({ query, ...event }) => ({
        ...event,
        query: { ...query, weights: query.weights.map((weight) => weight * unit) },
      }));
      await index.learn([...graded, ...liked]);
      await index.train({ epochs: 1 });
      await index.learn(graded.slice(0, 20));
      const { learning } = index.stats();
      seen.push([learning, await answers(index, "neural"), await index.query({ ...liked[0].query, mode: "neural" })]);
      for (const { gain, disjointGain } of Object.values(learning.arms)) {
        expect([Number.isFinite(gain), Number.isFinite(disjointGain)]).toEqual([true, true]);
      }
      await index.close();
    }
    const ofHits = seen.map(([learning, lists, result]) => [learning, lists, (result as { hits: unknown }).hits]);
    expect(ofHits[1]).toEqual(ofHits[0]);
    expect(ofHits[2]).toEqual(ofHits[0]);
  });

  test("is all or nothing", async () => {
    const index = await filled("atomic");
    const error = await errorOf(() => index.learn([...events(5, 1), { query: { id: 1 }, chosen: ["ghost"] }]));
    expect(error).toMatchObject({ code: "UNKNOWN_ID" });
    expect(index.stats().learning.events).toBe(0);
    await index.close();
  });

  test("names every id that is not there, and with partial learns the rest", async () => {
    const index = await filled("partial");
    await index.delete([5]);
    const query = randomRows(1, d, 2);
    const given: Feedback[] = [
      { query: { id: "asked" }, chosen: ["for", 1] },
      { query: { positive: [2, "like"], negative: ["unlike"] }, chosen: [1] },
      { query, chosen: [1, 5], shown: ["shown", 5, 1], rejected: ["rejected"] },
      { query, chosen: [5] },
    ];
    const unknown = ["asked", "for", "like", "unlike", 5, "shown", "rejected"];
    const error = await errorOf(() => index.learn(given));
    expect(error).toMatchObject({ code: "UNKNOWN_ID", details: { id: "asked", ids: expect.arrayContaining(unknown) } });
    expect(error.message).toContain(`"asked" and ${unknown.length - 1} more`);
    expect(index.stats().learning.events).toBe(0);
    const learned = await index.learn(given, { partial: true });
    expect(learned.unknown).toHaveLength(unknown.length);
    expect(learned.unknown).toEqual(expect.arrayContaining(unknown));
    expect(index.stats().learning.events).toBe(1);
    await index.close();
  });

  test("copies its events before it returns, and knows rows put just before", async () => {
    const index = await filled("copied");
    const put = index.put("fresh", randomRows(1, d, 1));
    const event = { query: randomRows(1, d, 2), chosen: ["fresh" as string | number], shown: ["fresh", 1] };
    const learned = index.learn([event]);
    event.query.fill(Number.NaN);
    event.chosen[0] = "ghost";
    event.shown.length = 0;
    const precise = Float64Array.from(randomRows(1, d, 2));
    const other = index.learn([{ query: precise as unknown as number[], chosen: [1] }]);
    precise.fill(Number.NaN);
    await Promise.all([put, learned, other]);
    expect(index.stats().learning.events).toBe(2);
    await index.close();
  });

  test("leaves nothing behind where it fails: tried again, all is as if it had worked at once", async () => {
    const outcomes = [];
    for (const name of ["at-once", "again"]) {
      const index = await filled(name);
      for (let at = 0; at < 20; at++) {
        const some = events(5, at);
        if (name === "again") {
          vi.spyOn(Log.prototype, "append").mockRejectedValueOnce(new HebbError("DISK_FULL", "no space"));
          expect(await errorOf(() => index.learn(some))).toMatchObject({ code: "DISK_FULL" });
          vi.restoreAllMocks();
        }
        await index.learn(some);
      }
      outcomes.push([index.stats().learning, ids.map((id) => index.gradients.get(id))]);
      await index.close();
    }
    expect(outcomes[1]).toEqual(outcomes[0]);
  });

  test("and everything else go on side by side", async () => {
    const index = await filled("beside");
    const pending: Promise<unknown>[] = [];
    for (let i = 0; i < 30; i++) {
      pending.push(index.learn(events(5, i, (row) => n / 2 + (row % (n / 2)))));
      pending.push(index.put(`other-${i}`, randomRows(1, d, i)), index.delete([i]));
      if (i % 10 === 5) pending.push(index.train({ epochs: 1 }), index.checkpoint(), index.settle());
      pending.push(index.query({ vector: randomRows(1, d, i), mode: "neural" }));
    }
    await Promise.all(pending);
    expect(index.stats().learning.events).toBe(150);
    expect(index.size).toBe(n);
    await index.close();
    const again = await open(path("beside"));
    expect(again.stats().learning.events).toBe(150);
    expect((await again.check()).faults).toEqual([]);
    await again.close();
  });
});

describe("train", () => {
  test("without feedback does nothing", async () => {
    const index = await filled("nothing");
    const before = await answers(index, "neural");
    await index.train();
    expect(await answers(index, "neural")).toEqual(before);
    await index.close();
  });

  test("on too little to judge by leaves static, and says how much is missing", async () => {
    const index = await filled("little");
    const why = () => Object.entries(index.stats().learning.arms).map(([name, arm]) => [name, arm.why]);
    const none = ["adapter", "shift", "linear", "edges"].map((name) => [
      name,
      "judged on 0 events, needs 30: 30 are missing",
    ]);
    expect(why()).toEqual(none);
    await index.learn(events(3, 1));
    await index.train();
    expect(index.stats().learning).toMatchObject({ serving: "static", trainedEvents: 3 });
    const missing = () => {
      for (const [, reason] of why()) expect(reason).toMatch(/^judged on \d+ events, needs 30: \d+ are missing$/);
    };
    missing(); // what `learn` judged stays, as there was nothing to judge by
    expect(why().length).toBeGreaterThan(4);
    const [same] = events(1, 1); // always the same question: there is no other to judge it by
    await index.learn(Array.from({ length: 9 }, () => ({ ...same, source: undefined })));
    await index.train({ epochs: 1 });
    await index.learn(events(9, 2));
    await index.train({ epochs: 1 });
    missing();
    await index.close();
  });

  test("stops when asked, and changes nothing then", async () => {
    const index = await filled("aborted");
    await index.learn(events(300, 1));
    const before = [index.stats().learning, await answers(index, "neural")];
    expect(await errorOf(() => index.train({ signal: AbortSignal.abort() }))).toMatchObject({ code: "ABORTED" });
    const controller = new AbortController();
    const error = await errorOf(() =>
      index.train({ epochs: 50, signal: controller.signal, onProgress: () => controller.abort() }),
    );
    expect(error).toMatchObject({ code: "ABORTED" });
    expect([index.stats().learning, await answers(index, "neural")]).toEqual(before);
    await index.train({ epochs: 1 });
    await index.close();
  });

  test("passes on what its callback throws, and changes nothing then", async () => {
    const index = await filled("thrown");
    await index.learn(events(100, 1));
    const before = index.stats().learning;
    const thrown = new Error("mine");
    const onProgress = () => {
      throw thrown;
    };
    expect(await errorOf(() => index.train({ onProgress }))).toBe(thrown);
    expect(index.stats().learning).toEqual(before);
    await index.put("goes on", randomRows(1, d, 1));
    await index.close();
  });

  test("on the same feedback gives the same answers", async () => {
    const lists = [];
    for (const name of ["one", "two"]) {
      const index = await filled(name);
      await index.learn(events(300, 1));
      await index.train();
      lists.push(await answers(index, "neural"));
      await index.close();
    }
    expect(lists[0]).toEqual(lists[1]);
  });
});
