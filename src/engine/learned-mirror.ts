/**
 * What was learned, mirrored into its sections of the region (learned-sections.ts), so that checkpoints and recovery
 * treat it like everything else: each change is written as it is applied, and opening reads all of it once.
 */
import { bytesOf, viewOf } from "../../base/bytes.js";
import { HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import type { Metric } from "../../base/types.js";
import { EDGES_PER_NODE, type EdgeChange, type EdgeRecord, emptyRecord, LEAST_LANES } from "../../model/edges.js";
import type { Region } from "../../native/index.js";
import { NETWORK_HEADER_BYTES, NetworkBytes } from "../../training/network-bytes.js";
import { COUNTED_FIELDS, type Delta, FIELD, type LearnedState, type ShiftChange } from "../../training/state.js";
import type { Config } from "../config.js";
import { networkSize } from "./learned-checks.js";
import {
  CHOICES_AT,
  EDGES_KIND,
  EDGES_STRIDE,
  LANE_BYTES,
  LANES_AT,
  LEARNED_SECTIONS,
  NETWORK_KIND,
  OVERLAY_KIND,
  overlayStride,
  RECORD_AT,
  SHIFT_AT,
} from "./learned-sections.js";
import { SlotTable } from "./slot-table.js";

const [OVERLAY, PARAMETERS, EDGES, NETWORK] = ["overlay", "parameters", "edges", "network"].map(
  (name) => LEARNED_SECTIONS.get(name)!,
);

/** Parts of a network that are fixed once it was trained, and their keys. */
const TRAINED_KEYS = [
  ["layers", "gnn_layers"],
  ["hidden", "gnn_hidden_dim"],
  ["heads", "gnn_heads"],
  ["hierarchical", "hierarchical"],
] as const;

export class LearnedMirror {
  private readonly shifts: SlotTable;
  private readonly edges: SlotTable;
  /** What is written of edges, one after the other: an event writes a hundred. */
  private readonly edgeBytes = {
    head: new DataView(new ArrayBuffer(LANES_AT - RECORD_AT)),
    lane: new DataView(new ArrayBuffer(LANE_BYTES)),
  };

  constructor(
    private readonly region: Region,
    private readonly dimensions: number,
  ) {
    this.shifts = new SlotTable(region, OVERLAY, overlayStride(dimensions));
    this.edges = new SlotTable(region, EDGES, EDGES_STRIDE);
  }

  /** Writes a delta that was applied, but for biases: the graph's rows hold those. */
  write({ parameters, overlay, edges, network = [] }: Delta): void {
    for (const { at, bytes } of parameters) this.region.write(PARAMETERS, at, bytes);
    for (const change of overlay) this.writeShift(change);
    for (const change of edges) this.writeEdges(change);
    for (const { at, bytes } of network) this.region.write(NETWORK, at, bytes);
  }

  private writeShift({ node, shift, choices }: ShiftChange): void {
    if (shift === null) {
      this.shifts.free(node);
      return;
    }
    const bytes = new Uint8Array(SHIFT_AT - CHOICES_AT + shift.byteLength);
    bytes.set(bytesOf(Uint32Array.of(choices)));
    bytes.set(bytesOf(shift), SHIFT_AT - CHOICES_AT);
    this.shifts.write(node, CHOICES_AT, bytes);
  }

  private writeEdges({ node, record, lanes }: EdgeChange): void {
    if (record === null) {
      this.edges.free(node);
      return;
    }
    const { head, lane: own } = this.edgeBytes;
    head.setUint32(0, record.count, true);
    head.setUint32(4, record.born, true);
    head.setUint32(8, record.countedAt, true);
    head.setFloat32(12, record.asked, true);
    head.setFloat32(16, record.chosen, true);
    head.setFloat32(20, record.lately, true);
    this.edges.write(node, RECORD_AT, bytesOf(head));
    const bytes = bytesOf(own);
    for (const lane of lanes) {
      own.setUint32(0, record.targets[lane], true);
      own.setFloat32(4, record.strengths[lane], true);
      own.setUint32(8, record.at[lane], true);
      this.edges.write(node, LANES_AT + lane * LANE_BYTES, bytes);
    }
  }

  /**
   * Reads all of it into a state. Nothing is read past the header where nothing was learned.
   * @param held bytes that the file has of the section of a kind
   * @param nodes all nodes are below
   * @throws {HebbError} INDEX_CORRUPT where a section says that it holds what there is not; CONFIG_INVALID where the
   *   configuration asks for a network of another shape
   */
  load(state: LearnedState, config: Config, held: (kind: number) => number, nodes: number): void {
    const { header, bytes, overlay, edges } = state;
    bytes.set(this.region.read(PARAMETERS, 0, header.byteLength));
    if (header[FIELD.started] === 0 && header[FIELD.events] === 0 && header[FIELD.clock] === 0) return;
    bytes.set(this.region.read(PARAMETERS, 0, bytes.length));
    checkHeader(header);
    if (header[FIELD.networkReady]) this.loadNetwork(state, config, held(NETWORK_KIND));
    for (const { node, bytes: slot } of this.shifts.load("overlay", held(OVERLAY_KIND), nodes)) {
      const shift = new Float32Array(slot.slice(SHIFT_AT, SHIFT_AT + 4 * this.dimensions).buffer);
      overlay.set(node, shift, viewOf(slot).getUint32(CHOICES_AT, true));
    }
    for (const { node, bytes: slot } of this.edges.load("edges", held(EDGES_KIND), nodes)) {
      edges.set(node, edgesOf(viewOf(slot)));
    }
  }

  private loadNetwork(state: LearnedState, { given }: Config, held: number): void {
    const header = this.region.read(NETWORK, 0, NETWORK_HEADER_BYTES);
    checkNetwork(header, state.dimensions, state.metric, held);
    const network = new NetworkBytes(header, state.metric, state.options.shiftBound);
    const { shape, layers, hierarchical } = network;
    const trained = { layers: layers.length, hidden: shape.hidden, heads: shape.heads, hierarchical };
    const { network: asked } = state.options;
    for (const [part, name] of TRAINED_KEYS) {
      const [stored, wanted] = [trained[part], asked?.[part]];
      if (!asked || !given.has(`ruvector.${name}`) || stored === wanted) continue;
      throw new HebbError(
        "CONFIG_INVALID",
        `the network in the store was trained with ${name} ${stored}, and is to be opened with ${wanted}; open it with ${stored}, or with ruvector.propagation = "linear"`,
        { name, stored, wanted },
      );
    }
    if (asked) state.options.network = { ...asked, ...trained }; // what was not asked for is as it was trained
    network.bytes.set(this.region.read(NETWORK, 0, network.bytes.length));
    state.network = network;
  }
}

/** What a slot of section `edges` holds. */
function edgesOf(slot: DataView): EdgeRecord {
  const count = Math.min(slot.getUint32(RECORD_AT, true), EDGES_PER_NODE);
  const record = emptyRecord(Math.max(count, LEAST_LANES));
  record.count = count;
  record.born = slot.getUint32(RECORD_AT + 4, true);
  record.countedAt = slot.getUint32(RECORD_AT + 8, true);
  record.asked = slot.getFloat32(RECORD_AT + 12, true);
  record.chosen = slot.getFloat32(RECORD_AT + 16, true);
  record.lately = slot.getFloat32(RECORD_AT + 20, true);
  for (let lane = 0; lane < record.count; lane++) {
    const at = LANES_AT + lane * LANE_BYTES;
    record.targets[lane] = slot.getUint32(at, true);
    record.strengths[lane] = slot.getFloat32(at + 4, true);
    record.at[lane] = slot.getUint32(at + 8, true);
  }
  return record;
}

/** @throws {HebbError} INDEX_CORRUPT for a header of no network of these dimensions that the file has room for */
function checkNetwork(header: Uint8Array, dimensions: number, metric: Metric, held: number): void {
  const size = networkSize(header, dimensions, metric);
  if (typeof size !== "string" && size.bytes <= held) return;
  const reason =
    typeof size === "string" ? `the network ${size}` : `a network of ${size.bytes} bytes, and the section has ${held}`;
  throw new HebbError(
    "INDEX_CORRUPT",
    `section network, offset 0: ${reason}. Open it with ruvector.propagation = "linear" to do without. Or run "hebb repair <dir>", or restore the store from a copy`,
    { section: "network", offset: 0 },
  );
}

/** Fields that count, or are places, are what they can be. @throws {HebbError} INDEX_CORRUPT */
function checkHeader(header: Float64Array): void {
  for (const { field, most } of COUNTED_FIELDS) {
    const value = header[field]!;
    if (Number.isInteger(value) && value >= 0 && value <= most) continue;
    throw new HebbError(
      "INDEX_CORRUPT",
      `section parameters, offset ${8 * field}: header field ${field} is ${value}; expected a whole number from 0 to ${most}. ${REPAIR_OR_RESTORE}`,
      { section: "parameters", offset: 8 * field, expected: most, found: value },
    );
  }
}
