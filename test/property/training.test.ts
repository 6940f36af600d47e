/** The two learners as a whole: what they gain, what they must never do, and that replay is exact. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { METRICS } from "../../base/types.js";
import { Overlay } from "../../model/overlay.js";
import { dot } from "../../model/scoring.js";
import type { LearnEvent } from "../../training/corpus.js";
import { Pool, prepareExample, Sampler } from "../../training/examples.js";
import { Gate, RunningDifference } from "../../training/gate.js";
import { type Judgement, judge } from "../../training/judge.js";
import { learnEvents } from "../../training/learn.js";
import { LEARNING_DEFAULTS, type LearningOptions } from "../../training/options.js";
import { learningReport } from "../../training/report.js";
import { adaptQuery, serving } from "../../training/serving.js";
import {
  applyDelta,
  type Delta,
  decodeDelta,
  encodeDelta,
  FIELD,
  forget,
  LearnedState,
  snapshot,
} from "../../training/state.js";
import { train } from "../../training/train.js";
import { corpusOf, makeWorld, shuffleAnswers, type World } from "../support/corpus.js";
import { runs } from "../support/seed.js";

const newState = (world: World, options: Partial<LearningOptions> = {}) =>
  new LearnedState(world.corpus.dimensions, world.corpus.metric, { ...LEARNING_DEFAULTS, ...options });

function apply(state: LearnedState, world: World, delta: Delta): void {
  applyDelta(state, delta);
  state.overlay.refresh((node) => world.corpus.vector(node));
}

/** Learns one event after the other, as a caller would, and returns the deltas. */
function learnAll(state: LearnedState, world: World, events: LearnEvent[], before: LearnEvent[] = []): Delta[] {
  const past = [...before];
  return events.map((event) => {
    const { delta } = learnEvents(state, world.corpus, [event], { recent: past });
    apply(state, world, delta);
    past.push(event);
    return delta;
  });
}

/** Everything the state holds, comparable. */
function contents(state: LearnedState) {
  const overlay = [...state.overlay.nodes].sort((a, b) => a - b);
  return {
    bytes: Buffer.from(state.bytes).toString("base64"),
    overlay: overlay.map((node) => [node, state.overlay.choicesOf(node), [...state.overlay.shiftOf(node)!]]),
  };
}

/** Mean nDCG@10 of what is served, and of static, on events nobody learned from. */
function measure(state: LearnedState, { corpus }: World, events: LearnEvent[]) {
  const { adapter } = serving(state);
  const mean = { served: 0, static: 0 };
  for (const event of events) {
    const chosen = new Map(event.chosen.map(({ node, grade }) => [node, grade]));
    const adapted = adapter ? adaptQuery(state, event.query) : undefined;
    const near = corpus.nearest(event.query, 200).nodes;
    const { all } = judge(corpus, event.query, adapted, chosen, new Set(), near, [state.overlay]);
    mean.served += all[state.gate.serving]! / events.length;
    mean.static += all[0] / events.length;
  }
  return mean;
}

