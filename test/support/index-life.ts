/**
 * Lives of a small index, one operation after the other, recorded with everything that they do to the disk; and a model
 * in plain memory that says what the index must hold after each of them.
 */
import { setTimeout } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Prng } from "../../base/prng.js";
import { openWith } from "../../src/engine/opening.js";
import type { Durability, Index, OpenOptions, Payload } from "../../src/index.js";
import type { Simulator } from "../../storage/simulator.js";
import type { Entry } from "../vfs/trace.js";
import { note, startTrace, stopTrace } from "../vfs/trace.js";
import { TracedFiles } from "./traced-files.js";

const DIMENSIONS = 4;
export const OPTIONS: OpenOptions = {
  dimensions: DIMENSIONS,
  metric: "l2",
  config: { ruvector: { hnsw_m: 4, max_nodes: 4096, flush_interval_ms: 2 }, learning: { rank: 2 } },
};

/** `burst` is three steps at once, and a checkpoint. */
export const KINDS = [
  "put",
  "replace",
  "delete",
  "label",
  "learn",
  "gradients",
  "apply",
  "checkpoint",
  "retier",
  "compact",
  "settle",
  "reopen",
  "train",
  "pause",
  "bulk",
  "burst",
] as const;
export type Kind = (typeof KINDS)[number];

/** Kinds as they come, but for the slow ones: those are one in ten of their turns. */
export function lifeOf(prng: Prng, length: number): Kind[] {
  const slow: readonly Kind[] = ["train", "bulk"];
  return Array.from({ length }, () => {
    const kind = KINDS[prng.below(KINDS.length)];
    return slow.includes(kind) && prng.below(10) > 0 ? "put" : kind;
  });
}

/** One operation, with all that it depends on but the index. */
export interface Step {
  /** Counts from 1: what it writes says so. */
  op: number;
  kind: Kind;
  /** What it puts, deletes, labels, learns or gives gradients for. */
  ids: number[];
}

interface Row {
  op: number;
  label?: number;
}

/** What an index holds. */
export interface Contents {
  rows: ReadonlyMap<number, Row>;
  events: number;
  /** Gradients ever added. */
  gradients: number;
}

export const EMPTY: Contents = { rows: new Map(), events: 0, gradients: 0 };

/** Kinds of steps that put rows. */
const PUTS: readonly Kind[] = ["put", "replace", "bulk"];

/** The vector of an id as step `op` put it. */
function vectorOf(id: number, op: number): Float32Array {
  const prng = new Prng(id * 7919 + op * 2);
  return Float32Array.from({ length: DIMENSIONS }, () => prng.next() * 2 - 1);
}

/** What a step of a kind does when the index holds `contents`. */
export function planned(kind: Kind, op: number, { rows }: Contents): Step {
  const there = [...rows.keys()].sort((a, b) => a - b);
  const fresh = (count: number) => Array.from({ length: count }, (_, i) => op * 10 + i);
  const some = there.filter((_, i) => i % 3 === op % 3);
  switch (kind) {
    case "put":
      return { op, kind, ids: fresh(3) };
    case "bulk":
      return { op, kind, ids: fresh(4) };
    case "replace":
      return { op, kind, ids: [...some.slice(0, 2), ...fresh(1)] };
    case "delete":
      return { op, kind, ids: some };
    case "label":
    case "learn":
    case "gradients":
      return { op, kind, ids: there.slice(op % 2, (op % 2) + (kind === "label" ? 1 : 2)) };
    default:
      return { op, kind, ids: [] };
  }
}

export function after(contents: Contents, { op, kind, ids }: Step): Contents {
  const rows = new Map(contents.rows);
  let { events, gradients } = contents;
  if (PUTS.includes(kind)) for (const id of ids) rows.set(id, { op });
  if (kind === "delete") for (const id of ids) rows.delete(id);
  if (kind === "label") for (const id of ids) rows.set(id, { op: rows.get(id)!.op, label: op });
  if (kind === "learn") events += ids.length;
  if (kind === "gradients") gradients += ids.length;
  return { rows, events, gradients };
}

/** Longer than a megabyte in all, which is where the catalog commits without being asked. */
const bulk = "x".repeat(300_000);

async function put(index: Index, { op, kind, ids }: Step): Promise<void> {
  const vectors = Float32Array.from(ids.flatMap((id) => [...vectorOf(id, op)]));
  const more: Payload = kind === "bulk" ? { bulk } : { text: `step ${op}` };
  await index.putMany({ ids, vectors, payloads: ids.map(() => ({ op, ...more })) });
}

/** Carries a step out. @returns the index, which is another one after `reopen` */
export async function perform(index: Index, step: Step, reopen: () => Promise<Index>): Promise<Index> {
  const { op, kind, ids } = step;
  if (PUTS.includes(kind)) await put(index, step);
  else if (kind === "delete") await index.delete(ids);
  else if (kind === "label") for (const id of ids) await index.setPayload(id, { ...index.get(id)?.payload, label: op });
  else if (kind === "learn" && ids.length > 0) {
    await index.learn(ids.map((id) => ({ query: vectorOf(id, op + 0.5), chosen: [id], time: op })));
  } else if (kind === "gradients" && ids.length > 0) {
    await index.gradients.accumulate(ids.map((id) => ({ id, gradient: vectorOf(id, op + 0.5) })));
  } else if (kind === "apply") await index.gradients.apply();
  else if (kind === "checkpoint") await index.checkpoint();
  else if (kind === "retier") await index.retier({ force: op % 2 === 0 ? "warm" : "hot" });
  else if (kind === "compact") await index.compact();
  else if (kind === "settle") await index.settle();
  else if (kind === "train") await index.train({ epochs: 1 });
  else if (kind === "pause")
    await setTimeout(10); // the log is synced meanwhile where that goes by intervals
  else if (kind === "reopen") {
    await index.close();
    return reopen();
  }
  return index;
}

