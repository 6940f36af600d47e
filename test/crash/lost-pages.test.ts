/**
 * A file that ends before what is mapped of it, as a disk that fails under it: reading there raises SIGBUS. Every
 * operation has to end with a typed error in a process that lives, nothing may be written any more, and what was
 * acknowledged is there once the file is. Each case is a process of its own, since only that shows a death.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { open, openFrozen } from "../../src/index.js";
import type { Manifest } from "../../storage/manifest.js";
import { DIMENSIONS, rowOf } from "../support/lost-rows.mjs";
import { scratch } from "../support/rows.js";
import { long, runs } from "../support/seed.js";

const path = scratch();
const CHILD = new URL("../support/lost-child.mjs", import.meta.url);
const FOREIGN = new URL("../support/foreign-child.mjs", import.meta.url);
const ROWS = 1500;
/** Put in the child and acknowledged, in the log alone. */
const FRESH = 200;
const HEADERS = 65_536;
const config = { ruvector: { hnsw_m: 8, hnsw_ef_construction: 40 } };

interface End {
  step: string;
  value?: unknown;
  code?: string;
  lost?: boolean;
  message?: string;
}
interface Case {
  directory: string;
  bundle?: boolean;
  file: string;
  bytes: number;
  fresh?: number;
  settled?: boolean;
  during?: string;
  steps: readonly string[];
}

async function cut(one: Case): Promise<{ ends: End[]; same: boolean }> {
  const child = fork(CHILD, [JSON.stringify({ ...one, config })], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  let said: { ends: End[]; same: boolean } | undefined;
  child.on("message", (message) => {
    said = message as typeof said;
  });
  expect(await once(child, "exit"), JSON.stringify(one)).toEqual([42, null]);
  expect(said, "the child tells before it ends").toBeDefined();
  return said!;
}

/** Puts the file back, and sees that the store holds all that was acknowledged. */
async function restore(directory: string, fresh: number, deleted: readonly number[] = []): Promise<void> {
  renameSync(join(directory, "index.hebb.whole"), join(directory, "index.hebb"));
  const index = await open(directory, { config });
  const there = new Map([...index.entries()].map((row) => [row.id, row]));
  const numbers = [...Array(ROWS).keys(), ...Array.from({ length: fresh }, (_, i) => 100_000 + i)];
  for (const n of numbers) {
    if (deleted.includes(n) && !there.has(n)) continue; // it was in the log when its caller got an error
    expect(there.get(n), `row ${n}`).toMatchObject(rowOf(n));
  }
  expect((await index.check()).faults).toEqual([]);
  await index.close();
}

let template: string;
let bundle: string;
let indexBytes: number;
let made = 0;
const fresh = () => {
  const directory = path(`store${made++}`);
  cpSync(template, directory, { recursive: true });
  return directory;
};

beforeAll(async () => {
  [template, bundle] = [path("template"), path("bundle")];
  const index = await open(template, { dimensions: DIMENSIONS, metric: "cosine", config });
  await index.putMany(Array.from({ length: ROWS }, (_, n) => rowOf(n)));
  await index.settle();
  const frozen = await index.freeze(bundle);
  await frozen.close();
  await index.close();
  indexBytes = statSync(join(template, "index.hebb")).size;
});

describe("a live index", () => {
  // Each with as many rows as it needs that are in no checkpoint, linked or being linked.
  const linked = (rows: number) => ({ rows, settled: true });
  const OPERATIONS: Record<string, { rows: number; settled: boolean }> = {
    walk: linked(0),
    searchMany: linked(0),
    get: linked(0),
    entries: linked(0),
    put: linked(0),
    freeze: linked(0),
    checkpoint: linked(FRESH),
    check: linked(FRESH),
    close: linked(FRESH),
    settle: { rows: 2 * ROWS, settled: false },
  };
  const OTHERS: typeof OPERATIONS = {
    search: linked(0),
    filtered: linked(0),
    query: linked(0),
    stats: linked(0),
    delete: linked(0),
    learn: linked(0),
    retier: linked(0),
    compact: linked(FRESH),
  };
  const ALL = { ...OPERATIONS, ...OTHERS };
  const AFTER = ["put", "checkpoint", "search", "searchMany", "get", "settle", "compact", "close"];
  const WRITES = ["put", "checkpoint", "compact"];

  test.each(Object.entries(long ? ALL : OPERATIONS))(
    "%s: a typed error, and nothing is written after it",
    async (step, how) => {
      const directory = fresh();
      const steps = step === "close" ? [step] : [step, ...AFTER];
      const one = { directory, file: "index.hebb", bytes: HEADERS, fresh: how.rows, settled: how.settled, steps };
      const { ends, same } = await cut(one);
      const [first, ...others] = ends;
      const found = JSON.stringify(ends);
      expect(first.code, found).toBe("IO_ERROR");
      // Those that compare the file with what they expect of it may come first.
      if (!["check", "checkpoint", "compact", "close"].includes(step)) expect(first.lost, found).toBe(true);
      for (const end of others.slice(0, -1)) {
        if (WRITES.includes(end.step)) expect(end.code, found).toBe("STORE_POISONED");
        else expect(end.code, found).toBe("IO_ERROR");
      }
      if (others.length > 0) expect(ends.at(-1), "closing gives everything back").toEqual({ step: "close" });
      expect(same, "nothing is written").toBe(true);
      await restore(directory, how.rows, step === "delete" ? [3] : []);
    },
  );

  // Begun before the cut, and under way when it comes; one that was quicker has its result.
  test.each(["searchMany", "settle", "freeze", "compact"])(
    "%s under way: a result or a typed error",
    async (during) => {
      const directory = fresh();
      const steps = ["search", "put", "close"];
      const one = { directory, file: "index.hebb", bytes: HEADERS, fresh: 2 * ROWS, during, steps };
      const { ends } = await cut(one);
      const found = JSON.stringify(ends);
      if (ends[0].code !== undefined)
        expect(["IO_ERROR", "STORE_POISONED", "INDEX_CORRUPT"], found).toContain(ends[0].code);
      expect(ends[1], found).toMatchObject({ code: "IO_ERROR", lost: true });
      expect(ends[2].code, found).toBe("STORE_POISONED");
      await restore(directory, 2 * ROWS);
    },
  );

  test("the error names file, section and offset", async () => {
    const { ends } = await cut({ directory: fresh(), file: "index.hebb", bytes: HEADERS, steps: ["get", "put"] });
    expect(ends[0].message).toMatch(
      /^IO_ERROR: index\.hebb, section [a-z-]+, offset \d+: the file ends before it, or the disk failed under it\. Close/,
    );
    expect(ends[1].message).toMatch(/^STORE_POISONED: something failed earlier \(IO_ERROR: index\.hebb, section/);
  });

  test("cut anywhere: each operation gives what it gave before, or a typed error; nothing acknowledged is lost", async () => {
    const steps = fc.array(fc.constantFrom(...Object.keys(ALL).filter((step) => step !== "delete")), {
      minLength: 1,
      maxLength: 6,
    });
    const whole = async () => {
      const directory = fresh();
      const one = { directory, file: "index.hebb", bytes: indexBytes, fresh: FRESH, settled: true, steps: READS };
      return (await cut(one)).ends;
    };
    const before = await whole();
    const isAllowed = ({ step, code }: End) =>
      ["IO_ERROR", "STORE_POISONED", "INDEX_CLOSED"].includes(code!) ||
      (code === "INDEX_CORRUPT" && ["check", "compact"].includes(step));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: indexBytes - 1 }), steps, async (bytes, asked) => {
        const directory = fresh();
        const all = [...READS, ...asked, ...READS];
        const one = { directory, file: "index.hebb", bytes, fresh: FRESH, settled: true, steps: all };
        const { ends } = await cut(one);
        for (const [i, end] of ends.entries()) {
          if (end.code !== undefined) expect(isAllowed(end), JSON.stringify(end)).toBe(true);
          else if (i < READS.length) expect(end).toEqual(before[i]);
        }
        await restore(directory, FRESH);
        rmSync(directory, { recursive: true });
      }),
      runs(long ? 5 : 3),
    );
  });
});

