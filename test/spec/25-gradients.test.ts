/**
 * Gradients by rows' vectors are added up durably, and an optimizer's step with them moves shifts: exactly what a
 * model of plain arrays says, whatever is deleted, checkpointed or closed in between. Queries see it by the gate alone.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { createRegion } from "../../native/index.js";
import { GradientSlots, gradientSections } from "../../src/engine/gradient-slots.js";
import * as records from "../../src/engine/records.js";
import { type Id, type Index, open } from "../../src/index.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { runs } from "../support/seed.js";

const path = scratch();
const d = 6;
const seedRows = randomRows(50, d, 3);

async function filled(name: string, metric: Metric = "l2", n = 20): Promise<Index> {
  const index = await open(path(name), { dimensions: d, metric });
  await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: seedRows.slice(0, n * d) });
  await index.settle();
  return index;
}

const gradientOf = (seed: number, length = d): Float32Array => randomRows(1, length, seed);
const lengthOf = (v: ArrayLike<number>): number => Math.sqrt(Array.from(v).reduce((sum, x) => sum + x * x, 0));
const added = (a: ArrayLike<number>, b: ArrayLike<number>) => Float32Array.from(a, (x, i) => x + b[i]);

/** What a shift makes of a vector, as `apply` says, in f64. */
function served(metric: Metric, vector: ArrayLike<number>, shift: ArrayLike<number>): number[] {
  const own = metric === "cosine" ? lengthOf(vector) : 1;
  const moved = Array.from(vector, (x, i) => x / own + shift[i]);
  const length = metric === "cosine" ? lengthOf(moved) : 1;
  return moved.map((x) => (own * x) / length);
}

