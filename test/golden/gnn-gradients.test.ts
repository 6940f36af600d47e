/** The network's hand-written gradients against central differences, and against the scalar reference, in f64. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { referenceStep } from "../../model/gnn/step.js";
import type { Floats } from "../../model/scoring.js";
import { createNetwork } from "../../native/gnn.js";
import { infoNce } from "../../training/infonce.js";
import { type Case, cases, distance, outputs, sceneOf, twin } from "../support/network.js";
import { runs } from "../support/seed.js";

const STEP = 2e-5;
const TOLERANCE = 1e-6;

const norm = (x: Floats) => Math.hypot(...x);

/**
 * How far <gradient, v> is from the slope of the loss along v, relative to |gradient|, or to a thousandth of the loss
 * where that is more: beneath it differences are rounding. Central differences of fourth order.
 */
function error(loss: () => number, x: Floats, gradient: Floats, v: Floats): number {
  const held = x.slice();
  const at = (steps: number) => {
    for (let i = 0; i < x.length; i++) x[i] = held[i]! + steps * STEP * v[i]!;
    return loss();
  };
  const slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP);
  x.set(held);
  let along = 0;
  for (let i = 0; i < x.length; i++) along += gradient[i]! * v[i]!;
  return Math.abs(slope - along) / Math.max(1e-3 * Math.max(1, Math.abs(loss())), norm(gradient));
}

/** Whether a change is so near to its bound that a difference would step over the kink. */
function nearKink(
  c: Case,
  shape: Parameters<typeof createNetwork>[0],
  scene: ReturnType<typeof sceneOf<Float64Array>>,
) {
  if (c.bound === Number.POSITIVE_INFINITY || c.gate === 0) return false;
  // One value of bound a little lower and one a little higher: far from the kink the loss is smooth in it.
  const losses = [-1, 0, 1].map((side) => {
    const network = createNetwork({ ...shape, bound: c.bound * (1 + side * 1e-3) });
    const input = twin(scene.input);
    network.step(input, 1);
    return [...input.losses].reduce((a, b) => a + b, 0);
  });
  const [low, middle, high] = losses as [number, number, number];
  const up = high - middle;
  const down = middle - low;
  return Math.abs(up - down) > 0.05 * Math.max(Math.abs(up), Math.abs(down), 1e-9);
}

describe("gradients equal central differences in f64", () => {
  test("of every block of parameters, every edge weight and every anchor, over random shapes", () => {
    let checked = 0;
    let skipped = 0;
    fc.assert(
      fc.property(cases, (c) => {
        const scene = sceneOf(c, Float64Array);
        const { shape, input, layout, prng } = scene;
        if (nearKink(c, shape, scene)) {
          skipped++;
          return;
        }
        const network = createNetwork(shape);
        expect(network.step(input, 1)).toBe(0);
        const trial = { ...twin(input) };
        const loss = () => {
          network.step(trial, 1);
          let sum = 0;
          for (const of of trial.losses) sum += of;
          return sum;
        };
        const compare = (of: string, x: Floats, gradient: Floats) => {
          if (x.length === 0) return;
          // Along one axis, and along a random direction that no part of the gradient can hide from.
          const axis = new Float64Array(x.length);
          axis[prng.below(x.length)] = 1;
          const random = Float64Array.from(x, () => prng.gaussian());
          const length = norm(random);
          for (const v of [axis, random.map((value) => value / length)]) {
            expect(error(loss, x, gradient, v), `${of} of ${JSON.stringify(c)}`).toBeLessThan(TOLERANCE);
          }
        };
        compare("x", trial.x, input.gradientX!);
        trial.layers.forEach((layer, l) => {
          const { gradient, gradientLogWeights } = input.layers[l]!;
          compare(`layer ${l}: logWeights`, layer.logWeights, gradientLogWeights);
          for (const [name, { offset, rows, columns }] of Object.entries(layout)) {
            const end = offset + rows * columns;
            compare(`layer ${l}: ${name}`, layer.parameters.subarray(offset, end), gradient.subarray(offset, end));
          }
        });
        checked++;
      }),
      runs(1200),
    );
    expect(checked, `${skipped} were too near a kink`).toBeGreaterThanOrEqual(1000);
  });
});

describe("the kernel equals the scalar reference", () => {
  test("in f64, within 1e-12 of the largest value of each result", () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { shape, input } = sceneOf(c, Float64Array);
        const network = createNetwork(shape);
        const reference = twin(input);
        expect(network.step(input, 1)).toBe(referenceStep(shape, reference, infoNce));
        const expected = outputs(reference);
        outputs(input).forEach(([name, values], i) => {
          const wanted = expected[i]![1];
          expect(distance(values, wanted), `${name} of ${JSON.stringify(c)}`).toBeLessThan(1e-12);
        });
      }),
      runs(500),
    );
  });
});
