/**
 * The gate: decides from paired differences against static whether an arm serves.
 *
 * Each difference is nDCG@10 of the arm minus that of static on one event that the arm had not yet
 * learned from. Averages forget with a window, so that a learner that stops helping is withdrawn; where it begins to
 * cost, an alarm withdraws it sooner.
 *
 * An arm may begin to serve once it was judged often enough, the lower bound of its mean gain is above 0, it did not fall
 * below static lately, and, where it moves all documents, those that never were chosen pay no more than the tolerance
 * for it. Of those that may, the one that gains most serves, less a little for each of its learners, so that of equals
 * the simplest does; one that serves already is replaced only by a clearly better one. It is withdrawn where its mean
 * gain is gone, where it falls below static lately, where the never-chosen pay too much, or by the alarm, after which
 * all begin anew: what was asked for has changed, and what any arm gained before says nothing any more.
 *
 * Stored as plain numbers inside the learned state; see state.ts for where.
 */
import { ADAPTER, ARMS, ATTENTION, LINEAR, learnersOf, STATIC } from "./arms.js";
import { differenceOf, type Judgement } from "./judge.js";
import type { LearningOptions } from "./options.js";

/** Four doubles: sum of weights, of squared weights, of weighted differences and of their squares. */
export class RunningDifference {
  constructor(private readonly at: Float64Array) {}

  static readonly LENGTH = 4;

  /** @param weight of the event, at most 1 */
  add(difference: number, window: number, weight = 1): void {
    const keep = 1 - 1 / window;
    const at = this.at;
    at[0] = at[0]! * keep + weight;
    at[1] = at[1]! * keep * keep + weight * weight;
    at[2] = at[2]! * keep + weight * difference;
    at[3] = at[3]! * keep + weight * difference * difference;
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

  /** Lets what is there count as at most so many events: what comes now weighs more. */
  fade(events: number): void {
    const n = this.events;
    if (n <= events) return;
    for (let i = 0; i < this.at.length; i++) this.at[i] = (this.at[i]! * events) / n;
  }

  copy(other: RunningDifference): void {
    this.at.set(other.at);
  }

  /** Effective number of events (Kish). */
  get events(): number {
    return this.at[1]! > 0 ? (this.at[0]! * this.at[0]!) / this.at[1]! : 0;
  }

  /** Sum of weights: as many events, or as few, as there are independent witnesses. */
  get weight(): number {
    return this.at[0]!;
  }

  get mean(): number {
    return this.at[0]! > 0 ? this.at[2]! / this.at[0]! : 0;
  }

  get variance(): number {
    return this.at[0]! > 0 ? Math.max(0, this.at[3]! / this.at[0]! - this.mean ** 2) : 0;
  }

  get standardError(): number {
    const n = this.events;
    return n > 1 ? Math.sqrt(this.variance / (n - 1)) : Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.at.fill(0);
  }

  lower(confidence: number): number {
    return this.events > 1 ? this.mean - confidence * this.standardError : Number.NEGATIVE_INFINITY;
  }
}

/** Learners that move documents which never were chosen. */
const MOVES_ALL = ADAPTER | LINEAR | ATTENTION;
/** Withdrawal looks at this part of the window, so that harm is noticed before it averages out. */
const FAST_SHARE = 1 / 8;
/** With fewer events nothing is said of lately. */
const LEAST_LATELY = 16;
/**
 * Once `train` has decided, its judgements count as this part of the window beside those of later events; those of arms
 * that do not serve as less. Folds drawn at random know what came later, and rows may be made of the very feedback:
 * what looks useless there may earn its place soon in a stream.
 */
const KEPT_SHARE = 1 / 8;
const KEPT_SHARE_OF_OTHERS = 1 / 32;
/** Challengers that are watched closely. */
const LEADERS = 3;
/** With fewer effective events than this part of the window a gate is young: about until its window is full. */
const YOUNG_SHARE = 0.85;
/** Another arm takes over from a serving one only when it is better by this much nDCG. */
const TAKEOVER = 0.005;
/** nDCG that each learner more has to bring: of equals, the simplest serves. */
export const PER_LEARNER = 0.001;
/** Where never-chosen documents answer less than this share of events, the overall gain speaks for them. */
const RARE_DISJOINT = 0.05;

/** With fewer events in the disjoint stratum its bound is noise, and what moves all documents has to wait. */
const MINIMUM_DISJOINT = 50;

/**
 * The alarm tells a change from chance (CUSUM, Page 1954): the log of how much likelier the latest events are if what serves
 * began to lose `COST` at one of them than if it went on gaining what it does. It goes off where chance alone would make it
 * once in `FALSE_ALARM_EVENTS`.
 */
const COST = 0.1;
const FALSE_ALARM_EVENTS = 4000;
/** Standard deviations that one event counts for at most: what is far out is an accident more often than a change. */
const MOST_DEVIATIONS = 2;
/** Differences are taken to vary at least so much (variance): a few that happen to be equal prove nothing. */
const LEAST_VARIANCE = 0.0025;

const DIFFERENCES = 3;
const FLAGS = ARMS * DIFFERENCES * RunningDifference.LENGTH;
const ALARM = FLAGS + ARMS;

/** The gate's view of its part of the state: three running differences an arm, and which one serves. */
export class Gate {
  /** Doubles it takes: the differences, the serving arm, a withdrawal flag for each arm but static, and the alarm. */
  static readonly LENGTH = ALARM + 1;
  /** Which of them says what serves. */
  static readonly SERVING = FLAGS;

