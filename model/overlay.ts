/**
 * The overlay: a bounded learned shift per document, v' = v + delta with |delta| <= bound, made a
 * unit vector again under cosine. Only documents that feedback chose, rows that arrived near those, and rows with
 * gradients of the caller's have one, so that the others rank among themselves exactly as before (NUDGE, Zeighami et
 * al. 2025, restated as a step of gradient descent and a projection).
 */
import type { Metric } from "../base/types.js";
import { scoreRows } from "../native/index.js";
import { axpy, dot, type Floats, normalize, normalizeBackward } from "./scoring.js";

/** v' = v + delta into `out`, a unit vector under cosine; returns |v + delta| there, 1 otherwise. */
export function shiftForward(metric: Metric, vector: Floats, shift: Floats, out: Floats): number {
  for (let i = 0; i < out.length; i++) out[i] = vector[i]! + shift[i]!;
  return metric === "cosine" ? normalize(out) : 1;
}

/** `g` comes in as dL/dv' and leaves as dL/ddelta. */
export function shiftBackward(metric: Metric, out: Floats, length: number, g: Floats): void {
  if (metric === "cosine") normalizeBackward(out, length, g);
}

/** Projects onto the ball of radius `bound`. */
export function boundShift(shift: Floats, bound: number): void {
  const length = Math.sqrt(dot(shift, shift));
  if (length > bound) for (let i = 0; i < shift.length; i++) shift[i] = (shift[i]! * bound) / length;
}

/**
 * Shifts by node, with the rows that are searched (v') beside them, each in one block. Views into the blocks are
 * valid until the next `set` or `delete`.
 */
export class Overlay {
  private readonly slots = new Map<number, number>();
  private nodeOf = new Uint32Array(16);
  private choices = new Uint32Array(16);
  private shifts: Float32Array;
  private block: Float32Array;
  /** Views into the blocks by slot, made when they are asked for: an event looks at hundreds. */
  private shiftViews: Float32Array[] = [];
  private rowViews: Float32Array[] = [];
  private readonly stale = new Set<number>();

  constructor(
    readonly dimensions: number,
    readonly metric: Metric,
  ) {
    this.shifts = new Float32Array(16 * dimensions);
    this.block = new Float32Array(16 * dimensions);
  }

  get size(): number {
    return this.slots.size;
  }

  /** Nodes by slot: `nodes[i]` belongs to `row(i)`. */
  get nodes(): Uint32Array {
    return this.nodeOf.subarray(0, this.size);
  }

  has(node: number): boolean {
    return this.slots.has(node);
  }

  slotOf(node: number): number | undefined {
    return this.slots.get(node);
  }

  /** v' of a slot. Call `refresh` first. */
  row(slot: number): Float32Array {
    return this.view(this.rowViews, this.block, slot);
  }

  private view(known: Float32Array[], block: Float32Array, slot: number): Float32Array {
    let view = known[slot];
    if (!view) {
      view = block.subarray(slot * this.dimensions, (slot + 1) * this.dimensions);
      known[slot] = view;
    }
    return view;
  }

  /** Writes scores of the rows of `slots` for a query to `out`, each at its place. Call `refresh` first. */
  scores(query: Float32Array, slots: Uint32Array, out: Float64Array, places: Uint32Array): void {
    if (slots.length > 0) scoreRows(this.metric === "l2", query, this.block, slots, out, places);
  }

  shiftOf(node: number): Float32Array | undefined {
    const slot = this.slots.get(node);
    return slot === undefined ? undefined : this.view(this.shiftViews, this.shifts, slot);
  }

  /** How often the node was chosen in what its shift learned from; 0 where it has none. */
  choicesOf(node: number): number {
    const slot = this.slots.get(node);
    return slot === undefined ? 0 : this.choices[slot]!;
  }

  /** The same of the node in a slot. */
  choicesAt(slot: number): number {
    return this.choices[slot]!;
  }

  /** Copies `shift` in; the row is computed at the next `refresh`. */
  set(node: number, shift: Float32Array, choices: number): void {
    let slot = this.slots.get(node);
    if (slot === undefined) {
      slot = this.slots.size;
      if (slot === this.nodeOf.length) this.grow();
      this.slots.set(node, slot);
      this.nodeOf[slot] = node;
    }
    this.shifts.set(shift, slot * this.dimensions);
    this.choices[slot] = choices;
    this.stale.add(node);
  }

  /** Takes the node out; the last slot moves into its place. */
  delete(node: number): void {
    const slot = this.slots.get(node);
    if (slot === undefined) return;
    const last = this.slots.size - 1;
    const d = this.dimensions;
    const moved = this.nodeOf[last]!;
    this.nodeOf[slot] = moved;
    this.choices[slot] = this.choices[last]!;
    this.shifts.copyWithin(slot * d, last * d, (last + 1) * d);
    this.block.copyWithin(slot * d, last * d, (last + 1) * d);
    this.slots.set(moved, slot);
    this.slots.delete(node);
    this.stale.delete(node);
  }

  /** Marks a node's row as out of date: its own vector was replaced. */
  touch(node: number): void {
    if (this.slots.has(node)) this.stale.add(node);
  }

  /** Computes the rows that are out of date; `vectorOf` gives a node's own vector (unit length under cosine). */
  refresh(vectorOf: (node: number) => Float32Array): void {
    for (const node of this.stale) {
      const slot = this.slots.get(node)!;
      shiftForward(this.metric, vectorOf(node), this.shiftOf(node)!, this.row(slot));
    }
    this.stale.clear();
  }

  private grow(): void {
    const nodes = new Uint32Array(this.nodeOf.length * 2);
    const shifts = new Float32Array(this.shifts.length * 2);
    const block = new Float32Array(this.block.length * 2);
    const choices = new Uint32Array(this.nodeOf.length * 2);
    nodes.set(this.nodeOf);
    choices.set(this.choices);
    this.choices = choices;
    shifts.set(this.shifts);
    block.set(this.block);
    this.nodeOf = nodes;
    this.shifts = shifts;
    this.block = block;
    this.shiftViews = [];
    this.rowViews = [];
  }
}

/** One bounded step of gradient descent on a shift, in place: delta <- bound(delta - rate dL/ddelta). */
export function stepShift(shift: Floats, gradient: Floats, rate: number, bound: number): void {
  axpy(-rate, gradient, shift);
  boundShift(shift, bound);
}