describe("accumulate", () => {
  test("adds up, over calls, over closing, by entries and columns", async () => {
    let index = await filled("sums");
    await index.gradients.accumulate([
      { id: 1, gradient: gradientOf(1) },
      { id: 2, gradient: Array.from(gradientOf(2)) },
    ]);
    expect(index.gradients.get(1)).toEqual({ gradient: gradientOf(1), shift: undefined, steps: 0 });
    expect(index.gradients.get(3)).toBeUndefined();
    expect(index.gradients.get("nobody")).toBeUndefined();
    const gradients = Float32Array.of(...gradientOf(3), ...gradientOf(4), ...gradientOf(5));
    await index.gradients.accumulate({ ids: [2, 3, 3], gradients });
    const expected = [gradientOf(1), added(gradientOf(2), gradientOf(3)), added(gradientOf(4), gradientOf(5))];
    const stats = index.gradients.stats();
    expect(stats).toMatchObject({ rows: 3, accumulated: 4, applied: 0 });
    expect(stats.pendingNorm).toBeCloseTo(lengthOf(expected.flatMap((v) => [...v])), 6);
    for (let opening = 0; opening < 2; opening++) {
      expect([1, 2, 3].map((id) => index.gradients.get(id)!.gradient)).toEqual(expected);
      expect(index.gradients.stats()).toEqual(stats);
      expect((await index.check()).faults).toEqual([]);
      await index.close();
      index = await open(path("sums"));
    }
    await index.close();
  });

  test("takes what a differentiable query gives", async () => {
    const index = await filled("backward", "cosine");
    const { hits, backward } = await index.query({ vector: gradientOf(9), mode: "differentiable", k: 4 });
    const { candidates } = backward!(gradientOf(10));
    await index.gradients.accumulate(hits.map(({ id }, i) => ({ id, gradient: candidates[i] })));
    expect(hits.map(({ id }) => index.gradients.get(id)!.gradient)).toEqual(candidates.slice(0, 4));
    expect(await index.gradients.apply()).toMatchObject({ rows: 4 });
    await index.close();
  });

  test("may overlap itself and everything else: the sum is that in the order of the calls", async () => {
    const index = await filled("overlap");
    const pending: Promise<unknown>[] = [];
    const sums = new Map<number, Float32Array>();
    for (let call = 0; call < 60; call++) {
      const ids = [call % 7, 7 + (call % 3)];
      const entries = ids.map((id, i) => ({ id, gradient: gradientOf(call * 10 + i) }));
      for (const { id, gradient } of entries) {
        sums.set(id, added(sums.get(id) ?? new Float32Array(d), gradient));
      }
      pending.push(index.gradients.accumulate(entries));
      for (const { gradient } of entries) gradient.fill(Number.NaN); // copied before the call returned
      if (call % 10 === 3) pending.push(index.put(`new ${call}`, gradientOf(call)), index.checkpoint());
    }
    pending.push(
      index.put("late", gradientOf(1)),
      index.gradients.accumulate([{ id: "late", gradient: gradientOf(2) }]),
    );
    await Promise.all(pending);
    for (const [id, sum] of sums) expect(index.gradients.get(id)!.gradient).toEqual(sum);
    expect(index.gradients.get("late")!.gradient).toEqual(gradientOf(2));
    await index.close();
  });

  test("rows that are deleted or put again lose what waited, and what is put in their place starts anew", async () => {
    const index = await filled("gone");
    const all = Array.from({ length: 20 }, (_, id) => ({ id, gradient: gradientOf(id) }));
    await index.gradients.accumulate(all);
    await index.gradients.apply();
    await index.gradients.accumulate(all);
    await index.delete([1, 2, 3]);
    await index.put(4, gradientOf(99));
    expect(index.gradients.get(1)).toBeUndefined();
    expect(index.gradients.get(4)).toBeUndefined();
    expect(index.gradients.stats().rows).toBe(16);
    await index.settle(); // nodes are free
    await index.putMany({ ids: ["a", "b", "c", "d"], vectors: seedRows.slice(0, 4 * d) });
    for (const id of ["a", "b", "c", "d"]) expect(index.gradients.get(id)).toBeUndefined();
    const { bytes } = index.gradients.stats();
    await index.gradients.accumulate(["a", "b", "c", "d"].map((id, i) => ({ id, gradient: gradientOf(50 + i) })));
    expect(index.gradients.get("b")).toEqual({ gradient: gradientOf(51), shift: undefined, steps: 0 });
    expect(index.gradients.stats()).toMatchObject({ rows: 20, bytes }); // slots are used again
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  });

  test("what is touched costs, not what there is", async () => {
    const [n, touched] = [6000, 150];
    const index = await open(path("sparse"), {
      dimensions: d,
      metric: "l2",
      config: { ruvector: { hnsw_m: 4, hnsw_ef_construction: 8 } }, // linked fast
    });
    await index.putMany({ ids: Array.from({ length: n }, (_, i) => i), vectors: randomRows(n, d, 5) });
    await index.settle();
    await index.checkpoint();
    const file = () => statSync(join(path("sparse"), "index.hebb")).size;
    const before = file();
    const ids = Array.from({ length: touched }, (_, i) => i * 37);
    await index.gradients.accumulate({ ids, gradients: randomRows(touched, d, 6) });
    expect(await index.gradients.apply()).toMatchObject({ rows: touched });
    await index.checkpoint();
    expect(index.gradients.stats()).toMatchObject({ rows: touched, bytes: (touched + 1) * (32 + 128) });
    expect(file() - before).toBeLessThan(8 * 65536); // a dense one takes 900 kB
    await index.close();
  });
});

