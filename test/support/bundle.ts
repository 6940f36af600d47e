/** Frozen bundles for tests: written in one go, read whole. */
import { Bundle } from "../../storage/bundle.js";
import { BundleWriter, type Publication } from "../../storage/bundle-writer.js";
import type { Files } from "../../storage/files.js";
import type { Manifest } from "../../storage/manifest.js";

/** Sections by name. */
export type Content = { [name: string]: Uint8Array };

/** Freezes `content` in chunks of at most `chunkBytes`; where that fails, the writer is abandoned. */
export async function freeze(
  files: Files,
  directory: string,
  content: Content,
  more: Partial<Publication> = {},
  chunkBytes = Number.POSITIVE_INFINITY,
): Promise<Manifest> {
  const writer = await BundleWriter.open(files, directory);
  try {
    for (const [name, bytes] of Object.entries(content)) {
      const sink = await writer.section(name, bytes.length);
      for (let at = 0; at < bytes.length; at += chunkBytes) await sink.write(bytes.subarray(at, at + chunkBytes));
      await sink.finish();
    }
    return await writer.publish({ parameters: { kept: [1, "two"] }, generation: 1, lineage: "one", ...more });
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** The same as hex, which compares fast. */
export type HexContent = { [name: string]: string };

export function hexOf(content: Content): HexContent {
  return Object.fromEntries(Object.entries(content).map(([name, bytes]) => [name, Buffer.from(bytes).toString("hex")]));
}

/** All sections but the checksums, read from disk. */
export async function contentOf(bundle: Bundle): Promise<HexContent> {
  const content: Content = {};
  for (const { name, bytes } of bundle.manifest.sections) {
    if (name !== "checksums") content[name] = await bundle.read(name, 0, bytes);
  }
  return hexOf(content);
}

/** What the bundle in a directory holds; every byte of it was compared with the witness. */
export async function verified(files: Files, directory: string): Promise<{ manifest: Manifest; content: HexContent }> {
  const bundle = await Bundle.open(files, directory, { verify: "eager" });
  try {
    return { manifest: bundle.manifest, content: await contentOf(bundle) };
  } finally {
    await bundle.close();
  }
}
