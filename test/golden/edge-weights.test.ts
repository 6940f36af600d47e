/** Weights of edges: their formula, and the gradients of alpha, beta and the edges' own logits. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS } from "../../base/types.js";
import {
  apartness,
  edgeBackward,
  edgeWeights,
  MOST_BIAS,
  storableBias,
  structuralScore,
  UNTRAINED_EDGES,
} from "../../model/field.js";
import { createNetwork } from "../../native/gnn.js";
import { cases, sceneOf } from "../support/network.js";
import { runs } from "../support/seed.js";

const step = 1e-5;

test("central differences agree with the gradients of alpha, beta and every logit", () => {
  let checked = 0;
  fc.assert(
    fc.property(cases, (c) => {
      const { shape, input, prng } = sceneOf({ ...c, dropout: 0 }, Float64Array);
      const network = createNetwork(shape);
      const scalars = { alpha: 2 + 4 * prng.next(), beta: prng.gaussian() };
      const edges = input.layers.map(({ index }) => {
        const filled = (value: () => number) => Float64Array.from(index, value);
        return {
          scores: filled(() => 2 * prng.next() - 1),
          alike: filled(() => prng.next()),
          b: filled(() => prng.gaussian()),
        };
      });
      const weights = () =>
        edges.map(({ scores, alike, b }) =>
          edgeWeights(scores, "cosine", 1, { scalars, structural: alike, biases: b }),
        );
      const loss = () => {
        for (const [l, w] of weights().entries()) input.layers[l]!.logWeights.set(w.map(Math.log));
        network.step(input, 1);
        return input.losses.reduce((sum, x) => sum + x, 0);
      };
      loss();
      const found = { alpha: 0, beta: 0 };
      const toBiases = weights().map((w, l) =>
        w.map((weight, i) => {
          const { scores, alike } = edges[l]!;
          const toLog = input.layers[l]!.gradientLogWeights[i]!;
          return edgeBackward(weight, apartness(scores[i]!, "cosine", 1), alike[i]!, toLog, found);
        }),
      );
      const slope = (move: (by: number) => void) => {
        move(step);
        const above = loss();
        move(-2 * step);
        const below = loss();
        move(step);
        return (above - below) / (2 * step);
      };
      const near = (value: number, wanted: number) =>
        expect(Math.abs(value - wanted) / Math.max(1, Math.abs(wanted))).toBeLessThan(1e-6);
      near(
        found.alpha,
        slope((by) => {
          scalars.alpha += by;
        }),
      );
      near(
        found.beta,
        slope((by) => {
          scalars.beta += by;
        }),
      );
      for (const [l, { b }] of edges.entries()) {
        for (let i = 0; i < Math.min(4, b.length); i++) {
          near(
            toBiases[l]![i]!,
            slope((by) => {
              b[i] = b[i]! + by;
            }),
          );
          checked += toBiases[l]![i] === 0 ? 0 : 1;
        }
      }
    }),
    runs(200),
  );
  expect(checked).toBeGreaterThan(20);
});

describe("weights", () => {
  test("are sigmoids of alpha (sim - 1) + beta structural + b + ln(1 + s)", () => {
    const prng = new Prng(5);
    const filled = (value: () => number) => Float64Array.from({ length: 40 }, value);
    for (const metric of METRICS) {
      const scores = filled(() => (metric === "l2" ? -3 * prng.next() : 2 * prng.next() - 1));
      const parts = {
        scalars: { alpha: 5, beta: -1.5 },
        structural: filled(() => prng.next()),
        biases: filled(() => 4 * prng.gaussian()),
        strengths: filled(() => 3 * prng.next()),
      };
      const weights = edgeWeights(scores, metric, 1.7, parts);
      weights.forEach((weight, i) => {
        const sim = metric === "l2" ? 1 + scores[i]! / 1.7 : scores[i]! / 1.7;
        const logit = 5 * (sim - 1) - 1.5 * parts.structural[i]! + parts.biases[i]! + Math.log(1 + parts.strengths[i]!);
        expect(weight).toBeCloseTo(1 / (1 + Math.exp(-logit)), 12);
      });
    }
  });

  test("are those of alpha 8 alone before anything was learned, to the last bit", () => {
    const scores = Float32Array.from({ length: 100 }, (_, i) => i / 50 - 1);
    const plain = scores.map((score) => 1 / (1 + Math.exp(8 * (1 - score))));
    const zeros = new Float32Array(100);
    const parts = { scalars: UNTRAINED_EDGES, structural: scores.map(Math.abs), biases: zeros, strengths: zeros };
    expect(edgeWeights(scores, "cosine", 1)).toEqual(plain);
    expect(edgeWeights(scores, "cosine", 1, parts)).toEqual(plain);
  });
});

test("nodes stand alike where levels and degrees are the same, from 0 to 1 and either way round", () => {
  expect(structuralScore(2, 30, 2, 30)).toBe(1);
  expect(structuralScore(0, 16, 3, 16)).toBe(1 / 4);
  expect(structuralScore(1, 4, 1, 64)).toBe(1 / 4);
  expect(structuralScore(0, 0, 0, 1)).toBe(1); // nothing leads to the first node
  fc.assert(
    fc.property(fc.nat(15), fc.nat(1000), fc.nat(15), fc.nat(1000), (l, d, m, e) => {
      const score = structuralScore(l, d, m, e);
      expect(score).toBe(structuralScore(m, e, l, d));
      expect(score > 0 && score <= 1).toBe(true);
    }),
    runs(200),
  );
});

test("logits are kept within their bound, as multiples that half precision holds", () => {
  expect([9, -9, 0.1, -0.001].map(storableBias)).toEqual([MOST_BIAS, -MOST_BIAS, 26 / 256, 0]);
});
