/**
 * Learned edges against plain maps in f64 that keep every addition and look at it from the start; as a record of
 * final values; and as what events teach them.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { EDGES_PER_NODE, Edges, type Seed } from "../../model/edges.js";
import type { LearnEvent } from "../../training/corpus.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";
import { learnEdges } from "../../training/edges.js";
import { Pool, prepareExample } from "../../training/examples.js";
import { LEARNING_DEFAULTS } from "../../training/options.js";
import { applyDelta, type Delta, LearnedState } from "../../training/state.js";
import { makeWorld } from "../support/corpus.js";
import { recordsOf } from "../support/learning.js";
import { runs } from "../support/seed.js";

const HALF_LIFE = 10;

type Step =
  | { kind: "add"; from: number; to: number; strength: number }
  | { kind: "choose"; node: number; amount: number }
  | { kind: "forget"; node: number };

/** What was done to each edge and node, and when: nothing is summed up before it is asked for. */
class Model {
  private edges = new Map<number, Map<number, { at: number; strength: number }[]>>();
  private asked = new Map<number, { at: number; amount: number }[]>();
  private chosen = new Map<number, { at: number; amount: number }[]>();

  constructor(private readonly halfLife: number) {}

  apply(step: Step, now: number): void {
    if (step.kind === "forget") {
      for (const lists of [this.edges, this.asked, this.chosen]) lists.delete(step.node);
      for (const targets of this.edges.values()) targets.delete(step.node);
    } else if (step.kind === "choose") {
      this.push(this.chosen, step.node, { at: now, amount: step.amount });
    } else if (step.from !== step.to && step.strength > 0) {
      this.push(this.asked, step.from, { at: now, amount: step.strength });
      const targets = this.edges.get(step.from) ?? new Map<number, { at: number; strength: number }[]>();
      this.edges.set(step.from, targets);
      this.push(targets, step.to, { at: now, strength: step.strength });
    }
  }

  strength(from: number, to: number, now: number): number {
    const all = this.edges.get(from)?.get(to) ?? [];
    return all.reduce((sum, { at, strength }) => sum + strength * 2 ** ((at - now) / this.halfLife), 0);
  }

  targets(from: number): number[] {
    return [...(this.edges.get(from)?.keys() ?? [])];
  }

  /** How much more often than ever a node was chosen lately, the prior being worth 20 choices. */
  trend(of: number, now: number): number {
    const kept = (age: number) => 1 - 2 ** (-age / this.halfLife);
    const share = kept(20 * now) / (20 * kept(now));
    const lately = (this.chosen.get(of) ?? []).map(
      ({ at, amount }) => amount * 2 ** ((20 * (at - now)) / this.halfLife),
    );
    return (lately.reduce((a, b) => a + b, 0) + 20) / (this.count(this.chosen, of, now) * share + 20);
  }

  /** Support of every node, not scaled. */
  support(seeds: readonly Seed[], now: number): Map<number, number> {
    const out = new Map<number, number>();
    for (const { node, weight } of seeds) {
      for (const to of this.targets(node)) {
        const [asked, chosen] = [this.count(this.asked, node, now), this.count(this.chosen, to, now)];
        const share = (weight * this.strength(node, to, now)) / ((asked + 20) ** 0.6 * Math.sqrt(chosen + 5));
        out.set(to, (out.get(to) ?? 0) + share * this.trend(to, now));
      }
    }
    return out;
  }

  private count(lists: Map<number, { at: number; amount: number }[]>, node: number, now: number): number {
    const all = lists.get(node) ?? [];
    return all.reduce((sum, { at, amount }) => sum + amount * 2 ** ((at - now) / this.halfLife), 0);
  }

  private push<T>(lists: Map<number, T[]>, key: number, value: T): void {
    const list = lists.get(key);
    if (list) list.push(value);
    else lists.set(key, [value]);
  }
}

function run(edges: Edges, step: Step, now: number): void {
  if (step.kind === "add") edges.add(step.from, step.to, step.strength, now);
  else if (step.kind === "choose") edges.choose(step.node, step.amount, now);
  else edges.forget(step.node, now);
}