  constructor(
    private readonly at: Float64Array,
    private readonly options: LearningOptions,
  ) {}

  /** Gain of an arm over static. */
  gain(arm: number): RunningDifference {
    return this.difference(arm, 0);
  }

  /** The same in the document-disjoint stratum. */
  disjoint(arm: number): RunningDifference {
    return this.difference(arm, 2);
  }

  /** Number of the arm that serves, 0 for static. */
  get serving(): number {
    const serving = this.at[FLAGS]!;
    return this.stands(serving) ? serving : STATIC;
  }

  /**
   * Whether the options have all learners of an arm: a store may have been trained with a network, and opened without.
   */
  private stands(arm: number): boolean {
    return (arm & ATTENTION) === 0 || this.options.network !== undefined;
  }

  withdrawn(arm: number): boolean {
    return this.at[FLAGS + arm] === 1;
  }

  /** Whether most of the window has yet to be filled, at first or after a training: these events decide most. */
  isYoung(arms: readonly number[]): boolean {
    return arms.every((arm) => this.gain(arm).events < YOUNG_SHARE * this.options.window);
  }

  /** Of `arms`: static, the serving one, and those that are worth most until now. */
  leaders(arms: readonly number[]): number[] {
    const ahead = arms.filter((arm) => arm !== STATIC && arm !== this.serving);
    const worths = new Map(ahead.map((arm) => [arm, this.worth(arm)]));
    const first = ahead.sort((a, b) => worths.get(b)! - worths.get(a)! || a - b).slice(0, LEADERS);
    return arms.filter((arm) => arm === STATIC || arm === this.serving || first.includes(arm));
  }

  /**
   * Counts one event.
   * @param weight less than 1 where the same was asked shortly before: who asks again is no new witness
   */
  record({ arms, all, disjoint }: Judgement, weight = 1): void {
    const { window } = this.options;
    arms.forEach((arm, i) => {
      if (arm === STATIC) return;
      const difference = differenceOf(all, i);
      if (!Number.isFinite(difference)) return;
      if (arm === this.serving) this.listen(difference);
      this.gain(arm).add(difference, window, weight);
      this.fast(arm).add(difference, this.fastWindow, weight);
      if (disjoint) this.disjoint(arm).add(differenceOf(disjoint, i), window, weight);
    });
  }

  /** Raises or lowers the alarm by one event of what serves. */
  private listen(difference: number): void {
    const { mean, variance } = this.gain(this.serving);
    const gain = Math.max(0, mean);
    // A gain far beyond its spread would be cut down to less than itself.
    const spread = Math.max(variance, LEAST_VARIANCE, ((gain + COST) / MOST_DEVIATIONS) ** 2);
    const most = MOST_DEVIATIONS * Math.sqrt(spread);
    const heard = Math.max(-most, Math.min(most, difference));
    // ln N(x; -COST, s^2) - ln N(x; gain, s^2)
    this.at[ALARM] = Math.max(0, this.at[ALARM]! + (((gain - COST) / 2 - heard) * (gain + COST)) / spread);
  }

  /** Takes over the judgements of a cross-fitted training, all of the same arms, and decides from them alone. */
  replace(judgements: readonly Judgement[]): void {
    this.at.fill(0);
    const { window } = this.options;
    judgements[0]?.arms.forEach((arm, i) => {
      if (arm === STATIC) return;
      const strata = judgements.filter(({ disjoint }) => disjoint);
      this.gain(arm).reset(
        judgements.map(({ all }) => differenceOf(all, i)),
        window,
      );
      this.disjoint(arm).reset(
        strata.map(({ disjoint }) => differenceOf(disjoint!, i)),
        window,
      );
    });
    this.decide();
    for (let arm = 1; arm < ARMS; arm++) {
      const kept = window * (arm === this.serving ? KEPT_SHARE : KEPT_SHARE_OF_OTHERS);
      for (const difference of [this.gain(arm), this.disjoint(arm)]) difference.fade(kept);
    }
  }

