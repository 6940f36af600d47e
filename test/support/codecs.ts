/** What tests of the codecs share: the tiers' sections of a closed store, read as docs/format.md has them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Metric } from "../../base/types.js";
import { readCodebook, type Trained } from "../../model/codecs/codebook.js";
import { type Codec, recordBytes } from "../../model/codecs/codec.js";
import { dot, f32 } from "../../model/codecs/f32.js";
import { HalfCodec } from "../../model/codecs/half.js";
import type { ResidualCodec } from "../../model/codecs/residual.js";
import { BLOCK_BYTES, crc32c, PAGE_BYTES } from "../../native/index.js";
import type { Tier } from "../../src/index.js";
import { decodeSlot, SLOT_BYTES } from "../../storage/format.js";
import { TIERS } from "./tiers.js";

const ID_BYTES = 48;
const PLACE_BYTES = 16;
const VERSIONS = 4;
const LIVE = 4;
const up = (n: number, unit: number) => Math.ceil(n / unit) * unit;

/** Bytes of the room that a codebook has, whatever it uses of it. */
const codebookRoom = (d: number): number => up(up(8192 + 20 * d + (d <= 8192 ? 1024 : 8) * d, 8), PAGE_BYTES);

export interface Place {
  slot: number;
  tier: Tier;
  version: number;
  exponent: number;
  norm: number;
}

/** A live row: where it is, and what is there. */
export interface Kept extends Place {
  id: number;
  record: Uint8Array;
}

export interface TieredStore {
  rows: Kept[];
  /** Of section `codebooks`, a number each 4 bytes. */
  head: Uint32Array;
  /** By version; undefined where none was trained. */
  codebooks: (Record<Trained, ResidualCodec> | undefined)[];
}

export function placeAt(bytes: Buffer, node: number): Place {
  const at = PLACE_BYTES * node;
  return {
    slot: bytes.readUInt32LE(at),
    tier: TIERS[bytes[at + 4]],
    version: bytes[at + 5],
    exponent: bytes.readInt16LE(at + 6),
    norm: bytes.readFloatLE(at + 8),
  };
}

/** Reads the codebook of a version, and checks what its head says of it. */
export function codebookAt(
  books: Buffer,
  version: number,
  d: number,
  metric: Metric,
): Record<Trained, ResidualCodec> | undefined {
  const room = books.subarray(BLOCK_BYTES + version * codebookRoom(d), BLOCK_BYTES + (version + 1) * codebookRoom(d));
  if (room.every((byte) => byte === 0)) return undefined;
  const bytes = room.subarray(0, room.readUInt32LE(12));
  expect(room.subarray(bytes.length).every((byte) => byte === 0)).toBe(true);
  expect(room.readUInt32LE(16)).toBe(crc32c(bytes.subarray(20)));
  expect(room.readUInt32LE(20)).toBe(d);
  expect(["l2", "dot", "cosine"][room.readUInt32LE(24)]).toBe(metric);
  return readCodebook(bytes)!;
}

/** The tiers of a closed store that keeps no originals, whose ids are integers. */
export function readTiers(directory: string): TieredStore {
  const file = readFileSync(join(directory, "index.hebb"));
  const slot = decodeSlot(file.subarray(0, SLOT_BYTES));
  if (slot.state !== "valid") throw new Error(`the first meta slot is ${slot.state}`);
  const { dimensions: d, metric, sections } = slot.meta;
  const kinds = [1, 2, 6, 10, 15, 3, 11, 12, 13, 14].map((kind) => {
    const { extents } = sections.find((section) => section.kind === kind)!;
    const parts = extents.map(({ fileBlock: from, blocks }) =>
      file.subarray(from * BLOCK_BYTES, (from + blocks) * BLOCK_BYTES),
    );
    return Buffer.concat(parts);
  });
  const [graph, states, ids, places, books, ...tiers] = kinds;
  const rows: Kept[] = [];
  for (let node = 0; node < graph.readUInt32LE(20); node++) {
    if ((states[node] & LIVE) === 0) continue;
    const place = placeAt(places, node);
    const bytes = place.tier === "hot" ? up(4 * d + (metric === "cosine" ? 4 : 0), 64) : recordBytes(place.tier, d);
    const record = tiers[TIERS.indexOf(place.tier)].subarray((place.slot - 1) * bytes, place.slot * bytes);
    rows.push({ ...place, id: Number(ids.readBigInt64LE(ID_BYTES * node + 8)), record });
  }
  return {
    rows,
    head: Uint32Array.from({ length: 38 }, (_, i) => books.readUInt32LE(4 * i)),
    codebooks: Array.from({ length: VERSIONS }, (_, version) => codebookAt(books, version, d, metric)),
  };
}

/** What a record is read by. */
export function codecOf({ tier, version }: Place, codebooks: TieredStore["codebooks"]): Codec {
  return tier === "hot" || tier === "warm" ? new HalfCodec() : codebooks[version]![tier];
}

const times = (x: Float32Array, by: number) => (by === 1 ? x : x.map((value) => value * by));

/** What `get` says of a compressed row: what its record decodes to, of its size. Zeros for a record that is none. */
export function vectorOf(record: Uint8Array, place: Place, codec: Codec, d: number, metric: Metric): Float32Array {
  const size = metric === "cosine" ? place.norm : 1;
  return times(codec.decode(record) ?? new Float32Array(d), size * 2 ** place.exponent);
}

/** What is encoded of a vector as it was given: under cosine its direction, in tier warm a multiple that suits halves. */
export function encodedOf(vector: Float32Array, { exponent }: Place, metric: Metric): Float32Array {
  return times(vector, metric === "cosine" ? f32(1 / f32(Math.sqrt(dot(vector, vector)))) : 2 ** -exponent);
}
