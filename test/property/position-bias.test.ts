/** The estimate of the position bias: on displays made with a known one, and against the regression over all of them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { solvePositiveDefinite } from "../../model/solve.js";
import { type Displayed, PositionBias } from "../../training/position-bias.js";
import { runs } from "../support/seed.js";

const WINDOW = 2048;
const newEstimate = () => new PositionBias(new Float64Array(PositionBias.LENGTH));

/**
 * Displays sorted by score whose documents are relevant by their score, looked at with probability r^-eta and chosen
 * where both hold; those without a choice teach nothing, and are left out as `learn` never gets them.
 */
function displays(count: number, eta: number, slope: number, prng: Prng): Displayed[][] {
  const made: Displayed[][] = [];
  while (made.length < count) {
    const length = 5 + prng.below(8);
    const scores = Array.from({ length }, () => prng.gaussian()).sort((a, b) => b - a);
    const display = scores.map((score, i) => ({
      place: i + 1,
      score,
      chosen: prng.next() < (i + 1) ** -eta && prng.next() < 0.25 * Math.exp(slope * Math.min(1, score)),
    }));
    if (display.some(({ chosen }) => chosen)) made.push(display);
  }
  return made;
}

/** The same regression over all displays at once, by Newton's method to its end; nothing forgotten, no prior to speak of. */
function regressed(all: readonly Displayed[][]): number {
  const rows = all.flatMap((display) => {
    const mean = display.reduce((sum, { score }) => sum + score, 0) / display.length;
    return display.map(({ place, score, chosen }) => ({
      x: [1, Math.log(place), score - mean],
      y: chosen ? 1 : 0,
    }));
  });
  const parameters = [-1, 0, 0];
  for (let iteration = 0; iteration < 50; iteration++) {
    const gradient = new Float64Array(3);
    const hessian = new Float64Array(9);
    for (const { x, y } of rows) {
      const rate = Math.exp(x.reduce((sum, value, i) => sum + value * parameters[i], 0));
      for (let i = 0; i < 3; i++) {
        gradient[i] += (y - rate) * x[i];
        for (let j = 0; j < 3; j++) hessian[3 * i + j] += rate * x[i] * x[j];
      }
    }
    solvePositiveDefinite(hessian, gradient, 3, 1);
    for (let i = 0; i < 3; i++) parameters[i] += gradient[i];
  }
  return -parameters[1];
}

test("what relevance by score explains is not taken for attention, and the rest is eta", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0, 0.5, 1, 2),
      fc.constantFrom(0, 0.5, 1),
      fc.integer({ min: 1, max: 2 ** 31 }),
      (eta, slope, seed) => {
        const estimate = newEstimate();
        const all = displays(1500, eta, slope, new Prng(seed));
        for (const display of all) estimate.add(display, WINDOW);
        expect(Math.abs(estimate.eta - eta)).toBeLessThan(0.4 + 0.1 * eta);
        expect(Math.abs(estimate.eta - Math.max(0, regressed(all)))).toBeLessThan(0.25 + 0.1 * eta); // the prior's part
        // Of the place alone it would be taken for more: the harm that the score is there to prevent.
        const blind = newEstimate();
        for (const display of all)
          blind.add(
            display.map((one) => ({ ...one, score: 0 })),
            WINDOW,
          );
        if (slope === 1 && eta <= 1) expect(blind.eta).toBeGreaterThan(estimate.eta + 0.15);
      },
    ),
    runs(20),
  );
});

test("few events on little difference of scores give no slope that none has", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const estimate = newEstimate();
    for (const display of displays(300, 1, 0, new Prng(seed))) estimate.add(display, WINDOW);
    expect(Math.abs(estimate.expected(1) / estimate.expected(0) - 1)).toBeLessThan(0.35);
    expect(Math.abs(estimate.eta - 1)).toBeLessThan(0.5);
  }
});

test("starts at 0 and stays below the truth while there is little to go by", () => {
  const estimate = newEstimate();
  expect(estimate.eta).toBe(0);
  for (const display of displays(10, 1, 0.5, new Prng(3))) estimate.add(display, WINDOW);
  expect(estimate.eta).toBeLessThan(0.8);
});

test("a display of one, or of none, says nothing of places; any numbers leave an eta", () => {
  const estimate = newEstimate();
  estimate.add([], WINDOW);
  estimate.add([{ place: 3, score: 1, chosen: true }], WINDOW);
  expect(estimate.eta).toBe(0);
  const shown = fc.record({
    place: fc.integer({ min: 1, max: 64 }),
    score: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
    chosen: fc.boolean(),
  });
  const display = fc.array(shown, { maxLength: 12 });
  fc.assert(
    fc.property(fc.array(display, { maxLength: 30 }), fc.constantFrom(1, 2, WINDOW), (all, window) => {
      const own = newEstimate();
      for (const one of all) own.add(one, window);
      expect(own.eta).toBeGreaterThanOrEqual(0);
      expect(Number.isFinite(own.eta)).toBe(true);
    }),
    runs(200),
  );
});

test("follows what changes within its window", () => {
  const prng = new Prng(5);
  const estimate = newEstimate();
  for (const display of displays(600, 1.5, 0.5, prng)) estimate.add(display, 200);
  expect(estimate.eta).toBeGreaterThan(1.1);
  for (const display of displays(1000, 0, 0.5, prng)) estimate.add(display, 200);
  expect(estimate.eta).toBeLessThan(0.4);
});