describe("train", () => {
  test.each(METRICS)("under %s, gains on events it never saw and serves it", async (metric) => {
    const world = makeWorld(metric);
    const state = newState(world);
    apply(state, world, (await train(state, world.corpus, world.events(250, 1))).delta);
    const { served, static: plain } = measure(state, world, world.events(150, 2));
    expect(serving(state).shift || serving(state).adapter).toBe(true);
    expect(served).toBeGreaterThan(plain + 0.05);
  });

  test("a placebo is not served, and the report says why", async () => {
    const world = makeWorld();
    const state = newState(world);
    const { delta, report } = await train(state, world.corpus, shuffleAnswers(world.events(250, 1), 3));
    apply(state, world, delta);
    expect(serving(state)).toEqual({ adapter: false, shift: false });
    expect(report.serving).toBe("static");
    for (const arm of Object.values(report.arms)) {
      expect(arm.state).toBe("challenger");
      expect(arm.why).toMatch(/gain .* lower bound/);
    }
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
    const timer = setInterval(() => turns++, 1);
    const seen: number[] = [];
    await train(newState(world), world.corpus, world.events(200, 1), {
      onProgress: ({ phase, done, total }) => phase !== "reading feedback" && seen.push(done / total),
    });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
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

  test.each([0, 1, 4])("%d events are too few to serve, and no error", async (count) => {
    const world = makeWorld();
    const state = newState(world);
    apply(state, world, (await train(state, world.corpus, world.events(count, 1))).delta);
    expect(serving(state)).toEqual({ adapter: false, shift: false });
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

  test("a placebo is not served at any time", () => {
    const world = makeWorld();
    const state = newState(world);
    const past: LearnEvent[] = [];
    for (const event of shuffleAnswers(world.events(300, 1), 3)) {
      apply(state, world, learnEvents(state, world.corpus, [event], { recent: past }).delta);
      past.push(event);
      expect(state.gate.serving).toBe(0);
    }
  });

  test("stops serving what turns wrong, and from then on costs nothing", () => {
    const world = makeWorld();
    const state = newState(world);
    const past = world.events(400, 1);
    learnAll(state, world, past);
    expect(serving(state).adapter).toBe(true);
    learnAll(state, world, world.events(60, 5, 0), past);
    expect(serving(state).adapter).toBe(false);
    const { served, static: plain } = measure(state, world, world.events(150, 2, 0));
    expect(served).toBeGreaterThan(plain - 0.01);
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

  test("only chosen documents move, by no more than the bound", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0.01, max: 1, noNaN: true }), (seed, shiftBound) => {
        const world = makeWorld();
        const state = newState(world, { shiftBound });
        const events = world.events(12, seed);
        apply(state, world, learnEvents(state, world.corpus, events).delta);
        expect(new Set(state.overlay.nodes)).toEqual(new Set(events.flatMap((e) => e.chosen.map((c) => c.node))));
        for (const node of state.overlay.nodes) {
          const shift = state.overlay.shiftOf(node)!;
          expect(Math.sqrt(dot(shift, shift))).toBeLessThanOrEqual(shiftBound * (1 + 1e-5));
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

describe("gate", () => {
  /** Judgements in which the shift differs from static by about `gain`. */
  const judgements = (count: number, gain: number) =>
    Array.from({ length: count }, (_, i): Judgement => {
      const shift = 0.5 + gain + 0.05 * ((i % 5) - 2);
      return { all: [0.5, 0.5, shift, shift], disjoint: undefined };
    });
  const record = (gate: Gate, given: Judgement[]) => {
    for (const judgement of given) {
      gate.record(judgement, [true, false, true, false]);
      gate.decide();
    }
  };
  const newGate = () => new Gate(new Float64Array(Gate.LENGTH), LEARNING_DEFAULTS);

  test("serves a certain gain after enough events, withdraws a loss, and serves again", () => {
    const gate = newGate();
    record(gate, judgements(LEARNING_DEFAULTS.minimumEvents - 2, 0.1));
    expect(gate.serving).toBe(0);
    record(gate, judgements(5, 0.1));
    expect(gate.serving).toBe(2);
    record(gate, judgements(40, -0.1));
    expect(gate.serving).toBe(0);
    expect(gate.withdrawn(2)).toBe(true);
    record(gate, judgements(150, 0.1));
    expect(gate.serving).toBe(2);
    expect(gate.withdrawn(2)).toBe(false);
  });

  test("refuses an adapter that costs documents nobody chose, whatever it gains on the others", () => {
    const gains = [[], new Array(200).fill(0.1), new Array(200).fill(0.01), new Array(200).fill(0.2)];
    const costly = newGate();
    costly.replace(gains, new Array(150).fill(-0.02));
    expect(costly.serving).toBe(2);
    expect(costly.refusal(3)).toMatch(/never-chosen documents: -0.0200/);
    const unknown = newGate();
    unknown.replace(gains, new Array(50).fill(0.02));
    expect(unknown.refusal(1)).toMatch(/50 events, needs 100/);
    const harmless = newGate();
    harmless.replace(gains, new Array(150).fill(0));
    expect(harmless.serving).toBe(3);
  });

  test("mean and error of a window are those of the weighted differences", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2, maxLength: 60 }), (xs) => {
        const running = new RunningDifference(new Float64Array(RunningDifference.LENGTH));
        for (const x of xs) running.add(x, 20);
        const weights = xs.map((_, i) => (1 - 1 / 20) ** (xs.length - 1 - i));
        const sum = weights.reduce((a, b) => a + b, 0);
        const mean = xs.reduce((total, x, i) => total + weights[i]! * x, 0) / sum;
        const variance = xs.reduce((total, x, i) => total + weights[i]! * (x - mean) ** 2, 0) / sum;
        const events = sum ** 2 / weights.reduce((a, w) => a + w * w, 0);
        expect(running.mean).toBeCloseTo(mean, 9);
        expect(running.standardError).toBeCloseTo(Math.sqrt(variance / (events - 1)), 6);
      }),
      runs(200),
    );
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
        const example = prepareExample(pool, corpus, { ...event!, ...c });
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
    const example = prepareExample(pool, corpus, { ...event!, chosen: [chosen], shown, rejected: [rest[9]!] });
    expect([...example!.explicit].map((place) => pool.nodes[place])).toEqual([rest[9], rest[0], rest[1]]);
  });
});

describe("state", () => {
  test("an untrained state serves nothing, and its adapter is the identity", () => {
    const world = makeWorld();
    const state = newState(world);
    expect(serving(state)).toEqual({ adapter: false, shift: false });
    const [event] = world.events(1, 1);
    const same = adaptQuery(state, event!.query);
    for (let i = 0; i < same.length; i++) expect(same[i]).toBeCloseTo(event!.query[i]!, 6);
    expect(learningReport(state)).toMatchObject({ events: 0, serving: "static", shifted: 0 });
  });

  test("forgets nodes that are gone, and only those", () => {
    const world = makeWorld();
    const state = newState(world);
    learnAll(state, world, world.events(10, 1));
    const [first, ...rest] = [...state.overlay.nodes];
    apply(state, world, forget(state, [first!, 479_000])!);
    expect([...state.overlay.nodes].toSorted()).toEqual(rest.toSorted());
    expect(forget(state, [first!])).toBeUndefined();
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
