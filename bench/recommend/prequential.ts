/** Test, then train, on one global timeline: rank, record, reveal. */
import type { Stats } from "../../src/index.js";
import { historyOf } from "./history.js";
import type { RecommendOptions } from "./options.js";
import { CONTROLS, type Control, candidatesOf, choose, credit, rankOf } from "./rankers.js";
import { cut, learnWarmUp, type Store, withItems } from "./store.js";
import type { Timeline } from "./timeline.js";

/** nDCG@10 of each test, in the order of the timeline. */
export type Credits = Float64Array;

export interface ControlRun {
  control: Control;
  settings: string;
  tried: { settings: string; ndcg: number }[];
  credits: Credits;
}

export interface IndexRun {
  seed: number;
  static: Credits;
  neural: Credits;
  /** Whether `neural` was `vector`, bit for bit, before the first lesson. */
  untouched: boolean;
  /** Of learning the warm-up. */
  warmUpSeconds: number;
  /** Of each `learn` of one event. */
  learnMs: Float64Array;
  /** From which test on which learners served. */
  serving: { test: number; serving: string }[];
  /** At the end. */
  learning: Stats["learning"];
}

/** Shares of the warm-up that settings are fitted on; the rest chooses among them. */
const FITTED = 0.8;

export function runControls(timeline: Timeline, options: RecommendOptions): ControlRun[] {
  const { warmUp, stream } = cut(timeline, options.warm, options.max);
  const n = timeline.items.length;
  const known = Math.floor(warmUp.length * FITTED);
  return CONTROLS.map((control) => {
    const started = performance.now();
    const candidates = candidatesOf(control, options.smoke);
    const { settings, tried, model, basketOf } = choose(candidates, n, warmUp.slice(0, known), warmUp.slice(known));
    const history = historyOf(n, warmUp);
    const credits: number[] = [];
    const out = new Float64Array(n);
    stream.forEach((event, i) => {
      if (i % options.refit === 0) model.refit(history);
      const liked = history.likedBy(event.user);
      if (event.liked && liked.length > 0) {
        model.scores(basketOf(liked), history, out);
        credits.push(credit(rankOf(event.item, out, history.seenBy(event.user))));
      }
      history.reveal(event);
    });
    console.log(`${control} (${settings}): ${((performance.now() - started) / 1e3).toFixed(1)} s`);
    return { control, settings, tried, credits: Float64Array.from(credits) };
  });
}

export async function runIndex(timeline: Timeline, options: RecommendOptions, seed: number): Promise<IndexRun> {
  const { warmUp, stream } = cut(timeline, options.warm, options.max);
  const history = historyOf(timeline.items.length, warmUp);
  return withItems(timeline.items, history, { ...options, seed }, async (store) => {
    const untouched = await sameWithoutLessons(store, history.liked);
    const started = performance.now();
    await learnWarmUp(store, warmUp);
    const warmUpSeconds = (performance.now() - started) / 1e3;
    const credits = { vector: [] as number[], neural: [] as number[] };
    const learnMs: number[] = [];
    const serving: IndexRun["serving"] = [];
    for (const event of stream) {
      const liked = history.likedBy(event.user);
      if (event.liked && liked.length > 0) {
        const now = store.serving();
        if (now !== serving.at(-1)?.serving) serving.push({ test: learnMs.length, serving: now });
        const query = store.example(liked);
        for (const mode of ["vector", "neural"] as const) {
          const best = await store.best(query, mode, history.seenBy(event.user), 10);
          credits[mode].push(credit(best.indexOf(event.item)));
        }
        const lesson = store.lesson(event, liked);
        const start = performance.now();
        await store.index.learn([lesson]);
        learnMs.push(performance.now() - start);
      }
      history.reveal(event);
    }
    return {
      seed,
      static: Float64Array.from(credits.vector),
      neural: Float64Array.from(credits.neural),
      untouched,
      warmUpSeconds,
      learnMs: Float64Array.from(learnMs),
      serving,
      learning: store.index.stats().learning,
    };
  });
}

/** Asks for a few users in both modes. */
export async function sameWithoutLessons(
  store: Store,
  liked: ReadonlyMap<number, readonly number[]>,
): Promise<boolean> {
  for (const items of [...liked.values()].filter(({ length }) => length > 0).slice(0, 20)) {
    const answers: string[] = [];
    for (const mode of ["vector", "neural"] as const) {
      const { hits } = await store.index.query({ ...store.example(items), mode, k: 20 });
      answers.push(JSON.stringify(hits.map(({ id, score, distance }) => [id, score, distance])));
    }
    if (answers[0] !== answers[1]) return false;
  }
  return true;
}