const node = fc.nat({ max: 7 });
const amount = fc.oneof(fc.constant(0), fc.double({ min: 0.01, max: 3, noNaN: true }));
const add = fc.record({ kind: fc.constant("add" as const), from: node, to: node, strength: amount });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 7, arbitrary: add },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("choose" as const), node, amount }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), node }) },
);
/** Steps with the ticks that pass before each; deletes come a tick after what was learned before them. */
const history = fc.array(fc.tuple(step, fc.nat({ max: 9 })), { maxLength: 60 });
const seeds = fc.uniqueArray(fc.record({ node, weight: fc.double({ min: 0.05, max: 1, noNaN: true }) }), {
  maxLength: 5,
  selector: (seed) => seed.node,
});

/** Ticks of a history: a row that disappears does so after all events so far, and before all that follow. */
function timed(steps: readonly [Step, number][]): [Step, number][] {
  let now = 1;
  return steps.map(([what, gap]) => {
    now += gap;
    if (what.kind !== "forget") return [what, now];
    now += 1;
    return [what, now];
  });
}

function expectModel(edges: Edges, model: Model, asked: readonly Seed[], now: number): void {
  for (let from = 0; from < 8; from++) {
    const found = new Map(edges.from(from, now).map(({ to, strength }) => [to, strength]));
    expect([...found.keys()].toSorted()).toEqual(model.targets(from).toSorted());
    for (const [to, strength] of found) expect(strength / model.strength(from, to, now)).toBeCloseTo(1, 4);
  }
  const accept = (to: number) => to !== 3;
  const support = [...model.support(asked, now)].filter(([to]) => accept(to));
  const most = Math.max(...support.map(([, value]) => value));
  const spread = edges.spread(asked, now, accept);
  expect([...spread.keys()].toSorted()).toEqual(support.map(([to]) => to).toSorted());
  for (const [to, value] of support) expect(spread.get(to)).toBeCloseTo(value / most, 4);
  const values = [...spread.values()];
  expect(values).toEqual(values.toSorted((a, b) => b - a));
  if (values.length > 0) expect(values[0]).toBe(1);
}

/** Records by node, their counts as a log keeps them; places behind the last edge have no meaning. */
const recordsIn = (edges: Edges) =>
  [...edges.nodes()]
    .sort((a, b) => a - b)
    .map((of) => {
      const { targets, strengths, at, count, asked, chosen, lately, ...rest } = edges.record(of)!;
      const used = [targets, strengths, at].map((values) => [...values.subarray(0, count)]);
      return [of, count, Math.fround(asked), Math.fround(chosen), Math.fround(lately), rest, ...used];
    });

const stateWith = (halfLife: number) =>
  new LearnedState(2, "dot", { ...LEARNING_DEFAULTS, rank: 1, edgeHalfLife: halfLife });
const deltaOf = (draft: Edges): Delta => ({ parameters: [], overlay: [], edges: draft.changes() });

