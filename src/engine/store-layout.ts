/** How a store is laid out: its sections, what a vector takes in them, and whether the file has what the graph counts on. */
import { viewOf } from "../../base/bytes.js";
import { HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import { GRAPH_SECTIONS, type GraphOptions, type GraphProfile, graphStrides } from "../../native/graph.js";
import type { SectionSpec, Store } from "../../storage/store.js";
import { gradientSections } from "./gradient-slots.js";
import { learnedSections } from "./learned-sections.js";

/** What the graph's sections hold of a row. */
export interface Layout {
  profile: GraphProfile;
  rowBytes: number;
  bytesPerVector: number;
}

export function layoutOf(options: GraphOptions): Layout {
  const { vector, row, upper, id, place } = graphStrides(options);
  const upperLists = 1 / (Math.exp(1 / options.ml) - 1); // of a node, on average
  return {
    profile: options.profile,
    rowBytes: row,
    bytesPerVector: Math.round(vector + row + id + place + 1 + upper * upperLists),
  };
}

/** The region's sections. A kind is for ever; docs/format.md has the contents of each. */
export function sectionsOf(options: GraphOptions): SectionSpec[] {
  const stride = graphStrides(options);
  const n = options.maxNodes;
  // A node has 1 / (e^(1/m_L) - 1) upper lists on average, less than m_L + 1; the double is out of reach.
  const upperLists = Math.ceil(n * 2 * (options.ml + 1)) + 64;
  const slots = 2 * n + 1024; // those that were left are not free at once
  const sizes: Record<(typeof GRAPH_SECTIONS)[number], [kind: number, stride: number, records: number]> = {
    head: [1, 4096, 1],
    state: [2, 1, n],
    vectors: [3, stride.vector, options.keepOriginals ? n : slots],
    rows: [4, stride.row, n],
    upper: [5, stride.upper, upperLists],
    ids: [6, stride.id, n],
    projection: [9, 4096, Math.max(1, Math.ceil(stride.projection / 4096))],
    places: [10, stride.place, n],
    warm: [11, stride.warm, slots],
    cool: [12, stride.cool, slots],
    cold: [13, stride.cold, slots],
    archive: [14, stride.archive, slots],
    codebooks: [15, 4096, Math.ceil(stride.codebooks / 4096)],
  };
  const graph = GRAPH_SECTIONS.map((name) => {
    const [kind, bytes, records] = sizes[name];
    return { kind, name, stride: bytes, reserveBytes: bytes * records };
  });
  return [...graph, ...learnedSections(options.dimensions, n), ...gradientSections(options.dimensions, n)];
}

/** Bytes that the file has of the section of a kind. */
export function heldBytes({ sections }: Store["meta"]): (kind: number) => number {
  return (kind) => sections.find((section) => section.kind === kind)?.length ?? 0;
}

/** Where the graph's head has how many nodes there are, and entries of section `upper`. */
const NODES_AT = 20;
const UPPER_ENTRIES_AT = 56;
const HEAD_BYTES = 72;
/** Where the head of section `codebooks` has how many slots of each tier are in use. */
const USED_AT = 36;
const TIERS_HEAD_BYTES = 152;
const TIER_SECTIONS = ["vectors", "warm", "cool", "cold", "archive"] as const;

/**
 * What the graph says that it has is in the file: room is made by these numbers, and addresses are reserved for far more
 * than any file holds.
 * @throws {HebbError} INDEX_CORRUPT
 */
export function checkCounts({ region, meta }: Store, options: GraphOptions): void {
  const specs = sectionsOf(options);
  const held = heldBytes(meta);
  const numberOf = (name: (typeof GRAPH_SECTIONS)[number]) => GRAPH_SECTIONS.indexOf(name);
  const expect = (where: string, offset: number, count: number, name: (typeof GRAPH_SECTIONS)[number], first = 0) => {
    const { kind, stride } = specs[numberOf(name)]!;
    if (count === 0 || (count + first) * stride <= held(kind)) return;
    throw new HebbError(
      "INDEX_CORRUPT",
      `section ${where}, offset ${offset}: ${count} records of section ${name}, which has ${held(kind)} bytes and not ${(count + first) * stride}. ${REPAIR_OR_RESTORE}`,
      { section: where, offset, expected: Math.floor(held(kind) / stride), found: count },
    );
  };
  const head = viewOf(region.read(numberOf("head"), 0, HEAD_BYTES));
  const nodes = head.getUint32(NODES_AT, true);
  expect("head", NODES_AT, nodes, "state"); // rows may be missing: those are linked anew
  expect("head", UPPER_ENTRIES_AT, head.getUint32(UPPER_ENTRIES_AT, true), "upper", 1); // entry 0 is not used
  let tiers: DataView;
  try {
    tiers = viewOf(region.read(numberOf("codebooks"), 0, TIERS_HEAD_BYTES));
  } catch {
    return; // the graph knows what to do without it
  }
  for (const [i, name] of TIER_SECTIONS.entries()) {
    expect("codebooks", USED_AT + 4 * i, tiers.getUint32(USED_AT + 4 * i, true), name);
  }
}
