/**
 * manifest.json of a frozen bundle: which files it is made of, and what they are held to. It comes from anywhere, so
 * nothing in it is used before all of it has been checked. docs/frozen-format.md has the rules in words.
 */
import { HebbError, reasonOf } from "../base/errors.js";
import type { Json } from "../base/types.js";
import { BLOCK_BYTES, PAGE_BYTES } from "../native/index.js";
import { corruptBundle } from "./bundle-errors.js";
import { sealOf, witnessOf } from "./witness.js";

export interface ManifestSection {
  /** At most 32 of a-z, 0-9 and "-", beginning with a letter. */
  name: string;
  /** The file's name in the bundle's directory. */
  file: string;
  /** Without the zeros that fill the file up. */
  bytes: number;
  /** `sectionHasher` over name and bytes. */
  digest: string;
}

export interface Manifest {
  format: "hebb-frozen";
  version: 1;
  witness: string;
  seal: string;
  /** What the sections' owner needs to read them. */
  parameters: { [key: string]: Json };
  /** What state of an index was frozen, in its owner's count. */
  generation: number | string;
  /** Which index that was. */
  lineage: string;
  /** For whoever keeps bundles; neither the witness nor the seal covers it. */
  memoryClass?: string;
  sections: ManifestSection[];
  /** Fields at top level that this release does not know: kept and written back, and covered by nothing. */
  unknown: { [key: string]: Json };
}

export const MANIFEST_NAME = "manifest.json";
export const MANIFEST_FORMAT = "hebb-frozen";
const MANIFEST_VERSION = 1;
/** A longer manifest is none. */
export const MOST_MANIFEST_BYTES = 64 << 10;
export const MOST_STRING_BYTES = 4 << 10;
const MOST_SECTIONS = 64;
const MOST_FILE_NAME_BYTES = 255;
const MOST_DEPTH = 32;

/** The section that holds the checksums of all others. */
export const CHECKSUMS = "checksums";

const SECTION_FIELDS = ["name", "file", "bytes", "digest"];
export const SECTION_NAME = /^[a-z][a-z0-9-]{0,31}$/;
const DIGEST = /^[0-9a-f]{64}$/;
/** One name in a directory on any system, visible, and of no other place. */
const FILE_NAME = /^(?!\.)[^/\\:\p{Cc}]+$/u;

