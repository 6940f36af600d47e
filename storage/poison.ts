/**
 * After a failed sync nobody knows what is on disk: the system may have marked the pages clean and
 * dropped them (Rebello et al., ATC'20). So the first failure is remembered, and every later write
 * of the same store is refused.
 */
import { HebbError } from "../base/errors.js";
import type { StoredFile } from "./files.js";

export class Poison {
  /** The failure that poisoned the store, if any did. */
  cause: unknown;

  /** @throws {HebbError} STORE_POISONED */
  check(): void {
    if (this.cause === undefined) return;
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause);
    throw new HebbError(
      "STORE_POISONED",
      `an earlier write to disk failed (${why}), so this handle only reads now. Close it, see to the disk, open again`,
      {},
      this.cause,
    );
  }

  /** Runs a sync, or another step that must not fail half-way; a failure poisons, and is thrown. */
  async guard(step: () => Promise<void>): Promise<void> {
    this.check();
    try {
      await step();
    } catch (error) {
      this.cause ??= error;
      throw error;
    }
  }

  sync(file: StoredFile): Promise<void> {
    return this.guard(() => file.sync());
  }
}
