/** Sections of a bundle's directory, and what they say of each row's code (native/frozen/layout.hpp). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { frozenStrides } from "../../native/frozen.js";

/** Codes of a block. */
const LANES = 32;
/** Bytes of a code's factors, in front of its planes: what is added, what products are multiplied by, the error. */
const FACTOR_BYTES = 16;
const NO_ROW = 0xffffffff;

/** The bytes of a section. */
export function bundleSection(directory: string, name: string): Uint8Array {
  const manifest = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")) as {
    sections: { name: string; file: string; bytes: number }[];
  };
  const section = manifest.sections.find((one) => one.name === name);
  if (!section) throw new Error(`${directory} has no section ${name}`);
  return readFileSync(join(directory, section.file)).subarray(0, section.bytes);
}

/** What makes an estimate of a row's code. */
export interface OwnCode {
  /** That the product of the code and the query is multiplied by: -2 |r|^2 / <r, w> under squared L2. */
  rescale: number;
  /** What the bundle says that an estimate is off by, for each unit of |q - c|: a standard deviation. */
  error: number;
  /** |w|: the code's length. */
  length: number;
}

/** Of each row, by its number; of codes of more than one bit those in planes. */
export function ownCodes(directory: string, { dimensions, bits }: { dimensions: number; bits: number }): OwnCode[] {
  const { padded, block, planes } = frozenStrides({ dimensions, bits });
  const codes = viewOf(bundleSection(directory, "codes"));
  const levels = bits === 1 ? undefined : viewOf(bundleSection(directory, "planes"));
  const own: OwnCode[] = [];
  for (let at = 0, lane = 0; at < codes.byteLength; at += block) {
    for (let i = 0; i < LANES; i++, lane++) {
      const factor = (which: number) => codes.getFloat32(at + 4 * padded + 4 * (LANES * which + i), true);
      const row = codes.getUint32(at + 4 * padded + 4 * (LANES * 3 + i), true);
      if (row === NO_ROW) continue;
      own[row] = levels
        ? inPlanes(levels, lane * planes, padded, bits)
        : { rescale: factor(1), error: factor(2), length: Math.sqrt(padded) / 2 };
    }
  }
  return own;
}

function inPlanes(levels: DataView, at: number, padded: number, bits: number): OwnCode {
  const middle = (2 ** bits - 1) / 2;
  let squares = 0;
  for (let i = 0; i < padded; i++) {
    const group = at + FACTOR_BYTES + Math.floor(i / 64) * 8 * bits + Math.floor((i % 64) / 8);
    let level = 0;
    for (let plane = 0; plane < bits; plane++) level |= ((levels.getUint8(group + 8 * plane) >> (i % 8)) & 1) << plane;
    squares += (level - middle) ** 2;
  }
  return {
    rescale: levels.getFloat32(at + 4, true),
    error: levels.getFloat32(at + 8, true),
    length: Math.sqrt(squares),
  };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
