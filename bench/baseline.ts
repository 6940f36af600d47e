/**
 * What `bench smoke` finds, held to a committed baseline: bench/results/smoke-baseline.json. The benches assert floors of their
 * own; this sees a search that still is above its floor and finds less than it did.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Claim } from "./claims.js";
import { UsageError } from "./data.js";
import { RESULTS } from "./record.js";
import type { PartResults } from "./release/parts.js";
import { mean } from "./stats.js";

/** Recall@10 or nDCG@10 by what was asked. */
export type Found = { [what: string]: number };

export const BASELINE = join(RESULTS, "smoke-baseline.json");

/**
 * How far a figure may be below the baseline. Two runs on one machine find the same; threads that link in another order, another
 * compiler or another processor may move one or two of the 1,000 neighbours that a figure is made of. What learning reaches turns on
 * which sets a gate lets through, so that one sum in another order can move it at once.
 */
const MAY_FALL = { recall: 0.02, learned: 0.1 } as const;

const OF_A_KERNEL = /^frozen: .* (?:scalar|avx2|avx512|neon) /;

const mayFall = (what: string): number => (what.includes("neural") ? MAY_FALL.learned : MAY_FALL.recall);

/** Reads the records that a smoke run left in `out`. */
export function foundBy(out: string): Found {
  // Each is what the smoke run of that bench just wrote.
  const read = <Results>(name: string): Results =>
    (JSON.parse(readFileSync(join(out, `smoke-${name}.json`), "utf8")) as { results: Results }).results;
  const found: Found = {};
  ann(read<PartResults["ann"]>("ann"), found);
  const { strata } = read<PartResults["learn-cranfield"]>("learn");
  found["learn: vector"] = strata.static.all;
  found["learn: neural"] = strata.neural.all;
  found["learn: neural, never chosen"] = strata.neural.disjoint;
  const { split } = read<PartResults["recommend-lastfm"]>("recommend-synthetic-split");
  for (const [ranker, name] of [
    ["static", "vector"],
    ["neural", "neural"],
  ]) {
    found[`recommend: ${name}`] = mean(split.runs.find((run) => run.ranker === ranker)!.ndcg);
  }
  found["gnn: beside learning"] = read<PartResults["gnn"]>("gnn").learn.recall;
  tiers(read<PartResults["tiers"]>("tiers"), found);
  frozen(read<PartResults["frozen"]>("frozen"), found);
  return found;
}

function ann({ engines, filters, churn }: PartResults["ann"], found: Found): void {
  for (const { engine, label, points } of engines) {
    if (engine === "hebb") for (const { ef, recall } of points) found[`ann: ${label}, ef ${ef}`] = recall;
  }
  for (const { selectivity, filtered } of filters ?? []) {
    for (const { ef, recall } of filtered) found[`ann: filter ${selectivity}, ef ${ef}`] = recall;
  }
  for (const { ef, recall } of churn?.churned ?? []) found[`ann: after churn, ef ${ef}`] = recall;
}

function tiers({ recall: sets, store }: PartResults["tiers"], found: Found): void {
  for (const { data, tiers: all } of sets) {
    for (const { tier, recall, reranked } of all) {
      found[`tiers: ${data} ${tier}, codes alone`] = recall;
      found[`tiers: ${data} ${tier}, compared again`] = reranked;
    }
  }
  for (const { data, profile, m, keepOriginals, all } of store) {
    found[`tiers: ${data} store ${profile} M ${m}, ${keepOriginals ? "with" : "without"} originals`] = all.recall;
  }
}

function frozen({ speed, mnist, memory }: PartResults["frozen"], found: Found): void {
  for (const contest of [speed, mnist]) {
    for (const { kernel, calls } of contest?.kernels ?? []) {
      for (const { name, recalls } of calls) {
        found[`frozen: ${contest?.data} ${kernel} ${name}`] = Math.min(...recalls);
      }
    }
  }
  for (const { data, bits, recall, recallOfCodes } of memory ?? []) {
    found[`frozen: ${data} ${bits} bits, codes alone`] = recallOfCodes;
    found[`frozen: ${data} ${bits} bits, compared`] = recall;
  }
}

/** One assertion: nothing fell too far. A kernel that this machine lacks is no fall; anything else that is missing is one. */
export function heldToBaseline(found: Found, baseline: Found): Claim {
  const held = Object.keys(baseline).filter((what) => what in found || !OF_A_KERNEL.test(what));
  const fallBy = (what: string) => baseline[what] - (found[what] ?? Number.NEGATIVE_INFINITY);
  const fallen = held.filter((what) => fallBy(what) > mayFall(what));
  const worst = held.reduce((a, b) => (fallBy(b) > fallBy(a) ? b : a));
  const lists = fallen.map((what) => `${what}: ${found[what] ?? "not measured"} after ${baseline[what]}`);
  return {
    name: `no recall or nDCG below the baseline (by more than ${MAY_FALL.recall}, learned ${MAY_FALL.learned})`,
    kind: "assertion",
    holds: fallen.length === 0,
    figure: lists.join("; ") || `${held.length} figures, the largest fall ${fallBy(worst).toFixed(4)} (${worst})`,
  };
}

/** @throws {UsageError} where there is no baseline */
export function readBaseline(): Found {
  if (!existsSync(BASELINE)) throw new UsageError(`no ${BASELINE}; "npm run bench -- smoke --rebase" writes it`);
  return JSON.parse(readFileSync(BASELINE, "utf8")) as Found; // as `writeBaseline` wrote it
}

export const writeBaseline = (found: Found): void =>
  writeFileSync(BASELINE, `${JSON.stringify(found, undefined, 1)}\n`);
