/**
 * Everything learned: parameters in one buffer of fixed layout, and the overlay. Every change is a
 * delta that carries final values, so that applying it again, or after a crash, gives the same bytes.
 *
 * Buffer, little-endian: 64 doubles (header), then basis and output of the adapter, each rank x d f32.
 */
import { assert } from "../base/assert.js";
import type { Metric } from "../base/types.js";
import type { Adapter } from "../model/adapter.js";
import { Overlay } from "../model/overlay.js";
import { Gate } from "./gate.js";
import type { LearningOptions } from "./options.js";

const HEADER_DOUBLES = 64;
const HEADER_BYTES = HEADER_DOUBLES * 8;
const GATE_AT = 24;

/** Header fields by number; the gate's statistics follow from 24. The meaning of zero: not yet. */
export const FIELD = {
  /** Events learned from. */
  events: 0,
  /** Events that the gate judged. */
  judged: 1,
  /** Events since the adapter's last step. */
  pending: 2,
  adapterSteps: 3,
  /** Steps left out because a value was not finite. */
  skippedSteps: 4,
  /** Events without a chosen document that is live. */
  skippedEvents: 5,
  /** Events beyond their source's share. */
  cappedEvents: 6,
  /** 1 once the scales are set. */
  started: 7,
  scoreScale: 8,
  queryScale: 9,
  documentScale: 10,
  /** Events of the last `train`. */
  trainedEvents: 11,
  /** 1 once the adapter has a basis. */
  adapterReady: 12,
} as const;

export interface Delta {
  /** Bytes to write into the parameter buffer, by byte offset. */
  parameters: { at: number; bytes: Uint8Array }[];
  /** New shift of a node and how often it was chosen by now; null where its shift ends. */
  overlay: ShiftChange[];
}

export interface ShiftChange {
  node: number;
  shift: Float32Array | null;
  choices: number;
}

export class LearnedState {
  /** The whole parameter buffer; its length depends on dimensions and rank alone. */
  readonly bytes: Uint8Array;
  readonly header: Float64Array;
  readonly adapter: Adapter;
  readonly overlay: Overlay;

  /** An untrained state: the static index. `rank` is cut to `dimensions`. */
  constructor(
    readonly dimensions: number,
    readonly metric: Metric,
    readonly options: LearningOptions,
  ) {
    const rank = Math.min(options.rank, dimensions);
    const buffer = new ArrayBuffer(HEADER_BYTES + 2 * rank * dimensions * 4);
    this.bytes = new Uint8Array(buffer);
    this.header = new Float64Array(buffer, 0, HEADER_DOUBLES);
    this.adapter = {
      dimensions,
      rank,
      basis: new Float32Array(buffer, HEADER_BYTES, rank * dimensions),
      output: new Float32Array(buffer, HEADER_BYTES + rank * dimensions * 4, rank * dimensions),
    };
    this.overlay = new Overlay(dimensions, metric);
  }

  get gate(): Gate {
    return gateOf(this.header, this.options);
  }
}

/** The gate over a header: the state's own, or a draft's. */
export function gateOf(header: Float64Array, options: LearningOptions): Gate {
  return new Gate(header.subarray(GATE_AT, GATE_AT + Gate.LENGTH), options);
}

/** Byte offset of a header field, the basis or the output, for deltas. */
export function offsetOf(state: LearnedState, part: "header" | "basis" | "output"): number {
  if (part === "header") return 0;
  return part === "basis" ? HEADER_BYTES : HEADER_BYTES + (state.adapter.basis as Float32Array).byteLength;
}

/** A copy of the numbers as bytes, for a delta. */
export function bytesOf(values: Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
}

/** Writes a delta's values into the state. Idempotent. Call `state.overlay.refresh` before searching. */
export function applyDelta(state: LearnedState, delta: Delta): void {
  for (const { at, bytes } of delta.parameters) {
    assert(
      at + bytes.length <= state.bytes.length,
      `delta writes bytes ${at} to ${at + bytes.length} of the parameters`,
    );
    state.bytes.set(bytes, at);
  }
  for (const { node, shift, choices } of delta.overlay) {
    if (shift) state.overlay.set(node, shift, choices);
    else state.overlay.delete(node);
  }
}

/** All shifts of an overlay, copied. */
export function shiftsOf(overlay: Overlay): ShiftChange[] {
  return Array.from(overlay.nodes, (node) => ({
    node,
    shift: overlay.shiftOf(node)!.slice(),
    choices: overlay.choicesOf(node),
  }));
}

/** The state as one delta against an untrained one: what a checkpoint stores. */
export function snapshot(state: LearnedState): Delta {
  return {
    parameters: [{ at: 0, bytes: state.bytes.slice() }],
    overlay: shiftsOf(state.overlay),
  };
}

/** Takes nodes out of the overlay: they were deleted. Undefined where none had a shift. */
export function forget(state: LearnedState, nodes: Iterable<number>): Delta | undefined {
  const gone = [...new Set(nodes)].filter((node) => state.overlay.has(node));
  return gone.length === 0
    ? undefined
    : { parameters: [], overlay: gone.map((node) => ({ node, shift: null, choices: 0 })) };
}

/**
 * A delta as bytes, little-endian: u32 count of parameter pieces, u32 count of overlay entries, then
 * pieces (u32 at, u32 length, bytes), then entries (u32 node, u32 choices, u32 dimensions or 0 for null, f32s).
 */
export function encodeDelta(delta: Delta): Uint8Array {
  const size =
    8 +
    delta.parameters.reduce((sum, p) => sum + 8 + p.bytes.length, 0) +
    delta.overlay.reduce((sum, o) => sum + 12 + (o.shift?.byteLength ?? 0), 0);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  const put = (value: number) => {
    view.setUint32(at, value, true);
    at += 4;
  };
  put(delta.parameters.length);
  put(delta.overlay.length);
  for (const { at: offset, bytes } of delta.parameters) {
    put(offset);
    put(bytes.length);
    out.set(bytes, at);
    at += bytes.length;
  }
  for (const { node, shift, choices } of delta.overlay) {
    put(node);
    put(choices);
    put(shift?.length ?? 0);
    if (shift) out.set(bytesOf(shift), at);
    at += shift?.byteLength ?? 0;
  }
  return out;
}

/**
 * Reads what `encodeDelta` wrote.
 * @throws {RangeError} when the bytes end early or go on
 */
export function decodeDelta(from: Uint8Array): Delta {
  const bytes = new Uint8Array(from.buffer, from.byteOffset, from.byteLength); // a Buffer's slice would be no copy
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length)
      throw new RangeError(`learned delta ends at byte ${bytes.length}, expected ${at + length}`);
    at += length;
    return at - length;
  };
  const u32 = () => view.getUint32(take(4), true);
  const delta: Delta = { parameters: [], overlay: [] };
  const pieces = u32();
  const entries = u32();
  for (let i = 0; i < pieces; i++) {
    const offset = u32();
    const length = u32();
    const start = take(length);
    delta.parameters.push({ at: offset, bytes: bytes.slice(start, start + length) });
  }
  for (let i = 0; i < entries; i++) {
    const node = u32();
    const choices = u32();
    const length = u32();
    const start = take(length * 4);
    const shift = length === 0 ? null : new Float32Array(bytes.slice(start, start + length * 4).buffer);
    delta.overlay.push({ node, shift, choices });
  }
  if (at !== bytes.length) throw new RangeError(`learned delta has ${bytes.length - at} bytes after its end`);
  return delta;
}
