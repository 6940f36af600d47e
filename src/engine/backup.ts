/**
 * Copying a store while it is in use. A copy is made by a reader (docs/format.md, "Readers"): of one state, whatever the
 * writer does meanwhile.
 */
import { join, resolve } from "node:path";
import { HebbError } from "../../base/errors.js";
import { type Files, makeDirectories } from "../../storage/files.js";
import { CATALOG_NAME } from "../../storage/names.js";
import { Store } from "../../storage/store.js";
import { Catalog } from "../catalog/catalog.js";
import type { BackupReport } from "../types.js";
import { checkNothingMissing, readingSteadily } from "./reading.js";
import { checkPath } from "./validate.js";

/**
 * Copies the state of a store that is committed, into a directory of its own.
 * @param target new or empty
 * @throws {TypeError} on a path that is none
 * @throws {HebbError} STORE_EXISTS where `target` holds something, STORE_LOCKED where it is another backup's; what opening to read throws; INDEX_CORRUPT or
 *   CATALOG_CORRUPT where what is to be copied is damaged, DISK_FULL, IO_ERROR. What is in `target` then is no store
 */
export async function backupStore(files: Files, directory: string, target: string): Promise<BackupReport> {
  checkPath("the directory of a backup", target);
  await checkFree(files, target);
  await makeDirectories(files, resolve(target));
  const alone = await files.lockDirectory(target, "exclusive");
  if (alone === undefined) {
    const message = `${target} is being backed up into already; wait for that, or choose another directory`;
    throw new HebbError("STORE_LOCKED", message, { path: target });
  }
  try {
    await checkFree(files, target); // another backup may have come and gone
    return await copyInto(files, directory, target);
  } finally {
    await alone.release();
  }
}

/** @throws {HebbError} STORE_EXISTS */
async function checkFree(files: Files, target: string): Promise<void> {
  const kind = await files.kind(target, true);
  if (kind === undefined || (kind === "directory" && (await files.list(target)).length === 0)) return;
  const what = kind === "directory" ? "is there already and not empty" : "is a file";
  throw new HebbError("STORE_EXISTS", `${target} ${what}; back up into a new or empty directory`, { path: target });
}

function copyInto(files: Files, directory: string, target: string): Promise<BackupReport> {
  return readingSteadily(files, directory, async () => {
    let catalog: Catalog | undefined;
    const begin = async () => {
      catalog = await Catalog.open(join(directory, CATALOG_NAME), { readOnly: true });
      return catalog.committedLsn;
    };
    let store: Store | undefined;
    try {
      store = await Store.open(directory, { files, readOnly: { begin }, sections: () => [] });
      catalog!.checkStore(store.meta.storeId);
      const lsn = catalog!.committedLsn;
      let missing = 0;
      for await (const group of store.replay([lsn])) if (group.lsn > lsn) missing += group.records.length;
      await checkNothingMissing(files, directory, missing);
      for (const name of await files.list(target)) {
        if ((await files.kind(join(target, name))) === "file") await files.unlink(join(target, name)); // of an attempt before
      }
      await catalog!.copyTo(join(target, CATALOG_NAME));
      await store.copyTo(target, lsn);
      return { lsn };
    } finally {
      await catalog?.close();
      await store?.close();
    }
  });
}
