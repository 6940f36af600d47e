/** Tiers: rules, the budget, and the policy as a whole against exact heats and against LRU. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { TIERS } from "../../base/types.js";
import { heatOf, rebase } from "../../model/heat.js";
import {
  ARCHIVE,
  boost,
  Census,
  fitBudget,
  HOT,
  type PolicyOptions,
  TierPolicy,
  TierRules,
  targetTier,
  WARM,
} from "../../model/tiering.js";
import { runs } from "../support/seed.js";

const SETTINGS = {
  hot_threshold: 0.8,
  warm_threshold: 0.4,
  cool_threshold: 0.1,
  cold_threshold: 0.01,
  promotion_threshold: 1.5,
  demotion_threshold: 0.5,
};
const rules = new TierRules(SETTINGS);
const HEATS = [0.8, 0.4, 0.1, 0.01].map((f) => f / (1 - f)); // 4, 2/3, 1/9, 1/99

const heat = fc.oneof(
  fc.double({ min: -40, max: 40, noNaN: true }).map((x) => 2 ** x),
  fc.constantFrom(0, 1, 2, ...HEATS, ...HEATS.map((h) => h / 2), ...HEATS.map((h) => h * 1.5)),
);
const tier = fc.integer({ min: HOT, max: ARCHIVE });
const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe("rules", () => {
  test("a vector goes up past a threshold x 1.5, down below its own x 0.5, and over several tiers at once", () => {
    fc.assert(
      fc.property(heat, tier, (heat, current) => {
        const up = HEATS.findIndex((threshold, tier) => tier < current && heat > threshold * 1.5);
        const held = HEATS.findIndex((threshold, tier) => tier >= current && heat >= threshold * 0.5);
        const expected = up >= 0 ? up : held >= 0 ? held : ARCHIVE;
        expect(targetTier(heat, current, rules)).toBe(expected);
      }),
      runs(1000),
    );
  });

  test("asking again moves nothing: no heat makes a vector flap", () => {
    fc.assert(
      fc.property(heat, tier, heat, (heat, current, scale) => {
        const there = targetTier(heat, current, rules, scale);
        expect(targetTier(heat, there, rules, scale)).toBe(there);
      }),
      runs(1000),
    );
  });

  test("a hotter vector is never kept coarser, and a scale on thresholds is one on heat", () => {
    fc.assert(
      fc.property(heat, heat, tier, fc.integer({ min: -20, max: 20 }), (a, b, current, octaves) => {
        const [cooler, hotter] = [Math.min(a, b), Math.max(a, b)];
        expect(targetTier(hotter, current, rules)).toBeLessThanOrEqual(targetTier(cooler, current, rules));
        expect(targetTier(a * 2 ** octaves, current, rules, 2 ** octaves)).toBe(targetTier(a, current, rules));
      }),
      runs(1000),
    );
  });

  test("one access takes a vector from the archive to the cool tier, two to the warm one, seven to the hot one", () => {
    expect([1, 2, 7].map((heat) => targetTier(heat, ARCHIVE, rules))).toEqual([2, WARM, HOT]);
  });

  test("thresholds out of order, and factors that would flap, are refused by name", () => {
    const of = (change: object) => () => new TierRules({ ...SETTINGS, ...change });
    expect(of({ warm_threshold: 0.8 })).toThrow(
      new RangeError("warm_threshold is 0.8; expected a frequency above 0 and below hot_threshold (0.8)"),
    );
    expect(of({ cold_threshold: 0.2 })).toThrow(/cold_threshold is 0.2.*below cool_threshold \(0.1\)/);
    expect(of({ hot_threshold: 1 })).toThrow(/hot_threshold is 1; expected a frequency above 0 and below 1/);
    expect(of({ cold_threshold: 0 })).toThrow(RangeError);
    expect(of({ cool_threshold: Number.NaN })).toThrow(/cool_threshold is NaN/);
    expect(of({ promotion_threshold: 0.9 })).toThrow(/promotion_threshold is 0.9/);
    expect(of({ demotion_threshold: 1.1 })).toThrow(/demotion_threshold is 1.1/);
  });

  test("a boost is at least 1 and at most 4, and rises with the in-degree", () => {
    expect([0, 1, 2.25, 1e9].map((degree) => boost(degree, false))).toEqual([1, 1, 1.5, 2]);
    expect(boost(1e9, true)).toBe(4);
  });
});

describe("fitBudget", () => {
  const PER_TIER = [400, 200, 100, 50, 15];
  const vectors = fc.array(fc.record({ tier, heat }), { minLength: 1, maxLength: 80 });
  const bytesOf = (tiers: number[]) => tiers.reduce((sum, tier) => sum + PER_TIER[tier]!, 0);
  const fitted = (all: { tier: number; heat: number }[], budget: number) => {
    const census = new Census();
    for (const { tier, heat } of all) census.add(tier, heat);
    const fit = fitBudget(census, PER_TIER, budget, rules);
    return { fit, after: all.map(({ tier, heat }) => fit.demoted(heat, tier)) };
  };

  test("fits, wastes less than a vector, promotes nothing, and keeps the hotter of two the finer", () => {
    fc.assert(
      fc.property(vectors, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
        const [least, now] = [all.length * PER_TIER[ARCHIVE]!, bytesOf(all.map(({ tier }) => tier))];
        const budget = least + Math.floor(share * (now - least));
        const { after } = fitted(all, budget);
        expect(bytesOf(after)).toBeLessThanOrEqual(budget);
        expect(bytesOf(after)).toBeGreaterThan(Math.min(now, budget) - PER_TIER[HOT]!);
        for (const [i, a] of all.entries()) {
          expect(after[i]).toBeGreaterThanOrEqual(a.tier);
          for (const [j, b] of all.entries()) {
            if (a.tier === b.tier && a.heat > b.heat * 1.02 && a.heat < 2 ** 23 && b.heat > 2 ** -23) {
              expect(after[i]).toBeLessThanOrEqual(after[j]!);
            }
          }
        }
      }),
      runs(500),
    );
  });

  test("where all vectors are equally hot, as many stay as there is room for", () => {
    const { after } = fitted(
      Array.from({ length: 1000 }, () => ({ tier: HOT, heat: 8 })),
      200_000,
    );
    expect(bytesOf(after)).toBeGreaterThan(199_600);
    expect(bytesOf(after)).toBeLessThanOrEqual(200_000);
  });

  test("moves nothing where everything fits, and thresholds fall to use what is free", () => {
    const all = [{ tier: HOT, heat: 1e-6 }];
    const { fit, after } = fitted(all, 1000);
    expect(after).toEqual([HOT]);
    expect(fit.scale).toBeLessThan(1e-6);
  });

  test("says what a store takes at least", () => {
    const all = Array.from({ length: 10 }, () => ({ tier: HOT, heat: 1 }));
    expect(() => fitted(all, 149)).toThrow(
      new RangeError("memory_budget is 149 bytes; expected at least 150, what 10 vectors take in the archive tier"),
    );
    expect(fitted(all, 150).after).toEqual(Array(10).fill(ARCHIVE));
    const never = new TierRules({ ...SETTINGS, demotion_threshold: 0 });
    expect(() => fitBudget(new Census(), PER_TIER, 0, never)).toThrow(/demotion_threshold is 0.*memory_budget/);
  });
});

/** What the engine does with a policy, in memory: records by node, rounds, moves at once. */
class Store {
  readonly tiers: Uint8Array;
  readonly heats: Float32Array;
  readonly policy: TierPolicy;
  readonly moved: [node: number, from: number, to: number][] = [];
  time = 0;

