/** A store on the real disk and on the simulated one, without faults, against the model. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { Simulator } from "../../storage/simulator.js";
import { runs } from "../support/seed.js";
import { DIRECTORY, live, Model, Subject } from "../support/store-model.js";

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
