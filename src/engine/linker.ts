/**
 * Rows are linked into the graph after they were acknowledged. Until then a search finds them by a scan.
 *
 * Whatever writes rows of the graph takes turns here: linking in the background, consolidation, and
 * checkpoints, which must not copy half a change. Turns come before the write queue: who has the queue
 * never waits for a turn.
 */
import type { Graph } from "../../native/graph.js";

/** Rows that are linked in one turn: more are linked better together, and others wait longer. */
const LINKED_TOGETHER = 65_536;

export class Linker {
  private turns: Promise<unknown> = Promise.resolve();
  private running: Promise<void> | undefined;
  private stopped = false;
  private awaiting = 0;
  private failure: { cause: unknown } | undefined;

  /**
   * @param on `progressed`: in a turn that linked rows; `linked`: in the one that emptied the backlog, where somebody
   *   waits for it; `failed`: hears once why linking stopped for good
   */
  constructor(
    private readonly graph: Graph,
    private readonly on: { progressed: () => void; linked: () => Promise<void>; failed: (cause: unknown) => void },
  ) {}

  /** Runs a task while nothing else writes rows. */
  turn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.turns.then(task);
    this.turns = done.catch(() => {}); // whoever asked gets the error
    return done;
  }

  /** Begins to link the backlog, unless that is under way. */
  start(): void {
    if (this.halted || this.running || this.graph.backlog === 0) return;
    this.running = this.run().finally(() => {
      this.running = undefined;
    });
  }

  /** Resolves when all that was acknowledged before is linked. */
  async settled(): Promise<void> {
    this.awaiting++;
    try {
      do {
        this.start();
        await this.running; // rows have left the backlog before the look at their neighbours is over
      } while (this.graph.backlog > 0 && !this.failure);
    } finally {
      this.awaiting--;
    }
    if (this.failure) throw this.failure.cause;
  }

  /**
   * No turn begins by itself any more, but for those who wait in `settled`. Resolves when the one under way is over.
   */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    await this.turns;
  }

  private get halted(): boolean {
    return (this.stopped && this.awaiting === 0) || this.failure !== undefined;
  }

  private async run(): Promise<void> {
    while (!this.halted && this.graph.backlog > 0) {
      try {
        await this.turn(async () => {
          await this.graph.link(LINKED_TOGETHER);
          this.on.progressed();
          if (this.graph.backlog === 0 && this.awaiting > 0) await this.on.linked();
        });
      } catch (cause) {
        this.failure = { cause };
        this.on.failed(cause);
      }
    }
  }
}
