/**
 * What holds of the sections that learning keeps, slot by slot and byte by byte, as docs/format.md has them: the check
 * tells what does not, and a repair keeps what does.
 */

import { viewOf } from "../../base/bytes.js";
import type { Metric } from "../../base/types.js";
import { EDGES_PER_NODE } from "../../model/edges.js";
import { parameterCount } from "../../model/gnn/parameters.js";
import { firstNonFinite } from "../../native/index.js";
import { ARMS } from "../../training/arms.js";
import { MOST_NETWORK_BYTES, NETWORK_HEADER_BYTES } from "../../training/network-bytes.js";
import { FIELD, HEADER_BYTES, SERVING_FIELD } from "../../training/state.js";
import { LANE_BYTES, LANES_AT, SHIFT_AT } from "./learned-sections.js";

/** What slots are held against. */
export interface SlotWorld {
  dimensions: number;
  /** Numbers ever used. */
  nodes: number;
  isLive(node: number): boolean;
  /** The tick of learned edges now. */
  clock: number;
}

/** Of slots in sections `overlay`, `edges` and `gradients`: in use, and of which node. */
export const usedBy = (slot: Uint8Array): { used: number; node: number } => {
  const view = viewOf(slot);
  return { used: view.getUint32(0, true), node: view.getUint32(4, true) };
};

/** A copy, because slots lie at any byte. */
const floatsOf = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);
const allFinite = (bytes: Uint8Array) => firstNonFinite(floatsOf(bytes)) < 0;

/** What is wrong with a slot of section `overlay` that is in use; undefined where nothing is. */
export function shiftFault(slot: Uint8Array, { dimensions, isLive }: SlotWorld): string | undefined {
  const { used, node } = usedBy(slot);
  if (used !== 1) return `says ${used}; expected 0 or 1`;
  if (!isLive(node)) return `is of node ${node}, which is not live`;
  if (!allFinite(slot.subarray(SHIFT_AT, SHIFT_AT + 4 * dimensions))) return `holds a shift that is not finite`;
  return undefined;
}

/** The same of section `edges`. A node that disappeared keeps its slot. */
export function edgesFault(slot: Uint8Array, { nodes, clock }: SlotWorld): string | undefined {
  const { used, node } = usedBy(slot);
  const view = viewOf(slot);
  const count = view.getUint32(8, true);
  if (used !== 1) return `says ${used}; expected 0 or 1`;
  if (node >= nodes) return `is of node ${node}; there are ${nodes}`;
  if (count > EDGES_PER_NODE) return `has ${count} edges; there is room for ${EDGES_PER_NODE}`;
  const next = clock + 1; // what a node that disappeared leaves is of the event to come
  if (view.getUint32(12, true) > next || view.getUint32(16, true) > next) return `has ticks beyond the clock, ${clock}`;
  if (!allFinite(slot.subarray(20, 32))) return "counts what is not finite";
  for (let lane = 0; lane < count; lane++) {
    const at = LANES_AT + lane * LANE_BYTES;
    const to = view.getUint32(at, true);
    if (to >= nodes) return `has an edge to node ${to}; there are ${nodes}`;
    if (!Number.isFinite(view.getFloat32(at + 4, true)))
      return `has an edge to node ${to} whose strength is not finite`;
    if (view.getUint32(at + 8, true) > next) return `has an edge to node ${to} from after the clock, ${clock}`;
  }
  return undefined;
}

/** Nodes that the edges of a slot lead to. */
export function edgeEnds(slot: Uint8Array): number[] {
  const view = viewOf(slot);
  const count = Math.min(view.getUint32(8, true), EDGES_PER_NODE);
  return Array.from({ length: count }, (_, lane) => view.getUint32(LANES_AT + lane * LANE_BYTES, true));
}

