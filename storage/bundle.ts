/**
 * A frozen bundle as it is read: its manifest, checked, and its files, open until they are mapped. They are looked at
 * once, when the bundle is opened; a publication into the same directory afterwards changes nothing for who has it mapped.
 */
import { join } from "node:path";
import { allDone } from "../base/all-done.js";
import { HebbError } from "../base/errors.js";
import type { Region } from "../native/index.js";
import { corruptBundle, witnessMismatch } from "./bundle-errors.js";
import type { Files, StoredFile } from "./files.js";
import {
  blockCount,
  CHECKSUMS,
  MANIFEST_NAME,
  type Manifest,
  type ManifestSection,
  MOST_MANIFEST_BYTES,
  paddedBytes,
  parseManifest,
} from "./manifest.js";
import { sectionHasher } from "./witness.js";

export interface BundleOptions {
  /**
   * `eager` compares all bytes with the witness before the bundle opens; `lazy` each block with its checksum when it
   * is first touched, at no cost before; `off` nothing but sizes.
   */
  verify: "eager" | "lazy" | "off";
}

type Opened = Map<string, { section: ManifestSection; file: StoredFile }>;

/** Between reading the manifest and opening its files another bundle may be published; so many in a row are none's luck. */
const ATTEMPTS = 10;
const PIECE_BYTES = 1 << 20;

export class Bundle {
  private constructor(
    private readonly files: Files,
    private readonly directory: string,
    readonly manifest: Manifest,
    private readonly opened: Opened,
    /** Of the blocks of each section; undefined where nothing is verified. */
    private readonly checksums: Map<string, Uint32Array> | undefined,
  ) {}

  /**
   * Opens the bundle that is in a directory now.
   * @throws {HebbError} NOT_A_BUNDLE, BUNDLE_VERSION, BUNDLE_CORRUPT, WITNESS_MISMATCH, IO_ERROR
   */
  static async open(files: Files, directory: string, { verify }: BundleOptions): Promise<Bundle> {
    const { manifest, opened } = await openNow(files, directory);
    try {
      const checksums = verify === "off" ? undefined : await readChecksums(opened);
      // Those that are open, and will be mapped: by name there may be others by now.
      if (verify === "eager") await verifySections(opened);
      return new Bundle(files, directory, manifest, opened, checksums);
    } catch (error) {
      await closeAll(opened).catch(() => {}); // the first error tells more
      throw error;
    }
  }

  /** Bytes of a section, where there is one of this name. */
  bytesOf(name: string): number | undefined {
    return this.opened.get(name)?.section.bytes;
  }

  /** A copy of a section's bytes as they lie on disk, which only `verify` compares with anything: for few. */
  async read(name: string, at: number, length: number): Promise<Uint8Array> {
    const { section, file } = this.get(name);
    if (!(at >= 0 && length >= 0 && at + length <= section.bytes)) {
      throw new RangeError(`section ${name}: bytes ${at} to ${at + length} read; it has ${section.bytes}`);
    }
    return readWhole(section, file, at, length);
  }

  /**
   * Backs section `number` of a region with a section's file, which ends with a page; behind it are zeros, as its last
   * checksum has them. States the blocks' checksums, unless nothing is verified.
   */
  async map(region: Region, number: number, name: string): Promise<void> {
    const { section, file } = this.get(name);
    if (section.bytes === 0) return;
    if (file.fd >= 0) region.map(number, 0, paddedBytes(section.bytes), file.fd, 0);
    else region.load(number, 0, await this.read(name, 0, section.bytes));
    const checksums = this.checksums?.get(name);
    if (checksums !== undefined) region.expectChecksums(number, 0, checksums);
  }

  /**
   * Opens every file of the directory anew and compares all bytes with the digests, those behind the sections' ends with
   * zeros. That the digests are the witness's was checked with the manifest.
   * @throws {HebbError} WITNESS_MISMATCH; BUNDLE_CORRUPT, also where another bundle took the place of this one
   */
  async verify(): Promise<void> {
    const opened: Opened = new Map();
    try {
      const gone = await openSections(this.files, this.directory, this.manifest, opened);
      if (gone !== undefined)
        throw damaged(gone, `${join(this.directory, gone.file)} is gone, as after another freeze`);
      await verifySections(opened);
    } finally {
      await closeAll(opened);
    }
  }

  /** Whether the directory still holds this bundle. @throws {HebbError} where what it holds cannot be read */
  async state(): Promise<"up-to-date" | "replaced" | "missing"> {
    if ((await this.files.kind(join(this.directory, MANIFEST_NAME))) === undefined) return "missing";
    const { witness, seal } = await readManifest(this.files, this.directory);
    return witness === this.manifest.witness && seal === this.manifest.seal ? "up-to-date" : "replaced";
  }

  /** Lets go of the files. What is mapped stays, and `verify` and `state` look at the directory anew. */
  close(): Promise<void> {
    return closeAll(this.opened);
  }

  private get(name: string): { section: ManifestSection; file: StoredFile } {
    const one = this.opened.get(name);
    if (one !== undefined) return one;
    const names = [...this.opened.keys()].join(", ");
    throw new RangeError(`section ${JSON.stringify(name)} is not in the bundle; it has ${names}`);
  }
}

async function readManifest(files: Files, directory: string): Promise<Manifest> {
  const path = join(directory, MANIFEST_NAME);
  const kind = await files.kind(path);
  if (kind !== "file") {
    const what = kind === undefined ? "holds no manifest.json" : "has a manifest.json that is no plain file";
    const message = `${directory} is no frozen bundle: it ${what}. Correct the path, or freeze an index into it`;
    throw new HebbError("NOT_A_BUNDLE", message, { path: directory });
  }
  const file = await files.open(path, "read");
  try {
    // One byte more than it may have says that it has too many, whatever its size.
    return parseManifest(await file.pread(MOST_MANIFEST_BYTES + 1, 0), path);
  } finally {
    await file.close();
  }
}

