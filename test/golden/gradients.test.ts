/** Hand-written gradients against central differences in f64, over random shapes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { type Adapter, adapterForward, project } from "../../model/adapter.js";
import { shiftForward } from "../../model/overlay.js";
import { type Floats, normalize } from "../../model/scoring.js";
import { infoNce } from "../../training/infonce.js";
import { adapterLoss, candidateLoss, type LossSettings, shiftGradient, Workspace } from "../../training/objective.js";
import { runs } from "../support/seed.js";

const STEP = 1e-4;
const TOLERANCE = 1e-6;

/** dL/dx_i by central differences of fourth order, whose error is far below the tolerance in f64. */
function numeric(x: Floats, i: number, loss: () => number): number {
  const held = x[i]!;
  const at = (steps: number) => {
    x[i] = held + steps * STEP;
    return loss();
  };
  const slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP);
  x[i] = held;
  loss();
  return slope;
}

/** Relative to the largest component: single components may vanish. */
function expectSame(analytic: Floats, x: Floats, loss: () => number): void {
  const expected = Float64Array.from(x, (_, i) => numeric(x, i, loss));
  const scale = Math.max(1e-3, ...expected.map(Math.abs));
  for (let i = 0; i < x.length; i++) expect(Math.abs(analytic[i]! - expected[i]!) / scale).toBeLessThan(TOLERANCE);
}

interface Shape {
  metric: Metric;
  decoupled: boolean;
  d: number;
  rank: number;
  positives: number;
  negatives: number;
  temperature: number;
  seed: number;
}

const shapes = fc.record<Shape>({
  metric: fc.constantFrom(...METRICS),
  decoupled: fc.boolean(),
  d: fc.integer({ min: 2, max: 12 }),
  rank: fc.integer({ min: 1, max: 6 }),
  positives: fc.integer({ min: 0, max: 4 }),
  negatives: fc.integer({ min: 0, max: 9 }),
  temperature: fc.double({ min: 0.3, max: 2, noNaN: true }),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

/** Random vectors of a shape; under cosine, queries and rows are unit vectors as in the store. */
function scene({ metric, decoupled, d, rank, positives, negatives, temperature, seed }: Shape) {
  const prng = new Prng(seed);
  const gaussian = (n: number, size = 1) => Float64Array.from({ length: n }, () => size * prng.gaussian());
  const vector = () => {
    const v = gaussian(d);
    if (metric === "cosine") normalize(v);
    return v;
  };
  const adapter: Adapter = { dimensions: d, rank, basis: gaussian(rank * d, 0.5), output: gaussian(rank * d, 0.3) };
  const count = positives + negatives;
  const rows = Array.from({ length: count }, vector);
  const weights = Float64Array.from({ length: positives }, () => 0.1 + prng.next());
  const sum = weights.reduce((a, b) => a + b, 0);
  for (let p = 0; p < positives; p++) weights[p] = weights[p]! / sum;
  const loss: LossSettings = { metric, divisor: temperature, decoupled, negligible: 0 };
  const candidates = { rows, places: Int32Array.from(rows, (_, j) => j), count, weights };
  const ws = new Workspace(d, Math.max(1, count), Float64Array);
  return { adapter, query: vector(), loss, candidates, ws, gaussian };
}

describe("gradients equal central differences", () => {
  test("InfoNCE with respect to its logits, which sum to zero", () => {
    fc.assert(
      fc.property(shapes, ({ positives, negatives, decoupled, seed }) => {
        const prng = new Prng(seed);
        const count = positives + negatives;
        const logits = Float64Array.from({ length: count }, () => 4 * prng.gaussian());
        const weights = new Float64Array(positives).fill(1 / Math.max(1, positives));
        const gradient = new Float64Array(count);
        const scratch = new Float64Array(count);
        infoNce(logits, weights, positives, count, gradient, decoupled);
        expectSame(gradient, logits, () => infoNce(logits, weights, positives, count, scratch, decoupled));
        expect(Math.abs(gradient.reduce((a, b) => a + b, 0))).toBeLessThan(1e-12);
      }),
      runs(1000),
    );
  });

  test("the adapter's loss with respect to U and to the query", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { adapter, query, loss, candidates, ws } = scene(shape);
        const h = new Float64Array(adapter.rank);
        const forward = () => {
          project(adapter, query, h);
          adapterForward(adapter, loss.metric, query, h, ws.adapted);
          return candidateLoss(ws, loss, ws.adapted, candidates);
        };
        const gOutput = new Float64Array(adapter.output.length);
        const gQuery = new Float64Array(query.length);
        project(adapter, query, h);
        adapterLoss(ws, loss, adapter, query, h, candidates, gOutput, gQuery);
        expectSame(gOutput, adapter.output, forward);
        expectSame(gQuery, query, forward);
      }),
      runs(1000),
    );
  });

  test("the loss with respect to one document's shift", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { query, loss, candidates, ws, gaussian } = scene(shape);
        if (candidates.count === 0) return;
        const moved = shape.seed % candidates.count;
        const vector = candidates.rows[moved]!.slice();
        const shift = gaussian(shape.d, 0.2);
        const row = candidates.rows[moved]!;
        const forward = () => {
          shiftForward(loss.metric, vector, shift, row);
          return candidateLoss(ws, loss, query, candidates);
        };
        const length = shiftForward(loss.metric, vector, shift, row);
        candidateLoss(ws, loss, query, candidates);
        const g = shiftGradient(ws, loss, query, row, length, ws.dLogits[moved]!).slice();
        expectSame(g, shift, forward);
      }),
      runs(1000),
    );
  });
});

describe("InfoNCE", () => {
  const gradient = new Float64Array(4);

  test("is -log of the positive's share against the negatives, in the mean over positives", () => {
    const logits = Float64Array.of(1, 2, 0.5, -1);
    const against = Math.exp(0.5) + Math.exp(-1);
    const expected = [1, 2].reduce((sum, s) => sum - Math.log(Math.exp(s) / (Math.exp(s) + against)) / 2, 0);
    expect(infoNce(logits, Float64Array.of(0.5, 0.5), 2, 4, gradient)).toBeCloseTo(expected, 12);
  });

  test("a solved positive stops pulling, the decoupled form goes on", () => {
    const logits = Float64Array.of(60, 0, 0, 0);
    expect(infoNce(logits, Float64Array.of(1), 1, 4, gradient)).toBeCloseTo(0, 12);
    expect(gradient[0]).toBeCloseTo(0, 12);
    expect(infoNce(logits, Float64Array.of(1), 1, 4, gradient, true)).toBeLessThan(-50);
    expect(gradient[0]).toBe(-1);
  });

  test("logits of any size do not overflow", () => {
    expect(infoNce(Float64Array.of(-5000, 5000, 4000, 0), Float64Array.of(1), 1, 4, gradient)).toBeCloseTo(10000, 6);
    expect([...gradient].every(Number.isFinite)).toBe(true);
  });

  test("with nothing to tell apart there is no loss and no gradient", () => {
    expect(infoNce(Float64Array.of(1, 2, 3, 4), new Float64Array(4).fill(0.25), 4, 4, gradient)).toBe(0);
    expect(infoNce(Float64Array.of(1, 2, 3, 4), new Float64Array(0), 0, 4, gradient)).toBe(0);
    expect([...gradient]).toEqual([0, 0, 0, 0]);
  });
});
