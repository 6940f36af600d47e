/**
 * What the log holds, byte for byte (docs/format.md has the grids). Numbers are little-endian.
 * Records name nodes, never only ids: applying one again needs no look-up and gives the same state.
 */
import { bytesOf } from "../../base/bytes.js";
import { HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { type Delta, encodeDelta } from "../../training/state.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";

/** Types of log records. 0 is the closing marker of storage/. */
export const RECORD = {
  put: 1,
  remove: 2,
  payload: 3,
  feedback: 4,
  learned: 5,
  setting: 6,
  gradients: 7,
  stepped: 8,
} as const;

/** Overlay entries of one log record, in bytes; a larger change is several records of one group. */
const LEARNED_RECORD_BYTES = 4 << 20;
/** Changes of learned edges in one log record: 2 MiB at most. */
const EDGE_CHANGES_PER_RECORD = 1000;

/** A node where there is none. */
export const NO_NODE = 0xffffffff;

/** Rows that enter the index. */
export interface PutRecord {
  nodes: Uint32Array;
  /** The node that row i takes the id from, or NO_NODE. */
  replaces: Uint32Array;
  ids: Id[];
  payloads: (string | undefined)[];
  /** nodes.length x dimensions */
  vectors: Float32Array;
}

/** Gradients to be added to what waits for these nodes. */
export interface GradientsRecord {
  /** Each once. */
  nodes: Uint32Array;
  /** nodes.length x dimensions */
  gradients: Float32Array;
}

/** What an optimizer's step left beside the shifts of these nodes; nothing waits for them after it. */
export interface SteppedRecord {
  /** Each once. */
  nodes: Uint32Array;
  /** Of each, the steps that its moments come from. */
  steps: Uint32Array;
  /** nodes.length x 1 x dimensions (the buffer of a momentum) or x 2 x dimensions (both averages of Adam) */
  moments: Float32Array;
}

class Writer {
  private readonly parts: Uint8Array[] = [];

  u32(...values: number[]): this {
    return this.raw(new Uint8Array(Uint32Array.from(values).buffer));
  }
  words(values: Uint32Array): this {
    return this.u32(values.length).raw(bytesOf(values));
  }
  floats(values: Float32Array): this {
    return this.u32(values.length).raw(bytesOf(values));
  }
  bytes(value: Uint8Array): this {
    return this.u32(value.length).raw(value);
  }
  json(value: unknown): this {
    return this.bytes(Buffer.from(JSON.stringify(value)));
  }
  raw(value: Uint8Array): this {
    this.parts.push(value);
    return this;
  }
  done(): Uint8Array[] {
    return this.parts;
  }
}

class Reader {
  private at = 0;
  constructor(private readonly source: Uint8Array) {}

  private take(length: number): Uint8Array {
    if (length > this.source.length - this.at) {
      throw new HebbError(
        "WAL_CORRUPT",
        `a log record ends at byte ${this.source.length}, inside a field of ${length} bytes at ${this.at}`,
      );
    }
    this.at += length;
    return this.source.subarray(this.at - length, this.at);
  }
  u32(): number {
    const b = this.take(4);
    return new DataView(b.buffer, b.byteOffset, 4).getUint32(0, true);
  }
  /** A copy, because records start at any byte. */
  private copied(count: number): ArrayBuffer {
    const length = count * 4;
    const from = this.take(length);
    return from.buffer.slice(from.byteOffset, from.byteOffset + length) as ArrayBuffer;
  }
  words(): Uint32Array {
    return new Uint32Array(this.copied(this.u32()));
  }
  floats(): Float32Array {
    return new Float32Array(this.copied(this.u32()));
  }
  bytes(): Uint8Array {
    return this.take(this.u32());
  }
  json<T>(): T {
    const text = Buffer.from(this.bytes()).toString("utf8");
    return JSON.parse(text) as T;
  }
}

export const encodePut = (r: PutRecord): Uint8Array[] =>
  new Writer()
    .words(r.nodes)
    .words(r.replaces)
    .json(r.ids)
    .json(r.payloads.map((p) => p ?? null))
    .floats(r.vectors)
    .done();

export function decodePut(bytes: Uint8Array): PutRecord {
  const r = new Reader(bytes);
  const [nodes, replaces, ids] = [r.words(), r.words(), r.json<Id[]>()];
  const payloads = r.json<(string | null)[]>().map((p) => p ?? undefined);
  return { nodes, replaces, ids, payloads, vectors: r.floats() };
}

export const encodeRemove = (nodes: Uint32Array): Uint8Array[] => new Writer().words(nodes).done();
export const decodeRemove = (bytes: Uint8Array): Uint32Array => new Reader(bytes).words();

export const encodePayload = (node: number, payload: string | undefined): Uint8Array[] =>
  new Writer()
    .u32(node)
    .json(payload ?? null)
    .done();
export function decodePayload(bytes: Uint8Array): { node: number; payload: string | undefined } {
  const r = new Reader(bytes);
  return { node: r.u32(), payload: r.json<string | null>() ?? undefined };
}

export function encodeFeedback({ query, ...rest }: StoredFeedback): Uint8Array[] {
  return new Writer().floats(query).json(rest).done();
}
export function decodeFeedback(bytes: Uint8Array): StoredFeedback {
  const r = new Reader(bytes);
  return { query: r.floats(), ...r.json<Omit<StoredFeedback, "query">>() };
}

export const encodeGradients = (r: GradientsRecord): Uint8Array[] =>
  new Writer().words(r.nodes).floats(r.gradients).done();
export function decodeGradients(bytes: Uint8Array): GradientsRecord {
  const r = new Reader(bytes);
  return { nodes: r.words(), gradients: r.floats() };
}

export const encodeStepped = (r: SteppedRecord): Uint8Array[] =>
  new Writer().words(r.nodes).words(r.steps).floats(r.moments).done();
export function decodeStepped(bytes: Uint8Array): SteppedRecord {
  const r = new Reader(bytes);
  return { nodes: r.words(), steps: r.words(), moments: r.floats() };
}

export const encodeSetting = (name: string, value: Uint8Array): Uint8Array[] =>
  new Writer().json(name).bytes(value).done();
export function decodeSetting(bytes: Uint8Array): { name: string; value: Uint8Array } {
  const r = new Reader(bytes);
  return { name: r.json<string>(), value: r.bytes() };
}

/** What was learned, as the records of one group. */
export function learnedRecords(
  { parameters, overlay, edges, network = [], biases = [] }: Delta,
  dimensions: number,
): { type: number; payload: Uint8Array[] }[] {
  const perRecord = Math.max(1, Math.floor(LEARNED_RECORD_BYTES / (dimensions * 4 + 12)));
  // The network comes first: parameters say that it serves.
  const records = network.map((piece) => encodeDelta({ parameters: [], overlay: [], edges: [], network: [piece] }));
  if (parameters.length > 0) records.push(encodeDelta({ parameters, overlay: [], edges: [] }));
  for (let at = 0; at < overlay.length; at += perRecord) {
    records.push(encodeDelta({ parameters: [], overlay: overlay.slice(at, at + perRecord), edges: [] }));
  }
  for (let at = 0; at < edges.length; at += EDGE_CHANGES_PER_RECORD) {
    records.push(encodeDelta({ parameters: [], overlay: [], edges: edges.slice(at, at + EDGE_CHANGES_PER_RECORD) }));
  }
  for (let at = 0; at < biases.length; at += EDGE_CHANGES_PER_RECORD) {
    const some = biases.slice(at, at + EDGE_CHANGES_PER_RECORD);
    records.push(encodeDelta({ parameters: [], overlay: [], edges: [], biases: some }));
  }
  return records.map((delta) => ({ type: RECORD.learned, payload: [delta] }));
}