describe("edges", () => {
  test("are what plain maps of all that was ever added say", () => {
    fc.assert(
      fc.property(history, seeds, fc.nat({ max: 40 }), (steps, asked, later) => {
        const [edges, model] = [new Edges(HALF_LIFE), new Model(HALF_LIFE)];
        let now = 1;
        for (const [what, at] of timed(steps)) {
          run(edges, what, at);
          model.apply(what, at);
          now = at;
        }
        expectModel(edges, model, asked, now + later);
      }),
      runs(500),
    );
  });

  test("halve in a half-life, counts and strengths alike", () => {
    const edges = new Edges(100);
    edges.add(1, 2, 8, 50);
    edges.choose(2, 4, 50);
    expect(edges.from(1, 150)[0]!.strength).toBeCloseTo(4, 6);
    edges.add(1, 2, 1, 250);
    edges.choose(2, 0, 250);
    expect(edges.from(1, 250)).toEqual([{ to: 2, strength: 3 }]);
    expect(edges.record(1)).toMatchObject({ asked: 3, countedAt: 250 });
    expect(edges.record(2)!.chosen).toBeCloseTo(1, 6);
  });

  test("of one node are at most 128: the weakest, as it has faded, gives way", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const prng = new Prng(seed);
        const edges = new Edges(40);
        const kept = new Map<number, { strength: number; at: number }>();
        for (let now = 1; now <= 3 * EDGES_PER_NODE; now++) {
          const to = 1 + prng.below(2 * EDGES_PER_NODE);
          const strength = 0.1 + prng.next();
          const faded = (from: { strength: number; at: number }) => from.strength * 2 ** ((from.at - now) / 40);
          const before = kept.get(to);
          if (!before && kept.size === EDGES_PER_NODE) {
            const [weakest] = [...kept].reduce((a, b) => (faded(b[1]) < faded(a[1]) ? b : a));
            kept.delete(weakest);
          }
          kept.set(to, { strength: strength + (before ? faded(before) : 0), at: now });
          edges.add(0, to, strength, now);
        }
        const found = edges.from(0, 3 * EDGES_PER_NODE).map(({ to }) => to);
        expect(found.toSorted()).toEqual([...kept.keys()].toSorted());
        expect(edges.record(0)!.count).toBe(EDGES_PER_NODE);
      }),
      runs(20),
    );
  });

  test("that lead to a number never reach the row that has it next", () => {
    const edges = new Edges(1000);
    edges.add(1, 2, 5, 10);
    edges.add(3, 2, 5, 11);
    edges.add(2, 4, 5, 11);
    edges.forget(2, 12);
    expect([1, 2, 3].flatMap((from) => edges.from(from, 12))).toEqual([]);
    expect(edges.spread([{ node: 1, weight: 1 }], 12, () => true).size).toBe(0);
    // The new row of number 2 is chosen: only what leads to it from then on counts.
    edges.add(3, 2, 1, 12);
    expect(edges.from(1, 13)).toEqual([]);
    expect(edges.from(3, 12)).toEqual([{ to: 2, strength: 1 }]);
    expect(edges.from(2, 13)).toEqual([]);
  });

  test("a seed that was asked for everything says less, and so does a choice that everybody makes", () => {
    const edges = new Edges(1e6);
    edges.add(1, 10, 4, 1);
    edges.add(2, 11, 4, 1);
    for (let to = 20; to < 60; to++) edges.add(2, to, 4, 1);
    edges.add(1, 12, 4, 1);
    edges.choose(12, 50, 1);
    const support = edges.spread(
      [1, 2].map((seed) => ({ node: seed, weight: 0.5 })),
      1,
      () => true,
    );
    expect(support.get(10)).toBe(1);
    expect(support.get(11)).toBeLessThan(0.5);
    expect(support.get(12)).toBeLessThan(0.5);
  });
});

describe("how often a node was chosen lately", () => {
  /** How much of the support of 2 a node has, where what leads to both is alike. */
  const beside = (edges: Edges, of: number, now: number) =>
    edges.spread([{ node: 1, weight: 1 }], now, (to) => to === 2 || to === of).get(of)!;
  /** 2 and `of` were chosen a hundred times, evenly. */
  const steady = (of = 3) => {
    const edges = new Edges(1000);
    for (const to of [2, of]) edges.add(1, to, 1, 1);
    for (let now = 1; now <= 1000; now += 10) for (const to of [2, of]) edges.choose(to, 1, now);
    return edges;
  };

  test("tells what is in demand, and is over when that is", () => {
    const edges = steady();
    for (let now = 1001; now <= 1040; now++) edges.choose(3, 0.001, now); // as steady as before, or nearly
    for (let now = 1001; now <= 1040; now++) edges.choose(2, 1, now);
    // Choices alone would put 2 behind 3, as what everybody chooses says less.
    expect(beside(edges, 3, 1041)).toBeLessThan(0.8);
    expect(beside(edges, 3, 2000)).toBeGreaterThan(0.9);
  });

  test("changes little where demand is steady", () => {
    const edges = steady();
    for (let now = 1; now <= 1000; now += 10) edges.choose(3, 0.5, now);
    // Half as many choices more, all along: what counts is their number.
    const [two, three] = [2, 3].map((to) => edges.record(to)!.chosen);
    expect(beside(edges, 3, 1001)).toBeCloseTo(Math.sqrt((two! + 5) / (three! + 5)), 1);
  });

  test("goes with a row that gets another number", () => {
    const edges = steady();
    for (let now = 1001; now <= 1040; now++) edges.choose(3, 1, now);
    const before = edges.record(3)!;
    for (const { node: of, record } of edges.renamed(new Map([[3, 7]]), 1040)) if (record) edges.set(of, record);
    expect(edges.record(7)!.lately).toBeCloseTo(before.lately, 5);
    expect(edges.record(7)!.chosen).toBeCloseTo(before.chosen, 5);
    expect(edges.from(7, 1040)).toEqual([]);
    expect(edges.from(1, 1040).map(({ to }) => to)).toEqual([2, 7]);
  });
});

