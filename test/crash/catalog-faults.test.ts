/**
 * Calls that fail, one in each life: of SQLite's, each that changes something and each read, and of our own files'. A
 * step is carried out or fails with a code; what was acknowledged is seen in the handle, and when the index is opened
 * again; and what was written behind a failed sync is there after a power failure. `HEBB_SEED=n` draws the same again.
 */
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { Aftermath, momentsOf } from "../support/aftermath.js";
import { type FaultyLife, liveWithFault } from "../support/faulty-life.js";
import { type Kind, lifeOf } from "../support/index-life.js";
import { memoryScratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import type { TracedFiles } from "../support/traced-files.js";
import { type Entry, FULL, failSqlite, IO_ERROR, type SqliteFault } from "../vfs/trace.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const path = memoryScratch();

/** Every kind of step that the catalog follows, one that it commits by itself behind, checkpoints, and a close. */
const LIFE: readonly Kind[] = [
  ...(["put", "learn", "label", "checkpoint", "replace", "gradients", "retier", "checkpoint"] as const),
  ...(["delete", "reopen", "bulk", "put"] as const),
];
const LIVES: (readonly Kind[])[] = [
  LIFE,
  ...(long ? Array.from({ length: 4 }, (_, i) => lifeOf(new Prng(SEED + i), 10)) : []),
];

/** What a fault may say. */
const CODES = ["IO_ERROR", "DISK_FULL", "STORE_POISONED"];

let lives = 0;

/** A life in which something fails. @throws naming what it was */
async function survive(kinds: readonly Kind[], what: string, arm: (files: TracedFiles) => void): Promise<FaultyLife> {
  try {
    const life = await liveWithFault(path(`life-${lives++}`), kinds, "sync", arm);
    for (const { code } of life.failures) expect(CODES).toContain(code);
    return life;
  } catch (error) {
    throw new Error(
      `HEBB_SEED=${SEED}, ${what} of "${kinds.join(" ")}": ${error instanceof Error ? error.stack : error}`,
    );
  }
}

/** Those of SQLite's calls in a trace that count: what each did, in the order of their numbers. */
function changes(trace: readonly Entry[]): Entry["kind"][] {
  return trace.flatMap(({ by, kind, flag }) => {
    const counts = kind === "open" ? flag : ["write", "truncate", "sync", "unlink"].includes(kind);
    return by === "sqlite" && counts ? [kind] : [];
  });
}

/** Most calls are writes, and alike: all others, and some of those. In the long run all. */
const worthwhile = (prng: Prng, kind: Entry["kind"]): boolean => long || prng.below(kind === "write" ? 120 : 6) === 0;

test("each call of SQLite's that changes something fails once", async () => {
  const prng = new Prng(SEED);
  let failed = 0;
  for (const kinds of LIVES) {
    const calls = changes((await survive(kinds, "nothing", () => {})).trace);
    for (const [i, kind] of calls.entries()) {
      if (!worthwhile(prng, kind)) continue;
      const codes = [IO_ERROR, FULL] as const;
      for (const code of kind === "write" && long ? codes : [codes[prng.below(2)]]) {
        const fault: SqliteFault = { from: i + 1, code, part: prng.next() };
        const { failures } = await survive(kinds, `${kind}, call ${i + 1} of ${calls.length}`, () => failSqlite(fault));
        failed += failures.length;
      }
    }
  }
  expect(failed).toBeGreaterThan(0);
});

test("each read of SQLite's fails once", async () => {
  const prng = new Prng(SEED);
  for (const kinds of LIVES) {
    const { reads } = await survive(kinds, "nothing", () => {});
    const step = long ? 1 : Math.ceil(reads / 8);
    for (let from = 1 + prng.below(step); from <= reads; from += step) {
      await survive(kinds, `read ${from} of ${reads}`, () => failSqlite({ of: "reads", from }));
    }
  }
});

test("each call of our own files fails once", async () => {
  const prng = new Prng(SEED);
  for (const kinds of LIVES) {
    let calls = 0;
    await survive(kinds, "nothing", (files) => {
      files.onCall = ({ number }) => {
        calls = number;
        return undefined;
      };
    });
    const step = long ? 1 : Math.ceil(calls / 8);
    for (let at = 1 + prng.below(step); at <= calls; at += step) {
      const verdict = prng.below(2) === 0 ? "EIO" : "ENOSPC";
      await survive(kinds, `${verdict}, our call ${at} of ${calls}`, (files) => {
        files.failedPart = prng.next();
        files.onCall = ({ number }) => (number === at ? verdict : undefined);
      });
    }
  }
});

test("what stands behind a sync of SQLite's that failed is there after a power failure", async () => {
  const prng = new Prng(SEED);
  for (const kinds of LIVES) {
    const calls = changes((await survive(kinds, "nothing", () => {})).trace);
    const syncs = [...calls.keys()].filter((i) => calls[i] === "sync");
    for (const i of long ? syncs : syncs.filter(() => prng.below(syncs.length) < 2)) {
      const life = await survive(kinds, `sync, call ${i + 1}`, () => failSqlite({ from: i + 1 }));
      const failed = life.trace.findIndex(({ kind, flag }) => kind === "synced" && flag);
      const moments = momentsOf(life, failed);
      const aftermath = new Aftermath(path(`sync-${lives}`), SEED);
      for (let n = 0; n < (long ? 100 : 4); n++) {
        const entries = moments[prng.below(moments.length)];
        await aftermath.of(life, [{ entries, crash: "power failure", seed: prng.uint32() }]);
      }
    }
  }
});

/** Where a step begins in a life's trace. */
function beginning({ trace }: FaultyLife, step: number): number {
  return trace.findIndex(({ kind, bytes }) => kind === "note" && bytes.toString() === `${step - 1},${step}`);
}

/** The number of the call of a kind, the `nth` of SQLite's such ones while a step was carried out. */
function callIn(life: FaultyLife, step: number, kind: Entry["kind"], nth = 1): number {
  const begins = life.trace.findIndex((one) => one.kind === "note" && one.bytes.toString() === `${step - 1},${step}`);
  const calls = changes(life.trace);
  const numbers = [...calls.keys()].filter(
    (i) => calls[i] === kind && i >= changes(life.trace.slice(0, begins)).length,
  );
  return numbers[nth - 1] + 1;
}

test("a commit that fails in a checkpoint takes no acknowledged row with it, nor does the one after it", async () => {
  const kinds: Kind[] = ["put", "learn", "checkpoint", "label", "put", "checkpoint"];
  const healthy = await survive(kinds, "nothing", () => {});
  for (const code of [IO_ERROR, FULL] as const) {
    for (const step of [3, 6]) {
      const from = callIn(healthy, step, "write", 3); // a header and a page of SQLite's log, or two
      const { failures } = await survive(kinds, `write, call ${from}`, () => failSqlite({ from, code }));
      expect(failures).toEqual([
        { what: "checkpoint", code: code === FULL ? "DISK_FULL" : "IO_ERROR", poisoned: false },
      ]);
    }
  }
});

test("a sync of SQLite's log that fails is not trusted when it succeeds the next time", async () => {
  const kinds: Kind[] = ["put", "checkpoint", "replace", "reopen", "checkpoint"];
  const isPage = ({ kind, path: of }: Entry) => kind === "write" && of.endsWith("catalog.sqlite");
  const healthy = await survive(kinds, "nothing", () => {});
  const closing = healthy.trace.slice(beginning(healthy, 4));
  const sync = closing.slice(0, closing.findIndex(isPage)).findLastIndex(({ kind }) => kind === "sync");
  const from = changes(healthy.trace.slice(0, beginning(healthy, 4) + sync)).length + 1;
  const life = await survive(kinds, `sync, call ${from}`, () => failSqlite({ from }));
  expect(life.failures).toEqual([{ what: "close", code: "IO_ERROR", poisoned: false }]);
  // While the database is written from SQLite's log, of which only a part is on disk.
  const { trace } = life;
  const failed = trace.findIndex(({ kind, flag }) => kind === "synced" && flag);
  const pages = [...trace.keys()].filter((i) => i > failed && isPage(trace[i]));
  const amid = pages.filter((_, i) => i % 2 === 1).slice(0, 4);
  const aftermath = new Aftermath(path("untrusted"), SEED);
  for (let seed = 1; seed <= 3; seed++) {
    const cases = amid.map((page) => ({ entries: page + 1, crash: "power failure" as const, seed }));
    await aftermath.of(life, cases);
  }
});

test("a sync of SQLite's that fails in a checkpoint poisons: the handle says so, and reads on", async () => {
  const kinds: Kind[] = ["put", "checkpoint", "put"];
  const healthy = await survive(kinds, "nothing", () => {});
  const from = callIn(healthy, 2, "sync");
  const { failures } = await survive(kinds, `sync, call ${from}`, () => failSqlite({ from }));
  expect(failures).toEqual([{ what: "checkpoint", code: "IO_ERROR", poisoned: true }]);
});
