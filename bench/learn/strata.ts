/** Which outcomes count where, and how two rankers compare on them. */
import { bootstrapInterval, mean, randomisationTest } from "../stats.js";
import type { Judged } from "./ndcg.js";

export const STRATA = ["all", "disjoint", "distinct"] as const;
export type Stratum = (typeof STRATA)[number];

/** What one ranker reached on one test query. */
export interface Outcome extends Judged {
  query: number;
  /** Whether no training query is a near duplicate of it. */
  distinct: boolean;
}

/** By ranker; every ranker has each test query of every fold once. */
export type Outcomes = Map<string, Outcome[]>;

/** `neural` less another ranker, nDCG@10. */
export interface Comparison {
  stratum: Stratum;
  over: string;
  mean: number;
  low: number;
  high: number;
  p: number;
  queries: number;
}

/** The outcomes that count in a stratum, in the order they were recorded: equal for all rankers of a run. */
export function valuesIn(stratum: Stratum, outcomes: Outcome[]): number[] {
  switch (stratum) {
    case "all":
      return outcomes.map(({ all }) => all);
    case "disjoint":
      return outcomes.map(({ disjoint }) => disjoint).filter((value) => !Number.isNaN(value));
    case "distinct":
      return outcomes.filter(({ distinct }) => distinct).map(({ all }) => all);
  }
}

export const strataOf = (outcomes: Outcome[]) =>
  Object.fromEntries(STRATA.map((stratum) => [stratum, mean(valuesIn(stratum, outcomes))])) as Record<Stratum, number>;

/** The control that is best on the test queries themselves: chosen in its favour, so that beating it means something. */
export function bestControl(outcomes: Outcomes, controls: string[]): string {
  const reached = (name: string) => mean(valuesIn("all", outcomes.get(name)!));
  return controls.reduce((best, name) => (reached(name) > reached(best) ? name : best));
}

export function compareWithNeural(outcomes: Outcomes, rivals: string[]): Comparison[] {
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
