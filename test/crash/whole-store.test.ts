/**
 * Power failures and deaths of the whole store, SQLite's files included: lives are recorded call by call, and for each
 * moment the disk is made that a crash may leave: what was not synced lost, reordered or torn, names that no directory
 * sync followed gone. The real index must find there what was acknowledged and nothing that nobody asked for, the check
 * must find nothing, and it must go on working. `HEBB_SEED=n` draws the same lives and losses again.
 */
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import type { Durability } from "../../src/index.js";
import { Aftermath, type Allowed, type Case, CRASHES, momentsOf, POWER_FAILURES } from "../support/aftermath.js";
import { allowedAt, type Kind, type Life, lifeOf, live } from "../support/index-life.js";
import { memoryScratch } from "../support/rows.js";
import { long } from "../support/seed.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const path = memoryScratch();

const pick = <T>(prng: Prng, list: readonly T[]): T => list[prng.below(list.length)];

/** `count` crashes at moments of a life. */
function draw(prng: Prng, life: Life, count: number, depth: number): Case[] {
  const moments = momentsOf(life);
  return Array.from({ length: count }, () => ({
    entries: pick(prng, moments),
    crash: pick(prng, CRASHES),
    seed: prng.uint32(),
    depth: prng.below(depth + 1),
  }));
}

function tell(what: string, { states }: Aftermath): void {
  console.log(`power failures: ${states} states, 0 lost, 0 phantoms (${what})`);
}

const LETTERS: readonly Kind[] = ["put", "replace", "delete", "learn", "checkpoint", "retier", "reopen"];

/** All sequences of so many letters. */
function words(length: number): Kind[][] {
  if (length === 0) return [[]];
  return words(length - 1).flatMap((word) => LETTERS.map((letter) => [...word, letter]));
}

/** Where the last step of a life begins in its trace. */
function lastStep({ trace }: Life): number {
  const notes = [...trace.keys()].filter((i) => trace[i].kind === "note");
  return notes.at(-2)!; // the last one is its acknowledgement
}

test("a crash at every call of every life of up to three operations", async () => {
  const aftermath = new Aftermath(path("short"), SEED);
  const prng = new Prng(SEED);
  const lives = [0, 1, 2, 3].flatMap(words);
  // All of them take an hour; otherwise a few, and of those a few moments.
  const some = long ? lives : lives.filter(({ length }) => length === 0 || prng.below(length === 1 ? 2 : 50) === 0);
  for (const [i, word] of some.entries()) {
    const life = await live(path(`short-${i}`), ["put", ...word], "sync");
    // What crashes before the last operation is in the shorter lives.
    const moments = momentsOf(life, word.length === 0 ? 0 : lastStep(life));
    const drawn = long ? moments : moments.filter((_, n) => n === moments.length - 1 || prng.below(9) === 0);
    const cases = drawn.flatMap((entries): Case[] =>
      (long ? CRASHES : [pick(prng, CRASHES)]).map((crash) => ({ entries, crash, seed: prng.uint32() })),
    );
    await aftermath.of(life, cases);
  }
  tell(`${some.length} of ${lives.length} lives of up to three operations`, aftermath);
  expect(aftermath.states).toBeGreaterThan(some.length);
});

test("a crash at any moment of longer lives, and again while they are recovered", async () => {
  const aftermath = new Aftermath(path("longer"), SEED);
  const prng = new Prng(SEED);
  for (let i = 0; i < (long ? 150 : 3); i++) {
    const life = await live(path(`longer-${i}`), lifeOf(prng, 12), "sync");
    await aftermath.of(life, draw(prng, life, long ? 60 : 10, long ? 2 : 1));
  }
  tell("longer lives, power failures again in recovery", aftermath);
});

/**
 * What was acknowledged before the last completed sync of the log began is durable. After it, power failures may take
 * steps from the end; the death of the process takes none.
 */
const durablePrefix: Allowed = (life, entries, crash) => {
  const allowed = allowedAt(life, entries);
  if (!POWER_FAILURES.includes(crash)) return allowed;
  const over = new Set(life.trace.slice(0, entries).flatMap((e) => (e.kind === "synced" && !e.flag ? [e.file] : [])));
  const sync = life.trace.findLastIndex((e) => e.kind === "sync" && e.path.endsWith(".wal") && over.has(e.at));
  const first = sync < 0 ? 0 : Math.min(...allowedAt(life, sync));
  const last = Math.max(...allowed);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
};

test.each<Durability>(["interval", "off"])(
  "%s: what a power failure leaves is a prefix of what was acknowledged",
  async (durability) => {
    const aftermath = new Aftermath(path(durability), SEED);
    const prng = new Prng(SEED);
    let earlier = 0;
    for (let i = 0; i < (long ? 40 : 2); i++) {
      const kinds = [...lifeOf(prng, 6), "pause", "put", "label", "pause", "put"] as const;
      const life = await live(path(`${durability}-${i}`), kinds, durability);
      const cases = draw(prng, life, long ? 50 : 8, 0);
      // Some at moments where much is at stake: the end, with nothing since the last sync on disk.
      cases.push({ entries: life.trace.length, crash: "everything unsynced is lost", seed: SEED });
      await aftermath.of(life, cases, durablePrefix);
      if (durablePrefix(life, life.trace.length, "power failure").length > 1) earlier++;
    }
    tell(durability, aftermath);
    if (durability === "off") expect(earlier).toBeGreaterThan(0); // there was something to lose
  },
);
