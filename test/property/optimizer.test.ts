/** Optimizers against small cases worked out by hand, and against their definitions as sums in f64. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BETA1, BETA2, EPSILON } from "../../native/gnn.js";
import {
  MOMENTS,
  MOMENTUM,
  MOST_GRADIENT,
  OPTIMIZERS,
  type Optimizer,
  optimizerStep,
  type StepSettings,
} from "../../training/optimizer.js";
import { runs } from "../support/seed.js";

/** All steps of one value with these gradients, from the averages' closed forms: nothing is carried on but the value. */
function reference(start: number, gradients: readonly number[], settings: StepSettings): number[] {
  const { optimizer, rate, weightDecay } = settings;
  const seen: number[] = [];
  const path: number[] = [];
  let p = start;
  for (const [i, gradient] of gradients.entries()) {
    seen.push(optimizer === "adamw" ? gradient : gradient + weightDecay * p);
    const average = (beta: number, power: number) => {
      const weights = seen.map((_, j) => beta ** (i - j));
      const total = weights.reduce((a, b) => a + b, 0); // the correction of the bias is a division by this
      return seen.reduce((sum, g, j) => sum + weights[j] * g ** power, 0) / total;
    };
    if (optimizer === "sgd") p -= rate * seen.reduce((sum, g, j) => sum + MOMENTUM ** (i - j) * g, 0);
    else {
      const decay = optimizer === "adamw" ? rate * weightDecay * p : 0;
      p -= decay + (rate * average(BETA1, 1)) / (Math.sqrt(average(BETA2, 2)) + EPSILON);
    }
    path.push(p);
  }
  return path;
}

const setting = fc.record({
  optimizer: fc.constantFrom<Optimizer>(...OPTIMIZERS),
  rate: fc.double({ min: 1e-4, max: 1, noNaN: true }),
  weightDecay: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
});
const value = fc.double({ min: -10, max: 10, noNaN: true }).map((x) => Math.round(x * 1e4) / 1e4);
const steps = fc.integer({ min: 1, max: 5 }).chain((d) =>
  fc.record({
    start: fc.array(value, { minLength: d, maxLength: d }),
    gradients: fc.array(fc.array(value, { minLength: d, maxLength: d }), { minLength: 1, maxLength: 30 }),
  }),
);

describe("against the definition, in f64", () => {
  test("arrays of f32", () => {
    const tolerance = 3e-4;
    fc.assert(
      fc.property(setting, steps, (settings, { start, gradients }) => {
        const d = start.length;
        const parameters = Float32Array.from(start);
        const moments = new Float32Array(MOMENTS[settings.optimizer] * d);
        const expected = start.map((p, x) =>
          reference(
            Float32Array.of(p)[0],
            gradients.map((g) => Float32Array.of(g[x])[0]),
            settings,
          ),
        );
        for (const [i, gradient] of gradients.entries()) {
          optimizerStep(parameters, Float32Array.from(gradient), moments, i + 1, settings);
          for (let x = 0; x < d; x++) {
            const wanted = expected[x][i];
            expect(Math.abs(parameters[x] - wanted)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(wanted)));
          }
        }
      }),
      runs(300),
    );
  });
});

describe("by hand", () => {
  /** One step from `p`; the first one unless said. */
  const stepped = (optimizer: Optimizer, p: number, g: number, rate: number, weightDecay = 0): number => {
    const parameters = Float32Array.of(p);
    const moments = new Float32Array(MOMENTS[optimizer]);
    optimizerStep(parameters, Float32Array.of(g), moments, 1, { optimizer, rate, weightDecay });
    return parameters[0];
  };
  test("the first step of Adam is the rate, whatever the gradient's length", () => {
    for (const g of [1e-3, 1, 1e6]) {
      expect(stepped("adam", 1, g, 0.1)).toBeCloseTo(0.9, 4);
      expect(stepped("adam", 1, -g, 0.1)).toBeCloseTo(1.1, 4);
    }
  });
  test("AdamW decays beside the step, Adam within the gradient", () => {
    expect(stepped("adamw", 2, 0, 0.1, 0.5)).toBeCloseTo(2 * (1 - 0.1 * 0.5), 6);
    expect(stepped("adam", 2, 0, 0.1, 0.5)).toBeCloseTo(1.9, 6); // the gradient is the decay alone, and its length does not count
  });
  test("two steps of Adam", () => {
    const [p, moments] = [Float32Array.of(0), new Float32Array(2)];
    const settings = { optimizer: "adam", rate: 1, weightDecay: 0 } as const;
    optimizerStep(p, Float32Array.of(1), moments, 1, settings);
    optimizerStep(p, Float32Array.of(3), moments, 2, settings);
    expect(moments[0]).toBeCloseTo(0.09 + 0.3, 6);
    expect(moments[1]).toBeCloseTo(0.000999 + 0.009, 8);
    expect(p[0]).toBeCloseTo(-1 - 0.39 / 0.19 / Math.sqrt(0.009999 / 0.001999), 4);
  });
  test("momentum adds up to ten times the gradient", () => {
    const [p, b] = [Float32Array.of(0), Float32Array.of(0)];
    const settings = { optimizer: "sgd", weightDecay: 0 } as const;
    for (let i = 1; i <= 400; i++) optimizerStep(p, Float32Array.of(1), b, i, { ...settings, rate: 0 });
    expect(b[0]).toBeCloseTo(10, 5);
    optimizerStep(p, Float32Array.of(1), b, 401, { ...settings, rate: 0.1 });
    expect(p[0]).toBeCloseTo(-1, 5);
  });
  test("decay of SGD", () => {
    expect(stepped("sgd", 4, 1, 0.5, 0.25)).toBe(4 - 0.5 * (1 + 0.25 * 4));
  });
  test("each of them finds the least of a bowl", () => {
    for (const optimizer of OPTIMIZERS) {
      const p = Float32Array.of(1, -0.5, 0.25);
      const target = [0.2, 0.1, -0.3];
      const moments = new Float32Array(MOMENTS[optimizer] * 3);
      for (let step = 1; step <= 3000; step++) {
        const gradient = p.map((x, i) => (i + 1) * (x - target[i]));
        optimizerStep(p, gradient, moments, step, { optimizer, rate: 0.01, weightDecay: 0 });
      }
      for (const [i, x] of p.entries()) expect(Math.abs(x - target[i])).toBeLessThan(0.01);
    }
  });
});

test("no gradient within bounds makes anything infinite", () => {
  fc.assert(
    fc.property(
      setting,
      fc.array(fc.constantFrom(0, 1e-38, 1e15, MOST_GRADIENT, -MOST_GRADIENT), { maxLength: 40 }),
      (settings, all) => {
        const p = Float32Array.of(0);
        const moments = new Float32Array(MOMENTS[settings.optimizer]);
        for (const [i, g] of all.entries()) {
          optimizerStep(p, Float32Array.of(g), moments, i + 1, settings);
          expect([...p, ...moments].every(Number.isFinite)).toBe(true);
        }
      },
    ),
    runs(200),
  );
});
