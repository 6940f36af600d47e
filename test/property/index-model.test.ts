/**
 * The whole index against a Map: random lives of puts, deletes, payloads, searches, moves between tiers, checkpoints,
 * compactions and reopenings, in which everything that can be seen must be what the Map says. A failure prints its
 * seed and the shortest life that shows it; `HEBB_SEED=n` replays it.
 */
import { rmSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Filter, type Hit, type Id, type Index, type Metric, open, type Payload } from "../../src/index.js";
import { distanceOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";
import { countsOf, HALF_LIFE, range, relativeError, seenIn, TIERS } from "../support/tiers.js";

const path = scratch();
const d = 3;

interface Row {
  /** What get() is to give back. */
  vector: number[];
  payload: Payload | undefined;
  /** What was put, where moves made something else of it. */
  first?: number[];
}
type Model = Map<Id, Row>;

/** A condition, and what it means: written down twice, once as users write it. */
type Condition =
  | { op: "eq" | "ne" | "gte" | "lt"; field: "a" | "b"; value: number | string }
  | { op: "in" | "nin"; field: "a" | "b"; values: (number | string)[] }
  | { op: "exists"; field: "a" | "b"; wanted: boolean }
  | { op: "not"; part: Condition }
  | { op: "or"; parts: Condition[] }
  | { op: "and"; parts: Condition[] };

function filterOf(c: Condition): Filter {
  switch (c.op) {
    case "not":
      return { $not: filterOf(c.part) };
    case "or":
    case "and":
      return { [`$${c.op}`]: c.parts.map(filterOf) };
    case "in":
    case "nin":
      return { [c.field]: { [`$${c.op}`]: c.values } };
    case "exists":
      return { [c.field]: { $exists: c.wanted } };
    case "eq":
      return { [c.field]: c.value };
    case "ne":
    case "gte":
    case "lt":
      return { [c.field]: { [`$${c.op}`]: c.value } };
  }
}

function matches(c: Condition, payload: Payload | undefined): boolean {
  if (c.op === "not") return !matches(c.part, payload);
  if (c.op === "or") return c.parts.some((part) => matches(part, payload));
  if (c.op === "and") return c.parts.every((part) => matches(part, payload));
  const stored = payload?.[c.field];
  const values = stored === undefined ? [] : Array.isArray(stored) ? stored : [stored];
  switch (c.op) {
    case "exists":
      return (stored !== undefined) === c.wanted;
    case "in":
      return values.some((value) => c.values.includes(value as number));
    case "nin":
      return !values.some((value) => c.values.includes(value as number));
    case "eq":
      return values.includes(c.value);
    case "ne":
      return !values.includes(c.value);
    case "gte":
      return values.some((value) => typeof value === typeof c.value && (value as number) >= (c.value as number));
    case "lt":
      return values.some((value) => typeof value === typeof c.value && (value as number) < (c.value as number));
  }
}

// ---- what a life is made of ----

const id: fc.Arbitrary<Id> = fc.oneof(
  fc.integer({ min: -2, max: 12 }),
  fc.integer({ min: -2, max: 12 }).map(String),
  fc.constantFrom("__proto__", "é".repeat(40), "a\0b", Number.MAX_SAFE_INTEGER),
);
const number = fc.oneof(
  { arbitrary: fc.integer({ min: -3, max: 3 }), weight: 4 },
  fc.float({ min: -100, max: 100, noNaN: true }),
);
/** Longer than 0, so that it has a direction under every metric. */
const vector = fc
  .tuple(number, number, number)
  .map((values) => values.map(Math.fround))
  .filter((values) => values.some((x) => Math.abs(x) > 1e-3));
const scalar = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom("0", "1", "x"));
const payload: fc.Arbitrary<Payload | undefined> = fc.option(
  fc.record(
    { a: fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })), b: scalar, text: fc.constantFrom("one", "two words") },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);
const field = fc.constantFrom("a" as const, "b" as const);
const { condition } = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small" },
    fc.record({
      op: fc.constantFrom("eq" as const, "ne" as const, "gte" as const, "lt" as const),
      field,
      value: scalar,
    }),
    fc.record({
      op: fc.constantFrom("in" as const, "nin" as const),
      field,
      values: fc.array(scalar, { maxLength: 3 }),
    }),
    fc.record({ op: fc.constant("exists" as const), field, wanted: fc.boolean() }),
    fc.record({ op: fc.constant("not" as const), part: tie("condition") }),
    fc.record({
      op: fc.constantFrom("or" as const, "and" as const),
      parts: fc.array(tie("condition"), { minLength: 1, maxLength: 3 }),
    }),
  ),
}));

const row = fc.record({ id, vector, payload });
const change = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant("put" as const), row }), weight: 4 },
  {
    arbitrary: fc.record({
      do: fc.constant("putMany" as const),
      rows: fc.uniqueArray(row, { maxLength: 12, selector: (r) => r.id }),
      columns: fc.boolean(),
    }),
    weight: 4,
  },
  { arbitrary: fc.record({ do: fc.constant("delete" as const), ids: fc.array(id, { maxLength: 6 }) }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant("setPayload" as const), id, payload }), weight: 2 },
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

