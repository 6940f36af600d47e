/** What the network promises beyond its gradients: identity at the start, serving as in training, the same bits always. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { initialParameters, layoutOf, parameterCount } from "../../model/gnn/parameters.js";
import {
  adam,
  createNetwork,
  halvesOf,
  MASKED,
  type NetworkShape,
  stateWidth,
  type TrainingInput,
} from "../../native/gnn.js";
import { type Case, cases, distance, outputs, sceneOf, twin } from "../support/network.js";
import { runs } from "../support/seed.js";

const bits = (values: Float32Array | Float64Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
const allBits = (input: TrainingInput<Float32Array>) => Buffer.concat(outputs(input).map(([, values]) => bits(values)));

/** The number that an IEEE half stands for. */
function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** All layers of a step as serving computes them. */
function serve(shape: NetworkShape, { x, layers }: TrainingInput<Float32Array>): Float32Array {
  const network = createNetwork(shape);
  const heads = shape.propagation === "linear" ? 1 : shape.heads;
  const y = x.slice();
  for (const { parameters, pool, index, logWeights } of layers) {
    const states = new Float32Array((pool.length / shape.dimensions) * stateWidth(shape));
    network.keysAndValues(parameters, pool, states);
    network.attend(parameters, y, states, index, logWeights, y, new Float32Array(index.length * heads));
  }
  return y;
}

const wide = (c: Case): Case => ({ ...c, d: 5 * c.d + 1, each: 3 * c.each, anchors: 2 * c.anchors + 1 });

describe("identity, bit for bit", () => {
  test("with the gate at 0, whatever else the parameters are", () => {
    fc.assert(
      fc.property(cases, (c) => {
        const { shape, input } = sceneOf({ ...c, gate: 0 }, Float32Array);
        expect(bits(serve(shape, input)).equals(bits(input.x))).toBe(true);
      }),
      runs(200),
    );
  });

  test("without neighbours: no place, all masked, or weights of 0", () => {
    fc.assert(
      fc.property(cases, fc.boolean(), (c, weightless) => {
        const { shape, input } = sceneOf({ ...c, gate: 1, masked: weightless ? 0 : 1 }, Float32Array);
        for (const layer of input.layers) if (weightless) layer.logWeights.fill(Number.NEGATIVE_INFINITY);
        expect(bits(serve(shape, input)).equals(bits(input.x))).toBe(true);
        createNetwork(shape).step(input);
        for (const { gradient, gradientLogWeights } of input.layers)
          expect(Math.max(0, ...gradient.map(Math.abs), ...gradientLogWeights.map(Math.abs))).toBe(0);
      }),
      runs(200),
    );
  });

  test("a fresh layer changes nothing, and its gate learns", () => {
    const c: Case = {
      ...{ propagation: "attention", metric: "cosine", d: 16, each: 4, heads: 2, layers: 2, anchors: 3, places: 4 },
      ...{ masked: 0, positives: 1, negatives: 4, bound: 1, dropout: 0, decoupled: false, gate: 1, seed: 5 },
    };
    const { shape, input } = sceneOf(c, Float32Array);
    for (const layer of input.layers) layer.parameters.set(initialParameters(shape, new Prng(1)));
    expect(bits(serve(shape, input)).equals(bits(input.x))).toBe(true);
    createNetwork(shape).step(input);
    for (const { gradient } of input.layers) {
      expect(Math.abs(gradient.at(-1)!)).toBeGreaterThan(1e-4);
      expect(Math.max(...gradient.subarray(0, -1).map(Math.abs))).toBe(0);
    }
  });
});

