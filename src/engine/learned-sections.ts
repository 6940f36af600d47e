/**
 * The sections of a store that learning keeps. Section `parameters` is the learners' own buffer, `network` the network's;
 * `overlay` and `edges` hold slots by node (slot-table.ts). Behind a slot's header is, of the overlay: how often the node
 * was chosen (u32), 4 bytes of zero, and its shift (f32 x dimensions). Of the edges: how many (u32), born, counted at
 * (u32), asked, chosen, chosen lately (f32), then for each edge its target (u32), strength (f32) and tick (u32).
 */
import { EDGES_PER_NODE } from "../../model/edges.js";
import { GRAPH_SECTIONS } from "../../native/graph.js";
import { LEARNED_SECTIONS as NAMES } from "../../native/layout.js";
import type { SectionSpec } from "../../storage/store.js";
import { MOST_NETWORK_BYTES } from "../../training/network-bytes.js";
import { SLOT_HEADER_BYTES } from "./slot-table.js";

/** Numbers of all of them in an open store's region: they follow the graph's. */
export const LEARNED_SECTIONS: ReadonlyMap<string, number> = new Map(
  NAMES.map((name, i) => [name, GRAPH_SECTIONS.length + i]),
);

/** Kinds, for ever. */
export const OVERLAY_KIND = 7;
const PARAMETERS_KIND = 8;
export const EDGES_KIND = 16;
export const NETWORK_KIND = 19;

/** From the start of a slot of section `overlay`. */
export const CHOICES_AT = SLOT_HEADER_BYTES;
export const SHIFT_AT = SLOT_HEADER_BYTES + 8;
/** From the start of a slot of section `edges`: what is said of the node, then its edges. */
export const RECORD_AT = SLOT_HEADER_BYTES;
export const LANES_AT = SLOT_HEADER_BYTES + 24;
export const LANE_BYTES = 12;

/** Nothing learned needs more. */
const PARAMETERS_RESERVE_BYTES = 2 ** 30;

const rounded = (bytes: number): number => Math.ceil(bytes / 64) * 64;
export const overlayStride = (dimensions: number): number => rounded(SHIFT_AT + 4 * dimensions);
export const EDGES_STRIDE = rounded(LANES_AT + EDGES_PER_NODE * LANE_BYTES);

/** Those of feedback, in a store of `dimensions` and at most `nodes` nodes; gradients have theirs (gradient-slots.ts). */
export function learnedSections(dimensions: number, nodes: number): SectionSpec[] {
  const stride = overlayStride(dimensions);
  return [
    { kind: OVERLAY_KIND, name: "overlay", stride, reserveBytes: (nodes + 1) * stride },
    { kind: PARAMETERS_KIND, name: "parameters", stride: 1, reserveBytes: PARAMETERS_RESERVE_BYTES },
    { kind: EDGES_KIND, name: "edges", stride: EDGES_STRIDE, reserveBytes: (nodes + 1) * EDGES_STRIDE },
    { kind: NETWORK_KIND, name: "network", stride: 1, reserveBytes: MOST_NETWORK_BYTES },
  ];
}
