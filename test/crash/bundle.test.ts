/**
 * A freeze over a bundle that is read: killed, without power or with a failing disk at every call of it, a reader finds
 * the bundle before or the new one, whole, and the next freeze works. `HEBB_SEED=n` replays a printed seed.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { Bundle } from "../../storage/bundle.js";
import { diskFiles, type Files } from "../../storage/files.js";
import { Killed, Simulator } from "../../storage/simulator.js";
import { type Content, contentOf, freeze, hexOf, verified } from "../support/bundle.js";
import { long, seeded, seeds } from "../support/seed.js";

const DIRECTORY = "/bundles/one";
const same = new Uint8Array(9000).fill(1);
/** The n-th state of an index: a section that all states share, one of their own, one that not all have. */
const stateOf = (n: number): Content => ({
  rows: new Uint8Array(5000 + 4096 * n).fill(n),
  same,
  ...(n % 2 === 0 && { even: new Uint8Array(n).fill(n) }),
});
const freezeState = (files: Files, n: number, directory = DIRECTORY) =>
  freeze(files, directory, stateOf(n), { generation: n, parameters: { n } }, 3000);

/** The state that a directory holds, undefined where there is no bundle. All of it was verified. */
async function stateIn(files: Files, directory = DIRECTORY): Promise<number | undefined> {
  try {
    const { manifest, content } = await verified(files, directory);
    expect(content).toEqual(hexOf(stateOf(manifest.generation as number)));
    expect(manifest.parameters).toEqual({ n: manifest.generation });
    return manifest.generation as number;
  } catch (error) {
    if ((error as HebbError).code === "NOT_A_BUNDLE") return undefined;
    throw error;
  }
}

/** One more freeze, and nothing but it is left, also when the power fails right after. */
async function goOn(simulator: Simulator): Promise<void> {
  const { sections } = await freezeState(simulator.files(), 9);
  const names = ["manifest.json", ...sections.map(({ file }) => file)].sort();
  expect((await simulator.files().list(DIRECTORY)).sort()).toEqual(names);
  simulator.powerFailure();
  expect(await stateIn(simulator.files())).toBe(9);
}

/** Disks before a freeze of state 2: without a directory, and with state 1 in it. And the calls that the freeze takes. */
async function starts(): Promise<{ image: Map<string, Uint8Array>; before: number | undefined; calls: number }[]> {
  const found = [];
  for (const before of [undefined, 1]) {
    const simulator = new Simulator(1);
    if (before !== undefined) await freezeState(simulator.files(), before);
    const [image, from] = [simulator.image(), simulator.calls];
    await freezeState(simulator.files(), 2);
    found.push({ image, before, calls: simulator.calls - from });
  }
  return found;
}

test("killed or without power at every call, a reader finds the old bundle or the new one", async () => {
  for (const { image, before, calls } of await starts()) {
    const seen = new Set<number | undefined>();
    for (const seed of seeds(long ? 40 : 2)) {
      for (let n = 1; n <= calls; n++) {
        for (const isPower of [false, true]) {
          await seeded(
            seed,
            `over ${before}, ${isPower ? "power failure" : "kill"} at call ${n} of ${calls}`,
            async () => {
              const simulator = Simulator.from(image, seed * 1000 + n);
              simulator.onCall = ({ number, operation }) => (number >= n && operation !== "pread" ? "kill" : undefined);
              await freezeState(simulator.files(), 2).catch((error: unknown) => {
                if (!(error instanceof Killed)) throw error;
              });
              simulator.onCall = undefined;
              if (isPower) simulator.powerFailure();
              const state = await stateIn(simulator.files());
              expect([before, 2]).toContain(state);
              seen.add(state);
              await goOn(simulator);
            },
          );
        }
      }
    }
    expect([...seen].sort()).toEqual([before, 2].sort());
  }
});

test("one failed call at a time: an error with a code and the old bundle, or the new one", async () => {
  for (const { image, before, calls } of await starts()) {
    for (const fault of ["EIO", "ENOSPC"] as const) {
      for (const seed of seeds(long ? 40 : 2)) {
        for (let n = 1; n <= calls; n++) {
          await seeded(seed, `over ${before}, ${fault} at call ${n} of ${calls}`, async () => {
            const simulator = Simulator.from(image, seed * 1000 + n);
            let isRenamed = false;
            simulator.onCall = ({ number, operation, path }) => {
              if (operation === "rename" && path.includes(".new-manifest-")) isRenamed = true;
              return number === n && operation !== "pread" ? fault : undefined;
            };
            const failure = await freezeState(simulator.files(), 2).then(
              () => undefined,
              (error: HebbError) => error,
            );
            simulator.onCall = undefined;
            const allowed = failure === undefined ? [2] : isRenamed ? [before, 2] : [before];
            if (failure !== undefined) expect(failure.code).toBe(fault === "EIO" ? "IO_ERROR" : "DISK_FULL");
            expect(allowed).toContain(await stateIn(simulator.files()));
            if (seed % 2 === 0) simulator.powerFailure();
            expect(allowed).toContain(await stateIn(simulator.files()));
            await goOn(simulator);
          });
        }
      }
    }
  }
});

