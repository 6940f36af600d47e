/**
 * What Hebb is held against: popularity, item-kNN, EASE and iALS, from the same events at the same moments. Their settings
 * come from small grids, chosen on the last part of the warm-up.
 */
import { Prng } from "../../base/prng.js";
import { solvePositiveDefinite } from "../../model/solve.js";
import { type Basket, everything, fading, type History, historyOf } from "./history.js";
import { inverse } from "./inverse.js";
import type { Event } from "./timeline.js";

export interface Model {
  /** Fits to what is known; called again as more is. */
  refit(history: History): void;
  /** out[item]: larger is better. */
  scores(basket: Basket, history: History, out: Float64Array): void;
}

export interface Candidate {
  settings: string;
  model: Model;
  /** What of a user's likes, oldest first, the model is given. */
  basketOf(liked: readonly number[]): Basket;
}

export interface Chosen extends Candidate {
  /** nDCG@10 of each candidate on the last part of the warm-up. */
  tried: { settings: string; ndcg: number }[];
}

export const CONTROLS = ["popularity", "item-kNN", "EASE", "iALS"] as const;
export type Control = (typeof CONTROLS)[number];

/** So many events of the last part choose, evenly spread; all of them are revealed. */
const MOST_JUDGED = 1000;

/** How wide the grids are: `small` for a smoke run. */
export function candidatesOf(control: Control, small: boolean): Candidate[] {
  const few = <T>(values: T[]) => (small ? values.slice(0, 1) : values);
  // A model that knows no order may be given a user's likes with the weights that Hebb's query has.
  const baskets = few([
    { name: "the fading last 50", basketOf: (liked: readonly number[]) => fading(liked) },
    { name: "all likes", basketOf: everything },
  ]);
  const fitted = (models: { settings: string; model: Model }[]) =>
    models.flatMap(({ settings, model }) =>
      baskets.map(({ name, basketOf }) => ({ settings: `${settings}, ${name}`, model, basketOf })),
    );
  switch (control) {
    case "popularity":
      return [{ settings: "likes so far", model: popularity, basketOf: everything }];
    case "item-kNN":
      return few([
        ...[10, 5, 20].flatMap((last) =>
          [0.8, 0.7, 0.9].map((fade) => ({
            settings: `last ${last}, fading ${fade}`,
            model: itemKnn,
            basketOf: (liked: readonly number[]) => fading(liked, last, fade),
          })),
        ),
        { settings: "all likes", model: itemKnn, basketOf: everything }, // where likes have no order
      ]);
    case "EASE":
      return fitted(
        few([300, 30, 100, 1000, 3000]).map((lambda) => ({ settings: `lambda ${lambda}`, model: ease(lambda) })),
      );
    case "iALS":
      return fitted(
        few([32, 64]).flatMap((rank) =>
          few([20, 50]).flatMap((lambda) =>
            few([10, 30]).map((alpha) => ({
              settings: `rank ${rank}, lambda ${lambda}, alpha ${alpha}`,
              model: ials(small ? 8 : rank, lambda, alpha),
            })),
          ),
        ),
      );
  }
}

/** Fits each model on `known` and lets the candidates compete on `judged`, revealed one by one. Both histories and events are its own. */
export function choose(
  candidates: Candidate[],
  items: number,
  known: readonly Event[],
  judged: readonly Event[],
): Chosen {
  const history = historyOf(items, known);
  if (candidates.length > 1) for (const model of new Set(candidates.map((one) => one.model))) model.refit(history);
  const credits = candidates.map(() => 0);
  const every = Math.ceil(judged.length / MOST_JUDGED);
  const out = new Float64Array(items);
  let tests = 0;
  if (candidates.length > 1) {
    for (const [i, event] of judged.entries()) {
      const liked = history.likedBy(event.user);
      if (i % every === 0 && event.liked && liked.length > 0) {
        tests++;
        candidates.forEach(({ model, basketOf }, which) => {
          model.scores(basketOf(liked), history, out);
          credits[which] += credit(rankOf(event.item, out, history.seenBy(event.user)));
        });
      }
      history.reveal(event);
    }
  }
  const tried = candidates.map(({ settings }, i) => ({ settings, ndcg: tests ? credits[i] / tests : 0 }));
  const best = tried.reduce((at, { ndcg }, i) => (ndcg > tried[at].ndcg ? i : at), 0);
  return { ...candidates[best], tried };
}

/** nDCG@10 of a list with one right item at `rank` (0 is first; need not be whole). */
export const credit = (rank: number): number => (rank >= 0 && rank < 10 ? 1 / Math.log2(rank + 2) : 0);

/** Rank of `item` among those not `seen`; those with equal scores count half, as if shuffled. */
export function rankOf(item: number, scores: Float64Array, seen: ReadonlySet<number>): number {
  const own = scores[item];
  let above = 0;
  let equal = 0;
  for (let i = 0; i < scores.length; i++) {
    if (scores[i] < own || i === item || seen.has(i)) continue;
    if (scores[i] > own) above++;
    else equal++;
  }
  return above + equal / 2;
}

