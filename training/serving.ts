/** What queries see of the learned state. */
import { adapterForward, project } from "../model/adapter.js";
import { ADAPTER, ATTENTION, armsOf, LINEAR, SHIFT } from "./arms.js";
import type { Learners } from "./contest.js";
import { FIELD, type LearnedState } from "./state.js";

/**
 * The learners of a state as they stand. Refresh its overlay first.
 * @param attend what the network makes of a query; used while the state has one
 */
export function learnersIn(state: LearnedState, attend?: Learners["attend"]): Learners {
  return {
    attend: state.attention ? attend : undefined,
    scale: state.header[FIELD.started] ? state.header[FIELD.scoreScale]! : 1,
    adapt: state.header[FIELD.adapterReady] ? (query) => adaptQuery(state, query) : undefined,
    overlays: [state.overlay],
    adaptedOverlays: [state.overlay],
    edges: state.edges,
    now: state.header[FIELD.clock]!,
  };
}

/** Arms that can differ from static, static first. */
export function armsIn(learners: Learners): number[] {
  const { adapt, attend, overlays, edges } = learners;
  const bits = (adapt ? ADAPTER : 0) | (overlays.some(({ size }) => size > 0) ? SHIFT : 0) | LINEAR;
  return armsOf(attend ? bits | ATTENTION : bits, edges !== undefined && !edges.isEmpty);
}

/**
 * The query as the adapter turns it: q' = normalise(q + U B q) under cosine, not normalised otherwise.
 */
export function adaptQuery(state: Pick<LearnedState, "adapter" | "metric">, query: Float32Array): Float32Array {
  const out = new Float32Array(query.length);
  const h = new Float32Array(state.adapter.rank);
  project(state.adapter, query, h);
  adapterForward(state.adapter, state.metric, query, h, out);
  return out;
}
