/**
 * InfoNCE over one query's candidates: L = -sum_p w_p [ s_p - LSE(s_p, s_n...) ], sum_p w_p = 1.
 *
 * Each positive meets all negatives but no other positive, and stands in its own denominator, so
 * that a solved positive stops pulling (van den Oord et al. 2018, with the mean over positives
 * outside the logarithm as in Khosla et al. 2020). The specification's form leaves the positive out
 * (decoupled, Yeh et al. 2022); it is unbounded below and kept as the option `decoupled`.
 */
import type { Floats } from "../model/scoring.js";

/**
 * @param logits scores divided by the temperature; the first `positives` of `count` belong to positives
 * @param weights one per positive, summing to 1
 * @param gradient receives dL/dlogits; its sum is 0
 * @returns the loss; 0 with no positive or no negative (nothing to tell apart)
 */
export function infoNce(
  logits: Floats,
  weights: Floats,
  positives: number,
  count: number,
  gradient: Floats,
  decoupled = false,
): number {
  gradient.fill(0, 0, count);
  if (positives === 0 || positives === count) return 0;
  let max = Number.NEGATIVE_INFINITY;
  for (let j = positives; j < count; j++) if (logits[j]! > max) max = logits[j]!;
  let sum = 0;
  for (let j = positives; j < count; j++) sum += Math.exp(logits[j]! - max);
  const negatives = max + Math.log(sum);
  let loss = 0;
  let pull = 0;
  for (let p = 0; p < positives; p++) {
    // log pi_p = s_p - LSE(s_p, LSE(s_n)) = -softplus(LSE(s_n) - s_p), stable on both sides.
    const gap = negatives - logits[p]!;
    const softplus = gap > 0 ? gap + Math.log1p(Math.exp(-gap)) : Math.log1p(Math.exp(gap));
    const wrong = decoupled ? 1 : 1 / (1 + Math.exp(-gap));
    loss += weights[p]! * (decoupled ? gap : softplus);
    gradient[p] = -weights[p]! * wrong;
    pull += weights[p]! * wrong;
  }
  for (let j = positives; j < count; j++) gradient[j] = (pull * Math.exp(logits[j]! - max)) / sum;
  return loss;
}
