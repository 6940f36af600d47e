/** What is learned as a whole: what it gains, what it must never do, and that replay is exact. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { METRICS } from "../../base/types.js";
import { Overlay } from "../../model/overlay.js";
import { normalize } from "../../model/scoring.js";
import { solvePositiveDefinite } from "../../model/solve.js";
import { ADAPTER, STATIC } from "../../training/arms.js";
import type { LearnEvent } from "../../training/corpus.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";
import { Pool, prepareExample, Sampler } from "../../training/examples.js";
import { learningReport } from "../../training/report.js";
import { adaptQuery } from "../../training/serving.js";
import { applyDelta, FIELD, forget, type LearnedState } from "../../training/state.js";
import { train } from "../../training/train.js";
import { corpusOf, makeWorld } from "../support/corpus.js";
import {
  apply,
  contents,
  contestOf,
  effectiveRank,
  learnAll,
  learnEvents,
  lengthOf,
  measure,
  newState,
  ranking,
  snapshot,
} from "../support/learning.js";
import { runs } from "../support/seed.js";

describe("train", () => {
  test.each(METRICS)("under %s, gains on events it never saw and serves it", async (metric) => {
    const world = makeWorld(metric);
    const state = newState(world);
    apply(state, world, (await train(state, world.corpus, world.events(250, 1))).delta);
    const { served, static: plain } = measure(state, world, world.events(150, 2));
    expect(state.gate.serving).not.toBe(STATIC);
    expect(served).toBeGreaterThan(plain + 0.05);
  });

  test("the same seed gives the same bytes, another seed others", async () => {
    const world = makeWorld();
    const events = world.events(60, 1);
    const encoded = async (seed: number) =>
      encodeDelta((await train(newState(world), world.corpus, events, { seed })).delta);
    expect(await encoded(4)).toEqual(await encoded(4));
    expect(await encoded(4)).not.toEqual(await encoded(5));
  });

  test("runs in slices: the event loop turns meanwhile, and progress comes to its end", async () => {
    const world = makeWorld();
    let turns = 0;
    let turning = true;
    const turn = () => {
      turns++;
      if (turning) setImmediate(turn);
    };
    setImmediate(turn);
    const seen: number[] = [];
    await train(newState(world), world.corpus, world.events(200, 1), {
      onProgress: ({ phase, done, total }) => phase !== "reading feedback" && seen.push(done / total),
    });
    turning = false;
    expect(turns).toBeGreaterThan(1);
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test("a signal stops it and nothing has changed", async () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(5, 9));
    const before = contents(state);
    const stopper = new AbortController();
    const work = train(state, world.corpus, world.events(250, 1), { signal: stopper.signal });
    setTimeout(() => stopper.abort(), 5);
    await expect(work).rejects.toThrow(HebbError);
    await expect(work).rejects.toMatchObject({ code: "ABORTED" });
    expect(contents(state)).toEqual(before);
  });

  test("replaces what was learned before, and leaves out nodes that died", async () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(20, 1));
    const events = world.events(40, 2);
    const dead = events[0]!.chosen[0]!.node;
    world.corpus.dead.add(dead);
    apply(state, world, (await train(state, world.corpus, events)).delta);
    const chosen = new Set(events.flatMap((e) => e.chosen.map((c) => c.node)));
    chosen.delete(dead);
    expect(new Set(state.overlay.nodes)).toEqual(chosen);
  });

  test("takes what each likes among other likes of their own for no sign of what others do", async () => {
    const world = makeWorld();
    const state = newState(world);
    const prng = new Prng(3);
    const baskets = Array.from({ length: 60 }, () => prng.shuffle([...Array(480).keys()]).slice(0, 6));
    const events = baskets.flatMap((basket, user) =>
      basket.map((node) => {
        const examples = basket.filter((other) => other !== node);
        const query = new Float32Array(world.corpus.dimensions);
        for (const example of examples) for (const [x, v] of world.corpus.vectors[example]!.entries()) query[x]! += v;
        const chosen = [{ node, grade: 1 }];
        const seeds = examples.map((example) => ({ node: example, weight: 1 }));
        normalize(query);
        return { query, chosen, shown: [], rejected: [], source: `user ${user}`, examples, seeds };
      }),
    );
    const { report } = await train(state, world.corpus, events);
    expect(report.serving).toBe("static");
    // Nobody says whose they are: then each stands for itself, and edges from like to like look right.
    const unnamed = events.map((event) => ({ ...event, source: undefined }));
    expect((await train(state, world.corpus, unnamed)).report.serving).toContain("edges");
  });

  test.each([0, 1, 4])("%d events are too few to serve, and no error", async (count) => {
    const world = makeWorld();
    const state = newState(world);
    apply(state, world, (await train(state, world.corpus, world.events(count, 1))).delta);
    expect(state.gate.serving).toBe(STATIC);
  });
});

describe("learn", () => {
  test("serves once its prequential gain is certain, and gains on new events", () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(400, 1));
    expect(learningReport(state).serving).not.toBe("static");
    const { served, static: plain } = measure(state, world, world.events(150, 2));
    expect(served).toBeGreaterThan(plain + 0.03);
  });

  test("replaying the deltas gives the same state to the last bit, through bytes and snapshots too", () => {
    const world = makeWorld();
    const state = newState(world);
    const deltas = learnAll(state, world, world.events(80, 1));
    const replayed = newState(world);
    for (const delta of deltas) {
      const read = decodeDelta(encodeDelta(delta));
      apply(replayed, world, read);
      apply(replayed, world, read); // a crash between applying and noting it applies a delta twice
    }
    expect(contents(replayed)).toEqual(contents(state));
    const restored = newState(world);
    apply(restored, world, decodeDelta(encodeDelta(snapshot(state))));
    expect(contents(restored)).toEqual(contents(state));
    const [next] = world.events(1, 3);
    const continued = (s: LearnedState) => encodeDelta(learnEvents(s, world.corpus, [next!]).delta);
    expect(continued(restored)).toEqual(continued(state));
  });

  test("does not change the state; the delta does", () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(40, 1));
    const before = contents(state);
    const { delta } = learnEvents(state, world.corpus, world.events(40, 2));
    expect(contents(state)).toEqual(before);
    apply(state, world, delta);
    expect(contents(state)).not.toEqual(before);
  });

  test("train leaves learned edges alone: they know events that it does not use, and links that no event made", async () => {
    const world = makeWorld();
    const state = newState(world, { replay: 10 });
    learnAll(state, world, world.events(40, 1));
    const before = contents(state).edges;
    const events = world.events(40, 1);
    apply(state, world, (await train(state, world.corpus, events)).delta);
    expect(state.edges.linked).toBeGreaterThan(10);
    expect(contents(state).edges).toEqual(before);
  });

  test("only chosen documents move, by no more than the bound", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0.01, max: 1, noNaN: true }), (seed, shiftBound) => {
        const world = makeWorld();
        const state = newState(world, { shiftBound });
        const events = world.events(12, seed);
        apply(state, world, learnEvents(state, world.corpus, events).delta);
        expect(new Set(state.overlay.nodes)).toEqual(new Set(events.flatMap((e) => e.chosen.map((c) => c.node))));
        for (const node of state.overlay.nodes) {
          expect(lengthOf(state.overlay.shiftOf(node)!)).toBeLessThanOrEqual(shiftBound * (1 + 1e-5));
        }
      }),
      runs(25),
    );
  });

  test("an event whose documents are all gone is skipped and counted", () => {
    const world = makeWorld();
    const state = newState(world);
    const [event] = world.events(1, 1);
    for (const { node } of event!.chosen) world.corpus.dead.add(node);
    const { delta, report } = learnEvents(state, world.corpus, [event!]);
    expect(delta.overlay).toEqual([]);
    expect(report).toMatchObject({ skippedEvents: 1, events: 0 });
  });

  test("values that are not finite change no weight, and are counted", () => {
    const world = makeWorld();
    const broken = corpusOf(
      world.corpus.vectors.map((v) => v.map(() => Number.NaN)),
      "cosine",
    );
    const state = newState(world);
    const { delta, report } = learnEvents(state, broken, world.events(40, 1));
    expect(report.skippedSteps).toBeGreaterThan(0);
    applyDelta(state, delta);
    expect(state.overlay.size).toBe(0);
    expect((state.adapter.output as Float32Array).every((x) => x === 0)).toBe(true);
  });

  test("a source that fills its share is not learned from; a single source is never capped", () => {
    const world = makeWorld();
    const from = (count: number, source: string | undefined, seed: number) =>
      world.events(count, seed).map((event) => ({ ...event, source }));
    const flooded = learnEvents(newState(world), world.corpus, [...from(20, "a", 1), ...from(200, "b", 2)]);
    expect(flooded.report.cappedEvents).toBeGreaterThan(50);
    const alone = learnEvents(newState(world), world.corpus, from(200, "b", 2));
    expect(alone.report.cappedEvents).toBe(0);
  });
});

describe("negatives", () => {
  test("never hold a chosen document, an example, a dead one or one twice", () => {
    const world = makeWorld();
    const nodes = fc.array(fc.nat({ max: 479 }), { maxLength: 40 });
    fc.assert(
      fc.property(fc.record({ shown: nodes, rejected: nodes, examples: nodes, dead: nodes, seed: fc.nat() }), (c) => {
        const corpus = corpusOf(world.corpus.vectors, "cosine");
        for (const node of c.dead) corpus.dead.add(node);
        const pool = new Pool(corpus);
        const [event] = world.events(1, c.seed);
        const example = prepareExample(pool, corpus, [{ ...event!, ...c }]);
        if (!example) return;
        const others = [...corpus.sample(50, new Prng(c.seed))].map((node) => pool.add(node));
        const out = new Int32Array(64 + example.positives.length);
        const count = new Sampler(pool, new Prng(c.seed)).draw(example, others, 0.5, 64, out);
        const drawn = [...out.subarray(0, count)].map((place) => pool.nodes[place]!);
        const positives = drawn.slice(0, example.positives.length);
        expect(positives).toEqual([...example.chosen.keys()]);
        expect(new Set(drawn).size).toBe(drawn.length);
        for (const node of drawn.slice(positives.length)) {
          expect(example.chosen.has(node) || example.excluded.has(node)).toBe(false);
          expect(corpus.isLive(node)).toBe(true);
        }
      }),
      runs(200),
    );
  });

  test("what stood above the choice and the next below were passed over, not what nobody reached", () => {
    const { corpus, events } = makeWorld();
    const [event] = events(1, 1);
    const chosen = event!.chosen[0]!;
    const rest = [...Array(480).keys()].filter((node) => node !== chosen.node);
    const shown = [rest[0]!, chosen.node, rest[1]!, rest[2]!];
    const pool = new Pool(corpus);
    const example = prepareExample(pool, corpus, [{ ...event!, chosen: [chosen], shown, rejected: [rest[9]!] }]);
    expect([...example!.explicit].map((place) => pool.nodes[place])).toEqual([rest[9], rest[0], rest[1]]);
  });
});

describe("state", () => {
  test("an untrained state serves nothing, and its adapter is the identity", () => {
    const world = makeWorld();
    const state = newState(world);
    expect(state.gate.serving).toBe(STATIC);
    const [event] = world.events(1, 1);
    const same = adaptQuery(state, event!.query);
    for (let i = 0; i < same.length; i++) expect(same[i]).toBeCloseTo(event!.query[i]!, 6);
    expect(learningReport(state)).toMatchObject({ events: 0, serving: "static", shifted: 0 });
  });

  test("forgets nodes that are gone, and only those: their shifts, and their edges in both directions", () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(10, 1));
    const [first, ...rest] = [...state.overlay.nodes];
    const now = state.header[FIELD.clock]!;
    const leads = (from: number) => state.edges.from(from, now).map(({ to }) => to);
    const before = [...state.edges.nodes()].map((node) => [node, leads(node)] as const);
    expect(before.some(([, to]) => to.includes(first!))).toBe(true);
    apply(state, world, forget(state, [first!, 479_000])!);
    expect([...state.overlay.nodes].toSorted()).toEqual(rest.toSorted());
    for (const [node, to] of before) {
      expect(leads(node)).toEqual(node === first ? [] : to.filter((other) => other !== first));
    }
    expect(forget(state, [479_000])).toBeUndefined();
  });

  test("a delta cut short or with more behind it is refused", () => {
    const world = makeWorld();
    const bytes = encodeDelta(learnEvents(newState(world), world.corpus, world.events(2, 1)).delta);
    expect(() => decodeDelta(bytes.subarray(0, bytes.length - 1))).toThrow(RangeError);
    expect(() => decodeDelta(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(/1 bytes after its end/);
  });

  test("counters survive in the header", () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(33, 1));
    expect(state.header[FIELD.events]).toBe(33);
    expect(state.header[FIELD.adapterSteps]).toBe(1);
    expect(state.header[FIELD.pending]).toBe(1);
  });

  test("the overlay behaves as a map, its rows in step", () => {
    const change = fc.tuple(fc.nat({ max: 20 }), fc.option(fc.integer({ min: -3, max: 3 })));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
        const overlay = new Overlay(2, "dot");
        const model = new Map<number, number>();
        for (const [node, value] of changes) {
          if (value === null) {
            overlay.delete(node);
            model.delete(node);
          } else {
            overlay.set(node, Float32Array.of(value, 0), value + 3);
            model.set(node, value);
          }
          if (node % 3 === 0) overlay.refresh(() => Float32Array.of(10, 20));
        }
        overlay.refresh(() => Float32Array.of(10, 20));
        expect([...overlay.nodes].toSorted()).toEqual([...model.keys()].toSorted());
        for (const [node, value] of model) {
          expect([...overlay.shiftOf(node)!]).toEqual([value, 0]);
          expect(overlay.choicesOf(node)).toBe(value + 3);
          expect([...overlay.row(overlay.slotOf(node)!)]).toEqual([10 + value, 20]);
        }
      }),
      runs(200),
    );
  });
});

/** What has to stay in bounds when feedback is not what it should be. */
describe("failures", () => {
  test("drift: what helped and turns harmful costs nothing from 80 events after the turn on", () => {
    const world = makeWorld("cosine", 8);
    const state = newState(world);
    const past = world.events(250, 1);
    learnAll(state, world, past);
    const served = state.gate.serving;
    expect(served & ADAPTER).toBe(ADAPTER);
    // The distortion turns round: what undid it doubles it, and static stands where it stood.
    const gains = world.events(160, 51, -1.2).map((event) => {
      const { served: now, static: plain } = measure(state, world, [event]);
      learnAll(state, world, [event], past);
      past.push(event);
      return now - plain;
    });
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(gains.slice(0, 20))).toBeLessThan(-0.05); // else nothing was tested
    expect(mean(gains.slice(80))).toBeGreaterThan(-0.01);
  });

  test("forgetting: learn A, then B, then train on what was kept: A keeps its gain", async () => {
    const world = makeWorld("cosine", 8);
    const state = newState(world);
    const isA = (event: LearnEvent) => event.chosen[0]!.node < 240;
    const all = world.events(360, 1);
    const [a, b] = [all.filter(isA), all.filter((event) => !isA(event))];
    const gain = () => {
      const { served, static: plain } = measure(state, world, world.events(150, 77).filter(isA));
      return served - plain;
    };
    learnAll(state, world, a);
    const before = gain();
    expect(before).toBeGreaterThan(0.1);
    learnAll(state, world, b, a);
    apply(state, world, (await train(state, world.corpus, [...a, ...b])).delta);
    expect(gain()).toBeGreaterThan(0.98 * before);
  });

  test("poisoning: one click of a hundred for the same document does not bring it in where it does not belong", () => {
    const world = makeWorld("cosine", 10);
    const target = 5;
    const clean = world.events(200, 3).map((event, i) => ({ ...event, source: `s${i % 20}` }));
    const poisoned = clean.map((event, i) =>
      i % 100 === 50 ? { ...event, chosen: [{ node: target, grade: 1 }], source: "mallory" } : event,
    );
    const probes = world.events(150, 77).filter(({ chosen }) => chosen[0]!.node >= 8);
    const learned = (events: LearnEvent[]) => {
      const state = newState(world);
      learnAll(state, world, events);
      const { serving } = state.gate;
      expect(serving).not.toBe(STATIC);
      const first = probes.map((event) => ranking(contestOf(state, world, event, [serving]), serving).slice(0, 10));
      const shown = first.filter((ten) => ten.some(({ node }) => node === target)).length;
      return { shown: shown / probes.length, worth: measure(state, world, probes).served };
    };
    const [before, after] = [learned(clean), learned(poisoned)];
    expect(after.shown - before.shown).toBeLessThanOrEqual(0.01);
    expect(after.worth).toBeGreaterThan(0.95 * before.worth); // worlds of this size tell no smaller loss from chance
  });

  test("collapse: shifted documents span as many directions as they did, at least 90%", async () => {
    const world = makeWorld();
    const state = newState(world);
    apply(state, world, (await train(state, world.corpus, world.events(150, 1))).delta);
    const moved = world.corpus.vectors.map((vector, node) => {
      const slot = state.overlay.slotOf(node);
      return slot === undefined ? vector : state.overlay.row(slot);
    });
    expect(state.overlay.size).toBeGreaterThan(200);
    expect(effectiveRank(moved)).toBeGreaterThan(0.9 * effectiveRank(world.corpus.vectors));
  });

  test.each([Number.NaN, 3e38])("a document of %d leaves no number that is not finite", async (value) => {
    const world = makeWorld("dot");
    const events = world.events(60, 1);
    const [bad] = events[7]!.chosen;
    world.corpus.vectors[bad!.node] = world.corpus.vectors[0]!.map(() => value);
    const areFinite = (state: LearnedState) => {
      const { basis, output } = state.adapter as { basis: Float32Array; output: Float32Array };
      const shifts = [...state.overlay.nodes].flatMap((node) => [...state.overlay.shiftOf(node)!]);
      const edges = [...state.edges.nodes()].flatMap((node) => [...state.edges.record(node)!.strengths]);
      return [...basis, ...output, ...shifts, ...edges].every(Number.isFinite);
    };
    const online = newState(world);
    learnAll(online, world, events);
    expect(areFinite(online)).toBe(true);
    expect(online.header[FIELD.skippedSteps]).toBeGreaterThan(0);
    const trained = newState(world);
    apply(trained, world, (await train(trained, world.corpus, events)).delta);
    expect(areFinite(trained)).toBe(true);
    expect(trained.header[FIELD.skippedSteps]).toBeGreaterThan(0);
  });
});

test("solvePositiveDefinite solves what was made from its solution", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5 }), fc.integer(), (n, m, seed) => {
      const prng = new Prng(seed);
      const gaussian = (count: number) => Float64Array.from({ length: count }, () => prng.gaussian());
      const [g, x] = [gaussian(n * n), gaussian(n * m)];
      const product = (rows: number, columns: number, of: (i: number, p: number, j: number) => number) =>
        Float64Array.from({ length: rows * columns }, (_, at) => {
          const [i, j] = [Math.floor(at / columns), at % columns];
          return Array.from({ length: n }, (_, p) => of(i, p, j)).reduce((a, b) => a + b, 0);
        });
      const a = product(n, n, (i, p, j) => g[i * n + p]! * g[j * n + p]! + (i === j ? 1 / n : 0)); // G G' + I
      const b = product(n, m, (i, p, j) => a[i * n + p]! * x[p * m + j]!);
      solvePositiveDefinite(a, b, n, m);
      for (let i = 0; i < n * m; i++) expect(b[i]).toBeCloseTo(x[i]!, 7);
    }),
    runs(200),
  );
});