describe("the same bits", () => {
  test("serving from kept keys and values is training's forward pass without dropout", () => {
    fc.assert(
      fc.property(cases, (shaped) => {
        const c = wide({ ...shaped, dropout: 0, negatives: shaped.negatives + 1, positives: shaped.positives + 1 });
        const { shape, input } = sceneOf(c, Float32Array);
        const network = createNetwork(shape);
        network.step(input);
        const served = { ...twin(input), x: serve(shape, input), layers: [] };
        network.step(served);
        expect(bits(served.losses).equals(bits(input.losses))).toBe(true);
      }),
      runs(300),
    );
  });

  test("one anchor alone or among others", () => {
    fc.assert(
      fc.property(cases, (shaped) => {
        const c = wide(shaped);
        const { shape, input } = sceneOf(c, Float32Array);
        const together = serve(shape, input);
        for (let b = 0; b < c.anchors; b++) {
          const own = (values: Uint32Array) => values.slice(b * c.places, (b + 1) * c.places);
          const alone = {
            ...input,
            x: input.x.slice(b * c.d, (b + 1) * c.d),
            layers: input.layers.map((layer) => ({
              ...layer,
              index: own(layer.index),
              logWeights: layer.logWeights.slice(b * c.places, (b + 1) * c.places),
            })),
          };
          expect(bits(serve(shape, alone)).equals(bits(together.subarray(b * c.d, (b + 1) * c.d)))).toBe(true);
        }
      }),
      runs(100),
    );
  });

  test("parameters in half precision or widened from it", () => {
    fc.assert(
      fc.property(cases, (shaped) => {
        const c = wide(shaped);
        const { shape, input, prng } = sceneOf(c, Float32Array);
        const network = createNetwork(shape);
        const heads = c.propagation === "linear" ? 1 : c.heads;
        for (const { parameters, pool, index, logWeights } of input.layers) {
          for (let i = 0; i < parameters.length; i += 7) parameters[i] = parameters[i]! * 2 ** -prng.below(24);
          const halves = halvesOf(parameters);
          const widened = Float32Array.from(halves, halfToNumber);
          const results = [halves, widened].map((own) => {
            const states = new Float32Array((pool.length / c.d) * stateWidth(shape));
            const [y, attention] = [new Float32Array(input.x.length), new Float32Array(index.length * heads)];
            network.keysAndValues(own, pool, states);
            network.attend(own, input.x, states, index, logWeights, y, attention);
            return Buffer.concat([bits(states), bits(y), bits(attention)]);
          });
          expect(results[0]!.equals(results[1]!)).toBe(true);
          expect(Math.max(0, ...widened.map((value, i) => Math.abs(value - parameters[i]!)))).toBeLessThan(1e-3);
        }
      }),
      runs(100),
    );
  });

  test("any number of threads, here or in the background", async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 2, max: 5 }), async (shaped, threads) => {
        // Large enough for products to be cut into pieces.
        const sizes = { d: 40 + shaped.d, each: 8 * shaped.each, anchors: 30 + shaped.anchors };
        const c = { ...shaped, ...sizes, layers: Math.min(2, shaped.layers) };
        const { shape, input } = sceneOf(c, Float32Array);
        const network = createNetwork(shape);
        network.step(input, 1);
        const [shared, background] = [twin(input), twin(input)];
        const done = network.stepAsync(background, threads);
        network.step(shared, threads);
        expect(await done).toBe(0);
        expect(allBits(shared).equals(allBits(input))).toBe(true);
        expect(allBits(background).equals(allBits(input))).toBe(true);
      }),
      runs(60),
    );
  });
});

describe("an anchor that is not finite", () => {
  const spoil: Record<string, (c: Case, input: TrainingInput<Float32Array>) => void> = {
    "by its own vector": (_, input) => input.x.fill(Number.NaN, 0, 1),
    "by a candidate": (c, input) => {
      input.rows.set(new Float32Array(c.d).fill(Number.POSITIVE_INFINITY));
      input.candidates.fill(1, c.positives + c.negatives);
      input.candidates.fill(0, 0, c.positives + c.negatives);
    },
    "by a neighbour": (c, input) => {
      const layer = input.layers[0]!;
      layer.pool = new Float32Array(2 * c.d).fill(0.5).fill(Number.NaN, 0, c.d);
      layer.index.fill(1).fill(0, 0, c.places);
    },
    "by an edge": (_, input) => input.layers[1]!.logWeights.fill(Number.NaN, 0, 1),
  };
  for (const [how, by] of Object.entries(spoil)) {
    test(`adds nothing and is counted: ${how}`, () => {
      for (const propagation of ["attention", "linear"] as const) {
        for (const gate of [1, 0]) {
          const c: Case = {
            ...{ propagation, metric: "l2", d: 7, each: 3, heads: 2, layers: 2, anchors: 4, places: 3, masked: 0 },
            ...{ positives: 1, negatives: 3, bound: 0.5, dropout: 0, decoupled: false, gate, seed: 11 },
          };
          const { shape, input } = sceneOf(c, Float32Array);
          input.candidates.fill(0);
          input.candidates.forEach((_, i) => {
            input.candidates[i] = i % (input.rows.length / c.d);
          });
          by(c, input);
          const network = createNetwork(shape);
          // Without the first anchor.
          const rest = twin(input);
          const drop = <F extends Float32Array | Uint32Array>(values: F, n: number) => values.subarray(n) as F;
          Object.assign(rest, {
            x: drop(rest.x, c.d),
            candidates: drop(rest.candidates, 4),
            positives: drop(rest.positives, 1),
            weights: drop(rest.weights, 4),
            losses: drop(rest.losses, 1),
            gradientX: drop(rest.gradientX!, c.d),
            layers: rest.layers.map((layer) => ({
              ...layer,
              index: drop(layer.index, c.places),
              logWeights: drop(layer.logWeights, c.places),
              gradientLogWeights: drop(layer.gradientLogWeights, c.places),
            })),
          });
          expect(network.step(input)).toBe(1);
          expect(network.step(rest)).toBe(0);
          expect(Math.max(...input.gradientX!.subarray(0, c.d).map(Math.abs))).toBe(0);
          expect(distance(input.gradientX!.subarray(c.d), rest.gradientX!)).toBe(0);
          input.layers.forEach((layer, l) => {
            expect(distance(layer.gradient, rest.layers[l]!.gradient)).toBe(0);
            expect(distance(layer.gradientLogWeights.subarray(c.places), rest.layers[l]!.gradientLogWeights)).toBe(0);
          });
        }
      }
    });
  }
});

