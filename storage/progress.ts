/**
 * What a long piece of work leaves on its way, so that it goes on after a crash: one file of whole parts behind the
 * fingerprint of all that the work depends on. A file of another fingerprint is begun anew, and what is behind a
 * damaged part counts as not there: to lose a part costs time and nothing else.
 */
import { dirname } from "node:path";
import { crc32c } from "../native/index.js";
import type { Files, StoredFile } from "./files.js";
import {
  decodePart,
  decodeProgressHeader,
  encodePart,
  encodeProgressHeader,
  PART_HEADER_BYTES,
  PROGRESS_HEADER_BYTES,
} from "./format.js";

/** Longer parts are no parts. */
const MOST_BYTES = 2 ** 32 - 1;

export class Progress {
  private readonly parts = new Map<number, Uint8Array>();
  private file: StoredFile | undefined;
  /** Where the next part goes. */
  private end = 0;

  private constructor(
    private readonly files: Files,
    private readonly path: string,
    private readonly fingerprint: Uint8Array,
  ) {}

  /** @param fingerprint 32 bytes */
  static async open(files: Files, path: string, fingerprint: Uint8Array): Promise<Progress> {
    const progress = new Progress(files, path, fingerprint);
    if ((await files.kind(path)) !== undefined) await progress.read();
    return progress;
  }

  /** Whether any part is there. */
  get isBegun(): boolean {
    return this.parts.size > 0;
  }

  get(part: number): Uint8Array | undefined {
    return this.parts.get(part);
  }

  /** Resolves once the part is durable. */
  async add(part: number, bytes: Uint8Array): Promise<void> {
    if (bytes.length > MOST_BYTES) return; // done again another time
    const file = await this.begun();
    const head = encodePart(part, bytes);
    await file.pwrite(head, this.end);
    await file.pwrite(bytes, this.end + head.length);
    await file.sync();
    this.end += head.length + bytes.length;
    this.parts.set(part, bytes);
  }

  /** Gives the file back; it stays. */
  async close(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  /** The work is done. */
  async remove(): Promise<void> {
    await this.close();
    if ((await this.files.kind(this.path)) !== undefined) await this.files.unlink(this.path);
  }

  private async read(): Promise<void> {
    const file = await this.files.open(this.path, "write");
    this.file = file;
    const fingerprint = decodeProgressHeader(await file.pread(PROGRESS_HEADER_BYTES, 0));
    if (fingerprint === undefined || Buffer.compare(fingerprint, this.fingerprint) !== 0) return;
    const size = await file.size();
    for (let at = PROGRESS_HEADER_BYTES; ; ) {
      this.end = at;
      const head = decodePart(await file.pread(PART_HEADER_BYTES, at));
      if (head === undefined || at + PART_HEADER_BYTES + head.length > size) return;
      const bytes = await file.pread(head.length, at + PART_HEADER_BYTES);
      if (crc32c(bytes) !== head.checksum) return;
      this.parts.set(head.part, bytes);
      at += PART_HEADER_BYTES + head.length;
    }
  }

  /** The file with its header, and nothing behind `end`. */
  private async begun(): Promise<StoredFile> {
    const isNew = this.file === undefined && (await this.files.kind(this.path)) === undefined;
    this.file ??= await this.files.open(this.path, "create");
    if (this.end === 0) {
      await this.file.truncate(0);
      await this.file.pwrite(encodeProgressHeader(this.fingerprint), 0);
      this.end = PROGRESS_HEADER_BYTES;
    }
    if (isNew) await this.files.syncDirectory(dirname(this.path));
    return this.file;
  }
}
