/** Sizes and section numbers that the kernel and its typed face agree on (native/map/region.hpp, native/graph/graph.hpp). */

/** Bytes of a page, the unit in which changes are noticed and written. */
export const PAGE_BYTES = 4096;
/** Bytes of a block, the unit that has a checksum. */
export const BLOCK_BYTES = 65536;

/** The graph's sections of a region, by number: the region must be created with these first, in this order. */
export const GRAPH_SECTIONS = [
  "head",
  "state",
  "vectors",
  "rows",
  "upper",
  "ids",
  "projection",
  "places",
  "warm",
  "cool",
  "cold",
  "archive",
  "codebooks",
] as const;

/** Names of the sections that learning keeps, by number behind the graph's in a store's region. */
export const LEARNED_SECTIONS = ["overlay", "parameters", "edges", "network", "gradients", "gradient-values"] as const;

/** Of the hash that gives nodes of a store their levels. */
export const LEVEL_SEED = 1;

/** What a bottom row holds of its neighbours (native/graph/graph.hpp). */
export const GRAPH_PROFILES = ["turbo", "compact", "small"] as const;
export type GraphProfile = (typeof GRAPH_PROFILES)[number];

/** Sections of a frozen bundle, by number behind the graph's (native/frozen/layout.hpp). */
export const FROZEN_SECTIONS = ["rotation", "clusters", "codes", "planes", "ranges"] as const;
