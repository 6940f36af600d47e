/**
 * Frozen bundles against a Map and brute force: after a random life an index is frozen in a random way, and the bundle
 * must be what the Map says, answer what comparing everything says, and be the same again when it is reopened or frozen
 * once more. And whatever bytes of a bundle are damaged, it gives the right answer or an error with a code. A failure
 * prints its seed and the shortest life that shows it; `HEBB_SEED=n` replays it.
 */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type FrozenIndex, HebbError, type Id, type Metric, open, openFrozen, type Payload } from "../../src/index.js";
import { fileOf, idsOf, sectionsIn } from "../support/frozen.js";
import { distanceOf, errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";
import { range } from "../support/tiers.js";

const path = scratch();

interface Row {
  vector: number[];
  payload: Payload | undefined;
}

/** Integers ascending, then strings by their UTF-8. */
function inOrder(a: Id, b: Id): number {
  const [x, y] = [a, b].map((id) => (typeof id === "number" ? 0 : 1));
  if (x !== y) return x - y;
  return typeof a === "number" ? a - (b as number) : Buffer.compare(Buffer.from(a), Buffer.from(b as string));
}

// ---- what a life is made of ----

const id: fc.Arbitrary<Id> = fc.oneof(
  fc.integer({ min: -3, max: 60 }),
  fc.integer({ min: -3, max: 12 }).map(String),
  fc.constantFrom<Id[]>(
    "__proto__",
    "é".repeat(30),
    "x".repeat(512),
    "a\0b",
    "\uffff",
    "\u{10000}",
    2 ** 40,
    -(2 ** 40),
  ),
);
const payload: fc.Arbitrary<Payload | undefined> = fc.option(
  fc.dictionary(fc.constantFrom("a", "b", "é"), fc.oneof(fc.integer(), fc.string(), fc.constant(null)), { maxKeys: 2 }),
  { nil: undefined },
);
/** Few values, so that many are equally near. */
const vectorOf = (d: number) =>
  fc
    .array(
      fc.oneof({ arbitrary: fc.integer({ min: -2, max: 2 }), weight: 4 }, fc.float({ min: -50, max: 50, noNaN: true })),
      {
        minLength: d,
        maxLength: d,
      },
    )
    .map((values) => values.map(Math.fround))
    .filter((values) => values.some((x) => Math.abs(x) > 1e-3)); // it has a direction
const changeOf = (d: number) => {
  const row = fc.record({ id, vector: vectorOf(d), payload });
  return fc.oneof(
    {
      arbitrary: fc.record({
        do: fc.constant("putMany" as const),
        rows: fc.uniqueArray(row, { maxLength: 40, size: "max", selector: (r) => r.id }),
      }),
      weight: 4,
    },
    { arbitrary: fc.record({ do: fc.constant("delete" as const), ids: fc.array(id, { maxLength: 5 }) }), weight: 2 },
    { arbitrary: fc.record({ do: fc.constant("setPayload" as const), id, payload }), weight: 2 },
    { arbitrary: fc.record({ do: fc.constant("settle" as const) }), weight: 1 },
  );
};
const options = fc.record(
  {
    rotation: fc.constantFrom("hadamard" as const, "haar" as const),
    seed: fc.nat(),
    bits: fc.integer({ min: 1, max: 8 }),
    rerankFactor: fc.integer({ min: 0, max: 1024 }),
    overlay: fc.boolean(),
    memoryClass: fc.string(),
  },
  { requiredKeys: [] },
);
const life = fc.constantFrom(1, 3, 8, 65).chain((d) =>
  fc.record({
    d: fc.constant(d),
    metric: fc.constantFrom<Metric[]>("l2", "cosine", "dot"),
    changes: fc.array(changeOf(d), { minLength: 1, maxLength: 8 }),
    options,
    queries: fc.array(vectorOf(d), { minLength: 3, maxLength: 3 }),
    k: fc.integer({ min: 1, max: 12 }),
  }),
);

/** Distances of hits ascend, and of equal ones the ids. */
function expectSorted(hits: { id: Id; distance: number }[]): void {
  for (let i = 1; i < hits.length; i++) {
    const [a, b] = [hits[i - 1], hits[i]];
    expect(a.distance < b.distance || (a.distance === b.distance && inOrder(a.id, b.id) < 0)).toBe(true);
  }
}

test("a bundle holds and finds what a Map and brute force say", async () => {
  let number = 0;
  let [asked, missed] = [0, 0];
  await fc.assert(
    fc.asyncProperty(life, async ({ d, metric, changes, options: given, queries, k }) => {
      const name = `life-${number++}`;
      const index = await open(path(`${name}.hebb`), { dimensions: d, metric, durability: "off" });
      const opened: FrozenIndex[] = [];
      try {
        const model = new Map<Id, Row>();
        for (const change of changes) {
          if (change.do === "putMany") {
            await index.putMany(change.rows);
            for (const { id: one, ...row } of change.rows) model.set(one, row);
          } else if (change.do === "delete") {
            await index.delete(change.ids);
            for (const one of change.ids) model.delete(one);
          } else if (change.do === "setPayload") {
            if (!model.has(change.id)) continue;
            await index.setPayload(change.id, change.payload);
            model.get(change.id)!.payload = change.payload;
          } else await index.settle();
        }
        if (model.size === 0) {
          expect(await errorOf(() => index.freeze(path(name), given))).toMatchObject({ code: "INDEX_EMPTY" });
          return;
        }
        const frozen = await index.freeze(path(name), given);
        opened.push(frozen);
        const again = await openFrozen(path(name), { verify: "eager" });
        opened.push(again);
        const expected = [...model]
          .sort(([a], [b]) => inOrder(a, b))
          .map(([one, row]) => ({ id: one, vector: Float32Array.from(row.vector), payload: row.payload }));
        for (const one of opened) {
          expect([...one.entries()]).toEqual(expected);
          expect([one.size, one.stats().leftOut]).toEqual([model.size, 0]);
          expect(one.stats()).toMatchObject({
            ...given,
            overlay: given.overlay ? { adapterRank: 0, shifted: 0 } : undefined,
          });
        }
        for (const one of changes.flatMap((change) =>
          "rows" in change ? idsOf(change.rows) : "ids" in change ? change.ids : [],
        )) {
          expect(frozen.has(one)).toBe(model.has(one));
          expect(frozen.get(one)).toEqual(expected.find((row) => row.id === one));
        }
        for (const query of queries) {
          const distances = new Map([...model].map(([one, { vector }]) => [one, distanceOf(metric, query, vector)]));
          const all = frozen.search(query, { k: 100, rerankFactor: 1024 });
          expect(idsOf(all).sort(inOrder)).toEqual(idsOf(expected));
          expectSorted(all);
          for (const hit of all) {
            const right = distances.get(hit.id)!;
            expect(Math.abs(hit.distance - right)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(right)));
            expect(hit.payload).toEqual(model.get(hit.id)!.payload);
          }
          const exact = index.search(query, { k: 100, exact: true });
          expect(all.map(({ distance }) => distance)).toEqual(exact.map(({ distance }) => distance));
          expect(again.search(query, { k: 100, rerankFactor: 1024 })).toEqual(all);
          expect(await frozen.searchMany(Float32Array.from(query), { k: 100, rerankFactor: 1024 })).toEqual([all]);

          // So few rows are all compared in mode graph, and a scan looks at them by their codes.
          const few = frozen.search(query, { k, mode: "graph" });
          expect(few.map(({ distance }) => distance)).toEqual(all.slice(0, k).map(({ distance }) => distance));
          const scanned = again.search(query, { k, rerankFactor: 1024 });
          expectSorted(scanned);
          expect(scanned).toHaveLength(Math.min(k, model.size));
          expect(all).toEqual(expect.arrayContaining(scanned));
          asked += scanned.length;
          missed += scanned.filter(({ distance }) => distance > all[scanned.length - 1].distance).length;

          const estimated = frozen.search(query, { k: 100, rerankFactor: 0 });
          expectSorted(estimated);
          expect(idsOf(estimated).sort(inOrder)).toEqual(idsOf(expected));
        }
        const same = await index.freeze(path(`${name}-same`), given);
        opened.push(same);
        expect(same.witness).toBe(frozen.witness);
        await index.put("one more", queries[0]);
        opened.push(await index.freeze(path(name), given));
        expect([await frozen.refresh(), await same.refresh()]).toEqual(["replaced", "up-to-date"]);
        expect(frozen.witness).not.toBe(same.witness);
        expect(frozen.get("one more")?.vector).toEqual(Float32Array.from(queries[0]));
      } finally {
        for (const one of opened) await one.close();
        await index.close();
        for (const one of [`${name}.hebb`, name, `${name}-same`]) rmSync(path(one), { recursive: true, force: true });
      }
    }),
    runs(25),
  );
  // What a scan may miss is what its bound of three standard deviations leaves.
  expect(missed / asked).toBeLessThan(0.01);
});

