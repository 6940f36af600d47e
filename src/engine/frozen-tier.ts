/**
 * Freezing into a tier: the rows as a graph of their own, in memory, all of whose vectors are in that tier. Nothing is left
 * of their originals, so the bundle's answers are exact for what its vectors decode to.
 */
import { HebbError } from "../../base/errors.js";
import { Slices } from "../../base/slices.js";
import { TIERS, type Tier } from "../../base/types.js";
import { createSnapshot } from "../../native/frozen.js";
import { createGraph, GRAPH_SECTIONS, type Graph, graphStrides } from "../../native/graph.js";
import { BLOCK_BYTES, createRegion, type Region } from "../../native/index.js";
import type { Session } from "./session.js";
import { LEAST_TRAINED, trainingOptions } from "./tier-options.js";

/** Rows that are copied at once. */
const TOGETHER = 512;
/** What is taken over as it is; vectors, places and all else follow from `setVectors`. */
const COPIED = ["head", "state", "rows", "upper", "ids", "projection"] as const;

export interface TierCopy {
  graph: Graph;
  region: Region;
}

/**
 * Close graph and region in the end.
 * @throws {HebbError} INDEX_CORRUPT, and TIER_UNTRAINED where there are too few rows for a codebook
 */
export async function copyInTier(session: Session, nodes: Uint32Array, tier: Tier): Promise<TierCopy> {
  const number = TIERS.indexOf(tier);
  if (number >= TIERS.indexOf("cool") && nodes.length < LEAST_TRAINED) {
    throw new HebbError(
      "TIER_UNTRAINED",
      `tier ${tier} needs a codebook, and a codebook ${LEAST_TRAINED} rows; the index has ${nodes.length}: freeze in tier hot or warm`,
      { tier, rows: nodes.length },
    );
  }
  const options = { ...session.settings, maxNodes: nodes.length, keepOriginals: false, cacheBytes: 0 };
  const snapshot = createSnapshot(session.graph, { bits: 1, haar: false, seed: 0 }, nodes, new Uint8Array(0), 0);
  snapshot.prepare();
  const region = createRegion(reserved(options, snapshot.size(GRAPH_SECTIONS.indexOf("upper")).count));
  try {
    const slices = new Slices();
    const fresh = createGraph(region, options);
    const numbers = fresh.allocate(nodes.length)!; // as many as there are, in their order
    for (let at = 0; at < nodes.length; at += TOGETHER) {
      fresh.setVectors(
        numbers.subarray(at, at + TOGETHER),
        session.graph.vectors(nodes.subarray(at, at + TOGETHER)),
        0,
      );
      await slices.pause();
    }
    fresh.close();
    for (const name of COPIED) {
      const section = GRAPH_SECTIONS.indexOf(name);
      const { stride, count } = snapshot.size(section);
      for (let at = 0; at < count; at += TOGETHER) {
        region.load(section, at * stride, snapshot.read(section, at, Math.min(TOGETHER, count - at)));
        await slices.pause();
      }
    }
    const graph = createGraph(region, options);
    if (number >= TIERS.indexOf("cool")) await graph.train(trainingOptions(session.config));
    await graph.retier(numbers, number);
    return { graph, region };
  } catch (error) {
    region.close();
    throw error;
  } finally {
    snapshot.close();
  }
}

/** Bytes of each section; of tiers' records one slot more, as a vector keeps its old one until it has the new. */
function reserved(options: Parameters<typeof graphStrides>[0], upperEntries: number): number[] {
  const stride = graphStrides(options);
  const n = options.maxNodes + 1;
  const bytes = {
    head: 4096,
    state: n,
    vectors: n * stride.vector,
    rows: n * stride.row,
    upper: (upperEntries + n * 2) * stride.upper,
    ids: n * stride.id,
    projection: stride.projection,
    places: n * stride.place,
    warm: n * stride.warm,
    cool: n * stride.cool,
    cold: n * stride.cold,
    archive: n * stride.archive,
    codebooks: stride.codebooks,
  };
  return GRAPH_SECTIONS.map((name) => Math.ceil(Math.max(bytes[name], 1) / BLOCK_BYTES) * BLOCK_BYTES);
}
