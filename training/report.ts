/** What was learned, and why it is served or not, for `stats().learning`. */
import {
  ADAPTER,
  ARMS,
  ATTENTION,
  EDGES_STRONG,
  LEARNERS,
  type Learner,
  LINEAR,
  learnersOf,
  nameOf,
  SHIFT,
  STATIC,
} from "./arms.js";
import type { Gate } from "./gate.js";
import { curveOf, etaOf, FIELD, gateOf, type LearnedState } from "./state.js";

export interface ArmReport {
  /** Of these, one serves at most; what was withdrawn may come back. */
  state: "challenger" | "serving" | "withdrawn";
  /** Mean nDCG@10 above static on events judged before they were learned from (a decaying window, or cross-fitted). */
  gain: number;
  /** The gain less `learning.confidence` standard errors, which has to exceed 0; undefined before two events. */
  lower: number | undefined;
  /** Mean gain among documents that never were chosen; 0 while no event says anything of them. */
  disjointGain: number;
  /** Events behind the gain: judged ones, the older counting less. */
  events: number;
  /** Why it serves, or does not, in words with figures. */
  why: string;
}

export interface LearnerReport {
  /** Whether the serving arm has it. */
  serves: boolean;
  /**
   * What the best arm with it gains over the best arm without it, static included, nDCG@10; undefined while no arm with
   * it was judged.
   */
  adds: number | undefined;
}

export interface CurvePoint {
  /** Events learned from by then. */
  events: number;
  /**
   * Mean nDCG@10 above static of what served, -1 to 1, over the judged events since the point before; 0 while static
   * served. A training's cross-fitted estimate counts as one event.
   */
  gain: number;
  /** Judged events behind the gain. */
  judged: number;
  /** What served last. */
  serving: "static" | Learner[];
  /** Whether `train` ran since the point before. */
  trained: boolean;
}

export interface LearningReport {
  /** Feedback events kept. */
  events: number;
  /** Events that the last `train` learned from. */
  trainedEvents: number;
  /** What `neural` queries get. */
  serving: "static" | Learner[];
  /**
   * Each set of learners that was judged, by name; of several weights of the edges, the best. While none was, each
   * learner alone.
   */
  arms: Record<string, ArmReport>;
  /** Each learner, whatever it stands with. */
  learners: Record<Learner, LearnerReport>;
  /**
   * What queries gained over the store's life, oldest first: at most 32 points, each of as many judged events, at first
   * 16 and twice as many whenever there is no room. A training begins a point.
   */
  curve: CurvePoint[];
  /**
   * eta by which displays are read now (`learning.position_bias`): what choices themselves show, and at most that; 0
   * before the first event that says what was shown.
   */
  positionBias: number;
  /** Rows with a shift. */
  shifted: number;
  /** Rows that learned edges leave. */
  linked: number;
  /** Steps that the adapter took in `learn`: one for 32 events. */
  adapterSteps: number;
  /** Steps left out because a value was not finite. */
  skippedSteps: number;
  /** Events left out because nothing that they chose was there any more, or was chosen more often than expected. */
  skippedEvents: number;
  /** Events left out because their source had its share (`learning.source_share`). */
  cappedEvents: number;
}

/** @param header a draft's header instead of the state's own */
export function learningReport(state: LearnedState, header: Float64Array = state.header): LearningReport {
  const gate = gateOf(header, state.options);
  const serving = servingOf(gate.serving);
  const best = new Map<string, number>();
  for (let arm = 1; arm < ARMS; arm++) {
    if (gate.gain(arm).events === 0) continue;
    const known = best.get(nameOf(arm));
    const isBetter = known === undefined || gate.gain(arm).mean > gate.gain(known).mean;
    if (arm === gate.serving || (isBetter && known !== gate.serving)) best.set(nameOf(arm), arm);
  }
  const judged = [...best.values()];
  const alone = [ADAPTER, SHIFT, LINEAR, ...(state.options.network ? [ATTENTION] : []), EDGES_STRONG];
  return {
    events: header[FIELD.events]!,
    trainedEvents: header[FIELD.trainedEvents]!,
    serving,
    arms: Object.fromEntries(
      (judged.length > 0 ? judged : alone).map((arm) => [nameOf(arm), armReport(gate, arm, state.options.confidence)]),
    ),
    learners: Object.fromEntries(
      LEARNERS.map((learner) => [
        learner,
        { serves: serving !== "static" && serving.includes(learner), adds: adds(gate, judged, learner) },
      ]),
    ) as Record<Learner, LearnerReport>,
    curve: curveOf(header).points.map((point) => ({ ...point, serving: servingOf(point.serving) })),
    positionBias: etaOf(header, state.options),
    shifted: state.overlay.size,
    linked: state.edges.linked,
    adapterSteps: header[FIELD.adapterSteps]!,
    skippedSteps: header[FIELD.skippedSteps]!,
    skippedEvents: header[FIELD.skippedEvents]!,
    cappedEvents: header[FIELD.cappedEvents]!,
  };
}

function servingOf(arm: number): "static" | Learner[] {
  return arm === STATIC ? "static" : learnersOf(arm);
}

function adds(gate: Gate, judged: readonly number[], learner: Learner): number | undefined {
  const [having, lacking] = [true, false].map((has) =>
    judged.filter((arm) => learnersOf(arm).includes(learner) === has).map((arm) => gate.gain(arm).mean),
  ) as [number[], number[]];
  return having.length > 0 ? Math.max(...having) - Math.max(0, ...lacking) : undefined;
}

function armReport(gate: Gate, arm: number, confidence: number): ArmReport {
  const gain = gate.gain(arm);
  const lower = gain.lower(confidence);
  const serves = gate.serving === arm;
  const refusal = gate.refusal(arm);
  const withdrawn = !serves && gate.withdrawn(arm);
  const rival = gate.serving === STATIC ? "none serves yet" : `another arm gains more: ${nameOf(gate.serving)}`;
  let why = refusal ?? rival;
  if (withdrawn) why = `fell below static and was withdrawn; ${why}`;
  if (serves) why = `gains ${gain.mean.toFixed(4)} nDCG@10 over static on ${Math.round(gain.events)} events`;
  return {
    state: serves ? "serving" : withdrawn ? "withdrawn" : "challenger",
    gain: gain.mean,
    lower: Number.isFinite(lower) ? lower : undefined,
    disjointGain: gate.disjoint(arm).mean,
    events: Math.round(gain.events),
    why,
  };
}
