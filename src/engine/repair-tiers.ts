/**
 * What a repair makes of places, tiers and codebooks. With originals, a vector whose place, record or codebook is
 * damaged is in tier hot again, and nothing is lost. Without, the record is all there is of it.
 */
import { crc32c, dot } from "../../native/index.js";
import { bufferContents, roomIn, type SalvagedIndex, type SectionContents } from "../../storage/repair-index.js";
import type { Doubts } from "./repair-doubts.js";

const TIERS = ["vectors", "warm", "cool", "cold", "archive"];
const COOL = 2;
const VERSIONS = 4;
const PLACE_BYTES = 16;
const HEAD_BYTES = 152;
/** Where the codebooks begin in their section. */
const BOOKS_AT = 65_536;
const MAGIC = 0x52495448; // "HTIR"
const BOOK_MAGIC = Buffer.from("HEBBTIER");
/** Offsets in the head. */
const KEEPS = 8;
const CURRENT = 12;
const COUNTS = 16;
const USED = 36;
const USERS = 56;
const ORDER = 72;

export interface TiersPlan {
  /** Without originals, nodes that cannot be read. */
  lost: Set<number>;
  /** Without originals, nodes whose record nothing proves. */
  unproven: Set<number>;
  /** Vectors that are in tier hot again. */
  moved: number;
  /** Where in section `vectors` a node's record is, without originals; undefined in another tier. */
  hotRecordOf(node: number): number | undefined;
  /** A node that is not live any more. */
  free(node: number): void;
  /** @param alone no node but those that are live keeps its place */
  contents(nodes: number, alone: boolean): Map<string, SectionContents>;
}