describe("apply", () => {
  test.each(METRICS)("under %s: follows the slope of a loss by what is served", async (metric) => {
    const index = await filled(`slope-${metric}`, metric);
    const [id, rate] = [5, 0.01];
    const vector = rowOf(seedRows, id, d);
    const linear = gradientOf(70);
    const lossOf = (v: number[]) => v.reduce((sum, x, i) => sum + linear[i] * x + 0.25 * x * x, 0);
    const slopeOf = (v: number[]) => Float32Array.from(v, (x, i) => linear[i] + 0.5 * x);
    const shifts = [new Array<number>(d).fill(0)];
    let momentum = new Array<number>(d).fill(0);
    for (let step = 0; step < 3; step++) {
      const shift = shifts.at(-1)!;
      const slope = shift.map((_, i) => {
        const at = (by: number) => lossOf(served(metric, vector, shift.with(i, shift[i] + by)));
        return (at(1e-5) - at(-1e-5)) / 2e-5;
      });
      momentum = momentum.map((b, i) => 0.9 * b + slope[i]);
      shifts.push(shift.map((x, i) => x - rate * momentum[i]));
      await index.gradients.accumulate([{ id, gradient: slopeOf(served(metric, vector, shift)) }]);
      await index.gradients.apply({ optimizer: "sgd", rate });
      const found = index.gradients.get(id)!;
      expect(found).toMatchObject({ gradient: undefined, steps: step + 1 });
      for (let i = 0; i < d; i++) expect(Math.abs(found.shift![i] - shifts.at(-1)![i])).toBeLessThan(1e-6);
    }
    await index.close();
  });

  test.each(METRICS)("under %s: trains a row towards what is wanted, within its bound", async (metric) => {
    const index = await filled(`towards-${metric}`, metric);
    const vector = rowOf(seedRows, 3, d);
    const target = Array.from(rowOf(seedRows, 4, d));
    const off = (v: number[]) => lengthOf(v.map((x, i) => x - target[i]));
    const own = metric === "cosine" ? 1 : lengthOf(vector);
    for (const [bound, rate] of [
      [0.1, 0.01],
      [2, 0.02],
    ]) {
      const start = off(served(metric, vector, index.gradients.get(3)?.shift ?? new Float32Array(d)));
      for (let step = 0; step < 60; step++) {
        const v = served(metric, vector, index.gradients.get(3)?.shift ?? new Float32Array(d));
        await index.gradients.accumulate([{ id: 3, gradient: v.map((x, i) => x - target[i]) }]);
        await index.gradients.apply({ rate, bound });
        expect(lengthOf(index.gradients.get(3)!.shift!)).toBeLessThanOrEqual(bound * own * (1 + 1e-6));
      }
      expect(off(served(metric, vector, index.gradients.get(3)!.shift!))).toBeLessThan(start);
    }
    await index.close();
  });

  test("moves rows with gradients alone, says how many and how much, and keeps moments by row", async () => {
    let index = await filled("moments");
    expect(await index.gradients.apply()).toEqual({ rows: 0, norm: 0 });
    await index.gradients.accumulate([
      { id: 0, gradient: [3, 0, 0, 0, 0, 0] },
      { id: 1, gradient: [0, 4, 0, 0, 0, 0] },
    ]);
    expect(await index.gradients.apply({ optimizer: "adam", rate: 0.5 })).toEqual({ rows: 2, norm: 5 });
    const first = index.gradients.get(0)!.shift!;
    expect(first[0]).toBeCloseTo(-0.5, 6);
    await index.close();
    index = await open(path("moments")); // with no feedback ever
    expect(index.gradients.get(0)).toEqual({ gradient: undefined, shift: first, steps: 1 });
    await index.gradients.accumulate([{ id: 1, gradient: [0, 4, 0, 0, 0, 0] }]);
    expect(await index.gradients.apply({ rate: 0.5, weightDecay: 0 })).toEqual({ rows: 1, norm: 4 }); // adam's and adamw's are one
    expect(index.gradients.get(0)!.shift).toEqual(first);
    expect(index.gradients.get(1)!.steps).toBe(2);
    expect(index.gradients.get(1)!.shift![1]).toBeCloseTo(-1, 4); // half again: the gradient is as before
    await index.gradients.accumulate([{ id: 1, gradient: [0, 1, 0, 0, 0, 0] }]);
    await index.gradients.apply({ optimizer: "sgd", rate: 0.5 });
    expect(index.gradients.get(1)!.steps).toBe(1); // another kind of moments
    expect(index.gradients.stats()).toMatchObject({ rows: 2, accumulated: 4, applied: 4, pendingNorm: 0 });
    await index.close();
  });

  test("a gradient of zeros waits as any other, and shifts nothing", async () => {
    const index = await filled("zeros");
    await index.gradients.accumulate([{ id: 0, gradient: new Float32Array(d) }]);
    expect(await index.gradients.apply()).toEqual({ rows: 1, norm: 0 });
    expect(index.gradients.get(0)).toEqual({ gradient: undefined, shift: undefined, steps: 1 });
    await index.close();
  });

  test("changes no answer while the gate serves static, nor any vector", async () => {
    const index = await filled("gate", "cosine", 50);
    const answers = async () => {
      const lists = [];
      for (const mode of ["vector", "neural", "subgraph"] as const) {
        lists.push((await index.query({ vector: gradientOf(80), mode, k: 10 })).hits);
      }
      return [...lists, index.search(gradientOf(80), { k: 10 }), index.get(3)];
    };
    const before = await answers();
    await index.gradients.accumulate({ ids: Array.from({ length: 50 }, (_, i) => i), gradients: randomRows(50, d, 7) });
    await index.gradients.apply({ rate: 0.3 });
    expect(index.stats().learning).toMatchObject({ shifted: 50, serving: "static" });
    expect(await answers()).toEqual(before);
    await index.close();
  });

  test("learn and train go on with it", async () => {
    const index = await filled("feedback", "cosine", 50);
    const prng = new Prng(1);
    const pending: Promise<unknown>[] = [];
    for (let round = 0; round < 5; round++) {
      const ids = Array.from({ length: 6 }, () => prng.below(50));
      pending.push(index.gradients.accumulate({ ids, gradients: randomRows(6, d, round) }));
      pending.push(index.learn(ids.map((id) => ({ query: { id }, chosen: [(id + 1) % 50] }))));
      pending.push(index.gradients.apply({ rate: 0.05 }));
      if (round % 4 === 3)
        pending.push(index.train({ epochs: 1 }), index.delete([round]), index.put(round, gradientOf(round)));
    }
    await Promise.all(pending);
    const shifts = Array.from({ length: 50 }, (_, id) => index.gradients.get(id)?.shift);
    expect((await index.check()).faults).toEqual([]);
    await index.close();
    const again = await open(path("feedback"));
    expect(Array.from({ length: 50 }, (_, id) => again.gradients.get(id)?.shift)).toEqual(shifts);
    await again.close();
  });
});

