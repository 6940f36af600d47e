/**
 * From what callers ask to log records. A group of operations is planned in order before any of
 * them is applied, so a look-up asks first what the group itself has changed.
 */
import { HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import type { Id } from "../../base/types.js";
import type { NewRecord } from "../../storage/log.js";
import { type Change, changeOf, learnedChange, type Parts, putChange, removeChange } from "./changes.js";
import {
  encodePayload,
  encodePut,
  encodeRemove,
  encodeSetting,
  learnedRecords,
  NO_NODE,
  type PutRecord,
  RECORD,
} from "./records.js";
import { idKey, show } from "./validate.js";

/** Vectors and payloads of one put record, before its last row; a larger batch is several records of one group. */
const PUT_RECORD_BYTES = 4 << 20;

/** An operation on its way: its records, and the changes they stand for once they have numbers. */
export interface Planned {
  records: NewRecord[];
  changes(firstLsn: number, lastLsn: number): Change[];
  /** Once the records are in the log: what later operations of the group have to know. */
  remember(names: GroupNames): void;
  /** When they could not be logged. */
  abandon(): void;
}

/** One operation as queued. `plan` may throw; then nothing happened. */
export interface Operation {
  plan(parts: Parts, names: GroupNames): Promise<Planned | undefined>;
}

/** Which node an id names, with the changes of this group that are not applied yet. */
export class GroupNames {
  private readonly planned = new Map<string, number | undefined>();
  constructor(private readonly parts: Parts) {}

  nodeOf(id: Id): number | undefined {
    const key = idKey(id);
    if (this.planned.has(key)) return this.planned.get(key);
    return this.parts.catalog.nodeOf(id, (node) => this.parts.graph.isLive(node));
  }
  set(id: Id, node: number | undefined): void {
    this.planned.set(idKey(id), node);
  }
  /** Nothing can be found: saves a look-up per row of a first batch. */
  get empty(): boolean {
    return this.planned.size === 0 && this.parts.catalog.size === 0;
  }
}

export interface NewRows {
  ids: Id[];
  payloads: (string | undefined)[];
  vectors: Float32Array;
  /** Settings that go with them, in the same group. */
  settings: { name: string; value: Uint8Array }[];
  /**
   * So many of the first rows are what they were and only get another vector: they keep their learned edges. Default 0.
   */
  same?: number;
}

/** Puts rows: new ones, or new vectors and payloads for ids that are there. */
export function putOperation(rows: NewRows, dimensions: number): Operation {
  const { ids, payloads, vectors, settings, same = 0 } = rows;
  return {
    async plan(parts, names) {
      const replaces = new Uint32Array(ids.length).fill(NO_NODE);
      if (!names.empty) {
        await inSlices(ids, (id, i) => {
          replaces[i] = names.nodeOf(id) ?? NO_NODE;
        });
      }
      const nodes = parts.graph.allocate(ids.length);
      if (!nodes) {
        throw new HebbError(
          "STORE_FULL",
          `${ids.length} more rows would pass max_nodes; raise ruvector.max_nodes, or delete some`,
        );
      }
      const taken = nodes;
      const record: PutRecord = { nodes: taken, replaces, ids, payloads, vectors };
      const kept = settings.map(({ name, value }) => ({ type: RECORD.setting, payload: encodeSetting(name, value) }));
      const puts = splitPut(record, dimensions).map((part) => ({ type: RECORD.put, payload: encodePut(part) }));
      const deltas = [
        await parts.learned.arrive(taken, vectors),
        parts.learned.rename(new Map(Array.from(replaces.subarray(0, same), (old, i) => [old, taken[i]]))),
      ].filter((delta) => delta !== undefined);
      const learned = deltas.flatMap((delta) => learnedRecords(delta, dimensions));
      return {
        records: [...kept, ...puts, ...learned],
        changes: (first, last) => [
          ...kept.map((r, i) => changeOf(parts, first + i, r.type, Buffer.concat(r.payload))),
          putChange(parts, last - learned.length, record),
          ...deltas.map((delta) => learnedChange(parts, last, delta)),
        ],
        remember(group) {
          ids.forEach((id, i) => {
            group.set(id, taken[i]);
          });
        },
        abandon: () => parts.graph.abandon(taken),
      };
    },
  };
}

function splitPut(record: PutRecord, dimensions: number): PutRecord[] {
  const parts: PutRecord[] = [];
  for (let from = 0, to = 0; to < record.ids.length; from = to) {
    for (let bytes = 0; to < record.ids.length && bytes < PUT_RECORD_BYTES; to++) {
      bytes += dimensions * 4 + (record.payloads[to]?.length ?? 0);
    }
    parts.push({
      nodes: record.nodes.subarray(from, to),
      replaces: record.replaces.subarray(from, to),
      ids: record.ids.slice(from, to),
      payloads: record.payloads.slice(from, to),
      vectors: record.vectors.subarray(from * dimensions, to * dimensions),
    });
  }
  return parts;
}

/** Removes rows; `removed` says afterwards how many were there. */
export function removeOperation(ids: readonly Id[]): Operation & { removed: number } {
  const operation = {
    removed: 0,
    async plan(parts: Parts, names: GroupNames): Promise<Planned | undefined> {
      const there = [...new Map(ids.map((id) => [idKey(id), id])).values()].filter(
        (id) => names.nodeOf(id) !== undefined,
      );
      operation.removed = there.length;
      if (there.length === 0) return undefined;
      const nodes = Uint32Array.from(there, (id) => names.nodeOf(id)!);
      return {
        records: [{ type: RECORD.remove, payload: encodeRemove(nodes) }],
        changes: (_, lsn) => [removeChange(parts, lsn, nodes)],
        remember: (group) => {
          for (const id of there) group.set(id, undefined);
        },
        abandon() {},
      };
    },
  };
  return operation;
}

/** Replaces the payload of one row. */
export function payloadOperation(id: Id, payload: string | undefined): Operation {
  return {
    async plan(parts, names) {
      const node = names.nodeOf(id);
      if (node === undefined) {
        throw new HebbError("UNKNOWN_ID", `id ${show(id)} is not in the index; put it first`, { id });
      }
      const bytes = encodePayload(node, payload);
      return {
        records: [{ type: RECORD.payload, payload: bytes }],
        changes: (_, lsn) => [changeOf(parts, lsn, RECORD.payload, Buffer.concat(bytes))],
        remember() {},
        abandon() {},
      };
    },
  };
}
