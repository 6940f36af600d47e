/** The learning curve against a list of all that it was told. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Curve, type CurvePoint } from "../../training/curve.js";
import { runs } from "../support/seed.js";

interface Told {
  events: number;
  gain: number;
  serving: number;
  trained: boolean;
}

const told = (count: number, trainings: fc.Arbitrary<boolean>) =>
  fc
    .array(fc.tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.nat(63), trainings), {
      minLength: count,
      maxLength: count,
    })
    .map((all): Told[] => all.map(([gain, serving, trained], i) => ({ events: 3 * i + 1, gain, serving, trained })));

const newCurve = () => new Curve(new Float64Array(Curve.LENGTH));
const tell = (curve: Curve, { events, gain, serving, trained }: Told) => curve.record(events, gain, serving, trained);

/** Each point has to say of its stretch of the list what the list says. */
function checkAgainst(all: readonly Told[], points: readonly CurvePoint[]): void {
  let at = 0;
  for (const { judged, gain, ...point } of points) {
    const stretch = all.slice(at, at + judged);
    at += judged;
    expect(stretch).toHaveLength(judged);
    expect(gain).toBeCloseTo(stretch.reduce((sum, one) => sum + one.gain, 0) / judged, 12);
    const { events, serving } = stretch.at(-1)!;
    expect(point).toEqual({ events, serving, trained: stretch.some(({ trained }) => trained) });
  }
  expect(at).toBe(all.length);
}

const { POINTS, SHORTEST } = Curve;

test("every point is the mean of its stretch, all stretches make up the whole, and there are never too many", () => {
  const trainings = fc.constantFrom(0, 0.02, 0.3, 1);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 3000 }).chain((count) =>
        trainings.chain((share) =>
          told(
            count,
            fc.double({ min: 0, max: 1, noNaN: true }).map((x) => x < share),
          ),
        ),
      ),
      fc.nat(2999),
      (all, half) => {
        const curve = newCurve();
        const look = (count: number) => {
          expect(curve.points.length).toBeLessThanOrEqual(POINTS);
          for (const { judged } of curve.points) expect(judged).toBeLessThanOrEqual(curve.spacing);
          checkAgainst(all.slice(0, count), curve.points);
          // No longer than they have to be: even where trainings cut them short.
          expect(curve.spacing).toBeLessThanOrEqual(Math.max(SHORTEST, (4 * count) / POINTS));
        };
        for (const [i, one] of all.entries()) {
          tell(curve, one);
          if (i === half) look(i + 1);
        }
        look(all.length);
      },
    ),
    runs(30),
  );
});

test("without trainings points are even: all full but the last, and full ones twice as long when there is no room", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }).chain((count) => told(count, fc.constant(false))),
      (all) => {
        const curve = newCurve();
        let spacing = SHORTEST;
        for (const [i, one] of all.entries()) {
          tell(curve, one);
          if (i + 1 > POINTS * spacing) spacing *= 2;
        }
        expect(curve.spacing).toBe(spacing);
        const full = Math.floor((all.length - 1) / spacing);
        const judged = [...new Array<number>(full).fill(spacing), all.length - full * spacing];
        expect(curve.points.map((point) => point.judged)).toEqual(judged);
      },
    ),
    runs(20),
  );
});

test("a training begins a point, with its estimate as one measurement", () => {
  const curve = newCurve();
  for (let i = 1; i <= 5; i++) curve.record(i, 0, 0);
  curve.record(5, 0.3, 2, true);
  curve.record(6, 0.1, 2);
  expect(curve.points).toEqual([
    { events: 5, gain: 0, judged: 5, serving: 0, trained: false },
    { events: 6, gain: expect.closeTo(0.2, 12), judged: 2, serving: 2, trained: true },
  ]);
});

test("a judged event counts by the arm that served it; one that was not among the judged is left out", () => {
  const curve = newCurve();
  const judgement = { arms: [0, 2, 3], all: Float64Array.of(0.5, 0.7, 0.25), disjoint: undefined };
  curve.judge(1, judgement, 3);
  curve.judge(2, judgement, 9);
  curve.judge(3, judgement, 2);
  expect(curve.points).toEqual([
    { events: 3, gain: expect.closeTo(-0.025, 12), judged: 2, serving: 2, trained: false },
  ]);
});
