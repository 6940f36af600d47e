/**
 * What a repair keeps of what was learned: slots that are whole and say something that can be, and the parameters and the
 * network as a whole or not at all, for their values are worth nothing without each other. Feedback is the catalog's.
 */
import { viewOf } from "../../base/bytes.js";
import type { Metric } from "../../base/types.js";
import { bufferContents, type SalvagedIndex, type SectionContents } from "../../storage/repair-index.js";
import { ATTENTION, STATIC } from "../../training/arms.js";
import { FIELD, HEADER_BYTES, SERVING_FIELD } from "../../training/state.js";
import {
  edgeEnds,
  edgesFault,
  gradientFault,
  networkFault,
  networkSize,
  parametersFault,
  type SlotWorld,
  shiftFault,
  usedBy,
} from "./learned-checks.js";
import { LANE_BYTES, LANES_AT } from "./learned-sections.js";

/** What is lost of what was learned. Rows by number. */
export interface LostLearning {
  section: "parameters" | "network" | "overlay" | "edges" | "gradients";
  /** Rows whose slot is lost; undefined where all is lost, or nobody knows whose it was. */
  nodes: number[] | undefined;
  message: string;
}

export interface SalvagedLearning {
  /** By name of the section. */
  contents: Map<string, SectionContents>;
  lost: LostLearning[];
  /** Rows that hold biases of the network. */
  biased: number[];
  /** The network is lost, so that no row may hold biases. */
  losesNetwork: boolean;
}

/** @param lsn the last record of the log */
export async function salvageLearning(
  index: SalvagedIndex,
  world: Omit<SlotWorld, "clock"> & { metric: Metric },
  lsn: number,
): Promise<SalvagedLearning> {
  const learning: SalvagedLearning = { contents: new Map(), lost: [], biased: [], losesNetwork: false };
  await salvageFeedback(index, world, learning);
  await salvageGradients(index, world, lsn, learning);
  const { lost } = learning;
  return { ...learning, losesNetwork: lost.some(({ section }) => section === "parameters" || section === "network") };
}

const isSound = (index: SalvagedIndex, name: string): boolean => index.proofOfAll(index.entry(name)) === "sound";

function drop({ contents }: SalvagedLearning, names: readonly string[]): void {
  for (const name of names) contents.set(name, bufferContents(new Uint8Array(0)));
}

/** What was learned of feedback: where the parameters are lost all of it, for nothing else says what it is worth. */
async function salvageFeedback(
  index: SalvagedIndex,
  world: Omit<SlotWorld, "clock"> & { metric: Metric },
  learning: SalvagedLearning,
): Promise<void> {
  const { contents, lost } = learning;
  const parameters = await index.readAll(index.entry("parameters"));
  if (parameters.length === 0) return;
  const fault = isSound(index, "parameters") ? parametersFault(parameters) : "its checksum does not match";
  if (fault !== undefined) {
    lost.push({
      section: "parameters",
      nodes: undefined,
      message: `all that was learned of feedback (${fault}); train learns it anew`,
    });
    drop(learning, ["parameters", "overlay", "edges", "network"]);
    return;
  }
  const header = new Float64Array(parameters.slice(0, HEADER_BYTES).buffer);
  if (header[FIELD.networkReady] !== 0) {
    if (!(await salvageNetwork(index, world, learning))) {
      header[FIELD.networkReady] = 0;
      if (header[SERVING_FIELD] & ATTENTION) header[SERVING_FIELD] = STATIC;
      parameters.set(new Uint8Array(header.buffer));
    }
  } else if (!isSound(index, "network")) {
    drop(learning, ["network"]); // nobody reads it
  }
  contents.set("parameters", bufferContents(parameters));
  const known = { ...world, clock: header[FIELD.clock] };
  const shifts = await salvageSlots(index, "overlay", (slot) => shiftFault(slot, known));
  if (shifts.lost.length + shifts.unknown > 0) {
    lost.push({ section: "overlay", nodes: shifts.lost, message: `shifts of ${some(shifts)}` });
  }
  if (shifts.bytes) contents.set("overlay", bufferContents(shifts.bytes));
  const edges = await salvageSlots(index, "edges", (slot) => edgesFault(slot, known));
  const cut = edges.bytes === undefined ? 0 : cutEdges(edges.bytes, edges.stride, edges.owners);
  if (edges.lost.length + edges.unknown + cut > 0) {
    const ends = cut > 0 ? `, and ${cut} edges to such rows` : "";
    lost.push({ section: "edges", nodes: edges.lost, message: `learned edges of ${some(edges)}${ends}` });
  }
  if (edges.bytes) contents.set("edges", bufferContents(edges.bytes));
}