describe("attention", () => {
  test("sums to 1 over the places that count and is 0 elsewhere; linear propagation's is the weights' share", () => {
    fc.assert(
      fc.property(cases, (shaped) => {
        const c = { ...shaped, layers: 1, places: shaped.places + 1 };
        const { shape, input } = sceneOf(c, Float32Array);
        const { parameters, pool, index, logWeights } = input.layers[0]!;
        const network = createNetwork(shape);
        const states = new Float32Array((pool.length / c.d) * stateWidth(shape));
        network.keysAndValues(parameters, pool, states);
        const heads = c.propagation === "linear" ? 1 : c.heads;
        const attention = new Float32Array(index.length * heads);
        network.attend(parameters, input.x, states, index, logWeights, new Float32Array(input.x.length), attention);
        for (let b = 0; b < c.anchors; b++) {
          const there = Array.from({ length: c.places }, (_, n) => b * c.places + n).filter((i) => index[i] !== MASKED);
          const weight = there.reduce((sum, i) => sum + Math.exp(logWeights[i]!), 0);
          for (let h = 0; h < heads; h++) {
            const at = (i: number) => attention[(b * heads + h) * c.places + (i - b * c.places)]!;
            const row = attention.subarray((b * heads + h) * c.places, (b * heads + h + 1) * c.places);
            expect(row.filter((a) => a !== 0).length).toBeLessThanOrEqual(there.length);
            if (there.length > 0) expect(row.reduce((sum, a) => sum + a, 0)).toBeCloseTo(1, 5);
            if (c.propagation === "linear")
              for (const i of there) expect(at(i)).toBeCloseTo(Math.exp(logWeights[i]!) / weight, 5);
          }
        }
      }),
      runs(200),
    );
  });
});

describe("layout", () => {
  test("is the kernel's, without gaps", () => {
    for (const propagation of ["attention", "linear"] as const) {
      const shape: NetworkShape = { dimensions: 6, hidden: 8, heads: 2, propagation, metric: "dot", bound: 1 };
      expect(createNetwork(shape).parameterCount).toBe(parameterCount(shape));
      let at = 0;
      for (const { offset, rows, columns } of Object.values(layoutOf(shape))) {
        expect(offset).toBe(at);
        at += rows * columns;
      }
      expect(at).toBe(parameterCount(shape));
    }
  });
});

describe("optimizers", () => {
  const prng = new Prng(3);
  const gaussian = (n: number) => Float32Array.from({ length: n }, () => prng.gaussian());

  test.each([0, 0.1])("Adam with decoupled decay %d follows its definition", (weightDecay) => {
    const n = 37;
    const x = gaussian(n);
    const [first, second] = [new Float32Array(n), new Float32Array(n)];
    const expected = Float64Array.from(x);
    const [m, v] = [new Float64Array(n), new Float64Array(n)];
    for (let t = 1; t <= 20; t++) {
      const g = gaussian(n);
      adam(x, g, first, second, t, { learningRate: 0.01, beta1: 0.8, beta2: 0.99, epsilon: 1e-3, weightDecay });
      for (let i = 0; i < n; i++) {
        m[i] = 0.8 * m[i]! + 0.2 * g[i]!;
        v[i] = 0.99 * v[i]! + 0.01 * g[i]! ** 2;
        const step = m[i]! / (1 - 0.8 ** t) / (Math.sqrt(v[i]! / (1 - 0.99 ** t)) + 1e-3);
        expected[i] = (1 - 0.01 * weightDecay) * expected[i]! - 0.01 * step;
      }
      expect(distance(x, expected)).toBeLessThan(2e-6);
    }
  });
});

