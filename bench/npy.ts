/** Reads NumPy's .npy (format 1.0 and 2.0, little-endian, C order), plain or gzipped, whole. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const TYPES = {
  "|u1": Uint8Array,
  "<i4": Int32Array,
  "<f4": Float32Array,
  "<f8": Float64Array,
} as const;

export interface Npy {
  /** Sizes of the axes, slowest first. */
  shape: number[];
  data: Uint8Array | Int32Array | Float32Array | Float64Array;
}

/** @throws {Error} names the file and what about it cannot be read. */
export function readNpy(path: string): Npy {
  const raw = readFileSync(path);
  const bytes = path.endsWith(".gz") ? gunzipSync(raw) : raw;
  if (bytes.length < 12 || bytes.toString("latin1", 0, 6) !== "\x93NUMPY") throw new Error(`${path} is no .npy file`);
  const wide = bytes[6] >= 2;
  const headerAt = wide ? 12 : 10;
  const dataAt = headerAt + (wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8));
  const header = bytes.toString("latin1", headerAt, dataAt);
  const type = /'descr':\s*'([^']+)'/.exec(header)?.[1] ?? "?";
  const sizes = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  const Type = TYPES[type as keyof typeof TYPES];
  if (!Type || sizes === undefined) {
    throw new Error(`${path}: type ${type} cannot be read; known are ${Object.keys(TYPES).join(" ")}`);
  }
  if (/'fortran_order':\s*True/.test(header)) throw new Error(`${path}: Fortran order cannot be read; save in C order`);
  const shape = sizes
    .split(",")
    .map((size) => size.trim())
    .filter((size) => size !== "")
    .map(Number);
  const values = shape.reduce((product, size) => product * size, 1);
  const end = dataAt + values * Type.BYTES_PER_ELEMENT;
  if (bytes.length < end) throw new Error(`${path}: ${bytes.length} bytes, but its header promises ${end}`);
  // Copied: the data need not begin at a multiple of its element size.
  return {
    shape,
    data: new Type(bytes.buffer.slice(bytes.byteOffset + dataAt, bytes.byteOffset + end) as ArrayBuffer),
  };
}
