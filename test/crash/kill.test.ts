/**
 * kill -9 at random moments of opening, putting, deleting, learning, training, settling, checkpointing and closing: 0
 * acknowledged operations lost, 0 operations that nobody asked for, no batch in part. `HEBB_KILLS=1000` is the long
 * run. `HEBB_SEED=n` repeats the operations and delays of a run; a failure prints its seed.
 */
import { fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Durability, open } from "../../src/index.js";
import { scratch } from "../support/rows.js";

const KILLS = Number(process.env.HEBB_KILLS ?? 40);
const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const CHILD = fileURLToPath(new URL("../support/index-child.mjs", import.meta.url));
const PRELOAD = new URL("../vfs/kill-preload.mjs", import.meta.url).href;
const TEXT_CHILD = fileURLToPath(new URL("../support/text-child.mjs", import.meta.url));
const path = scratch();

/** What the child says it is about to do. */
interface Operation {
  op: number;
  put?: number[];
  delete?: number[];
  label?: number;
  learn?: number;
}

/** What it found when it opened the index: rows as [id, put by, labelled by]. */
interface Contents {
  rows: [id: number, op: number, label?: number][];
  wrong: string[];
  events: number;
}
type Message = Operation | { done: number } | { opened: Contents };

/** What must be there. */
interface State {
  rows: Map<number, { op: number; label?: number | undefined }>;
  events: number;
}

function after(state: State, operation: Operation): State {
  const rows = new Map(state.rows);
  for (const id of operation.put ?? []) rows.set(id, { op: operation.op });
  for (const id of operation.delete ?? []) rows.delete(id);
  if (operation.label !== undefined) {
    rows.set(operation.label, { ...rows.get(operation.label)!, label: operation.op });
  }
  return { rows, events: state.events + (operation.learn ?? 0) };
}

const sorted = ({ rows, events }: State) => ({
  events,
  rows: [...rows].map(([id, { op, label }]) => [id, op, label ?? 0]).sort(([a], [b]) => a - b),
});
const isSame = (a: State, b: State) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

test.each<[Durability, string, number]>([
  ["sync", "at any moment", 0.6],
  ["interval", "at any moment", 0.2],
  ["off", "at any moment", 0.2],
  ["sync", "within a call of SQLite's", 0.1],
])("with durability %s, killed again and again %s", async (durability, when, share) => {
  const prng = new Prng(SEED);
  const directory = path(`${durability} ${when}`);
  const inSqlite = when !== "at any moment";
  let state: State = { rows: new Map(), events: 0 };
  let pending: Operation | undefined;
  let next = 1;
  const replay = `HEBB_SEED=${SEED}`;

  /** What was found must be the state, before or after the operation that the last death cut off. */
  const settle = (found: Contents) => {
    expect(found.wrong, replay).toEqual([]);
    const rows = new Map(found.rows.map(([id, op, label]) => [id, { op, label: label ?? undefined }]));
    const seen = { rows, events: found.events };
    if (pending === undefined || !isSame(seen, after(state, pending))) {
      expect(sorted(seen), `${replay}, around ${JSON.stringify(pending)}`).toEqual(sorted(state));
    } else {
      state = after(state, pending);
    }
    pending = undefined;
  };

  for (let kill = 0; kill < Math.ceil(KILLS * share); kill++) {
    const death = { directory, at: 1 + prng.below(400), part: prng.next() };
    const child = fork(CHILD, [directory, String(prng.uint32()), String(next), durability], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      ...(inSqlite && { execArgv: ["--import", PRELOAD], env: { ...process.env, HEBB_KILL: JSON.stringify(death) } }),
    });
    const die = () => child.kill("SIGKILL");
    // One in five dies while it starts, opens and recovers; the others some time later.
    const early = !inSqlite && kill % 5 === 4 ? setTimeout(die, 60 + prng.below(200)) : undefined;
    const delayMs = prng.below(3) === 0 ? prng.below(30) : prng.below(300);
    const failures: unknown[] = [];
    child.on("message", (message: Message) => {
      try {
        if ("opened" in message) {
          settle(message.opened);
          if (early === undefined && !inSqlite) setTimeout(die, delayMs);
        } else if ("done" in message) {
          state = after(state, pending!);
          pending = undefined;
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

    if (kill % 8 === 7) {
      const index = await open(directory);
      expect((await index.check()).faults, replay).toEqual([]);
      const rows = [...index.entries()].map(
        ({ id, payload }) => [id, payload!.op, payload!.label] as Contents["rows"][0],
      );
      settle({ rows, wrong: [], events: index.stats().learning.events });
      await index.close();
    }
  }
  expect(next).toBeGreaterThan(Math.ceil(KILLS * share)); // it did live in between
});

test("with texts, whose vectors are made anew while the store is young", async () => {
  const prng = new Prng(SEED);
  const directory = path("texts");
  const replay = `HEBB_SEED=${SEED}`;
  let ids: number[] = [];
  let pending: number[] = [];
  let next = 1;
  for (let kill = 0; kill < Math.ceil(KILLS / 8); kill++) {
    const child = fork(TEXT_CHILD, [directory, String(prng.uint32()), String(next)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const delayMs = prng.below(250);
    const failures: unknown[] = [];
    child.on("message", (message: { opened?: { ids: number[]; wrong: string[] }; put?: number[]; done?: true }) => {
      try {
        if (message.opened) {
          expect(message.opened.wrong, replay).toEqual([]);
          const whole = message.opened.ids.length > ids.length;
          if (whole) ids = [...ids, ...pending];
          expect(message.opened.ids, replay).toEqual(ids);
          setTimeout(() => child.kill("SIGKILL"), delayMs);
        } else if (message.put) {
          next = message.put.at(-1)! + 1;
          pending = message.put;
        } else {
          ids = [...ids, ...pending];
          pending = [];
        }
      } catch (error) {
        failures.push(error);
        child.kill("SIGKILL");
      }
    });
    const [[code, signal]] = await Promise.all([once(child, "exit"), once(child, "disconnect")]);
    if (failures.length > 0) throw failures[0];
    expect({ code, signal }, replay).toEqual({ code: null, signal: "SIGKILL" });
  }
  const index = await open(directory);
  expect((await index.check()).faults, replay).toEqual([]);
  expect(index.size).toBeGreaterThanOrEqual(ids.length);
  await index.close();
});

test("replaying finds the places that the log gave to rows, though some were freed before it and some within", async () => {
  const directory = path("places");
  const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
  const program = `
    import { open } from ${JSON.stringify(library)};
    const index = await open(${JSON.stringify(directory)}, { dimensions: 1, metric: "l2" });
    await index.putMany({ ids: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], vectors: Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9) });
    await index.delete([0]);
    await index.settle();
    await index.checkpoint(); // place 0 is free here,
    await index.delete([5]);
    await index.settle(); // place 5 only after it
    await index.putMany({ ids: ["a", "b", "c"], vectors: Float32Array.of(10, 11, 12) });
    process.kill(process.pid, "SIGKILL");`;
  const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  expect({ signal, stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
  const index = await open(directory);
  expect(index.search([12], { k: 20 }).map(({ id }) => id)).toEqual(["c", "b", "a", 9, 8, 7, 6, 4, 3, 2, 1]);
  expect((await index.check()).faults).toEqual([]);
  await index.close();
});