describe("what does not fit is refused", () => {
  const shape: NetworkShape = { dimensions: 4, hidden: 4, heads: 2, propagation: "attention", metric: "l2", bound: 1 };
  test.each([
    [{ hidden: 5 }, /hidden is 5; expected a multiple of heads, which is 2/],
    [{ dimensions: 0 }, /dimensions is 0; expected an integer from 1/],
    [{ heads: 1.5 }, /heads is 1.5/],
    [{ bound: 0 }, /bound is 0; expected a number above 0/],
    [{ bound: Number.NaN }, /bound is NaN/],
  ])("a shape with %j", (change, message) => {
    expect(() => createNetwork({ ...shape, ...change })).toThrow(message);
  });

  const c: Case = {
    ...{ propagation: "attention", metric: "l2", d: 4, each: 2, heads: 2, layers: 1, anchors: 2, places: 2, masked: 0 },
    ...{ positives: 1, negatives: 1, bound: 1, dropout: 0, decoupled: false, gate: 1, seed: 1 },
  };
  const wrong: [string, (input: TrainingInput<Float32Array>) => void, RegExp][] = [
    ["a pool row past the last", (i) => i.layers[0]!.index.fill(1000), /index: a pool row past the last/],
    ["a candidate past the last", (i) => i.candidates.fill(1000), /candidates: a row past the last/],
    ["half an anchor", (i) => Object.assign(i, { x: i.x.subarray(1) }), /x: rows/],
    ["a short gradient", (i) => Object.assign(i.layers[0]!, { gradient: new Float32Array(3) }), /gradient: as long/],
    ["too few losses", (i) => Object.assign(i, { losses: new Float32Array(1) }), /losses: room/],
    ["a short gradientX", (i) => Object.assign(i, { gradientX: new Float32Array(1) }), /gradientX/],
    ["doubles among floats", (i) => Object.assign(i, { rows: new Float64Array(i.rows) }), /rows: a float array/],
    ["a plain array", (i) => Object.assign(i, { positives: [1, 1] }), /positives/],
    ["too few weights", (i) => Object.assign(i, { weights: i.weights.subarray(1) }), /weights/],
    ["a dropout of 1", (i) => Object.assign(i, { dropout: 1 }), /dropout/],
    ["uneven places", (i) => Object.assign(i.layers[0]!, { index: i.layers[0]!.index.subarray(1) }), /index: as many/],
    ["no layers", (i) => Object.assign(i, { layers: undefined }), /layers: an array/],
  ];
  test.each(wrong)("a step with %s", (_, spoil, message) => {
    const { shape, input } = sceneOf(c, Float32Array);
    const network = createNetwork(shape);
    spoil(input);
    expect(() => network.step(input)).toThrow(message);
    expect(() => network.stepAsync(input)).toThrow(message);
  });

  test("a serving call with a state past the last, or arrays of other lengths", () => {
    const { shape, input } = sceneOf(c, Float32Array);
    const network = createNetwork(shape);
    const { parameters, logWeights } = input.layers[0]!;
    const states = new Float32Array(3 * stateWidth(shape));
    const [y, attention] = [new Float32Array(8), new Float32Array(8)];
    const attend = (index: Uint32Array, to = y, by = attention, from = states) =>
      network.attend(parameters, input.x, from, index, logWeights, to, by);
    expect(() => attend(Uint32Array.of(0, 1, 2, 3))).toThrow(/index: a row past the last state/);
    expect(() => attend(Uint32Array.of(0, 1, 2))).toThrow(/index: as many/);
    expect(() => attend(Uint32Array.of(0, 1, 2, 2), new Float32Array(7))).toThrow(/y: as long as x/);
    expect(() => attend(Uint32Array.of(0, 1, 2, 2), y, new Float32Array(7))).toThrow(/attention/);
    expect(() => attend(Uint32Array.of(0, 1, 2, 2), y, attention, new Float32Array(7))).toThrow(/states/);
    expect(() => network.keysAndValues(parameters, input.x, new Float32Array(1))).toThrow(/out/);
    attend(Uint32Array.of(0, 1, 2, MASKED));
  });

  test("a step without anchors does nothing", () => {
    const { shape, input } = sceneOf({ ...c, anchors: 0 }, Float32Array);
    expect(createNetwork(shape).step(input)).toBe(0);
  });
});
