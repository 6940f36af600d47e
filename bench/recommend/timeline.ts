/** Who rated what, when: the events that `bench recommend` replays, and interactions without a time. */
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Prng } from "../../base/prng.js";
import { dataFolder } from "../data.js";

export interface Event {
  user: number;
  /** Index into `items`. */
  item: number;
  liked: boolean;
  /** Milliseconds since 1970; 0 where the data know none. */
  time: number;
}

/** Events of one global clock, oldest first; nobody has an item twice. */
export interface Timeline {
  name: string;
  /** Ids of the items, rising. */
  items: number[];
  events: Event[];
}

/** A split that came with the data, without times: everything is liked. */
export interface Split {
  name: string;
  items: number[];
  train: Event[];
  test: Event[];
}

/** A rating from here on is a like. */
const LIKED_FROM = 4;

interface Rating {
  user: number;
  id: number;
  rating: number;
  seconds: number;
}

/** Whether the data are a split without times. */
export const isSplit = (data: string): boolean => data === "synthetic-split" || basename(data).includes("lightgcn");

export function loadTimeline(data: string): Timeline {
  if (data === "synthetic") return syntheticTimeline();
  const folder = dataFolder(data);
  const file = basename(folder).includes("ml100k") ? "ml-100k.inter" : "user_item.dat";
  const ratings = readRatings(join(folder, file)).sort(
    (a, b) => a.seconds - b.seconds || a.user - b.user || a.id - b.id,
  );
  return timelineOf(basename(folder), ratings);
}

export function loadSplit(data: string): Split {
  if (data === "synthetic-split") return syntheticSplit();
  const folder = dataFolder(data);
  const [train, test] = ["data1.txt", "test1.txt"].map((file) => readRatings(join(folder, file)));
  const items = [...new Set(train.map(({ id }) => id))].sort((a, b) => a - b);
  const at = new Map(items.map((id, i) => [id, i]));
  const liked = (ratings: Rating[]): Event[] =>
    ratings.flatMap(({ user, id }) => {
      const item = at.get(id);
      return item === undefined ? [] : [{ user, item, liked: true, time: 0 }];
    });
  return { name: basename(folder), items, train: liked(train), test: liked(test) };
}

/** Tab-separated user, item, rating and seconds where there are; a line that does not begin with numbers is a header. */
function readRatings(path: string): Rating[] {
  return readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split("\t").map(Number))
    .filter(([user, id, rating]) => Number.isFinite(user) && Number.isFinite(id) && Number.isFinite(rating))
    .map(([user, id, rating, seconds]) => ({ user, id, rating, seconds: seconds ?? 0 }));
}

function timelineOf(name: string, ratings: readonly Rating[]): Timeline {
  const items = [...new Set(ratings.map(({ id }) => id))].sort((a, b) => a - b);
  const at = new Map(items.map((id, i) => [id, i]));
  const had = new Set<string>();
  const events: Event[] = [];
  for (const { user, id, rating, seconds } of ratings) {
    const key = `${user} ${id}`;
    if (had.has(key)) continue;
    had.add(key);
    events.push({ user, item: at.get(id)!, liked: rating >= LIKED_FROM, time: seconds * 1000 });
  }
  return { name, items, events };
}

/**
 * Items in groups; a user goes from item to item mostly within a group and to the one after it, likes
 * what is of their groups, and is there for a while. What follows what is not known before it happened.
 */
function syntheticTimeline({ users = 60, items = 150, groups = 15, each = 24, seed = 5 } = {}): Timeline {
  const random = new Prng(seed);
  const perGroup = items / groups;
  const ratings: Rating[] = [];
  for (let user = 0; user < users; user++) {
    const home = random.below(groups);
    let group = home;
    for (let i = 0; i < each; i++) {
      if (random.next() < 0.25) group = random.next() < 0.5 ? home : (group + 1) % groups;
      const stray = random.next() < 0.2;
      const id = stray ? random.below(items) : group * perGroup + Math.floor(random.next() ** 2 * perGroup);
      ratings.push({ user, id, rating: stray ? 2 : 5, seconds: Math.floor(user * 4 + i * 3 + random.below(40)) });
    }
  }
  return timelineOf(
    "synthetic",
    ratings.sort((a, b) => a.seconds - b.seconds || a.user - b.user || a.id - b.id),
  );
}

function syntheticSplit(): Split {
  const { items, events } = syntheticTimeline();
  const liked = events.filter((event) => event.liked).map((event) => ({ ...event, time: 0 }));
  const isTest = (_: Event, i: number) => i % 5 === 0;
  return {
    name: "synthetic",
    items,
    train: liked.filter((event, i) => !isTest(event, i)),
    test: liked.filter(isTest),
  };
}
