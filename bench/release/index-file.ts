/** The record of a commit: a folder under bench/results with an index, and a file for each part. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { UsageError } from "../data.js";
import type { Machine } from "../record.js";
import type { PartName, PartResults } from "./parts.js";

/** What the index says of a part that ran. */
export interface PartEntry {
  /** In the record's folder; undefined where the bench ended before it wrote one. */
  file: string | undefined;
  /** After `npm run bench --`. */
  args: readonly string[];
  /** Undefined in a record that was put together from single runs. */
  seconds?: number;
  /** Whether the process ended well: every assertion held. */
  ok: boolean;
}

export interface RecordIndex {
  /** Of the checkout, as `commit` of the files: with `+` where tracked files differed. */
  commit: string;
  /** When it began, ISO 8601. */
  date: string;
  machine: Machine;
  parts: { [name: string]: PartEntry };
}

/** An index and where it lies. */
export interface RecordFolder {
  folder: string;
  index: RecordIndex;
}

const INDEX = "index.json";

/** Writes beside it and renames, so that a run that is killed leaves a whole index. */
export function writeIndex({ folder, index }: RecordFolder): void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, INDEX);
  writeFileSync(`${path}.new`, `${JSON.stringify(index, undefined, 1)}\n`);
  renameSync(`${path}.new`, path);
}

// Only `writeIndex` and `writeRecord` make these files: their types are what was written.
const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

/** All records under `results`, the newest first. */
export function recordsIn(results: string): RecordFolder[] {
  if (!existsSync(results)) return [];
  return readdirSync(results)
    .map((name) => join(results, name))
    .filter((folder) => existsSync(join(folder, INDEX)))
    .map((folder) => ({ folder, index: readJson<RecordIndex>(join(folder, INDEX)) }))
    .sort((a, b) => (a.index.date < b.index.date ? 1 : -1));
}

/** A record by its folder, the name of that under `results`, or the beginning of its commit. @throws {UsageError} where there is none. */
export function recordCalled(name: string, results: string): RecordFolder {
  const path = resolve(name);
  if (existsSync(join(path, INDEX))) return { folder: path, index: readJson<RecordIndex>(join(path, INDEX)) };
  const records = recordsIn(results);
  const found = records.find(({ folder, index }) => basename(folder) === name || index.commit.startsWith(name));
  if (found) return found;
  const names = records.map(({ folder }) => basename(folder)).join(", ") || "none";
  throw new UsageError(`no record "${name}": it is neither a folder with an ${INDEX} nor in ${results} (${names})`);
}

/** The newest record under `results`. @throws {UsageError} where there is none. */
export function newestRecord(results: string): RecordFolder {
  const [newest] = recordsIn(results);
  if (!newest) throw new UsageError(`no record in ${results}; "npm run bench -- release" makes one`);
  return newest;
}

/** The results of one part; undefined where it was not run, or wrote nothing. */
export function resultsOf<Name extends PartName>(
  { folder, index }: RecordFolder,
  part: Name,
): PartResults[Name] | undefined {
  const file = index.parts[part]?.file;
  return file === undefined ? undefined : readJson<{ results: PartResults[Name] }>(join(folder, file)).results;
}
