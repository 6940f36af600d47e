/** What choices on display say of relevance: by its formula, and what has to hold of it whatever was chosen. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import type { LearnEvent } from "../../training/corpus.js";
import { Pool, prepareExample, sameQuestions } from "../../training/examples.js";
import { assignFolds } from "../../training/folds.js";
import { type Reading, relevanceOf } from "../../training/relevance.js";
import { corpusOf, makeWorld } from "../support/corpus.js";
import { runs } from "../support/seed.js";

const NODES = 12;
const world = makeWorld();
const corpus = corpusOf(world.corpus.vectors.slice(0, NODES), "cosine");
const query = world.corpus.vectors[20]!;
const event = (given: Partial<LearnEvent>): LearnEvent => ({
  query,
  chosen: [],
  shown: [],
  rejected: [],
  source: undefined,
  ...given,
});
const reading = (eta: number): Reading => ({
  eta,
  logit: 0.07,
  expected: (above) => Math.min(0.5, 0.25 * 1.1 ** above),
});

function questionsOf(events: readonly LearnEvent[]): LearnEvent[][] {
  const work = sameQuestions(events);
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** Displays of some nodes in some order, and which of them were chosen. */
const display = fc
  .uniqueArray(fc.nat({ max: NODES - 1 }), { minLength: 2, maxLength: 10 })
  .chain((shown) => fc.record({ shown: fc.constant(shown), chosen: fc.subarray(shown) }));
const displays = fc.array(display, { minLength: 1, maxLength: 6 });

const relevance = (asked: { shown: number[]; chosen: number[] }[], eta: number) => {
  const choices = new Map<number, number>();
  for (const node of asked.flatMap(({ chosen }) => chosen)) choices.set(node, (choices.get(node) ?? 0) + 1);
  const events = asked.map(({ shown, chosen }) => event({ shown, chosen: chosen.map((node) => ({ node, grade: 1 })) }));
  return { choices, ...relevanceOf(corpus, events, choices, () => true, reading(eta)) };
};

describe("relevance", () => {
  test("is what was expected, moved by choices over looks, less that of the passed over", () => {
    fc.assert(
      fc.property(displays, fc.constantFrom(0, 0.5, 1, 2), (asked, eta) => {
        const { gains, unseen, weights, choices } = relevance(asked, eta);
        const nodes = [...new Set(asked.flatMap(({ shown }) => shown))];
        const scores = corpus.scores(query, Uint32Array.from(nodes));
        const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
        const worth = new Map(
          nodes.map((node, i) => {
            const expected = reading(eta).expected((scores[i]! - mean) / 0.07);
            const places = asked.flatMap(({ shown }) => (shown.includes(node) ? [shown.indexOf(node) + 1] : []));
            const looks = places.reduce((sum, place) => sum + place ** -eta, 0);
            return [node, { expected, after: (0.4 + (choices.get(node) ?? 0)) / (0.4 / expected + looks) }];
          }),
        );
        const passed = nodes.filter((node) => !choices.has(node)).map((node) => worth.get(node)!.after);
        const level = passed.length > 0 ? passed.reduce((a, b) => a + b, 0) / passed.length : reading(eta).expected(0);
        for (const [node, { after, expected }] of worth) {
          const isPositive = choices.has(node) && after > expected;
          expect(gains.get(node)).toBeCloseTo(Math.max(after - level, isPositive ? after - expected : -1), 12);
          if (isPositive) expect(gains.get(node)).toBeGreaterThan(0);
        }
        expect(unseen!(mean)).toBeCloseTo(reading(eta).expected(0) - level, 12);
        const positive = [...worth].filter(([node, { expected, after }]) => choices.has(node) && after > expected);
        expect([...weights.keys()].toSorted()).toEqual(positive.map(([node]) => node).toSorted());
        const total = [...weights.values()].reduce((a, b) => a + b, 0);
        if (positive.length > 0) expect(total).toBeCloseTo(1, 12);
        for (const weight of weights.values()) expect(weight).toBeGreaterThan(0);
      }),
      runs(300),
    );
  });

  test("falls less for what was passed over further down, and more with every time", () => {
    const shown = [...Array(10).keys()];
    const flat: Reading = { ...reading(1), expected: () => 0.25 };
    const of = (times: number) => {
      const asked = Array.from({ length: times }, () => event({ shown, chosen: [{ node: 4, grade: 1 }] }));
      return relevanceOf(corpus, asked, new Map([[4, times]]), () => true, flat);
    };
    const [once, often] = [of(1), of(8)];
    for (let node = 1; node < 10; node++) {
      if (node === 4 || node === 5) continue;
      expect(once.gains.get(node)!).toBeGreaterThan(once.gains.get(node === 6 ? 3 : node - 1)!);
    }
    expect(often.gains.get(4)! - often.gains.get(0)!).toBeGreaterThan(once.gains.get(4)! - once.gains.get(0)!);
    // Looked at more likely than not: the first two places.
    expect(once.passedOver).toEqual([0, 1]);
  });

  test("of what nobody knows the display of is what was chosen", () => {
    const choices = new Map([[3, 2]]);
    const { gains, unseen, weights, passedOver } = relevanceOf(corpus, [event({})], choices, () => true, reading(1));
    expect([gains, unseen, passedOver]).toEqual([choices, undefined, []]);
    expect([...weights]).toEqual([[3, 1]]);
  });
});

