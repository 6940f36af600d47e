/** What tests of frozen bundles share: indexes to freeze, what a bundle's files say, and damage to them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sectionNumber } from "../../src/engine/frozen-parameters.js";
import type { FrozenIndex, Hit, Id } from "../../src/index.js";
import { formatManifest, type Manifest, parseManifest, sealManifest } from "../../storage/manifest.js";

const MANIFEST = "manifest.json";

/** The manifest of the bundle in a directory, checked as a reader checks it. */
export function manifestIn(directory: string): Manifest {
  const path = join(directory, MANIFEST);
  return parseManifest(readFileSync(path), path);
}

/** Digests by section, without that of the checksums, which follows from the others. */
export function digestsIn(directory: string): { [section: string]: string } {
  const sections = manifestIn(directory).sections.filter(({ name }) => name !== "checksums");
  return Object.fromEntries(sections.map(({ name, digest }) => [name, digest]));
}

/** Changes the manifest and seals it anew, so that nothing but what was changed is wrong. */
export function reseal(directory: string, change: (manifest: Manifest) => void): void {
  const manifest = structuredClone(manifestIn(directory));
  change(manifest);
  const { parameters, generation, lineage, memoryClass, sections, unknown } = manifest;
  const sealed = sealManifest({ parameters, generation, lineage, memoryClass, sections, unknown });
  writeFileSync(join(directory, MANIFEST), formatManifest(sealed));
}

/** The path of a section's file. */
export function fileOf(directory: string, section: string): string {
  return join(directory, manifestIn(directory).sections.find(({ name }) => name === section)!.file);
}

/** Flips a bit of a section; a negative offset counts from its end. */
export function flipIn(directory: string, section: string, offset: number, bit = 1): void {
  const { bytes } = manifestIn(directory).sections.find(({ name }) => name === section)!;
  const path = fileOf(directory, section);
  const content = readFileSync(path);
  content[offset < 0 ? bytes + offset : offset] ^= bit;
  writeFileSync(path, content);
}

/** A section's bytes, as they lie on disk. */
export function bytesIn(directory: string, section: string): Uint8Array {
  const { bytes } = manifestIn(directory).sections.find(({ name }) => name === section)!;
  return Uint8Array.from(readFileSync(fileOf(directory, section)).subarray(0, bytes));
}

/** The sections in the order in which a bundle's region has them. */
export function sectionsIn(directory: string): string[] {
  const names = manifestIn(directory).sections.map(({ name }) => name);
  return names.sort((a, b) => sectionNumber(a as "head") - sectionNumber(b as "head"));
}

/** Hits as what can be compared to the last bit. */
export const bare = (hits: readonly Hit[]) => hits.map(({ id, distance, score }) => ({ id, distance, score }));

export const idsOf = (hits: readonly { id: Id }[]): Id[] => hits.map(({ id }) => id);

/** Touches every block of every section that a search may read: rows, texts, both kinds of searches, what was learned. */
export function touchAll(frozen: FrozenIndex, query: Float32Array): unknown {
  const entries = [...frozen.entries()];
  const walks = entries
    .filter((_, i) => i % 10 === 0)
    .map(({ vector }) => frozen.search(vector, { k: 1, ef: 50, mode: "graph", include: [] })); // larger indexes are walked
  return [entries, frozen.search(query, { k: 20, include: ["vector"] }), walks];
}
