/** SQLite's errors as Hebb's: callers above never see an error of SQLite itself, except as a cause. */
import Database from "better-sqlite3";
import { type ErrorCode, HebbError } from "../../base/errors.js";

/** Result codes that are about the machine and not about the file's content. */
const OPERATING: readonly string[] = [
  "SQLITE_IOERR",
  "SQLITE_CANTOPEN",
  "SQLITE_READONLY",
  "SQLITE_BUSY",
  "SQLITE_LOCKED",
  "SQLITE_PERM",
  "SQLITE_NOMEM",
  "SQLITE_PROTOCOL",
  "SQLITE_INTERRUPT",
  "SQLITE_NOLFS",
  "SQLITE_AUTH",
];

/**
 * Runs `work`; an error of SQLite's becomes a HebbError. FULL is DISK_FULL and OPERATING codes are IO_ERROR.
 * Everything else is CATALOG_CORRUPT: our statements are fixed text, so that a missing column, a failed
 * constraint or a malformed JSON text can only mean that the file is not what we wrote.
 */
export function guarded<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asHebbError(what, error);
  }
}

/** The HebbError for an error of SQLite's; anything else as it is. */
export function asHebbError(what: string, error: unknown): unknown {
  if (isNotLoaded(error)) {
    const reason = error.message.split("\n")[0].replace(/\. Tried:$/, "");
    return new HebbError(
      "KERNEL_UNAVAILABLE",
      `SQLite (better-sqlite3) did not load on ${process.platform}-${process.arch} (${reason}). Let npm run its install ` +
        'script ("npm approve-scripts better-sqlite3" where npm asks for it), then run "npm rebuild better-sqlite3"',
      {},
      error,
    );
  }
  if (!(error instanceof Database.SqliteError)) return error;
  const code = errorCode(error.code);
  const advice = {
    DISK_FULL: "Free some space and open the store again",
    IO_ERROR: "Look at the disk and the file's permissions, then open the store again",
    CATALOG_CORRUPT: 'Run "hebb check <dir>"',
  }[code];
  const message = `catalog.sqlite: ${what}: ${error.message} (${error.code}). ${advice}`;
  return new HebbError(code, message, { sqlite: error.code }, error);
}

/** Whether SQLite's binary is not there, or is one of another system. */
function isNotLoaded(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return (
    error.message.startsWith("Could not locate the bindings file") || Reflect.get(error, "code") === "ERR_DLOPEN_FAILED"
  );
}

/**
 * Whether a sync failed in SQLite: nobody knows what is on disk then, and another sync might succeed without having
 * written it.
 */
export function isFailedSync(error: unknown): boolean {
  if (!(error instanceof HebbError)) return false;
  const { sqlite, operation } = error.details;
  return operation === "sync" || sqlite === "SQLITE_IOERR_FSYNC" || sqlite === "SQLITE_IOERR_DIR_FSYNC";
}

function errorCode(sqlite: string): Extract<ErrorCode, "DISK_FULL" | "IO_ERROR" | "CATALOG_CORRUPT"> {
  if (sqlite === "SQLITE_FULL") return "DISK_FULL";
  if (sqlite === "SQLITE_IOERR_CORRUPTFS") return "CATALOG_CORRUPT";
  return OPERATING.some((code) => sqlite === code || sqlite.startsWith(`${code}_`)) ? "IO_ERROR" : "CATALOG_CORRUPT";
}
