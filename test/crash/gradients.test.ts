/**
 * kill -9 while gradients are accumulated and applied, checkpoints between them: what is found is what the
 * acknowledged calls make, in their order, or what some of those make that were under way, the first ones of them;
 * each once, and all of it, to the last bit. `HEBB_KILLS=1000` is the long run.
 */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { boundShift, shiftBackward, shiftForward } from "../../model/overlay.js";
import { normalize } from "../../model/scoring.js";
import { MOMENTS, type Optimizer, optimizerStep } from "../../training/optimizer.js";
import { figure } from "../support/figures.js";
import { gradientFor, vectorFor } from "../support/gradients.mjs";
import { killsOf, replay, SEED } from "../support/kills.js";
import { scratch } from "../support/rows.js";

const CHILD = fileURLToPath(new URL("../support/gradients-child.mjs", import.meta.url));
const path = scratch();

/** What the child says it is about to do. */
interface Operation {
  op: number;
  put?: number[];
  delete?: number[];
  accumulate?: number[];
  apply?: Optimizer;
}

/** What it found when it opened the index: rows as [id, put by, sum, shift, steps]. */
interface Contents {
  rows: [id: number, op: number, sum: string, shift: string, steps: number][];
  accumulated: number;
  applied: number;
  wrong: string[];
}
type Message = Operation | { done: number } | { opened: Contents };

interface Row {
  op: number;
  sum?: Float32Array | undefined;
  shift?: Float32Array;
  moments?: Float32Array;
  steps: number;
}
interface State {
  rows: ReadonlyMap<number, Row>;
  accumulated: number;
  applied: number;
}

function after(state: State, operation: Operation, d: number): State {
  const rows = new Map(state.rows);
  let { accumulated, applied } = state;
  for (const id of operation.put ?? []) rows.set(id, { op: operation.op, steps: 0 });
  for (const id of operation.delete ?? []) rows.delete(id);
  const given = new Map<number, Float32Array>();
  for (const [i, id] of (operation.accumulate ?? []).entries()) {
    given.set(id, plus(given.get(id), gradientFor(id, operation.op, i, d)));
  }
  for (const [id, sum] of given) rows.set(id, { ...rows.get(id)!, sum: plus(rows.get(id)!.sum, sum) });
  accumulated += given.size;
  for (const [id, row] of operation.apply ? rows : []) {
    if (!row.sum) continue;
    rows.set(id, stepped(vectorFor(id, row.op, d), row, operation.apply!));
    applied++;
  }
  return { rows, accumulated, applied };
}

const plus = (a: Float32Array | undefined, b: Float32Array) => b.map((x, i) => (a?.[i] ?? 0) + x);

/** A step as docs/format.md and `apply` describe it, under cosine. */
function stepped(vector: Float32Array, row: Row, optimizer: Optimizer): Row {
  const length = normalize(vector);
  const [shift, moved] = [row.shift?.slice() ?? vector.map(() => 0), new Float64Array(vector.length)];
  const slope = Float64Array.from(row.sum!, (x) => x * length);
  shiftBackward("cosine", moved, shiftForward("cosine", vector, shift, moved), slope);
  const size = MOMENTS[optimizer] * vector.length;
  const kept = row.moments?.length === size;
  const moments = kept ? row.moments!.slice() : new Float32Array(size);
  const steps = kept ? row.steps + 1 : 1;
  const weightDecay = optimizer === "adamw" ? 0.01 : 0;
  optimizerStep(shift, Float32Array.from(slope), moments, steps, { optimizer, rate: 0.05, weightDecay });
  boundShift(shift, 0.5);
  return { op: row.op, shift, moments, steps };
}

const digest = (values: Float32Array | undefined) =>
  values
    ? createHash("sha1")
        .update(Buffer.from(values.buffer, values.byteOffset, values.byteLength))
        .digest("hex")
    : "";

const told = ({ rows, accumulated, applied }: State): Omit<Contents, "wrong"> => ({
  rows: [...rows]
    .map(([id, row]): Contents["rows"][0] => [id, row.op, digest(row.sum), digest(row.shift), row.steps])
    .sort(([a], [b]) => a - b),
  accumulated,
  applied,
});

test.each([
  ["many small steps", 5, 30, 0.8],
  ["changes of several log records", 2048, 300, 0.2],
])("%s", async (_, d, ids, share) => {
  const seed = SEED + d;
  const prng = new Prng(seed);
  const directory = path(String(d));
  let state: State = { rows: new Map(), accumulated: 0, applied: 0 };
  let pending: Operation[] = [];
  let next = 1;
  let halfway = 0;

  /** What was found must be what the acknowledged operations make, and some of the others, in their order. */
  const settle = ({ wrong, ...found }: Contents) => {
    expect(wrong, replay).toEqual([]);
    let now = state;
    const around = pending.map(({ op, apply }) => `${op}${apply ? ` ${apply}` : ""}`).join(", ");
    for (const [i, operation] of [...pending, undefined].entries()) {
      if (JSON.stringify(told(now)) === JSON.stringify(found)) {
        if (i > 0) halfway++;
        state = now;
        pending = [];
        return;
      }
      if (operation) now = after(now, operation, d);
    }
    expect(found, `${replay}, around ${around}`).toEqual(told(state));
  };

  const kills = Math.ceil(killsOf("gradients") * share);
  // Until something was applied in between, whatever the delays are.
  for (let kill = 0; kill < kills || (state.applied === 0 && kill < 10 * kills); kill++) {
    const child = fork(CHILD, [directory, String(prng.uint32()), String(next), String(d), String(ids)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const die = () => child.kill("SIGKILL");
    // One in six dies while it opens and replays; the others amid an operation, after none to seven.
    const early = kill % 6 === 5 ? setTimeout(die, 80 + prng.below(200)) : undefined;
    let left = prng.below(8);
    const delayMs = prng.below(60);
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
          while (pending.length > 0 && pending[0].op <= message.done) state = after(state, pending.shift()!, d);
          dieSoon();
        } else {
          pending.push(message);
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
  expect(next, replay).toBeGreaterThan(kills); // it did live in between
  expect(state.applied, replay).toBeGreaterThan(0);
  figure(20, "kills while gradients are added and applied: equal to the model to the last bit", kills);
  figure(20, "of these, found with an unacknowledged step or sum in place, once", halfway);
  if (process.env.HEBB_VERBOSE) console.log({ next, halfway, ...state, rows: state.rows.size });
});
