/** Work that goes on after a crash: what its file gives back, whatever happened to it, and a training that uses it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Files } from "../../storage/files.js";
import { PROGRESS_HEADER_BYTES } from "../../storage/format.js";
import { Progress } from "../../storage/progress.js";
import { Simulator } from "../../storage/simulator.js";
import { encodeDelta } from "../../training/delta-bytes.js";
import type { TrainProgress } from "../../training/phases.js";
import { train } from "../../training/train.js";
import { makeWorld } from "../support/corpus.js";
import { newState } from "../support/learning.js";
import { runs } from "../support/seed.js";

const PATH = "/work.progress";
const fingerprint = (n: number) => new Uint8Array(32).fill(n);
const open = (files: Files, n = 1) => Progress.open(files, PATH, fingerprint(n));
const content = (part: number, length = 1 + ((part * 37) % 300)) => new Uint8Array(length).fill(part);

async function bytesOf(files: Files): Promise<Uint8Array> {
  const file = await files.open(PATH, "read");
  const bytes = await file.pread(await file.size(), 0);
  await file.close();
  return bytes;
}

/** Parts of 0 to `count` that are there, each whole. */
function found(progress: Progress, count: number): number[] {
  const parts = Array.from({ length: count }, (_, part) => part).filter((part) => progress.get(part) !== undefined);
  for (const part of parts) expect(Buffer.from(progress.get(part)!)).toEqual(Buffer.from(content(part)));
  return parts;
}

const firsts = (count: number) => Array.from({ length: count }, (_, i) => i);

test("a file that was cut or changed gives back the parts before the damage, and takes more behind them", async () => {
  const damage = fc.record({ parts: fc.integer({ min: 1, max: 9 }), at: fc.nat(5000), cut: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(damage, async ({ parts, at, cut }) => {
      const files = new Simulator(1).files();
      const progress = await open(files);
      const ends: number[] = [];
      for (const part of firsts(parts)) {
        await progress.add(part, content(part));
        ends.push((await bytesOf(files)).length);
      }
      await progress.close();
      const place = at % ends.at(-1)!;
      const file = await files.open(PATH, "write");
      if (cut) await file.truncate(place);
      else
        await file.pwrite(
          (await file.pread(1, place)).map((byte) => byte ^ 0x40),
          place,
        );
      await file.close();
      const whole = place < PROGRESS_HEADER_BYTES ? 0 : ends.filter((end) => end <= place).length;
      const again = await open(files);
      expect(found(again, parts)).toEqual(firsts(whole));
      for (let part = whole; part < parts; part++) await again.add(part, content(part));
      await again.close();
      const last = await open(files);
      expect(found(last, parts)).toEqual(firsts(parts));
      await last.remove();
      expect(await files.kind(PATH)).toBeUndefined();
    }),
    runs(80),
  );
});

test("what belongs to something else is not given, and goes with the first part of the new work", async () => {
  const files = new Simulator(1).files();
  const one = await open(files, 1);
  for (const part of firsts(3)) await one.add(part, content(part));
  await one.close();
  const other = await open(files, 2);
  expect(other.isBegun).toBe(false);
  await other.close();
  expect((await open(files, 1)).isBegun).toBe(true); // looking costs nothing
  const again = await open(files, 2);
  await again.add(7, content(7));
  await again.close();
  expect((await open(files, 1)).isBegun).toBe(false);
  expect(found(await open(files, 2), 9)).toEqual([7]);
});

test("a power failure leaves the parts that were acknowledged", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 6 }), async (seed, parts) => {
      const simulator = new Simulator(seed);
      const progress = await open(simulator.files());
      for (const part of firsts(parts)) await progress.add(part, content(part));
      simulator.powerFailure();
      expect(found(await open(simulator.files()), parts)).toEqual(firsts(parts));
    }),
    runs(60),
  );
});

/** Phases as a run leaves them; it stops after `most`. */
function memory(left: Map<number, Uint8Array>, most = Number.POSITIVE_INFINITY): TrainProgress & { ran: number[] } {
  const ran: number[] = [];
  return {
    ran,
    get: (phase) => left.get(phase),
    async add(phase, bytes) {
      if (ran.length === most) throw new Error("killed");
      left.set(phase, bytes);
      ran.push(phase);
    },
  };
}

test("a training that was cut off goes on after its last phase, and comes to the same bytes", async () => {
  const world = makeWorld("cosine");
  const events = world.events(30, 1);
  const run = async (progress?: TrainProgress) => {
    const told: number[] = [];
    const { delta } = await train(newState(world), world.corpus, events, {
      ...(progress && { progress }),
      epochs: 1,
      onProgress: ({ phase, done }) => phase === "training" && told.push(done),
    });
    return { bytes: Buffer.from(encodeDelta(delta)), told };
  };
  const alone = await run();
  const phases = memory(new Map());
  expect((await run(phases)).bytes).toEqual(alone.bytes);
  expect(phases.ran.length).toBeGreaterThan(5);
  for (let ended = 0; ended <= phases.ran.length; ended++) {
    const left = new Map<number, Uint8Array>();
    const first = memory(left, ended);
    if (ended < phases.ran.length) await expect(run(first)).rejects.toThrow("killed");
    else await run(first);
    expect(first.ran).toEqual(phases.ran.slice(0, ended));
    const second = memory(left);
    const { bytes, told } = await run(second);
    expect(second.ran).toEqual(phases.ran.slice(ended));
    expect(bytes).toEqual(alone.bytes);
    expect(told[0]).toBeGreaterThanOrEqual(ended); // what was done before is told at once
    expect(told.at(-1)).toBe(alone.told.at(-1));
  }
});

test("what cannot be read is run again", async () => {
  const world = makeWorld("cosine");
  const events = world.events(40, 1);
  const left = new Map<number, Uint8Array>();
  const run = async (progress: TrainProgress) =>
    encodeDelta((await train(newState(world), world.corpus, events, { epochs: 1, progress })).delta);
  const whole = await run(memory(left));
  left.set(2, Uint8Array.of(1, 2, 3));
  const again = memory(left);
  expect(await run(again)).toEqual(whole);
  expect(again.ran).toEqual([2]);
});
