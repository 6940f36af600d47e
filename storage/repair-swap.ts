/**
 * The end of a repair: files that were built and checked in the folder `repair` take the places of the damaged ones.
 *
 * Everything before `markReady` leaves the store as it was, and its folder is thrown away. From then on the store is
 * the repaired one: whoever opens it for writing puts the rest of the files in their places first. Each step can be
 * repeated, and none needs another to have reached the disk: the mark goes once all of them have.
 */
import { join } from "node:path";
import { HebbError } from "../base/errors.js";
import type { Files } from "./files.js";
import { segmentLsn } from "./format.js";
import { CATALOG_NAME, INDEX_NAME, JOURNAL_NAME, LOG_NAME, REPAIR_NAME } from "./names.js";

/** The mark, in the folder of the repair. */
const READY_NAME = "ready";

/** Whether a repair is to be ended before the store is anything. */
export async function repairIsReady(files: Files, directory: string): Promise<boolean> {
  return (await files.kind(join(directory, REPAIR_NAME, READY_NAME))) === "file";
}

/** The moment from which on the store is the repaired one. All files in the folder are durable by now. */
export async function markReady(files: Files, directory: string): Promise<void> {
  const folder = join(directory, REPAIR_NAME);
  await files.syncDirectory(join(folder, LOG_NAME));
  await files.syncDirectory(folder);
  await files.syncDirectory(directory);
  const segments = (await files.list(join(folder, LOG_NAME))).filter((name) => segmentLsn(name) !== undefined);
  const file = await files.open(join(folder, `${READY_NAME}-new`), "create");
  try {
    await file.truncate(0);
    await file.pwrite(Buffer.from(JSON.stringify({ segments })), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(join(folder, `${READY_NAME}-new`), join(folder, READY_NAME));
  await files.syncDirectory(folder);
}

/** Puts a marked repair in place, under the store's lock; harmless to repeat after a failure or a crash. */
export async function finishRepair(files: Files, directory: string): Promise<void> {
  const folder = join(directory, REPAIR_NAME);
  const segments = await segmentsOf(files, join(folder, READY_NAME));
  const isThere = async (...path: string[]) => (await files.kind(join(...path))) === "file";

  const log = join(directory, LOG_NAME);
  await files.makeDirectory(log);
  for (const name of await files.list(log)) {
    if (segmentLsn(name) !== undefined && !segments.includes(name)) await files.unlink(join(log, name));
  }
  for (const name of segments) {
    if (await isThere(folder, LOG_NAME, name)) await files.rename(join(folder, LOG_NAME, name), join(log, name));
  }
  if (await isThere(folder, CATALOG_NAME)) {
    // SQLite would apply the old log to the new file.
    for (const name of [`${CATALOG_NAME}-wal`, `${CATALOG_NAME}-shm`]) {
      if (await isThere(directory, name)) await files.unlink(join(directory, name));
    }
    await files.syncDirectory(directory);
    await files.rename(join(folder, CATALOG_NAME), join(directory, CATALOG_NAME));
  }
  if (await isThere(folder, INDEX_NAME)) await files.rename(join(folder, INDEX_NAME), join(directory, INDEX_NAME));
  // A journal belongs to one file alone.
  if (await isThere(directory, JOURNAL_NAME)) await files.unlink(join(directory, JOURNAL_NAME));
  await files.syncDirectory(log);
  await files.syncDirectory(directory);
  await files.unlink(join(folder, READY_NAME));
  await files.syncDirectory(folder);
}

async function segmentsOf(files: Files, path: string): Promise<string[]> {
  const file = await files.open(path, "read");
  let segments: unknown;
  try {
    const text = Buffer.from(await file.pread(await file.size(), 0)).toString("utf8");
    segments = (JSON.parse(text) as { segments?: unknown }).segments;
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
  } finally {
    await file.close();
  }
  const isSegment = (name: unknown): name is string => typeof name === "string" && segmentLsn(name) !== undefined;
  if (Array.isArray(segments) && segments.length > 0 && segments.every(isSegment)) return segments;
  throw new HebbError("IO_ERROR", `${path} does not say which files a repair made; restore the store from a copy`, {
    path,
  });
}