  constructor(
    readonly size: number,
    options: Partial<PolicyOptions>,
    start = HOT,
  ) {
    this.policy = new TierPolicy({ rules, nodes: size, seed: 3, ...options });
    this.tiers = new Uint8Array(size).fill(start);
    this.heats = Float32Array.from({ length: size }, () => (start === HOT ? this.policy.place() : this.forget(start)));
  }

  private forget(tier: number): number {
    this.policy.place(tier);
    return 0;
  }

  pass(halfLives: number): void {
    this.time += halfLives;
    const by = this.policy.setTime(this.time);
    if (by > 0) rebase(this.heats, by);
  }

  access(node: number): void {
    const { policy, tiers, heats } = this;
    this.pass(policy.pace);
    heats[node] = policy.access(node, tiers[node]!, heats[node]!);
    const wants = () => policy.wanted(node, tiers[node]!, heats[node]!);
    if (wants() === tiers[node]) return;
    if (!policy.fits(tiers[node]!, wants())) this.round();
    const to = wants();
    if (to !== tiers[node] && policy.fits(tiers[node]!, to)) this.move(node, to);
  }

  round(): void {
    const round = this.policy.round();
    const { tiers, heats } = this;
    for (let node = 0; node < this.size; node++) round.survey(node, tiers[node]!, heats[node]!);
    round.decide();
    for (let node = 0; node < this.size; node++) {
      const to = round.demoted(node, tiers[node]!, heats[node]!);
      if (to !== tiers[node]) this.move(node, to);
    }
  }

