/**
 * How fast attention falls with the place on display, estimated from what was chosen. The position-based model (Craswell
 * et al. 2008): what stands at place r is chosen with probability look(r) * relevance, look(r) = r^-eta. A display sorted
 * by score has its relevant documents at the top even where all places are looked at alike, so relevance has to be told
 * from attention: it is taken to be exp(a + b x), x being the document's score above the mean of its display, as a
 * logit. Then choices are a Poisson regression on ln r and x, and eta its slope on ln r: identified because two displays
 * have different scores at the same place.
 *
 * Regressed one event at a time (online Newton steps) from a prior of eta = 0: a bias taken for too small leaves gains
 * unseen, one taken for too large turns displays upside down. Nine doubles inside the learned state; see state.ts.
 */
import { solvePositiveDefinite } from "../model/solve.js";

/** a - ln .2, -eta, b. */
const PARAMETERS = 3;
/** Before anything was chosen, one in five that are looked at is expected to be. */
const BASE = Math.log(0.2);

/**
 * Precision that the prior has for each, all expected at 0: some ten choices' worth for eta and the slope, which few events
 * cannot tell from each other.
 */
const PRIOR = [1, 10, 10];
/** Logits from the mean of a display that count at most: one that is far out would settle the slope for good. */
const MOST_APART = 20;
/** ln of how often a document is expected to be chosen at most. */
const MOST_LOG_RATE = 2;

/**
 * Least slope of the ln of relevance on scores below their display's mean: further down nobody chooses, and where scores
 * on display say little, an arm could bring up anything and count as harmless.
 */
const LEAST_SLOPE = 0.1;
/** Further below nothing is expected of any score. */
const MOST_BELOW = 100;
const [LEAST_EXPECTED, MOST_EXPECTED] = [0.005, 0.9];

/** A document on display. */
export interface Displayed {
  /** 1 is the first. */
  place: number;
  /** Static score as a logit. */
  score: number;
  chosen: boolean;
}

/** The estimate's view of its part of the state: the parameters, then the lower triangle of their precision. */
export class PositionBias {
  static readonly LENGTH = PARAMETERS + (PARAMETERS * (PARAMETERS + 1)) / 2;

  constructor(private readonly at: Float64Array) {}

  /** eta >= 0; 0 before the first event. */
  get eta(): number {
    return Math.max(0, -this.at[1]!);
  }

  /** How often a document is chosen when it is looked at, by its score above the mean of its display, as a logit. */
  expected(above: number): number {
    const [base, , slope] = this.at;
    const x = Math.max(-MOST_BELOW, above);
    const logRate = BASE + base! + (x < 0 ? Math.max(slope!, LEAST_SLOPE) : slope!) * x;
    return Math.min(MOST_EXPECTED, Math.max(LEAST_EXPECTED, Math.exp(logRate)));
  }

  /** As it is now, whatever is added later. */
  snapshot(): PositionBias {
    return new PositionBias(this.at.slice());
  }

  copy(other: PositionBias): void {
    this.at.set(other.at);
  }

  /** @param window events of which earlier ones have lost 1 / e of their weight */
  add(display: readonly Displayed[], window: number): void {
    if (display.length < 2) return; // no place to compare with
    const parameters = this.at.subarray(0, PARAMETERS);
    const precision = this.at.subarray(PARAMETERS);
    for (let i = 0; i < precision.length; i++) precision[i] = precision[i]! * (1 - 1 / window);
    const mean = display.reduce((sum, { score }) => sum + score, 0) / display.length;
    const step = new Float64Array(PARAMETERS);
    for (const { place, score, chosen } of display) {
      const above = Math.max(-MOST_APART, Math.min(MOST_APART, score - mean));
      const features = [1, Math.log(place), above];
      const logRate = features.reduce((sum, x, i) => sum + x * parameters[i]!, BASE);
      const rate = Math.exp(Math.min(MOST_LOG_RATE, logRate));
      features.forEach((x, i) => {
        step[i] = step[i]! + ((chosen ? 1 : 0) - rate) * x;
        for (let j = 0; j <= i; j++) {
          const cell = (i * (i + 1)) / 2 + j;
          precision[cell] = precision[cell]! + rate * x * features[j]!;
        }
      });
    }
    const matrix = new Float64Array(PARAMETERS * PARAMETERS);
    for (let i = 0, cell = 0; i < PARAMETERS; i++) {
      for (let j = 0; j <= i; j++) matrix[i * PARAMETERS + j] = matrix[j * PARAMETERS + i] = precision[cell++]!;
      matrix[i * PARAMETERS + i] = matrix[i * PARAMETERS + i]! + PRIOR[i]!;
    }
    solvePositiveDefinite(matrix, step, PARAMETERS, 1);
    if (!step.every(Number.isFinite)) return;
    for (let i = 0; i < PARAMETERS; i++) parameters[i] = parameters[i]! + step[i]!;
  }
}
