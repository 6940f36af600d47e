/**
 * What a repair makes of places, tiers and codebooks. With originals, a vector whose place, record or codebook is
 * damaged is in tier hot again, and nothing is lost. Without, the record is all there is of it.
 */
import { viewOf } from "../../base/bytes.js";
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
  const bytes = await index.readAll(index.entry("places"));
  const last = [...live].reduce((max, node) => Math.max(max, node), -1);
  const places = new Uint8Array(Math.max(bytes.length, (last + 1) * PLACE_BYTES));
  places.set(bytes);
  const tiers = new Tiers(index, live, keepsOriginals, doubts, places, await readBooks(index));
  for (const node of live) await tiers.see(node);
  return tiers;
}

/** What section `codebooks` still tells. */
interface Books {
  /** All of the section. */
  bytes: Uint8Array;
  headSound: boolean;
  /** Its head; undefined where there is none, or a damaged one. */
  head: DataView | undefined;
  /** Of each version: whether it is a codebook, and whole; its place in the order of training, 0 where there is none. */
  sound: boolean[];
  order: number[];
}

async function readBooks(index: SalvagedIndex): Promise<Books> {
  const entry = index.entry("codebooks");
  const bytes = await index.readAll(entry);
  const headSound = index.proofOf(entry, 0, HEAD_BYTES) === "sound";
  const view = viewOf(bytes);
  const head = headSound && bytes.length >= HEAD_BYTES && view.getUint32(0, true) === MAGIC ? view : undefined;
  const versions = Array.from({ length: VERSIONS }, (_, version) => version);
  const sound = versions.map((version) => {
    const [at, length] = bookRoom(index.meta.dimensions, version);
    return index.proofOf(entry, at, length) === "sound" && isBook(bytes.subarray(at, at + length));
  });
  const order = versions.map((v) => (head ? head.getUint32(ORDER + 4 * v, true) : sound[v] ? v + 1 : 0));
  return { bytes, headSound, head, sound, order };
}

class Tiers implements TiersPlan {
  readonly lost = new Set<number>();
  readonly unproven = new Set<number>();
  moved = 0;
  private readonly view: DataView;
  private readonly isCosine: boolean;
  /** All vectors go back to tier hot: nothing can be trained over a codebook that is damaged. */
  private readonly resets: boolean;
  /** Of each tier the slots that a place names. */
  private readonly taken = TIERS.map(() => new Set<number>());

  constructor(
    private readonly index: SalvagedIndex,
    private readonly live: ReadonlySet<number>,
    private readonly keepsOriginals: boolean,
    private readonly doubts: Doubts,
    private readonly places: Uint8Array,
    private readonly books: Books,
  ) {
    this.view = new DataView(places.buffer);
    this.isCosine = index.meta.metric === "cosine";
    const damagedBook = books.order.some((order, version) => order > 0 && !books.sound[version]);
    const isWhole = index.proofOfAll(index.entry("codebooks")) === "sound";
    this.resets = keepsOriginals && (!books.headSound || damagedBook || !isWhole || doubts.tiers);
  }

  /** Looks whether a live node's vector can be read by its place, and sends it to tier hot, or to the lost, where not. */
  async see(node: number): Promise<void> {
    const { index, places, keepsOriginals } = this;
    const at = node * PLACE_BYTES;
    const placeProof = index.proofOf(index.entry("places"), at, PLACE_BYTES);
    const [slot, tier, version] = [this.view.getUint32(at, true), places[at + 4], places[at + 5]];
    if (keepsOriginals && (placeProof !== "sound" || (this.doubts.norms && this.isCosine))) {
      if (placeProof !== "sound") places.fill(0, at, at + PLACE_BYTES);
      await this.writeNorm(node);
    }
    if (keepsOriginals && (this.resets || placeProof !== "sound")) {
      if (placeProof !== "sound") this.moved++;
      else this.toHot(node);
      return;
    }
    if (keepsOriginals && tier === 0) return;
    const proof = this.proofOfRecord(tier, slot, version);
    const hasBook = tier < COOL || (this.books.order[version] > 0 && this.books.sound[version]);
    const isReadable = proof !== "damaged" && hasBook && !this.doubts.records.has(node);
    if (isReadable) this.taken[tier].add(slot);
    if (isReadable && proof === "sound" && placeProof === "sound") return;
    if (keepsOriginals) this.toHot(node);
    else if (isReadable && placeProof !== "damaged") this.unproven.add(node);
    else this.lost.add(node);
  }

