/**
 * The parameters of a frozen bundle: all that its sections are read by, and what its witness covers beside them. They
 * come from anywhere, so they are held against each other and against the sections' sizes before anything is reserved.
 */
import { z } from "zod";
import { type Json, METRICS, TIERS } from "../../base/types.js";
import { FROZEN_SECTIONS, frozenStrides } from "../../native/frozen.js";
import { GRAPH_PROFILES, GRAPH_SECTIONS, type GraphOptions, graphStrides } from "../../native/graph.js";
import { BLOCK_BYTES, PAGE_BYTES } from "../../native/index.js";
import { corruptBundle } from "../../storage/bundle-errors.js";

export const ROTATIONS = ["hadamard", "haar"] as const;
export type RotationKind = (typeof ROTATIONS)[number];

export const MOST_DIMENSIONS = 8192;
export const MOST_ROWS = 100_000_000;
export const MOST_RERANK = 1024;
export const MOST_BITS = 8;
export const MOST_SEED = Number.MAX_SAFE_INTEGER;
/** Layers above the bottom one, at most (native/graph/graph.hpp). */
const MOST_LEVELS = 15;

const count = (most: number, least = 0) => z.int().min(least).max(most);
const finite = z.number().min(-1e300).max(1e300);

const SCHEMA = z.strictObject({
  dimensions: count(MOST_DIMENSIONS, 1),
  metric: z.enum(METRICS),
  /** Rows in the bundle, and acknowledged ones that were not linked and are not. */
  rows: count(MOST_ROWS, 1),
  leftOut: count(MOST_ROWS),
  rotation: z.enum(ROTATIONS),
  seed: count(MOST_SEED),
  bits: count(MOST_BITS, 1),
  /** Of all vectors. */
  tier: z.enum(TIERS),
  /** Standards of a search. */
  rerankFactor: count(MOST_RERANK),
  ef: count(1_000_000, 1),
  /** Clusters, blocks of 32 codes, and rows with a code: all but those that are shifted. */
  clusters: count(MOST_ROWS),
  blocks: count(MOST_ROWS),
  coded: count(MOST_ROWS),
  graph: z.strictObject({
    m: count(128, 2),
    profile: z.enum(GRAPH_PROFILES),
    levelMultiplier: finite,
    stopMargin: finite,
  }),
  /** What was learned, as the gate had it: the rank of the query adapter (0: none), and the rows that are shifted. */
  overlay: z.nullable(z.strictObject({ adapterRank: count(MOST_DIMENSIONS), shifted: count(MOST_ROWS) })),
});

export type FrozenParameters = z.infer<typeof SCHEMA>;

/** Sections behind those of the native kernel, by number in the region. */
const OWN_SECTIONS = ["text-offsets", "texts", "adapter", "shifted", "shifts"] as const;

/** All sections that a bundle's region has, by number; a bundle holds a file of each one that is not empty. */
export const BUNDLE_SECTIONS = [...GRAPH_SECTIONS, ...FROZEN_SECTIONS, ...OWN_SECTIONS] as const;
export type BundleSection = (typeof BUNDLE_SECTIONS)[number];

export const sectionNumber = (name: BundleSection): number => BUNDLE_SECTIONS.indexOf(name);

/** @throws {HebbError} BUNDLE_CORRUPT naming the parameter */
export function checkParameters(given: { [key: string]: Json }, where: string): FrozenParameters {
  const parsed = SCHEMA.safeParse(given, { jitless: true }); // once: compiling would take longer
  const refuse = (name: string, problem: string): never => {
    const field = name === "" ? "parameters" : `parameters.${name}`;
    throw corruptBundle(`${where}: ${field}: ${problem}`, { path: where, field });
  };
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuse(issue.path.join("."), issue.message);
  }
  const { rows, coded, clusters, blocks, overlay } = parsed.data;
  const shifted = overlay?.shifted ?? 0;
  if (shifted > rows) refuse("overlay.shifted", `${shifted} of ${rows} rows`);
  if (coded !== rows - shifted) refuse("coded", `${coded}; expected ${rows - shifted}, the rows that are not shifted`);
  if (blocks * 32 < coded) refuse("blocks", `${blocks} for ${coded} codes; expected one for each 32`);
  if (clusters > blocks || (clusters === 0 && coded > 0))
    refuse("clusters", `${clusters} of ${blocks} blocks; expected 1 to as many`);
  return parsed.data;
}

export function graphOptionsOf({ dimensions, metric, rows, graph, tier }: FrozenParameters): GraphOptions {
  return {
    dimensions,
    metric,
    m: graph.m,
    efConstruction: 1, // nothing is ever linked
    ml: graph.levelMultiplier,
    seed: 1,
    maxNodes: rows,
    profile: graph.profile,
    stopMargin: graph.stopMargin,
    cacheBytes: 0,
    keepOriginals: tier === "hot",
  };
}

/** Bytes that each section must have; those of `upper` and of texts follow from nothing else. */
export function expectedBytes(p: FrozenParameters): Record<BundleSection, number | undefined> {
  const graph = graphStrides(graphOptionsOf(p));
  const codes = frozenStrides(p);
  const shifted = p.overlay?.shifted ?? 0;
  return {
    head: PAGE_BYTES,
    state: p.rows,
    vectors: p.tier === "hot" ? p.rows * graph.vector : 0,
    rows: p.rows * graph.row,
    upper: undefined,
    ids: p.rows * graph.id,
    projection: graph.projection,
    places: p.tier === "hot" ? 0 : p.rows * graph.place,
    warm: p.tier === "warm" ? p.rows * graph.warm : 0,
    cool: p.tier === "cool" ? p.rows * graph.cool : 0,
    cold: p.tier === "cold" ? p.rows * graph.cold : 0,
    archive: p.tier === "archive" ? p.rows * graph.archive : 0,
    codebooks: p.tier === "hot" ? 0 : graph.codebooks,
    rotation: p.rotation === "haar" ? 4 * p.dimensions * codes.padded : 0,
    clusters: p.clusters * codes.cluster,
    codes: p.blocks * codes.block,
    planes: 32 * p.blocks * codes.planes,
    ranges: 8 * p.blocks,
    "text-offsets": undefined,
    texts: undefined,
    adapter: 8 * (p.overlay?.adapterRank ?? 0) * p.dimensions,
    shifted: 4 * shifted,
    shifts: 4 * shifted * p.dimensions,
  };
}

/** Addresses to reserve for each section, by number: also what damage could make a graph look for. */
export function reservedBytes(p: FrozenParameters, bytesOf: (name: BundleSection) => number): number[] {
  const graph = graphStrides(graphOptionsOf(p));
  const least: Partial<Record<BundleSection, number>> = {
    upper: (p.rows * MOST_LEVELS + 1) * graph.upper,
    places: p.rows * graph.place,
    codebooks: graph.codebooks,
  };
  return BUNDLE_SECTIONS.map((name) => {
    const bytes = Math.max(bytesOf(name), least[name] ?? 0, 1);
    return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
  });
}