/** A row as plain arrays of f64 have it. */
interface Row {
  vector: Float32Array;
  sum?: number[];
  shift: number[];
  first: number[];
  second: number[];
  kind: number;
  steps: number;
}
const commands = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.record({ put: fc.nat(9), seed: fc.nat(1e6) }) },
    { weight: 1, arbitrary: fc.record({ delete: fc.nat(9) }) },
    {
      weight: 5,
      arbitrary: fc.record({ accumulate: fc.array(fc.nat(9), { minLength: 1, maxLength: 8 }), seed: fc.nat(1e6) }),
    },
    { weight: 3, arbitrary: fc.record({ apply: fc.constantFrom("adam" as const, "adamw" as const, "sgd" as const) }) },
    { weight: 1, arbitrary: fc.constant({ reopen: true as const }) },
    { weight: 1, arbitrary: fc.constant({ checkpoint: true as const }) },
  ),
  { minLength: 5, maxLength: 20 },
);

/** One step of a row in f64, written without a look at the optimizers' code. */
function stepped(metric: Metric, row: Row, optimizer: "adam" | "adamw" | "sgd", rate: number, decay: number): void {
  const at = (i: number, by: number) =>
    served(metric, row.vector, row.shift.with(i, row.shift[i] + by)).reduce((sum, x, j) => sum + x * row.sum![j], 0);
  const slope = row.shift.map((_, i) => (at(i, 1e-6) - at(i, -1e-6)) / 2e-6);
  const kind = optimizer === "sgd" ? 1 : 2;
  if (row.kind !== kind) Object.assign(row, { kind, steps: 0, first: slope.map(() => 0), second: slope.map(() => 0) });
  row.steps++;
  row.shift = row.shift.map((p, i) => {
    const g = slope[i] + (optimizer === "adamw" ? 0 : decay * p);
    if (optimizer === "sgd") {
      row.first[i] = 0.9 * row.first[i] + g;
      return p - rate * row.first[i];
    }
    row.first[i] = 0.9 * row.first[i] + 0.1 * g;
    row.second[i] = 0.999 * row.second[i] + 0.001 * g * g;
    const step = row.first[i] / (1 - 0.9 ** row.steps) / (Math.sqrt(row.second[i] / (1 - 0.999 ** row.steps)) + 1e-8);
    return p - (optimizer === "adamw" ? rate * decay * p : 0) - rate * step;
  });
  const most = 0.5 * (metric === "cosine" ? 1 : lengthOf(row.vector));
  const length = lengthOf(row.shift);
  if (length > most) row.shift = row.shift.map((x) => (x * most) / length);
  row.sum = undefined;
}

