/** Reads a file from front to back, unpacking gzip on the way, and knows how far it is. */
import { createReadStream, type ReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { reasonOf } from "../../base/errors.js";
import { HebbError } from "../index.js";

const CHUNK_BYTES = 1 << 20;

/** One pass over a file. Open it with `ByteReader.open`. */
export class ByteReader {
  private readonly raw: ReadStream;
  private readonly chunks: AsyncIterator<Buffer>;
  private held: Buffer = Buffer.alloc(0);

  private constructor(
    readonly path: string,
    /** Bytes of the file as it lies on disk, packed or not. */
    readonly size: number,
    /** Whether the file is gzipped: its name ends in .gz. */
    readonly packed: boolean,
  ) {
    this.raw = createReadStream(path, { highWaterMark: CHUNK_BYTES });
    // The pipeline hands errors of either stream on to whoever iterates.
    const stream = packed ? pipeline(this.raw, createGunzip({ chunkSize: CHUNK_BYTES }), () => {}) : this.raw;
    this.chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** @throws {HebbError} IO_ERROR where the file cannot be read */
  static async open(path: string): Promise<ByteReader> {
    try {
      return new ByteReader(path, (await stat(path)).size, path.toLowerCase().endsWith(".gz"));
    } catch (cause) {
      throw unreadable(path, cause);
    }
  }

  /** Share of the file that has been read, 0 to 1. */
  get fraction(): number {
    return this.size === 0 ? 1 : Math.min(1, this.raw.bytesRead / this.size);
  }

  /** The next bytes, as many as come at once; undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    if (this.held.length > 0) {
      const chunk = this.held;
      this.held = Buffer.alloc(0);
      return chunk;
    }
    try {
      const result = await this.chunks.next();
      return result.done ? undefined : result.value;
    } catch (cause) {
      throw unreadable(this.path, cause);
    }
  }

  /**
   * Exactly `count` bytes, or fewer where the file ends before. The buffer is the caller's only until the next read.
   */
  async take(count: number): Promise<Buffer> {
    if (this.held.length < count) {
      const parts = [this.held];
      let length = this.held.length;
      this.held = Buffer.alloc(0);
      while (length < count) {
        const chunk = await this.next();
        if (chunk === undefined) break;
        parts.push(chunk);
        length += chunk.length;
      }
      this.held = Buffer.concat(parts);
    }
    const taken = this.held.subarray(0, count);
    this.held = this.held.subarray(taken.length);
    return taken;
  }

  /** Lets go of the file before its end. */
  async close(): Promise<void> {
    await this.chunks.return?.();
  }
}

function unreadable(path: string, cause: unknown): HebbError {
  return new HebbError("IO_ERROR", `${path} cannot be read: ${reasonOf(cause)}`, { path }, cause);
}