  /** Of the record in a slot of a tier; "damaged" where there is no such slot, or another node has it. */
  private proofOfRecord(tier: number, slot: number, version: number): ReturnType<SalvagedIndex["proofOf"]> {
    const section = this.index.entry(TIERS[tier] ?? "");
    const record = (slot - 1) * (section?.stride ?? 0);
    const isHere =
      tier < TIERS.length &&
      version < VERSIONS &&
      slot > 0 &&
      section !== undefined &&
      record + section.stride <= roomIn(section) &&
      !this.taken[tier].has(slot);
    return isHere ? this.index.proofOf(section, record, section.stride) : "damaged";
  }

  /** The length of a vector whose original is there, as the kernel computes it. */
  private async writeNorm(node: number): Promise<void> {
    const vectors = this.index.entry("vectors");
    const d = this.index.meta.dimensions;
    const values = new Float32Array((await this.index.read(vectors, node * (vectors?.stride ?? 0), 4 * d)).buffer);
    this.view.setFloat32(node * PLACE_BYTES + 8, this.isCosine ? Math.sqrt(dot(values, values)) : 1, true);
  }

  private toHot(node: number): void {
    const at = node * PLACE_BYTES;
    if (this.view.getUint32(at, true) !== 0 || this.places[at + 4] !== 0) this.moved++;
    this.places.fill(0, at, at + 8);
  }

  hotRecordOf(node: number): number | undefined {
    const at = node * PLACE_BYTES;
    const slot = this.view.getUint32(at, true);
    const isHot = this.places[at + 4] === 0 && slot > 0;
    return isHot ? (slot - 1) * (this.index.entry("vectors")?.stride ?? 0) : undefined;
  }

  free(node: number): void {
    this.places.fill(0, node * PLACE_BYTES, (node + 1) * PLACE_BYTES);
  }

  contents(nodes: number, alone: boolean): Map<string, SectionContents> {
    const contents = new Map<string, SectionContents>();
    const fresh = this.places.slice(0, Math.min(this.places.length, nodes * PLACE_BYTES));
    for (let node = 0; (alone || this.resets) && node * PLACE_BYTES < fresh.length; node++) {
      const at = node * PLACE_BYTES;
      if (!this.live.has(node)) fresh.fill(0, at, at + PLACE_BYTES);
    }
    contents.set("places", bufferContents(fresh));
    if (this.resets) {
      for (const name of TIERS.slice(1)) contents.set(name, bufferContents(new Uint8Array(0)));
      contents.set("codebooks", bufferContents(new Uint8Array(0)));
    } else if (this.books.bytes.length > 0) {
      const books = this.soundBooks();
      this.count(fresh, new DataView(books.buffer));
      contents.set("codebooks", bufferContents(books));
    }
    return contents;
  }

  /** Section `codebooks` without those that are damaged, and with a head. */
  private soundBooks(): Uint8Array {
    const { bytes, head, order, sound } = this.books;
    const books = bytes.slice();
    const view = new DataView(books.buffer);
    if (head === undefined) {
      books.fill(0, 0, BOOKS_AT);
      view.setUint32(0, MAGIC, true);
      view.setUint32(4, 1, true);
      view.setUint32(KEEPS, this.keepsOriginals ? 1 : 0, true);
      for (let v = 0; v < VERSIONS; v++) {
        view.setUint32(ORDER + 4 * v, order[v], true);
        if (order[v] > 0) view.setUint32(CURRENT, v + 1, true);
      }
    }
    for (let v = 0; v < VERSIONS; v++) {
      if (order[v] === 0 || sound[v]) continue;
      const [at, length] = bookRoom(this.index.meta.dimensions, v);
      books.fill(0, at, at + length);
      view.setUint32(ORDER + 4 * v, 0, true);
      if (view.getUint32(CURRENT, true) === v + 1) view.setUint32(CURRENT, 0, true);
    }
    return books;
  }

  /** Counts in a head who is where: live nodes alone, and a tier's section as far as a place names a slot of it. */
  private count(places: Uint8Array, head: DataView): void {
    const view = new DataView(places.buffer);
    const used = TIERS.map((_, tier) => this.books.head?.getUint32(USED + 4 * tier, true) ?? 0);
    const [counts, users] = [TIERS.map(() => 0), Array.from({ length: VERSIONS }, () => 0)];
    for (let at = 0; at + PLACE_BYTES <= places.length; at += PLACE_BYTES) {
      const [slot, tier, version] = [view.getUint32(at, true), places[at + 4], places[at + 5]];
      if (slot === 0 || tier >= TIERS.length) continue;
      used[tier] = Math.max(used[tier], slot);
      if (!this.live.has(at / PLACE_BYTES)) continue;
      if (tier > 0) counts[tier]++;
      if (tier >= COOL) users[version]++;
    }
    for (const [at, values] of [
      [USED, used],
      [COUNTS, counts],
      [USERS, users],
    ] as const) {
      for (const [i, value] of values.entries()) head.setUint32(at + 4 * i, value, true);
    }
  }
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
