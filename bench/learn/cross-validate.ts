/** The folds themselves: feedback from the training queries, every ranker asked for the test queries. */
import type { Index, Stats } from "../../src/index.js";
import type { JudgedSet } from "../data.js";
import { median } from "../stats.js";
import { CONTROLS, chooseControl, DEPTH, dot, type Feedback, rank, unlearned } from "./controls.js";
import { foldRandom, permutation, splitFolds } from "./folds.js";
import { judge } from "./ndcg.js";
import { ask, queryVector, type Subject, withDocuments } from "./store.js";
import type { Outcomes } from "./strata.js";

export const FOLDS = 5;
export const SEED = 1;
export const NEAR_DUPLICATE = 0.95;

export interface FoldReport {
  learnSeconds: number;
  trainSeconds: number;
  /** Median milliseconds of `query` in each mode, the k best of which is `DEPTH`. */
  vectorMs: number;
  neuralMs: number;
  /** `stats().learning` after training: events taken, which learners serve. */
  learning: Stats["learning"];
  settings: Record<string, string>;
}

export interface Run {
  outcomes: Outcomes;
  folds: FoldReport[];
  /** Whether neural answers were those of vector, bit for bit, before any feedback. */
  untouched: boolean;
}

export async function crossValidate(
  subject: Subject,
  { shuffleFeedback, controls }: { shuffleFeedback: boolean; controls: boolean },
): Promise<Run> {
  const { set } = subject;
  const random = foldRandom(SEED);
  const outcomes: Outcomes = new Map();
  const folds: FoldReport[] = [];
  let untouched = true;
  for (const { train, test } of splitFolds(permutation(set.queries.length, random), FOLDS)) {
    const chosen = train.map((query) => [...set.relevant[query].keys()]);
    const order = shuffleFeedback ? permutation(chosen.length, random) : [...chosen.keys()];
    const feedback = train.map((query, i) => ({ query, chosen: chosen[order[i]] }));
    const trained = new Set(chosen.flat());
    const distinct = new Map(test.map((query) => [query, isDistinct(set, query, train)]));
    const record = (ranker: string, query: number, ranking: number[]) => {
      const of = outcomes.get(ranker) ?? [];
      of.push({ query, distinct: distinct.get(query)!, ...judge(ranking, set.relevant[query], trained) });
      outcomes.set(ranker, of);
    };

    const settings: Record<string, string> = {};
    for (const name of controls ? Object.keys(CONTROLS) : []) {
      const control = chooseControl(name, set, feedback);
      settings[name] = control.settings;
      const learned = control.learner(set, feedback);
      for (const query of test) record(name, query, rank(set, learned, query));
    }
    const plain = unlearned(set, feedback);
    for (const query of test) record("exact static", query, rank(set, plain, query));
    const report = await withDocuments(subject, async (index) => {
      untouched = (await unchangedWithoutFeedback(index, set, test.slice(0, 20))) && untouched;
      return learnAndAsk(index, set, feedback, test, record);
    });
    folds.push({ ...report, settings });
    console.log(
      `fold ${folds.length} of ${FOLDS}: learned ${feedback.length} events in ${(report.learnSeconds + report.trainSeconds).toFixed(1)} s`,
    );
  }
  return { outcomes, folds, untouched };
}

async function learnAndAsk(
  index: Index,
  set: JudgedSet,
  feedback: Feedback[],
  test: number[],
  record: (ranker: string, query: number, ranking: number[]) => void,
): Promise<Omit<FoldReport, "settings">> {
  const started = performance.now();
  await index.learn(
    feedback.map(({ query, chosen }, i) => ({
      query: queryVector(set, query),
      chosen: chosen.map((document) => set.documents[document]),
      time: 1.7e12 + i * 1000,
    })),
  );
  const learned = performance.now();
  await index.train({});
  const trained = performance.now();
  const elapsed = { vector: [] as number[], neural: [] as number[] };
  for (const query of test) {
    for (const mode of ["vector", "neural"] as const) {
      const start = performance.now();
      const ranking = await ask(index, set, queryVector(set, query), mode);
      elapsed[mode].push(performance.now() - start);
      record(mode === "vector" ? "static" : "neural", query, ranking);
    }
  }
  return {
    learnSeconds: (learned - started) / 1e3,
    trainSeconds: (trained - learned) / 1e3,
    vectorMs: median(elapsed.vector),
    neuralMs: median(elapsed.neural),
    learning: index.stats().learning,
  };
}

async function unchangedWithoutFeedback(index: Index, set: JudgedSet, queries: number[]): Promise<boolean> {
  for (const query of queries) {
    const answers: string[] = [];
    for (const mode of ["vector", "neural"] as const) {
      const { hits } = await index.query({ vector: queryVector(set, query), mode, k: 100, ef: DEPTH });
      answers.push(JSON.stringify(hits.map(({ id, score, distance }) => [id, score, distance])));
    }
    if (answers[0] !== answers[1]) return false;
  }
  return true;
}

const isDistinct = (set: JudgedSet, query: number, train: number[]): boolean =>
  train.every((other) => dot(queryVector(set, query), queryVector(set, other)) <= NEAR_DUPLICATE);
