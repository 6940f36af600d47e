/**
 * kill -9 while vectors move between tiers, codebooks are trained, and the file is checkpointed and compacted: every
 * acknowledged row is there, in one place, and what it gives back is its original, or, where originals are not kept,
 * what its tier can tell of it. `HEBB_KILLS=1000` is the long run; `HEBB_SEED=n` repeats the operations and delays.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { scratch } from "../support/rows.js";

const KILLS = Number(process.env.HEBB_KILLS ?? 40);
const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const CHILD = fileURLToPath(new URL("../support/tiers-child.mjs", import.meta.url));
const path = scratch();

/** What the child says it is about to do. */
interface Operation {
  op: number;
  put?: number[];
  delete?: number[];
}

/** What it found when it opened the index: rows as [id, put by]. */
interface Contents {
  rows: [id: number, op: number][];
  wrong: string[];
  tiers: Record<string, number>;
}
/** Tiers that vectors were found in after a death, in all lives. */
const seenTiers = new Set<string>();

type Message = Operation | { done: number } | { opened: Contents };
type Rows = ReadonlyMap<number, number>;

function after(rows: Rows, operation: Operation): Rows {
  const changed = new Map(rows);
  for (const id of operation.put ?? []) changed.set(id, operation.op);
  for (const id of operation.delete ?? []) changed.delete(id);
  return changed;
}

const sorted = (rows: Rows) => [...rows].sort(([a], [b]) => a - b);

test.each([
  [true, 1],
  [true, 2],
  [false, 1],
  [false, 2],
])("keep_originals %s, life %d", async (keep, life) => {
  const seed = SEED + life;
  const prng = new Prng(seed);
  const replay = `HEBB_SEED=${SEED}`;
  const directory = path(`${keep}-${life}`);
  let rows: Rows = new Map();
  let pending: Operation | undefined;
  let next = 1;

  /** What was found must be there before or after the operation that the last death cut off. */
  const settle = (found: Contents) => {
    expect(found.wrong, replay).toEqual([]);
    for (const tier of Object.keys(found.tiers)) seenTiers.add(tier);
    const seen = new Map(found.rows);
    const changed = pending && after(rows, pending);
    if (changed && JSON.stringify(sorted(seen)) === JSON.stringify(sorted(changed))) rows = changed;
    else expect(sorted(seen), `${replay}, around ${JSON.stringify(pending)}`).toEqual(sorted(rows));
    pending = undefined;
  };

  for (let kill = 0; kill < Math.ceil(KILLS / 5); kill++) {
    const child = fork(CHILD, [directory, String(prng.uint32()), String(next), String(keep)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const die = () => child.kill("SIGKILL");
    // One in six dies while it opens and replays; the others amid an operation, after none to four.
    const early = kill % 6 === 5 ? setTimeout(die, 60 + prng.below(200)) : undefined;
    let left = prng.below(5);
    const delayMs = prng.below(100);
    const dieSoon = () => {
      if (early === undefined && left-- === 0) setTimeout(die, delayMs);
    };
    const failures: unknown[] = [];
    child.on("message", (message: Message) => {
      try {
        if ("opened" in message) {
          settle(message.opened);
          dieSoon();
        } else if ("done" in message) {
          rows = after(rows, pending!);
          pending = undefined;
          dieSoon();
        } else {
          pending = message;
          next = message.op + 1;
        }
      } catch (error) {
        failures.push(error);
        die();
      }
    });
    const [[code, signal]] = await Promise.all([once(child, "exit"), once(child, "disconnect")]); // all it said has come
    clearTimeout(early);
    if (failures.length > 0) throw failures[0];
    expect({ code, signal }, replay).toEqual({ code: null, signal: "SIGKILL" });
  }
  expect(next, replay).toBeGreaterThan(Math.ceil(KILLS / 5)); // it did live in between
});

test("in all those lives vectors did move", () => {
  expect(seenTiers.size, `HEBB_SEED=${SEED}`).toBeGreaterThanOrEqual(2);
});
