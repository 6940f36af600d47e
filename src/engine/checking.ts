/** The whole check: files, log, catalog, and whether all of them tell the same story. */
import { HebbError, reasonOf } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import { GRAPH_SECTIONS } from "../../native/graph.js";
import { PAGE_BYTES } from "../../native/index.js";
import { decodeDelta } from "../../training/delta-bytes.js";
import type { Fault, Id } from "../types.js";
import { checkLearned } from "./checking-learned.js";
import { faultAt, LISTED } from "./faults.js";
import {
  decodeFeedback,
  decodeGradients,
  decodePayload,
  decodePut,
  decodeRemove,
  decodeSetting,
  decodeStepped,
  RECORD,
} from "./records.js";
import type { Session } from "./session.js";
import { idKey } from "./validate.js";

/** What a check finds. */
export interface Checked {
  faults: Fault[];
  /** What is no damage, and yet worth knowing. */
  notes: string[];
}

/** To be run while nothing writes (`Session.inspect`): what is compared spans many turns of the event loop. */
export async function checkStore(session: Session): Promise<Checked> {
  const { store, catalog, graph } = session;
  const [damage, catalogDamage] = [await store.check(), await catalog.check()];
  const faults: Fault[] = [...damage, ...catalogDamage];
  const { faults: inGraph, unreached } = await graph.check();
  for (const { section, offset, message } of inGraph) {
    faults.push(faultAt(session, GRAPH_SECTIONS[section], offset, message));
  }
  faults.push(...(await checkLearned(session)), ...checkLengths(session), ...(await checkLog(session)));
  // What is damaged need not agree.
  if (catalogDamage.length === 0) {
    faults.push(...(damage.length > 0 ? await lostVectors(session) : await crossCheck(session, graph.live)));
  }
  const notes =
    unreached > 0
      ? [
          `${unreached} rows were linked where no walk comes to yet; settle() connects them, and exact searches find them`,
        ]
      : [];
  return { faults, notes };
}

/** The ids whose vectors are in what is damaged. */
async function lostVectors({ catalog, graph }: Session): Promise<Fault[]> {
  const found = new Findings();
  await inSlices(catalog.entries(), ({ node, id }) => {
    if (graph.isLive(node) && !isReadable(graph, node)) found.add(unreadable(id), node);
  });
  return found.all;
}

/** Its place, its record and its codebook; and its original, where that is all there is of it. */
function isReadable(graph: Session["graph"], node: number): boolean {
  if (!graph.readable(node)) return false;
  try {
    graph.vector(node);
    return true;
  } catch (error) {
    if (error instanceof HebbError && error.code === "INDEX_CORRUPT") return false;
    throw error;
  }
}

const unreadable = (id: Id) =>
  `the vector of id ${JSON.stringify(id)} cannot be read: its place, its record or its codebook is damaged`;

/** Faults of ids, of which the first are listed. */
class Findings {
  private readonly faults: Fault[] = [];
  private more = 0;

  constructor(private readonly section = "ids") {}

  add(message: string, offset: number): void {
    if (this.faults.length < LISTED)
      this.faults.push({ code: "INDEX_CORRUPT", section: this.section, offset, message });
    else this.more++;
  }

  get all(): Fault[] {
    if (this.more === 0) return this.faults;
    const message = `and ${this.more} more of this kind`;
    return [...this.faults, { code: "INDEX_CORRUPT", section: this.section, offset: 0, message }];
  }
}