const popularity: Model = {
  refit() {},
  scores(_, { likes }, out) {
    out.set(likes);
  },
};

/** Cosine of the columns of likes; follows every event. */
const itemKnn: Model = {
  refit() {},
  scores(basket, { items: n, near, likes }, out) {
    out.fill(0);
    basket.items.forEach((item, i) => {
      const weight = basket.weights[i] / Math.sqrt(likes[item] + 1);
      for (let j = 0, at = item * n; j < n; j++, at++) out[j] += weight * near[at];
    });
    for (let j = 0; j < n; j++) out[j] /= Math.sqrt(likes[j] + 1);
  },
};

/** Steck 2019: the linear autoencoder without self-similarity, in closed form. Items that nobody liked yet have score 0. */
function ease(lambda: number): Model {
  let active: number[] = [];
  let at = new Int32Array(0);
  let weights: Float64Array = new Float64Array(0); // active x active: from a row's item to a column's
  return {
    refit({ items: n, both, likes }) {
      active = Array.from(likes.keys()).filter((item) => likes[item] > 0);
      at = new Int32Array(n).fill(-1);
      active.forEach((item, i) => {
        at[item] = i;
      });
      const m = active.length;
      const gram = new Float64Array(m * m);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < m; j++) gram[i * m + j] = both[active[i] * n + active[j]] + (i === j ? lambda : 0);
      }
      weights = inverse(gram, m);
      const diagonal = Float64Array.from(active, (_, i) => weights[i * m + i]);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < m; j++) weights[i * m + j] = i === j ? 0 : -weights[i * m + j] / diagonal[j];
      }
    },
    scores(basket, _, out) {
      const m = active.length;
      const sums = new Float64Array(m);
      basket.items.forEach((item, i) => {
        if (at[item] < 0) return;
        const weight = basket.weights[i];
        for (let j = 0, w = at[item] * m; j < m; j++, w++) sums[j] += weight * weights[w];
      });
      out.fill(0);
      for (let j = 0; j < m; j++) out[active[j]] = sums[j];
    },
  };
}

/** Sweeps of the first fit, and of those that begin where the last one ended. */
const SWEEPS = { first: 8, later: 2 } as const;

/**
 * Hu, Koren & Volinsky 2008: squared errors of 0 and 1, weighted 1 + alpha where liked. Whoever is asked about is
 * folded in from what they like at that moment, so that nobody is cold and nobody's factors are old.
 */
function ials(rank: number, lambda: number, alpha: number): Model {
  let itemFactors: Float64Array | undefined;
  let gram: Float64Array = new Float64Array(0);
  return {
    refit({ items: n, liked }) {
      const sweeps = itemFactors ? SWEEPS.later : SWEEPS.first;
      const random = new Prng(1);
      itemFactors ??= Float64Array.from({ length: n * rank }, () => (0.1 * random.gaussian()) / Math.sqrt(rank));
      const users = [...liked.values()];
      const fans: number[][] = Array.from({ length: n }, () => []);
      users.forEach((items, user) => {
        for (const item of items) fans[item].push(user);
      });
      const userFactors = new Float64Array(users.length * rank);
      for (let sweep = 0; sweep < sweeps; sweep++) {
        solveAll(users, itemFactors, userFactors);
        solveAll(fans, userFactors, itemFactors);
      }
      gram = gramOf(itemFactors, rank);
    },
    scores(basket, _, out) {
      const factors = itemFactors!;
      const user = fold(basket, factors, gram);
      for (let item = 0, at = 0; item < out.length; item++) {
        let sum = 0;
        for (let x = 0; x < rank; x++) sum += user[x] * factors[at++];
        out[item] = sum;
      }
    },
  };

  /** Rows of `to`, each from the rows of `from` that it goes with; one that goes with none becomes 0. */
  function solveAll(lists: number[][], from: Float64Array, to: Float64Array): void {
    const shared = gramOf(from, rank);
    lists.forEach((items, i) => {
      if (items.length === 0) to.fill(0, i * rank, (i + 1) * rank);
      else to.set(fold(everything(items), from, shared), i * rank);
    });
  }

  function fold({ items, weights }: Basket, factors: Float64Array, shared: Float64Array): Float64Array {
    const a = shared.slice();
    const b = new Float64Array(rank);
    items.forEach((item, i) => {
      const weight = weights[i];
      const row = item * rank;
      for (let x = 0; x < rank; x++) {
        const value = factors[row + x];
        b[x] += weight * (1 + alpha) * value;
        for (let y = 0; y <= x; y++) a[x * rank + y] += weight * alpha * value * factors[row + y];
      }
    });
    for (let x = 0; x < rank; x++) a[x * rank + x] += lambda;
    solvePositiveDefinite(a, b, rank, 1);
    return b;
  }
}

/** F^T F, the lower triangle. */
function gramOf(factors: Float64Array, rank: number): Float64Array {
  const out = new Float64Array(rank * rank);
  for (let row = 0; row < factors.length; row += rank) {
    for (let x = 0; x < rank; x++) {
      const value = factors[row + x];
      for (let y = 0; y <= x; y++) out[x * rank + y] += value * factors[row + y];
    }
  }
  return out;
}
