/** Long work in pieces on the main thread, so that searches run in between. */
import { setImmediate as breath } from "node:timers/promises";

/** How long work on many rows may hold the main thread at a time. */
const SLICE_MS = 2;

/** Does work that yields after small pieces, and lets others have the main thread every 2 ms. */
export async function workInSlices<T>(work: Generator<void, T>): Promise<T> {
  let since = performance.now();
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() - since < SLICE_MS) continue;
    await breath();
    since = performance.now();
  }
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
