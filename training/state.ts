/**
 * Everything learned: parameters in one buffer of fixed layout, and the overlay. Every change is a
 * delta that carries final values, so that applying it again, or after a crash, gives the same bytes.
 *
 * Buffer, little-endian: 1024 doubles (header), then basis and output of the adapter, each rank x d f32.
 */
import { assert } from "../base/assert.js";
import { bytesOf } from "../base/bytes.js";
import type { Metric } from "../base/types.js";
import type { Adapter } from "../model/adapter.js";
import { EDGES_PER_NODE, type EdgeChange, Edges, emptyRecord, LEAST_LANES, widen } from "../model/edges.js";
import type { RowBiases } from "../model/field.js";
import { Overlay } from "../model/overlay.js";
import { ARMS } from "./arms.js";
import { Curve } from "./curve.js";
import { Gate } from "./gate.js";
import { NetworkBytes } from "./network-bytes.js";
import type { LearningOptions } from "./options.js";
import { PositionBias } from "./position-bias.js";
import type { Reading } from "./relevance.js";

const HEADER_DOUBLES = 1024;
/** Bytes of the parameters' header. */
export const HEADER_BYTES = HEADER_DOUBLES * 8;
const POSITION_BIAS_AT = 15;
const GATE_AT = POSITION_BIAS_AT + PositionBias.LENGTH;
const CURVE_AT = GATE_AT + Gate.LENGTH;

/**
 * Header fields by number; the estimate of the position bias follows from 15, the gate's statistics from 24, then the
 * learning curve. The meaning of zero: not yet.
 */
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
  /** Events without a chosen document that is live, or with none that was chosen more often than expected. */
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
  /** The clock of learned edges: an event, a connection, and rows that get new numbers each move it by one. */
  clock: 13,
  /** 1 while a stored network is used; `attention` says whether the options do. */
  networkReady: 14,
} as const;

/** The header field that names the arm that serves. */
export const SERVING_FIELD = GATE_AT + Gate.SERVING;

/** Header fields that are places or count what is looped over, with the most that they can be. */
export const COUNTED_FIELDS = [
  { field: FIELD.clock, most: 2 ** 32 - 1 },
  { field: SERVING_FIELD, most: ARMS - 1 },
  { field: CURVE_AT, most: Curve.POINTS },
] as const;

export interface Delta {
  /** Bytes to write into the parameter buffer, by byte offset. */
  parameters: { at: number; bytes: Uint8Array }[];
  /** New shift of a node and how often it was chosen by now; null where its shift ends. */
  overlay: ShiftChange[];
  edges: EdgeChange[];
  /** Bytes of the network, by byte offset: all of it, or nothing. */
  network?: { at: number; bytes: Uint8Array }[];
  /** Biases of the edges that leave rows, for the rows of the graph to hold; all others of these rows are 0 then. */
  biases?: BiasChange[];
}

export interface BiasChange extends RowBiases {
  node: number;
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
  readonly edges: Edges;
  /** The stored network, where `train` found that one helps; see network-bytes.ts. */
  network: NetworkBytes | undefined;

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
    this.edges = new Edges(options.edgeHalfLife);
  }

  /** The network, where one takes part: not where `propagation` is "linear". */
  get attention(): NetworkBytes | undefined {
    return this.options.network && this.header[FIELD.networkReady] ? this.network : undefined;
  }

  get gate(): Gate {
    return gateOf(this.header, this.options);
  }
}

/** The gate over a header: the state's own, or a draft's. */
export function gateOf(header: Float64Array, options: LearningOptions): Gate {
  return new Gate(header.subarray(GATE_AT, GATE_AT + Gate.LENGTH), options);
}

/** The learning curve over a header. */
export function curveOf(header: Float64Array): Curve {
  return new Curve(header.subarray(CURVE_AT, CURVE_AT + Curve.LENGTH));
}

/** The estimate of the position bias over a header. */
export function positionBiasOf(header: Float64Array): PositionBias {
  return new PositionBias(header.subarray(POSITION_BIAS_AT, POSITION_BIAS_AT + PositionBias.LENGTH));
}