test("a lone choice is worth more than all that was passed over, however little was expected of it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9 }), fc.double({ min: 0, max: 3, noNaN: true }), (place, slope) => {
      const shown = [...corpus.nearest(query, 10).nodes];
      const steep: Reading = { eta: 1, logit: 0.07, expected: (above) => Math.min(0.9, 0.3 * Math.exp(slope * above)) };
      const chosen = shown[place]!;
      const asked = [event({ shown, chosen: [{ node: chosen, grade: 1 }] })];
      const { gains, weights } = relevanceOf(corpus, asked, new Map([[chosen, 1]]), () => true, steep);
      expect([...weights.keys()]).toEqual([chosen]);
      expect(gains.get(chosen)).toBeGreaterThan(0);
    }),
    runs(100),
  );
});

test("what was rejected was looked at, on display or not", () => {
  const flat: Reading = { ...reading(1), expected: () => 0.25 };
  const shown = [...Array(8).keys()];
  const asked = [event({ shown, chosen: [{ node: 0, grade: 1 }], rejected: [7, 9] })];
  const { gains } = relevanceOf(corpus, asked, new Map([[0, 1]]), () => true, flat);
  for (const node of [1, 2, 3, 4, 5, 6]) expect(gains.get(node)).toBeGreaterThan(gains.get(7)!);
  expect(gains.get(9)).toBe(gains.get(7));
});

describe("a question that was asked often", () => {
  test("is one example: choices that one in many made are no positives, and no negatives either", () => {
    const shown = [...Array(10).keys()];
    const asked = Array.from({ length: 12 }, (_, i) => event({ shown, chosen: [{ node: i === 0 ? 0 : 5, grade: 3 }] }));
    expect(questionsOf(asked)).toEqual([asked]);
    const pool = new Pool(corpus);
    const example = prepareExample(pool, corpus, asked, 12, { ...reading(0.5), expected: () => 0.25 })!;
    expect([...example.chosen]).toEqual([[5, 11]]);
    for (const place of [...example.explicit, ...example.hard]) expect([0, 5]).not.toContain(pool.nodes[place]);
  });

  test("is told from others, by its query, by what it was made from, and by whether it had a display", () => {
    const other = world.corpus.vectors[21]!;
    const shown = [1];
    const asked = [{}, { query: other }, { examples: [1] }, { shown }, {}, { examples: [1] }, { shown }].map(event);
    // In the order in which each was asked last.
    expect(questionsOf(asked)).toEqual([[asked[1]], [asked[0], asked[4]], [asked[2], asked[5]], [asked[3], asked[6]]]);
  });

  test("whoever asks it: another choice that is as good as none does not count twice, nor the 257th", () => {
    const twice = event({ chosen: [1, 1, 2].map((node) => ({ node, grade: 1 })) });
    expect([...prepareExample(new Pool(corpus), corpus, [twice], 12)!.chosen]).toEqual([
      [1, 1],
      [2, 1],
    ]);
    const graded = event({ chosen: [1, 2].map((node) => ({ node, grade: node === 1 ? 1e-300 : 1e300 })) });
    const { weights } = prepareExample(new Pool(corpus), corpus, [graded], 12)!;
    expect([...weights].every(Number.isFinite)).toBe(true);
  });
});

describe("folds", () => {
  test("keep what one source asks together where there are many, and are of one size as far as it goes", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 90 }), { minLength: 20, maxLength: 400 }), fc.nat(), (of, seed) => {
        const examples = of.map((source) => ({ source: source === 90 ? undefined : `s${source}` }));
        const foldOf = assignFolds(examples, 10, new Prng(seed));
        expect(foldOf).toHaveLength(examples.length);
        const sources = new Set(examples.flatMap(({ source }) => source ?? []));
        const largest = Math.max(
          ...[...sources].map((source) => examples.filter((e) => e.source === source).length),
          1,
        );
        const sizes = Array.from({ length: 10 }, (_, fold) => foldOf.filter((own) => own === fold).length);
        const isGrouped = sources.size >= 40;
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(isGrouped ? largest : 1);
        if (!isGrouped) return;
        for (const source of sources)
          expect(new Set(foldOf.filter((_, i) => examples[i]!.source === source)).size).toBe(1);
      }),
      runs(100),
    );
  });
});
