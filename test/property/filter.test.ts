/**
 * Filters against an independent reference, on random payloads and filters: the compiled predicate, and the catalog's
 * bitmaps with and without declared indexes, before and after changes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { Filter, Json, Payload } from "../../base/types.js";
import { Catalog } from "../../src/catalog/catalog.js";
import { canonical, matcher, parseFilter, textScreen } from "../../src/catalog/filter.js";
import { runs } from "../support/seed.js";

const storeId = new Uint8Array(16).fill(7);
const folder = mkdtempSync(join(tmpdir(), "catalog-filter-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// ---- the reference: as the contract words it, with no regard to speed ----

function holds(filter: Filter, payload: Payload | undefined): boolean {
  return Object.entries(filter).every(([key, operand]) => {
    if (key === "$and") return (operand as Filter[]).every((part) => holds(part, payload));
    if (key === "$or") return (operand as Filter[]).some((part) => holds(part, payload));
    if (key === "$not") return !holds(operand as Filter, payload);
    let value: Json | undefined = payload;
    for (const step of key.split(".")) {
      const isObject: boolean = typeof value === "object" && value !== null && !Array.isArray(value);
      value = isObject ? Object.entries(value as Payload).find(([name]) => name === step)?.[1] : undefined;
    }
    return fieldHolds(operand, value);
  });
}

function fieldHolds(operand: unknown, value: Json | undefined): boolean {
  if (typeof operand !== "object" || operand === null || Array.isArray(operand)) {
    return fieldHolds({ $eq: operand }, value);
  }
  const candidates = value === undefined ? [] : Array.isArray(value) ? [value, ...value] : [value];
  const elements = Array.isArray(value) ? value : candidates;
  const equals = (a: unknown, b: unknown) => text(a) === text(b);
  const compares = (b: unknown, test: (a: string, b: string) => boolean) =>
    elements.some((a) => typeof a === typeof b && test(a as string, b as string));
  const tests: Record<string, (b: unknown) => boolean> = {
    $eq: (b) => candidates.some((a) => equals(a, b)),
    $ne: (b) => !candidates.some((a) => equals(a, b)),
    $in: (b) => (b as unknown[]).some((one) => candidates.some((a) => equals(a, one))),
    $nin: (b) => !(b as unknown[]).some((one) => candidates.some((a) => equals(a, one))),
    $gt: (b) => compares(b, (x, y) => x > y),
    $gte: (b) => compares(b, (x, y) => x >= y),
    $lt: (b) => compares(b, (x, y) => x < y),
    $lte: (b) => compares(b, (x, y) => x <= y),
    $exists: (b) => (value !== undefined) === b,
    $not: (b) => !fieldHolds(b, value),
  };
  return Object.entries(operand).every(([operator, b]) => tests[operator](b));
}

/** JSON with sorted keys: equal values, equal text. */
function text(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(text).join()}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${text(item)}`).join()}}`;
}

// ---- random payloads and filters, from few values so that they meet ----

const numbers = fc.oneof(
  fc.constantFrom(0, -0, 1, 5, 10, -1, 0.1, 0.30000000000000004, 5.000000000000001, 4.999999999999999),
  fc.constantFrom(1e21, 2 ** 53, 2 ** 53 + 2, -(2 ** 63), 5e-324, 1.7976931348623157e308, 123456789.12345679),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const strings = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "b",
    "en",
    "10",
    "5",
    "true",
    "null",
    "é",
    "a\0b",
    "a\0",
    "\ud800",
    "\uffff",
    "😀",
    "zz",
    '"',
    "\\",
  ),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const scalars = fc.oneof(numbers, strings, fc.boolean(), fc.constant(null));