/** How displays are read: by what feedback says of them, and with an eta that the options allow. */
export function readingOf(header: Float64Array, options: LearningOptions): Reading {
  const estimate = positionBiasOf(header).snapshot();
  const logit = options.temperature * (header[FIELD.scoreScale]! || 1);
  return { eta: etaOf(header, options), logit, expected: (above) => estimate.expected(above) };
}

/** What feedback shows of eta, and at most what the options allow. */
export function etaOf(header: Float64Array, options: LearningOptions): number {
  return Math.min(options.positionBias, positionBiasOf(header).eta);
}

/** Byte offset of a header field, the basis or the output, for deltas. */
export function offsetOf(state: LearnedState, part: "header" | "basis" | "output"): number {
  if (part === "header") return 0;
  return part === "basis" ? HEADER_BYTES : HEADER_BYTES + (state.adapter.basis as Float32Array).byteLength;
}

/** A copy of the numbers as bytes, for a delta. */
export function copiedBytes(values: Float32Array | Float64Array): Uint8Array {
  return bytesOf(values).slice();
}

/** Stretches of the header that changed: most of it belongs to arms that were not judged. */
export function changedHeader(before: Float64Array, after: Float64Array): Delta["parameters"] {
  const STRETCH = 16;
  const pieces: Delta["parameters"] = [];
  for (let from = 0; from < after.length; from += STRETCH) {
    const to = Math.min(from + STRETCH, after.length);
    let at = from;
    while (at < to && Object.is(after[at], before[at])) at++;
    if (at === to) continue;
    const last = pieces.at(-1);
    const bytes = copiedBytes(after.subarray(from, to));
    if (last && last.at + last.bytes.length === from * 8) last.bytes = Buffer.concat([last.bytes, bytes]);
    else pieces.push({ at: from * 8, bytes });
  }
  return pieces;
}

/**
 * Writes a delta's values into the state, but for those that rows of the graph hold. Idempotent. Call
 * `state.overlay.refresh` before searching.
 */
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
  for (const change of delta.edges) applyEdges(state.edges, change);
  for (const { at, bytes } of delta.network ?? []) {
    if (at === 0) state.network = new NetworkBytes(bytes, state.metric, state.options.shiftBound);
    assert(state.network !== undefined, "a network's bytes begin with its header");
    state.network.bytes.set(bytes, at);
  }
}

function applyEdges(edges: Edges, { node, record, lanes }: EdgeChange): void {
  if (!record) {
    edges.delete(node);
    return;
  }
  const own = edges.record(node) ?? emptyRecord(LEAST_LANES);
  const { count, asked, chosen, lately, countedAt, born } = record;
  Object.assign(own, { count, asked, chosen, lately, countedAt, born });
  edges.set(node, own);
  widen(own, Math.min(count, EDGES_PER_NODE));
  for (const lane of lanes) {
    widen(own, lane + 1);
    own.targets[lane] = record.targets[lane]!;
    own.strengths[lane] = record.strengths[lane]!;
    own.at[lane] = record.at[lane]!;
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

/** Takes deleted nodes out of the overlay and the edges. Undefined where none had a part in either. */
export function forget(state: LearnedState, nodes: Iterable<number>): Delta | undefined {
  const gone = [...new Set(nodes)];
  const overlay = gone.filter((node) => state.overlay.has(node)).map((node) => ({ node, shift: null, choices: 0 }));
  const draft = new Edges(state.options.edgeHalfLife, state.edges);
  for (const node of gone) draft.forget(node, state.header[FIELD.clock]! + 1);
  const edges = draft.changes();
  return overlay.length + edges.length === 0 ? undefined : { parameters: [], overlay, edges };
}

/**
 * A delta of `train`, which leaves learned edges alone, without nodes that disappeared or changed hands while it was
 * made.
 */
export function withoutNodes(delta: Delta, gone: ReadonlySet<number>): Delta {
  if (gone.size === 0) return delta;
  return {
    ...delta,
    overlay: delta.overlay.filter(({ node, shift }) => shift === null || !gone.has(node)),
    biases: delta.biases?.filter(({ node }) => !gone.has(node)).map((row) => withoutEnds(row, gone)),
  };
}

function withoutEnds({ node, to, values }: BiasChange, gone: ReadonlySet<number>): BiasChange {
  return { node, to: to.filter((end) => !gone.has(end)), values: values.filter((_, i) => !gone.has(to[i]!)) };
}
