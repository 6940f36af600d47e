/**
 * Crashes and faults on the simulated disk: at every call of a store's life, in recovery, and with
 * what was not synced lost in every way the simulator knows. `HEBB_SEED=n` replays a printed seed.
 */
import { expect, test } from "vitest";
import type { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { BLOCK_BYTES } from "../../native/index.js";
import type { SectionEntry } from "../../storage/format.js";
import { type Call, Killed, Simulator, type Verdict } from "../../storage/simulator.js";
import { Store } from "../../storage/store.js";
import { figure } from "../support/figures.js";
import { long, seeded, seeds } from "../support/seed.js";
import { DIRECTORY, IDENTITY, live, Model, randomGroup, Subject } from "../support/store-model.js";

/** A life that is cut short by a kill at call `n`; true where it was. */
async function liveUntil(simulator: Simulator, model: Model, seed: number, steps: number, n: number): Promise<boolean> {
  simulator.onCall = ({ number, operation }) => (number >= n && operation !== "pread" ? "kill" : undefined);
  try {
    await live(simulator.files(), DIRECTORY, model, new Prng(seed), steps);
    return false;
  } catch (error) {
    if (error instanceof Killed) return true;
    throw error;
  } finally {
    simulator.onCall = undefined;
  }
}

/** Opens, compares, and goes on living a little, so that what recovery left is used; then the power fails. */
async function goOn(simulator: Simulator, model: Model, seed: number): Promise<void> {
  const prng = new Prng(seed);
  const files = simulator.files();
  const subject = await Subject.open(files, DIRECTORY, model);
  await subject.put(randomGroup(prng, 1), true);
  if (prng.below(2) === 0) await subject.checkpoint();
  expect(await subject.store.check()).toEqual([]);
  await subject.put(randomGroup(prng, 1), true);
  if (prng.below(2) === 0) await subject.close();
  simulator.powerFailure();
  await (await Subject.open(simulator.files(), DIRECTORY, model)).close();
}

const STEPS = 30;

async function callsOf(seed: number): Promise<number> {
  return (await changingCallsOf(seed)).at(-1)!;
}

/** Numbers of the calls of a life that are more than reads. */
async function changingCallsOf(seed: number): Promise<number[]> {
  const simulator = new Simulator(seed);
  const numbers: number[] = [];
  simulator.onCall = ({ number, operation }) => {
    if (operation !== "pread") numbers.push(number);
    return undefined;
  };
  await live(simulator.files(), DIRECTORY, new Model(), new Prng(seed), STEPS);
  return numbers;
}

test("killed at every call, the store opens with everything acknowledged", async () => {
  let kills = 0;
  for (const seed of seeds(long ? 40 : 1)) {
    for (const n of await changingCallsOf(seed)) {
      await seeded(seed, `kill at call ${n}`, async () => {
        const simulator = new Simulator(seed);
        const model = new Model();
        expect(await liveUntil(simulator, model, seed, STEPS, n)).toBe(true);
        await goOn(simulator, model, seed);
      });
      kills++;
    }
  }
  figure(2, "simulated kills, one at every call of a life: all opened again", kills);
});

test("killed at every call of a recovery, five deep, the next one ends as the first would have", async () => {
  let deaths = 0;
  for (const seed of seeds(long ? 4 : 1)) {
    const calls = await callsOf(seed);
    for (let n = 1; n <= calls; n += 5) {
      await seeded(seed, `kill at call ${n}, then in recovery`, async () => {
        const first = new Simulator(seed);
        const model = new Model();
        await liveUntil(first, model, seed, STEPS, n);
        const image = first.image();
        for (let m = 1; ; m++) {
          const simulator = Simulator.from(image, seed + m);
          let died = false;
          for (let depth = 0; depth < 5; depth++) {
            const from = simulator.calls;
            simulator.onCall = ({ number }) => (number === from + m ? "kill" : undefined);
            const opened = await Subject.open(simulator.files(), DIRECTORY, model).catch((error: unknown) => {
              if (!(error instanceof Killed)) throw error;
            });
            if (opened !== undefined) break;
            died = true;
            deaths++;
          }
          simulator.kill();
          simulator.onCall = undefined;
          await (await Subject.open(simulator.files(), DIRECTORY, model)).store.close();
          if (!died) break;
        }
      });
    }
  }
  figure(4, "simulated kills within recoveries, up to five on end: the next one ended as the first would have", deaths);
});

test("after a power failure at any call nothing acknowledged is lost, also when it fails again in recovery", async () => {
  const lives = new Map<number, number>();
  let failures = 0;
  for (const seed of seeds(long ? 10_000 : 200)) {
    const prng = new Prng(seed);
    const life = 1000 + (seed % 10);
    if (!lives.has(life)) lives.set(life, await callsOf(life));
    const n = 1 + prng.below(lives.get(life)!);
    await seeded(seed, `life ${life}, power failure at call ${n}`, async () => {
      const simulator = new Simulator(seed);
      const model = new Model();
      await liveUntil(simulator, model, life, STEPS, n);
      simulator.powerFailure();
      failures++;
      for (let depth = prng.below(6); depth > 0; depth--) {
        const at = simulator.calls + 1 + prng.below(12);
        simulator.onCall = ({ number }) => (number === at ? "kill" : undefined);
        await Subject.open(simulator.files(), DIRECTORY, model).catch((error: unknown) => {
          if (!(error instanceof Killed)) throw error;
        });
        simulator.onCall = undefined;
        simulator.powerFailure();
        failures++;
      }
      await goOn(simulator, model, seed);
    });
  }
  figure(3, "simulated power failures in lives and recoveries: 0 acknowledged writes lost", failures);
});

/** Lives with one kind of fault, then reopens on a healthy disk. @returns errors seen */
async function liveWithFaults(seed: number, verdict: (call: Call) => Verdict, power: boolean): Promise<HebbError[]> {
  const simulator = new Simulator(seed);
  const model = new Model();
  const errors: HebbError[] = [];
  simulator.onCall = verdict;
  await live(simulator.files(), DIRECTORY, model, new Prng(seed), STEPS, (error) => {
    errors.push(error);
  });
  simulator.onCall = undefined;
  if (power) simulator.powerFailure();
  else simulator.kill();
  await goOn(simulator, model, seed);
  return errors;
}

test("one failed call at a time: the step fails with a code, nothing acknowledged is lost, nothing failed shows up", async () => {
  let faults = 0;
  for (const seed of seeds(long ? 40 : 1)) {
    for (const [i, n] of (await changingCallsOf(seed)).entries()) {
      for (const [j, fault] of (["EIO", "ENOSPC"] as const).entries()) {
        if (!long && i % 2 !== j) continue; // either of them at every call
        await seeded(seed, `${fault} at call ${n}`, async () => {
          const errors = await liveWithFaults(seed, ({ number }) => (number === n ? fault : undefined), n % 2 === 0);
          for (const { code } of errors) expect(["IO_ERROR", "DISK_FULL", "STORE_POISONED"]).toContain(code);
        });
        faults++;
      }
    }
  }
  figure(11, "single failed calls of a life, EIO or ENOSPC: none acknowledged, nothing lost", faults);
});

test("one failed read at a time: an error with a code, nothing acknowledged is lost, nothing failed shows up", async () => {
  let faults = 0;
  for (const seed of seeds(long ? 40 : 1)) {
    let reads = 0;
    const simulator = new Simulator(seed);
    simulator.onCall = ({ operation }) => {
      if (operation === "pread") reads++;
      return undefined;
    };
    await live(simulator.files(), DIRECTORY, new Model(), new Prng(seed), STEPS);
    for (let n = 1; n <= reads; n++) {
      await seeded(seed, `EIO at read ${n} of ${reads}`, async () => {
        let read = 0;
        const errors = await liveWithFaults(
          seed,
          ({ operation }) => (operation === "pread" && ++read === n ? "EIO" : undefined),
          n % 2 === 0,
        );
        expect(errors.map(({ code }) => code)).toEqual(["IO_ERROR"]);
      });
      faults++;
    }
  }
  figure(11, "single failed reads of a life: an error with a code, nothing lost", faults);
});

test("a disk that is full for a while: steps fail cleanly, and work once there is space", async () => {
  const growing = new Set(["pwrite", "allocate", "open", "makeDirectory"]);
  for (const seed of seeds(long ? 2000 : 60)) {
    const prng = new Prng(seed);
    const from = prng.below(200);
    const to = from + 1 + prng.below(60);
    await seeded(seed, `full from call ${from} to ${to}`, async () => {
      const simulator = new Simulator(seed);
      const model = new Model();
      const codes = new Set<string>();
      simulator.onCall = ({ number, operation }) =>
        number >= from && number < to && growing.has(operation) ? "ENOSPC" : undefined;
      const subject = await live(simulator.files(), DIRECTORY, model, new Prng(seed), STEPS, (error) => {
        codes.add(error.code);
      });
      for (const code of codes) expect(code).toBe("DISK_FULL"); // never poisoned: syncs did not fail
      simulator.onCall = undefined;
      subject?.compare();
      const healthy = subject ?? (await Subject.open(simulator.files(), DIRECTORY, model));
      await healthy.put(randomGroup(prng, 1), true);
      await healthy.checkpoint();
      expect(await healthy.store.check()).toEqual([]);
      await healthy.close();
      await (await Subject.open(simulator.files(), DIRECTORY, model)).close();
    });
  }
  figure(
    10,
    "lives on a disk that is full for a while: clean failures, and nothing lost",
    seeds(long ? 2000 : 60).length,
  );
});

test("a failed sync poisons: no later write is accepted, reading goes on", async () => {
  const simulator = new Simulator(1);
  const model = new Model();
  const subject = await Subject.open(simulator.files(), DIRECTORY, model);
  await subject.put([{ section: 0, place: 1, value: 2 }], true);
  simulator.onCall = ({ operation }) => (operation === "sync" ? "EIO" : undefined);
  await expect(subject.put([{ section: 0, place: 2, value: 3 }], true)).rejects.toMatchObject({ code: "IO_ERROR" });
  simulator.onCall = undefined;
  await expect(subject.put([{ section: 0, place: 3, value: 4 }], true)).rejects.toMatchObject({
    code: "STORE_POISONED",
  });
  await expect(subject.checkpoint()).rejects.toMatchObject({ code: "STORE_POISONED" });
  subject.compare();
  await subject.store.close();
  simulator.powerFailure();
  await goOn(simulator, model, 1);
});

/** Sections by blocks: each block is filled with one number, 0 where nothing was written. */
type State = [a: number[], b: number[]];
const BLOCKS = 16;

async function openBlocks(simulator: Simulator): Promise<Store> {
  const sections = ["a", "b"].map((name, i) => ({ kind: i + 1, name, stride: 8, reserveBytes: BLOCKS * BLOCK_BYTES }));
  const store = await Store.open(DIRECTORY, { files: simulator.files(), create: IDENTITY, sections: () => sections });
  for await (const _ of store.replay());
  return store;
}

function stateOf({ region }: Store): State {
  const [a, b] = [0, 1].map((section) =>
    Array.from({ length: BLOCKS }, (_, block) => {
      const bytes = region.read(section, block * BLOCK_BYTES, BLOCK_BYTES);
      if (!Buffer.alloc(BLOCK_BYTES, bytes[0]).equals(bytes))
        throw new Error(`section ${section}, block ${block}: a mixture`);
      return bytes[0];
    }),
  );
  return [a, b];
}

/** Discards a section from block `to` on where it has more, or fills it up to there. `rewrite` changes a block in between. */
function resize({ region }: Store, section: number, to: number, tag: number, rewrite?: number): void {
  region.discard(section, to * BLOCK_BYTES);
  for (let block = 0; block < to; block++) {
    const isNew = region.read(section, block * BLOCK_BYTES, 1)[0] === 0;
    if (isNew || block === rewrite) region.write(section, block * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(tag));
  }
}

const blocksOf = ({ extents }: SectionEntry) =>
  extents.flatMap(({ fileBlock, blocks }) => Array.from({ length: blocks }, (_, i) => fileBlock + i));

test("power failure at every call of a checkpoint that shrinks, reuses or moves, and of a compaction: the old state or the new", async () => {
  const steps: [name: string, (store: Store) => Promise<void>][] = [
    ["grow", async (store) => [8, 2].forEach((to, section) => void resize(store, section, to, 1))],
    ["grow again", async (store) => resize(store, 0, 10, 2, 3)],
    ["shrink in the middle", async (store) => resize(store, 0, 9, 3, 8)],
    ["reuse", async (store) => resize(store, 1, 3, 4, 1)],
    ["move", async (store) => resize(store, 0, 10, 5, 2)],
    ["shrink and grow at once", async (store) => [3, 12].forEach((to, section) => void resize(store, section, to, 6))],
    [
      "shrink and grow a section",
      async (store) => {
        store.region.discard(1, 2 * BLOCK_BYTES);
        resize(store, 1, 8, 7);
      },
    ],
    ["shrink to the end", async (store) => [2, 0].forEach((to, section) => void resize(store, section, to, 8))],
    ["grow once more", async (store) => [12, 5].forEach((to, section) => void resize(store, section, to, 9))],
    ["shrink before compacting", async (store) => resize(store, 0, 5, 10, 3)],
    ["compact", (store) => store.compact(0)],
    ["grow after compacting", async (store) => resize(store, 0, 7, 11, 0)],
    [
      "compact what changed",
      async (store) => {
        resize(store, 1, 2, 12, 1);
        await store.compact(0);
      },
    ],
    ["compact nothing", async (store) => [0, 0].forEach((to, section) => void resize(store, section, to, 0))],
    ["and all of that", (store) => store.compact(0)],
  ];
  let image = new Simulator(1).image();
  let failures = 0;
  const seen = new Set<string>();
  for (const [name, change] of steps) {
    const act = async (store: Store) => {
      await change(store);
      await store.checkpoint(0);
    };
    const first = Simulator.from(image, 1);
    const before = await openBlocks(first);
    const [oldState, oldMeta, from] = [stateOf(before), before.meta, first.calls];
    await act(before);
    const [newState, newMeta, calls] = [stateOf(before), before.meta, first.calls - from];
    await before.close();

    const path = `${DIRECTORY}/index.hebb`;
    if (first.image().get(path)!.length < (image.get(path)?.length ?? 0)) seen.add("shorter");
    const used = new Set(oldMeta.sections.flatMap(blocksOf));
    for (const section of newMeta.sections) {
      const previous = oldMeta.sections.find(({ kind }) => kind === section.kind);
      const was = previous === undefined ? [] : blocksOf(previous);
      const now = blocksOf(section);
      if (now.some((block) => !used.has(block) && block < Math.max(...used))) seen.add("reused");
      if (name === "move" && now.some((block, i) => i < was.length && was[i] !== block)) seen.add("moved");
    }

    for (let n = 1; n <= calls + 1; n++) {
      for (const seed of seeds(long ? 20 : 1)) {
        await seeded(seed, `${name}, power failure at call ${n} of ${calls}`, async () => {
          const simulator = Simulator.from(image, seed * 1000 + n);
          const store = await openBlocks(simulator);
          const start = simulator.calls;
          simulator.onCall = ({ number, operation }) =>
            number >= start + n && operation !== "pread" ? "kill" : undefined;
          await act(store).catch((error: unknown) => {
            if (!(error instanceof Killed)) throw error;
          });
          simulator.onCall = undefined;
          simulator.powerFailure();
          const again = await openBlocks(simulator);
          expect([oldState, newState]).toContainEqual(stateOf(again));
          expect(await again.check()).toEqual([]);
          expect(simulator.image().has(`${path}-new`)).toBe(false);
          resize(again, 0, 6, 20, 1);
          resize(again, 1, 4, 21, 2);
          const last = stateOf(again);
          await again.checkpoint(0);
          expect(await again.check()).toEqual([]);
          simulator.powerFailure();
          expect(stateOf(await openBlocks(simulator))).toEqual(last);
        });
        failures++;
      }
    }
    image = first.image();
  }
  expect([...seen].sort()).toEqual(["moved", "reused", "shorter"]);
  figure(3, "simulated power failures in checkpoints and compactions: the old state or the new", failures);
});

test("one failed call at a time in a compaction: an error with a code, and the state stays", async () => {
  const first = new Simulator(1);
  const store = await openBlocks(first);
  resize(store, 0, 9, 1);
  resize(store, 1, 4, 2);
  await store.checkpoint(0);
  resize(store, 0, 3, 3, 1);
  await store.checkpoint(0);
  const [image, expected, from] = [first.image(), stateOf(store), first.calls];
  await store.compact(0);
  const calls = first.calls - from;
  expect(calls).toBeGreaterThan(5);
  for (const fault of ["EIO", "ENOSPC"] as const) {
    for (let n = 1; n <= calls; n++) {
      await seeded(1, `${fault} at call ${n} of ${calls}`, async () => {
        const simulator = Simulator.from(image, n);
        const one = await openBlocks(simulator);
        const start = simulator.calls;
        simulator.onCall = ({ number, operation }) =>
          number === start + n && operation !== "pread" ? fault : undefined;
        await expect(one.compact(0)).rejects.toMatchObject({ code: fault === "EIO" ? "IO_ERROR" : "DISK_FULL" });
        simulator.onCall = undefined;
        expect(stateOf(one)).toEqual(expected);
        if (one.poisonedBy === undefined) {
          await one.compact(0);
          expect(one.spareBytes).toBe(0);
          expect(await one.check()).toEqual([]);
        }
        await one.close();
        simulator.powerFailure();
        const again = await openBlocks(simulator);
        expect(stateOf(again)).toEqual(expected);
        expect(await again.check()).toEqual([]);
      });
    }
  }
});