test("as a Map of f64 arrays says, through deletes, checkpoints and closing", async () => {
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...METRICS), commands, async (metric, list) => {
      const directory = path(`model-${run++}`);
      const options = { dimensions: d, metric, durability: "off" as const };
      let index = await open(directory, options);
      const rows = new Map<number, Row>();
      const exact = new Map<number, Float32Array>();
      for (const command of list) {
        if ("put" in command) {
          const vector = gradientOf(command.seed);
          await index.put(command.put, vector);
          const zeros = new Array<number>(d).fill(0);
          rows.set(command.put, { vector, shift: zeros, first: zeros, second: zeros, kind: 0, steps: 0 });
          exact.delete(command.put);
        } else if ("delete" in command) {
          await index.delete([command.delete]);
          rows.delete(command.delete);
          exact.delete(command.delete);
        } else if ("accumulate" in command) {
          const entries = command.accumulate.map((id, i) => ({ id, gradient: gradientOf(command.seed + i) }));
          if (entries.some(({ id }) => !rows.has(id))) {
            expect((await errorOf(() => index.gradients.accumulate(entries))).code).toBe("UNKNOWN_ID");
          } else {
            await index.gradients.accumulate(entries);
            const inCall = new Map<number, Float32Array>();
            for (const { id, gradient } of entries) {
              const row = rows.get(id)!;
              row.sum = Array.from(gradient, (g, i) => g + (row.sum?.[i] ?? 0));
              inCall.set(id, added(inCall.get(id) ?? new Float32Array(d), gradient));
            }
            for (const [id, sum] of inCall) exact.set(id, added(exact.get(id) ?? new Float32Array(d), sum));
          }
        } else if ("apply" in command) {
          const waiting = [...rows.values()].filter((row) => row.sum);
          const norm = lengthOf(waiting.flatMap((row) => row.sum!));
          const applied = await index.gradients.apply({ optimizer: command.apply, rate: 0.05, weightDecay: 0.1 });
          expect(applied.rows).toBe(waiting.length);
          expect(applied.norm).toBeCloseTo(norm, 4);
          for (const row of waiting) stepped(metric, row, command.apply, 0.05, 0.1);
          exact.clear();
        } else if ("checkpoint" in command) {
          await index.checkpoint();
        } else {
          await index.close();
          index = await open(directory, options);
        }
        for (let id = 0; id < 10; id++) {
          const [found, row] = [index.gradients.get(id), rows.get(id)];
          expect(found?.gradient).toEqual(exact.get(id)); // to the last bit
          expect(found?.steps ?? 0).toBe(row?.steps ?? 0);
          for (let i = 0; i < d; i++) {
            const [a, b] = [found?.shift?.[i] ?? 0, row?.shift[i] ?? 0];
            expect(Math.abs(a - b), `shift of ${id}`).toBeLessThan(2e-3);
            if (row?.sum) expect(Math.abs(found!.gradient![i] - row.sum[i])).toBeLessThan(1e-5);
          }
        }
      }
      expect((await index.check()).faults).toEqual([]);
      await index.close();
    }),
    runs(12),
  );
});