/** @returns whether the network is kept */
async function salvageNetwork(
  index: SalvagedIndex,
  world: Omit<SlotWorld, "clock"> & { metric: Metric },
  learning: SalvagedLearning,
): Promise<boolean> {
  const network = await index.readAll(index.entry("network"));
  const fault = isSound(index, "network") ? networkFault(network, world) : "its checksum does not match";
  if (fault !== undefined) {
    const message = `the attention network (${fault}); train makes a new one`;
    learning.lost.push({ section: "network", nodes: undefined, message });
    drop(learning, ["network"]);
    return false;
  }
  const size = networkSize(network, world.dimensions, world.metric);
  if (typeof size !== "string") {
    const view = viewOf(network);
    learning.biased = Array.from({ length: size.biased }, (_, i) => view.getUint32(size.biasedAt + 4 * i, true));
  }
  return true;
}

async function salvageGradients(
  index: SalvagedIndex,
  world: Omit<SlotWorld, "clock">,
  lsn: number,
  { contents, lost }: SalvagedLearning,
): Promise<void> {
  const values = index.entry("gradient-values");
  const valuesOf = await index.readAll(values);
  const slots = await salvageSlots(index, "gradients", (own, slot) => {
    const stride = values?.stride ?? 0;
    if (index.proofOf(values, slot * stride, 12 * world.dimensions) !== "sound") return "its values are damaged";
    return gradientFault(own, valuesOf.subarray(slot * stride, (slot + 1) * stride), { ...world, clock: 0 }, lsn);
  });
  if (slots.lost.length + slots.unknown > 0) {
    lost.push({
      section: "gradients",
      nodes: slots.lost,
      message: `gradients that wait and moments of optimizers, of ${some(slots)}`,
    });
  }
  if (slots.bytes) {
    contents.set("gradients", bufferContents(slots.bytes));
    contents.set("gradient-values", bufferContents(valuesOf));
  }
}

const some = ({ lost, unknown }: { lost: number[]; unknown: number }): string =>
  unknown === 0 ? `${lost.length} rows` : `${lost.length} rows and of up to ${unknown} that nobody can name`;

interface Slots {
  /** The section as it is to be; undefined where there is none. */
  bytes: Uint8Array | undefined;
  stride: number;
  owners: Set<number>;
  lost: number[];
  /** Slots that cannot be read, so that nobody knows whose they are. */
  unknown: number;
}

/** Frees the slots of a section that are damaged or cannot be. */
async function salvageSlots(
  index: SalvagedIndex,
  name: string,
  check: (bytes: Uint8Array, slot: number) => string | undefined,
): Promise<Slots> {
  const entry = index.entry(name);
  const slots: Slots = { bytes: undefined, stride: entry?.stride ?? 0, owners: new Set(), lost: [], unknown: 0 };
  if (entry === undefined || entry.length === 0) return slots;
  const { stride } = entry;
  // The last slot may reach beyond what was ever written of it.
  const bytes = await index.read(entry, 0, Math.ceil(entry.length / stride) * stride);
  const view = viewOf(bytes);
  const room = bytes.length / stride - 1;
  const countKnown = index.proofOf(entry, 0, stride) === "sound" && view.getUint32(0, true) <= room;
  const count = countKnown ? view.getUint32(0, true) : room;
  if (!countKnown) bytes.fill(0, 0, stride);
  for (let slot = 1; slot <= count; slot++) {
    const own = bytes.subarray(slot * stride, (slot + 1) * stride);
    const isSound = index.proofOf(entry, slot * stride, stride) === "sound";
    const { used, node } = usedBy(own);
    if (!isSound) {
      // Whether it was in use, and whose it was, may be in a part of it that is sound.
      if (index.proofOf(entry, slot * stride, 8) !== "sound") slots.unknown++;
      else if (used !== 0) slots.lost.push(node);
      own.fill(0);
      continue;
    }
    if (used === 0) continue;
    if (check(own, slot) === undefined && !slots.owners.has(node)) {
      slots.owners.add(node);
      continue;
    }
    slots.lost.push(node);
    own.fill(0);
  }
  view.setUint32(0, count, true);
  slots.bytes = bytes;
  return slots;
}

/** Takes edges out that lead to nodes without a slot. @returns how many */
function cutEdges(bytes: Uint8Array, stride: number, owners: ReadonlySet<number>): number {
  const view = viewOf(bytes);
  let cut = 0;
  for (let at = stride; at + stride <= bytes.length; at += stride) {
    if (view.getUint32(at, true) !== 1) continue;
    const ends = edgeEnds(bytes.subarray(at, at + stride));
    const kept = ends.flatMap((end, lane) => (owners.has(end) ? [lane] : []));
    if (kept.length === ends.length) continue;
    cut += ends.length - kept.length;
    kept.forEach((lane, to) => {
      const from = at + LANES_AT + lane * LANE_BYTES;
      bytes.copyWithin(at + LANES_AT + to * LANE_BYTES, from, from + LANE_BYTES);
    });
    view.setUint32(at + 8, kept.length, true);
  }
  return cut;
}