/** Bytes of a section's file, filled up with zeros to a whole page. */
export function paddedBytes(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Blocks of a section, each of which has a checksum; the last one may be short. */
export function blockCount(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

/** A manifest of these fields, with the witness and seal that they give. */
export function sealManifest(fields: Omit<Manifest, "format" | "version" | "witness" | "seal">): Manifest {
  checkJson(fields.parameters, "parameters", 1, refuseCall);
  const witness = witnessOf(fields.parameters, fields.sections);
  const manifest = { format: MANIFEST_FORMAT, version: MANIFEST_VERSION, witness, seal: "", ...fields } as const;
  return { ...manifest, seal: sealOf(sealedFields(manifest)) };
}

/** The text of manifest.json. @throws {RangeError} where reading it would be refused; the message names the field */
export function formatManifest(manifest: Manifest): string {
  const { format, version, witness, seal, parameters, generation, lineage, memoryClass, sections, unknown } = manifest;
  const known = { format, version, witness, seal, parameters, generation, lineage };
  const named = sections.map(({ name, file, bytes, digest }) => ({ name, file, bytes, digest }));
  const fields = { ...known, ...(memoryClass !== undefined && { memoryClass }), sections: named, ...unknown };
  checkJson(fields, "", 0, refuseCall);
  checkFields(fields, refuseCall);
  const text = `${JSON.stringify(fields, null, 2)}\n`;
  const bytes = Buffer.byteLength(text);
  if (bytes > MOST_MANIFEST_BYTES) refuseCall("text", `has ${bytes} bytes; expected at most ${MOST_MANIFEST_BYTES}`);
  return text;
}

/**
 * @param where the manifest's path, for messages
 * @throws {HebbError} NOT_A_BUNDLE for JSON of something else, BUNDLE_VERSION for a newer version, and BUNDLE_CORRUPT
 *   for whatever breaks a rule; `details.field` names it
 */
export function parseManifest(source: string | Uint8Array, where: string): Manifest {
  const refuse: Refuse = (field, problem) => {
    throw corruptBundle(`${where}: ${clipped(field)} ${problem}`, { path: where, field });
  };
  if (Buffer.byteLength(source) > MOST_MANIFEST_BYTES) refuse("the file", `has more than ${MOST_MANIFEST_BYTES} bytes`);
  let text: string;
  let json: Json;
  try {
    text =
      typeof source === "string" ? source : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(source);
    json = JSON.parse(text);
  } catch (cause) {
    return refuse("the file", `is no JSON in UTF-8 (${reasonOf(cause)})`);
  }
  if (!isObject(json) || json.format !== MANIFEST_FORMAT) {
    const format = isObject(json) ? shown(json.format) : "missing";
    const message = `${where}: format is ${format}; expected "${MANIFEST_FORMAT}". Give the directory of a frozen bundle`;
    throw new HebbError("NOT_A_BUNDLE", message, { path: where, field: "format" });
  }
  if (Number.isInteger(json.version) && (json.version as number) > MANIFEST_VERSION) {
    const message = `${where}: version is ${json.version}; this release reads ${MANIFEST_VERSION}. Use a newer release`;
    throw new HebbError("BUNDLE_VERSION", message, { path: where, version: json.version });
  }
  // Of equal keys JSON.parse keeps the last, another reader perhaps the first: there must be none.
  const members = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"/g, "").split(":").length - 1;
  if (checkJson(json, "", 0, refuse) !== members) refuse("the file", "has a key twice in one object");
  return checkFields(json, refuse);
}

/** Says what is wrong with a field, as an error of the kind that fits where the manifest comes from. */
type Refuse = (field: string, problem: string) => never;

const refuseCall: Refuse = (field, problem) => {
  throw new RangeError(`the manifest's ${clipped(field)} ${problem}`);
};

/** Refuses what no manifest may hold anywhere, in names of fields too. @returns members of all objects in it */
function checkJson(value: unknown, field: string, depth: number, refuse: Refuse): number {
  if (depth > MOST_DEPTH) refuse(field, `lies deeper than ${MOST_DEPTH} levels`);
  if (typeof value === "string") checkString(value, field, refuse);
  else if (typeof value === "number") {
    if (!Number.isFinite(value)) refuse(field, `is ${value}; expected a finite number`);
  } else if (typeof value === "object" && value !== null) {
    let members = 0;
    for (const [key, one] of Object.entries(value)) {
      const isElement = Array.isArray(value);
      const name = isElement ? `${field}[${key}]` : field === "" ? key : `${field}.${key}`;
      if (!isElement) checkString(key, `key ${name}`, refuse);
      members += (isElement ? 0 : 1) + checkJson(one, name, depth + 1, refuse);
    }
    return members;
  } else if (typeof value !== "boolean" && value !== null) refuse(field, `is ${typeof value}; expected JSON`);
  return 0;
}

function checkString(value: string, field: string, refuse: Refuse): void {
  const bytes = Buffer.byteLength(value);
  if (bytes > MOST_STRING_BYTES) refuse(field, `has ${bytes} bytes of UTF-8; expected at most ${MOST_STRING_BYTES}`);
  if (!value.isWellFormed()) refuse(field, "has half a surrogate pair; expected well-formed Unicode");
}

/** Refuses fields that are missing or of the wrong shape, or contradict each other. */
function checkFields(fields: { [key: string]: Json }, refuse: Refuse): Manifest {
  const { format, version, witness, seal, parameters, generation, lineage, memoryClass, sections, ...unknown } = fields;
  const expect = (holds: boolean, field: string, value: Json | undefined, expected: string) => {
    if (!holds) refuse(field, `is ${shown(value)}; expected ${expected}`);
  };
  const expectMatch = (pattern: RegExp, field: string, value: Json | undefined, expected: string) =>
    expect(typeof value === "string" && pattern.test(value), field, value, expected);

  expect(format === MANIFEST_FORMAT, "format", format, `"${MANIFEST_FORMAT}"`);
  expect(version === MANIFEST_VERSION, "version", version, String(MANIFEST_VERSION));
  expectMatch(DIGEST, "witness", witness, "64 digits of lower-case hex");
  expectMatch(DIGEST, "seal", seal, "64 digits of lower-case hex");
  expect(isObject(parameters), "parameters", parameters, "an object");
  const isGeneration = typeof generation === "string" || isCount(generation);
  expect(isGeneration, "generation", generation, "a string, or an integer from 0 to 2^53 - 1");
  expect(typeof lineage === "string", "lineage", lineage, "a string");
  expect(memoryClass === undefined || typeof memoryClass === "string", "memoryClass", memoryClass, "a string or none");
  if (!Array.isArray(sections)) return refuse("sections", `is ${shown(sections)}; expected an array`);
  const isFew = sections.length >= 1 && sections.length <= MOST_SECTIONS;
  if (!isFew) refuse("sections", `has ${sections.length} elements; expected 1 to ${MOST_SECTIONS}`);

  const taken = new Set<string>();
  for (const [i, section] of sections.entries()) {
    const field = `sections[${i}]`;
    if (!isObject(section)) return refuse(field, `is ${shown(section)}; expected an object`);
    const { name, file, bytes, digest } = section;
    expectMatch(SECTION_NAME, `${field}.name`, name, "at most 32 of a-z, 0-9 and -, beginning with a letter");
    const isName = typeof file === "string" && FILE_NAME.test(file) && Buffer.byteLength(file) <= MOST_FILE_NAME_BYTES;
    const nameRule = `the name of a file in the bundle, of 1 to ${MOST_FILE_NAME_BYTES} bytes, without / \\ : and control characters, not beginning with "."`;
    expect(isName && file !== MANIFEST_NAME, `${field}.file`, file, nameRule);
    expect(isCount(bytes), `${field}.bytes`, bytes, "an integer from 0 to 2^53 - 1");
    expectMatch(DIGEST, `${field}.digest`, digest, "64 digits of lower-case hex");
    const extra = Object.keys(section).find((key) => !SECTION_FIELDS.includes(key));
    if (extra !== undefined)
      refuse(`${field}.${extra}`, `is no field of a section; they are ${SECTION_FIELDS.join(", ")}`);
    for (const [key, value] of Object.entries({ name, file })) {
      if (taken.has(`${key} ${value}`)) refuse(`${field}.${key}`, `is ${shown(value)}, as of a section before it`);
      taken.add(`${key} ${value}`);
    }
  }

  const known = { format, version, witness, seal, parameters, generation, lineage, memoryClass, sections };
  const manifest = { ...known, unknown } as unknown as Manifest; // as was checked
  const checksums = manifest.sections.find(({ name }) => name === CHECKSUMS);
  const others = manifest.sections.filter((section) => section !== checksums);
  const blocks = others.reduce((sum, { bytes }) => sum + blockCount(bytes), 0);
  expect(checksums?.bytes === 4 * blocks, `bytes of section ${CHECKSUMS}`, checksums?.bytes, `${4 * blocks}`);
  const expectedWitness = witnessOf(manifest.parameters, manifest.sections);
  expect(witness === expectedWitness, "witness", witness, `what parameters and digests give, "${expectedWitness}"`);
  const expectedSeal = sealOf(sealedFields(manifest));
  expect(seal === expectedSeal, "seal", seal, `what the other fields give, "${expectedSeal}"`);
  return manifest;
}

/** What the seal covers: all that this release knows, but for the seal itself and `memoryClass`. */
function sealedFields(manifest: Manifest): { [key: string]: Json } {
  const { format, version, witness, parameters, generation, lineage } = manifest;
  const sections = manifest.sections.map(({ name, file, bytes, digest }) => ({ name, file, bytes, digest }));
  return { format, version, witness, parameters, generation, lineage, sections };
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: Json | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function shown(value: Json | undefined): string {
  if (value === undefined) return "missing";
  try {
    return clipped(JSON.stringify(value));
  } catch {
    return "nested too deeply to be shown"; // parsing has no limit, writing has the stack's
  }
}

function clipped(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
