/**
 * One writer: every change of the store goes through this queue, in the order of the calls.
 * Changes that wait together share one write to the log's disk (group commit); tasks that need
 * the store to stand still (checkpoint, consolidation, learning) run alone between them.
 */

type Task =
  | { alone: true; run: () => Promise<void> }
  | { alone: false; bytes: number; item: unknown; settle: (error?: unknown) => void };

/** Changes of one group, at most: of each kind of bound. */
const GROUP_COUNT = 4096;
const GROUP_BYTES = 32 << 20;

export class WriteQueue<Item> {
  private readonly tasks: Task[] = [];
  private running: Promise<void> | undefined;

  /**
   * @param commit makes a group of items durable and visible; it settles each by the callback it
   *   is given, and what it left unsettled is settled by how it ends
   */
  constructor(private readonly commit: (group: readonly Queued<Item>[]) => Promise<void>) {}

  /** True while anything waits or runs. */
  get busy(): boolean {
    return this.running !== undefined;
  }

  /** Queues a change; resolves once it is committed. */
  submit(item: Item, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.enqueue({ alone: false, bytes, item, settle: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  }

  /** Queues a task that runs with nothing else under way. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.enqueue({ alone: true, run: () => task().then(resolve, reject) });
    });
  }

  /** Resolves when all that was queued before has run. */
  async drain(): Promise<void> {
    while (this.running) await this.running;
  }

  private enqueue(task: Task): void {
    this.tasks.push(task);
    this.running ??= this.run();
  }

  private async run(): Promise<void> {
    await Promise.resolve(); // what the same turn submits joins the first group
    while (this.tasks.length > 0) {
      const first = this.tasks[0];
      if (first.alone) {
        this.tasks.shift();
        await first.run();
        continue;
      }
      const group: Queued<Item>[] = [];
      for (let bytes = 0; group.length < this.tasks.length && group.length < GROUP_COUNT; ) {
        const task = this.tasks[group.length];
        if (task.alone || (group.length > 0 && bytes + task.bytes > GROUP_BYTES)) break;
        bytes += task.bytes;
        group.push(new Queued(task.item as Item, task.settle));
      }
      this.tasks.splice(0, group.length);
      try {
        await this.commit(group);
        for (const queued of group) queued.done();
      } catch (error) {
        for (const queued of group) queued.fail(error);
      }
    }
    this.running = undefined; // in the same turn as the last look at `tasks`: nothing can be queued in between
  }
}

/** An item of a group, and its caller's promise. The first settlement counts. */
export class Queued<Item> {
  private settled = false;
  constructor(
    readonly item: Item,
    private readonly settle: (error?: unknown) => void,
  ) {}

  get failed(): boolean {
    return this.settled;
  }
  done(): void {
    if (this.settled) return;
    this.settled = true;
    this.settle();
  }
  fail(error: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.settle(error ?? new Error("a change failed without a reason"));
  }
}
