/**
 * Arms: what may serve `neural` queries. An arm is a set of learners, and where learned edges are among
 * them, how much those weigh. Its number is what the learned state stores.
 */

/** Learners by bit; `edges` has no bit of its own but two for its weight. */
export const LEARNERS = ["adapter", "shift", "linear", "attention", "edges"] as const;
export type Learner = (typeof LEARNERS)[number];

export const ADAPTER = 1;
export const SHIFT = 2;
export const LINEAR = 4;
export const ATTENTION = 8;

/** What a document with the most support gains, in units of scores; by the arm's bits 4 and 5. */
const EDGE_WEIGHTS = [0, 0.1, 1, 10] as const;
export const EDGES_STRONG = 3 << 4;

export const STATIC = 0;
export const ARMS = 64;

export const edgeWeight = (arm: number): number => EDGE_WEIGHTS[arm >> 4]!;

/** Bits of what turns the query: adapter, linear and attention. A version of the query has this number. */
export const versionOf = (arm: number): number => arm & (ADAPTER | LINEAR | ATTENTION);

/** The learners of an arm, in the order of LEARNERS. */
export function learnersOf(arm: number): Learner[] {
  return LEARNERS.filter((_, i) => (i < 4 ? arm & (1 << i) : arm >> 4));
}

export const nameOf = (arm: number): string => (arm === STATIC ? "static" : learnersOf(arm).join("+"));

/** Arms whose learners are all among `there` (bits; edges at any weight if `edges`), static first. */
export function armsOf(there: number, edges: boolean): number[] {
  return Array.from({ length: ARMS }, (_, arm) => arm).filter(
    (arm) => (arm & 15 & ~there) === 0 && (edges || arm >> 4 === 0),
  );
}
