/** Hebb: an embedded vector index that learns from its use. The only public exports. */
import "../base/node-version.js";

export { type ErrorCode, HebbError } from "../base/errors.js";
export type { ArmReport, CurvePoint, LearnerReport, LearningReport } from "../training/report.js";
export { type FrozenIndex, openFrozen } from "./engine/frozen-index.js";
export type { GradientAccumulator } from "./engine/gradients.js";
export { Index } from "./engine/hebb-index.js";
export { open } from "./engine/opening.js";
export { type RbpxVectors, readRbpx } from "./engine/rbpx.js";
export { repair } from "./engine/repair.js";
export type { Stats } from "./engine/stats.js";
export type { Symbols } from "./engine/symbols.js";
export type { Thoughts } from "./engine/thoughts.js";
export type { TierStats } from "./engine/tier-stats.js";
export type { RetierReport } from "./engine/tiering.js";
export type * from "./types.js";