/** The bundle that is there now, with every file open and of the right size. */
async function openNow(files: Files, directory: string): Promise<{ manifest: Manifest; opened: Opened }> {
  const kind = await files.kind(directory, true);
  if (kind !== "directory") {
    const what = kind === undefined ? "does not exist" : "is no directory";
    const message = `${directory} ${what}; a frozen bundle is a directory. Correct the path, or freeze an index into it`;
    throw new HebbError("NOT_A_BUNDLE", message, { path: directory });
  }
  for (let attempt = 1; ; attempt++) {
    const manifest = await readManifest(files, directory);
    const opened: Opened = new Map();
    try {
      const gone = await openSections(files, directory, manifest, opened);
      if (gone === undefined) return { manifest, opened };
      if (attempt === ATTEMPTS) throw damaged(gone, `${join(directory, gone.file)} is gone`);
    } catch (error) {
      await closeAll(opened).catch(() => {}); // the first error tells more
      throw error;
    }
    await closeAll(opened);
  }
}

/** Opens every section's file into `opened`, all at once. @returns a section whose file is not there, if any */
async function openSections(
  files: Files,
  directory: string,
  manifest: Manifest,
  opened: Opened,
): Promise<ManifestSection | undefined> {
  const openOne = async (section: ManifestSection): Promise<boolean> => {
    const path = join(directory, section.file);
    const kind = await files.kind(path);
    if (kind === undefined) return false;
    if (kind !== "file") throw damaged(section, `${path} is no plain file`);
    const file = await files.open(path, "read").catch((error: HebbError) => {
      if (error.details?.errno !== "ENOENT") throw error;
    });
    if (file === undefined) return false;
    opened.set(section.name, { section, file });
    await checkSize(section, file);
    return true;
  };
  const there = await allDone(manifest.sections.map(openOne));
  return manifest.sections.find((_, i) => !there[i]);
}

async function readWhole(section: ManifestSection, file: StoredFile, at: number, length: number): Promise<Uint8Array> {
  const bytes = await file.pread(length, at);
  if (bytes.length < length) throw wrongSize(section, file, at + bytes.length);
  return bytes;
}

async function verifySections(opened: Opened): Promise<void> {
  for (const { section, file } of inOrder(opened)) await verifySection(section, file);
}

/** Compares a section's bytes with its digest, and those behind its end with zeros. */
async function verifySection(section: ManifestSection, file: StoredFile): Promise<void> {
  const hasher = sectionHasher(section.name, section.bytes);
  for (let at = 0; at < section.bytes; at += PIECE_BYTES) {
    hasher.update(await readWhole(section, file, at, Math.min(PIECE_BYTES, section.bytes - at)));
  }
  const digest = hasher.digest("hex");
  if (digest !== section.digest) throw mismatch(section, file, digest);
  const padding = await file.pread(paddedBytes(section.bytes) - section.bytes, section.bytes);
  const place = padding.findIndex((byte) => byte !== 0);
  if (place < 0) return;
  throw mismatch(section, file, padding[place], `byte ${section.bytes + place}, behind its end,`, 0);
}

async function checkSize(section: ManifestSection, file: StoredFile): Promise<void> {
  const size = await file.size();
  if (size !== paddedBytes(section.bytes)) throw wrongSize(section, file, size);
}

/** Reads the checksums of all sections' blocks, held to their digest. */
async function readChecksums(opened: Opened): Promise<Map<string, Uint32Array>> {
  const { section, file } = opened.get(CHECKSUMS)!;
  const bytes = await file.pread(section.bytes, 0);
  const digest = sectionHasher(CHECKSUMS, section.bytes).update(bytes).digest("hex");
  if (digest !== section.digest) throw mismatch(section, file, digest);
  const all = new Uint32Array(bytes.slice().buffer);
  let at = 0;
  const names = [...opened.keys()].filter((name) => name !== CHECKSUMS).sort();
  return new Map(
    names.map((name) => {
      const from = at;
      at += blockCount(opened.get(name)!.section.bytes);
      return [name, all.slice(from, at)];
    }),
  );
}

/** By name: files are opened in any order. */
function inOrder(opened: Opened): { section: ManifestSection; file: StoredFile }[] {
  return [...opened.values()].sort((a, b) => (a.section.name < b.section.name ? -1 : 1));
}

async function closeAll(opened: Opened): Promise<void> {
  await allDone([...opened.values()].map(({ file }) => file.close()));
}

function damaged(section: ManifestSection, problem: string, details: Record<string, unknown> = {}): HebbError {
  return corruptBundle(`section ${section.name}: ${problem}`, {
    section: section.name,
    file: section.file,
    ...details,
  });
}

function wrongSize(section: ManifestSection, { path }: StoredFile, found: number): HebbError {
  const expected = paddedBytes(section.bytes);
  return damaged(section, `${path} has ${found} bytes; expected ${expected}`, { expected, found });
}

function mismatch(
  section: ManifestSection,
  { path }: StoredFile,
  found: string | number,
  what = "digest",
  expected: string | number = section.digest,
): HebbError {
  const details = { section: section.name, file: section.file, expected, found };
  return witnessMismatch(`section ${section.name}: ${path}: ${what} ${found} found; expected ${expected}`, details);
}
