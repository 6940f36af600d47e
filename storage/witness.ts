/**
 * What a frozen bundle is held to: digests of its sections, the witness over all that is searched by, and the seal
 * over the manifest. SHAKE-256 (FIPS 202) with 32 bytes of output, over items that each have their length before them,
 * so that no two lists of items are the same bytes. The first item says what is hashed: a digest is never taken for a
 * witness. docs/frozen-format.md has the same in words.
 */
import { createHash, type Hash } from "node:crypto";
import type { Json } from "../base/types.js";

/** Keys of objects in the order of their UTF-16 code units, no white space; numbers and strings as JSON.stringify has them. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(",")}}`;
}

/** Takes in a section's bytes, of which there will be `bytes`; `digest("hex")` is the section's digest. */
export function sectionHasher(name: string, bytes: number): Hash {
  return hashed("hebb frozen section 1", name).update(u64(bytes));
}

/** The witness: of parameters and, in ascending order of their names, of sections. */
export function witnessOf(
  parameters: { [key: string]: Json },
  sections: readonly { name: string; bytes: number; digest: string }[],
): string {
  const items = [...sections]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name, bytes, digest }) => [name, u64(bytes), Buffer.from(digest, "hex")]);
  return hashed("hebb frozen witness 1", canonicalJson(parameters), u64(sections.length), ...items).digest("hex");
}

/** The seal: of those fields of a manifest that it covers. */
export function sealOf(fields: { [key: string]: Json }): string {
  return hashed("hebb frozen manifest 1", canonicalJson(fields)).digest("hex");
}

function hashed(...items: (string | Uint8Array)[]): Hash {
  const hash = createHash("shake256", { outputLength: 32 });
  for (const item of items) hash.update(u64(Buffer.byteLength(item))).update(item);
  return hash;
}

/** 8 bytes, little-endian. */
function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