async function crossCheck({ catalog, graph, gradients, searcher }: Session, live: number): Promise<Fault[]> {
  const found = new Findings();
  let rows = 0;
  await inSlices(catalog.entries(), ({ node, id }) => {
    if (!graph.isLive(node)) {
      found.add(`the catalog has id ${JSON.stringify(id)} at node ${node}, which is not live in the graph`, node);
      return;
    }
    rows++;
    if (!graph.readable(node)) found.add(unreadable(id), node);
    const [stored] = searcher.ids(Uint32Array.of(node), 1);
    if (idKey(stored) !== idKey(id))
      found.add(
        `node ${node} is ${JSON.stringify(stored)} in the graph and ${JSON.stringify(id)} in the catalog`,
        node,
      );
  });
  if (rows !== live) found.add(`the graph has ${live} live nodes, the catalog ${rows} of them`, 0);
  const faults = found.all;
  try {
    graph.checkTiers();
  } catch (error) {
    if (!(error instanceof HebbError)) throw error;
    faults.push({ code: error.code, section: "places", offset: 0, message: error.message });
  }
  const slots = new Findings("gradients");
  for (const { slot, message } of gradients.faults((node) => graph.isLive(node))) {
    slots.add(message, slot);
  }
  return [...faults, ...slots.all];
}

/** Every section reaches as far as the nodes that are in use; of what changed since the last checkpoint, nothing is said. */
function checkLengths({ store, graph }: Session): Fault[] {
  const bits = graph.liveBits();
  let end = 0; // behind the last node in use
  for (let node = graph.nodes - 1; node >= 0 && end === 0; node--) {
    if ((bits[node >> 5] >>> (node & 31)) & 1) end = node + 1;
  }
  const byNode = ["state", "rows", "ids", "places", ...(graph.keepsOriginals ? ["vectors"] : [])];
  const faults: Fault[] = [];
  for (const name of byNode) {
    const section = GRAPH_SECTIONS.indexOf(name as (typeof GRAPH_SECTIONS)[number]);
    const entry = store.meta.sections.find((one) => one.name === name);
    if (entry === undefined || store.region.dirtyPages(section).length > 0) continue;
    // The last page may end behind the last byte that was written.
    const needed = end * entry.stride;
    if (entry.length + PAGE_BYTES > needed || entry.length >= needed) continue;
    const message = `its length is ${entry.length} bytes; ${end} nodes of ${entry.stride} bytes need ${needed}`;
    faults.push(faultAt({ store }, name, entry.length, message));
  }
  return faults;
}

const DECODERS: Readonly<Record<number, (payload: Uint8Array) => unknown>> = {
  [RECORD.put]: (payload) => {
    const { nodes, replaces, ids, payloads, vectors } = decodePut(payload);
    const counts = [nodes, replaces, ids, payloads].map(({ length }) => length);
    if (counts.some((count) => count !== nodes.length) || vectors.length % Math.max(1, nodes.length) !== 0) {
      throw new Error(`${counts.join(", ")} nodes, replaced ones, ids and payloads, and ${vectors.length} values`);
    }
  },
  [RECORD.remove]: decodeRemove,
  [RECORD.payload]: decodePayload,
  [RECORD.feedback]: decodeFeedback,
  [RECORD.learned]: decodeDelta,
  [RECORD.setting]: decodeSetting,
  [RECORD.gradients]: decodeGradients,
  [RECORD.stepped]: decodeStepped,
};

/** index.hebb is no further than the catalog, and neither further than the log, whose later records mean something. */
async function checkLog({ store, catalog }: Session): Promise<Fault[]> {
  const faults: Fault[] = [];
  const [index, rows, last] = [store.meta.lsn, catalog.committedLsn, store.log.lastLsn];
  const fault = (lsn: number, message: string) => {
    faults.push({ code: "WAL_CORRUPT", section: "wal", offset: lsn, message });
  };
  if (index > rows || rows > last) {
    fault(last, `index.hebb holds the log up to ${index}, the catalog up to ${rows}, and the log ends at ${last}`);
  }
  try {
    for await (const { records } of store.log.read(index)) {
      for (const { lsn, type, payload } of records) {
        try {
          const decode = DECODERS[type];
          if (decode === undefined) throw new Error(`it is of type ${type}, which is none`);
          decode(payload);
        } catch (error) {
          fault(lsn, `record ${lsn} cannot be read: ${reasonOf(error)}`);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof HebbError && error.code === "WAL_CORRUPT")) throw error; // named by the check of the files
  }
  return faults;
}
