/**
 * `bench learn`: 5 folds over queries. Feedback is every relevant document of the training queries;
 * what is measured is nDCG@10 of the others, asked as `vector` (static) and as `neural`, beside
 * simple learners with the same feedback. Three strata: all; disjoint, where documents that ever
 * were a training positive are taken out; and distinct, where test queries are taken out whose
 * cosine with a training query is above .95.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JudgedSet, loadJudged } from "../data.js";
import { type Index, open } from "../hebb.js";
import { type Claim, printClaims, writeRecord } from "../record.js";
import { bootstrapInterval, mean, median, randomisationTest } from "../stats.js";
import { count, fixed, table } from "../table.js";
import { CONTROLS, chooseControl, DEPTH, dot, type Feedback, rank, unlearned } from "./controls.js";
import { foldRandom, permutation, splitFolds } from "./folds.js";
import { type Judged, judge } from "./ndcg.js";

export interface LearnOptions {
  data: string;
  placebo: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

export const STRATA = ["all", "disjoint", "distinct"] as const;
export type Stratum = (typeof STRATA)[number];

const FOLDS = 5;
const SEED = 1;
const NEAR_DUPLICATE = 0.95;

/** What one ranker reached on one test query. */
interface Outcome extends Judged {
  query: number;
  /** Whether no training query is a near duplicate of it. */
  distinct: boolean;
}

interface FoldReport {
  learnSeconds: number;
  trainSeconds: number;
  /** Median milliseconds of `query` in each mode, the k best of which is `DEPTH`. */
  vectorMs: number;
  neuralMs: number;
  /** `stats().learning` after training: events taken, which learners serve. */
  learning: object;
  settings: Record<string, string>;
}

export interface Comparison {
  stratum: Stratum;
  over: string;
  mean: number;
  low: number;
  high: number;
  p: number;
  queries: number;
}

type Outcomes = Map<string, Outcome[]>;

export async function runLearn(options: LearnOptions): Promise<boolean> {
  const set = loadJudged(options.data);
  console.log(
    `${set.name}: ${count(set.documents.length)} documents, ${count(set.queries.length)} queries, ${set.d} dimensions, ${FOLDS} folds\n`,
  );
  const { outcomes, folds, untouched } = await crossValidate(set, { shuffleFeedback: false, controls: true });
  printStrata(outcomes);
  const control = bestControl(outcomes);
  const comparisons = compareAll(outcomes, ["static", control]);
  printComparisons(comparisons);
  printTimes(folds);

  const claims = claimsOf(set.name, comparisons, folds, untouched);
  let placebo: Comparison[] | undefined;
  if (options.placebo) {
    const shuffled = await crossValidate(set, { shuffleFeedback: true, controls: false });
    placebo = compareAll(shuffled.outcomes, ["static"]);
    const { mean: gain, low, high } = placebo[0];
    claims.push({
      name: `${set.name} placebo: shuffled feedback gains and costs nothing (.01)`,
      kind: "assertion",
      holds: Math.abs(gain) <= 0.01,
      figure: interval(gain, low, high),
    });
  }
  const stem = writeRecord(options.out, options.name, {
    bench: "learn",
    data: set.name,
    settings: {
      folds: FOLDS,
      seed: SEED,
      depth: DEPTH,
      metric: "cosine",
      nearDuplicate: NEAR_DUPLICATE,
      documents: set.documents.length,
      queries: set.queries.length,
      dimensions: set.d,
    },
    claims,
    results: {
      strata: Object.fromEntries([...outcomes].map(([ranker, of]) => [ranker, strataOf(of)])),
      bestControl: control,
      comparisons,
      placebo,
      folds,
      outcomes: Object.fromEntries(outcomes),
    },
  });
  console.log(`\nrecord ${stem}.json`);
  return printClaims(claims);
}

