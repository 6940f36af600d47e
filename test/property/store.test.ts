/** A store on the real disk and on the simulated one, without faults, against the model. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { Simulator } from "../../storage/simulator.js";
import { Store } from "../../storage/store.js";
import { runs } from "../support/seed.js";
import { DIRECTORY, live, Model, SECTIONS, Subject } from "../support/store-model.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hebb-store-"));
});
afterAll(() => rm(scratch, { recursive: true }));

test("any life without faults ends as the model says (simulated disk)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 60 }), async (seed, steps) => {
      const files = new Simulator(seed).files();
      const model = new Model();
      const subject = await live(files, DIRECTORY, model, new Prng(seed), steps);
      await subject?.close();
      const again = await Subject.open(files, DIRECTORY, model);
      expect(await again.store.check()).toEqual([]);
      await again.close();
    }),
    runs(60),
  );
});

test("any life without faults ends as the model says (real disk, mapped)", async () => {
  let number = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 60 }), async (seed, steps) => {
      const directory = join(scratch, `life-${number++}`);
      const model = new Model();
      const subject = await live(undefined, directory, model, new Prng(seed), steps);
      if (subject !== undefined) {
        await subject.checkpoint();
        subject.compare(); // what the file holds, now that the private copies are gone
        await subject.close();
      }
      const again = await Subject.open(undefined, directory, model);
      expect(await again.store.check()).toEqual([]);
      await again.close();
      await rm(directory, { recursive: true });
    }),
    runs(25),
  );
});

test("a checkpoint that failed is over only once its followers are: the next one asks them anew", async () => {
  const simulator = new Simulator(1);
  const model = new Model();
  const { store } = await Subject.open(simulator.files(), DIRECTORY, model);
  const { last } = await store.log.append([{ type: 1, payload: new Uint8Array(8) }]);
  store.region.write(0, 0, new Uint8Array(100).fill(1));
  let end = (_: number) => {};
  const followers = new Promise<number>((resolve) => {
    end = resolve;
  });
  simulator.onCall = ({ operation }) => (operation === "allocate" ? "ENOSPC" : undefined);
  let isOver = false;
  const failing = store
    .checkpoint(async () => ({ lsn: last, followers }))
    .catch(({ code }) => {
      isOver = true;
      return code;
    });
  await setTimeout(50);
  expect(isOver).toBe(false);
  end(0);
  expect(await failing).toBe("DISK_FULL");
  simulator.onCall = undefined;
  await store.checkpoint(last);
  expect(store.meta.lsn).toBe(last);
  await store.close();
});

test("a reader has the log that it needs, though checkpoints cut it while the reader begins", async () => {
  const files = new Simulator(2).files();
  const { store: writer } = await Subject.open(files, DIRECTORY, new Model());
  const put = async () => (await writer.log.append([{ type: 1, payload: new Uint8Array(8) }])).last;
  const checkpoint = async (lsn: number) => {
    writer.region.write(0, lsn * 100, new Uint8Array(100).fill(lsn));
    await writer.checkpoint(lsn);
  };
  await checkpoint(await put());
  const shown = await put();
  const begin = async () => {
    for (let i = 0; i < 3; i++) await checkpoint(await put());
    return shown;
  };
  const reader = await Store.open(DIRECTORY, { files, sections: SECTIONS, readOnly: { begin } });
  const seen: number[] = [];
  for await (const { lsn } of reader.replay([shown])) seen.push(lsn);
  expect([reader.meta.lsn, ...seen.filter((lsn) => lsn <= shown)]).toEqual([1, shown]);
  await reader.close();
  await writer.close();
});