describe("records", () => {
  test("have types that are for ever, and these bytes", () => {
    expect([records.RECORD.gradients, records.RECORD.stepped]).toEqual([7, 8]);
    const hex = (bytes: Uint8Array[]) => Buffer.concat(bytes).toString("hex");
    const gradients = { nodes: Uint32Array.of(3, 1), gradients: Float32Array.of(1, -2) };
    expect(hex(records.encodeGradients(gradients))).toBe("020000000300000001000000020000000000803f000000c0");
    expect(records.decodeGradients(Buffer.concat(records.encodeGradients(gradients)))).toEqual(gradients);
    const step = { nodes: Uint32Array.of(5), steps: Uint32Array.of(7), moments: Float32Array.of(0.5, 2) };
    expect(hex(records.encodeStepped(step))).toBe("0100000005000000010000000700000002000000" + "0000003f00000040");
    expect(records.decodeStepped(Buffer.concat(records.encodeStepped(step)))).toEqual(step);
  });

  /** Records of the log, and rows that disappear between them. */
  type Logged = { add: number[]; seed: number } | { step: number[]; adam: boolean } | { forget: number };
  const nodes = fc.uniqueArray(fc.nat(5), { minLength: 1 });
  const log = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ add: nodes, seed: fc.nat(1e6) }) },
      { weight: 2, arbitrary: fc.record({ step: nodes, adam: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ forget: fc.nat(5) }) },
    ),
    { minLength: 1, maxLength: 20 },
  );

  test("have no room beyond the nodes there can be, and no slot for what is not live", async () => {
    const region = createRegion(
      gradientSections(2, 2).map(({ reserveBytes }) => Math.ceil(reserveBytes / 65536) * 65536),
    );
    const slots = new GradientSlots(region, 0, 2, 2, { bytes: 0, nodes: 10 });
    await slots.add(1, { nodes: Uint32Array.of(7, 9), gradients: Float32Array.of(1, 2, 3, 4) });
    slots.checkRoom(Uint32Array.of(9, 7));
    expect((await errorOf(() => slots.checkRoom(Uint32Array.of(9, 8)))).code).toBe("STORE_FULL");
    expect([...slots.faults((node) => node === 9)]).toEqual([
      { slot: 1, message: "gradient slot 1 is of node 7, which is not live" },
    ]);
    region.close();
  });

  test("again, from any of them on, over what holds them already: nothing is counted twice", async () => {
    const sections = gradientSections(2, 100);
    const reserve = sections.map(({ reserveBytes }) => Math.ceil(reserveBytes / 65536) * 65536);
    const replay = async (slots: GradientSlots, list: Logged[], from: number) => {
      for (const [i, record] of list.entries()) {
        if (i < from) continue;
        if ("add" in record) {
          const gradients = randomRows(record.add.length, 2, record.seed);
          await slots.add(i + 1, { nodes: Uint32Array.from(record.add), gradients });
        } else if ("step" in record) {
          const moments = randomRows(record.step.length, record.adam ? 4 : 2, i);
          const steps = new Uint32Array(record.step.length).fill(i);
          await slots.stepped(i + 1, { nodes: Uint32Array.from(record.step), steps, moments });
        } else slots.forget(Uint32Array.of(record.forget));
      }
    };
    const contents = (slots: GradientSlots) => ({
      nodes: [0, 1, 2, 3, 4, 5].map((node) => [
        slots.of(node),
        slots.of(node) && slots.momentsOf(node, 1),
        slots.of(node) && slots.momentsOf(node, 2),
      ]),
      stats: { ...slots.stats(), bytes: 0, pendingNorm: slots.stats().pendingNorm.toPrecision(12) },
      faults: [...slots.faults(() => true)],
    });
    await fc.assert(
      fc.asyncProperty(log, fc.nat(20), fc.boolean(), async (list, from, reload) => {
        // Rows that disappear take their slot's LSN along: the log from before has it made and forgotten again.
        const region = createRegion(reserve);
        const slots = new GradientSlots(region, 0, 2, 100, { bytes: 0, nodes: 100 });
        await replay(slots, list, 0);
        const once = contents(slots);
        const again = reload ? new GradientSlots(region, 0, 2, 100, { bytes: reserve[0], nodes: 100 }) : slots;
        expect(contents(again)).toEqual(once);
        await replay(again, list, from);
        expect(contents(again)).toEqual(once);
        region.close();
      }),
      runs(300),
    );
  });
});

