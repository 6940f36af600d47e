/**
 * kill -9 at random moments of all that can be done with an index: opening, putting, deleting, payloads, learning,
 * training, gradients, moving between tiers, settling, checkpointing, compacting, freezing and closing. 0 acknowledged
 * operations lost, 0 operations that nobody asked for, no batch in part. `HEBB_KILLS=1000` is the long run.
 */
import { fork, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { type Durability, open } from "../../src/index.js";
import { figure } from "../support/figures.js";
import { gradientFor } from "../support/gradients.mjs";
import { killsOf, replay, SEED } from "../support/kills.js";
import { scratch } from "../support/rows.js";

const CHILD = fileURLToPath(new URL("../support/life-child.mjs", import.meta.url));
const PRELOAD = new URL("../vfs/kill-preload.mjs", import.meta.url).href;
const TEXT_CHILD = fileURLToPath(new URL("../support/text-child.mjs", import.meta.url));
const path = scratch();
const d = 12;

/** What the child does, in turn the operation that it is to die in. */
const KINDS = [
  ...["opening", "put", "delete", "label", "learn", "accumulate", "apply", "train"],
  ...["settle", "checkpoint", "compact", "retier", "freeze", "close"],
];

/** What the child says it is about to do. */
interface Operation {
  op: number;
  kind: string;
  put?: number[];
  delete?: number[];
  label?: number;
  learn?: number;
  accumulate?: number[];
  apply?: true;
  freeze?: boolean;
}

type FrozenRow = [id: number, op: number, label: number];

/** What it found when it opened the index. */
interface Contents {
  rows: [id: number, op: number, label: number, waiting: string, steps: number][];
  events: number;
  accumulated: number;
  applied: number;
  tiers: { [tier: string]: number };
  wrong: string[];
  frozen?: { generation: number; rows: FrozenRow[] };
}
type Message = Operation | { done: number } | { opened: Contents };

interface Row {
  op: number;
  label: number;
  waiting?: Float32Array | undefined;
  steps: number;
}

/** What must be there. */
interface State {
  rows: ReadonlyMap<number, Row>;
  events: number;
  accumulated: number;
  applied: number;
  /** The last bundle. */
  frozen?: { generation: number; rows: FrozenRow[] };
}

function changedBy(state: State, { op, ...did }: Operation): State {
  const rows = new Map(state.rows);
  let { accumulated, applied } = state;
  for (const id of did.put ?? []) rows.set(id, { op, label: 0, steps: 0 });
  for (const id of did.delete ?? []) rows.delete(id);
  if (did.label !== undefined) rows.set(did.label, { ...rows.get(did.label)!, label: op });
  for (const [i, id] of (did.accumulate ?? []).entries()) {
    const { waiting, ...row } = rows.get(id)!;
    rows.set(id, { ...row, waiting: gradientFor(id, op, i, d).map((x, j) => x + (waiting?.[j] ?? 0)) });
    accumulated++;
  }
  for (const [id, { waiting, steps, ...row }] of did.apply ? rows : []) {
    if (!waiting) continue;
    rows.set(id, { ...row, steps: steps + 1 });
    applied++;
  }
  const frozen = did.freeze ? { generation: op, rows: frozenRows(state) } : state.frozen;
  return { rows, events: state.events + (did.learn ?? 0), accumulated, applied, ...(frozen && { frozen }) };
}

const digest = (values: Float32Array | undefined) =>
  values ? createHash("sha1").update(new Uint8Array(values.buffer)).digest("hex") : "";

const byId = ([a]: readonly [number, ...unknown[]], [b]: readonly [number, ...unknown[]]) => a - b;
const frozenRows = ({ rows }: State) => [...rows].map(([id, { op, label }]): FrozenRow => [id, op, label]).sort(byId);

/** A state as the child tells it, without what follows from nothing that must be there. */
const told = (state: State): Omit<Contents, "tiers" | "wrong"> => ({
  rows: [...state.rows]
    .map(([id, { op, label, waiting, steps }]): Contents["rows"][0] => [id, op, label, digest(waiting), steps])
    .sort(byId),
  events: state.events,
  accumulated: state.accumulated,
  applied: state.applied,
  ...(state.frozen && { frozen: state.frozen }),
});

/** How often each kind was under way when its process died. */
const interrupted = new Map<string, number>();
/** Tiers that vectors were found in after a death. */
const seenTiers = new Set<string>();

// The lives wait for their disks and for each other's processes, so they are lived beside each other.
describe.concurrent("killed again and again", () => {
  const lives: [Durability, keep: boolean, when: "at any moment" | "within a call of SQLite's", share: number][] = [
    ["sync", true, "at any moment", 0.35],
    ["off", false, "at any moment", 0.25],
    ["interval", true, "at any moment", 0.15],
    ["sync", false, "at any moment", 0.15],
    ["sync", true, "within a call of SQLite's", 0.1],
  ];
  test.each(lives)("durability %s, keep_originals %s, %s", async (durability, keep, when, share) => {
    const kills = Math.ceil(killsOf("life") * share);
    const inSqlite = when !== "at any moment";
    const prng = new Prng(SEED + lives.findIndex(([a, b, c]) => a === durability && b === keep && c === when));
    const directory = path(`${durability}-${keep}-${inSqlite}`);
    let state: State = { rows: new Map(), events: 0, accumulated: 0, applied: 0 };
    let pending: Operation | undefined;
    let next = 1;

    /** What was found must be the state, before or after the operation that the last death cut off. */
    const settle = ({ wrong, tiers, ...found }: Contents) => {
      expect(wrong, replay).toEqual([]);
      for (const tier of Object.keys(tiers)) seenTiers.add(tier);
      found.rows.sort(byId);
      found.frozen?.rows.sort(byId);
      const changed = pending && changedBy(state, pending);
      if (changed && JSON.stringify(found) === JSON.stringify(told(changed))) state = changed;
      else expect(found, `${replay}, around ${JSON.stringify(pending)}`).toEqual(told(state));
      pending = undefined;
    };

    for (let kill = 0; kill < kills; kill++) {
      const kind = KINDS[kill % KINDS.length];
      const settings = JSON.stringify({ durability, keep });
      const early = kind === "opening" ? "" : kind;
      const death = JSON.stringify({ directory, at: 1 + prng.below(400), part: prng.next() });
      const child = fork(CHILD, [directory, String(prng.uint32()), String(next), settings, inSqlite ? "" : early], {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        ...(inSqlite && { execArgv: ["--import", PRELOAD], env: { ...process.env, HEBB_KILL: death } }),
      });
      const die = () => child.kill("SIGKILL");
      let timer = kind === "opening" && !inSqlite ? setTimeout(die, 100 + prng.below(250)) : undefined;
      const delayMs = prng.below(3) === 0 ? prng.below(4) : prng.below(60);
      let under = "opening";
      const failures: unknown[] = [];
      child.on("message", (message: Message) => {
        try {
          if ("opened" in message) {
            settle(message.opened);
            under = "";
          } else if ("done" in message) {
            state = changedBy(state, pending!);
            pending = undefined;
            under = "";
          } else {
            pending = message;
            next = message.op + 1;
            under = message.kind;
            if (under === kind && !inSqlite) timer ??= setTimeout(die, delayMs);
          }
        } catch (error) {
          failures.push(error);
          die();
        }
      });
      const [[code, signal]] = await Promise.all([once(child, "exit"), once(child, "disconnect")]); // all it said has come
      clearTimeout(timer);
      if (failures.length > 0) throw failures[0];
      expect({ code, signal }, replay).toEqual({ code: null, signal: "SIGKILL" });
      interrupted.set(under, (interrupted.get(under) ?? 0) + 1);
    }
    expect(next, replay).toBeGreaterThan(kills); // it did live in between
    figure(1, "kills of lives: 0 acknowledged writes lost, 0 phantom writes", kills);
  });
});

test("all those lives were interrupted in the middle of something, and their vectors did move", () => {
  const between = interrupted.get("") ?? 0;
  const within = [...interrupted.values()].reduce((sum, n) => sum + n, 0) - between;
  expect(within, replay).toBeGreaterThan(between);
  // One in a dozen kills is in the middle of a move or behind one, and few of them let it end.
  if (killsOf("life") >= 100) expect(seenTiers.size, replay).toBeGreaterThanOrEqual(2);
  for (const [kind, n] of interrupted) figure(1, `of these, in the middle of ${kind || "nothing"}`, n);
});

test("with texts, whose vectors are made anew while the store is young", async () => {
  const prng = new Prng(SEED);
  const directory = path("texts");
  let ids: number[] = [];
  let pending: number[] = [];
  let next = 1;
  for (let kill = 0; kill < killsOf("texts"); kill++) {
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
  figure(1, "kills of texts that are encoded anew: the same", killsOf("texts"));
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
