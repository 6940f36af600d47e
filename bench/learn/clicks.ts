/**
 * Simulated clicks. Each training query is asked in several sessions; the static index shows ten documents. The one at
 * rank r is looked at with probability 1 / r^eta; of what is looked at, a relevant document is clicked with probability
 * 1 - noise and another with noise / 2 (so that at eta 1 about `noise` of all clicks are wrong where three of ten are
 * relevant; the table says what share it was). A session without a click teaches nothing. `learn` gets what was clicked
 * and what was shown, and no word of eta or noise. Judged on test queries, beside the same sessions with clean feedback:
 * all that is relevant (which clicks cannot name where it was not shown), and all relevant that was shown.
 */
import { Prng } from "../../base/prng.js";
import type { Feedback, Index } from "../../src/index.js";
import { atLeast, type Claim } from "../claims.js";
import type { JudgedSet } from "../data.js";
import { bootstrapInterval, mean } from "../stats.js";
import { fixed, table } from "../table.js";
import { FOLDS, SEED } from "./cross-validate.js";
import { foldRandom, permutation, splitFolds } from "./folds.js";
import { ask, judgeAll, queryVector, type Subject, servingIn, withDocuments } from "./store.js";

export interface ClickCase {
  eta: number;
  noise: number;
}

export interface ClicksResult extends ClickCase {
  clicks: number;
  wrongShare: number;
  gain: number;
  low: number;
  high: number;
  /** Of the gain from all relevant documents, and from the relevant ones among those shown; undefined where that is none. */
  ofAll: number | undefined;
  ofShown: number | undefined;
  /** After each fold and draw. */
  serving: string[];
}

export interface ClicksReport {
  sessions: number;
  seeds: number;
  static: number;
  /** Gains of clean feedback. */
  all: number;
  shown: number;
  cases: ClicksResult[];
}

const SHOWN = 10;
/** What the target is about. */
const CASE: ClickCase = { eta: 1, noise: 0.2 };
const SHARE = 0.9;

const CASES: ClickCase[] = [
  { eta: 0, noise: 0.2 },
  CASE,
  { eta: 2, noise: 0.2 },
  { eta: 1, noise: 0.1 },
  { eta: 1, noise: 0.3 },
];

/** Places (0 is the first) of `relevant.length` shown documents that are clicked. */
export function clicksOn(relevant: readonly boolean[], { eta, noise }: ClickCase, random: Prng): number[] {
  return relevant.flatMap((isRelevant, place) => {
    const looks = random.next() < 1 / (place + 1) ** eta;
    const clicks = random.next() < (isRelevant ? 1 - noise : noise / 2);
    return looks && clicks ? [place] : [];
  });
}

export async function measureClicks(
  subject: Subject,
  { sessions, seeds, smoke }: { sessions: number; seeds: number; smoke: boolean },
  claims: Claim[],
): Promise<ClicksReport> {
  const { set } = subject;
  const folds = splitFolds(permutation(set.queries.length, foldRandom(SEED)), FOLDS).slice(0, smoke ? 1 : FOLDS);
  const cases = smoke ? [CASE] : CASES;
  const still: number[] = [];
  const clean = { all: [] as number[], shown: [] as number[] };
  const gains = cases.map((): number[] => []);
  const serving = cases.map((): string[] => []);
  const counts = cases.map(() => ({ clicks: 0, wrong: 0 }));
  for (const { train, test } of folds) {
    const shown = await withDocuments(subject, async (index) => {
      still.push(...(await judgeAll(index, set, test, "vector")));
      return shownFor(index, set, train);
    });
    const base = still.slice(-test.length);
    const add = async (to: number[], events: Feedback[], serves: string[] = []) => {
      const { values, serving: now } = await taught(subject, events, test);
      serves.push(now);
      to.push(...values.map((value, i) => value - base[i]));
    };
    await add(clean.all, cleanEvents(set, train, sessions));
    await add(clean.shown, cleanEvents(set, train, sessions, shown));
    for (const [which, one] of cases.entries()) {
      for (let seed = 1; seed <= seeds; seed++) {
        const events = clickEvents(set, train, shown, one, sessions, seed, counts[which]);
        await add(gains[which], events, serving[which]);
      }
    }
  }
  const [all, onShown] = [mean(clean.all), mean(clean.shown)];
  const results = cases.map((one, which): ClicksResult => {
    const { mean: gain, low, high } = bootstrapInterval(gains[which]);
    const { clicks, wrong } = counts[which];
    return {
      ...one,
      clicks,
      wrongShare: wrong / Math.max(1, clicks),
      gain,
      low,
      high,
      ofAll: shareOf(gain, all),
      ofShown: shareOf(gain, onShown),
      serving: serving[which],
    };
  });
  const report = { sessions, seeds, static: mean(still), all, shown: onShown, cases: results };
  print(set.name, report);
  const target = results.find(({ eta, noise }) => eta === CASE.eta && noise === CASE.noise)!;
  claims.push(
    {
      name: `${set.name} clicks: neural not below static (.005)`,
      kind: "assertion",
      holds: results.every(({ gain }) => gain >= -0.005),
      figure: results.map(({ gain }) => fixed(gain)).join(", "),
    },
    atLeast(`${set.name} clicks, eta 1, noise 20%: of the gain from clean judgements`, target.ofAll, SHARE, percentOf),
    atLeast(
      `${set.name} clicks, eta 1, noise 20%: of that from clean judgements of what was shown`,
      target.ofShown,
      SHARE,
      percentOf,
    ),
  );
  return report;
}

