/** What tiers take out of the config. */
import { HebbError } from "../../base/errors.js";
import { type GraphOptions, graphStrides, type TrainingOptions } from "../../native/graph.js";
import type { Config } from "../config.js";

/** Vectors that a codebook needs. */
export const LEAST_TRAINED = 256;
const SEED = 1;

/**
 * @throws {HebbError} CONFIG_INVALID where a `memory_budget` that is a share of raw is below what the archive takes.
 *   One in bytes may suffice once rows were deleted: rounds tell.
 */
export function checkBudget(options: GraphOptions, { tensor_compress }: Config): void {
  const { memory_budget: given } = tensor_compress;
  const share = graphStrides(options).archive / (options.dimensions * Float32Array.BYTES_PER_ELEMENT);
  if (given === 0 || given > 1 || given >= share) return;
  throw new HebbError(
    "CONFIG_INVALID",
    `tensor_compress.memory_budget is ${given} of what vectors take as f32; expected at least ${Math.ceil(share * 10_000) / 10_000}, what they take in tier archive`,
  );
}

/** What a codebook is trained with. */
export function trainingOptions({ tensor_compress: settings, given }: Config): TrainingOptions {
  return {
    sample: settings.codebook_sample_size,
    seed: SEED,
    subvectors: given.has("tensor_compress.pq_subvectors") ? settings.pq_subvectors : 0,
    centroids8: settings.pq8_centroids,
    centroids4: settings.pq4_centroids,
    outlierThreshold: settings.outlier_threshold,
    coder: settings.entropy_coder,
    residualBits: settings.residual_bits,
    iterations: settings.codebook_iterations,
  };
}