describe("a draft", () => {
  test("over a base says what the base would say, and leaves the base alone", () => {
    fc.assert(
      fc.property(history, history, seeds, (before, after, asked) => {
        const [base, direct] = [new Edges(HALF_LIFE), new Edges(HALF_LIFE)];
        const all = timed([...before, ...after]);
        for (const [what, at] of all.slice(0, before.length)) for (const edges of [base, direct]) run(edges, what, at);
        const held = recordsIn(base);
        const draft = new Edges(HALF_LIFE, base);
        for (const [what, at] of all.slice(before.length)) for (const edges of [draft, direct]) run(edges, what, at);
        expect(recordsIn(base)).toEqual(held);
        const now = (all.at(-1)?.[1] ?? 1) + 3;
        for (let from = 0; from < 8; from++) expect(draft.from(from, now)).toEqual(direct.from(from, now));
        expect([...draft.spread(asked, now, () => true)]).toEqual([...direct.spread(asked, now, () => true)]);
        expect(draft.isEmpty).toBe(direct.isEmpty);
      }),
      runs(300),
    );
  });

  test("as a delta through bytes, once or twice, leaves what direct changes leave", () => {
    fc.assert(
      fc.property(fc.array(history, { minLength: 1, maxLength: 4 }), (batches) => {
        const [state, twice] = [stateWith(HALF_LIFE), stateWith(HALF_LIFE)];
        const model = new Model(HALF_LIFE);
        const all = timed(batches.flat());
        let done = 0;
        for (const batch of batches) {
          const draft = new Edges(HALF_LIFE, state.edges);
          for (const [what, at] of all.slice(done, done + batch.length)) {
            run(draft, what, at);
            model.apply(what, at);
          }
          done += batch.length;
          const bytes = encodeDelta(deltaOf(draft));
          const drafted = recordsIn(draft);
          applyDelta(state, decodeDelta(bytes));
          for (let times = 0; times < 2; times++) applyDelta(twice, decodeDelta(bytes));
          const touched = new Set(drafted.map(([of]) => of));
          expect(recordsIn(state.edges).filter(([of]) => touched.has(of))).toEqual(drafted);
        }
        expect(recordsIn(twice.edges)).toEqual(recordsIn(state.edges));
        expectModel(state.edges, model, [{ node: 1, weight: 1 }], all.at(-1)?.[1] ?? 1);
        const restored = stateWith(HALF_LIFE);
        applyDelta(restored, decodeDelta(encodeDelta({ parameters: [], overlay: [], edges: recordsOf(state.edges) })));
        expect(recordsIn(restored.edges)).toEqual(recordsIn(state.edges));
      }),
      runs(200),
    );
  });

  test("is applied again from any of the last deltas on without a change: a log is read from a follower's LSN", () => {
    fc.assert(
      fc.property(fc.array(history, { minLength: 1, maxLength: 5 }), fc.nat(), (batches, from) => {
        const state = stateWith(HALF_LIFE);
        const all = timed(batches.flat());
        let done = 0;
        const deltas = batches.map((batch) => {
          const draft = new Edges(HALF_LIFE, state.edges);
          for (const [what, at] of all.slice(done, done + batch.length)) run(draft, what, at);
          done += batch.length;
          const bytes = encodeDelta(deltaOf(draft));
          applyDelta(state, decodeDelta(bytes));
          return bytes;
        });
        const expected = recordsIn(state.edges);
        for (const bytes of deltas.slice(from % deltas.length)) applyDelta(state, decodeDelta(bytes));
        expect(recordsIn(state.edges)).toEqual(expected);
      }),
      runs(200),
    );
  });

  test("holds only lanes that changed: one more edge of a full node is a few bytes", () => {
    const state = stateWith(1000);
    const full = new Edges(1000, state.edges);
    for (let to = 1; to <= EDGES_PER_NODE; to++) full.add(0, to, 1, to);
    applyDelta(state, deltaOf(full));
    const draft = new Edges(1000, state.edges);
    draft.add(0, 7, 1, 200);
    expect(draft.changes().map(({ node: of, lanes }) => [of, [...lanes]])).toEqual([
      [7, []],
      [0, [6]],
    ]);
    expect(encodeDelta(deltaOf(draft)).length).toBeLessThan(128);
    const held = recordsIn(state.edges);
    draft.add(0, 999, 1, 201); // takes a place that the base's record has in use
    expect(draft.from(0, 201).some(({ to }) => to === 999)).toBe(true);
    expect(recordsIn(state.edges)).toEqual(held);
  });

  test("with a lane beyond the last is refused", () => {
    const draft = new Edges(10);
    draft.add(0, 1, 1, 1);
    const bytes = encodeDelta(deltaOf(draft));
    new DataView(bytes.buffer).setUint32(bytes.length - 16, EDGES_PER_NODE, true);
    expect(() => decodeDelta(bytes)).toThrow(/lane 128, of 128/);
  });
});