async function shownFor(index: Index, set: JudgedSet, queries: readonly number[]): Promise<Map<number, number[]>> {
  const shown = new Map<number, number[]>();
  for (const query of queries) shown.set(query, await ask(index, set, queryVector(set, query), "vector", SHOWN));
  return shown;
}

/** nDCG@10 of the test queries after learning and training, and what serves then. */
export async function taught(
  subject: Subject,
  events: Feedback[],
  test: readonly number[],
): Promise<{ values: number[]; serving: string }> {
  return withDocuments(subject, async (index) => {
    for (let at = 0; at < events.length; at += 500) await index.learn(events.slice(at, at + 500));
    if (events.length > 0) await index.train({});
    return { values: await judgeAll(index, subject.set, test, "neural"), serving: servingIn(index) };
  });
}

/** Every session names all relevant documents, or those of them that were shown. */
export function cleanEvents(
  set: JudgedSet,
  train: readonly number[],
  sessions: number,
  shown?: ReadonlyMap<number, number[]>,
): Feedback[] {
  return everySession(train, sessions, (query, session, time) => {
    const relevant = [...set.relevant[query].keys()];
    const chosen = shown ? shown.get(query)!.filter((document) => set.relevant[query].has(document)) : relevant;
    if (chosen.length === 0) return undefined;
    return {
      query: queryVector(set, query),
      chosen: chosen.map((document) => set.documents[document]),
      ...(shown && { shown: shown.get(query)!.map((document) => set.documents[document]) }),
      source: `user ${session}`,
      time,
    };
  });
}

function clickEvents(
  set: JudgedSet,
  train: readonly number[],
  shown: ReadonlyMap<number, number[]>,
  one: ClickCase,
  sessions: number,
  seed: number,
  counts: { clicks: number; wrong: number },
): Feedback[] {
  const random = new Prng(seed);
  return everySession(train, sessions, (query, session, time) => {
    const documents = shown.get(query)!;
    const relevant = documents.map((document) => set.relevant[query].has(document));
    const places = clicksOn(relevant, one, random);
    counts.clicks += places.length;
    counts.wrong += places.filter((place) => !relevant[place]).length;
    if (places.length === 0) return undefined;
    return {
      query: queryVector(set, query),
      chosen: places.map((place) => set.documents[documents[place]]),
      shown: documents.map((document) => set.documents[document]),
      source: `user ${session}`,
      time,
    };
  });
}

/** One session of every query, then the next of every query. */
function everySession(
  queries: readonly number[],
  sessions: number,
  event: (query: number, session: number, time: number) => Feedback | undefined,
): Feedback[] {
  const events: Feedback[] = [];
  for (let session = 0; session < sessions; session++) {
    for (const query of queries) {
      const one = event(query, session, 1.7e12 + events.length * 1000);
      if (one) events.push(one);
    }
  }
  return events;
}

function print(name: string, { sessions, seeds, static: still, all, shown, cases }: ClicksReport): void {
  console.log(
    `\n${name}, clicks: ${sessions} sessions a query, ${seeds} draw(s); static ${fixed(still)}, clean judgements ${signed(all)}, of what was shown ${signed(shown)}`,
  );
  const rows = cases.map((one) => [
    `eta ${one.eta}, noise ${(100 * one.noise).toFixed(0)}%`,
    String(one.clicks),
    `${(100 * one.wrongShare).toFixed(0)}%`,
    signed(one.gain),
    `[${signed(one.low)}, ${signed(one.high)}]`,
    percentOf(one.ofAll),
    percentOf(one.ofShown),
  ]);
  console.log(table(["", "clicks", "wrong", "nDCG@10", "95% interval", "of clean", "of clean, shown"], rows));
  for (const { eta, noise, serving } of cases)
    console.log(`serving at eta ${eta}, noise ${noise}: ${serving.join("; ")}`);
}

const shareOf = (gain: number, clean: number) => (clean > 0 ? gain / clean : undefined);
const percentOf = (value: number | undefined) => (value === undefined ? "-" : `${(100 * value).toFixed(0)}%`);
export const signed = (value: number) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
