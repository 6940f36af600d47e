/**
 * Changes on their way from the log to what searches see. Each is made from one log record, so
 * that living and replaying are the same code, and goes through four steps:
 *
 *   stage    vectors, ids and catalog rows are written; nothing shows yet
 *   (link)   the nodes of many changes together, on all cores
 *   publish  one synchronous step: new nodes appear, replaced and removed ones disappear
 *   finish   rows of nodes that disappeared leave the catalog
 */
import { HebbError } from "../../base/errors.js";
import type { Graph } from "../../native/graph.js";
import { decodeDelta } from "../../training/state.js";
import type { Catalog } from "../catalog/catalog.js";
import type { Learned } from "./learned.js";
import {
  decodeFeedback,
  decodePayload,
  decodePut,
  decodeRemove,
  decodeSetting,
  NO_NODE,
  type PutRecord,
  RECORD,
} from "./records.js";
import { parsePayload } from "./validate.js";

/** What changes act on. */
export interface Parts {
  graph: Graph;
  catalog: Catalog;
  learned: Learned;
}

export interface Change {
  readonly lsn: number;
  /** Nodes to link between staging and publishing. */
  readonly nodes?: Uint32Array;
  stage?(): Promise<void>;
  publish?(): void;
  finish?(): Promise<void>;
}

const none = new Uint32Array(0);

/** Nodes, in the order of `all`, that are nodes. */
const present = (all: Uint32Array): Uint32Array => all.filter((node) => node !== NO_NODE);

export function putChange({ graph, catalog, learned }: Parts, lsn: number, record: PutRecord): Change {
  const { nodes, ids, payloads } = record;
  const gone = present(record.replaces);
  return {
    lsn,
    nodes,
    async stage() {
      graph.setVectors(nodes, record.vectors);
      graph.setIds(nodes, ids);
      await catalog.insert(
        ids.map((id, i) => ({ node: nodes[i], id, json: payloads[i] })),
        lsn,
      );
    },
    publish() {
      graph.publish(nodes, gone);
      learned.forget(gone);
    },
    finish: () => catalog.remove(gone, lsn),
  };
}

export function removeChange({ graph, catalog, learned }: Parts, lsn: number, nodes: Uint32Array): Change {
  return {
    lsn,
    publish() {
      graph.publish(none, nodes);
      learned.forget(nodes);
    },
    finish: () => catalog.remove(nodes, lsn),
  };
}

/** The change that a record of the log stands for. */
export function changeOf(parts: Parts, lsn: number, type: number, bytes: Uint8Array): Change {
  const { catalog, learned } = parts;
  switch (type) {
    case RECORD.put:
      return putChange(parts, lsn, decodePut(bytes));
    case RECORD.remove:
      return removeChange(parts, lsn, decodeRemove(bytes));
    case RECORD.payload: {
      const { node, payload } = decodePayload(bytes);
      return { lsn, finish: () => catalog.setPayload(node, parsePayload(payload), lsn) };
    }
    case RECORD.feedback: {
      const event = decodeFeedback(bytes);
      return { lsn, finish: () => catalog.addFeedback(lsn, event) };
    }
    case RECORD.learned: {
      const delta = decodeDelta(bytes);
      return { lsn, publish: () => learned.apply(delta) };
    }
    case RECORD.setting: {
      const { name, value } = decodeSetting(bytes);
      return { lsn, finish: () => catalog.putSetting(name, value, lsn) };
    }
    default:
      throw new HebbError(
        "STORE_VERSION",
        `the log holds a record of type ${type} at LSN ${lsn}, which this release does not know; open the store with a newer one`,
      );
  }
}

/** Runs changes in their order; the nodes of all are linked together. */
export async function applyChanges({ graph }: Parts, changes: readonly Change[]): Promise<void> {
  for (const change of changes) await change.stage?.();
  const nodes = changes.flatMap((change) => (change.nodes ? [change.nodes] : []));
  if (nodes.length > 0) await graph.link(nodes.length === 1 ? nodes[0] : concat(nodes));
  for (const change of changes) {
    change.publish?.();
    await change.finish?.();
  }
}

function concat(parts: readonly Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
