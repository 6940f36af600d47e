/**
 * The gate: decides from paired differences against static whether an arm serves.
 *
 * Each difference is nDCG@10 of the arm minus that of static on one event that the arm had not yet
 * learned from. Averages forget with a window, so that a learner that stops helping is withdrawn.
 * Stored as plain numbers inside the learned state; see state.ts for where.
 */
import type { Arm, Judgement } from "./judge.js";
import type { LearningOptions } from "./options.js";

/** Four doubles: sum of weights, of squared weights, of weighted differences and of their squares. */
export class RunningDifference {
  constructor(private readonly at: Float64Array) {}

  static readonly LENGTH = 4;

  add(difference: number, window: number): void {
    const keep = 1 - 1 / window;
    const at = this.at;
    at[0] = at[0]! * keep + 1;
    at[1] = at[1]! * keep * keep + 1;
    at[2] = at[2]! * keep + difference;
    at[3] = at[3]! * keep + difference * difference;
  }

  /** Starts anew from differences that count equally, as if they were the last `window` at most. */
  reset(differences: readonly number[], window: number): void {
    const n = differences.length;
    const weight = n > window ? window / n : 1;
    this.at[0] = n * weight;
    this.at[1] = n * weight;
    this.at[2] = differences.reduce((sum, x) => sum + x, 0) * weight;
    this.at[3] = differences.reduce((sum, x) => sum + x * x, 0) * weight;
  }

  copy(other: RunningDifference): void {
    this.at.set(other.at);
  }

  /** Effective number of events (Kish). */
  get events(): number {
    return this.at[1]! > 0 ? (this.at[0]! * this.at[0]!) / this.at[1]! : 0;
  }

  get mean(): number {
    return this.at[0]! > 0 ? this.at[2]! / this.at[0]! : 0;
  }

  get standardError(): number {
    const n = this.events;
    if (n <= 1) return Number.POSITIVE_INFINITY;
    const variance = Math.max(0, this.at[3]! / this.at[0]! - this.mean ** 2);
    return Math.sqrt(variance / (n - 1));
  }

  lower(confidence: number): number {
    return this.events > 1 ? this.mean - confidence * this.standardError : Number.NEGATIVE_INFINITY;
  }
}

/** Learners by arm: who needs the disjoint stratum's consent. */
export const USES_ADAPTER = [false, true, false, true] as const;
/** Withdrawal looks at this part of the window, so that harm is noticed before it averages out. */
const FAST_SHARE = 1 / 8;
/** Another arm takes over from a serving one only when it is better by this much nDCG. */
const TAKEOVER = 0.005;
/** Where never-chosen documents answer less than this share of events, the overall gain speaks for them. */
const RARE_DISJOINT = 0.05;

/** With fewer events in the disjoint stratum its bound is noise, and the adapter has to wait. */
const MINIMUM_DISJOINT = 100;

const GAIN = 0;
const FAST = 3;
const DISJOINT = 6;
const FLAGS = 7 * RunningDifference.LENGTH;

/** The gate's view of its part of the state: statistics of the three arms, and which serves. */
export class Gate {
  /** Doubles it takes: 7 running differences, the serving arm, three withdrawal flags. */
  static readonly LENGTH = FLAGS + 4;

  constructor(
    private readonly at: Float64Array,
    private readonly options: LearningOptions,
  ) {}

  /** Gain of arm 1-3 over static. */
  gain(arm: number): RunningDifference {
    return this.difference(GAIN + arm - 1);
  }

  /** The adapter's gain in the document-disjoint stratum; the same with a shift beside it. */
  get disjoint(): RunningDifference {
    return this.difference(DISJOINT);
  }

  /** Number of the arm that serves, 0 for static. */
  get serving(): number {
    return this.at[FLAGS]!;
  }

  withdrawn(arm: number): boolean {
    return this.at[FLAGS + arm] === 1;
  }

  /** Counts one event for the arms that differ from static by now. */
  record(judgement: Judgement, active: readonly boolean[]): void {
    const { window } = this.options;
    for (let arm = 1; arm <= 3; arm++) {
      if (!active[arm]) continue;
      const difference = judgement.all[arm]! - judgement.all[0];
      this.gain(arm).add(difference, window);
      this.fast(arm).add(difference, window * FAST_SHARE);
    }
    if (active[1] && judgement.disjoint) this.disjoint.add(judgement.disjoint[1] - judgement.disjoint[0], window);
  }

  /** Takes over the held-out differences of a cross-fitted training, and decides from them alone. */
  replace(gains: readonly (readonly number[])[], disjoint: readonly number[]): void {
    this.at.fill(0);
    for (let arm = 1; arm <= 3; arm++) this.gain(arm).reset(gains[arm]!, this.options.window);
    this.disjoint.reset(disjoint, this.options.window);
    this.decide();
  }

  /** Withdraws an arm that falls below static, then lets the best arm that has earned it serve. */
  decide(): void {
    const serving = this.serving;
    if (serving !== 0 && this.falls(serving)) {
      this.at[FLAGS] = 0;
      this.at[FLAGS + serving] = 1;
      // What it gained long ago says nothing any more: it has to earn its place from here.
      this.gain(serving).copy(this.fast(serving));
    }
    let best = this.serving;
    for (let arm = 1; arm <= 3; arm++) {
      if (arm === best || this.refusal(arm) !== undefined) continue;
      if (best === 0 || this.gain(arm).mean > this.gain(best).mean + (best === this.serving ? TAKEOVER : 0)) best = arm;
    }
    this.at[FLAGS] = best;
    if (best !== 0) this.at[FLAGS + best] = 0;
  }

  /** Why an arm may not begin to serve; undefined when it may. */
  refusal(arm: number): string | undefined {
    const { confidence, minimumEvents, disjointTolerance, disjointConfidence } = this.options;
    const gain = this.gain(arm);
    const n = gain.events;
    if (n < minimumEvents) return `judged on ${Math.round(n)} events, needs ${minimumEvents}`;
    const lower = gain.lower(confidence);
    if (lower <= 0) return `gain ${gain.mean.toFixed(4)} is not certain: its lower bound is ${lower.toFixed(4)}`;
    if (!USES_ADAPTER[arm]) return undefined;
    const disjoint = this.disjoint;
    if (disjoint.events < RARE_DISJOINT * n) return undefined;
    if (disjoint.events < MINIMUM_DISJOINT) {
      return `never-chosen documents: judged on ${Math.round(disjoint.events)} events, needs ${MINIMUM_DISJOINT}`;
    }
    const bound = disjoint.lower(disjointConfidence);
    if (bound >= -disjointTolerance) return undefined;
    return `never-chosen documents: ${disjoint.mean.toFixed(4)}, lower bound ${bound.toFixed(4)} < -${disjointTolerance}`;
  }

  private falls(arm: number): boolean {
    const fast = this.fast(arm);
    if (this.gain(arm).mean <= 0) return true;
    if (fast.events >= 16 && fast.mean + fast.standardError < 0) return true;
    const n = this.disjoint.events;
    return (
      USES_ADAPTER[arm]! &&
      n >= RARE_DISJOINT * this.gain(arm).events &&
      this.disjoint.mean < -this.options.disjointTolerance
    );
  }

  private fast(arm: number): RunningDifference {
    return this.difference(FAST + arm - 1);
  }

  private difference(i: number): RunningDifference {
    const n = RunningDifference.LENGTH;
    return new RunningDifference(this.at.subarray(i * n, (i + 1) * n));
  }
}

/** The learners an arm is made of. */
export function learnersOf(arm: Arm): string[] {
  return arm === "static" ? [] : arm.split("+");
}