const search = fc.record({
  do: fc.constant("search" as const),
  query: vector,
  k: fc.integer({ min: 1, max: 40 }),
  condition: fc.option(condition, { nil: undefined }),
  exact: fc.boolean(),
});
const step = fc.oneof(
  { arbitrary: change, weight: 10 },
  {
    arbitrary: fc.record({ do: fc.constant("together" as const), changes: fc.array(change, { maxLength: 6 }) }),
    weight: 3,
  },
  { arbitrary: fc.record({ do: fc.constant("deleteWhere" as const), condition }), weight: 1 },
  { arbitrary: search, weight: 6 },
  { arbitrary: fc.record({ do: fc.constant("count" as const), condition }), weight: 3 },
  {
    arbitrary: fc.constantFrom(
      { do: "checkpoint" as const },
      { do: "compact" as const },
      { do: "settle" as const },
      { do: "reopen" as const },
    ),
    weight: 2,
  },
  { arbitrary: fc.record({ do: fc.constant("force" as const), tier: fc.constantFrom(...TIERS) }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant("cool" as const), halfLives: fc.integer({ min: 0, max: 12 }) }), weight: 1 },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

// ---- living it ----

async function applyTo(index: Index, change: Change): Promise<unknown> {
  switch (change.do) {
    case "put":
      return index.put(change.row.id, change.row.vector, change.row.payload);
    case "putMany":
      if (!change.columns) return index.putMany(change.rows);
      return index.putMany({
        ids: change.rows.map((r) => r.id),
        vectors: Float32Array.from(change.rows.flatMap((r) => r.vector)),
        payloads: change.rows.map((r) => r.payload),
      });
    case "delete":
      return index.delete(change.ids);
    case "setPayload":
      return index.setPayload(change.id, change.payload).catch((error: { code: string }) => error.code);
  }
}

/** @returns what the index is to answer */
function applyToModel(model: Model, change: Change): unknown {
  const put = (r: { id: Id } & Row) => model.set(r.id, { vector: r.vector, payload: r.payload });
  switch (change.do) {
    case "put":
      put(change.row);
      return undefined;
    case "putMany":
      for (const r of change.rows) put(r);
      return undefined;
    case "delete":
      return change.ids.filter((one) => model.delete(one)).length;
    case "setPayload": {
      const found = model.get(change.id);
      if (!found) return "UNKNOWN_ID";
      model.set(change.id, { ...found, payload: change.payload });
      return undefined;
    }
  }
}

/** The hits of a search among codes: as many as there can be, each what it says it is. `isTrue`: distances are. */
function checkRoughly(hits: Hit[], metric: Metric, model: Model, query: number[], k: number, isTrue: boolean) {
  return (accept: (r: Row) => boolean) => {
    expect(hits).toHaveLength(Math.min(k, [...model.values()].filter(accept).length));
    expect(new Set(hits.map((hit) => hit.id)).size).toBe(hits.length);
    hits.forEach((hit, i) => {
      const row = model.get(hit.id)!;
      expect(accept(row)).toBe(true);
      expect(hit.payload).toEqual(row.payload);
      expect(hit.distance).toBeGreaterThanOrEqual(hits[Math.max(0, i - 1)].distance);
      const right = distanceOf(metric, query, row.vector);
      if (isTrue) expect(Math.abs(hit.distance - right)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(right)));
    });
  };
}

/** Hits must be the k nearest; where distances are equal, any of them. */
function checkHits(hits: Hit[], metric: Metric, model: Model, query: number[], k: number, accept: (r: Row) => boolean) {
  const distances = new Map(
    [...model].filter(([, r]) => accept(r)).map(([one, r]) => [one, distanceOf(metric, query, r.vector)]),
  );
  const nearest = [...distances.values()].sort((a, b) => a - b).slice(0, k);
  expect(hits).toHaveLength(nearest.length);
  expect(new Set(hits.map((hit) => hit.id)).size).toBe(hits.length);
  hits.forEach((hit, i) => {
    const tolerance = 1e-5 * Math.max(1, Math.abs(nearest[i]));
    expect(distances.has(hit.id)).toBe(true);
    expect(Math.abs(hit.distance - nearest[i])).toBeLessThanOrEqual(tolerance);
    expect(Math.abs(hit.distance - distances.get(hit.id)!)).toBeLessThanOrEqual(tolerance);
    expect(hit.payload).toEqual(model.get(hit.id)!.payload);
  });
}

