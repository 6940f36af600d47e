/** What a repair has to make anew though its checksums hold, as a check of the store, or of what was built, found. */
import type { Fault } from "../types.js";

export const GRAPH_PARTS = ["head", "state", "rows", "upper", "projection"];
export const TIER_PARTS = ["places", "warm", "cool", "cold", "archive", "codebooks"];

export interface Doubts {
  /** Which nodes are live: the catalog knows it, too. */
  readonly states: boolean;
  /** Rows and lists of the graph. */
  readonly graph: boolean;
  /** Records of tiers. */
  readonly tiers: boolean;
  /** Lengths that are kept beside vectors. */
  readonly norms: boolean;
  /** Nodes whose vector is none. */
  readonly vectors: ReadonlySet<number>;
  /** Nodes whose record in a tier is none. */
  readonly records: ReadonlySet<number>;
}

export const NO_DOUBTS: Doubts = {
  states: false,
  graph: false,
  tiers: false,
  norms: false,
  vectors: new Set(),
  records: new Set(),
};

/** Takes faults for reasons to make what they are in anew, beside those that there were before. */
export function doubtsBy(
  before: Doubts,
  faults: readonly Fault[],
  vectors: Iterable<number> = [],
  records: Iterable<number> = [],
): Doubts {
  const isIn = (parts: readonly string[]) => faults.some(({ section }) => parts.includes(section));
  return {
    states: before.states || isIn(["state", "ids"]),
    graph: before.graph || isIn(GRAPH_PARTS) || isIn(["index.hebb"]),
    tiers: before.tiers || isIn(TIER_PARTS),
    // The words of native/graph/check.cpp: nothing else of a fault in section `vectors` tells them from the vector.
    norms: before.norms || faults.some(({ message }) => message.includes("the length that is kept")),
    vectors: new Set([...before.vectors, ...vectors]),
    records: new Set([...before.records, ...records]),
  };
}

/** How many there are: doubts only ever grow. */
export function sizeOf({ states, graph, tiers, norms, vectors, records }: Doubts): number {
  return [states, graph, tiers, norms].filter(Boolean).length + vectors.size + records.size;
}
