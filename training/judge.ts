/** Ranks an event's candidates as each arm would show them, and measures nDCG@10 against what was chosen. */
import type { Contest } from "./contest.js";

const CUTOFF = 10;
const DISCOUNTS = Float64Array.from({ length: CUTOFF }, (_, i) => 1 / Math.log2(i + 2));

/** The ten best candidates seen so far; of equals the first stays ahead. */
class Top {
  private readonly scores = new Float64Array(CUTOFF);
  private readonly gains = new Float64Array(CUTOFF);
  private count = 0;

  add(value: number, gain: number): void {
    if (this.count === CUTOFF && value <= this.scores[CUTOFF - 1]!) return;
    let i = this.count < CUTOFF ? this.count++ : CUTOFF - 1;
    for (; i > 0 && this.scores[i - 1]! < value; i--) {
      this.scores[i] = this.scores[i - 1]!;
      this.gains[i] = this.gains[i - 1]!;
    }
    this.scores[i] = value;
    this.gains[i] = gain;
  }

  /** Discounted gain over the best possible one (Järvelin & Kekäläinen 2002, gains as graded). */
  ndcg(ideal: number): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.gains[i]! * DISCOUNTS[i]!;
    return sum / ideal;
  }
}

function idealGain(grades: Iterable<number>): number {
  const best = [...grades].sort((a, b) => b - a).slice(0, CUTOFF);
  return best.reduce((sum, grade, i) => sum + grade * DISCOUNTS[i]!, 0);
}

export interface Judgement {
  /** Arms by number, static first. */
  arms: readonly number[];
  /** nDCG@10 of each. */
  all: Float64Array;
  /** The document-disjoint stratum: the same among documents that never were chosen before; undefined where none of them is relevant. */
  disjoint: Float64Array | undefined;
}

/**
 * @param arms static first
 * @param wasChosen whether a document was chosen in what the arms learned from
 */
export function judge(
  contest: Contest,
  arms: readonly number[],
  chosen: ReadonlyMap<number, number>,
  wasChosen: (node: number) => boolean,
): Judgement {
  const { nodes } = contest;
  const gains = Float64Array.from(nodes, (node) => chosen.get(node) ?? 0);
  const isNew = nodes.map((node) => !wasChosen(node));
  const ideal = idealGain(chosen.values());
  const left = [...chosen].filter(([node]) => !wasChosen(node)).map(([, grade]) => grade);
  const rest = idealGain(left);
  const all = new Float64Array(arms.length);
  const disjoint = left.length > 0 ? new Float64Array(arms.length) : undefined;
  arms.forEach((arm, at) => {
    const scores = contest.scores(arm);
    const top = new Top();
    const among = new Top();
    for (let i = 0; i < nodes.length; i++) {
      if (scores[i] === Number.NEGATIVE_INFINITY) continue;
      top.add(scores[i]!, gains[i]!);
      if (disjoint && isNew[i]) among.add(scores[i]!, gains[i]!);
    }
    all[at] = top.ndcg(ideal);
    if (disjoint) disjoint[at] = among.ndcg(rest);
  });
  return { arms, all, disjoint };
}