/** What an index holds, and what in it contradicts itself. */
export function contentsOf(index: Index): Contents & { wrong: string[] } {
  const wrong: string[] = [];
  const rows = new Map<number, Row>();
  for (const { id, vector, payload } of index.entries()) {
    const { op, label } = payload as unknown as Row;
    const expected = vectorOf(Number(id), op);
    if (vector.some((x, i) => x !== expected[i])) wrong.push(`id ${id} holds a vector that was never written`);
    if (index.get(id)?.payload?.op !== op) wrong.push(`get(${id}) is not what entries() says`);
    const [hit] = index.search(expected, { k: 1 });
    if (hit?.id !== id || hit.distance !== 0) wrong.push(`search does not find id ${id}`);
    rows.set(Number(id), label === undefined ? { op } : { op, label });
  }
  if (rows.size !== index.size || index.count({ op: { $gte: 0 } }) !== rows.size) wrong.push("the counts differ");
  const [{ events }, gradients] = [index.stats().learning, index.gradients.stats().accumulated];
  return { rows, events, gradients, wrong };
}

export const isSame = (a: Contents, b: Contents): boolean =>
  a.events === b.events && a.gradients === b.gradients && isDeepStrictEqual(a.rows, b.rows);

export interface Life {
  directory: string;
  /** For messages. */
  name: string;
  /** The disk as it found it. Default: empty. */
  before?: Simulator;
  /** What it did to the disk, with a note where each step begins and where it was acknowledged. */
  trace: Entry[];
  /** What the index must hold after each step; the first is before all. */
  states: Contents[];
}

/** From here on a crash may leave any of these states, by their places in `Life.states`. */
export function noteAllowed(states: readonly number[]): void {
  note(states.join());
}

/** The states that a crash after so many entries of a life's trace may leave, where acknowledged is durable. */
export function allowedAt({ trace }: Life, entries: number): number[] {
  const last = trace.slice(0, entries).findLast(({ kind }) => kind === "note");
  return last === undefined ? [0] : last.bytes.toString().split(",").map(Number);
}

/** Lives through steps of these kinds in a directory that is not there yet. What closing it does is not in the trace. */
export async function live(directory: string, kinds: readonly Kind[], durability: Durability): Promise<Life> {
  const { files } = new TracedFiles();
  const reopen = () => openWith(files, directory, { ...OPTIONS, durability });
  const states = [EMPTY];
  const plan = (kind: Kind): Step => {
    const step = planned(kind, states.length, states.at(-1)!);
    states.push(after(states.at(-1)!, step));
    return step;
  };
  let index: Index | undefined;
  let trace: Entry[];
  startTrace(directory);
  try {
    index = await reopen();
    for (const kind of kinds) {
      if (kind === "burst") {
        await burst(index, [plan("put"), plan("replace"), plan("put")]);
        continue;
      }
      const step = plan(kind);
      noteAllowed([step.op - 1, step.op]);
      index = await perform(index, step, reopen);
      noteAllowed([step.op]);
    }
  } finally {
    trace = stopTrace();
    await index?.close();
  }
  return { directory, name: `${durability}: ${kinds.join(" ")}`, trace, states };
}

/** Steps that are asked for at once, with a checkpoint amid them. */
async function burst(index: Index, steps: readonly Step[]): Promise<void> {
  const ops = steps.map(({ op }) => op);
  noteAllowed([ops[0] - 1, ...ops]);
  const puts = steps.map((step, i) => () => put(index, step).then(() => noteAllowed(ops.slice(i))));
  await Promise.all([puts[0](), index.checkpoint(), ...puts.slice(1).map((one) => one())]);
}

/**
 * Opens what a crash left, compares it with what it may be, checks all of it, puts one more row, and closes.
 * @param allowed the states that an index there may be in
 * @param life `before` is the disk with what lies in the directory, `tag` an id and a step that are not in it
 * @returns this life, as short as it is
 * @throws where it is in none of these states, or damaged
 */
export async function liveOn(
  directory: string,
  allowed: readonly Contents[],
  { name, before, tag }: { name: string; before: Simulator; tag: number },
): Promise<Life> {
  const step: Step = { op: tag, kind: "put", ids: [tag] };
  const states: Contents[] = [];
  let trace: Entry[];
  startTrace(directory);
  try {
    // What a killed process wrote and did not sync is there, and can go again until an opening has returned.
    noteAllowed([0, ...allowed.map((_, i) => 2 + i)]);
    const index = await openWith(new TracedFiles().files, directory, OPTIONS);
    noteAllowed([0]);
    try {
      const { wrong, ...found } = contentsOf(index);
      if (!allowed.some((one) => isSame(one, found))) {
        wrong.push(`found ${shown(found)}; expected ${allowed.map(shown).join(" or ")}`);
      }
      for (const { message } of (await index.check()).faults) wrong.push(`check: ${message}`);
      if (wrong.length > 0) throw new Error(wrong.join("\n"));
      states.push(found, after(found, step), ...allowed);
      noteAllowed([0, 1]);
      await put(index, step);
      noteAllowed([1]);
    } finally {
      await index.close();
    }
  } finally {
    trace = stopTrace();
  }
  return { directory, name, before, trace, states };
}

export function shown({ rows, events, gradients }: Contents): string {
  const all = [...rows].map(([id, { op, label }]) => (label === undefined ? `${id}:${op}` : `${id}:${op}/${label}`));
  return `{${all.join(" ")}, ${events} events, ${gradients} gradients}`;
}
