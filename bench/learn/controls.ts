/**
 * The simple learners that Hebb's are held against: the same vectors, the same feedback, a few
 * lines of linear algebra each, their one or two settings chosen by 5-fold cross-validation on the
 * training queries alone. Rows are unit length; scores are inner products.
 */

import { solvePositiveDefinite } from "../../model/solve.js";
import type { JudgedSet } from "../data.js";
import { mean } from "../stats.js";
import { splitFolds } from "./folds.js";
import { ndcg } from "./ndcg.js";

/** Feedback for one training query: the documents chosen. */
export interface Feedback {
  query: number;
  chosen: readonly number[];
}

/** What a learner made of the feedback: another query vector, other document vectors, or both. */
export interface Learned {
  query(vector: Float32Array): Float32Array;
  documents: Float32Array;
}

type Learner = (set: JudgedSet, feedback: readonly Feedback[]) => Learned;

/** As many documents as the benches look at; Hebb is asked for the same number. */
export const DEPTH = 600;

/** Each control's candidates; the first is what a single setting would be. */
export const CONTROLS: Record<string, { settings: string; learner: Learner }[]> = {
  Rocchio: [3, 8].flatMap((past) =>
    [0.25, 0.5, 1].map((beta) => ({ settings: `past ${past}, beta ${beta}`, learner: rocchio(past, beta) })),
  ),
  "query adapter": [0.3, 1, 3, 10].map((ridge) => ({ settings: `ridge ${ridge}`, learner: adapter(ridge) })),
  "document shift": [0.2, 0.4, 0.6, 0.8].map((gamma) => ({ settings: `gamma ${gamma}`, learner: shift(gamma) })),
  "adapter + shift": [1, 3, 10].flatMap((ridge) =>
    [0.4, 0.6, 0.8].map((gamma) => ({ settings: `ridge ${ridge}, gamma ${gamma}`, learner: both(ridge, gamma) })),
  ),
};

/** The candidate that does best on held-out training queries; ties go to the first. */
export function chooseControl(name: string, set: JudgedSet, feedback: readonly Feedback[]) {
  const candidates = CONTROLS[name];
  const folds = splitFolds([...feedback.keys()], 5);
  const scores = candidates.map(({ learner }) =>
    mean(
      folds.flatMap(({ train, test }) => {
        const learned = learner(
          set,
          train.map((i) => feedback[i]),
        );
        return test.map((i) => {
          const { query, chosen } = feedback[i];
          return ndcg(rank(set, learned, query, 10), new Map(chosen.map((document) => [document, 1])));
        });
      }),
    ),
  );
  return candidates[scores.indexOf(Math.max(...scores))];
}

/** Document numbers by falling score, the best `depth`; ties by number. */
export function rank(set: JudgedSet, learned: Learned, query: number, depth = DEPTH): number[] {
  const vector = learned.query(rowOf(set.queryVectors, query, set.d));
  const n = learned.documents.length / set.d;
  const scores = new Float64Array(n);
  for (let document = 0; document < n; document++) {
    let sum = 0;
    for (let j = 0, at = document * set.d; j < set.d; j++, at++) sum += vector[j] * learned.documents[at];
    scores[document] = sum;
  }
  // Sorting plain numbers is far quicker than sorting by a function: first the score that suffices.
  const least = scores.slice().sort()[Math.max(0, n - depth)];
  const best = Array.from(scores.keys()).filter((document) => scores[document] >= least);
  return best.sort((a, b) => scores[b] - scores[a] || a - b).slice(0, depth);
}

export const unlearned: Learner = (set) => ({ query: (vector) => vector, documents: set.documentVectors });

/** Moves a query towards what was chosen for the `past` most similar training queries (Rocchio 1971, from clicks: CoRocchio). */
function rocchio(past: number, beta: number): Learner {
  return (set, feedback) => {
    const centroids = feedback.map((event) => centroid(set, event));
    return {
      documents: set.documentVectors,
      query(vector) {
        const near = feedback
          .map(({ query }, i) => ({ i, similarity: dot(vector, rowOf(set.queryVectors, query, set.d)) }))
          .filter(({ similarity }) => similarity > 0)
          .sort((a, b) => b.similarity - a.similarity)
          .slice(0, past);
        const moved = vector.slice();
        for (const { i, similarity } of near) addScaled(moved, centroids[i], (beta * similarity) / past);
        return unit(moved);
      },
    };
  };
}

/** q + W q, W the ridge regression from queries to (centroid of the chosen - query), solved in its dual form. */
function adapter(ridge: number): Learner {
  return (set, feedback) => {
    const { d, queryVectors } = set;
    const n = feedback.length;
    const queries = feedback.map(({ query }) => rowOf(queryVectors, query, d));
    const gram = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) gram[i * n + j] = dot(queries[i], queries[j]) + (i === j ? ridge : 0);
    }
    const targets = new Float64Array(n * d);
    feedback.forEach((event, i) => {
      const target = centroid(set, event);
      for (let j = 0; j < d; j++) targets[i * d + j] = target[j] - queries[i][j];
    });
    solvePositiveDefinite(gram, targets, n, d);
    return {
      documents: set.documentVectors,
      query(vector) {
        const moved = vector.slice();
        queries.forEach((query, i) => {
          const weight = dot(vector, query);
          for (let j = 0; j < d; j++) moved[j] += weight * targets[i * d + j];
        });
        return unit(moved);
      },
    };
  };
}

/** Moves each chosen document by gamma towards the mean of the queries it was chosen for (NUDGE's idea, in closed form). */
function shift(gamma: number): Learner {
  return (set, feedback) => {
    const { d } = set;
    const sums = new Map<number, Float32Array>();
    for (const { query, chosen } of feedback) {
      for (const document of chosen) {
        const sum = sums.get(document) ?? new Float32Array(d);
        addScaled(sum, rowOf(set.queryVectors, query, d), 1);
        sums.set(document, sum);
      }
    }
    const documents = set.documentVectors.slice();
    for (const [document, sum] of sums) {
      const row = rowOf(documents, document, d);
      addScaled(row, unit(sum), gamma);
      unit(row);
    }
    return { documents, query: (vector) => vector };
  };
}

function both(ridge: number, gamma: number): Learner {
  return (set, feedback) => ({
    query: adapter(ridge)(set, feedback).query,
    documents: shift(gamma)(set, feedback).documents,
  });
}

function centroid(set: JudgedSet, { chosen }: Feedback): Float32Array {
  const sum = new Float32Array(set.d);
  for (const document of chosen) addScaled(sum, rowOf(set.documentVectors, document, set.d), 1);
  return unit(sum);
}

const rowOf = (rows: Float32Array, i: number, d: number) => rows.subarray(i * d, (i + 1) * d);

export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += a[j] * b[j];
  return sum;
}

function addScaled(to: Float32Array, from: Float32Array, scale: number): void {
  for (let j = 0; j < to.length; j++) to[j] += scale * from[j];
}

/** In place; a zero vector stays. */
function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(dot(vector, vector)) || 1;
  for (let j = 0; j < vector.length; j++) vector[j] /= length;
  return vector;
}
