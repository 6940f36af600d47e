/** Long work in pieces on the main thread, so that searches run in between. */
import { setImmediate as breath } from "node:timers/promises";

/** How long work on many rows may hold the main thread at a time. */
const SLICE_MS = 2;

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
    await breath();
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
