/** The names of what lies in a store's directory; docs/format.md has the picture. */

export const INDEX_NAME = "index.hebb";
/** index.hebb until it is whole, at creation and at compaction. */
export const NEW_INDEX_NAME = "index.hebb-new";
export const JOURNAL_NAME = "index.hebb-journal";
/** The folder with the log's segments. */
export const LOG_NAME = "wal";
/** SQLite adds "-wal" and "-shm" to it. */
export const CATALOG_NAME = "catalog.sqlite";
export const PROGRESS_NAME = "train.progress";
export const LOCK_NAME = "LOCK";
/** The folder in which a repair builds a store of the same names. */
export const REPAIR_NAME = "repair";