describe("is refused, and nothing changes:", () => {
  const whole = gradientOf(1);
  const holding = (value: number) => whole.with(2, value);
  type Rows = Parameters<Index["gradients"]["accumulate"]>[0];
  const rows = (value: unknown) => value as Rows;
  const id: Id = 1;
  let index: Index;
  beforeAll(async () => {
    index = await filled("bad");
    await index.gradients.accumulate([{ id, gradient: whole }]);
  });
  afterAll(() => index.close());

  test.each<[string, Rows, "TypeError" | "RangeError" | "UNKNOWN_ID", string]>([
    ["no rows", rows(undefined), "TypeError", "accumulate got undefined; expected an array of { id, gradient }"],
    ["a string", rows("x"), "TypeError", 'accumulate got "x"; expected an array'],
    ["an entry that is none", rows([5]), "TypeError", "entry 0 is 5; expected { id, gradient }"],
    [
      "a misspelled field",
      rows([{ id, gradiant: whole }]),
      "TypeError",
      'unknown option "gradiant"; did you mean "gradient"',
    ],
    ["a bad id", rows([{ id: 1.5, gradient: whole }]), "TypeError", "id is 1.5; expected a safe integer"],
    ["no gradient", rows([{ id }]), "TypeError", "gradient of id 1 is undefined; expected a Float32Array"],
    ["values that are no numbers", rows([{ id, gradient: ["1"] }]), "TypeError", "gradient of id 1 is an array of 1"],
    ["a short gradient", [{ id: "a", gradient: [1] }], "RangeError", 'gradient of id "a" has 1 values; expected 6'],
    ["NaN", [{ id, gradient: holding(Number.NaN) }], "RangeError", "gradient of id 1 holds NaN at position 2"],
    ["Infinity", [{ id, gradient: holding(-1 / 0) }], "RangeError", "gradient of id 1 holds -Infinity at position 2"],
    ["what f32 cannot hold", [{ id, gradient: [...holding(0)].with(2, 1e39) }], "RangeError", "id 1 holds Infinity"],
    ["a gradient too long", [{ id, gradient: holding(2e15) }], "RangeError", "expected at most 1000000000000000"],
    ["an id that is not there", [{ id: "ghost", gradient: whole }], "UNKNOWN_ID", 'of id "ghost", which is not in the'],
    ["columns without ids", rows({ gradients: whole }), "TypeError", "ids is undefined; expected an array of ids"],
    ["columns of an array", rows({ ids: [1], gradients: [1] }), "TypeError", "gradients is an array of 1"],
    [
      "columns of parts of rows",
      { ids: [1], gradients: whole.slice(1) },
      "RangeError",
      "has 5 values; expected a multiple of 6",
    ],
    ["columns of other lengths", { ids: [1, 2], gradients: whole }, "RangeError", "holds 1 rows of 6; expected 2"],
    ["columns with NaN", { ids: [1], gradients: holding(Number.NaN) }, "RangeError", "gradient of id 1 holds NaN"],
    ["an unknown column", rows({ ids: [1], gradient: whole }), "TypeError", 'did you mean "gradients"'],
  ])("%s", async (_, bad, kind, message) => {
    const before = [index.gradients.get(1), index.gradients.stats(), index.stats().bytes.wal];
    const lists: Rows[] = Array.isArray(bad) ? [bad, [{ id: 1, gradient: whole }, ...bad]] : [bad];
    for (const list of lists) {
      const error = await errorOf(() => index.gradients.accumulate(list));
      expect(error.code ?? error.name).toBe(kind);
      if (list === bad) expect(error.message).toContain(message);
    }
    expect([index.gradients.get(1), index.gradients.stats(), index.stats().bytes.wal]).toEqual(before);
  });

  type Options = Parameters<Index["gradients"]["apply"]>[0];
  test.each<[string, unknown, "TypeError" | "RangeError", string]>([
    [
      "an optimizer that is none",
      { optimizer: "rmsprop" },
      "TypeError",
      'optimizer is "rmsprop"; expected one of adamw',
    ],
    ["options that are none", 3, "TypeError", "apply: the options are 3"],
    ["an unknown option", { lr: 1 }, "TypeError", 'unknown option "lr"; did you mean "rate"'],
    ["a rate of 0", { rate: 0 }, "RangeError", "rate is 0; expected a number above 0, at most 1"],
    ["a rate above 1", { rate: 1.5 }, "RangeError", "rate is 1.5"],
    ["a rate that is none", { rate: Number.NaN }, "RangeError", "rate is NaN"],
    ["a rate in text", { rate: "0.1" }, "RangeError", 'rate is "0.1"'],
    ["a decay below 0", { weightDecay: -0.1 }, "RangeError", "weightDecay is -0.1; expected a number from 0 to 1"],
    ["a decay above 1", { weightDecay: 2 }, "RangeError", "weightDecay is 2; expected a number from 0 to 1"],
    ["a bound above 2", { bound: 3 }, "RangeError", "bound is 3; expected a number from 0 to 2"],
    ["a bound that is none", { bound: "x" }, "RangeError", 'bound is "x"'],
  ])("%s", async (_, options, kind, message) => {
    const before = [index.gradients.get(1), index.gradients.stats(), index.stats().bytes.wal];
    const error = await errorOf(() => index.gradients.apply(options as Options));
    expect(error.name).toBe(kind);
    expect(error.message).toContain(message);
    expect([index.gradients.get(1), index.gradients.stats(), index.stats().bytes.wal]).toEqual(before);
  });

  test("get of what is no id", async () => {
    const error = await errorOf(() => index.gradients.get({} as Id));
    expect(error.name).toBe("TypeError");
  });

  test("on a handle that only reads, and on one that is closed", async () => {
    const index = await filled("handles");
    await index.gradients.accumulate([]);
    await index.gradients.accumulate([{ id: 1, gradient: whole }]);
    const stats = index.gradients.stats();
    await index.close();
    for (const work of [
      () => index.gradients.accumulate([{ id: 1, gradient: whole }]),
      () => index.gradients.apply(),
      () => index.gradients.stats(),
      () => index.gradients.get(1),
    ]) {
      expect((await errorOf(work)).code).toBe("INDEX_CLOSED");
    }
    const reader = await open(path("handles"), { readOnly: true });
    expect(reader.gradients.get(1)!.gradient).toEqual(whole);
    expect(reader.gradients.stats()).toEqual(stats);
    for (const work of [
      () => reader.gradients.accumulate([{ id: 1, gradient: whole }]),
      () => reader.gradients.apply(),
    ]) {
      expect((await errorOf(work)).code).toBe("STORE_READ_ONLY");
    }
    expect(reader.gradients.stats()).toEqual(stats);
    await reader.close();
  });
});
