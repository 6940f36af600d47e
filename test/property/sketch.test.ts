/** The frequency sketch against exact counts that decay. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { forward, heatOf } from "../../model/heat.js";
import { FrequencySketch } from "../../model/sketch.js";
import { runs } from "../support/seed.js";

const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** Feeds decaying counts of skewed keys, rebasing on the way; returns the exact heats and the sketch's. */
function feed(seed: number, keys: number, accesses: number, perHalfLife: number) {
  const random = new Prng(seed);
  const sketch = new FrequencySketch(keys, seed);
  const exact = new Float64Array(keys);
  const label = Array.from({ length: keys }, () => random.uint32());
  let age = 0;
  for (let i = 0; i < accesses; i++) {
    age += 1 / perHalfLife;
    if (age > 8) {
      sketch.rebase(age);
      for (let k = 0; k < keys; k++) exact[k] = exact[k]! * 2 ** -age;
      age = 0;
    }
    const key = Math.floor(keys * random.next() ** 3);
    exact[key] = exact[key]! + forward(1, age);
    sketch.add(label[key]!, forward(1, age));
  }
  return {
    exact: Array.from(exact, (g) => heatOf(g, age)),
    estimated: label.map((key) => heatOf(sketch.estimate(key), age)),
  };
}

test("never estimates less than there was, and seldom much more", () => {
  fc.assert(
    fc.property(seed, fc.constantFrom(500, 2000, 20_000), (seed, perHalfLife) => {
      const keys = 8192; // 2,048 counters a row
      const { exact, estimated } = feed(seed, keys, 20_000, perHalfLife);
      const bound = (Math.E * exact.reduce((a, b) => a + b, 0)) / 2048;
      let over = 0;
      for (let k = 0; k < keys; k++) {
        expect(estimated[k]!).toBeGreaterThanOrEqual(exact[k]! * (1 - 1e-4));
        if (estimated[k]! > exact[k]! + bound) over++;
      }
      expect(over / keys).toBeLessThan(0.05); // e^-4 = 1.8% is what Cormode & Muthukrishnan promise
    }),
    runs(20),
  );
});

test("is exact where keys do not share counters", () => {
  const sketch = new FrequencySketch(4096, 5);
  for (let key = 0; key < 20; key++) for (let i = 0; i <= key; i++) sketch.add(key * 7919, 1);
  for (let key = 0; key < 20; key++) expect(sketch.estimate(key * 7919)).toBe(key + 1);
  sketch.clear();
  expect(sketch.estimate(19 * 7919)).toBe(0);
});

test("the same seed and keys give the same estimates", () => {
  fc.assert(
    fc.property(seed, (seed) => {
      expect(feed(seed, 500, 1000, 100).estimated).toEqual(feed(seed, 500, 1000, 100).estimated);
    }),
    runs(5),
  );
});

test("takes 4 to 8 bytes a key, within its bounds", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4096, max: 2_000_000 }), (keys) => {
      const { bytes } = new FrequencySketch(keys, 1);
      expect(bytes / keys).toBeGreaterThanOrEqual(4);
      expect(bytes / keys).toBeLessThan(8);
    }),
    runs(20),
  );
  expect(new FrequencySketch(0, 1).bytes).toBe(16 * 1024);
  expect(new FrequencySketch(1e9, 1).bytes).toBe(64 * 1024 * 1024);
});

test("growing keeps every estimate, and then tells more keys apart", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1e6 }), { maxLength: 3000 }), (keys) => {
      const sketch = new FrequencySketch(10, 3);
      for (const key of keys) sketch.add(key, 1);
      const before = keys.map((key) => sketch.estimate(key));
      sketch.expect(100_000);
      expect(keys.map((key) => sketch.estimate(key))).toEqual(before);
      sketch.expect(10); // never narrower
      expect(sketch.bytes).toBe(new FrequencySketch(100_000, 3).bytes);
    }),
    runs(20),
  );
  const [grown, wide] = [new FrequencySketch(10, 3), new FrequencySketch(20_000, 3)];
  grown.expect(20_000);
  for (let key = 0; key < 20_000; key++) {
    grown.add(key, 1);
    wide.add(key, 1);
  }
  for (let key = 0; key < 20_000; key++) expect(grown.estimate(key)).toBe(wide.estimate(key));
});
