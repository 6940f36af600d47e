/** The learners' options out of the config. */
import type { LearningOptions } from "../../training/options.js";
import type { Config } from "../config.js";

/** @param rank of the adapter: the store's own */
export function learningOptions({ ruvector, learning }: Config, rank: number): LearningOptions {
  return {
    temperature: ruvector.temperature,
    negatives: ruvector.negative_samples,
    batchPairs: ruvector.batch_size,
    decoupled: learning.decoupled,
    rank,
    adapterRate: learning.adapter_rate,
    adapterDecay: learning.adapter_decay,
    adapterEpochs: learning.adapter_epochs,
    shiftRate: learning.shift_rate,
    shiftBound: learning.shift_bound,
    shiftEpochs: learning.shift_epochs,
    localSteps: ruvector.local_steps,
    propagateUpdates: ruvector.propagate_updates,
    confidence: learning.confidence,
    disjointTolerance: learning.disjoint_tolerance,
    disjointConfidence: learning.disjoint_confidence,
    window: learning.window,
    minimumEvents: learning.minimum_events,
    sourceShare: learning.source_share,
    positionBias: learning.position_bias,
    edgeHalfLife: learning.edge_half_life,
    network:
      ruvector.propagation === "attention"
        ? {
            layers: ruvector.gnn_layers,
            hidden: ruvector.gnn_hidden_dim,
            heads: ruvector.gnn_heads,
            dropout: ruvector.gnn_dropout,
            optimizer: ruvector.optimizer,
            rate: ruvector.learning_rate,
            hierarchical: ruvector.hierarchical,
            selfSupervision: learning.self_supervision,
          }
        : undefined,
    replay: learning.replay,
  };
}
