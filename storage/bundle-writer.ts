/**
 * Writes a frozen bundle into a directory, so that whoever reads there sees the bundle before or the new one, whole.
 *
 * 1. Each section is written to a file with a name of its own, synced, and renamed to the name that its digest gives.
 *    No manifest names it yet, or the one that does means the same bytes.
 * 2. The directory is synced: every file of the new bundle is there for good.
 * 3. The manifest is written beside the old one, synced, renamed over it, and the directory synced. The renaming is
 *    the moment at which the new bundle is the one that is there.
 * 4. Files that only the old bundle named are removed. Whoever has them open, or mapped, keeps them.
 */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { assert } from "../base/assert.js";
import { bytesOf } from "../base/bytes.js";
import { checkInteger, HebbError } from "../base/errors.js";
import { breathe } from "../base/slices.js";
import type { Json } from "../base/types.js";
import { BLOCK_BYTES, crc32c } from "../native/index.js";
import { type Files, type Lock, makeDirectories, type StoredFile } from "./files.js";
import {
  blockCount,
  CHECKSUMS,
  formatManifest,
  MANIFEST_FORMAT,
  MANIFEST_NAME,
  type Manifest,
  type ManifestSection,
  MOST_MANIFEST_BYTES,
  paddedBytes,
  parseManifest,
  SECTION_NAME,
  sealManifest,
} from "./manifest.js";
import { sectionHasher } from "./witness.js";

/** What a bundle says of itself beside its sections. */
export type Publication = Pick<Manifest, "parameters" | "generation" | "lineage" | "memoryClass">;

/** Takes a section's bytes, from the first to the last. */
export interface SectionSink {
  /** @throws {RangeError} past the bytes that were declared */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves once the section is synced and has its name. @throws {RangeError} before all its bytes were written */
  finish(): Promise<void>;
}

/** Files that a freeze makes: on their way, and of a bundle. */
const NEW_FILE = /^\.new-[a-z][a-z0-9-]{0,31}-[0-9a-f]{16}$/;
const SECTION_FILE = /^[a-z][a-z0-9-]{0,31}-[0-9a-f]{16}\.bin$/;
/** Hashing this much takes some 2 ms, in which nothing else runs. */
const PIECE_BYTES = 1 << 20;

export class BundleWriter {
  private readonly sections = new Map<string, { entry?: ManifestSection; checksums: Uint32Array }>();
  /** Being written. */
  private readonly opened = new Set<StoredFile>();
  /** Files that were not there before. */
  private readonly made = new Set<string>();
  /** While committing, the manifest may be the old one or the new. */
  private stage: "writing" | "publishing" | "committing" | "ended" = "writing";

  private constructor(
    private readonly files: Files,
    private readonly directory: string,
    private readonly lock: Lock,
    /** Names in the directory when it was locked. */
    private readonly present: ReadonlySet<string>,
    /** Fields of the bundle that is replaced, to be kept. */
    private readonly unknown: { [key: string]: Json },
  ) {}

  /**
   * Locks a directory, which is made where it is missing, for one publication. `publish` or `abandon` must follow.
   * @throws {HebbError} NOT_A_BUNDLE where it holds anything but a bundle or what is left of a freeze; STORE_LOCKED
   */
  static async open(files: Files, directory: string): Promise<BundleWriter> {
    const kind = await files.kind(directory, true);
    if (kind !== undefined && kind !== "directory") {
      throw new HebbError(
        "NOT_A_BUNDLE",
        `${directory} is no directory; a bundle is one. Give an empty or new directory`,
      );
    }
    await makeDirectories(files, directory);
    const lock = await files.lockDirectory(directory, "exclusive");
    if (lock === undefined) throw directoryLockedError(directory);
    try {
      const present = new Set(await files.list(directory));
      const unknown = await replaceable(files, directory, present);
      return new BundleWriter(files, directory, lock, present, unknown);
    } catch (error) {
      await lock.release().catch(() => {}); // the first error tells more
      throw error;
    }
  }

