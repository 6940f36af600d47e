/**
 * Vectors in arrays of numbers: `.npy` (NumPy's format 1.0 to 3.0) and `.fvecs` (each row an int32
 * with its length, then as many f32), both little-endian, both also gzipped. Row i gets the id i.
 */
import { type Entry, HebbError } from "../index.js";
import type { ByteReader } from "./byte-reader.js";

/** What a file of vectors holds. */
export interface ArrayRows {
  /** How many rows; undefined where only reading to the end would tell. */
  rows: number | undefined;
  entries: AsyncGenerator<Entry>;
}

/** How each supported type of `.npy` is read: bytes per value, and one value at an offset. */
const NPY_TYPES: Record<string, { bytes: number; read: (view: DataView, at: number) => number }> = {
  "<f4": { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  "<f8": { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
  "|u1": { bytes: 1, read: (view, at) => view.getUint8(at) },
  "|i1": { bytes: 1, read: (view, at) => view.getInt8(at) },
  "<u2": { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  "<i2": { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  "<u4": { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  "<i4": { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  "<u8": { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  "<i8": { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
};
const NPY_MAGIC = "\x93NUMPY";
const MOST_HEADER_BYTES = 65536;
const MOST_DIMENSIONS = 65536;

/**
 * A two-dimensional array in C order, one vector per row.
 * @throws {HebbError} FILE_UNSUPPORTED for another type, order or shape, and for a file that ends early
 */
export async function readNpy(reader: ByteReader): Promise<ArrayRows> {
  const { type, rows, dimensions } = await readNpyHeader(reader);
  const { bytes, read } = NPY_TYPES[type]!;
  async function* entries(): AsyncGenerator<Entry> {
    try {
      for (let row = 0; row < rows; row++) {
        const record = await reader.take(bytes * dimensions);
        if (record.length < bytes * dimensions) throw wrong(reader, `ends in row ${row} of ${rows}`);
        yield { id: row, vector: valuesOf(record, dimensions, bytes, read) };
      }
      if ((await reader.take(1)).length > 0) throw wrong(reader, `goes on after its ${rows} rows`);
    } finally {
      await reader.close();
    }
  }
  return { rows, entries: entries() };
}

async function readNpyHeader(reader: ByteReader): Promise<{ type: string; rows: number; dimensions: number }> {
  const start = Buffer.from(await reader.take(8));
  if (start.length < 8 || start.toString("latin1", 0, 6) !== NPY_MAGIC)
    throw wrong(reader, "does not begin like a .npy file");
  const version = start[6]!;
  if (version < 1 || version > 3) throw wrong(reader, `is .npy version ${version}; supported are 1 to 3`);
  const sizeBytes = version === 1 ? 2 : 4;
  const size = Buffer.from(await reader.take(sizeBytes));
  const headerBytes = size.length < sizeBytes ? Infinity : size.readUIntLE(0, sizeBytes);
  if (headerBytes > MOST_HEADER_BYTES) throw wrong(reader, "has a damaged header");
  const header = (await reader.take(headerBytes)).toString("latin1");
  // The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/
    .exec(header)?.[1]
    ?.split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(Number);
  if (order === undefined || shape === undefined)
    throw wrong(reader, `has a header that cannot be read: ${header.trim().slice(0, 80)}`);
  if (type === undefined || !Object.hasOwn(NPY_TYPES, type)) {
    throw wrong(
      reader,
      `holds values of type ${type ?? "(structured)"}; supported are ${Object.keys(NPY_TYPES).join(", ")}`,
    );
  }
  if (order === "True") throw wrong(reader, "is in Fortran order; save it with numpy.ascontiguousarray");
  if (shape.length !== 2) throw wrong(reader, `has the shape (${shape.join(", ")}); expected (rows, dimensions)`);
  const [rows, dimensions] = shape as [number, number];
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS || !Number.isSafeInteger(rows)) {
    throw wrong(reader, `has the shape (${shape.join(", ")}); expected 1 to ${MOST_DIMENSIONS} dimensions`);
  }
  return { type, rows, dimensions };
}

/**
 * Rows of `int32 dimensions, f32 x dimensions`, all of one length.
 * @throws {HebbError} FILE_UNSUPPORTED where lengths differ or the file ends early
 */
export async function readFvecs(reader: ByteReader): Promise<ArrayRows> {
  const first = Buffer.from(await reader.take(4));
  const dimensions = first.length < 4 ? 0 : first.readInt32LE(0);
  if (dimensions < 1 || dimensions > MOST_DIMENSIONS) {
    throw wrong(reader, `begins with the length ${dimensions}; expected 1 to ${MOST_DIMENSIONS} dimensions`);
  }
  const rowBytes = 4 + 4 * dimensions;
  const { bytes, read } = NPY_TYPES["<f4"]!;
  async function* entries(): AsyncGenerator<Entry> {
    try {
      for (let row = 0; ; row++) {
        if (row > 0) {
          const length = await reader.take(4);
          if (length.length === 0) return;
          if (length.length < 4) throw wrong(reader, `ends in row ${row}`);
          const given = length.readInt32LE(0);
          if (given !== dimensions)
            throw wrong(reader, `has ${given} dimensions in row ${row}; expected ${dimensions} as before`);
        }
        const record = await reader.take(4 * dimensions);
        if (record.length < 4 * dimensions) throw wrong(reader, `ends in row ${row}`);
        yield { id: row, vector: valuesOf(record, dimensions, bytes, read) };
      }
    } finally {
      await reader.close();
    }
  }
  const rows = reader.packed ? undefined : Math.floor(reader.size / rowBytes);
  return { rows, entries: entries() };
}

function valuesOf(
  record: Buffer,
  count: number,
  bytes: number,
  read: (view: DataView, at: number) => number,
): Float32Array {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = read(view, i * bytes);
  return values;
}

const wrong = (reader: ByteReader, what: string): HebbError =>
  new HebbError("FILE_UNSUPPORTED", `${reader.path} ${what}`, { path: reader.path });
