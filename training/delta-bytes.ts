/** Deltas of what was learned as bytes: contents of log records, and of what phases of a training leave. */
import { bytesOf, viewOf } from "../base/bytes.js";
import { EDGES_PER_NODE, RecordRoom } from "../model/edges.js";
import type { BiasChange, Delta } from "./state.js";

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
  const view = viewOf(bytes);
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
