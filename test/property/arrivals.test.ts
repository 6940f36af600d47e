/** Rows that arrive after feedback moved others: which of them take over a shift, and how far they go. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { Overlay, shiftForward } from "../../model/overlay.js";
import { dot, normalize, score } from "../../model/scoring.js";
import { Arrivals } from "../../training/arrivals.js";
import { LEARNING_DEFAULTS } from "../../training/options.js";
import { applyDelta } from "../../training/state.js";
import { train } from "../../training/train.js";
import { makeWorld, type World } from "../support/corpus.js";
import { apply, learnEvents, lengthOf, newState } from "../support/learning.js";
import { runs } from "../support/seed.js";

/** Under l2 and dot documents here are some units long. */
const scalesOf = (metric: Metric) => ({ score: metric === "cosine" ? 1 : 20, query: 1, document: 1 });

/** Some documents of the first topics moved: `chosen` of them by feedback, `others` by something else. */
function moved({ corpus }: World, seed: number, chosen: number, others: number): Overlay {
  const prng = new Prng(seed);
  const overlay = new Overlay(corpus.dimensions, corpus.metric);
  for (let i = 0; i < chosen + others; i++) {
    const shift = Float32Array.from({ length: corpus.dimensions }, () => 0.1 * prng.gaussian());
    overlay.set(i, shift, i < chosen ? 1 + prng.below(9) : 0);
  }
  overlay.refresh((node) => corpus.vector(node));
  return overlay;
}

/** A new row beside one that is there. */
function beside({ corpus }: World, node: number, prng: Prng): Float32Array {
  const vector = corpus.vector(node).map((x) => x + 0.05 * prng.gaussian());
  if (corpus.metric === "cosine") normalize(vector);
  return vector;
}

const cases = fc.record({
  metric: fc.constantFrom(...METRICS),
  seed: fc.nat(),
  chosen: fc.integer({ min: 0, max: 40 }),
  others: fc.integer({ min: 0, max: 10 }),
  rows: fc.integer({ min: 1, max: 30 }),
  localSteps: fc.integer({ min: 1, max: 8 }),
  propagateUpdates: fc.boolean(),
  negatives: fc.integer({ min: 1, max: 20 }),
});

test("only rows near chosen ones inherit, within the bound, as never chosen, and no more of them than were chosen", () => {
  fc.assert(
    fc.property(cases, ({ metric, seed, chosen, others, rows, ...options }) => {
      const world = makeWorld(metric, 7, 8);
      const overlay = moved(world, seed, chosen, others);
      const all = { ...LEARNING_DEFAULTS, ...options };
      const prng = new Prng(seed);
      const n = world.corpus.vectors.length;
      const given = Array.from({ length: rows }, (_, i) => ({
        node: n + i,
        vector: beside(world, prng.below(n), prng),
      }));
      const changes = () => {
        const arrivals = new Arrivals(overlay, world.corpus, all, scalesOf(metric));
        for (const { node, vector } of given) arrivals.add(node, vector);
        return arrivals.changes();
      };
      const found = changes();
      expect(changes()).toEqual(found); // deterministic
      const arrived = found.filter(({ node }) => node >= n);
      const wanted = given.filter(({ vector }) => {
        const near = [...world.corpus.nearest(vector, 16).nodes];
        return near.some((node) => overlay.choicesOf(node) > 0);
      });
      const room = Math.max(0, chosen - others);
      expect(arrived.map(({ node }) => node)).toEqual(wanted.slice(0, room).map(({ node }) => node));
      for (const { choices, shift } of arrived) {
        expect(choices).toBe(0);
        expect(lengthOf(shift!)).toBeLessThanOrEqual(all.shiftBound * (1 + 1e-6));
      }
      const neighbours = found.filter(({ node }) => node < n);
      if (!options.propagateUpdates) expect(neighbours).toEqual([]);
      for (const { node, choices, shift } of neighbours) {
        expect(choices).toBe(overlay.choicesOf(node));
        expect(choices).toBeGreaterThan(0);
        expect(lengthOf(shift!)).toBeLessThanOrEqual(all.shiftBound * (1 + 1e-6));
      }
    }),
    runs(60),
  );
});

