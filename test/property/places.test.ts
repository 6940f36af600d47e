/** Nodes numbered in the order in which they come, and the n-th greatest of many values: against Map and sort. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Places } from "../../model/places.js";
import { nthGreatest } from "../../model/select.js";
import { runs } from "../support/seed.js";

const node = fc.oneof(fc.nat({ max: 40 }), fc.integer({ min: 0, max: 2 ** 32 - 2 }));

test("places are those of a Map that numbers what it has not seen, whatever room there was", () => {
  fc.assert(
    fc.property(fc.array(node, { maxLength: 300 }), fc.nat({ max: 400 }), node, (nodes, room, other) => {
      const places = new Places(room);
      const model = new Map<number, number>();
      for (const one of nodes) {
        expect(places.get(one)).toBe(model.get(one) ?? -1);
        if (!model.has(one)) model.set(one, model.size);
        expect(places.add(one)).toBe(model.get(one));
      }
      expect(places.nodes).toEqual([...model.keys()]);
      expect(places.get(other)).toBe(model.get(other) ?? -1);
    }),
    runs(300),
  );
});

test("nodes that collide all keep their places", () => {
  const places = new Places();
  const nodes = Array.from({ length: 2000 }, (_, i) => (i * 2 ** 20) % 2 ** 32);
  const distinct = [...new Set(nodes)];
  for (const one of distinct) places.add(one);
  for (const [place, one] of distinct.entries()) expect(places.get(one)).toBe(place);
});

test("the n-th greatest is what sorting puts at n, among equals and infinities too", () => {
  const value = fc.oneof(fc.constantFrom(0, 1, -1, Number.NEGATIVE_INFINITY), fc.double({ noNaN: true }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 80 }), fc.nat(), (values, at) => {
      const n = 1 + (at % values.length);
      const sorted = values.toSorted((a, b) => b - a);
      expect(nthGreatest(Float64Array.from(values), n) + 0).toBe(sorted[n - 1]! + 0);
    }),
    runs(500),
  );
});