test("failures on failures: there is always the last bundle that was acknowledged, or one that was begun since", async () => {
  for (const seed of seeds(long ? 20_000 : 300)) {
    const prng = new Prng(seed);
    await seeded(seed, "several freezes", async () => {
      const simulator = new Simulator(seed);
      await freezeState(simulator.files(), 1);
      let allowed: (number | undefined)[] = [1];
      for (let attempt = 2; attempt < 7; attempt++) {
        const from = simulator.calls;
        const bad = new Set([0, 1].map(() => from + 1 + prng.below(45)));
        const verdict = (["EIO", "ENOSPC", "kill"] as const)[prng.below(3)];
        simulator.onCall = ({ number, operation }) => (bad.has(number) && operation !== "pread" ? verdict : undefined);
        const isDone = await freezeState(simulator.files(), attempt).then(
          () => true,
          (error: unknown) => {
            if (!(error instanceof Killed || error instanceof HebbError)) throw error;
            return false;
          },
        );
        simulator.onCall = undefined;
        allowed = isDone ? [attempt] : [...allowed, attempt];
        if (prng.below(3) === 0) simulator.powerFailure();
        expect(allowed).toContain(await stateIn(simulator.files()));
      }
      await goOn(simulator);
    });
  }
});

test("a bundle that is replaced between its manifest and its files is not mixed with the next", async () => {
  const files = new Simulator(1).files();
  await freezeState(files, 1);
  let next = 2;
  let freezing: Promise<unknown> = Promise.resolve();
  const racing: Files = {
    ...files,
    kind: async (path, follow) => {
      // Sections are looked at together; freezes go one after the other.
      if (path.endsWith(".bin")) freezing = freezing.then(() => (next < 6 ? freezeState(files, next++) : undefined));
      await freezing;
      return files.kind(path, follow);
    },
  };
  expect(await stateIn(racing)).toBe(5);
});

test("a bundle that is replaced while it is opened eagerly is one of those that were there", async () => {
  const files = new Simulator(1).files();
  await freezeState(files, 1);
  let isReplaced = false;
  const racing: Files = {
    ...files,
    open: async (path, how) => {
      const file = await files.open(path, how);
      if (!path.endsWith(".bin")) return file;
      return Object.assign(Object.create(file) as typeof file, {
        pread: async (length: number, at: number) => {
          if (!isReplaced) await freezeState(files, 2);
          isReplaced = true;
          return file.pread(length, at);
        },
      });
    },
  };
  expect(await stateIn(racing)).toBe(1);
  expect(isReplaced).toBe(true);
});

test("readers while a bundle is replaced again and again, on the disk", async () => {
  const directory = await mkdtemp(join(tmpdir(), "hebb-bundle-"));
  try {
    await freezeState(diskFiles, 1, directory);
    let isOver = false;
    const opened = new Set<string>();
    const reader = async (verify: "eager" | "lazy") => {
      while (!isOver) {
        const bundle = await Bundle.open(diskFiles, directory, { verify });
        const { generation } = bundle.manifest;
        expect(await contentOf(bundle)).toEqual(hexOf(stateOf(generation as number)));
        await bundle.close();
        // By name its files may be gone by now; those that are there hold what they should.
        await bundle.verify().catch((error: HebbError) => {
          expect(error.code).toBe("BUNDLE_CORRUPT");
          expect(error.message).toContain("is gone, as after another freeze");
        });
        opened.add(String(generation));
      }
    };
    const writer = async () => {
      for (let n = 0; n < (long ? 2000 : 100) && !isOver; n++) await freezeState(diskFiles, 1 + (n % 3), directory);
    };
    // The first to fail ends them all, and only then is the directory removed.
    const ending = (work: Promise<void>) =>
      work.finally(() => {
        isOver = true;
      });
    const all = [writer(), reader("eager"), reader("lazy"), reader("lazy")].map(ending);
    for (const result of await Promise.allSettled(all)) if (result.status === "rejected") throw result.reason;
    expect([...opened].sort()).toEqual(["1", "2", "3"]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
