/**
 * What a repair makes of the rows: which nodes are live, by the graph's states, the catalog and the log; which of their
 * vectors can be read; and the sections that follow from that. Node numbers stay.
 *
 * All of it is as of the LSN that index.hebb holds: opening what was repaired applies the rest of the log, as always.
 */
import { viewOf } from "../../base/bytes.js";
import type { Id, Json, Metric } from "../../base/types.js";
import { GRAPH_PROFILES, type GraphProfile, LEVEL_SEED } from "../../native/graph.js";
import { dot, firstNonFinite } from "../../native/index.js";
import { bufferContents, roomIn, type SalvagedIndex, type SectionContents } from "../../storage/repair-index.js";
import type { SalvagedRecord } from "../../storage/repair-log.js";
import { decodePut, decodeRemove, fromLog, NO_NODE, RECORD } from "./records.js";
import type { Doubts } from "./repair-doubts.js";
import { type TiersPlan, tiersOf } from "./repair-tiers.js";
import { idKey } from "./validate.js";

/** Bits of a node's state. */
const ALLOCATED = 1;
const LIVE = 4;
const HEAD_BYTES = 4096;
const ID_BYTES = 48;
/** "HGRF". */
const HEAD_MAGIC = 0x46524748;
/** The kernel's numbers of metrics: not as in the meta slot. */
const KERNEL_METRIC: Record<Metric, number> = { l2: 0, dot: 1, cosine: 2 };

/** A row as it is known. */
export interface KnownRow {
  node: number;
  id: Id | undefined;
}

export interface RowsPlan {
  /** Sections of the graph and of the tiers, by name; those that are not here stay as they are. */
  contents: Map<string, SectionContents>;
  isLive(node: number): boolean;
  nodes: number;
  /** Rows are linked anew. */
  relinks: boolean;
  /** What is made anew, in words. */
  rebuilt: string[];
  /** Rows whose vector is lost, or that only the catalog knows. */
  lost: KnownRow[];
  /** Rows whose payload is lost, and that go on without one. */
  lostPayloads: { node: number; id: Id }[];
  /** Rows that nothing proves to be as they were written, and nothing contradicts. */
  unproven: KnownRow[];
}

/** What the log does to nodes after the LSN that index.hebb holds. @throws {HebbError} WAL_CORRUPT */
export function touchedBy(records: readonly SalvagedRecord[], from: number): { put: Set<number>; gone: Set<number> } {
  const [put, gone] = [new Set<number>(), new Set<number>()];
  for (const { lsn, type, payload } of records) {
    if (lsn <= from) continue;
    if (type === RECORD.put) {
      const { nodes, replaces } = fromLog(lsn, () => decodePut(payload));
      for (const node of nodes) put.add(node);
      for (const node of replaces) if (node !== NO_NODE) gone.add(node);
    } else if (type === RECORD.remove) {
      for (const node of fromLog(lsn, () => decodeRemove(payload))) gone.add(node);
    }
  }
  return { put, gone };
}

interface Given {
  index: SalvagedIndex;
  /** Ids by node, as of the LSN that index.hebb holds or later. */
  rows: ReadonlyMap<number, Id>;
  /** The catalog has all rows that it says it has. */
  rowsAreWhole: boolean;
  /** The catalog has rows whose records are lost, so that nobody has their vectors. */
  rowsAreAhead: boolean;
  touched: { put: ReadonlySet<number>; gone: ReadonlySet<number> };
  doubts: Doubts;
}

export async function planRows(given: Given): Promise<RowsPlan> {
  const { index, doubts } = given;
  const { meta } = index;
  const keepsOriginals = (meta.config as { [key: string]: Json }).keep_originals !== false;
  const old = await readGraph(index);
  const found = findRows(given, old);
  const tiers = await tiersOf(index, found.live, keepsOriginals, doubts);
  const unproven = await proveVectors(given, old, found, tiers, keepsOriginals);
  const { live, lost } = found;
  const lostPayloads = found.lostPayloads.filter(({ node }) => live.has(node));
  const nodes = numbersUsed(old, live);

  const isSound = (name: string) => index.proofOfAll(index.entry(name)) === "sound";
  const { states } = old;
  const changedStates = !old.statesSound || states.some((state, node) => ((state & LIVE) !== 0) !== live.has(node));
  const isEmpty = states.length === 0 && live.size === 0;
  const relinks =
    doubts.graph ||
    (!old.headSound && !isEmpty) ||
    changedStates ||
    unproven.length > 0 ||
    !["rows", "upper", "projection"].every(isSound);
  const rebuilt: string[] = [];
  const contents = tiers.contents(nodes, relinks);
  if (tiers.moved > 0) rebuilt.push(`${tiers.moved} vectors are in tier hot again, from their originals`);
  if (relinks) {
    rebuilt.push(`the graph's rows and lists, of ${live.size} nodes`);
    const state = new Uint8Array(nodes);
    for (const node of live) state[node] = ALLOCATED | LIVE;
    contents.set("state", bufferContents(state));
    contents.set("head", bufferContents(freshHead(index, nodes, live.size, old.headSound ? old.head : undefined)));
    for (const name of ["rows", "upper", "projection"]) contents.set(name, bufferContents(new Uint8Array(0)));
  }
  const idsSound = isSound("ids");
  const ids = idRecords(given, old, live, nodes, idsSound);
  if (!idsSound || !Buffer.from(old.ids.subarray(0, ids.length)).equals(ids.subarray(0, old.ids.length))) {
    if (!idsSound) rebuilt.push("the ids that the index keeps, from the catalog");
    contents.set("ids", bufferContents(ids));
  }
  contents.set("vectors", vectorContents(index, doubts.norms && meta.metric === "cosine"));
  if (doubts.norms) rebuilt.push("the lengths that are kept beside vectors");
  return { contents, isLive: (node) => live.has(node), nodes, relinks, rebuilt, lost, lostPayloads, unproven };
}

