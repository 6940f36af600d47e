/** What is fitted and what is judged when a training cross-fits. */
import type { Prng } from "../base/prng.js";
import type { Example } from "./examples.js";

/**
 * Folds by how many questions there are: of few questions each counts, and what is fitted to nine tenths gains nearer to
 * what all will. With 20 folds what they are fitted to is so much the same that their errors are, too: learners of random
 * answers served in one training of ten, with 10 folds in one of fifty.
 */
export const foldsFor = (questions: number): number => (questions < 1000 ? 10 : 5);

/** Sources a fold has to have for questions to be told apart by them. */
const LEAST_SOURCES = 4;

/**
 * The fold of each question, all folds as large as each other as far as it goes. What one person asks goes into one fold
 * where there are many of them: their questions by example are made of each other's answers.
 */
export function assignFolds(examples: readonly Pick<Example, "source">[], folds: number, prng: Prng): number[] {
  const sources = new Set(examples.flatMap(({ source }) => source ?? []));
  const bySource = sources.size >= LEAST_SOURCES * folds;
  const groups = new Map<string, number[]>();
  for (const [i, { source }] of examples.entries()) {
    const key = bySource && source !== undefined ? `of ${source}` : `${i}`;
    const group = groups.get(key);
    if (group) group.push(i);
    else groups.set(key, [i]);
  }
  const foldOf: number[] = new Array(examples.length);
  const sizes: number[] = new Array(folds).fill(0);
  for (const group of prng.shuffle([...groups.values()]).sort((a, b) => b.length - a.length)) {
    const smallest = sizes.indexOf(Math.min(...sizes));
    sizes[smallest] = sizes[smallest]! + group.length;
    for (const i of group) foldOf[i] = smallest;
  }
  return foldOf;
}
