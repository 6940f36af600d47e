/** What a store keeps of its settings, and the graph's options that follow from that and from the config. */
import { HebbError } from "../../base/errors.js";
import type { Json, Metric } from "../../base/types.js";
import { GRAPH_PROFILES, type GraphOptions, type GraphProfile, LEVEL_SEED } from "../../native/graph.js";
import type { Config } from "../config.js";
import { show } from "./validate.js";

export const MAX_DIMENSIONS = 65536;
/** Principal directions take memory by the square of the dimensions. */
const MOST_COMPACT = 4096;

/** What a store keeps of its settings: they shaped its graph, so a config that says otherwise is refused. */
export interface StoredConfig {
  hnsw_m: number;
  hnsw_ml: number;
  graph_profile: GraphProfile;
  /** False where the floats of a vector go when it leaves tier hot. Stores made before it was there have them. */
  keep_originals: boolean;
  /** Directions of the query adapter: the layout of section `parameters` follows from it. */
  learning_rank: number;
}

/** For a store that is made. */
export function storedConfig(config: Config): StoredConfig {
  return {
    hnsw_m: config.ruvector.hnsw_m,
    hnsw_ml: config.levelMultiplier,
    graph_profile: config.ruvector.graph_profile,
    keep_originals: config.storage.keep_originals,
    learning_rank: config.learning.rank,
  };
}

/**
 * The graph's options: those the store was made with, and of the config what may change from one opening to the next.
 */
export function graphOptions(
  { dimensions, metric, config: stored }: { dimensions: number; metric: Metric; config: Json },
  config: Config,
): GraphOptions {
  if (dimensions > MAX_DIMENSIONS) {
    throw new HebbError(
      "INDEX_CORRUPT",
      `index.hebb, meta slots, offset 32: ${dimensions} dimensions; expected at most ${MAX_DIMENSIONS}. Restore the store from a copy`,
      { section: "meta", offset: 32, expected: MAX_DIMENSIONS, found: dimensions },
    );
  }
  const { hnsw_m: m, hnsw_ml: ml, learning_rank: rank, graph_profile: profile, keep_originals } = checkStored(stored);
  const keepOriginals = keep_originals ?? true;
  if (profile === undefined) {
    throw new HebbError(
      "STORE_VERSION",
      "the store was made by release 0.0.1, whose graph rows this one does not read; export its entries() with that release and put them into a new store",
    );
  }
  if (profile === "compact" && dimensions > MOST_COMPACT) {
    throw new HebbError(
      "CONFIG_INVALID",
      `ruvector.graph_profile is "compact" and the dimensions are ${dimensions}; it fits at most ${MOST_COMPACT}: choose "turbo" or "small"`,
    );
  }
  const asked = config.ruvector;
  for (const [key, value, kept] of [
    ["ruvector.hnsw_m", asked.hnsw_m, m],
    ["ruvector.hnsw_ml", config.levelMultiplier, ml],
    ["learning.rank", config.learning.rank, rank],
    ["storage.keep_originals", config.storage.keep_originals, keepOriginals],
  ] as const) {
    if (config.given.has(key) && value !== kept) {
      throw new HebbError(
        "STORE_MISMATCH",
        `${key} is ${value}, but the store was made with ${kept}; leave the key out, or build a new store`,
      );
    }
  }
  return {
    dimensions,
    metric,
    m,
    ml,
    efConstruction: asked.hnsw_ef_construction,
    seed: LEVEL_SEED,
    maxNodes: asked.max_nodes,
    profile,
    keepOriginals,
    readAhead: asked.prefetch_depth,
    cacheBytes: config.tensor_compress.decompress_cache_size_mb * 2 ** 20,
    stopMargin: asked.search_stop === "adaptive" ? asked.search_stop_margin : -1,
  };
}

/** Layout and memory follow from it, so that each field is what it can be. @throws {HebbError} INDEX_CORRUPT */
function checkStored(stored: Json): Partial<StoredConfig> & Omit<StoredConfig, "graph_profile" | "keep_originals"> {
  const fields = (typeof stored === "object" && stored !== null ? stored : {}) as { [key: string]: unknown };
  const { hnsw_m: m, hnsw_ml: ml, learning_rank: rank, graph_profile: profile, keep_originals: kept } = fields;
  if (profile === undefined) return fields as unknown as ReturnType<typeof checkStored>; // of an older release
  const isWhole = (value: unknown, least: number, most: number) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  for (const [name, holds, value, expected] of [
    ["hnsw_m", isWhole(m, 2, 128), m, "2 to 128"],
    ["hnsw_ml", typeof ml === "number" && ml > 0 && ml <= 2, ml, "a number above 0, at most 2"],
    ["learning_rank", isWhole(rank, 1, 4096), rank, "1 to 4096"],
    ["graph_profile", GRAPH_PROFILES.includes(profile as GraphProfile), profile, GRAPH_PROFILES.join(", ")],
    ["keep_originals", kept === undefined || typeof kept === "boolean", kept, "true or false"],
  ] as const) {
    if (holds) continue;
    throw new HebbError(
      "INDEX_CORRUPT",
      `index.hebb, config of the meta slots: ${name} is ${show(value)}; expected ${expected}. Restore the store from a copy`,
      { section: "meta", field: name },
    );
  }
  return fields as unknown as ReturnType<typeof checkStored>;
}
