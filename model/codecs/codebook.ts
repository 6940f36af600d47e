/**
 * A codebook as section `codebooks` holds it: what all records of one version are read by. A head, the mean, and for
 * each tier below warm a part that says which codec it has, and what that learned.
 */
import { viewOf } from "../../base/bytes.js";
import type { Tier } from "../../base/types.js";
import { type Codec, recordBytes } from "./codec.js";
import { Ecsq } from "./ecsq.js";
import { floatsAt } from "./f32.js";
import { Frame } from "./frame.js";
import { Levels } from "./levels.js";
import { Magnitude } from "./magnitude.js";
import { Pairs } from "./pairs.js";
import { Product } from "./product.js";
import { type Direction, FACTORED, type Factored, type Origin, ResidualCodec } from "./residual.js";
import { Scalar } from "./scalar.js";
import { Signs } from "./signs.js";

const MAGIC = "HEBBTIER";
const VERSION = 1;
const HEAD_BYTES = 64;
const PART_BYTES = 40;
/** Where the head says where the parts of cool, cold and archive begin. */
const PARTS_AT = 48;

/** Tiers that a codebook has codecs for. */
export const TRAINED = ["cool", "cold", "archive"] as const satisfies readonly Tier[];
export type Trained = (typeof TRAINED)[number];

const KINDS: Record<number, Codec["kind"]> = {
  1: "scalar",
  2: "levels",
  3: "signs",
  4: "product",
  5: "pairs",
  6: "ecsq",
};
const FACTORINGS: Record<number, Factored> = { 0: "none", 2: "length", 3: "short", 4: "long" };

/** Codecs by tier; undefined where the bytes are no codebook. Its checksum is the caller's. */
export function readCodebook(bytes: Uint8Array): Record<Trained, ResidualCodec> | undefined {
  const view = viewOf(bytes);
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC || view.getUint32(8, true) !== VERSION) return undefined;
  const dimensions = view.getUint32(20, true);
  const origin: Origin = {
    dimensions,
    scale: view.getFloat32(28, true),
    mean: floatsAt(bytes, HEAD_BYTES, dimensions),
    frame: new Frame(dimensions, view.getBigUint64(32, true)),
  };
  const codecOf = (tier: Trained) => {
    const at = view.getUint32(PARTS_AT + 4 * TRAINED.indexOf(tier), true);
    return readPart(bytes.subarray(at), origin, recordBytes(tier, dimensions));
  };
  return { cool: codecOf("cool"), cold: codecOf("cold"), archive: codecOf("archive") };
}

function readPart(bytes: Uint8Array, origin: Origin, perRecord: number): ResidualCodec {
  const words = new DataView(bytes.buffer, bytes.byteOffset, PART_BYTES);
  const [kind, size, factors, lengthBase, lengthStep, ratioBase, ratioStep, count, parts] = Array.from(
    { length: PART_BYTES / 4 },
    (_, i) => words.getUint32(4 * i, true),
  );
  const factored = FACTORINGS[factors];
  const { bytes: factorBytes, lengthBits, ratioBits } = FACTORED[factored];
  const body = bytes.subarray(PART_BYTES, size);
  const { dimensions: d } = origin;
  const directionOf = (): Direction => {
    switch (KINDS[kind]) {
      case "scalar":
        return new Scalar(d, count === 8 ? 8 : 4, body);
      case "levels":
        return new Levels(d, count, perRecord - factorBytes, body);
      case "signs":
        return new Signs(d);
      case "product":
        return new Product(d, count, parts, body);
      case "pairs":
        return new Pairs(d, count, body);
      case "ecsq":
        return new Ecsq(d, count, perRecord - factorBytes, body);
      default:
        throw new RangeError(`a codebook's part is of kind ${kind}; expected 1 to 6`);
    }
  };
  const [length, ratio] = [
    new Magnitude(lengthBase, lengthStep, lengthBits),
    new Magnitude(ratioBase, ratioStep, ratioBits),
  ];
  return new ResidualCodec(origin, directionOf(), { factored, length, ratio }, perRecord);
}