interface Run {
  outcomes: Outcomes;
  folds: FoldReport[];
  /** Whether neural answers were those of vector, bit for bit, before any feedback. */
  untouched: boolean;
}

async function crossValidate(
  set: JudgedSet,
  { shuffleFeedback, controls }: { shuffleFeedback: boolean; controls: boolean },
): Promise<Run> {
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
    const report = await withIndex(set, async (index) => {
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

async function withIndex<T>(set: JudgedSet, use: (index: Index) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "hebb-bench-"));
  try {
    const index = await open(join(folder, "learn.hebb"), { dimensions: set.d, metric: "cosine", durability: "off" });
    await index.putMany({ ids: set.documents, vectors: set.documentVectors });
    await index.settle();
    const result = await use(index);
    await index.close();
    return result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
      query: vectorOf(set, query),
      chosen: chosen.map((document) => set.documents[document]),
      time: 1.7e12 + i * 1000,
    })),
  );
  const learned = performance.now();
  await index.train({});
  const trained = performance.now();
  const numberOf = new Map(set.documents.map((id, i) => [id, i]));
  const elapsed = { vector: [] as number[], neural: [] as number[] };
  for (const query of test) {
    for (const mode of ["vector", "neural"] as const) {
      const start = performance.now();
      const hits = await ask(index, set, query, mode);
      elapsed[mode].push(performance.now() - start);
      record(
        mode === "vector" ? "static" : "neural",
        query,
        hits.map(({ id }) => numberOf.get(String(id))!),
      );
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

async function ask(index: Index, set: JudgedSet, query: number, mode: "vector" | "neural") {
  const k = Math.min(DEPTH, set.documents.length);
  return (await index.query({ vector: vectorOf(set, query), mode, k, ef: DEPTH })).hits;
}

async function unchangedWithoutFeedback(index: Index, set: JudgedSet, queries: number[]): Promise<boolean> {
  for (const query of queries) {
    const answers = [await ask(index, set, query, "vector"), await ask(index, set, query, "neural")];
    const [vector, neural] = answers.map((hits) =>
      JSON.stringify(hits.map(({ id, score, distance }) => [id, score, distance])),
    );
    if (vector !== neural) return false;
  }
  return true;
}

const vectorOf = (set: JudgedSet, query: number) => set.queryVectors.subarray(query * set.d, (query + 1) * set.d);

const isDistinct = (set: JudgedSet, query: number, train: number[]): boolean =>
  train.every((other) => dot(vectorOf(set, query), vectorOf(set, other)) <= NEAR_DUPLICATE);

/** The outcomes that count in a stratum, in the order they were recorded: equal for all rankers of a run. */
function valuesIn(stratum: Stratum, outcomes: Outcome[]): number[] {
  switch (stratum) {
    case "all":
      return outcomes.map(({ all }) => all);
    case "disjoint":
      return outcomes.map(({ disjoint }) => disjoint).filter((value) => !Number.isNaN(value));
    case "distinct":
      return outcomes.filter(({ distinct }) => distinct).map(({ all }) => all);
  }
}

const strataOf = (outcomes: Outcome[]) =>
  Object.fromEntries(STRATA.map((stratum) => [stratum, mean(valuesIn(stratum, outcomes))])) as Record<Stratum, number>;

/** The control that is best on the test queries themselves: chosen in its favour, so that beating it means something. */
function bestControl(outcomes: Outcomes): string {
  const reached = (name: string) => mean(valuesIn("all", outcomes.get(name)!));
  return Object.keys(CONTROLS).reduce((best, name) => (reached(name) > reached(best) ? name : best));
}

function compareAll(outcomes: Outcomes, rivals: string[]): Comparison[] {
  const neural = outcomes.get("neural")!;
  return rivals.flatMap((over) =>
    STRATA.map((stratum) => {
      const theirs = valuesIn(stratum, outcomes.get(over)!);
      const sameOrder = sortedByQuery(neural, outcomes.get(over)!);
      const differences = valuesIn(stratum, sameOrder).map((value, i) => value - theirs[i]);
      const { mean: gain, low, high } = bootstrapInterval(differences);
      return { stratum, over, mean: gain, low, high, p: randomisationTest(differences), queries: differences.length };
    }),
  );
}

/** `outcomes` in the order of queries of `like`; both cover each query once. */
function sortedByQuery(outcomes: Outcome[], like: Outcome[]): Outcome[] {
  const byQuery = new Map(outcomes.map((outcome) => [outcome.query, outcome]));
  return like.map(({ query }) => byQuery.get(query)!);
}

function claimsOf(name: string, comparisons: Comparison[], folds: FoldReport[], untouched: boolean): Claim[] {
  const overStatic = (stratum: Stratum) => comparisons.find((c) => c.over === "static" && c.stratum === stratum)!;
  const notBelow = (stratum: Stratum): Claim => {
    const { mean: gain, low, high } = overStatic(stratum);
    return {
      name: `${name} ${stratum}: neural not below static (.005)`,
      kind: "assertion",
      holds: gain >= -0.005,
      figure: interval(gain, low, high),
    };
  };
  const over = comparisons.find((c) => c.over !== "static" && c.stratum === "all")!;
  const events = folds.map(({ learning }) => ("events" in learning ? Number(learning.events) : 0));
  return [
    {
      name: `${name}: without feedback neural is vector, bit for bit`,
      kind: "assertion",
      holds: untouched,
      figure: untouched ? "identical" : "they differ",
    },
    {
      name: `${name}: feedback was taken in`,
      kind: "assertion",
      holds: events.every((n) => n > 0),
      figure: `${events.join(", ")} events`,
    },
    ...STRATA.map(notBelow),
    {
      name: `${name} all: neural above the best control (${over.over})`,
      kind: "target",
      holds: over.low > 0,
      figure: interval(over.mean, over.low, over.high),
    },
  ];
}

const signed = (value: number) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
const interval = (value: number, low: number, high: number) => `${signed(value)} [${signed(low)}, ${signed(high)}]`;

function printStrata(outcomes: Outcomes): void {
  const order = ["exact static", ...Object.keys(CONTROLS), "static", "neural"];
  const rows = order.map((ranker) => {
    const strata = strataOf(outcomes.get(ranker)!);
    const name = { static: "Hebb, vector", neural: "Hebb, neural", "exact static": "static, exact" }[ranker] ?? ranker;
    return [name, ...STRATA.map((stratum) => fixed(strata[stratum]))];
  });
  const sizes = STRATA.map((stratum) => `${stratum} (${valuesIn(stratum, outcomes.get("static")!).length})`);
  console.log(`\nnDCG@10\n${table(["", ...sizes], rows)}`);
}

function printComparisons(comparisons: Comparison[]): void {
  const rows = comparisons.map(({ stratum, over, mean: gain, low, high, p }) => [
    `over ${over}`,
    stratum,
    signed(gain),
    `[${signed(low)}, ${signed(high)}]`,
    p.toFixed(4),
  ]);
  console.log(`\n${table(["neural", "stratum", "nDCG@10", "95% interval", "p"], rows)}`);
}

function printTimes(folds: FoldReport[]): void {
  const of = (pick: (fold: FoldReport) => number) => median(folds.map(pick));
  console.log(
    `\nmedians of ${folds.length} folds: learn ${of((f) => f.learnSeconds).toFixed(2)} s, train ${of((f) => f.trainSeconds).toFixed(2)} s; a query for ${DEPTH}: vector ${of((f) => f.vectorMs).toFixed(2)} ms, neural ${of((f) => f.neuralMs).toFixed(2)} ms`,
  );
  console.log(
    `serving after each fold: ${folds.map(({ learning }) => JSON.stringify("serving" in learning ? learning.serving : undefined)).join(" ")}`,
  );
}