describe("an event", () => {
  const world = makeWorld();
  const [asked] = world.events(1, 1);
  const learned = (event: Partial<LearnEvent>, given: readonly Seed[]) => {
    const example = prepareExample(new Pool(world.corpus), world.corpus, [{ ...asked!, ...event }])!;
    const edges = new Edges(1e9);
    for (const _ of learnEdges(edges, given, example, 1)); // as one piece
    return edges;
  };
  const strength = (edges: Edges, from: number, to: number) =>
    edges.from(from, 1).find((edge) => edge.to === to)?.strength ?? 0;

  test("connects what stood for its question to what was chosen, and that among itself; by grades", () => {
    const chosen = [
      { node: 100, grade: 3 },
      { node: 101, grade: 1 },
    ];
    const near = Array.from({ length: 10 }, (_, i) => ({ node: 10 + i, weight: (10 - i) / 55 }));
    const edges = learned({ chosen }, near);
    expect(strength(edges, 10, 100)).toBeCloseTo((10 / 55) * 1.5, 6);
    expect(strength(edges, 14, 101)).toBeCloseTo((6 / 55) * 0.5, 6);
    expect(edges.from(15, 1)).toEqual([]); // of the nearest, five lead on
    expect(edges.from(100, 1)).toEqual([{ to: 101, strength: 0.25 }]); // nothing leads back to what was only near
    expect(edges.from(101, 1)).toEqual([{ to: 100, strength: 0.75 }]);
    expect([100, 101, 10].map((of) => edges.record(of)!.chosen)).toEqual([1.5, 0.5, 0]);
  });

  test("by example leads back as well, and counts every example", () => {
    const given = Array.from({ length: 12 }, (_, i) => ({ node: 10 + i, weight: 2 ** -i }));
    const edges = learned(
      { chosen: [{ node: 100, grade: 1 }], seeds: given, examples: given.map((s) => s.node) },
      given,
    );
    expect(strength(edges, 10, 100)).toBeCloseTo(1, 6);
    expect(strength(edges, 21, 100)).toBeCloseTo((2 ** -11) ** 0.5, 6);
    expect(strength(edges, 100, 10)).toBeCloseTo(0.45, 6);
    expect(edges.from(100, 1)).toHaveLength(12);
  });
});

test("rows that get new numbers keep their edges, and no edge of an earlier row of a number comes back", () => {
  const edge = fc.tuple(fc.nat(11), fc.nat(11), fc.double({ min: 0.1, max: 3, noNaN: true }));
  const scene = fc.record({
    edges: fc.array(edge, { maxLength: 40 }),
    moved: fc.uniqueArray(fc.nat(11), { maxLength: 12 }),
    gone: fc.uniqueArray(fc.nat(11), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(scene, ({ edges: all, moved, gone }) => {
      const edges = new Edges(50);
      let now = 0;
      for (const [from, to, strength] of all) edges.add(from, to, strength, ++now);
      for (const node of gone) edges.forget(node, ++now);
      now += 5;
      // Numbers that were left are used again, and numbers that never were.
      const free = [...gone, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111];
      const names = new Map(moved.filter((node) => !gone.includes(node)).map((node, i) => [node, free[i]!]));
      const nameOf = (node: number) => names.get(node) ?? node;
      const nodes = Array.from({ length: 12 }, (_, node) => node).filter((node) => !gone.includes(node));
      const before = nodes.map((node) => [nameOf(node), edges.from(node, now)] as const);
      const changes = edges.renamed(names, now);
      for (const old of names.keys()) edges.forget(old, now);
      for (const { node, record } of changes) edges.set(node, record!);
      for (const [node, wanted] of before) {
        const found = new Map(edges.from(node, now).map(({ to, strength }) => [to, strength]));
        expect([...found.keys()].sort()).toEqual(wanted.map(({ to }) => nameOf(to)).sort());
        for (const { to, strength } of wanted) expect(found.get(nameOf(to))).toBeCloseTo(strength, 4);
      }
      for (const old of names.keys()) if (![...names.values()].includes(old)) expect(edges.from(old, now)).toEqual([]);
    }),
    runs(300),
  );
});
