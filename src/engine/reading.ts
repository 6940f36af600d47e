/**
 * Reading a store beside whoever writes to it. docs/format.md, "Readers", says why a state is never torn; in short: a
 * lock on the directory keeps checkpoints out of index.hebb as long as anybody reads, a transaction of SQLite fixes what
 * the catalog says, and both follow one log, so that the reader brings index.hebb, in memory of its own, up to the very
 * LSN that the catalog holds. Nobody waits for anybody. What can go wrong is that the writer removes a file between two
 * of these steps: then the reader lets go of everything and begins anew.
 */
import { DAMAGE_CODES, HebbError } from "../../base/errors.js";
import type { Files } from "../../storage/files.js";
import { hasWriter } from "../../storage/store.js";

/** A writer may cut the log while somebody begins to read; then that begins anew, so often at most. */
const ATTEMPTS = 20;
/** Where the writer has gone since, one more attempt would do. */
const ATTEMPTS_ALONE = 3;
/** What a file that a writer is changing may look like. */
const TORN = [...DAMAGE_CODES, "IO_ERROR"];

/** Runs what begins to read a store, again where a writer got in its way. */
export async function readingSteadily<T>(files: Files, directory: string, begin: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await begin();
    } catch (error) {
      if (!(error instanceof HebbError && (TORN.includes(error.code) || saysMissing(error)))) throw error;
      if (attempt >= ((await hasWriter(directory, files)) ? ATTEMPTS : ATTEMPTS_ALONE)) throw error;
    }
  }
}

/** What the log had beyond the catalog may have been committed since, by a writer that closed the store meanwhile. */
const saysMissing = ({ code, details }: HebbError): boolean =>
  code === "STORE_READ_ONLY" && details?.changes !== undefined;

/**
 * Who reads shows what the catalog holds. What the log has beyond it comes soon where a writer is there, and must not be
 * left out silently where it was killed.
 * @param changes that the catalog lacks
 * @throws {HebbError} STORE_READ_ONLY
 */
export async function checkNothingMissing(files: Files, directory: string, changes: number): Promise<void> {
  if (changes === 0 || (await hasWriter(directory, files))) return;
  throw new HebbError(
    "STORE_READ_ONLY",
    `the log of ${directory} holds ${changes} ${changes === 1 ? "change" : "changes"} that the catalog lacks, because the writer was ` +
      "killed; open it once without readOnly to recover",
    { changes },
  );
}
