/** Bringing the followers up to the log, when a store is opened. */
import { HebbError } from "../../base/errors.js";
import type { Store } from "../../storage/store.js";
import { applyChanges, type Change, changeOf, type Parts } from "./changes.js";
import { decodePut, fromLog, RECORD } from "./records.js";

/** Rows of the log that are applied together while it is replayed. */
const REPLAY_ROWS = 4096;
/** Bytes of the log that are, whatever they hold. */
const REPLAY_BYTES = 16 << 20;

/**
 * Applies what the log has and the store has not, some thousand rows at a time. A handle that only reads stops where the
 * catalog does: its state is the one that it shows.
 * @returns records applied, and records left
 */
export async function replay(store: Store, parts: Parts): Promise<{ applied: number; left: number }> {
  const end = store.readOnly ? parts.catalog.committedLsn : Number.POSITIVE_INFINITY;
  let applied = 0;
  let left = 0;
  let changes: Change[] = [];
  let rows = 0;
  let bytes = 0;
  const flush = async () => {
    await applyChanges(changes);
    changes = [];
    rows = 0;
    bytes = 0;
  };
  for await (const group of store.replay([parts.catalog.committedLsn])) {
    if (group.lsn > end) {
      left += group.records.length;
      continue;
    }
    applied += group.records.length;
    for (const { lsn, type, payload } of group.records) {
      if (type === RECORD.put) {
        const { nodes } = fromLog(lsn, () => decodePut(payload));
        if (!parts.graph.claim(nodes)) {
          // Numbers are used again only after consolidation, which is not logged.
          await flush();
          await parts.graph.consolidate();
          if (!parts.graph.claim(nodes)) {
            throw new HebbError(
              "WAL_CORRUPT",
              `log record ${lsn} puts rows at nodes that are in use. Restore the store from a copy`,
              { lsn },
            );
          }
        }
        rows += nodes.length;
      }
      changes.push(changeOf(parts, lsn, type, payload));
      bytes += payload.length;
    }
    if (rows >= REPLAY_ROWS || bytes >= REPLAY_BYTES) await flush();
  }
  await flush();
  return { applied, left };
}
