/**
 * The learning curve: what queries gained by what served them, over the whole life of a store, in a
 * fixed number of doubles. A point averages one stretch of judged events; when all points are taken,
 * neighbours are merged, and once those are full, stretches are twice as long from there on.
 * Stored as plain numbers inside the learned state; see state.ts for where.
 */
import { differenceOf, type Judgement } from "./judge.js";

export interface CurvePoint {
  /** Events learned from when the stretch ended. */
  events: number;
  /** Mean nDCG@10 above static of what served, -1 to 1: 0 while static did. */
  gain: number;
  /** Measurements behind it: judged events, and one for the estimate of a training. */
  judged: number;
  /** Number of the arm that served last, 0 for static. */
  serving: number;
  /** Whether there was a training in the stretch. */
  trained: boolean;
}

/** A point's doubles: events at the end, mean gain, measurements, serving arm, 1 where there was a training. */
const POINT = 5;
/** Points used, and measurements that fill a point (0: none yet). */
const HEAD = 2;
const POINTS = 32;
/** Measurements that fill a point at first. */
const SHORTEST = 16;

/** The curve's view of its part of the state. */
export class Curve {
  static readonly POINTS = POINTS;
  static readonly SHORTEST = SHORTEST;
  /** Doubles it takes. */
  static readonly LENGTH = HEAD + POINTS * POINT;

  constructor(private readonly at: Float64Array) {}

  /** Measurements that fill a point; a training ends one early. */
  get spacing(): number {
    return this.at[1]! || SHORTEST;
  }

  /** Oldest first. */
  get points(): CurvePoint[] {
    return Array.from({ length: this.at[0]! }, (_, i) => {
      const [events, gain, judged, serving, trained] = this.at.subarray(HEAD + i * POINT, HEAD + (i + 1) * POINT);
      return { events: events!, gain: gain!, judged: judged!, serving: serving!, trained: trained === 1 };
    });
  }

  copy(other: Curve): void {
    this.at.set(other.at);
  }

  /** Counts a judged event by what the arm that served it gained. */
  judge(events: number, { arms, all }: Judgement, serving: number): void {
    const served = arms.indexOf(serving);
    if (served >= 0) this.record(events, differenceOf(all, served), serving);
  }

  /**
   * Counts one measurement: a judged event, or what a training estimates, which begins a point of its own.
   * @param gain nDCG@10 above static of `serving`, the arm that serves
   */
  record(events: number, gain: number, serving: number, trained = false): void {
    let points = this.points;
    const one = { events, gain, judged: 1, serving, trained };
    const last = points.at(-1);
    if (last && !trained && last.judged < this.spacing) points[points.length - 1] = merged(last, one);
    else points.push(one);
    let { spacing } = this;
    // What trainings cut short is joined first; where nothing is short, two full points become one.
    if (points.length > POINTS) points = joined(points, spacing);
    if (points.length > POINTS) {
      spacing *= 2;
      points = joined(points, spacing);
    }
    this.at.fill(0);
    this.at.set([points.length, spacing]);
    for (const [i, point] of points.entries()) {
      const { judged } = point;
      this.at.set([point.events, point.gain, judged, point.serving, Number(point.trained)], HEAD + i * POINT);
    }
  }
}

/** Joins neighbours, from the oldest on, as long as they fill no more than one point. */
function joined(points: readonly CurvePoint[], spacing: number): CurvePoint[] {
  const all: CurvePoint[] = [];
  for (const point of points) {
    const last = all.at(-1);
    if (last && last.judged + point.judged <= spacing) all[all.length - 1] = merged(last, point);
    else all.push(point);
  }
  return all;
}

function merged(a: CurvePoint, b: CurvePoint): CurvePoint {
  const judged = a.judged + b.judged;
  return {
    ...b,
    gain: a.gain + ((b.gain - a.gain) * b.judged) / judged,
    judged,
    trained: a.trained || b.trained,
  };
}
