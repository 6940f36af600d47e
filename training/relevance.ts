/**
 * What choices on display say of relevance. A document that nobody chose may not have been looked at, and one that was
 * chosen once may have been chosen by mistake: how often it is chosen *when it is looked at* is between what is expected
 * of its score and what was seen,
 *
 *   r = (kappa + choices) / (kappa / expected + looks),   looks = sum over displays of place^-eta,
 *
 * the mean of a gamma posterior whose prior weighs kappa choices (position-bias.ts has eta, and what is expected). At
 * kappa = 0 it is inverse propensity weighting (Joachims, Swaminathan & Schnabel 2017), which is right on average and
 * scatters most: one choice at the tenth place outweighs ten at the first. The same question asked many times is one
 * question, and its noise averages out.
 */
import type { Corpus, LearnEvent } from "./corpus.js";

/** How displays are read. */
export interface Reading {
  /** What stands at place r is looked at with probability (1 / r)^eta. */
  readonly eta: number;
  /** Difference of scores that is one logit. */
  readonly logit: number;
  /** How often a document is expected to be chosen when it is looked at, so many logits above its display's mean. */
  expected(above: number): number;
}

/** Nobody knows how displays are read: all places alike. */
export const UNREAD: Reading = { eta: 0, logit: 1, expected: () => 0.2 };

/** Choices that what is expected weighs: with more, documents further down gain too little, with fewer noise serves. */
const KAPPA = 0.4;

export interface Relevance {
  /**
   * node -> worth as an answer, above what the passed over are worth; of everything on display, or of what was chosen
   * alone where nobody knows what was.
   */
  gains: ReadonlyMap<number, number>;
  /** Worth of a document that was not on display, by its static score; undefined where nobody knows what was. */
  unseen: ((score: number) => number) | undefined;
  /** node -> weight as a positive, above 0; 1 in all where there were displays. */
  weights: ReadonlyMap<number, number>;
  /** Looked at more likely than not, and not chosen. */
  passedOver: readonly number[];
}

/**
 * @param asked the same question, every time that it was asked
 * @param choices node -> how often it was chosen, a lower grade counting for less than 1; live ones
 * @param counts whether a node can be an answer
 */
export function relevanceOf(
  corpus: Corpus,
  asked: readonly LearnEvent[],
  choices: ReadonlyMap<number, number>,
  counts: (node: number) => boolean,
  { eta, logit, expected }: Reading,
): Relevance {
  const looks = new Map<number, number>();
  const within = new Set<number>();
  for (const { shown } of asked) {
    const last = shown.findLastIndex((node) => choices.has(node));
    for (const [i, node] of shown.entries()) {
      if (!counts(node)) continue;
      looks.set(node, (looks.get(node) ?? 0) + (i + 1) ** -eta);
      // A choice says that what stands above it, and the next below, may have been looked at (Joachims 2002).
      if (i <= last + 1) within.add(node);
    }
  }
  if (looks.size === 0) return { gains: choices, unseen: undefined, weights: choices, passedOver: [] };
  const nodes = [...looks.keys()];
  const scores = corpus.scores(asked[0]!.query, Uint32Array.from(nodes));
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const before = (score: number) => expected((score - mean) / logit);
  const worth = new Map<number, number>();
  const surplus = new Map<number, number>();
  for (const [i, node] of nodes.entries()) {
    const own = choices.get(node) ?? 0;
    const prior = before(scores[i]!);
    const posterior = (KAPPA + own) / (KAPPA / prior + looks.get(node)!);
    worth.set(node, posterior);
    if (own > 0 && posterior > prior) surplus.set(node, posterior - prior);
  }
  const unchosen = nodes.filter((node) => !choices.has(node));
  const level =
    unchosen.length > 0 ? unchosen.reduce((sum, node) => sum + worth.get(node)!, 0) / unchosen.length : expected(0);
  const total = [...surplus.values()].reduce((sum, one) => sum + one, 0);
  return {
    gains: new Map(Array.from(worth, ([node, own]) => [node, own - level])),
    unseen: (score) => before(score) - level,
    weights: new Map(Array.from(surplus, ([node, one]) => [node, one / total])),
    passedOver: unchosen.filter((node) => within.has(node) && looks.get(node)! >= asked.length / 2),
  };
}