export async function tiersOf(
  index: SalvagedIndex,
  live: ReadonlySet<number>,
  keepsOriginals: boolean,
  doubts: Doubts,
): Promise<TiersPlan> {
  const entry = index.entry("places");
  const books = index.entry("codebooks");
  const bytes = await index.readAll(entry);
  const last = [...live].reduce((max, node) => Math.max(max, node), -1);
  const places = new Uint8Array(Math.max(bytes.length, (last + 1) * PLACE_BYTES));
  places.set(bytes);
  const view = new DataView(places.buffer);
  const codebooks = await index.readAll(books);
  const headSound = index.proofOf(books, 0, HEAD_BYTES) === "sound";
  const roomOf = (version: number) => bookRoom(index.meta.dimensions, version);
  const bookSound = Array.from({ length: VERSIONS }, (_, v) => {
    const [at, length] = roomOf(v);
    return index.proofOf(books, at, length) === "sound" && isBook(codebooks.subarray(at, at + length));
  });
  const head = new DataView(codebooks.buffer, codebooks.byteOffset, codebooks.byteLength);
  const known = headSound && codebooks.length >= HEAD_BYTES && head.getUint32(0, true) === MAGIC;
  const orderOf = (v: number) => (known ? head.getUint32(ORDER + 4 * v, true) : bookSound[v] ? v + 1 : 0);
  const damagedBook = Array.from({ length: VERSIONS }, (_, v) => orderOf(v) > 0 && !bookSound[v]).includes(true);
  // Nothing can be trained over a codebook that is damaged.
  const resets = keepsOriginals && (!headSound || damagedBook || index.proofOfAll(books) !== "sound" || doubts.tiers);

  const plan = { lost: new Set<number>(), unproven: new Set<number>(), moved: 0 };
  const taken = TIERS.map(() => new Set<number>());
  const cosine = index.meta.metric === "cosine";
  const vectors = index.entry("vectors");
  /** The length of a vector whose original is there, as the kernel computes it. */
  const writeNorm = async (node: number) => {
    const d = index.meta.dimensions;
    const values = new Float32Array((await index.read(vectors, node * (vectors?.stride ?? 0), 4 * d)).buffer);
    view.setFloat32(node * PLACE_BYTES + 8, cosine ? Math.sqrt(dot(values, values)) : 1, true);
  };
  const toHot = (node: number) => {
    if (view.getUint32(node * PLACE_BYTES, true) !== 0 || places[node * PLACE_BYTES + 4] !== 0) plan.moved++;
    places.fill(0, node * PLACE_BYTES, node * PLACE_BYTES + 8);
  };
  for (const node of live) {
    const at = node * PLACE_BYTES;
    const placeProof = index.proofOf(entry, at, PLACE_BYTES);
    const [slot, tier, version] = [view.getUint32(at, true), places[at + 4], places[at + 5]];
    if (keepsOriginals && (placeProof !== "sound" || (doubts.norms && cosine))) {
      if (placeProof !== "sound") places.fill(0, at, at + PLACE_BYTES);
      await writeNorm(node);
    }
    if (keepsOriginals && (resets || placeProof !== "sound")) {
      if (placeProof !== "sound") plan.moved++;
      else toHot(node);
      continue;
    }
    if (keepsOriginals && tier === 0) continue;
    const section = index.entry(TIERS[tier] ?? "");
    const record = (slot - 1) * (section?.stride ?? 0);
    const isHere =
      tier < TIERS.length &&
      version < VERSIONS &&
      slot > 0 &&
      section !== undefined &&
      record + section.stride <= roomIn(section) &&
      !taken[tier].has(slot);
    const proof = isHere ? index.proofOf(section, record, section.stride) : "damaged";
    const isReadable =
      isHere &&
      proof !== "damaged" &&
      (tier < COOL || (orderOf(version) > 0 && bookSound[version])) &&
      !doubts.records.has(node);
    if (isHere && isReadable) taken[tier].add(slot);
    if (isReadable && proof === "sound" && placeProof === "sound") continue;
    if (keepsOriginals) toHot(node);
    else if (isReadable && placeProof !== "damaged") plan.unproven.add(node);
    else plan.lost.add(node);
  }

  return {
    ...plan,
    get moved() {
      return plan.moved;
    },
    hotRecordOf(node) {
      const at = node * PLACE_BYTES;
      const slot = view.getUint32(at, true);
      return places[at + 4] === 0 && slot > 0 ? (slot - 1) * (index.entry("vectors")?.stride ?? 0) : undefined;
    },
    free: (node) => places.fill(0, node * PLACE_BYTES, (node + 1) * PLACE_BYTES),
    contents(nodes, alone) {
      const contents = new Map<string, SectionContents>();
      const fresh = places.slice(0, Math.min(places.length, nodes * PLACE_BYTES));
      for (let node = 0; (alone || resets) && node * PLACE_BYTES < fresh.length; node++) {
        const at = node * PLACE_BYTES;
        if (!live.has(node)) fresh.fill(0, at, at + PLACE_BYTES);
      }
      contents.set("places", bufferContents(fresh));
      if (resets) {
        for (const name of TIERS.slice(1)) contents.set(name, bufferContents(new Uint8Array(0)));
        contents.set("codebooks", bufferContents(new Uint8Array(0)));
        return contents;
      }
      if (codebooks.length === 0) return contents;
      // Who counts: live nodes alone, and a tier's section as far as a place names a slot of it.
      const counted = codebooks.slice();
      const out = new DataView(counted.buffer);
      if (!known) {
        counted.fill(0, 0, BOOKS_AT);
        out.setUint32(0, MAGIC, true);
        out.setUint32(4, 1, true);
        out.setUint32(KEEPS, keepsOriginals ? 1 : 0, true);
        for (let v = 0; v < VERSIONS; v++) {
          out.setUint32(ORDER + 4 * v, orderOf(v), true);
          if (orderOf(v) > 0) out.setUint32(CURRENT, v + 1, true);
        }
      }
      for (let v = 0; v < VERSIONS; v++) {
        if (orderOf(v) === 0 || bookSound[v]) continue;
        const [at, length] = roomOf(v);
        counted.fill(0, at, at + length);
        out.setUint32(ORDER + 4 * v, 0, true);
        if (out.getUint32(CURRENT, true) === v + 1) out.setUint32(CURRENT, 0, true);
      }
      const used = TIERS.map((_, tier) => (known ? head.getUint32(USED + 4 * tier, true) : 0));
      const left = new DataView(fresh.buffer);
      const [counts, users] = [TIERS.map(() => 0), Array.from({ length: VERSIONS }, () => 0)];
      for (let at = 0; at + PLACE_BYTES <= fresh.length; at += PLACE_BYTES) {
        const [slot, tier, version] = [left.getUint32(at, true), fresh[at + 4], fresh[at + 5]];
        if (slot === 0 || tier >= TIERS.length) continue;
        used[tier] = Math.max(used[tier], slot);
        if (!live.has(at / PLACE_BYTES)) continue;
        if (tier > 0) counts[tier]++;
        if (tier >= COOL) users[version]++;
      }
      used.forEach((count, tier) => {
        out.setUint32(USED + 4 * tier, count, true);
      });
      counts.forEach((count, tier) => {
        out.setUint32(COUNTS + 4 * tier, count, true);
      });
      users.forEach((count, version) => {
        out.setUint32(USERS + 4 * version, count, true);
      });
      contents.set("codebooks", bufferContents(counted));
      return contents;
    },
  };
}

/** Where codebook `version` lies in its section, and how many bytes it has. */
function bookRoom(d: number, version: number): [at: number, length: number] {
  const room = Math.ceil((8192 + 20 * d + (d > 8192 ? 8 : 1024) * d) / 4096) * 4096;
  return [BOOKS_AT + version * room, room];
}

function isBook(bytes: Uint8Array): boolean {
  const book = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (book.length < 64 || !book.subarray(0, 8).equals(BOOK_MAGIC)) return false;
  const length = book.readUInt32LE(12);
  return length >= 20 && length <= book.length && crc32c(book.subarray(20, length)) === book.readUInt32LE(16);
}