/** What index.hebb says of its nodes. */
interface OldGraph {
  head: DataView;
  headSound: boolean;
  states: Uint8Array;
  statesSound: boolean;
  /** Section `ids`. */
  ids: Uint8Array;
}

async function readGraph(index: SalvagedIndex): Promise<OldGraph> {
  const isSound = (name: string) => index.proofOfAll(index.entry(name)) === "sound";
  const bytes = await index.read(index.entry("head"), 0, HEAD_BYTES);
  const head = viewOf(bytes);
  const headSound = isSound("head") && head.getUint32(0, true) === HEAD_MAGIC;
  const states = await index.readAll(index.entry("state"));
  const ids = await index.readAll(index.entry("ids"));
  return { head, headSound, states, statesSound: isSound("state") && (headSound || states.length === 0), ids };
}

interface FoundRows {
  live: Set<number>;
  /** Of those live: their vectors may be other rows'. */
  doubtful: Set<number>;
  lost: KnownRow[];
  lostPayloads: RowsPlan["lostPayloads"];
}

/** Which nodes are live: where the states are sound, those that they and the catalog agree on; else the catalog's. */
function findRows({ index, rows, rowsAreWhole, rowsAreAhead, touched, doubts }: Given, old: OldGraph): FoundRows {
  const [live, doubtful] = [new Set<number>(), new Set<number>()];
  const [lost, lostPayloads]: [KnownRow[], RowsPlan["lostPayloads"]] = [[], []];
  if (!old.statesSound) {
    for (const [node, id] of rows) {
      if (touched.put.has(node)) continue;
      const stored = rowsAreAhead ? storedId(index, old.ids, node) : undefined;
      if (stored !== undefined && idKey(stored) !== idKey(id)) {
        lost.push({ node, id });
        continue;
      }
      live.add(node);
      if (rowsAreAhead && stored === undefined) doubtful.add(node); // it may be another row's vector
    }
    return { live, doubtful, lost, lostPayloads };
  }
  const named = new Set<string>();
  for (const [node, id] of rows) if (!touched.gone.has(node)) named.add(idKey(id));
  for (let node = 0; node < old.states.length; node++) {
    if (!(old.states[node] & LIVE)) continue;
    if (rows.has(node) || touched.gone.has(node)) {
      live.add(node);
      continue;
    }
    if (rowsAreWhole) continue; // a record that is lost removed it
    const id = storedId(index, old.ids, node);
    if (id === undefined || named.has(idKey(id))) {
      lost.push({ node, id: undefined });
    } else {
      live.add(node);
      lostPayloads.push({ node, id });
    }
  }
  for (const [node, id] of rows) {
    if (live.has(node) || touched.put.has(node)) continue;
    if (doubts.states && rowsAreWhole && !rowsAreAhead) live.add(node);
    else lost.push({ node, id });
  }
  return { live, doubtful, lost, lostPayloads };
}

/**
 * Where the vectors of live nodes are, and whether they can be read; a node whose vector cannot is live no more, but lost.
 * @returns those whose vectors nothing proves
 */
async function proveVectors(
  { index, rows, doubts }: Given,
  old: OldGraph,
  { live, doubtful, lost }: FoundRows,
  tiers: TiersPlan,
  keepsOriginals: boolean,
): Promise<KnownRow[]> {
  const unproven: KnownRow[] = [];
  const vectors = index.entry("vectors");
  const stride = vectors?.stride ?? 0;
  for (const node of live) {
    const at = keepsOriginals ? node * stride : tiers.hotRecordOf(node);
    const proof = at === undefined ? "sound" : index.proofOf(vectors, at, stride);
    let isGone =
      proof === "damaged" || tiers.lost.has(node) || doubts.vectors.has(node) || isBeyond(vectors, at, stride);
    const isDoubtful = proof === "unproven" || tiers.unproven.has(node) || doubtful.has(node);
    if (!isGone && isDoubtful && at !== undefined) {
      isGone = firstNonFinite(await floatsAt(index, vectors, at, index.meta.dimensions)) >= 0;
    }
    const row = { node, id: rows.get(node) ?? storedId(index, old.ids, node) };
    if (isGone) {
      live.delete(node);
      tiers.free(node);
      lost.push(row);
    } else if (isDoubtful) {
      unproven.push(row);
    }
  }
  return unproven;
}

