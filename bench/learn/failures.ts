/** The ways in which learning goes wrong, each with its bound: poisoning, forgetting, drift, collapse. */
import { Prng } from "../../base/prng.js";
import type { Feedback } from "../../src/index.js";
import { atLeast, atMost, type Claim } from "../claims.js";
import type { JudgedSet } from "../data.js";
import { mean } from "../stats.js";
import { fixed, table } from "../table.js";
import { cleanEvents, signed, taught } from "./clicks.js";
import { dot } from "./controls.js";
import { FOLDS, SEED } from "./cross-validate.js";
import { foldRandom, permutation, splitFolds } from "./folds.js";
import { effectiveRank } from "./rank.js";
import { judgeAll, queryVector, type Subject, servingIn, withDocuments } from "./store.js";

export interface FailuresOptions {
  /** Sessions of each query, by as many users: a share of 1% is to be more than one event. */
  sessions: number;
  /** Passes over the training queries before and after the flip of the drift. */
  passes: number;
  /** A single fold, and coarse steps. */
  smoke: boolean;
}

export interface FailuresReport {
  poisoning: { events: number; poisoned: number; clean: number; after: number; loss: number; serving: string[] };
  forgetting: { static: number; learnedA: number; learnedB: number; kept: number };
  drift: DriftReport;
  collapse: { raw: number; shifted: number; rows: number; share: number };
}

export interface DriftReport {
  /** Gain over static before the flip. */
  before: number;
  /** Events after the flip until .9 of it was back; undefined: never. */
  recovered: number | undefined;
  /** Lowest neural over static, less 1, once the first events after the flip were learned. */
  worst: number;
  /** Events after the flip from which on it is never more than 1% below static; undefined: it ends below. */
  harmless: number | undefined;
  curve: { event: number; flipped: boolean; static: number; neural: number; serving: string }[];
}

const POISON = 0.01;
const RECOVERED = 0.9;
const HARM = 0.01;

export async function measureFailures(
  subject: Subject,
  options: FailuresOptions,
  claims: Claim[],
): Promise<FailuresReport> {
  const { set } = subject;
  console.log(`\n${set.name}, failure modes`);
  const poisoning = await measurePoisoning(subject, options);
  const forgetting = await measureForgetting(subject, options);
  const drift = await measureDrift(subject, options);
  const collapse = await measureCollapse(subject);
  const report = { poisoning, forgetting, drift, collapse };
  print(report);
  const percent = (value: number) => `${(100 * value).toFixed(1)}%`;
  claims.push(
    atMost(`${set.name} poisoning: nDCG lost to 1% of adversarial clicks`, poisoning.loss, 0.01, percent),
    atLeast(`${set.name} forgetting: of its gain that the first topic keeps`, forgetting.kept, 0.98, percent),
    {
      name: `${set.name} drift: ${100 * RECOVERED}% of the gain comes back`,
      kind: "target",
      holds: drift.recovered !== undefined,
      figure: drift.recovered === undefined ? "not within the stream" : `after ${drift.recovered} events`,
    },
    atLeast(`${set.name} drift: lowest neural over static once events are learned`, 1 + drift.worst, 0.99, percent),
    atLeast(`${set.name} collapse: effective rank of shifted vectors, of the raw ones'`, collapse.share, 0.9, percent),
  );
  return report;
}

const foldsOf = (queries: readonly number[], smoke: boolean) =>
  splitFolds(
    permutation(queries.length, foldRandom(SEED)).map((i) => queries[i]),
    FOLDS,
  ).slice(0, smoke ? 1 : FOLDS);

/**
 * One source sends 1% more events: training queries, each answered by the same few documents, which are relevant
 * to none of them. Compared with the same queries at the same places, answered as they should be: one event more can let
 * another set of learners pass its gate, and what that changes is no poison's doing.
 */