/** What is wrong with all of section `parameters`. */
export function parametersFault(bytes: Uint8Array): string | undefined {
  const header = new Float64Array(bytes.slice(0, HEADER_BYTES).buffer);
  const bad = header.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) return `header field ${bad} is not finite`;
  for (const field of [FIELD.events, FIELD.clock, FIELD.networkReady]) {
    if (!Number.isSafeInteger(header[field]) || header[field] < 0)
      return `header field ${field} is ${header[field]}; expected a count`;
  }
  const serving = header[SERVING_FIELD];
  if (!Number.isInteger(serving) || serving < 0 || serving >= ARMS)
    return `header field ${SERVING_FIELD} is ${serving}; expected an arm from 0 to ${ARMS - 1}`;
  const value = firstNonFinite(floatsOf(bytes.subarray(header.byteLength)));
  return value < 0 ? undefined : `value ${value} of the adapter is not finite`;
}

/**
 * Bytes that a network of this header takes, and how many rows hold biases; what is wrong with the header instead.
 * Nothing is taken from it unchecked.
 */
export function networkSize(
  header: Uint8Array,
  dimensions: number,
  metric: Metric,
): { bytes: number; biased: number; biasedAt: number } | string {
  const view = viewOf(header);
  const [layers, d, hidden, heads] = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
  const biased = view.getUint32(28, true);
  if (d !== dimensions) return `is of ${d} dimensions; the store has ${dimensions}`;
  if (layers === 0 || heads === 0 || hidden === 0 || hidden % heads !== 0)
    return `has ${layers} layers of ${hidden} values and ${heads} heads, which is no network`;
  const count = parameterCount({ dimensions, hidden, heads, propagation: "attention", metric, bound: 1 });
  const biasedAt = NETWORK_HEADER_BYTES + layers * count * 4;
  const bytes = biasedAt + 4 * biased;
  if (bytes > MOST_NETWORK_BYTES) return `would take ${bytes} bytes; there is room for ${MOST_NETWORK_BYTES}`;
  return { bytes, biased, biasedAt };
}

/** What is wrong with all of section `network`. */
export function networkFault(
  bytes: Uint8Array,
  { dimensions, nodes, metric }: Pick<SlotWorld, "dimensions" | "nodes"> & { metric: Metric },
): string | undefined {
  const size = networkSize(bytes, dimensions, metric);
  if (typeof size === "string") return size;
  if (size.bytes > bytes.length) return `takes ${size.bytes} bytes; the section has ${bytes.length}`;
  if (!allFinite(bytes.subarray(16, 24)) || !allFinite(bytes.subarray(NETWORK_HEADER_BYTES, size.biasedAt)))
    return "holds a value that is not finite";
  for (let i = 0; i < size.biased; i++) {
    const node = viewOf(bytes).getUint32(size.biasedAt + 4 * i, true);
    if (node >= nodes) return `has biases in the row of node ${node}; there are ${nodes}`;
  }
  return undefined;
}

/** What is wrong with a slot of section `gradients` that is in use, and its values. `lsn`: the last record applied. */
export function gradientFault(
  slot: Uint8Array,
  values: Uint8Array,
  { dimensions, isLive }: SlotWorld,
  lsn: number,
): string | undefined {
  const { used: kind, node } = usedBy(slot);
  const view = viewOf(slot);
  if (kind > 3) return `is of kind ${kind}, which is none`;
  if (!isLive(node)) return `is of node ${node}, which is not live`;
  const last = view.getFloat64(16, true);
  if (!(Number.isSafeInteger(last) && last > 0 && last <= lsn))
    return `holds record ${last} of the log; expected one from 1 to ${lsn}`;
  if (!Number.isFinite(view.getFloat64(24, true))) return "has a sum whose length is not finite";
  const sum = view.getUint32(12, true) > 0 ? values.subarray(0, 4 * dimensions) : values.subarray(0, 0);
  if (!allFinite(sum) || !allFinite(values.subarray(4 * dimensions, 4 * dimensions * kind)))
    return "holds a value that is not finite";
  return undefined;
}