const [n, d] = [1500, 8];
const rows = randomRows(n, d, 3);
const asked = randomRows(5, d, 4);

/** All that a bundle answers, each answer by itself: a value, or the code of an error. */
async function answersOf(frozen: FrozenIndex): Promise<string[]> {
  const found: string[] = [];
  const add = async (work: () => unknown) => {
    try {
      found.push(JSON.stringify(await work(), (_, x: unknown) => (x instanceof Float32Array ? [...x] : x)));
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      found.push(error.code);
    }
  };
  for (let q = 0; q < 5; q++) {
    for (const mode of ["scan", "graph"] as const) {
      await add(() => frozen.search(rowOf(asked, q, d), { k: 5, ef: 20, mode, include: ["payload", "vector"] }));
    }
  }
  await add(() => frozen.searchMany(asked));
  await add(() => frozen.search(rowOf(asked, 0, d), { k: n, rerankFactor: 0 }));
  for (const one of [0, 77, n - 1, "absent", "é".repeat(100)]) await add(() => frozen.get(one));
  await add(() => [...frozen.entries()]);
  return found;
}

test("whatever bytes are damaged, lazily no wrong answer comes out, and unverified nothing worse than one", async () => {
  const index = await open(path("whole.hebb"), { dimensions: d, metric: "l2", durability: "off" });
  const ids = range(n).map((i) => (i % 100 === 5 ? `${i}`.repeat(100) : i));
  await index.putMany({ ids, vectors: rows, payloads: ids.map((_, i) => (i % 2 ? { i } : undefined)) });
  const sound = await index.freeze(path("whole"), { rotation: "haar" });
  const expected = await answersOf(sound);
  expect(expected.filter((answer) => /^[A-Z_]+$/.test(answer))).toEqual([]);
  await sound.close();
  await index.close();
  const sections = sectionsIn(path("whole"));
  const damage = fc.record({
    section: fc.constantFrom(...sections),
    place: fc.oneof(fc.nat({ max: 200 }), fc.nat()),
    bytes: fc.oneof(
      fc.integer({ min: 1, max: 255 }).map((byte) => Buffer.of(byte)),
      fc
        .constantFrom(0xffffffff, 0x7fc00000, 0x7f800000, 0, 1, 0x7fffffff, 0x10000)
        .map((word) => Buffer.from(Uint32Array.of(word).buffer)),
      fc.uint8Array({ minLength: 1, maxLength: 4096 }),
    ),
  });
  let wrong = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (all) => {
      const directory = path("broken");
      cpSync(path("whole"), directory, { recursive: true });
      try {
        for (const { section, place, bytes } of all) {
          const file = fileOf(directory, section);
          const content = readFileSync(file);
          const at = 4 * (place % Math.floor(content.length / 4));
          content.set(bytes.subarray(0, content.length - at), at);
          writeFileSync(file, content);
        }
        for (const verify of ["lazy", "off"] as const) {
          const frozen = await openFrozen(directory, { verify }).catch((error: unknown) => {
            if (!(error instanceof HebbError)) throw error;
            expect(error.code).toMatch(/^(WITNESS_MISMATCH|BUNDLE_CORRUPT)$/);
          });
          if (frozen === undefined) continue;
          const answers = await answersOf(frozen);
          await frozen.close();
          answers.forEach((answer, i) => {
            if (answer === expected[i]) return;
            wrong++;
            if (verify === "lazy") expect(answer).toBe("WITNESS_MISMATCH");
            else if (/^[A-Z_]+$/.test(answer)) expect(answer).toBe("BUNDLE_CORRUPT");
          });
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    }),
    runs(40),
  );
  expect(wrong).toBeGreaterThan(0); // else nothing that counts was damaged
});
