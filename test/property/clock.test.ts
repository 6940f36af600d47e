/**
 * A clock that is set back and forth by ten years, between any two calls and between closing and opening: nothing becomes
 * NaN, what was learned is what a clock that goes right makes of the same events, and the last write is the one that came
 * last. (Heat by itself: heat.test.ts.)
 */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Feedback, type Index, type OpenOptions, open } from "../../src/index.js";
import { figure } from "../support/figures.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import { expectSound, range } from "../support/tiers.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const replay = `HEBB_SEED=${SEED}`;
const YEARS = 10 * 365.25 * 86_400_000;
const path = scratch();
const [n, d] = [300, 8];
const rows = randomRows(n, d, 1);
const config: OpenOptions["config"] = {
  ruvector: { hnsw_m: 8, gnn_hidden_dim: 16, gnn_heads: 2 },
  tensor_compress: { codebook_iterations: 2 },
};

const clocks = { day: Date.now.bind(Date), monotonic: performance.now.bind(performance) };
/** What the clocks are off by, in ms. */
let off = { day: 0, monotonic: 0 };
let jumps = 0;
beforeEach(() => {
  jumps = 0;
  off = { day: 0, monotonic: 0 };
  vi.spyOn(Date, "now").mockImplementation(() => Math.round(clocks.day() + off.day));
  vi.spyOn(performance, "now").mockImplementation(() => clocks.monotonic() + off.monotonic);
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** Sets the time of day anew, up to ten years off; and what should never be set, the monotonic clock, too. */
function jump(prng: Prng): void {
  off = { day: (2 * prng.next() - 1) * YEARS, monotonic: (2 * prng.next() - 1) * YEARS };
  if (prng.below(3) === 0) off.day = Math.sign(off.day) * YEARS;
  jumps++;
}

/** Every number in it, at any depth, is one. */
function expectNumbers(value: unknown, at = ""): void {
  if (typeof value === "number") expect(Number.isFinite(value), `${replay}: ${at} is ${value}`).toBe(true);
  else if (ArrayBuffer.isView(value)) expectNumbers([...(value as Float32Array)], at);
  else if (typeof value === "object" && value !== null)
    for (const [key, one] of Object.entries(value)) expectNumbers(one, `${at}.${key}`);
}

test("tiers, accesses and budgets: no NaN, no lost row, whatever time it is said to be", async () => {
  const prng = new Prng(SEED);
  const opening = () => open(path("tiers"), { dimensions: d, metric: "cosine", durability: "off", config });
  let index = await opening();
  await index.putMany({ ids: range(n), vectors: rows });
  for (let step = 0; step < (long ? 600 : 60); step++) {
    jump(prng);
    for (let i = prng.below(30); i > 0; i--) index.search(rowOf(rows, prng.below(n), d), { k: 1 + prng.below(5) });
    const kind = prng.below(6);
    if (kind === 0) {
      await index.close();
      jump(prng);
      index = await opening();
    } else if (kind === 1) {
      // What is used now is hot now: heat is not counted back from a time that is still to come.
      const used = prng.below(n);
      const vector = index.get(used)!.vector;
      for (let i = 0; i < 60; i++) index.search(vector, { k: 1, exact: true });
      const [{ id }] = index.search(vector, { k: 1, exact: true });
      expectNumbers(await index.retier(), "retier");
      expect(index.get(id)?.tier, `${replay}, step ${step}`).toBe("hot");
    } else if (kind === 2) expectNumbers(await index.retier({ now: Date.now() }), "retier");
    else if (kind === 3)
      expectNumbers(await index.retier({ now: Date.now() + (2 * prng.next() - 1) * YEARS }), "retier");
    else if (kind === 4) await index.checkpoint();
    else await index.put(prng.below(n), rowOf(rows, prng.below(n), d));
    expectNumbers(index.stats(), "stats");
    expectNumbers(index.search(rowOf(rows, step % n, d), { k: 20 }), "hits");
  }
  expect(index.size).toBe(n);
  await expectSound(index);
  await index.close();
  figure(22, "jumps of the clocks by up to ten years: no NaN, and the order that calls were made in", jumps);
});

/** The same life, with a clock that goes right or one that does not. @returns all that was learned, and what it answers */
async function life(name: string, prng: Prng, between: () => void): Promise<unknown> {
  const opening = () => open(path(name), { dimensions: d, metric: "cosine", durability: "off", config });
  let index = await opening();
  await index.putMany({ ids: range(n), vectors: rows });
  await index.settle();
  for (let step = 0; step < 40; step++) {
    between();
    const query = rowOf(rows, prng.below(n), d).map((x, i) => x + (i === step % d ? 1 : 0));
    const chosen = [prng.below(n)];
    const event: Feedback = {
      query,
      chosen,
      shown: [...chosen, ...range(4, 3 * step)].filter((id, i, all) => all.indexOf(id) === i),
      source: `s${step % 3}`,
    };
    await index.learn([event]);
    if (step % 5 === 0) await index.gradients.accumulate([{ id: step, gradient: rowOf(rows, step + 1, d) }]);
    if (step % 10 === 9) await index.gradients.apply();
    if (step % 7 === 6) await index.put(step, rowOf(rows, step + 2, d), { step });
    await index.settle();
    if (step % 16 === 15) {
      await index.close();
      between();
      index = await opening();
    }
    if (step === 25) await interruptedTrain(index, between);
  }
  await index.settle();
  between();
  const answers = [];
  for (const i of range(10)) {
    const { hits } = await index.query({ vector: rowOf(rows, i * 7, d), mode: "neural", k: 20 });
    answers.push(hits);
  }
  const { learning } = index.stats();
  expectNumbers([learning, answers], name);
  const all = [
    answers,
    learning,
    [...index.entries()].map(({ tier, ...row }) => row),
    range(n).map((id) => index.gradients.get(id)),
  ];
  await index.close();
  return all;
}

/** Stops a training half-way; asked again, it goes on where it was, whatever time it is. */
async function interruptedTrain(index: Index, between: () => void): Promise<void> {
  const stop = new AbortController();
  const events = index.stats().learning.events;
  const stopped = await errorOf(() =>
    index.train({
      epochs: 2,
      signal: stop.signal,
      onProgress: (done, total) => done === 2 && total !== events && stop.abort(),
    }),
  );
  expect(stopped).toMatchObject({ code: "ABORTED" });
  between();
  const told: number[] = [];
  await index.train({ epochs: 2, onProgress: (done, total) => total !== events && told.push(done) });
  expect(told[0], replay).toBe(2);
}

test("learning goes by the order of events, and putting by that of calls, not by the time of day", async () => {
  const right = await life("right", new Prng(SEED), () => {});
  const prng = new Prng(SEED + 1);
  for (let round = 0; round < (long ? 5 : 1); round++) {
    const wrong = await life(`wrong-${round}`, new Prng(SEED), () => jump(prng));
    expect(wrong, replay).toEqual(right);
  }
  figure(22, "jumps of the clocks by up to ten years: no NaN, and the order that calls were made in", jumps);
});
