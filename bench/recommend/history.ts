/** All that rankers may know at a moment of the timeline: what was revealed so far. */
import { Prng } from "../../base/prng.js";
import type { Event } from "./timeline.js";

/** Items asked or scored with, and how much each counts. */
export interface Basket {
  items: number[];
  weights: number[];
}

/** A query looks back at so many liked items, and items liked together are no farther apart. */
export const REMEMBERED = 50;
const FADE = 0.8;

export class History {
  /** Items that a user liked, oldest first. */
  readonly liked = new Map<number, number[]>();
  /** Items that a user met, liked or not: nobody is shown them again. */
  readonly seen = new Map<number, Set<number>>();
  /** Likes of each item. */
  readonly likes: Float64Array;
  /** items x items: how often one user liked both, within `REMEMBERED` likes. */
  readonly near: Float32Array;
  /** The same without that limit; the diagonal is `likes`. */
  readonly both: Float32Array;

  constructor(readonly items: number) {
    this.likes = new Float64Array(items);
    this.near = new Float32Array(items * items);
    this.both = new Float32Array(items * items);
  }

  likedBy(user: number): readonly number[] {
    return this.liked.get(user) ?? [];
  }

  seenBy(user: number): ReadonlySet<number> {
    return this.seen.get(user) ?? new Set();
  }

  reveal({ user, item, liked }: Event): void {
    const seen = this.seen.get(user) ?? new Set();
    this.seen.set(user, seen.add(item));
    if (!liked) return;
    const { items: n, near, both } = this;
    const before = this.liked.get(user) ?? [];
    before.forEach((other, i) => {
      both[other * n + item]++;
      both[item * n + other]++;
      if (i < before.length - REMEMBERED) return;
      near[other * n + item]++;
      near[item * n + other]++;
    });
    both[item * n + item]++;
    this.likes[item]++;
    before.push(item);
    this.liked.set(user, before);
  }
}

export function historyOf(items: number, events: readonly Event[]): History {
  const history = new History(items);
  for (const event of events) history.reveal(event);
  return history;
}

export const everything = (liked: readonly number[]): Basket => ({ items: [...liked], weights: liked.map(() => 1) });

/** The last items, each older one counting `fade` times the one after it. */
export function fading(liked: readonly number[], last = REMEMBERED, fade = FADE): Basket {
  const items = liked.slice(-last);
  return { items, weights: items.map((_, i) => fade ** (items.length - 1 - i)) };
}

/**
 * Frozen item vectors (n x d, unit length): seeded random projections of how often items were liked together, over the
 * root of both popularities, and a little of what is the item's alone.
 */
export function itemVectors({ items: n, near, likes }: History, d: number, seed: number): Float32Array {
  const random = new Prng(seed);
  const basis = Float32Array.from({ length: n * d }, () => random.gaussian());
  const vectors = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const row = vectors.subarray(i * d, (i + 1) * d);
    for (let x = 0; x < d; x++) row[x] = 0.3 * basis[i * d + x];
    for (let j = 0; j < n; j++) {
      const together = near[i * n + j];
      if (together === 0) continue;
      const weight = together / Math.sqrt((likes[i] + 1) * (likes[j] + 1));
      for (let x = 0; x < d; x++) row[x] += weight * basis[j * d + x];
    }
    const length = Math.hypot(...row) || 1;
    for (let x = 0; x < d; x++) row[x] /= length;
  }
  return vectors;
}
