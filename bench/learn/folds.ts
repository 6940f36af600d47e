/** Folds over queries, the same on every machine. */

/**
 * mulberry32 (Tommy Ettinger, public domain): the project's own checks draw their folds with it,
 * and figures compare on the same folds only.
 */
export function foldRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** 0..n-1 in random order (Fisher-Yates). */
export function permutation(n: number, random: () => number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

export interface Fold {
  train: number[];
  test: number[];
}

/** Every one of `items` is a test item of exactly one fold. */
export const splitFolds = (items: readonly number[], folds: number): Fold[] =>
  Array.from({ length: folds }, (_, fold) => ({
    train: items.filter((_, i) => i % folds !== fold),
    test: items.filter((_, i) => i % folds === fold),
  }));