function compare(index: Index, model: Model): void {
  expect(index.size).toBe(model.size);
  expect(index.count()).toBe(model.size);
  const entries = new Map([...index.entries()].map((entry) => [entry.id, entry]));
  expect(entries.size).toBe(model.size);
  for (const [one, { vector, payload }] of model) {
    const expected = { id: one, vector: Float32Array.from(vector), payload, tier: expect.toBeOneOf([...TIERS]) };
    expect(entries.get(one)).toEqual(expected);
    expect(index.get(one)).toEqual(expected);
  }
}

/** Without originals, what rows give back changes as they move, by no more than their tier's error, and then stays. */
function adopt(index: Index, model: Model): void {
  for (const [one, row] of model) {
    const { vector, tier } = index.get(one)!;
    const first = row.first ?? row.vector;
    expect(vector.every(Number.isFinite)).toBe(true);
    if (tier === "hot" || tier === "warm") {
      expect(relativeError(vector, first)).toBeLessThanOrEqual(tier === "hot" ? 0 : 1e-3);
    }
    model.set(one, { ...row, vector: [...vector], first });
  }
}

interface Start {
  durability: "sync" | "interval" | "off";
  /** Whether originals are kept. */
  keep: boolean;
  /** Whether it begins with as many rows as a codebook takes: with fewer, no row goes further than tier warm. */
  many: boolean;
}

async function live(metric: Metric, { durability, keep, many }: Start, steps: Step[]): Promise<void> {
  const at = path(`${metric}-${performance.now()}`);
  const config = { storage: { keep_originals: keep }, tensor_compress: { codebook_iterations: 3 } };
  let index = await open(at, { dimensions: d, metric, durability, config });
  try {
    const model: Model = new Map();
    if (many) {
      const vectors = randomRows(300, d, 1);
      const rows = range(300).map((i) => ({ id: 1000 + i, vector: [...rowOf(vectors, i, d)], payload: { a: i % 4 } }));
      await index.putMany(rows);
      for (const { id, ...row } of rows) model.set(id, row);
    }
    for (const step of steps) {
      switch (step.do) {
        case "together": {
          const answers = await Promise.all(step.changes.map((one) => applyTo(index, one)));
          expect(answers).toEqual(step.changes.map((one) => applyToModel(model, one)));
          break;
        }
        case "deleteWhere": {
          const gone = [...model].filter(([, r]) => matches(step.condition, r.payload));
          expect(await index.delete({ filter: filterOf(step.condition) })).toBe(gone.length);
          for (const [one] of gone) model.delete(one);
          break;
        }
        case "search": {
          const { query, k, condition, exact } = step;
          const options = { k, exact, filter: condition && filterOf(condition) };
          const accept = (r: Row) => condition === undefined || matches(condition, r.payload);
          const isExact = (exact && keep) || countsOf(index).hot === index.size;
          for (const search of [
            () => index.search(query, options),
            async () => (await index.searchMany(Float32Array.from(query), options))[0],
          ]) {
            const hits = await search();
            if (isExact) checkHits(hits, metric, model, query, k, accept);
            else checkRoughly(hits, metric, model, query, k, keep)(accept);
          }
          break;
        }
        case "count": {
          const expected = [...model.values()].filter((r) => matches(step.condition, r.payload)).length;
          expect(index.count(filterOf(step.condition))).toBe(expected);
          break;
        }
        case "force":
        case "cool": {
          const { tiers } = await index.retier(
            step.do === "force" ? { force: step.tier } : { now: Date.now() + step.halfLives * HALF_LIFE },
          );
          expect(tiers).toEqual(seenIn(index));
          expect(tiers).toEqual(countsOf(index));
          if (step.do === "force" && (keep || step.tier === "archive")) {
            const isTrained = index.stats().tiers.cool.codec !== undefined;
            const to = isTrained || step.tier === "hot" ? step.tier : "warm";
            expect(tiers[to]).toBe(model.size);
          }
          if (!keep) adopt(index, model);
          break;
        }
        case "checkpoint":
          await index.checkpoint();
          break;
        case "compact":
          await index.compact();
          break;
        case "settle":
          await index.settle();
          break;
        case "reopen":
          await index.close();
          index = await open(at, { durability });
          compare(index, model);
          break;
        default:
          expect(await applyTo(index, step)).toEqual(applyToModel(model, step));
      }
      expect(index.size).toBe(model.size);
    }
    compare(index, model);
    expect(await index.check()).toMatchObject({ ok: true, faults: [] });
    await index.close();
    index = await open(at);
    compare(index, model);
  } finally {
    await index.close();
    rmSync(at, { recursive: true, force: true });
  }
}

test.each(["l2", "cosine", "dot"] as const)("under %s the index is what a Map says", async (metric) => {
  const start = fc.record({
    durability: fc.constantFrom("sync" as const, "interval" as const, "off" as const),
    keep: fc.boolean(),
    many: fc.boolean(),
  });
  const life = fc.array(step, { minLength: 1, maxLength: 50, size: "max" });
  await fc.assert(
    fc.asyncProperty(start, life, (how, steps) => live(metric, how, steps)),
    runs(8),
  );
});