/** What can be asked over and over, and answers the same. */
const READS = ["scan", "get", "search"];

describe("a bundle", () => {
  const SECTIONS = ["vectors", "rows", "codes", "ids", "state"];
  test.each(SECTIONS)("its section %s cut: a typed error, and the process lives", async (section) => {
    const directory = path(`bundle${made++}`);
    cpSync(bundle, directory, { recursive: true });
    const { sections } = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")) as Manifest;
    const { file } = sections.find(({ name }) => name === section)!;
    const steps = ["scan", "walk", "searchMany", "get", "entries", "verify", "close"];
    const { ends } = await cut({ directory, bundle: true, file, bytes: 0, steps });
    const failed = ends.filter(({ code }) => code !== undefined);
    expect(failed.length, JSON.stringify(ends)).toBeGreaterThan(0);
    for (const end of failed.filter(({ step }) => step !== "verify")) {
      expect(end, JSON.stringify(end)).toMatchObject({ code: "IO_ERROR", lost: true });
    }
    copyFileSync(join(directory, `${file}.whole`), join(directory, file));
    rmSync(join(directory, `${file}.whole`));
    const again = await openFrozen(directory);
    await again.verify();
    expect(again.get(7)).toMatchObject({ id: 7 });
    await again.close();
  });
});

test.each(["mapped", "sent"])(
  "SIGBUS that is not of our memory (%s) ends the process, as it did before",
  async (which) => {
    const directory = path(`foreign-${which}`);
    mkdirSync(directory);
    const child = fork(FOREIGN, [directory, which], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    expect(await once(child, "exit")).toEqual([null, "SIGBUS"]);
  },
);
