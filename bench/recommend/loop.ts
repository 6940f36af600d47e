/**
 * The closed loop: users see what the index recommends, click on some of it, and the index learns from that; round after
 * round. Popular items must not crowd out the others.
 *
 * Each user wants what they came to like after the warm-up. Each round each user is shown ten items that they did not
 * see in the warm-up and did not click on in the loop, clicks on a wanted one with probability .9 and on another with .02,
 * and what was clicked joins the likes that they ask with. A second loop with the same draws ranks statically.
 */
import { Prng } from "../../base/prng.js";
import { type History, historyOf } from "./history.js";
import type { RecommendOptions } from "./options.js";
import { cut, learnWarmUp, type Store, withItems } from "./store.js";
import type { Event, Timeline } from "./timeline.js";

const CLICKS = { wanted: 0.9, other: 0.02 } as const;
const SHOWN = 10;
/** Users need so many likes to come. */
const WANTS = 3;

export interface LoopArm {
  /** By round. */
  clicks: number[];
  gini: number[];
  /** Over all rounds: of exposures, over all items; and how many items were shown at all. */
  giniOverall: number;
  covered: number;
}

export interface LoopReport {
  users: number;
  rounds: number;
  items: number;
  static: LoopArm;
  neural: LoopArm;
  serving: string;
}

/** The Gini coefficient of counts: 0 where all are alike, towards 1 where one has everything. */
export function gini(counts: Float64Array): number {
  const sorted = counts.slice().sort();
  let total = 0;
  let ranked = 0;
  sorted.forEach((value, i) => {
    total += value;
    ranked += (i + 1) * value;
  });
  const n = sorted.length;
  return total > 0 ? (2 * ranked) / (n * total) - (n + 1) / n : 0;
}

export async function runLoop(timeline: Timeline, options: RecommendOptions): Promise<LoopReport | undefined> {
  const { warmUp, stream } = cut(timeline, options.warm, Number.POSITIVE_INFINITY);
  const history = historyOf(timeline.items.length, warmUp);
  const wants = wantsOf(history, stream, options.users);
  if (wants.size === 0) return undefined;
  return withItems(timeline.items, history, { ...options, seed: 1 }, async (store) => {
    await learnWarmUp(store, warmUp);
    const arms = { static: await runArm(store, history, wants, options.rounds, false) };
    const neural = await runArm(store, history, wants, options.rounds, true);
    const { rounds } = options;
    return { users: wants.size, rounds, items: timeline.items.length, ...arms, neural, serving: store.serving() };
  });
}

/** Users with likes now and later, those who come to like most first. */
function wantsOf(history: History, stream: readonly Event[], users: number): Map<number, Set<number>> {
  const wants = new Map<number, Set<number>>();
  for (const { user, item, liked } of stream) {
    if (liked && history.likedBy(user).length > 0) wants.set(user, (wants.get(user) ?? new Set()).add(item));
  }
  const most = [...wants].filter(([, { size }]) => size >= WANTS).sort((a, b) => b[1].size - a[1].size || a[0] - b[0]);
  return new Map(most.slice(0, users));
}

async function runArm(
  store: Store,
  history: History,
  wants: ReadonlyMap<number, ReadonlySet<number>>,
  rounds: number,
  learns: boolean,
): Promise<LoopArm> {
  const random = new Prng(11);
  const liked = new Map([...wants.keys()].map((user) => [user, [...history.likedBy(user)]]));
  const seen = new Map([...wants.keys()].map((user) => [user, new Set(history.seenBy(user))]));
  const overall = new Float64Array(history.items);
  const arm: LoopArm = { clicks: [], gini: [], giniOverall: 0, covered: 0 };
  for (let round = 0; round < rounds; round++) {
    const exposed = new Float64Array(history.items);
    let clicks = 0;
    for (const [user, wanted] of wants) {
      const query = store.example(liked.get(user)!);
      const shown = await store.best(query, learns ? "neural" : "vector", seen.get(user)!, SHOWN);
      const draws = Array.from({ length: SHOWN }, () => random.next()); // the same number in both loops
      const clicked = shown.filter((item, i) => draws[i] < (wanted.has(item) ? CLICKS.wanted : CLICKS.other));
      for (const item of shown) exposed[item]++;
      clicks += clicked.length;
      if (clicked.length === 0) continue;
      if (learns) {
        const [chosen, all] = [store.idsOf(clicked), store.idsOf(shown)];
        const time = 1.8e12 + round * 1e6;
        await store.index.learn([{ query, chosen, shown: all, source: `u${user}`, time }]);
      }
      for (const item of clicked) {
        liked.get(user)!.push(item);
        seen.get(user)!.add(item);
      }
    }
    exposed.forEach((count, item) => {
      overall[item] += count;
    });
    arm.clicks.push(clicks);
    arm.gini.push(gini(exposed));
  }
  arm.giniOverall = gini(overall);
  arm.covered = overall.filter((count) => count > 0).length;
  return arm;
}
