/**
 * Making a catalog durable. SQLite gathers commits in a log of its own; a checkpoint writes that log into the database
 * file and syncs it, on the worker, while changes go on. The log can be emptied afterwards only while no transaction is
 * open, so a gate is closed meanwhile, and changes wait before it. Where SQLite's log grew large, the gate is closed for
 * the whole checkpoint: else writers might always be ahead of it, and it would never be emptied.
 *
 * Where readers of other processes still need the log, it is synced as it is. After a sync that failed, nobody knows what
 * of the log is on disk, though the system shows it and takes it for clean: it is written again before the next one.
 */
import { statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { dirname } from "node:path";
import { ioError } from "../../storage/files.js";
import type { Background } from "./background.js";
import { isFailedSync } from "./sqlite-errors.js";

/** Where SQLite's own log is larger than this, writers wait for the whole checkpoint, so that it can be emptied. */
const LARGE_LOG_BYTES = 64 << 20;

export class Checkpoints {
  readonly #log: string;
  readonly #background: Background;
  readonly #isQuiet: () => boolean;
  readonly #rewriteLog: (() => Promise<void>) | undefined;
  #lsn = 0;
  #running: Promise<number> | undefined;
  /** Set while the worker empties SQLite's log: writers wait for it. */
  #gate: Promise<void> | undefined;
  /** SQLite's log has to be written again before it is synced again. */
  #isDoubtful = false;

  /**
   * @param log path of SQLite's log
   * @param isQuiet whether no transaction is open
   * @param rewriteLog as in `CatalogOptions`
   */
  constructor(
    log: string,
    background: Background,
    isQuiet: () => boolean,
    rewriteLog: (() => Promise<void>) | undefined,
  ) {
    this.#log = log;
    this.#background = background;
    this.#isQuiet = isQuiet;
    this.#rewriteLog = rewriteLog;
  }

  /** The log sequence number up to which the last one made the catalog durable; 0 before the first. */
  get lsn(): number {
    return this.#lsn;
  }

  /** Whether SQLite's log is being emptied: no transaction may begin. */
  get isEmptying(): boolean {
    return this.#gate !== undefined;
  }

  async untilEmptied(): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
  }

  /**
   * Makes what is committed durable; a call while one runs is answered by that one.
   * @param committed the log sequence number of the last commit
   * @returns that of the last commit before this began
   */
  run(committed: () => number): Promise<number> {
    this.#running ??= this.#run(committed).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(committed: () => number): Promise<number> {
    if (this.#isDoubtful) await this.settle(); // else the gate is closed before anybody can write
    try {
      return await this.#backfill(committed());
    } catch (error) {
      if (isFailedSync(error)) this.#isDoubtful = true;
      throw error;
    }
  }

  /** Writes SQLite's log again, where it is in doubt. */
  async settle(): Promise<void> {
    if (!this.#isDoubtful) return;
    await this.#rewriteLog?.();
    this.#isDoubtful = false;
  }

  async #backfill(lsn: number): Promise<number> {
    let open = this.#isQuiet() && fileBytes(this.#log) > LARGE_LOG_BYTES ? this.#closeGate() : undefined;
    try {
      const isComplete = await this.#background.run({ task: "checkpoint" });
      // Readers of other processes keep parts of SQLite's log in use; then it is made durable as it is.
      if (!isComplete) await syncFile(this.#log);
      this.#lsn = lsn;
      if (isComplete && this.#isQuiet()) {
        open ??= this.#closeGate();
        await this.#background.run({ task: "truncate" });
      }
      return lsn;
    } finally {
      open?.();
    }
  }

  #closeGate(): () => void {
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = () => {
        this.#gate = undefined;
        resolve();
      };
    });
    return () => open();
  }
}

/** Makes what a file holds, and its name, survive a power failure. */
export async function syncFile(path: string): Promise<void> {
  try {
    const file = await openFile(path, "r");
    try {
      await file.datasync();
    } finally {
      await file.close();
    }
    const directory = await openFile(dirname(path), "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (cause) {
    throw ioError(cause, "sync", path);
  }
}

export function fileBytes(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
