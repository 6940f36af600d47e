/** Ranks an event's candidates as each arm would show them, and measures nDCG@10 against what was chosen. */
import type { Metric } from "../base/types.js";
import type { Overlay } from "../model/overlay.js";
import { score } from "../model/scoring.js";
import type { Corpus } from "./corpus.js";

/** What may be served. An arm's number is stored in the learned state. */
export const ARMS = ["static", "adapter", "shift", "adapter+shift"] as const;
export type Arm = (typeof ARMS)[number];

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
  /** nDCG@10 by arm, in the order of ARMS; arms without their learner equal static. */
  all: [number, number, number, number];
  /**
   * The document-disjoint stratum: static and adapter among documents that never were chosen before
   * (those without an overlay), undefined where none of them is relevant. A shift cannot change it.
   */
  disjoint: [number, number] | undefined;
}

/**
 * @param overlays the learned shifts; a node in a later one replaces it in the earlier ones
 * @param adapted the adapted query, undefined where there is no adapter yet
 */
export function judge(
  corpus: Corpus,
  query: Float32Array,
  adapted: Float32Array | undefined,
  chosen: ReadonlyMap<number, number>,
  excluded: ReadonlySet<number>,
  near: Uint32Array,
  overlays: readonly Overlay[],
): Judgement {
  const metric: Metric = corpus.metric;
  const tops = ARMS.map(() => new Top());
  const [plain, plainAdapter] = [new Top(), new Top()];
  const shifted = (node: number) => overlays.some((overlay) => overlay.has(node));
  const candidates = new Set(near);
  if (adapted) for (const node of corpus.nearest(adapted, near.length).nodes) candidates.add(node);
  for (const node of candidates) {
    if (excluded.has(node)) continue;
    const gain = chosen.get(node) ?? 0;
    const vector = corpus.vector(node);
    const s = score(metric, query, vector);
    const a = adapted ? score(metric, adapted, vector) : s;
    tops[0]!.add(s, gain);
    tops[1]!.add(a, gain);
    if (shifted(node)) continue;
    tops[2]!.add(s, gain);
    tops[3]!.add(a, gain);
    plain.add(s, gain);
    plainAdapter.add(a, gain);
  }
  for (const [i, overlay] of overlays.entries()) {
    const nodes = overlay.nodes;
    const later = overlays.slice(i + 1);
    for (let slot = 0; slot < nodes.length; slot++) {
      const node = nodes[slot]!;
      if (excluded.has(node) || later.some((other) => other.has(node))) continue;
      const gain = chosen.get(node) ?? 0;
      const row = overlay.row(slot);
      const s = score(metric, query, row);
      tops[2]!.add(s, gain);
      tops[3]!.add(adapted ? score(metric, adapted, row) : s, gain);
    }
  }
  const ideal = idealGain(chosen.values());
  const left = [...chosen].filter(([node]) => !shifted(node)).map(([, grade]) => grade);
  const rest = idealGain(left);
  return {
    all: tops.map((top) => top.ndcg(ideal)) as Judgement["all"],
    disjoint: left.length > 0 ? [plain.ndcg(rest), plainAdapter.ndcg(rest)] : undefined,
  };
}
