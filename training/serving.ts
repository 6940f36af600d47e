/** What queries see of the learned state. */
import { adapterForward, project } from "../model/adapter.js";
import { USES_ADAPTER } from "./gate.js";
import { ARMS } from "./judge.js";
import type { LearnedState } from "./state.js";

export { score as scoreOf } from "../model/scoring.js";

/** Which learners serve. Both false: `neural` is the plain vector search, bit for bit. */
export function serving(state: LearnedState): { adapter: boolean; shift: boolean } {
  const arm = state.gate.serving;
  return { adapter: USES_ADAPTER[arm]!, shift: ARMS[arm]!.includes("shift") };
}

/**
 * The query as the adapter turns it: q' = normalise(q + U B q) under cosine, not normalised otherwise.
 * With the shift serving, a document's neural score is `scoreOf(metric, q', overlay row)` where it has
 * an overlay row and `scoreOf(metric, q', vector)` where not; larger is better.
 */
export function adaptQuery(state: LearnedState, query: Float32Array): Float32Array {
  const out = new Float32Array(query.length);
  const h = new Float32Array(state.adapter.rank);
  project(state.adapter, query, h);
  adapterForward(state.adapter, state.metric, query, h, out);
  return out;
}
