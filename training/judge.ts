/** Ranks an event's candidates as each arm would show them, and measures nDCG@10 against what is known of it. */
import type { Contest } from "./contest.js";
import type { Relevance } from "./relevance.js";

const CUTOFF = 10;
const DISCOUNTS = Float64Array.from({ length: CUTOFF }, (_, i) => 1 / Math.log2(i + 2));
/** The ten best candidates seen so far; of equals the one with the lower place is ahead. */
class Top {
  private readonly scores = new Float64Array(CUTOFF);
  private readonly places = new Int32Array(CUTOFF);
  private count = 0;

  copy(from: Top): void {
    this.scores.set(from.scores);
    this.places.set(from.places);
    this.count = from.count;
  }

  add(value: number, place: number): void {
    const { scores, places } = this;
    const last = CUTOFF - 1;
    if (value === Number.NEGATIVE_INFINITY || (this.count === CUTOFF && value < scores[last]!)) return;
    if (this.count === CUTOFF && value === scores[last]! && place > places[last]!) return;
    let i = this.count < CUTOFF ? this.count++ : last;
    for (; i > 0 && (scores[i - 1]! < value || (scores[i - 1]! === value && places[i - 1]! > place)); i--) {
      scores[i] = scores[i - 1]!;
      places[i] = places[i - 1]!;
    }
    scores[i] = value;
    places[i] = place;
  }

  /**
   * Discounted gain over the best possible one (Järvelin & Kekäläinen 2002, gains as graded).
   * @param gainAt of the candidate at a place
   */
  ndcg(gainAt: (place: number) => number, ideal: number): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += gainAt(this.places[i]!) * DISCOUNTS[i]!;
    return Math.max(-1, Math.min(1, sum / ideal)); // where little is known, what is not may seem to be worth more
  }
}

function idealGain(grades: Iterable<number>): number {
  const best = [...grades]
    .filter((grade) => grade > 0)
    .sort((a, b) => b - a)
    .slice(0, CUTOFF);
  return best.reduce((sum, grade, i) => sum + grade * DISCOUNTS[i]!, 0);
}

export interface Judgement {
  /** Arms by number, static first. */
  arms: readonly number[];
  /** nDCG@10 of each. */
  all: Float64Array;
  /**
   * The document-disjoint stratum: the same among documents that never were chosen before; undefined where none of them
   * was chosen now.
   */
  disjoint: Float64Array | undefined;
}

/** nDCG of the i-th arm above static; one event counts for 1 at most, either way. */
export const differenceOf = (values: Float64Array, i: number): number =>
  Math.max(-1, Math.min(1, values[i]! - values[0]!));

/** What is known of the answers to a question. */
export type Answers = Pick<Relevance, "gains" | "unseen"> & { chosen: ReadonlyMap<number, number> };

/**
 * @param arms static first
 * @param wasChosen whether a document was chosen in what the arms learned from
 */
export function judge(
  contest: Contest,
  arms: readonly number[],
  { chosen, gains, unseen }: Answers,
  wasChosen: (node: number) => boolean,
): Judgement {
  const { nodes, supported } = contest;
  // What nobody could choose, as it was not on display: as nothing, no arm could gain by bringing up what static search
  // had hidden, and left out of the ranking, it could be pushed to the top unpunished.
  const gainAt = (place: number) => gains.get(nodes[place]!) ?? unseen?.(contest.staticScore(place)) ?? 0;
  const ideal = idealGain(gains.values());
  const left = [...gains].filter(([node]) => !wasChosen(node)).map(([, gain]) => gain);
  const isAnswered = [...chosen.keys()].some((node) => !wasChosen(node));
  const idealLeft = isAnswered ? idealGain(left) : 0;
  const all = new Float64Array(arms.length);
  const disjoint = idealLeft > 0 ? new Float64Array(arms.length) : undefined;
  const isNew = disjoint ? nodes.map((node) => !wasChosen(node)) : [];
  const isSupported = new Uint8Array(nodes.length);
  for (const { place, support } of supported) if (support > 0) isSupported[place] = 1;
  // Arms that differ in the weight of edges alone have the same order of what edges do not support.
  const unsupported = new Map<Float64Array, { top: Top; among: Top }>();
  const [top, among] = [new Top(), new Top()];
  arms.forEach((arm, at) => {
    const own = contest.ownScores(arm);
    let rest = unsupported.get(own);
    if (!rest) {
      rest = { top: new Top(), among: new Top() };
      for (let i = 0; i < nodes.length; i++) {
        if (isSupported[i] === 1) continue;
        rest.top.add(own[i]!, i);
        if (disjoint && isNew[i]) rest.among.add(own[i]!, i);
      }
      unsupported.set(own, rest);
    }
    top.copy(rest.top);
    among.copy(rest.among);
    const weight = contest.edgeWeight(arm);
    for (let i = 0; i < supported.length; i++) {
      const { place, support } = supported[i]!;
      const score = own[place]! + weight * support;
      top.add(score, place);
      if (disjoint && isNew[place]) among.add(score, place);
    }
    all[at] = top.ndcg(gainAt, ideal);
    if (disjoint) disjoint[at] = among.ndcg(gainAt, idealLeft);
  });
  return { arms, all, disjoint };
}
