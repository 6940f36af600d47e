/**
 * Settings of the learners and their gate. Section and key in config.toml, which has the ranges, are named beside each.
 */
import type { Optimizer } from "./optimizer.js";

export interface LearningOptions {
  /**
   * `ruvector.temperature`: divides scores in the loss. Range .01-10, default .07. Lower looks at the hardest negatives
   * only.
   */
  temperature: number;
  /**
   * `ruvector.negative_samples`: negatives per event, default 64: rejected, found by the static search, or chosen for
   * other queries. More costs proportionally.
   */
  negatives: number;
  /** `ruvector.batch_size`: (query, positive) pairs per adapter step, default 256; a step has 64 events at most. */
  batchPairs: number;
  /** `learning.decoupled`: the loss without the positive in its denominator, default false. */
  decoupled: boolean;
  /**
   * `learning.rank`: directions of the query adapter, default 128, at most `dimensions`. Costs 2 x rank x dimensions a
   * query.
   */
  rank: number;
  /**
   * `learning.adapter_rate`: step of the adapter per event, default 1/16. Too high overshoots, too low needs more
   * epochs.
   */
  adapterRate: number;
  /** `learning.adapter_decay`: weight of |U|^2 / 2 against the sum of all events' losses, default 3. */
  adapterDecay: number;
  /**
   * `learning.adapter_epochs`: passes of `train` over the feedback for the adapter, default 10; fewer of more than
   * 1,000 events.
   */
  adapterEpochs: number;
  /**
   * `learning.shift_rate`: step of a document's shift per event, default .08 (in units of the squared document length).
   */
  shiftRate: number;
  /**
   * `learning.shift_bound`: longest shift relative to the document's length, default .5. Higher gains more where
   * feedback is plenty and loses more where it is thin.
   */
  shiftBound: number;
  /**
   * `learning.shift_epochs`: passes over the feedback for the shift, default 6. `learn` takes as many steps on its one
   * event.
   */
  shiftEpochs: number;
  /**
   * `ruvector.local_steps`: steps that the shift of a new row takes among its neighbours, default 3; with 0 new rows
   * stay where they are.
   */
  localSteps: number;
  /** `ruvector.propagate_updates`: whether its neighbours take one too, default false. */
  propagateUpdates: boolean;
  /**
   * `learning.confidence`: standard errors by which a gain must exceed 0, default 3: dozens of arms are looked at,
   * online again and again. At 2 one placebo in four was served for a while, at 3 none of 12. Lower serves sooner, and
   * sooner what does not help.
   */
  confidence: number;
  /**
   * `learning.disjoint_tolerance`: nDCG@10 that never-chosen documents may lose before an arm that moves all documents
   * is refused, default .005.
   */
  disjointTolerance: number;
  /**
   * `learning.disjoint_confidence`: standard errors for that bound, default .5: what is refused by chance costs more
   * than what passes by chance, at most .17 standard errors on average.
   */
  disjointConfidence: number;
  /**
   * `learning.window`: judged events over which the online gate averages, default 2,048. Shorter reacts faster and errs
   * more.
   */
  window: number;
  /** `learning.minimum_events`: judged events before a gate may open, default 30. */
  minimumEvents: number;
  /**
   * `learning.source_share`: largest share of a window that one source may fill where there are several, default .5.
   */
  sourceShare: number;
  /**
   * `learning.position_bias`: most that eta may be; what stands at place r of `shown` was looked at with probability
   * (1 / r)^eta, and says as little where it was not chosen (relevance.ts). eta is estimated (position-bias.ts). Default
   * 1; with 0 all places are looked at alike.
   */
  positionBias: number;
  /**
   * `learning.edge_half_life`: events after which a learned edge counts half, default 20,000. Shorter follows what
   * changes, longer remembers.
   */
  edgeHalfLife: number;
  /** The attention network; undefined, as by default here, where `ruvector.propagation` is "linear". */
  network: NetworkOptions | undefined;
  /** `learning.replay`: most events that `train` uses, the newest first, default 20,000. */
  replay: number;
}

export interface NetworkOptions {
  /** `ruvector.gnn_layers`, default 3. */
  layers: number;
  /** `ruvector.gnn_hidden_dim`, default 512; a multiple of `heads`. */
  hidden: number;
  /** `ruvector.gnn_heads`, default 8. */
  heads: number;
  /** `ruvector.gnn_dropout`, default .1. */
  dropout: number;
  /** `ruvector.optimizer`, default "adamw". */
  optimizer: Optimizer;
  /** `ruvector.learning_rate`, default .001. */
  rate: number;
  /** `ruvector.hierarchical`, default false. */
  hierarchical: boolean;
  /** `learning.self_supervision`: share of the loss that chosen rows make which ask themselves, default .1. */
  selfSupervision: number;
}

export const LEARNING_DEFAULTS: Readonly<LearningOptions> = {
  temperature: 0.07,
  negatives: 64,
  batchPairs: 256,
  decoupled: false,
  rank: 128,
  adapterRate: 1 / 16,
  adapterDecay: 3,
  adapterEpochs: 10,
  shiftRate: 0.08,
  shiftBound: 0.5,
  shiftEpochs: 6,
  localSteps: 3,
  propagateUpdates: false,
  confidence: 3,
  disjointTolerance: 0.005,
  disjointConfidence: 0.5,
  window: 2048,
  minimumEvents: 30,
  sourceShare: 0.5,
  positionBias: 1,
  edgeHalfLife: 20_000,
  network: undefined,
  replay: 20_000,
};
