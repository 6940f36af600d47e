/** What is told of tiers. */
import { TIERS, type Tier } from "../../base/types.js";
import { WARM } from "../../model/tiering.js";
import type { Graph } from "../../native/graph.js";
import type { Config } from "../config.js";
import { LEAST_TRAINED } from "./tier-options.js";

export interface TierStats {
  /** Vectors in the tier. */
  count: number;
  /** Of the vectors as this tier keeps them; without what all share, and without originals kept beside them. */
  bytes: number;
  bytesPerVector: number;
  /** How many times fewer than 4 bytes a value. */
  ratio: number;
  /** What records are encoded with; undefined before a codebook was trained. */
  codec: string | undefined;
  /**
   * What of the tier's section is in memory; of tier hot, which has the originals as well where they are kept, all of
   * them.
   */
  residentBytes: number;
}

/**
 * @param perTier bytes of a vector in each tier
 * @param raw bytes of a vector as f32
 * @param residentBytes of a section of the graph, by its name
 */
export function tierStats(
  graph: Graph,
  perTier: readonly number[],
  raw: number,
  residentBytes: (section: string) => number,
): Record<Tier, TierStats> {
  const counts = graph.tierCounts();
  const codecs = graph.codecs();
  return Object.fromEntries(
    TIERS.map((tier, i) => {
      const [count, each] = [counts[i]!, perTier[i]!];
      return [
        tier,
        {
          count,
          bytes: count * each,
          bytesPerVector: each,
          ratio: raw / each,
          codec: codecs[i] ?? undefined,
          residentBytes: residentBytes(i === 0 ? "vectors" : tier),
        },
      ];
    }),
  ) as Record<Tier, TierStats>;
}

/** What users should know though nothing failed. */
export function tierWarnings(graph: Graph, dimensions: number, { tensor_compress, given }: Config): string[] {
  const warnings: string[] = [];
  if (graph.reset) {
    warnings.push(
      "what the tiers' codebooks are kept in was damaged: all vectors are in tier hot again, from their originals, and will move as they are used",
    );
  }
  const { pq_subvectors: parts } = tensor_compress;
  if (given.has("tensor_compress.pq_subvectors") && dimensions % parts !== 0) {
    warnings.push(
      parts > dimensions
        ? `tensor_compress.pq_subvectors is ${parts}, and the vectors have ${dimensions} dimensions: as many parts are used`
        : `tensor_compress.pq_subvectors is ${parts}, which does not divide the ${dimensions} dimensions: some parts have one more than others`,
    );
  }
  if (graph.tierCounts()[WARM]! > 0 && graph.codecs()[2] === null && graph.live < LEAST_TRAINED) {
    warnings.push(
      `tiers below warm need a codebook, and a codebook ${LEAST_TRAINED} vectors: the store has ${graph.live}, which stay in tier warm`,
    );
  }
  return warnings;
}
