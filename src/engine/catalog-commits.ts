/**
 * The catalog's commits in passing. Readers see what the catalog says is committed, also of changes that leave no row
 * there: so each change is committed soon after it was applied, at once where much waits. A commit comes after the log is
 * synced that far, for no follower may pass what is durable there.
 */
import { HebbError } from "../../base/errors.js";
import type { Store } from "../../storage/store.js";
import type { Catalog } from "../catalog/catalog.js";
import { isFailedSync } from "../catalog/sqlite-errors.js";

/** What a new reader sees is no older than this and what the commit itself takes. */
const COMMIT_AFTER_MS = 500;

/** What the session lends. */
interface CommitHost {
  /** Runs a task with no write under way. */
  alone(task: () => Promise<void>): Promise<void>;
  /** The last record that the followers hold. */
  appliedLsn(): number;
  /** Hears of what leaves the handle unable to write. */
  failed(cause: unknown): void;
}

export class CatalogCommits {
  private committing: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly store: Store,
    private readonly catalog: Catalog,
    private readonly host: CommitHost,
  ) {}

  /** Changes were applied, and wait to be committed. */
  applied(): void {
    if (this.catalog.needsCommit) this.soon();
    else this.later();
  }

  private later(): void {
    this.timer ??= setTimeout(() => this.soon(), COMMIT_AFTER_MS).unref();
  }

  /**
   * The catalog's transaction ends behind what waits already: who put rows need not wait for the disk a second time.
   */
  soon(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.stopped) return;
    this.committing ??= this.host
      .alone(async () => {
        this.committing = undefined;
        await this.now();
      })
      .catch((error: unknown) => {
        // On a full disk all of it still waits, in memory and in the log.
        if (error instanceof HebbError && error.code === "DISK_FULL" && !isFailedSync(error)) this.later();
        else this.host.failed(error);
      });
  }

  /** Commits what is applied. Runs while nothing else is written. */
  async now(): Promise<void> {
    if (this.catalog.committedLsn >= this.host.appliedLsn()) return; // a checkpoint came first
    await this.store.log.sync();
    await this.catalog.untilWritable();
    this.catalog.commit(this.host.appliedLsn());
  }

  /** None begins by itself any more. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}
