/** Data without times: every interaction of the training part is left out once and asked for by the others; then the test part. */
import { Prng } from "../../base/prng.js";
import { ndcg } from "../learn/ndcg.js";
import { type History, historyOf, REMEMBERED } from "./history.js";
import type { RecommendOptions } from "./options.js";
import { sameWithoutLessons } from "./prequential.js";
import { type Candidate, CONTROLS, type Control, candidatesOf, choose } from "./rankers.js";
import { type Store, withItems } from "./store.js";
import type { Event, Split } from "./timeline.js";

export const DEPTH = 20;

export interface SplitRun {
  ranker: Control | "static" | "neural";
  settings: string;
  /** By user of the test part. */
  recall: Float64Array;
  ndcg: Float64Array;
}

export interface SplitReport {
  runs: SplitRun[];
  untouched: boolean;
  events: number;
  learnSeconds: number;
  trainSeconds: number;
  /** Milliseconds an event within one call of `BATCH`. */
  learnMs: Float64Array;
  serving: string;
}

const BATCH = 100;
/** Share of the training part that chooses the controls' settings. */
const HELD = 0.1;

/** Whole users in a seeded order, each one's interactions in a seeded order, until there are `max`. */
export function shuffledTrain({ train }: Split, max: number, seed: number): Event[] {
  const random = new Prng(seed);
  const byUser = new Map<number, Event[]>();
  for (const event of train) byUser.set(event.user, [...(byUser.get(event.user) ?? []), event]);
  const events: Event[] = [];
  for (const user of random.shuffle([...byUser.keys()])) {
    if (events.length >= max) break;
    events.push(...random.shuffle(byUser.get(user)!));
  }
  return events;
}

export async function runSplit(split: Split, options: RecommendOptions): Promise<SplitReport> {
  const train = shuffledTrain(split, options.max, 1);
  const history = historyOf(split.items.length, train);
  const wanted = new Map<number, Map<number, number>>();
  for (const { user, item } of split.test) {
    if (history.likedBy(user).length === 0) continue;
    wanted.set(user, (wanted.get(user) ?? new Map<number, number>()).set(item, 1));
  }
  const runs: SplitRun[] = CONTROLS.map((control) => {
    const held = train.filter((_, i) => (i * HELD) % 1 < HELD);
    const rest = train.filter((_, i) => (i * HELD) % 1 >= HELD);
    const chosen = choose(candidatesOf(control, options.smoke), split.items.length, rest, held);
    chosen.model.refit(history);
    return { ranker: control, settings: chosen.settings, ...judgeAll(wanted, (user) => bestOf(chosen, history, user)) };
  });
  // Vectors know the first users only, as in a stream: of what they know already, feedback could teach nothing.
  const known = historyOf(split.items.length, train.slice(0, Math.ceil(options.warm * train.length)));
  return withItems(split.items, known, { ...options, seed: 1 }, async (store) => {
    const untouched = await sameWithoutLessons(store, history.liked);
    const learned = await learnLeftOut(store, history);
    for (const mode of ["vector", "neural"] as const) {
      const rankings = new Map<number, number[]>();
      for (const user of wanted.keys()) {
        const query = evenly(store, history.likedBy(user));
        rankings.set(user, await store.best(query, mode, history.seenBy(user), DEPTH));
      }
      const ranker = mode === "vector" ? "static" : "neural";
      runs.push({ ranker, settings: "", ...judgeAll(wanted, (user) => rankings.get(user)!) });
    }
    return { runs, untouched, ...learned, serving: store.serving() };
  });
}

/** There is no last item: all examples count alike, `REMEMBERED` of them at most. */
const evenly = (store: Store, items: readonly number[]) => {
  const positive = store.idsOf(items.slice(0, REMEMBERED));
  return { positive, weights: positive.map(() => 1) };
};

async function learnLeftOut(store: Store, { liked }: History) {
  const lessons = [...liked].flatMap(([user, items]) =>
    items.length < 2
      ? []
      : items.map((item, i) => ({
          query: evenly(store, [...items.slice(i + 1), ...items.slice(0, i)]),
          chosen: store.idsOf([item]),
          source: `u${user}`,
        })),
  );
  const learnMs: number[] = [];
  const started = performance.now();
  for (let at = 0; at < lessons.length; at += BATCH) {
    const batch = lessons.slice(at, at + BATCH);
    const start = performance.now();
    await store.index.learn(batch.map((lesson, i) => ({ ...lesson, time: 1.7e12 + (at + i) * 1000 })));
    learnMs.push((performance.now() - start) / batch.length);
  }
  const taught = performance.now();
  await store.index.train({});
  return {
    events: lessons.length,
    learnSeconds: (taught - started) / 1e3,
    trainSeconds: (performance.now() - taught) / 1e3,
    learnMs: Float64Array.from(learnMs),
  };
}

function bestOf({ model, basketOf }: Candidate, history: History, user: number): number[] {
  const out = new Float64Array(history.items);
  model.scores(basketOf(history.likedBy(user)), history, out);
  const seen = history.seenBy(user);
  return Array.from(out.keys())
    .filter((item) => !seen.has(item))
    .sort((a, b) => out[b] - out[a] || a - b)
    .slice(0, DEPTH);
}

function judgeAll(wanted: ReadonlyMap<number, Map<number, number>>, ranking: (user: number) => number[]) {
  const judged = [...wanted].map(([user, items]) => {
    const best = ranking(user);
    return { recall: best.filter((item) => items.has(item)).length / items.size, ndcg: ndcg(best, items, DEPTH) };
  });
  return {
    recall: Float64Array.from(judged, ({ recall }) => recall),
    ndcg: Float64Array.from(judged, (one) => one.ndcg),
  };
}