/** Numbers ever used: learned edges may lead to some that are free by now. What is too many is free. */
function numbersUsed({ head, headSound, states, statesSound, ids }: OldGraph, live: ReadonlySet<number>): number {
  const everUsed = headSound ? head.getUint32(20, true) : Math.floor(ids.length / ID_BYTES);
  const lastUsed = statesSound ? states.findLastIndex((state) => state !== 0) : -1;
  const last = [...live].reduce((max, node) => Math.max(max, node), lastUsed);
  return Math.max(last + 1, Math.min(everUsed, states.length));
}

/** Section `ids`, from the catalog, and from what it held where that is sound. */
function idRecords(
  { index, rows }: Given,
  old: OldGraph,
  live: ReadonlySet<number>,
  nodes: number,
  idsSound: boolean,
): Uint8Array {
  const ids = new Uint8Array(nodes * ID_BYTES);
  for (const node of live) {
    const id = rows.get(node) ?? storedId(index, old.ids, node);
    const at = node * ID_BYTES;
    if (id !== undefined) writeId(ids.subarray(at, at + ID_BYTES), id);
    else if (idsSound) ids.set(old.ids.subarray(at, at + ID_BYTES), at);
  }
  return ids;
}

type Entry = ReturnType<SalvagedIndex["entry"]>;

const isBeyond = (entry: Entry, at: number | undefined, stride: number): boolean =>
  at !== undefined && at + stride > (entry === undefined ? 0 : roomIn(entry));

async function floatsAt(index: SalvagedIndex, entry: Entry, at: number, count: number): Promise<Float32Array> {
  return new Float32Array((await index.read(entry, at, 4 * count)).buffer);
}

/** Vectors as they are; what a damaged block held belongs to nobody any more. */
function vectorContents(index: SalvagedIndex, norms: boolean): SectionContents {
  const entry = index.entry("vectors");
  const d = index.meta.dimensions;
  const stride = entry?.stride ?? 1;
  return {
    length: entry?.length ?? 0,
    async read(at, length) {
      const bytes = await index.read(entry, at, length);
      if (index.proofOf(entry, at, length) === "damaged") return bytes.fill(0);
      for (let record = Math.floor(at / stride); norms && record * stride + 4 * d < at + length; record++) {
        const place = record * stride + 4 * d - at;
        if (place < 0) continue;
        const v = await floatsAt(index, entry, record * stride, d);
        const norm = Math.fround(Math.sqrt(dot(v, v)));
        if (norm > 0) viewOf(bytes).setFloat32(place, 1 / norm, true);
      }
      return bytes;
    },
  };
}

/** The head of a graph of which no row is linked. */
function freshHead(index: SalvagedIndex, nodes: number, live: number, old: DataView | undefined): Uint8Array {
  const { dimensions, metric, config } = index.meta;
  const stored = config as { hnsw_m: number; hnsw_ml: number; graph_profile: GraphProfile };
  if (nodes === 0) return new Uint8Array(0);
  const bytes = new Uint8Array(HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  const words = [HEAD_MAGIC, 2, dimensions, KERNEL_METRIC[metric], stored.hnsw_m, nodes, live, 0, NO_NODE, 0];
  words.forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
  view.setBigUint64(40, old?.getBigUint64(40, true) ?? BigInt(LEVEL_SEED), true);
  view.setFloat64(48, stored.hnsw_ml, true);
  view.setUint32(64, GRAPH_PROFILES.indexOf(stored.graph_profile), true);
  return bytes;
}

/** An id out of section `ids`; undefined where it is damaged, too long for it, or none. */
function storedId(index: SalvagedIndex, ids: Uint8Array, node: number): Id | undefined {
  const at = node * ID_BYTES;
  if (at + ID_BYTES > ids.length || index.proofOf(index.entry("ids"), at, ID_BYTES) !== "sound") return undefined;
  const record = Buffer.from(ids.buffer, ids.byteOffset + at, ID_BYTES);
  if (record[0] === 1) {
    const id = Number(record.readBigInt64LE(8));
    return Number.isSafeInteger(id) ? id : undefined;
  }
  return record[0] === 2 && record[1] <= ID_BYTES - 2 ? record.toString("utf8", 2, 2 + record[1]) : undefined;
}

function writeId(record: Uint8Array, id: Id): void {
  if (typeof id === "number") {
    record[0] = 1;
    viewOf(record).setBigInt64(8, BigInt(id), true);
    return;
  }
  const bytes = Buffer.from(id);
  record[0] = bytes.length <= ID_BYTES - 2 ? 2 : 3;
  if (record[0] === 3) return;
  record[1] = bytes.length;
  record.set(bytes, 2);
}
