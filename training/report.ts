/** What was learned, and why it is served or not, for `stats().learning`. */
import { type Gate, learnersOf } from "./gate.js";
import { ARMS, type Arm } from "./judge.js";
import { FIELD, gateOf, type LearnedState } from "./state.js";

export interface ArmReport {
  state: "challenger" | "serving" | "withdrawn";
  /** Mean nDCG@10 above static on events judged before they were learned from (a decaying window, or cross-fitted). */
  gain: number;
  /** One-sided lower bound of the gain; undefined before two events. */
  lower: number | undefined;
  /** Gain among documents that never were chosen; 0 for a shift, which cannot move them. */
  disjointGain: number;
  /** Events behind the gain. */
  events: number;
  why: string;
}

export interface LearningReport {
  /** Events learned from by `learn`, and by the last `train`. */
  events: number;
  trainedEvents: number;
  serving: "static" | string[];
  arms: Record<Exclude<Arm, "static">, ArmReport>;
  shifted: number;
  adapterSteps: number;
  skippedSteps: number;
  skippedEvents: number;
  cappedEvents: number;
}

/** @param header a draft's header instead of the state's own */
export function learningReport(state: LearnedState, header: Float64Array = state.header): LearningReport {
  const gate = gateOf(header, state.options);
  const serving = learnersOf(ARMS[gate.serving]!);
  return {
    events: header[FIELD.events]!,
    trainedEvents: header[FIELD.trainedEvents]!,
    serving: serving.length > 0 ? serving : "static",
    arms: {
      adapter: armReport(gate, 1, state.options.confidence),
      shift: armReport(gate, 2, state.options.confidence),
      "adapter+shift": armReport(gate, 3, state.options.confidence),
    },
    shifted: state.overlay.size,
    adapterSteps: header[FIELD.adapterSteps]!,
    skippedSteps: header[FIELD.skippedSteps]!,
    skippedEvents: header[FIELD.skippedEvents]!,
    cappedEvents: header[FIELD.cappedEvents]!,
  };
}

function armReport(gate: Gate, arm: number, confidence: number): ArmReport {
  const gain = gate.gain(arm);
  const lower = gain.lower(confidence);
  const serves = gate.serving === arm;
  const refusal = gate.refusal(arm);
  const withdrawn = !serves && gate.withdrawn(arm);
  let why = refusal ?? `another arm gains more: ${ARMS[gate.serving]}`;
  if (withdrawn) why = `fell below static and was withdrawn; ${why}`;
  if (serves) why = `gains ${gain.mean.toFixed(4)} nDCG@10 over static, lower bound ${lower.toFixed(4)}`;
  return {
    state: serves ? "serving" : withdrawn ? "withdrawn" : "challenger",
    gain: gain.mean,
    lower: Number.isFinite(lower) ? lower : undefined,
    disjointGain: arm === 2 ? 0 : gate.disjoint.mean,
    events: Math.round(gain.events),
    why,
  };
}
