/** The index that recommends: one row an item, the query by example. */
import { join } from "node:path";
import { type Id, type Index, open } from "../../src/index.js";
import { SMALL_NETWORK, servingIn } from "../learn/store.js";
import { withFolder } from "../tiers/stores.js";
import { fading, type History, itemVectors } from "./history.js";
import type { Event, Timeline } from "./timeline.js";

export class Store {
  private readonly at: Map<Id, number>;

  constructor(
    readonly index: Index,
    private readonly items: readonly number[],
  ) {
    this.at = new Map(items.map((id, i) => [id, i]));
  }

  /** "More like what I liked": the last 50, weighted .8 to the power of their age. */
  example(liked: readonly number[]) {
    const { items, weights } = fading(liked);
    return { positive: items.map((item) => this.items[item]), weights };
  }

  /** The best `k` items that were not seen. */
  async best(query: ReturnType<Store["example"]>, mode: "vector" | "neural", seen: ReadonlySet<number>, k: number) {
    const deep = Math.min(this.items.length, k + seen.size);
    const { hits } = await this.index.query({ ...query, mode, k: deep, ef: deep + 64 });
    return hits
      .map(({ id }) => this.at.get(id)!)
      .filter((item) => !seen.has(item))
      .slice(0, k);
  }

  /** What a like after `liked` teaches. */
  lesson(event: Event, liked: readonly number[]) {
    return {
      query: this.example(liked),
      chosen: [this.items[event.item]],
      source: `u${event.user}`,
      time: event.time,
    };
  }

  idsOf(items: readonly number[]): number[] {
    return items.map((item) => this.items[item]);
  }

  /** Which learners serve, as one word. */
  serving(): string {
    return servingIn(this.index);
  }
}

/** A store of the items, with vectors from what `history` knows; gone afterwards. */
export function withItems<T>(
  items: readonly number[],
  history: History,
  { dimensions, smoke, seed }: { dimensions: number; smoke: boolean; seed: number },
  use: (store: Store) => Promise<T>,
): Promise<T> {
  return withFolder(async (folder) => {
    const index = await open(join(folder, "items.hebb"), {
      dimensions,
      metric: "cosine",
      durability: "off",
      config: smoke ? SMALL_NETWORK : {},
    });
    try {
      await index.putMany({ ids: [...items], vectors: itemVectors(history, dimensions, seed) });
      await index.settle();
      return await use(new Store(index, items));
    } finally {
      await index.close();
    }
  });
}

/** Learns the warm-up's likes in their order, 500 a call, and trains on them. */
export async function learnWarmUp(store: Store, events: readonly Event[]): Promise<void> {
  const liked = new Map<number, number[]>();
  let batch: ReturnType<Store["lesson"]>[] = [];
  const flush = async () => {
    if (batch.length > 0) await store.index.learn(batch);
    batch = [];
  };
  for (const event of events) {
    if (!event.liked) continue;
    const before = liked.get(event.user) ?? [];
    if (before.length > 0) batch.push(store.lesson(event, before));
    liked.set(event.user, [...before, event.item]);
    if (batch.length === 500) await flush();
  }
  await flush();
  await store.index.train({});
}

/** Where the warm-up ends, and the events after it that are replayed. */
export function cut({ events }: Timeline, warm: number, max: number) {
  const at = Math.floor(events.length * warm);
  return { warmUp: events.slice(0, at), stream: events.slice(at, at + max) };
}