async function measurePoisoning(subject: Subject, { sessions, smoke }: FailuresOptions) {
  const { set } = subject;
  const clean: number[] = [];
  const after: number[] = [];
  const serving: string[] = [];
  let [events, poisoned] = [0, 0];
  for (const { train, test } of foldsOf([...set.queries.keys()], smoke)) {
    const honest = cleanEvents(set, train, sessions);
    const random = new Prng(9);
    const asked = Array.from({ length: Math.ceil(POISON * honest.length) }, () => train[random.below(train.length)]);
    const right = cleanEvents(set, asked, 1).map((event) => ({ ...event, source: "adversary" }));
    const chosen = pushedIn(set).map((document) => set.documents[document]);
    const wrong = right.map((event) => ({ ...event, chosen }));
    const without = await taught(subject, scattered(honest, right), test);
    const poison = await taught(subject, scattered(honest, wrong), test);
    clean.push(...without.values);
    after.push(...poison.values);
    serving.push(`${without.serving} -> ${poison.serving}`);
    events += honest.length;
    poisoned += wrong.length;
  }
  return { events, poisoned, clean: mean(clean), after: mean(after), loss: 1 - mean(after) / mean(clean), serving };
}

/** The honest events in their order, the others at random places among them. */
function scattered(honest: readonly Feedback[], others: readonly Feedback[]): Feedback[] {
  const random = new Prng(2);
  const all = [...honest];
  for (const event of others) all.splice(random.below(all.length + 1), 0, event);
  return all;
}

const TARGETS_OF_POISON = 3;

/** Documents that no query wants, or any where there are too few. */
function pushedIn(set: JudgedSet): number[] {
  const wanted = new Set(set.relevant.flatMap((relevant) => [...relevant.keys()]));
  const all = [...set.documents.keys()];
  const useless = all.filter((document) => !wanted.has(document));
  return new Prng(9).shuffle(useless.length >= TARGETS_OF_POISON ? useless : all).slice(0, TARGETS_OF_POISON);
}

/** Queries in two clusters by direction; the first is learned and trained on, then the second, and the first is asked again. */
async function measureForgetting(subject: Subject, { smoke }: FailuresOptions) {
  const { set } = subject;
  const [a, b] = topics(set);
  const still: number[] = [];
  const learnedA: number[] = [];
  const learnedB: number[] = [];
  for (const { train, test } of foldsOf(a, smoke)) {
    await withDocuments(subject, async (index) => {
      still.push(...(await judgeAll(index, set, test, "vector")));
      await index.learn(cleanEvents(set, train, 1));
      await index.train({});
      learnedA.push(...(await judgeAll(index, set, test, "neural")));
      await index.learn(cleanEvents(set, b, 1));
      await index.train({});
      learnedB.push(...(await judgeAll(index, set, test, "neural")));
    });
  }
  const gain = mean(learnedA) - mean(still);
  // Without a gain there is nothing to forget.
  const kept = gain > 0 ? (mean(learnedB) - mean(still)) / gain : 1;
  return { static: mean(still), learnedA: mean(learnedA), learnedB: mean(learnedB), kept };
}

/** Two clusters of queries (spherical k-means from the pair that is farthest apart), the larger first. */
export function topics(set: JudgedSet): [number[], number[]] {
  const all = [...set.queries.keys()];
  const vector = (query: number) => queryVector(set, query);
  const farthest = (from: Float32Array) =>
    all.reduce((best, query) => (dot(vector(query), from) < dot(vector(best), from) ? query : best), 0);
  const first = farthest(vector(0));
  let centres = [vector(first).slice(), vector(farthest(vector(first))).slice()];
  let parts: [number[], number[]] = [all, []];
  for (let round = 0; round < 20; round++) {
    parts = [[], []];
    for (const query of all)
      parts[dot(vector(query), centres[0]) >= dot(vector(query), centres[1]) ? 0 : 1].push(query);
    centres = parts.map((part) => {
      const sum = new Float32Array(set.d);
      for (const query of part) {
        for (let x = 0; x < set.d; x++) sum[x] += vector(query)[x];
      }
      const length = Math.sqrt(dot(sum, sum)) || 1;
      return sum.map((value) => value / length);
    });
  }
  return parts[0].length >= parts[1].length ? parts : [parts[1], parts[0]];
}

/**
 * Relevance flips: first only the documents of one random half count as relevant, then only those of the other. To static
 * search both are alike; what was learned of the first half stands in the way of the second. Judged on test queries with
 * relevant documents in both. Online only: one event after the other, no `train`.
 */
