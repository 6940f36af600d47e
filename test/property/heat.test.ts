/** Heat against the sum it stands for, and the clock against times of day that lie. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { forward, HeatClock, heatOf, MOST_AWAY, REBASE_AFTER, rebase } from "../../model/heat.js";
import { runs } from "../support/seed.js";

describe("forward decay", () => {
  test("is the sum of all accesses, each halved once a half-life, over any number of rebases", () => {
    const gap = fc.oneof(fc.double({ min: 0, max: 2, noNaN: true }), fc.double({ min: 0, max: 200, noNaN: true }));
    fc.assert(
      fc.property(fc.array(gap, { minLength: 1, maxLength: 60 }), (gaps) => {
        const stored = new Float32Array(1);
        let [time, base, exact] = [0, 0, 0];
        for (const gap of gaps) {
          time += gap;
          exact = exact * 2 ** -gap + 1;
          if (time - base > REBASE_AFTER) {
            rebase(stored, time - base);
            base = time;
          }
          stored[0] = stored[0]! + forward(1, time - base);
          expect(heatOf(stored[0]!, time - base) / exact).toBeCloseTo(1, 4);
        }
      }),
      runs(300),
    );
  });

  test("a rebase over a very long time leaves 0, and nothing that is no number", () => {
    const values = new Float32Array([0, 1, 3e38]);
    rebase(values, 5000);
    expect([...values]).toEqual([0, 0, 0]);
  });

  test("heats of millions of accesses fit beside those of one, just before the base moves", () => {
    const [many, one] = new Float32Array([forward(2 ** 40, REBASE_AFTER), forward(1, REBASE_AFTER)]) as unknown as [
      number,
      number,
    ];
    expect(heatOf(many, REBASE_AFTER)).toBe(2 ** 40);
    expect(heatOf(one, REBASE_AFTER)).toBe(1);
  });
});

describe("HeatClock", () => {
  const ms = fc.double({ min: -1e13, max: 1e13, noNaN: true });
  const halfLife = 3_600_000;

  test("while open, time is what the monotonic clock shows, and never runs backwards", () => {
    fc.assert(
      fc.property(ms, fc.array(fc.double({ min: -1e6, max: 1e8, noNaN: true })), (wall, steps) => {
        const clock = new HeatClock(halfLife, wall, 0);
        let [monotonic, passed, before] = [0, 0, 0];
        for (const step of steps) {
          monotonic += step;
          passed += Math.max(0, step);
          const time = clock.observe(monotonic);
          expect(time).toBeGreaterThanOrEqual(before);
          expect(time).toBeCloseTo(passed / halfLife, 6);
          before = time;
        }
      }),
      runs(200),
    );
  });

  test("between two openings the time of day counts, from 0 to MOST_AWAY half-lives", () => {
    fc.assert(
      fc.property(ms, ms, fc.double({ min: 0, max: 1e6, noNaN: true }), (before, after, time) => {
        const clock = new HeatClock(halfLife, after, 17, { time, wall: before });
        const away = Math.min(MOST_AWAY, Math.max(0, (after - before) / halfLife));
        expect(clock.time).toBeCloseTo(time + away, 6);
        expect(clock.saved).toEqual({ time: clock.time, wall: after });
      }),
      runs(200),
    );
  });

  test("a time of day that the caller names is taken at its word, counted once, and never backwards", () => {
    const clock = new HeatClock(1000, 50_000, 0);
    expect(clock.goTo(60_000)).toBe(10);
    expect(clock.goTo(60_000)).toBe(10);
    expect(clock.goTo(0)).toBe(10);
    expect(clock.observe(500)).toBe(10.5);
    expect(clock.goTo(61_000)).toBe(11);
    expect(clock.goTo(1_000_000)).toBe(950);
    expect(() => clock.goTo(Number.NaN)).toThrow(new RangeError("now is NaN; expected milliseconds since 1970"));
  });

  test("advances by what is not measured by a clock", () => {
    const clock = new HeatClock(1000, 0, 0);
    expect(clock.advance(0.25)).toBe(0.25);
    expect(clock.saved).toEqual({ time: 0.25, wall: 0 });
  });
});