  heat(node: number): number {
    return this.policy.heat(node, this.tiers[node]!, this.heats[node]!);
  }

  private move(node: number, to: number): void {
    const from = this.tiers[node]!;
    this.heats[node] = this.policy.move(node, from, to, this.heats[node]!);
    this.tiers[node] = to;
    this.moved.push([node, from, to]);
  }
}

describe("TierPolicy", () => {
  const perTier = [400, 200, 100, 50, 15];

  test("heat is what all accesses left, whatever moves and rounds there were", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ access: fc.integer({ min: 0, max: 19 }) }) },
      { weight: 2, arbitrary: fc.record({ pass: fc.double({ min: 0, max: 3, noNaN: true }) }) },
      { weight: 1, arbitrary: fc.record({ pass: fc.constantFrom(20, 61, 130) }) },
      { weight: 2, arbitrary: fc.constant({ round: true }) },
    );
    const budget = fc.option(fc.integer({ min: 20 * 15, max: 20 * 400 }), { nil: undefined });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), budget, (steps, bytes) => {
        const store = new Store(20, bytes === undefined ? {} : { budget: { bytes, perTier } });
        const exact = new Float64Array(20).fill(bytes === undefined ? rules.initialHeat : 1);
        let at = 0;
        const cool = () => {
          for (let i = 0; i < 20; i++) exact[i] = exact[i]! * 2 ** (at - store.time);
          at = store.time;
        };
        for (const step of steps) {
          if ("access" in step) {
            // The exact count is decayed to the moment of the access, then grows by it.
            store.access(step.access);
            cool();
            exact[step.access] = exact[step.access]! + 1;
          } else if ("pass" in step) {
            store.pass(step.pass);
            cool();
          } else {
            store.round();
            if (bytes !== undefined) expect(store.policy.over).toBe(false);
          }
          for (let node = 0; node < 20; node++) {
            // 20 keys in 1,024 counters a row: with this seed no two share all four.
            expect(Math.abs(store.heat(node) - exact[node]!)).toBeLessThanOrEqual(1e-4 * exact[node]! + 1e-20);
          }
          if (bytes !== undefined) {
            expect(store.policy.bytes).toBe(store.tiers.reduce((sum, tier) => sum + perTier[tier]!, 0));
          }
        }
      }),
      runs(200),
    );
  });

  test("without a budget, new vectors cool from tier to tier with time, and what is used stays", () => {
    const store = new Store(2, {});
    const seen = [new Set<number>(), new Set<number>()];
    for (let i = 0; i < 80; i++) {
      store.pass(0.25);
      store.access(1);
      store.round();
      for (const node of [0, 1]) seen[node]!.add(store.tiers[node]!);
    }
    expect([...seen[0]!]).toEqual([0, 1, 2, 3, 4]);
    expect([...seen[1]!]).toEqual([HOT]);
    expect(store.policy.scale).toBe(1);
    for (let i = 0; i < 20; i++) store.access(0); // heats of others are in the sketch, and bring it back
    expect(store.tiers[0]).toBe(HOT);
  });

  test("under a budget, bytes never pass it while accesses promote", () => {
    fc.assert(
      fc.property(seed, fc.double({ min: 0.05, max: 0.9, noNaN: true }), (seed, ratio) => {
        const random = new Prng(seed);
        const bytes = Math.floor(200 * 400 * ratio);
        const store = new Store(200, { budget: { bytes, perTier } });
        store.round();
        for (let i = 0; i < 1000; i++) {
          store.access(Math.floor(200 * random.next() ** 2));
          expect(store.policy.bytes).toBeLessThanOrEqual(bytes);
        }
      }),
      runs(20),
    );
  });

  test("under a budget, an access promotes to hot or warm or not at all; without, to any tier", () => {
    const random = new Prng(4);
    const up = (store: Store) => store.moved.filter(([, from, to]) => to < from).map(([, , to]) => to);
    const [bound, free] = [{ budget: { bytes: 100 * 60, perTier } }, {}].map((options) => {
      const store = new Store(100, options, ARCHIVE);
      store.round();
      for (let i = 0; i < 3000; i++) {
        store.access(Math.floor(100 * random.next() ** 3));
        if (i % 100 === 0) store.round();
      }
      return new Set(up(store));
    });
    expect([...bound!].sort()).toEqual([HOT, WARM]);
    expect([...free!].sort()).toEqual([HOT, WARM, 2]);
  });

  test("a large import under a budget does not keep out what is used", () => {
    const bytes = 2000 * 400 * 0.3;
    const store = new Store(2000, { budget: { bytes, perTier } });
    expect(store.policy.over).toBe(true);
    store.round();
    expect(store.policy.over).toBe(false);
    for (let i = 0; i < 600; i++) store.access(1000 + (i % 200)); // three times each
    const found = store.tiers.subarray(1000, 1200).filter((tier) => tier <= WARM).length;
    expect(found).toBe(200);
  });

  test("counts what comes and goes, and knows when new vectors have filled the budget", () => {
    const policy = new TierPolicy({ rules, nodes: 10, seed: 1, budget: { bytes: 900, perTier } });
    policy.place();
    policy.place();
    expect([policy.bytes, policy.over]).toEqual([800, false]);
    policy.place();
    expect(policy.over).toBe(true);
    policy.adopt([2, 0, 0, 0, 0], 900);
    expect([policy.bytes, policy.over]).toEqual([800, false]);
  });

  test("a base kept from before gives the same heats", () => {
    const store = new Store(3, {});
    store.pass(100);
    store.access(1);
    const { base } = store.policy;
    expect(base).toBe(100);
    const again = new TierPolicy({ rules, nodes: 3, seed: 3, base });
    again.setTime(store.time);
    for (const node of [0, 1]) expect(again.heat(node, HOT, store.heats[node]!)).toBe(store.heat(node));
    expect(heatOf(store.heats[1]!, 0)).toBeGreaterThanOrEqual(1);
  });

  test("a boost keeps a vector precise for longer", () => {
    const store = new Store(2, { boost: (node) => boost(1, node === 1) });
    store.pass(2.5); // 8 x 2^-2.5 = 1.41 is below the 2 that hot asks for; twice that is not
    store.round();
    expect([...store.tiers]).toEqual([WARM, HOT]);
  });

  test("finds more than an LRU in the same bytes on use that drifts, and promotes on few accesses", () => {
    fc.assert(
      fc.property(seed, (seed) => {
        const random = new Prng(seed);
        const [keys, accesses, entries] = [2000, 40_000, 100];
        const store = new Store(keys, { budget: { bytes: entries * 4, perTier: [4, 2, 0, 0, 0] } }, ARCHIVE);
        store.round();
        const lru = new Map<number, true>();
        let [found, inLru] = [0, 0];
        for (let i = 0; i < accesses; i++) {
          // Zipf-like ranks; which keys are popular turns over every 10,000 accesses.
          const rank = Math.floor(keys ** random.next()) - 1;
          const node = (rank * 7 + Math.floor(i / 10_000) * 501) % keys;
          const counted = i >= accesses / 5;
          if (counted && store.tiers[node]! <= WARM) found++;
          if (lru.delete(node)) inLru += counted ? 1 : 0;
          else if (lru.size === entries) lru.delete(lru.keys().next().value!);
          lru.set(node, true);
          store.access(node);
        }
        expect(found).toBeGreaterThan(inLru);
        const promotions = store.moved.filter(([, from, to]) => to <= WARM && from > WARM).length;
        expect(promotions).toBeLessThan(0.25 * accesses);
      }),
      runs(5),
    );
  });

  test("tiers are numbered in the order of their names", () => {
    expect([TIERS[HOT], TIERS[WARM], TIERS[ARCHIVE]]).toEqual(["hot", "warm", "archive"]);
  });
});
