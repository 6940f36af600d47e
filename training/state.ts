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
import { EDGES_PER_NODE, type EdgeChange, Edges, emptyRecord, LEAST_LANES, RecordRoom, widen } from "../model/edges.js";
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

const EDGE_ENTRY_BYTES = 36;
const LANE_BYTES = 16;

/**
 * A delta as bytes, little-endian: u32 counts of parameter pieces, of overlay entries, of edge entries, of network
 * pieces and of rows with biases, then pieces (u32 at, u32 length, bytes), overlay entries (u32 node, u32 choices, u32
 * dimensions or 0 for null, f32s) and edge entries (u32 node, u32 1 or 0 for null, u32 edges, u32 born, u32 counted at,
 * f32 asked, f32 chosen, f32 chosen lately, u32 lanes that changed, then those: u32 lane, u32 target, f32 strength, u32
 * at), network pieces as those of parameters, and rows with biases (u32 node, u32 edges, where they lead (u32s), their
 * biases (f32s)).
 */
export function encodeDelta(delta: Delta): Uint8Array {
  const edges = delta.edges.map((change) => ({ ...change, lanes: [...change.lanes] }));
  const network = delta.network ?? [];
  const biases = delta.biases ?? [];
  const size =
    20 +
    biases.reduce((sum, { to }) => sum + 8 + 8 * to.length, 0) +
    network.reduce((sum, p) => sum + 8 + p.bytes.length, 0) +
    edges.reduce((sum, { lanes }) => sum + EDGE_ENTRY_BYTES + LANE_BYTES * lanes.length, 0) +
    delta.parameters.reduce((sum, p) => sum + 8 + p.bytes.length, 0) +
    delta.overlay.reduce((sum, o) => sum + 12 + (o.shift?.byteLength ?? 0), 0);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  const put = (value: number) => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const putFloat = (value: number) => {
    view.setFloat32(at, value, true);
    at += 4;
  };
  put(delta.parameters.length);
  put(delta.overlay.length);
  put(edges.length);
  put(network.length);
  put(biases.length);
  const putPieces = (pieces: Delta["parameters"]) => {
    for (const { at: offset, bytes } of pieces) {
      put(offset);
      put(bytes.length);
      out.set(bytes, at);
      at += bytes.length;
    }
  };
  putPieces(delta.parameters);
  for (const { node, shift, choices } of delta.overlay) {
    put(node);
    put(choices);
    put(shift?.length ?? 0);
    if (shift) out.set(bytesOf(shift), at);
    at += shift?.byteLength ?? 0;
  }
  for (const { node, record, lanes } of edges) {
    for (const value of [node, record ? 1 : 0, record?.count ?? 0, record?.born ?? 0, record?.countedAt ?? 0])
      put(value);
    putFloat(record?.asked ?? 0);
    putFloat(record?.chosen ?? 0);
    putFloat(record?.lately ?? 0);
    put(lanes.length);
    for (const lane of lanes) {
      put(lane);
      put(record!.targets[lane]!);
      putFloat(record!.strengths[lane]!);
      put(record!.at[lane]!);
    }
  }
  putPieces(network);
  for (const { node, to, values } of biases) {
    put(node);
    put(to.length);
    to.forEach(put);
    values.forEach(putFloat);
  }
  return out;
}

/**
 * Reads what `encodeDelta` wrote.
 * @throws {RangeError} when the bytes end early or go on
 */
export function decodeDelta(from: Uint8Array): Delta {
  const bytes = bytesOf(from); // a Buffer's slice would be no copy
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length)
      throw new RangeError(`learned delta ends at byte ${bytes.length}, expected ${at + length}`);
    at += length;
    return at - length;
  };
  const u32 = () => view.getUint32(take(4), true);
  const f32 = () => view.getFloat32(take(4), true);
  const delta: Delta = { parameters: [], overlay: [], edges: [] };
  const pieces = u32();
  const entries = u32();
  const edges = u32();
  const networkPieces = u32();
  const biased = u32();
  const takePieces = (count: number): Delta["parameters"] => {
    const all: Delta["parameters"] = [];
    for (let i = 0; i < count; i++) {
      const offset = u32();
      const length = u32();
      const start = take(length);
      all.push({ at: offset, bytes: bytes.slice(start, start + length) });
    }
    return all;
  };
  delta.parameters = takePieces(pieces);
  for (let i = 0; i < entries; i++) {
    const node = u32();
    const choices = u32();
    const length = u32();
    const start = take(length * 4);
    const shift = length === 0 ? null : new Float32Array(bytes.slice(start, start + length * 4).buffer);
    delta.overlay.push({ node, shift, choices });
  }
  const records = new RecordRoom();
  for (let i = 0; i < edges; i++) {
    const node = u32();
    const isThere = u32() === 1;
    const record = records.take();
    record.count = u32();
    record.born = u32();
    record.countedAt = u32();
    record.asked = f32();
    record.chosen = f32();
    record.lately = f32();
    const changed = u32();
    const lanes: number[] = [];
    for (let j = 0; j < changed; j++) {
      const lane = u32();
      if (lane >= EDGES_PER_NODE) throw new RangeError(`learned delta has lane ${lane}, of ${EDGES_PER_NODE}`);
      lanes.push(lane);
      record.targets[lane] = u32();
      record.strengths[lane] = f32();
      record.at[lane] = u32();
    }
    delta.edges.push({ node, record: isThere ? record : null, lanes });
  }
  if (networkPieces > 0) delta.network = takePieces(networkPieces);
  const biases: BiasChange[] = [];
  for (let i = 0; i < biased; i++) {
    const node = u32();
    const count = u32();
    take(8 * count); // before room is made for them
    at -= 8 * count;
    const to = Uint32Array.from({ length: count }, u32);
    biases.push({ node, to, values: Float32Array.from({ length: count }, f32) });
  }
  if (biased > 0) delta.biases = biases;
  if (at !== bytes.length) throw new RangeError(`learned delta has ${bytes.length - at} bytes after its end`);
  return delta;
}
