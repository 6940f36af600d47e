/** Long work in pieces on the main thread, so that searches run in between. */
import { setImmediate } from "node:timers/promises";

/** How long work on many rows may hold the main thread at a time. */
const SLICE_MS = 2;

/** Lets others have the main thread. */
export const breathe = (): Promise<void> => setImmediate();

export class Slices {
  private since = performance.now();

  /**
   * @param ms how long a piece may take
   * @param check called at each pause; throws to stop
   */
  constructor(
    private readonly ms = SLICE_MS,
    private readonly check: () => void = () => {},
  ) {}

  /** Lets others have the main thread where the piece has taken its time. */
  async pause(): Promise<void> {
    this.check();
    if (!this.isOver) return;
    await breathe();
    this.since = performance.now();
  }

  /** Does work that yields after small steps. */
  async run<T>(work: Generator<void, T>): Promise<T> {
    for (;;) {
      const step = work.next();
      if (step.done) return step.value;
      if (this.isOver) await this.pause();
    }
  }

  private get isOver(): boolean {
    return performance.now() - this.since >= this.ms;
  }
}

/** Does work that yields after small steps, and lets others have the main thread every 2 ms. */
export function workInSlices<T>(work: Generator<void, T>): Promise<T> {
  return new Slices().run(work);
}

/** Does `work` for each item, and lets others have the main thread every 2 ms. */
export async function inSlices<T>(items: Iterable<T>, work: (item: T, i: number) => void): Promise<void> {
  await workInSlices(each(items, work));
}

function* each<T>(items: Iterable<T>, work: (item: T, i: number) => void): Generator<void, void> {
  let i = 0;
  for (const item of items) {
    work(item, i++);
    yield;
  }
}

/** Items that are sorted at once; that takes a millisecond or two. */
const RUN = 4096;

/** Sorts by merging (stable), and lets others have the main thread every 2 ms. The argument is used up. */
export function sortInSlices<T>(items: T[], compare: (a: T, b: T) => number): Promise<T[]> {
  return workInSlices(sorting(items, compare));
}

function* sorting<T>(items: T[], compare: (a: T, b: T) => number): Generator<void, T[]> {
  let from = items;
  for (let at = 0; at < from.length; at += RUN) {
    const run = from.slice(at, at + RUN).sort(compare);
    for (const [i, item] of run.entries()) from[at + i] = item;
    yield;
  }
  let to = new Array<T>(from.length);
  for (let width = RUN; width < from.length; width *= 2) {
    for (let at = 0; at < from.length; at += 2 * width) {
      const middle = Math.min(at + width, from.length);
      const end = Math.min(at + 2 * width, from.length);
      let [left, right] = [at, middle];
      for (let i = at; i < end; i++) {
        const takesLeft = left < middle && (right === end || compare(from[left]!, from[right]!) <= 0);
        to[i] = from[takesLeft ? left++ : right++]!;
        if (i % RUN === 0) yield;
      }
      yield;
    }
    [from, to] = [to, from];
  }
  return from;
}
