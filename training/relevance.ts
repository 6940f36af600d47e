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
  /** How often a document is expected to be chosen when it is looked at, so many logits above the mean on display. */
  expected(above: number): number;
}

/** Where nobody knows how displays are read: all places alike, and one in five that are looked at is chosen. */
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
  /** node -> weight as a positive, above 0; 1 in all. */
  weights: ReadonlyMap<number, number>;
  /** Looked at more likely than not, and not chosen. */
  passedOver: readonly number[];
}

/** What was on display, over all times that a question was asked. */
interface Seen {
  /** Expected number of looks at it. */
  looks: number;
  displays: number;
  /** Whether it stood above a choice of the same display, or right below: it may have been passed over (Joachims 2002). */
  isWithin: boolean;
}

/**
 * @param asked the same question, every time that it was asked; with a display each time, or never
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
  const seen = displayed(asked, eta, counts);
  if (seen.size === 0) return { gains: choices, unseen: undefined, weights: shares(choices), passedOver: [] };
  const nodes = [...seen.keys()];
  const scores = corpus.scores(asked[0]!.query, Uint32Array.from(nodes));
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const prior = (score: number) => expected((score - mean) / logit);
  const posteriors = nodes.map((node, i) => {
    return (KAPPA + (choices.get(node) ?? 0)) / (KAPPA / prior(scores[i]!) + seen.get(node)!.looks);
  });
  const unchosen = nodes.filter((node) => !choices.has(node));
  const ofUnchosen = posteriors.filter((_, i) => !choices.has(nodes[i]!));
  const level = unchosen.length > 0 ? ofUnchosen.reduce((a, b) => a + b, 0) / unchosen.length : expected(0);
  const gains = new Map<number, number>();
  const surplus = new Map<number, number>();
  for (const [i, node] of nodes.entries()) {
    const more = choices.has(node) ? posteriors[i]! - prior(scores[i]!) : 0;
    if (more > 0) surplus.set(node, more);
    // However little was expected of it: what was chosen more often than that is worth more than what was passed over.
    gains.set(node, Math.max(posteriors[i]! - level, more > 0 ? more : Number.NEGATIVE_INFINITY));
  }
  return {
    gains,
    unseen: (score) => prior(score) - level,
    weights: shares(surplus),
    passedOver: unchosen.filter((node) => {
      const { isWithin, looks, displays } = seen.get(node)!;
      return isWithin && looks >= displays / 2;
    }),
  };
}

function displayed(asked: readonly LearnEvent[], eta: number, counts: (node: number) => boolean): Map<number, Seen> {
  const all = new Map<number, Seen>();
  const see = (node: number, looks: number, isWithin: boolean) => {
    if (!counts(node)) return;
    const known = all.get(node) ?? { looks: 0, displays: 0, isWithin: false };
    all.set(node, known);
    known.looks += looks;
    known.displays++;
    known.isWithin ||= isWithin;
  };
  for (const { shown, chosen, rejected } of asked) {
    if (shown.length === 0) continue;
    const isChosen = new Set(chosen.map(({ node }) => node));
    const isRejected = new Set(rejected); // they were looked at, wherever they stood
    const last = shown.findLastIndex((node) => isChosen.has(node));
    const places = new Map<number, number>();
    for (const [i, node] of shown.entries()) if (!places.has(node)) places.set(node, i); // where it stood first
    for (const [node, i] of places) see(node, isRejected.has(node) ? 1 : (i + 1) ** -eta, i <= last + 1);
    for (const node of isRejected) if (!places.has(node)) see(node, 1, false);
  }
  return all;
}

/** Each one's share of them all. */
function shares(values: ReadonlyMap<number, number>): Map<number, number> {
  let sum = 0;
  for (const value of values.values()) sum += value;
  return new Map(Array.from(values, ([node, value]) => [node, value / sum]));
}
