/**
 * Changes on their way from the log to what searches see. Each is made from one log record, so
 * that living and replaying are the same code, and goes through three steps:
 *
 *   stage    vectors, ids and catalog rows are written; nothing shows yet
 *   publish  one synchronous step: new nodes appear, replaced and removed ones disappear
 *   finish   rows of nodes that disappeared leave the catalog
 *
 * New nodes are linked into the graph later (linker.ts).
 */
import { HebbError } from "../../base/errors.js";
import type { Graph } from "../../native/graph.js";
import { decodeDelta } from "../../training/delta-bytes.js";
import type { Delta } from "../../training/state.js";
import type { Catalog } from "../catalog/catalog.js";
import type { GradientSlots } from "./gradient-slots.js";
import type { Learned } from "./learned.js";
import {
  checkDelta,
  checkFeedback,
  checkGradients,
  checkNodes,
  checkPut,
  checkStepped,
  type Fits,
} from "./record-checks.js";
import {
  decodeFeedback,
  decodeGradients,
  decodePayload,
  decodePut,
  decodeRemove,
  decodeSetting,
  decodeStepped,
  fromLog,
  type GradientsRecord,
  NO_NODE,
  type PutRecord,
  RECORD,
  type SteppedRecord,
} from "./records.js";
import type { Tiering } from "./tiering.js";
import { parsePayload } from "./validate.js";

/** What changes act on. */
export interface Parts {
  graph: Graph;
  catalog: Catalog;
  learned: Learned;
  gradients: GradientSlots;
  tiering: Tiering;
}

export interface Change {
  readonly lsn: number;
  /** Nodes that are new. */
  readonly nodes?: Uint32Array;
  stage?(): Promise<void>;
  publish?(): void;
  finish?(): Promise<void>;
}

const none = new Uint32Array(0);

/** Nodes, in the order of `all`, that are nodes. */
const present = (all: Uint32Array): Uint32Array => all.filter((node) => node !== NO_NODE);

export function putChange(
  { graph, catalog, learned, gradients, tiering }: Parts,
  lsn: number,
  record: PutRecord,
): Change {
  const { nodes, ids, payloads } = record;
  const gone = present(record.replaces);
  return {
    lsn,
    nodes,
    async stage() {
      graph.setVectors(nodes, record.vectors, tiering.enter(nodes));
      graph.setIds(nodes, ids);
      await catalog.insert(
        ids.map((id, i) => ({ node: nodes[i], id, json: payloads[i] })),
        lsn,
      );
    },
    publish() {
      graph.publish(nodes, gone);
      learned.forget(gone);
      gradients.forget(gone);
      tiering.entered();
    },
    finish: () => catalog.remove(gone, lsn),
  };
}

export function removeChange({ graph, catalog, learned, gradients }: Parts, lsn: number, nodes: Uint32Array): Change {
  return {
    lsn,
    publish() {
      graph.publish(none, nodes);
      learned.forget(nodes);
      gradients.forget(nodes);
    },
    finish: () => catalog.remove(nodes, lsn),
  };
}

export function gradientsChange({ gradients }: Parts, lsn: number, record: GradientsRecord): Change {
  return { lsn, finish: () => gradients.add(lsn, record) };
}

export function steppedChange({ gradients }: Parts, lsn: number, record: SteppedRecord): Change {
  return { lsn, finish: () => gradients.stepped(lsn, record) };
}

export function learnedChange({ learned }: Parts, lsn: number, delta: Delta): Change {
  return { lsn, publish: () => learned.apply(delta) };
}

/**
 * The change that a record of the log stands for.
 * @throws {HebbError} WAL_CORRUPT where it does not fit the store; STORE_VERSION
 */
export function changeOf(parts: Parts, lsn: number, type: number, bytes: Uint8Array): Change {
  const { catalog } = parts;
  /** What a record says, once it is known to fit. */
  const read = <T>(decode: (bytes: Uint8Array) => T, check: (record: T, fits: Fits) => void): T =>
    fromLog(lsn, () => {
      const record = decode(bytes);
      check(record, { nodes: parts.graph.nodes, dimensions: parts.learned.state.dimensions });
      return record;
    });
  switch (type) {
    case RECORD.put:
      return putChange(parts, lsn, read(decodePut, checkPut));
    case RECORD.remove:
      return removeChange(parts, lsn, read(decodeRemove, checkNodes));
    case RECORD.payload: {
      const { node, payload } = read(decodePayload, (record, fits) => checkNodes([record.node], fits));
      return { lsn, finish: () => catalog.setPayload(node, parsePayload(payload), lsn) };
    }
    case RECORD.feedback: {
      const event = read(decodeFeedback, checkFeedback);
      return { lsn, finish: () => catalog.addFeedback(lsn, event) };
    }
    case RECORD.learned: {
      const { state } = parts.learned;
      // A later record of the group writes on in the network that an earlier one begins, once that is applied.
      const publish = (delta: Delta) => {
        fromLog(lsn, () => checkDelta(delta, { nodes: parts.graph.nodes, dimensions: state.dimensions }, state));
        parts.learned.apply(delta);
      };
      const delta = fromLog(lsn, () => decodeDelta(bytes));
      return { lsn, publish: () => publish(delta) };
    }
    case RECORD.setting: {
      const { name, value } = read(decodeSetting, () => {});
      return { lsn, finish: () => catalog.putSetting(name, value, lsn) };
    }
    case RECORD.gradients:
      return gradientsChange(parts, lsn, read(decodeGradients, checkGradients));
    case RECORD.stepped:
      return steppedChange(parts, lsn, read(decodeStepped, checkStepped));
    default:
      throw new HebbError(
        "STORE_VERSION",
        `the log holds a record of type ${type} at LSN ${lsn}, which this release does not know; open the store with a newer one`,
      );
  }
}

/** Runs changes in their order. */
export async function applyChanges(changes: readonly Change[]): Promise<void> {
  for (const change of changes) await change.stage?.();
  for (const change of changes) {
    change.publish?.();
    await change.finish?.();
  }
}