async function measureDrift(subject: Subject, { passes, smoke }: FailuresOptions): Promise<DriftReport> {
  const { set } = subject;
  const halves = halved(set);
  const both = [...set.queries.keys()].filter((query) => halves.every((half) => half.relevant[query].size > 0));
  const [{ train, test }] = foldsOf(both, smoke);
  const random = new Prng(4);
  const step = Math.max(10, Math.ceil(train.length / (smoke ? 2 : 6)));
  return withDocuments(subject, async (index) => {
    const curve: DriftReport["curve"] = [];
    for (const [which, half] of halves.entries()) {
      const flipped = which === 1;
      const still = mean(await judgeAll(index, half, test, "vector"));
      const look = async (event: number) => {
        const neural = mean(await judgeAll(index, half, test, "neural"));
        curve.push({ event, flipped, static: still, neural, serving: servingIn(index) });
      };
      let event = 0;
      await look(event);
      for (let pass = 0; pass < (flipped ? 2 : 1) * passes; pass++) {
        for (const query of random.shuffle([...train])) {
          const chosen = [...half.relevant[query].keys()].map((document) => set.documents[document]);
          await index.learn([{ query: queryVector(set, query), chosen, time: 1.7e12 + (which * 1e6 + event) * 1000 }]);
          if (++event % step === 0) await look(event);
        }
      }
    }
    const last = curve.filter(({ flipped }) => !flipped).at(-1)!;
    const later = curve.filter(({ flipped }) => flipped);
    const before = last.neural - last.static;
    const harmful = later.findLastIndex(({ static: still, neural }) => neural < (1 - HARM) * still);
    return {
      before,
      recovered: before > 0 ? later.find((one) => one.neural - one.static >= RECOVERED * before)?.event : undefined,
      worst: Math.min(...later.slice(1).map(({ static: still, neural }) => neural / still - 1)),
      harmless: later[harmful + 1]?.event,
      curve,
    };
  });
}

/** The set twice, each with the relevance of one half of the documents. */
export function halved(set: JudgedSet): [JudgedSet, JudgedSet] {
  const order = permutation(set.documents.length, foldRandom(SEED));
  const isFirst = new Set(order.slice(0, order.length >> 1));
  const only = (first: boolean): JudgedSet => ({
    ...set,
    relevant: set.relevant.map((gains) => new Map([...gains].filter(([document]) => isFirst.has(document) === first))),
  });
  return [only(true), only(false)];
}

/** All feedback there is, learned and trained on; documents with their learned shifts beside those without. */
async function measureCollapse(subject: Subject) {
  const { set } = subject;
  return withDocuments(subject, async (index) => {
    await index.learn(cleanEvents(set, [...set.queries.keys()], 1));
    await index.train({});
    const shifted = set.documentVectors.slice();
    let rows = 0;
    set.documents.forEach((id, document) => {
      const shift = index.gradients.get(id)?.shift;
      if (!shift) return;
      rows++;
      for (let x = 0; x < set.d; x++) shifted[document * set.d + x] += shift[x];
    });
    const [raw, after] = [effectiveRank(set.documentVectors, set.d), effectiveRank(shifted, set.d)];
    return { raw, shifted: after, rows, share: after / raw };
  });
}

function print({ poisoning, forgetting, drift, collapse }: FailuresReport): void {
  const { curve } = drift;
  const worst = `${(100 * drift.worst).toFixed(1)}%`;
  const rows = [
    [
      "poisoning",
      `${poisoning.poisoned} of ${poisoning.events} events`,
      `nDCG@10 ${fixed(poisoning.clean)} -> ${fixed(poisoning.after)}`,
    ],
    [
      "forgetting",
      "topic A, then B",
      `A: static ${fixed(forgetting.static)}, learned ${fixed(forgetting.learnedA)}, after B ${fixed(forgetting.learnedB)}`,
    ],
    [
      "drift",
      `${Math.max(...curve.map(({ event }) => event))} events after the flip`,
      `gain before ${signed(drift.before)}, lowest over static ${worst}, within 1% of it after ${drift.harmless ?? "-"} events, 90% back after ${drift.recovered ?? "-"} events`,
    ],
    [
      "collapse",
      `${collapse.rows} documents shifted`,
      `effective rank ${collapse.raw.toFixed(1)} -> ${collapse.shifted.toFixed(1)}`,
    ],
  ];
  console.log(table(["", "on", "figures"], rows));
  console.log(`serving without and with poison, by fold: ${poisoning.serving.join("; ")}`);
  for (const one of curve) {
    console.log(
      `drift ${one.flipped ? "after" : "before"} the flip, event ${one.event}: static ${fixed(one.static)}, neural ${fixed(one.neural)}, serving ${one.serving}`,
    );
  }
}
