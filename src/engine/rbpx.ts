/**
 * The container `rbpx0001`, in which vectors change hands: 32 bytes of header (magic "rbpx0001", version u32 = 1,
 * dimension u32, seed u64, rerank factor u32, n u32), then n times an id (u32) and its vector (f32 x dimension), all
 * little-endian. Its seed names a rotation of whoever wrote it, which nobody else has: codes are always made anew.
 */
import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { HebbError } from "../../base/errors.js";
import { Slices } from "../../base/slices.js";
import type { Id } from "../../base/types.js";
import { diskFiles, type StoredFile } from "../../storage/files.js";
import { MOST_DIMENSIONS, MOST_RERANK, MOST_ROWS } from "./frozen-parameters.js";
import { show } from "./validate.js";

const MAGIC = "rbpx0001";
const VERSION = 1;
const HEADER_BYTES = 32;
const ID_BYTES = 4;
const MOST_ID = 2 ** 32 - 1;
const PIECE_BYTES = 1 << 20;
/** 4 GiB, as much as a typed array holds. */
const MOST_VALUES = 2 ** 30;

/** What `readRbpx` found. */
export interface RbpxVectors {
  /** Values per vector, 1-8,192. */
  dimensions: number;
  /** Of the rotation that whoever wrote it used. */
  seed: bigint;
  /** As its header says; nothing here depends on it. */
  rerankFactor: number;
  /** Integers from 0 to 4,294,967,295, as `putMany` takes them. */
  ids: number[];
  /** ids.length x dimensions values. */
  vectors: Float32Array;
}

/**
 * Reads an `rbpx0001` container, whose `ids` and `vectors` are what `putMany` takes.
 * @throws {HebbError} FILE_UNSUPPORTED for what is none, is of another version, or is longer or shorter than its header
 *   says; IO_ERROR
 * @throws {TypeError} for a path that is none
 */
export async function readRbpx(path: string): Promise<RbpxVectors> {
  checkPath(path);
  const refuse = (problem: string): never => {
    throw new HebbError("FILE_UNSUPPORTED", `${path}: ${problem}; expected a whole ${MAGIC} container`, { path });
  };
  if ((await diskFiles.kind(path, true)) !== "file") refuse("there is no such file");
  const file = await diskFiles.open(path, "read");
  try {
    const size = await file.size();
    const header = Buffer.from(await file.pread(HEADER_BYTES, 0));
    if (header.length < HEADER_BYTES || header.toString("latin1", 0, 8) !== MAGIC)
      refuse(`it does not begin with ${MAGIC}`);
    const version = header.readUInt32LE(8);
    if (version !== VERSION) refuse(`its version is ${version}, and ${VERSION} is read`);
    const [dimensions, rerankFactor, count] = [12, 24, 28].map((at) => header.readUInt32LE(at));
    for (const [name, value, least, most] of [
      ["dimension", dimensions, 1, MOST_DIMENSIONS],
      ["rerank factor", rerankFactor, 0, MOST_RERANK],
      ["n", count, 0, MOST_ROWS],
    ] as const) {
      if (value < least || value > most) refuse(`its ${name} is ${value}; expected ${least} to ${most}`);
    }
    const stride = ID_BYTES + 4 * dimensions;
    const expected = HEADER_BYTES + count * stride;
    if (size !== expected)
      refuse(`it has ${size} bytes, and ${count} vectors of ${dimensions} values take ${expected}`);
    if (count * dimensions > MOST_VALUES)
      refuse(`its ${count * dimensions} values do not fit into one array of ${MOST_VALUES}; split it`);
    const ids = new Array<number>(count);
    const vectors = new Float32Array(count * dimensions);
    const together = Math.max(1, Math.floor(PIECE_BYTES / stride));
    const slices = new Slices();
    for (let first = 0; first < count; first += together) {
      const rows = Math.min(together, count - first);
      const bytes = await file.pread(rows * stride, HEADER_BYTES + first * stride);
      const words = new Uint32Array(bytes.slice().buffer);
      const values = new Float32Array(words.buffer);
      for (let i = 0; i < rows; i++) {
        ids[first + i] = words[i * (dimensions + 1)];
        vectors.set(values.subarray(i * (dimensions + 1) + 1, (i + 1) * (dimensions + 1)), (first + i) * dimensions);
      }
      await slices.pause();
    }
    return { dimensions, seed: header.readBigUInt64LE(16), rerankFactor, ids, vectors };
  } finally {
    await file.close();
  }
}

function checkPath(path: unknown): void {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return;
  throw new TypeError(`path is ${show(path)}; expected one, not empty and without NUL`);
}

/** Writes rows beside `path`, and puts them in its place once all are on disk. @throws {RangeError} for an id of another kind */
export async function writeRbpx(
  path: string,
  { dimensions, seed, rerankFactor, count }: { dimensions: number; seed: bigint; rerankFactor: number; count: number },
  rows: () => Iterable<{ id: Id; vector: Float32Array }>,
): Promise<void> {
  checkPath(path);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, "latin1");
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(dimensions, 12);
  header.writeBigUInt64LE(seed, 16);
  header.writeUInt32LE(rerankFactor, 24);
  header.writeUInt32LE(count, 28);
  const fresh = `${path}.new-${randomBytes(8).toString("hex")}`;
  const file = await diskFiles.open(fresh, "create");
  try {
    await file.pwrite(header, 0);
    await writeRows(file, dimensions, rows());
    await file.sync();
    await file.close();
    await diskFiles.rename(fresh, path);
    await diskFiles.syncDirectory(dirname(path));
  } catch (error) {
    await file.close().catch(() => {}); // the first error tells more
    await diskFiles.unlink(fresh).catch(() => {});
    throw error;
  }
}

async function writeRows(
  file: StoredFile,
  dimensions: number,
  rows: Iterable<{ id: Id; vector: Float32Array }>,
): Promise<void> {
  const words = new Uint32Array(dimensions + 1);
  const values = new Float32Array(words.buffer);
  const slices = new Slices();
  let at = HEADER_BYTES;
  let piece: Buffer[] = [];
  const flush = async () => {
    const bytes = Buffer.concat(piece);
    await file.pwrite(bytes, at);
    at += bytes.length;
    piece = [];
    await slices.pause();
  };
  for (const { id, vector } of rows) {
    if (typeof id !== "number" || id < 0 || id > MOST_ID) {
      throw new RangeError(`id ${show(id)} does not fit into ${MAGIC}; expected integers from 0 to ${MOST_ID}`);
    }
    words[0] = id;
    values.set(vector, 1);
    piece.push(Buffer.from(words.buffer.slice(0)));
    if (piece.length * words.byteLength >= PIECE_BYTES) await flush();
  }
  await flush();
}
