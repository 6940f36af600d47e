/** What `stats()` tells. */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Metric, Tier } from "../../base/types.js";
import { GRAPH_SECTIONS, type GraphProfile } from "../../native/graph.js";
import { kernelName, PAGE_BYTES } from "../../native/index.js";
import { INDEX_NAME } from "../../storage/names.js";
import type { LearningReport } from "../../training/report.js";
import type { RecoveryReport } from "../types.js";
import type { Session } from "./session.js";
import type { TierStats } from "./tier-stats.js";

export interface Stats {
  /** Rows in the index. */
  size: number;
  /** Values per vector. */
  dimensions: number;
  /** How distances are measured. */
  metric: Metric;
  /** Which compiled kernel runs: scalar, avx2, avx512 or neon. */
  kernel: string;
  /** Acknowledged rows that are not linked into the graph yet. */
  backlog: number;
  graph: {
    /** What a row holds of its neighbours: ruvector.graph_profile as the store was made with it. */
    profile: GraphProfile;
    /**
     * How searches compare: by the codes in the rows, or by the neighbours' vectors (chosen by measuring where they are
     * short).
     */
    path: "codes" | "vectors";
    /** What ends a search. */
    stop: "ef" | "adaptive";
    /** Bytes of a row: edges, and codes as the profile has them. */
    rowBytes: number;
    /** All that the graph's sections hold of a vector, itself included. */
    bytesPerVector: number;
  };
  /** Deleted rows whose places are not free yet. */
  deleted: number;
  /** Vectors and their bytes by precision. */
  tiers: Record<Tier, TierStats>;
  /** Of the vectors in all tiers, without originals kept beside them. */
  vectors: {
    bytes: number;
    /** The mean of all; 0 without rows. */
    bytesPerVector: number;
    /** How many times fewer than 4 bytes a value; 0 without rows. */
    ratio: number;
  };
  /**
   * How often a search found a vector of tier cool unpacked already (`tensor_compress.decompress_cache_size_mb`), since
   * opening.
   */
  cache: { hits: number; misses: number; hitRate: number };
  /** Bytes on disk and in memory. */
  bytes: {
    /** On disk: index.hebb. */
    file: number;
    /** On disk: checkpoints that wait for other processes to end reading; else 0. */
    journal: number;
    /** On disk: the log. */
    wal: number;
    /** On disk: catalog.sqlite. */
    catalog: number;
    /** In memory: what of the mapped file is there now. */
    resident: number;
    /** In memory: what of the mapped file was changed and is in no checkpoint yet. */
    dirty: number;
  };
  /** Of index.hebb, 64 KiB each. */
  blocks: {
    /** That it had when it was opened. */
    all: number;
    /** That anything has touched since; the others were not read. */
    touched: number;
  };
  /** Number in the log of the last change that this handle shows. */
  lsn: number;
  /** What opening found. */
  recovery: RecoveryReport;
  /** What serves `neural` queries, and why the rest does not. */
  learning: LearningReport;
  /** "hashed-tfidf", "custom", or undefined without an encoder. */
  encoder: string | undefined;
  /** What users should know though nothing failed. */
  warnings: string[];
}

export function statsOf(session: Session): Stats {
  const { graph, store, catalog, directory } = session;
  const sections: readonly string[] = GRAPH_SECTIONS;
  const tiers = session.tiering.stats((section) => store.region.residentBytes(sections.indexOf(section)));
  const bytes = Object.values(tiers).reduce((sum, tier) => sum + tier.bytes, 0);
  const raw = graph.live * session.dimensions * Float32Array.BYTES_PER_ELEMENT;
  return {
    size: graph.live,
    dimensions: session.dimensions,
    metric: session.metric,
    kernel: kernelName,
    backlog: graph.backlog,
    graph: { ...session.layout, path: graph.path, stop: session.config.ruvector.search_stop },
    deleted: graph.dead,
    tiers,
    cache: session.tiering.cache,
    vectors: { bytes, bytesPerVector: graph.live && bytes / graph.live, ratio: bytes && raw / bytes },
    bytes: {
      file: statSync(join(directory, INDEX_NAME)).size,
      journal: store.journalBytes,
      wal: store.log.bytes(),
      catalog: catalog.bytes,
      resident: store.region.residentBytes(),
      dirty: store.region.dirtyCount() * PAGE_BYTES,
    },
    lsn: session.appliedTo,
    recovery: session.recovery,
    blocks: store.region.blocks(),
    learning: session.learned.report(),
    encoder: session.encoder.name,
    warnings: session.warnings,
  };
}