  /**
   * Begins a section of so many bytes. After a failure there is nothing left but to abandon.
   * @throws {RangeError} for a name that is none, or taken, and for bytes that are no count
   */
  async section(name: string, bytes: number): Promise<SectionSink> {
    assert(this.stage === "writing", "a section is begun before the bundle is published");
    if (!SECTION_NAME.test(name) || name === CHECKSUMS || this.sections.has(name)) {
      const rule = `at most 32 of a-z, 0-9 and -, beginning with a letter, other than ${CHECKSUMS} and those before it`;
      throw new RangeError(`section ${JSON.stringify(name)}; expected ${rule}`);
    }
    return this.begin(name, checkInteger(`bytes of section ${name}`, bytes, 0, Number.MAX_SAFE_INTEGER));
  }

  /**
   * Makes the sections the directory's bundle, and ends the writer.
   * @param published called while nobody else can publish there yet
   * @returns what that returns; by default the manifest
   * @throws {RangeError} for what no manifest may hold
   * @throws {HebbError} DISK_FULL, IO_ERROR: the bundle before is there, or the new one where the last sync failed
   */
  async publish<T = Manifest>(
    publication: Publication,
    published: (manifest: Manifest) => T | Promise<T> = (manifest) => manifest as T,
  ): Promise<T> {
    assert(this.stage === "writing", "a bundle is published once");
    this.stage = "publishing";
    const { files, directory } = this;
    await this.writeChecksums();
    const sections = this.inOrder().map(({ entry }) => entry!);
    const { parameters, generation, lineage, memoryClass } = publication;
    const manifest = sealManifest({ parameters, generation, lineage, memoryClass, sections, unknown: this.unknown });
    const text = formatManifest(manifest);
    await files.syncDirectory(directory);
    const file = await this.create("manifest");
    await file.pwrite(Buffer.from(text), 0);
    await this.settle(file);
    this.stage = "committing";
    await files.rename(file.path, join(directory, MANIFEST_NAME));
    await files.syncDirectory(directory);
    await this.sweep(new Set(sections.map((section) => section.file)));
    try {
      return await published(manifest);
    } finally {
      await this.end();
    }
  }

  /** Removes what was written and ends the writer. Does nothing after `publish`, and never throws. */
  async abandon(): Promise<void> {
    if (this.stage === "ended") return;
    for (const file of this.opened) await file.close().catch(() => {});
    for (const name of this.made) {
      // The manifest may be the one that names them.
      if (this.stage === "committing" && SECTION_FILE.test(name)) continue;
      await this.files.unlink(join(this.directory, name)).catch(() => {});
    }
    await this.end();
  }

  private async begin(name: string, bytes: number): Promise<SectionSink> {
    const checksums = new Uint32Array(blockCount(bytes));
    const section: { entry?: ManifestSection; checksums: Uint32Array } = { checksums };
    this.sections.set(name, section);
    const file = await this.create(name);
    // The file is zeros up to its end from now on, and so is what fills it up.
    if (bytes > 0) await file.allocate(0, paddedBytes(bytes));
    const hasher = sectionHasher(name, bytes);
    let at = 0;
    let unbreathed = 0;
    return {
      write: async (chunk) => {
        if (at + chunk.length > bytes) {
          throw new RangeError(`section ${name}: ${at + chunk.length} bytes written; expected ${bytes}, as declared`);
        }
        for (let done = 0; done < chunk.length; ) {
          const piece = chunk.subarray(done, done + PIECE_BYTES);
          await file.pwrite(piece, at);
          hasher.update(piece);
          addChecksums(checksums, at, piece);
          at += piece.length;
          done += piece.length;
          unbreathed += piece.length;
          if (unbreathed < PIECE_BYTES) continue;
          unbreathed = 0;
          await breathe();
        }
      },
      finish: async () => {
        if (at !== bytes) throw new RangeError(`section ${name}: ${at} bytes written; expected ${bytes}, as declared`);
        if (checksums.length > 0) fillLast(checksums, bytes);
        const digest = hasher.digest("hex");
        await this.settle(file);
        const target = `${name}-${digest.slice(0, 16)}.bin`;
        if (!this.present.has(target)) this.made.add(target);
        await this.files.rename(file.path, join(this.directory, target));
        section.entry = { name, file: target, bytes, digest };
      },
    };
  }