const values: fc.Arbitrary<Json> = fc.oneof(
  { weight: 6, arbitrary: scalars },
  { weight: 2, arbitrary: fc.array(scalars, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.array(fc.array(scalars, { maxLength: 2 }), { maxLength: 2 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.constantFrom("x", "y"), scalars, { maxKeys: 2 }) },
);
const names = ["a", "b", "constructor", "ü"];
const fields = [...names, "a.x", "b.x", "b.y.z", "toString"];
const payloads = fc.option(fc.dictionary(fc.constantFrom(...names, "__proto__", "x"), values, { maxKeys: 4 }), {
  nil: undefined,
}) as fc.Arbitrary<Payload | undefined>;

const operators = (depth: number): fc.Arbitrary<Filter> =>
  fc
    .record(
      {
        $eq: values,
        $ne: values,
        $gt: fc.oneof(numbers, strings),
        $gte: fc.oneof(numbers, strings),
        $lt: fc.oneof(numbers, strings),
        $lte: fc.oneof(numbers, strings),
        $in: fc.array(values, { maxLength: 4 }),
        $nin: fc.array(values, { maxLength: 4 }),
        $exists: fc.boolean(),
        ...(depth > 0 ? { $not: operators(depth - 1) } : {}),
      },
      { requiredKeys: [] },
    )
    .map((all) => Object.fromEntries(Object.entries(all).slice(0, 2)))
    .filter((some) => Object.keys(some).length > 0) as fc.Arbitrary<Filter>;

const leaf = fc
  .tuple(fc.constantFrom(...fields), fc.oneof(scalars, fc.array(scalars, { maxLength: 2 }), operators(1)))
  .map(([field, operand]) => ({ [field]: operand }));
const filters = (depth: number): fc.Arbitrary<Filter> =>
  depth === 0
    ? leaf
    : fc.oneof(
        { weight: 4, arbitrary: leaf },
        {
          weight: 2,
          arbitrary: fc.array(leaf, { maxLength: 3 }).map((parts) => Object.assign({}, ...parts) as Filter),
        },
        {
          weight: 1,
          arbitrary: fc.array(filters(depth - 1), { minLength: 1, maxLength: 3 }).map((all) => ({ $and: all })),
        },
        {
          weight: 2,
          arbitrary: fc.array(filters(depth - 1), { minLength: 1, maxLength: 3 }).map((all) => ({ $or: all })),
        },
        { weight: 1, arbitrary: filters(depth - 1).map((one) => ({ $not: one })) },
      );

/** As a payload comes back from storage. */
const stored = (payload: Payload | undefined): Payload | undefined =>
  payload && (JSON.parse(JSON.stringify(payload)) as Payload);

const nodesIn = (bits: Uint32Array): number[] =>
  [...bits].flatMap((word, i) =>
    Array.from({ length: 32 }, (_, b) => b)
      .filter((b) => (word >>> b) & 1)
      .map((b) => 32 * i + b),
  );

describe("filters", () => {
  it("match what the reference matches, and the text screen excludes nothing that does", () => {
    fc.assert(
      fc.property(filters(2), fc.array(payloads, { minLength: 1, maxLength: 12 }), (filter, rows) => {
        const condition = parseFilter(filter);
        const matches = matcher(condition);
        const screen = textScreen(condition);
        for (const payload of rows.map(stored)) {
          const expected = holds(filter, payload);
          expect(matches(payload), text(payload ?? null)).toBe(expected);
          if (expected && screen) expect(screen(payload ? JSON.stringify(payload) : "")).toBe(true);
        }
      }),
      runs(1500),
    );
  });

  for (const indexes of [[], ["a", "b", "a.x", "constructor", "ü"]]) {
    it(`give the reference's bitmaps with ${indexes.length} indexes, kept up to date`, async () => {
      let number = 0;
      const some = fc.array(payloads, { minLength: 1, maxLength: 40 });
      const change = fc.tuple(fc.constantFrom("insert", "remove", "payload"), fc.nat(80), payloads);
      await fc.assert(
        fc.asyncProperty(
          some,
          fc.array(filters(2), { minLength: 1, maxLength: 6 }),
          fc.array(change, { maxLength: 20 }),
          async (rows, asked, changes) => {
            const path = join(folder, `${indexes.length}-${number++}.sqlite`);
            const catalog = await Catalog.open(path, { storeId, indexes, create: true });
            const model = new Map<number, Payload | undefined>();
            const compare = () => {
              for (const filter of asked) {
                const expected = [...model].filter(([, payload]) => holds(filter, payload)).map(([node]) => node);
                const { bits, count } = catalog.bitmap(filter);
                expect(nodesIn(bits), JSON.stringify(filter)).toEqual(expected.sort((a, b) => a - b));
                expect(count).toBe(expected.length);
              }
            };
            await catalog.insert(
              rows.map((payload, node) => ({ node, id: `id-${node}`, payload })),
              1,
            );
            for (const [node, payload] of rows.entries()) model.set(node, stored(payload));
            compare();
            for (const [kind, node, payload] of changes) {
              if (kind === "insert") await catalog.insert([{ node, id: node, payload }], 2);
              else if (kind === "remove") await catalog.remove([node], 2);
              else await catalog.setPayload(node, payload, 2);
              if (kind === "remove") model.delete(node);
              else if (kind === "insert" || model.has(node)) model.set(node, stored(payload));
            }
            compare();
            catalog.commit(2);
            await catalog.close();
            const again = await Catalog.open(path, { storeId });
            for (const filter of asked) {
              expect(again.bitmap(filter).count).toBe(
                [...model.values()].filter((payload) => holds(filter, payload)).length,
              );
            }
            await again.close();
            rmSync(path);
          },
        ),
        runs(30),
      );
    });
  }

  it("lose no row to an index's bounds, where SQLite and JavaScript see text and numbers differently", async () => {
    const odd = [0.1, 0.30000000000000004, 5, 5.000000000000001, 4.999999999999999, 1e21, 2 ** 53, 5e-324, -1.1e-308];
    const more = [1.7976931348623157e308, -1.7976931348623157e308, 8.41e21, 9.5367431640625e-7, 123456789.12345679];
    const texts = [
      "",
      "a",
      "a\0",
      "a\0b",
      "a\0\uffff",
      "\ud7ff",
      "\ud800",
      "\udfff",
      "\ue000",
      "\uffff",
      "😀",
      "😀a",
      "z😀",
      "z\ue000",
    ];
    const all: Json[] = [...odd, ...more, ...texts, true, false, null, [1], ["a"], { x: 1 }];
    const catalog = await Catalog.open(join(folder, "odd.sqlite"), { storeId, indexes: ["a"], create: true });
    await catalog.insert(
      all.map((a, node) => ({ node, id: node, payload: { a } })),
      1,
    );
    for (const bound of all) {
      const ordered = typeof bound === "number" || typeof bound === "string" ? ["$gt", "$gte", "$lt", "$lte"] : [];
      for (const operator of ["$eq", ...ordered]) {
        const filter = { a: { [operator]: bound } };
        const expected = all.flatMap((a, node) => (holds(filter, { a }) ? [node] : []));
        expect(nodesIn(catalog.bitmap(filter).bits), JSON.stringify(filter)).toEqual(expected);
      }
    }
    await catalog.close();
  });

  it("are cached by meaning", () => {
    const key = (filter: Filter) => canonical(parseFilter(filter));
    expect(key({ a: 1, b: { $in: [2, 1] } })).toBe(key({ $and: [{ b: { $in: [1, 2, 2] } }, { a: { $eq: 1 } }] }));
    expect(key({ a: { $eq: { x: 1, y: 2 } } })).toBe(key({ a: { $eq: { y: 2, x: 1 } } }));
    expect(key({ a: 1 })).not.toBe(key({ a: "1" }));
    expect(key({ "a.b": 1 })).not.toBe(key({ $or: [{ a: 1 }, { b: 1 }] }));
    expect(key({ a: { $exists: false } })).not.toBe(key({ a: { $exists: true } }));
  });

  const deep = (levels: number): Filter => (levels === 0 ? { a: 1 } : { $not: deep(levels - 1) });
  const mistakes: [string, unknown, RegExp][] = [
    [
      "an unknown operator",
      { year: { $above: 3 } },
      /unknown operator "\$above"; did you mean "\$\w+"\? Valid: \$eq, .*\$exists/,
    ],
    [
      "a misspelled operator",
      { year: { $gtee: 3 } },
      /filter: year: \$gtee: unknown operator "\$gtee"; did you mean "\$gte"/,
    ],
    ["an unknown group", { $nor: [] }, /unknown operator "\$nor"/],
    ["a field operator beside fields", { $gt: 3 }, /\$gt stands beside fields/],
    ["a group inside a field", { a: { $or: [{ $gt: 3 }] } }, /\$or stands inside a field/],
    ["a nested object", { author: { name: "x" } }, /unknown operator "name".*"author\.name"/],
    ["no operators", { a: {} }, /filter: a is \{\}/],
    ["$in without an array", { a: { $in: 3 } }, /\$in is 3; expected an array/],
    ["$nin without an array", { a: { $nin: "x" } }, /\$nin is "x"; expected an array/],
    ["$exists without a boolean", { a: { $exists: 1 } }, /\$exists is 1; expected true or false/],
    ["$gt null", { a: { $gt: null } }, /\$gt is null; expected a finite number or a string/],
    ["$lt NaN", { a: { $lt: Number.NaN } }, /\$lt is NaN/],
    ["$lte boolean", { a: { $lte: true } }, /\$lte is true/],
    ["$gte array", { a: { $gte: [1] } }, /\$gte is an array/],
    ["$or of nothing", { $or: [] }, /\$or is an array; expected an array of at least one/],
    ["$and of no filters", { $and: [3] }, /\$and\[0\] is 3; expected an object/],
    ["$not of a value", { a: { $not: 3 } }, /\$not is 3; expected operators/],
    ["undefined", { a: undefined }, /filter: a is undefined; expected a JSON value/],
    ["NaN", { a: Number.NaN }, /filter: a is NaN/],
    ["a date", { a: { $eq: new Date(0) } }, /expected a JSON value/],
    ["an empty step", { "a..b": 1 }, /field "a\.\.b" has an empty step/],
    ["no object", "lang=en", /filter is "lang=en"; expected an object/],
    ["an array", [{ a: 1 }], /filter is an array/],
    ["too many levels", deep(200), /more than 64 levels/],
  ];
  for (const [name, filter, message] of mistakes) {
    it(`refuse ${name}`, () => {
      expect(() => parseFilter(filter as Filter)).toThrow(TypeError);
      expect(() => parseFilter(filter as Filter)).toThrow(message);
    });
  }
});
