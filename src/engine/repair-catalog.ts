/** Making a catalog anew out of what a damaged one and the log still have. Its indexes and full text come of themselves. */
import { HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import type { SalvagedRecord } from "../../storage/repair-log.js";
import { Catalog } from "../catalog/catalog.js";
import type { SalvagedCatalog, SalvagedRow } from "../catalog/salvage.js";
import {
  decodeFeedback,
  decodePayload,
  decodePut,
  decodeRemove,
  decodeSetting,
  fromLog,
  NO_NODE,
  RECORD,
} from "./records.js";
import { parsePayload } from "./validate.js";

/** Rows between two commits. */
const COMMIT_ROWS = 2000;

/** What a catalog has, as of `lsn`, without its payloads. */
export interface CatalogContents {
  /** Ids by node. */
  rows: Map<number, Id>;
  /** All rows that the catalog says it has could be read. */
  isWhole: boolean;
  lsn: number;
  /** Feedback that is lost: by LSN where that is known, and how many in all. */
  lostFeedback: { lsns: number[]; count: number };
  lostSettings: string[];
  /** What is damaged, though nothing of it may be lost. */
  isDamaged: boolean;
}

/**
 * @param index the LSN that index.hebb holds: the catalog holds as much at least, where nothing says otherwise
 * @param nodes numbers that rows may have
 */
export function readCatalog(catalog: SalvagedCatalog, index: number, nodes: number, last: number): CatalogContents {
  const { meta } = catalog;
  const rows = new Map<number, Id>();
  let lostRows = 0;
  for (const { node, id } of catalog.rows(nodes, () => lostRows++)) rows.set(node, id);
  const lsns: number[] = [];
  let events = 0;
  for (const _ of catalog.feedback(last, (lsn) => lsns.push(lsn))) events++;
  const lostSettings: string[] = [];
  catalog.settings((name) => lostSettings.push(name));
  if (!catalog.knowsSettings) lostSettings.push("all of them, if there were any");
  const count = meta === undefined ? lsns.length : Math.max(0, meta.feedback - events);
  return {
    rows,
    isWhole: meta !== undefined && lostRows === 0 && rows.size === meta.entries,
    lsn: meta?.lsn ?? index,
    lostFeedback: { lsns: count === lsns.length ? lsns : [], count },
    lostSettings,
    isDamaged: !catalog.isSound || lostRows + count + lostSettings.length > 0 || rows.size !== meta?.entries,
  };
}

/** Lets the log's records after those that the rows hold, up to `until`, change them. @throws {HebbError} WAL_CORRUPT */
export function advanceRows(
  rows: Map<number, Id>,
  records: readonly SalvagedRecord[],
  from: number,
  until: number,
): void {
  for (const { lsn, type, payload } of records) {
    if (lsn <= from || lsn > until) continue;
    if (type === RECORD.put) {
      const { nodes, ids, replaces } = fromLog(lsn, () => decodePut(payload));
      nodes.forEach((node, i) => {
        rows.set(node, ids[i]);
      });
      for (const node of replaces) if (node !== NO_NODE) rows.delete(node);
    } else if (type === RECORD.remove) {
      for (const node of fromLog(lsn, () => decodeRemove(payload))) rows.delete(node);
    }
  }
}

/** What of the old catalog goes into the new one, and what comes in addition. */
export interface CatalogPlan {
  /** Nodes that have a row. */
  keeps(node: number): boolean;
  /** Rows whose payload is lost. */
  bare: readonly { node: number; id: Id }[];
  /** Records that the old catalog lacks and index.hebb has. */
  records: readonly SalvagedRecord[];
  /** The LSN that the new one is to hold. */
  lsn: number;
  nodes: number;
}

/** Writes the new catalog to `path`, durably. */
export async function writeCatalog(
  path: string,
  storeId: Uint8Array,
  old: SalvagedCatalog,
  { keeps, bare, records, lsn, nodes }: CatalogPlan,
): Promise<void> {
  const catalog = await Catalog.open(path, { storeId, create: true, indexes: old.indexes });
  try {
    const insert = async (rows: Iterable<SalvagedRow>) => {
      let batch: SalvagedRow[] = [];
      const flush = async () => {
        await catalog.insert(
          batch.map(({ node, id, text }) => ({ node, id, json: text ?? undefined })),
          0,
        );
        catalog.commit(0);
        batch = [];
      };
      for (const row of rows) {
        if (!keeps(row.node)) continue;
        batch.push(row);
        if (batch.length === COMMIT_ROWS) await flush();
      }
      await flush();
    };
    await insert(old.rows(nodes, () => {}));
    await insert(bare.map(({ node, id }) => ({ node, id, text: null })));
    for (const { lsn: at, ...event } of old.feedback(lsn, () => {})) await catalog.addFeedback(at, event);
    for (const [name, value] of old.settings(() => {})) await catalog.putSetting(name, value, 0);
    for (const record of records) await applyTo(catalog, record, keeps);
    catalog.commit(lsn);
    if ((await catalog.checkpoint()) !== lsn) {
      throw new HebbError("IO_ERROR", `${path} could not be written whole; see to the disk and try again`);
    }
  } finally {
    await catalog.close();
  }
}

/** What a record changes in the catalog, as changes.ts has it; of rows that stay. */
async function applyTo(
  catalog: Catalog,
  { lsn, type, payload }: SalvagedRecord,
  keeps: (node: number) => boolean,
): Promise<void> {
  switch (type) {
    case RECORD.put: {
      const { nodes, ids, payloads, replaces } = decodePut(payload);
      const rows = ids.map((id, i) => ({ node: nodes[i], id, json: payloads[i] }));
      await catalog.insert(
        rows.filter(({ node }) => keeps(node)),
        lsn,
      );
      return catalog.remove(
        replaces.filter((node) => node !== NO_NODE),
        lsn,
      );
    }
    case RECORD.remove:
      return catalog.remove(decodeRemove(payload), lsn);
    case RECORD.payload: {
      const { node, payload: text } = decodePayload(payload);
      return catalog.setPayload(node, parsePayload(text), lsn);
    }
    case RECORD.feedback:
      return catalog.addFeedback(lsn, decodeFeedback(payload));
    case RECORD.setting: {
      const { name, value } = decodeSetting(payload);
      return catalog.putSetting(name, value, lsn);
    }
    default:
      return undefined;
  }
}
