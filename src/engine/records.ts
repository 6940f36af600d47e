/**
 * What the log holds, byte for byte (docs/format.md has the grids). Numbers are little-endian.
 * Records name nodes, never only ids: applying one again needs no look-up and gives the same state.
 */
import { bytesOf } from "../../base/bytes.js";
import { HebbError, reasonOf } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { encodeDelta } from "../../training/delta-bytes.js";
import type { Delta } from "../../training/state.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import { checkId, checkIds, show } from "./validate.js";

/** Types of log records. 0 is the closing record, which is storage/log.ts's. */
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

/** Reads a record, with checksums that hold: whatever is wrong with what it says is damage. @throws {HebbError} WAL_CORRUPT */
export function fromLog<T>(lsn: number, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
    const reason = reasonOf(cause);
    throw new HebbError("WAL_CORRUPT", `log record ${lsn}: ${reason}. Restore the store from a copy`, { lsn }, cause);
  }
}

/** @throws {RangeError} naming what is not as it must be */
export function expectField(holds: boolean, field: string, found: unknown, expected: string): void {
  if (!holds) throw new RangeError(`${field} is ${show(found)}; expected ${expected}`);
}

/** Decoders throw where a field does not fit the others or is of another kind; `fromLog` says of which record. */
class Reader {
  private at = 0;
  constructor(private readonly source: Uint8Array) {}

  private take(length: number): Uint8Array {
    if (length > this.source.length - this.at) {
      throw new RangeError(`it ends at byte ${this.source.length}, inside a field of ${length} bytes at ${this.at}`);
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
  json(): unknown {
    return JSON.parse(Buffer.from(this.bytes()).toString("utf8"));
  }
  list(field: string): unknown[] {
    const value = this.json();
    expectField(Array.isArray(value), field, value, "an array");
    return value as unknown[];
  }
  /** Nothing follows the last field. */
  end<T>(value: T): T {
    const left = this.source.length - this.at;
    expectField(left === 0, "what is behind the last field", left, "0 bytes");
    return value;
  }
}

/** The text of a JSON object, or none. */
function payloadOf(value: unknown): string | undefined {
  if (value === null) return undefined;
  expectField(typeof value === "string", "payload", value, "text, or null");
  const payload: unknown = JSON.parse(value as string);
  const isObject = typeof payload === "object" && payload !== null && !Array.isArray(payload);
  expectField(isObject, "payload", payload, "the text of an object");
  return value as string;
}

const sameLength = (field: string, found: { length: number }, nodes: { length: number }): void =>
  expectField(found.length === nodes.length, `length of ${field}`, found.length, `${nodes.length}, one a node`);

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
  const [nodes, replaces, ids] = [r.words(), r.words(), checkIds(r.list("ids"))];
  const payloads = r.list("payloads").map(payloadOf);
  sameLength("replaces", replaces, nodes);
  sameLength("ids", ids, nodes);
  sameLength("payloads", payloads, nodes);
  return r.end({ nodes, replaces, ids, payloads, vectors: r.floats() });
}

export const encodeRemove = (nodes: Uint32Array): Uint8Array[] => new Writer().words(nodes).done();
export function decodeRemove(bytes: Uint8Array): Uint32Array {
  const r = new Reader(bytes);
  return r.end(r.words());
}

export const encodePayload = (node: number, payload: string | undefined): Uint8Array[] =>
  new Writer()
    .u32(node)
    .json(payload ?? null)
    .done();
export function decodePayload(bytes: Uint8Array): { node: number; payload: string | undefined } {
  const r = new Reader(bytes);
  return r.end({ node: r.u32(), payload: payloadOf(r.json()) });
}

export function encodeFeedback({ query, ...rest }: StoredFeedback): Uint8Array[] {
  return new Writer().floats(query).json(rest).done();
}
export function decodeFeedback(bytes: Uint8Array): StoredFeedback {
  const r = new Reader(bytes);
  return r.end({ query: r.floats(), ...eventOf(r.json()) });
}

function eventOf(value: unknown): Omit<StoredFeedback, "query"> {
  expectField(typeof value === "object" && value !== null, "event", value, "an object");
  const { chosen, shown, rejected, time, source, examples, weights } = value as Record<string, unknown>;
  const isArray = (field: string, found: unknown): unknown[] => {
    expectField(Array.isArray(found), field, found, "an array");
    return found as unknown[];
  };
  const isNumber = (field: string, found: unknown) => expectField(typeof found === "number", field, found, "a number");
  for (const one of isArray("chosen", chosen)) {
    expectField(typeof one === "object" && one !== null, "chosen", one, "objects");
    const { id, grade } = one as Record<string, unknown>;
    checkId(id);
    isNumber("grade", grade);
  }
  checkIds(isArray("shown", shown));
  checkIds(isArray("rejected", rejected));
  isNumber("time", time);
  expectField(source === undefined || typeof source === "string", "source", source, "text, or none");
  if (examples !== undefined) checkIds(isArray("examples", examples));
  if (weights !== undefined) for (const weight of isArray("weights", weights)) isNumber("weights", weight);
  return value as Omit<StoredFeedback, "query">;
}

export const encodeGradients = (r: GradientsRecord): Uint8Array[] =>
  new Writer().words(r.nodes).floats(r.gradients).done();
export function decodeGradients(bytes: Uint8Array): GradientsRecord {
  const r = new Reader(bytes);
  return r.end({ nodes: r.words(), gradients: r.floats() });
}

export const encodeStepped = (r: SteppedRecord): Uint8Array[] =>
  new Writer().words(r.nodes).words(r.steps).floats(r.moments).done();
export function decodeStepped(bytes: Uint8Array): SteppedRecord {
  const r = new Reader(bytes);
  const [nodes, steps] = [r.words(), r.words()];
  sameLength("steps", steps, nodes);
  return r.end({ nodes, steps, moments: r.floats() });
}

export const encodeSetting = (name: string, value: Uint8Array): Uint8Array[] =>
  new Writer().json(name).bytes(value).done();
export function decodeSetting(bytes: Uint8Array): { name: string; value: Uint8Array } {
  const r = new Reader(bytes);
  const name = r.json();
  expectField(typeof name === "string", "name", name, "text");
  return r.end({ name: name as string, value: r.bytes() });
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