test("the same vector takes over the same, under whatever number and beside whatever comes with it", () => {
  const world = makeWorld("cosine");
  const overlay = moved(world, 5, 60, 0);
  const prng = new Prng(2);
  const vector = beside(world, 3, prng);
  const arrivals = new Arrivals(overlay, world.corpus, LEARNING_DEFAULTS, scalesOf("cosine"));
  arrivals.add(1000, vector);
  for (let i = 0; i < 10; i++) arrivals.add(1001 + i, beside(world, prng.below(60), prng));
  arrivals.add(2000, vector.slice());
  const [first, last] = [arrivals.changes()[0]!, arrivals.changes().at(-1)!];
  expect([first.node, last.node]).toEqual([1000, 2000]);
  expect(last.shift).toEqual(first.shift);
});

test.each(METRICS)("under %s, steps go down the slope of the local loss", (metric) => {
  const world = makeWorld(metric, 7, 8);
  const overlay = moved(world, 3, 30, 0);
  const vector = beside(world, 4, new Prng(1));
  const near = [...world.corpus.nearest(vector, 16).nodes];
  const rowAfter = (localSteps: number) => {
    const options = { ...LEARNING_DEFAULTS, localSteps, shiftRate: 0.01, shiftBound: 2 };
    const arrivals = new Arrivals(overlay, world.corpus, options, scalesOf(metric));
    arrivals.add(1000, vector);
    const row = new Float32Array(vector.length);
    shiftForward(metric, vector, arrivals.changes()[0]!.shift!, row);
    return row;
  };
  /** How much nearer the row is to what its neighbours have become than to the other chosen ones. */
  const margin = (row: Float32Array) => {
    const mean = (nodes: number[]) =>
      nodes.reduce((sum, node) => {
        const slot = overlay.slotOf(node);
        return sum + score(metric, row, slot === undefined ? world.corpus.vector(node) : overlay.row(slot));
      }, 0) / nodes.length;
    return mean(near) - mean([...overlay.nodes].filter((node) => !near.includes(node)));
  };
  expect(margin(rowAfter(40))).toBeGreaterThan(margin(rowAfter(0)));
});

test("a row that inherited counts as never chosen until it is, whatever it is a negative of", () => {
  const world = makeWorld("cosine");
  const state = newState(world);
  const events = world.events(200, 1);
  for (const event of events.slice(0, 100)) applyDelta(state, learnEvents(state, world.corpus, [event]).delta);
  const chosen = new Set(events.flatMap((event) => event.chosen.map(({ node }) => node)));
  const silent = world.corpus.vectors
    .map((_, node) => node)
    .filter((node) => !chosen.has(node) && !state.overlay.has(node));
  expect(silent.length).toBeGreaterThan(20);
  for (const node of silent) state.overlay.set(node, new Float32Array(16).fill(0.05), 0);
  for (const event of events.slice(100)) applyDelta(state, learnEvents(state, world.corpus, [event]).delta);
  expect(silent.map((node) => state.overlay.choicesOf(node))).toEqual(silent.map(() => 0));
  const [node] = silent as [number];
  const event = { ...events[0]!, chosen: [{ node, grade: 1 }] };
  applyDelta(state, learnEvents(state, world.corpus, [event]).delta);
  expect(state.overlay.choicesOf(node)).toBe(1);
});

test("train lets them inherit anew from what it fitted, and forgets those that are far from it", async () => {
  const world = makeWorld("cosine");
  const events = world.events(80, 1);
  const chosen = new Set(events.flatMap((event) => event.chosen.map(({ node }) => node)));
  const silent = world.corpus.vectors
    .map((_, node) => node)
    .filter((node) => !chosen.has(node))
    .slice(0, 30);
  const after = async (localSteps: number) => {
    const state = newState(world, { localSteps });
    for (const node of silent) state.overlay.set(node, new Float32Array(16).fill(0.4), 0);
    apply(state, world, (await train(state, world.corpus, events, { epochs: 2 })).delta);
    return state.overlay;
  };
  const without = await after(0);
  expect(silent.filter((node) => without.has(node))).toEqual([]);
  const overlay = await after(3);
  const kept = silent.filter((node) => overlay.has(node));
  expect(kept.length).toBeGreaterThan(5);
  for (const node of silent) {
    const near = [...world.corpus.nearest(world.corpus.vector(node), 17).nodes].filter((other) => other !== node);
    expect(overlay.has(node)).toBe(near.slice(0, 16).some((other) => overlay.choicesOf(other) > 0));
    if (!overlay.has(node)) continue;
    expect(overlay.choicesOf(node)).toBe(0);
    expect(dot(overlay.shiftOf(node)!, overlay.shiftOf(node)!)).not.toBe(0.4 ** 2 * 16);
  }
});
