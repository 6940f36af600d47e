/**
 * Crashes and faults on the simulated disk: at every call of a store's life, in recovery, and with
 * what was not synced lost in every way the simulator knows. `HEBB_SEED=n` replays a printed seed.
 */
import { expect, test } from "vitest";
import type { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { type Call, Killed, Simulator, type Verdict } from "../../storage/simulator.js";
import { DIRECTORY, live, Model, randomGroup, Subject } from "../support/store-model.js";

const only = process.env.HEBB_SEED === undefined ? undefined : Number(process.env.HEBB_SEED);
function seeds(count: number): number[] {
  return only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [only];
}

const long = process.env.HEBB_LONG !== undefined;

/** Runs with the seed named in whatever goes wrong. */
async function seeded<T>(seed: number, more: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new Error(`HEBB_SEED=${seed} ${more}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

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
  const simulator = new Simulator(seed);
  await live(simulator.files(), DIRECTORY, new Model(), new Prng(seed), STEPS);
  return simulator.calls;
}

test("killed at every call, the store opens with everything acknowledged", async () => {
  for (const seed of seeds(3)) {
    const calls = await callsOf(seed);
    for (let n = 1; n <= calls; n++) {
      await seeded(seed, `kill at call ${n}`, async () => {
        const simulator = new Simulator(seed);
        const model = new Model();
        expect(await liveUntil(simulator, model, seed, STEPS, n)).toBe(true);
        await goOn(simulator, model, seed);
      });
    }
  }
});

test("killed at every call of a recovery, five deep, the next one ends as the first would have", async () => {
  for (const seed of seeds(1)) {
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
          }
          simulator.kill();
          simulator.onCall = undefined;
          await (await Subject.open(simulator.files(), DIRECTORY, model)).store.close();
          if (!died) break;
        }
      });
    }
  }
});

test("after a power failure at any call nothing acknowledged is lost, also when it fails again in recovery", async () => {
  const lives = new Map<number, number>();
  for (const seed of seeds(long ? 10_000 : 600)) {
    const prng = new Prng(seed);
    const life = 1000 + (seed % 10);
    if (!lives.has(life)) lives.set(life, await callsOf(life));
    const n = 1 + prng.below(lives.get(life)!);
    await seeded(seed, `life ${life}, power failure at call ${n}`, async () => {
      const simulator = new Simulator(seed);
      const model = new Model();
      await liveUntil(simulator, model, life, STEPS, n);
      simulator.powerFailure();
      for (let depth = prng.below(4); depth > 0; depth--) {
        const at = simulator.calls + 1 + prng.below(12);
        simulator.onCall = ({ number }) => (number === at ? "kill" : undefined);
        await Subject.open(simulator.files(), DIRECTORY, model).catch((error: unknown) => {
          if (!(error instanceof Killed)) throw error;
        });
        simulator.onCall = undefined;
        simulator.powerFailure();
      }
      await goOn(simulator, model, seed);
    });
  }
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
  for (const seed of seeds(long ? 40 : 1)) {
    const calls = await callsOf(seed);
    for (const fault of ["EIO", "ENOSPC"] as const) {
      for (let n = 1; n <= calls; n++) {
        await seeded(seed, `${fault} at call ${n}`, async () => {
          const errors = await liveWithFaults(
            seed,
            ({ number, operation }) => (number === n && operation !== "pread" ? fault : undefined),
            n % 2 === 0,
          );
          for (const { code } of errors) expect(["IO_ERROR", "DISK_FULL", "STORE_POISONED"]).toContain(code);
        });
      }
    }
  }
});

test("a disk that is full for a while: steps fail cleanly, and work once there is space", async () => {
  const growing = new Set(["pwrite", "allocate", "open", "makeDirectory"]);
  for (const seed of seeds(long ? 2000 : 150)) {
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
});

test("a failed sync poisons: no later write is accepted, reading goes on", async () => {
  const simulator = new Simulator(1);
  const model = new Model();
  const subject = await Subject.open(simulator.files(), DIRECTORY, model);
  await subject.put([{ place: 1, value: 2 }], true);
  simulator.onCall = ({ operation }) => (operation === "sync" ? "EIO" : undefined);
  await expect(subject.put([{ place: 2, value: 3 }], true)).rejects.toMatchObject({ code: "IO_ERROR" });
  simulator.onCall = undefined;
  await expect(subject.put([{ place: 3, value: 4 }], true)).rejects.toMatchObject({ code: "STORE_POISONED" });
  await expect(subject.checkpoint()).rejects.toMatchObject({ code: "STORE_POISONED" });
  subject.compare();
  await subject.store.close();
  simulator.powerFailure();
  await goOn(simulator, model, 1);
});
