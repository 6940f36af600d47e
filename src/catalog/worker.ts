/**
 * The thread for what may take SQLite long: checkpoints, building indexes, the full check. Each task opens its own
 * connection, so that the catalog's is never held.
 */
import { parentPort, workerData } from "node:worker_threads";
import type Database from "better-sqlite3";
import { bareMessage, HebbError } from "../../base/errors.js";
import type { Reply, Request } from "./background.js";
import { checkCatalog } from "./check.js";
import { changeIndexes, connect } from "./schema.js";
import { asHebbError } from "./sqlite-errors.js";

const { path } = workerData as { path: string };

interface CheckpointRow {
  busy: number;
  log: number;
  checkpointed: number;
}

parentPort!.on("message", (request: Request) => {
  parentPort!.postMessage(run(request));
});

function run(request: Request): Reply {
  try {
    return { id: request.id, value: perform(request) };
  } catch (thrown) {
    const error = asHebbError(request.task, thrown);
    if (error instanceof HebbError) {
      return { id: request.id, failure: { code: error.code, message: bareMessage(error), details: error.details } };
    }
    return {
      id: request.id,
      failure: { message: error instanceof Error ? (error.stack ?? error.message) : String(error) },
    };
  }
}

function perform(request: Request): unknown {
  // No waiting for locks in a checkpoint: who holds one (a reader) may hold it for hours.
  const db = connect(path, request.task === "check" ? "read" : "write", request.task === "indexes" ? 5000 : 0);
  try {
    switch (request.task) {
      case "check":
        return checkCatalog(db);
      case "indexes":
        return changeIndexes(db, request.indexes);
      case "checkpoint":
        return backfill(db);
      case "truncate":
        return truncate(db);
    }
  } finally {
    db.close();
  }
}

/**
 * Writes every frame of SQLite's log into the database file and syncs it, beside a writer.
 * @returns false where a reader still needs an older state, or another checkpoint runs
 */
function backfill(db: Database.Database): boolean {
  const [{ busy, log, checkpointed }] = db.pragma("wal_checkpoint(PASSIVE)") as CheckpointRow[];
  if (log < 0)
    throw new HebbError("CATALOG_CORRUPT", "catalog.sqlite is not in WAL mode; restore the store from a copy");
  return busy === 0 && log === checkpointed;
}

/** Empties SQLite's log; nobody may write meanwhile. @returns false where a reader holds it */
function truncate(db: Database.Database): boolean {
  const [{ busy }] = db.pragma("wal_checkpoint(TRUNCATE)") as CheckpointRow[];
  if (busy !== 0) return false;
  // Whoever writes the first frame of an empty log syncs its header: this thread, not the main one.
  db.prepare("UPDATE meta SET crc = crc").run();
  return true;
}