  /** Withdraws an arm that falls below static, then lets the best arm that has earned it serve. */
  decide(): void {
    const serving = this.serving;
    const isOver = this.at[ALARM]! > Math.log(FALSE_ALARM_EVENTS);
    if (serving !== STATIC && (isOver || this.falls(serving))) {
      this.at[FLAGS] = STATIC;
      this.at[FLAGS + serving] = 1;
      // What it gained long ago says nothing any more: it has to earn its place from here, and so have all where what is
      // asked for has changed.
      if (isOver) this.forget();
      else this.gain(serving).copy(this.fast(serving));
    }
    let best = this.serving;
    for (let arm = 1; arm < ARMS; arm++) {
      if (arm === best || this.gain(arm).events === 0 || this.refusal(arm) !== undefined) continue;
      const margin = best === this.serving ? TAKEOVER : 0;
      if (best === STATIC || this.worth(arm) > this.worth(best) + margin) best = arm;
    }
    if (best !== serving) this.at[ALARM] = 0;
    this.at[FLAGS] = best;
    if (best !== STATIC) this.at[FLAGS + best] = 0;
  }

  private forget(): void {
    for (let arm = 1; arm < ARMS; arm++) {
      for (let which = 0; which < DIFFERENCES; which++) this.difference(arm, which).clear();
    }
  }

  /** What an arm gains, less what its learners cost. */
  worth(arm: number): number {
    return this.gain(arm).mean - PER_LEARNER * learnersOf(arm).length;
  }

  /** Why an arm may not begin to serve; undefined when it may. */
  refusal(arm: number): string | undefined {
    if (!this.stands(arm)) return 'has attention, and ruvector.propagation is "linear"';
    const { confidence, minimumEvents, disjointTolerance, disjointConfidence } = this.options;
    const gain = this.gain(arm);
    const n = Math.min(gain.events, gain.weight);
    if (n < minimumEvents) {
      // In a window an event counts for a little less than one.
      const missing = Math.max(1, minimumEvents - Math.round(n));
      return `judged on ${minimumEvents - missing} events, needs ${minimumEvents}: ${missing} are missing`;
    }
    const lower = gain.lower(confidence);
    if (!(lower > 0)) return `gain ${gain.mean.toFixed(4)} is not certain: its lower bound is ${lower.toFixed(4)}`;
    if (this.fallsLately(arm)) return `fell below static lately: ${this.fast(arm).mean.toFixed(4)}`;
    if (!(arm & MOVES_ALL)) return undefined;
    const disjoint = this.disjoint(arm);
    if (disjoint.events < RARE_DISJOINT * n) return undefined;
    if (disjoint.events < MINIMUM_DISJOINT) {
      return `never-chosen documents: judged on ${Math.round(disjoint.events)} events, needs ${MINIMUM_DISJOINT}`;
    }
    const bound = disjoint.lower(disjointConfidence);
    if (bound >= -disjointTolerance) return undefined;
    return `never-chosen documents: ${disjoint.mean.toFixed(4)}, lower bound ${bound.toFixed(4)} < -${disjointTolerance}`;
  }

  private falls(arm: number): boolean {
    if (!(this.gain(arm).mean > 0) || this.fallsLately(arm)) return true;
    const disjoint = this.disjoint(arm);
    return (
      (arm & MOVES_ALL) !== 0 &&
      disjoint.events >= RARE_DISJOINT * this.gain(arm).events &&
      disjoint.mean < -this.options.disjointTolerance
    );
  }

  private fallsLately(arm: number): boolean {
    const fast = this.fast(arm);
    return fast.events >= LEAST_LATELY && fast.mean + fast.standardError < 0;
  }

  private get fastWindow(): number {
    const { window } = this.options;
    return Math.min(window, Math.max(LEAST_LATELY, window * FAST_SHARE));
  }

  private fast(arm: number): RunningDifference {
    return this.difference(arm, 1);
  }

  private difference(arm: number, which: number): RunningDifference {
    const at = (arm * DIFFERENCES + which) * RunningDifference.LENGTH;
    return new RunningDifference(this.at.subarray(at, at + RunningDifference.LENGTH));
  }
}