  /** The last section: the checksums of all others. */
  private async writeChecksums(): Promise<void> {
    const sections = this.inOrder();
    const unfinished = [...this.sections].find(([, { entry }]) => entry === undefined);
    assert(unfinished === undefined, `every section is finished before it is published, and ${unfinished?.[0]} is not`);
    const all = sections.map(({ checksums }) => Buffer.from(bytesOf(checksums)));
    const bytes = Buffer.concat(all);
    const sink = await this.begin(CHECKSUMS, bytes.length);
    await sink.write(bytes);
    await sink.finish();
  }

  private inOrder(): { entry?: ManifestSection; checksums: Uint32Array }[] {
    return [...this.sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, section]) => section);
  }

  /** A file of a name that no manifest can have. */
  private async create(name: string): Promise<StoredFile> {
    const fresh = `.new-${name}-${randomBytes(8).toString("hex")}`;
    this.made.add(fresh);
    const file = await this.files.open(join(this.directory, fresh), "create");
    this.opened.add(file);
    return file;
  }

  private async settle(file: StoredFile): Promise<void> {
    await file.sync();
    this.opened.delete(file);
    await file.close();
  }

  /** Removes what the bundle there does not name; what cannot be removed is left to the next publication. */
  private async sweep(kept: ReadonlySet<string>): Promise<void> {
    const names = await this.files.list(this.directory).catch(() => []);
    for (const name of names) {
      if (kept.has(name) || !isOurs(name)) continue;
      await this.files.unlink(join(this.directory, name)).catch(() => {});
    }
  }

  private async end(): Promise<void> {
    this.stage = "ended";
    await this.lock.release().catch(() => {});
  }
}

/** Adds `piece`, which lies at `at` of its section, to the checksums of its blocks. */
function addChecksums(checksums: Uint32Array, at: number, piece: Uint8Array): void {
  for (let done = 0; done < piece.length; ) {
    const block = Math.floor((at + done) / BLOCK_BYTES);
    const part = piece.subarray(done, done + (block + 1) * BLOCK_BYTES - (at + done));
    checksums[block] = crc32c(part, checksums[block]);
    done += part.length;
  }
}

/** Continues the last checksum with zeros to the end of its block. */
function fillLast(checksums: Uint32Array, bytes: number): void {
  const zeros = new Uint8Array(checksums.length * BLOCK_BYTES - bytes);
  checksums[checksums.length - 1] = crc32c(zeros, checksums.at(-1));
}

function isOurs(name: string): boolean {
  return NEW_FILE.test(name) || SECTION_FILE.test(name);
}

/**
 * Checks that a bundle may be written where these names are. A bundle there may be damaged, or of a newer release.
 * @returns fields of its manifest that this release does not know
 */
async function replaceable(
  files: Files,
  directory: string,
  names: ReadonlySet<string>,
): Promise<{ [key: string]: Json }> {
  const refused = (name: string) =>
    new HebbError(
      "NOT_A_BUNDLE",
      `${directory} is no bundle, and holds ${JSON.stringify(name)}; give an empty or new directory`,
      { path: directory, name },
    );
  if (!names.has(MANIFEST_NAME)) {
    const foreign = [...names].find((name) => !isOurs(name));
    if (foreign !== undefined) throw refused(foreign);
    return {};
  }
  const path = join(directory, MANIFEST_NAME);
  if ((await files.kind(path)) !== "file") throw refused(MANIFEST_NAME);
  const file = await files.open(path, "read");
  const bytes = await file.pread(MOST_MANIFEST_BYTES + 1, 0).finally(() => file.close());
  if (!saysBundle(Buffer.from(bytes).toString())) throw refused(MANIFEST_NAME);
  try {
    return parseManifest(bytes, path).unknown;
  } catch {
    return {}; // damaged, and about to be replaced
  }
}

/** Whether a text is a bundle's manifest, or was before it was damaged. */
function saysBundle(text: string): boolean {
  try {
    return JSON.parse(text)?.format === MANIFEST_FORMAT;
  } catch {
    return text.startsWith(`{\n  "format": "${MANIFEST_FORMAT}"`);
  }
}

/** The HebbError for a directory that someone else has locked to write a bundle into it. */
function directoryLockedError(path: string): HebbError {
  const message = `another freeze writes into ${path}; wait until it has ended, or freeze into another directory`;
  return new HebbError("STORE_LOCKED", message, { path });
}
