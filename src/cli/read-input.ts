/** What `hebb add` reads: JSONL, arrays and containers of vectors, text files and folders of them. */
import { type Stats, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { type Entry, HebbError, readRbpx } from "../index.js";
import { ByteReader } from "./byte-reader.js";
import { readFvecs, readNpy } from "./read-arrays.js";
import { isTextFile, readTextFile, TEXT_ENDINGS, textFilesBelow } from "./read-folder.js";
import { readJsonlEntries } from "./read-jsonl.js";

const SUPPORTED = `.jsonl, .ndjson, .npy, .fvecs (each also .gz), .rbpx, ${TEXT_ENDINGS.join(", ")}, or a folder of text files`;

/** One pass over an input. */
export interface Input {
  /** How many entries there are, where that is known before reading. */
  readonly count: number | undefined;
  /** Values per vector; undefined for texts and where there are no entries. */
  readonly dimensions: number | undefined;
  /** Whether the first entry is a text. */
  readonly isText: boolean;
  /** The entries, in order; to be iterated once. */
  readonly entries: AsyncIterable<Entry>;
  /** Share of the input that has been read, 0 to 1. */
  fraction(): number;
  /** Files passed over because they hold no text. */
  readonly skipped: string[];
}

/**
 * Opens an input by its name.
 * @throws {HebbError} FILE_UNSUPPORTED naming file, type and what is supported, here or while iterating; IO_ERROR
 */
export async function openInput(path: string): Promise<Input> {
  if (statOf(path).isDirectory()) return folderInput(path, await textFilesBelow(path));
  if (isTextFile(path)) return folderInput(dirname(path), [basename(path)]);
  const name = path.toLowerCase().replace(/\.gz$/, "");
  const type = /\.[^./\\]+$/.exec(name)?.[0] ?? "";
  if (type === ".jsonl" || type === ".ndjson") {
    const reader = await ByteReader.open(path);
    return inputOf(readJsonlEntries(reader), undefined, () => reader.fraction);
  }
  if (type === ".npy" || type === ".fvecs") {
    const reader = await ByteReader.open(path);
    const { rows, entries } = await (type === ".npy" ? readNpy(reader) : readFvecs(reader));
    return inputOf(entries, rows, () => reader.fraction);
  }
  if (type === ".rbpx") {
    const { dimensions, ids, vectors } = await readRbpx(path);
    async function* rows(): AsyncGenerator<Entry> {
      for (const [i, id] of ids.entries()) yield { id, vector: vectors.subarray(i * dimensions, (i + 1) * dimensions) };
    }
    return inputOf(rows(), ids.length, () => 1);
  }
  const what = type === "" ? "has no ending that tells its type" : `is of type ${type}, which cannot be read`;
  throw new HebbError("FILE_UNSUPPORTED", `${path} ${what}; supported: ${SUPPORTED}`, { path, type });
}

/** Looks at the first entry, so that a file which is unusable from the start fails before anything is opened. */
async function inputOf(
  entries: AsyncGenerator<Entry>,
  count: number | undefined,
  fractionOfFile: () => number,
  skipped: string[] = [],
): Promise<Input> {
  const first = (await entries.next()).value as Entry | undefined;
  let read = 0;
  async function* all(): AsyncGenerator<Entry> {
    if (first === undefined) return;
    read++;
    yield first;
    for await (const entry of entries) {
      read++;
      yield entry;
    }
  }
  const isText = first?.text !== undefined;
  const fraction = () => (count ? (read + skipped.length) / count : fractionOfFile());
  return { count, dimensions: first?.vector?.length, isText, entries: all(), fraction, skipped };
}

async function folderInput(folder: string, paths: string[]): Promise<Input> {
  if (paths.length === 0) {
    throw new HebbError("FILE_UNSUPPORTED", `${folder} has no text files (${TEXT_ENDINGS.join(", ")}) in it`, {
      path: folder,
    });
  }
  const skipped: string[] = [];
  async function* entries(): AsyncGenerator<Entry> {
    for (const path of paths) {
      const entry = await readTextFile(folder, path);
      if (entry === undefined) skipped.push(path);
      else yield entry;
    }
  }
  return inputOf(entries(), paths.length, () => 1, skipped);
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "there is no such file or folder" : message;
    throw new HebbError("IO_ERROR", `${path} cannot be read: ${reason}`, { path }, cause);
  }
}
