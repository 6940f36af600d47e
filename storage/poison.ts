/**
 * After a failed sync nobody knows what is on disk: the system may have marked the pages clean and
 * dropped them (Rebello et al., ATC'20). So the first failure is remembered, and every later write
 * of the same store is refused. So it is where mapped memory lost a page: zeros stand there, which no
 * checkpoint may take.
 */
import { HebbError, reasonOf } from "../base/errors.js";
import type { StoredFile } from "./files.js";

export class Poison {
  private failure: unknown;
  private loss: () => unknown = () => undefined;

  /** The failure that poisoned the store, if any did. */
  get cause(): unknown {
    return this.failure ?? this.loss();
  }

  /** @param loss tells of mapped memory that was lost; asked before every write */
  watch(loss: () => unknown): void {
    this.loss = loss;
  }

  /** @throws {HebbError} STORE_POISONED */
  check(): void {
    const { cause } = this;
    if (cause === undefined) return;
    const why = reasonOf(cause);
    throw new HebbError(
      "STORE_POISONED",
      `the disk failed earlier (${why}), so this handle only reads now. Close it, see to the disk, open again`,
      {},
      cause,
    );
  }

  /** Runs a sync, or another step that must not fail half-way; a failure poisons, and is thrown. */
  async guard(step: () => Promise<void>): Promise<void> {
    this.check();
    try {
      await step();
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  }

  sync(file: StoredFile): Promise<void> {
    return this.guard(() => file.sync());
  }
}
