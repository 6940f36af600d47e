/** Opening stores for commands. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { HebbError, type Index, type OpenOptions, open } from "../index.js";
import { during } from "./progress.js";

/**
 * Opens a store that must be there, hands it to `use`, and closes it whatever happens.
 * @throws {HebbError} STORE_NOT_FOUND, and whatever opening and `use` throw
 */
export async function withStore<T>(path: string, options: OpenOptions, use: (index: Index) => Promise<T>): Promise<T> {
  const index = await openStore(path, options);
  let result: T;
  try {
    result = await use(index);
  } catch (error) {
    // The first error tells more than one from closing.
    await index.close().catch(() => undefined);
    if (error instanceof HebbError && error.code === "NO_ENCODER") throw noEncoder(path);
    throw error;
  }
  await during("closing", index.close());
  return result;
}

async function openStore(path: string, options: OpenOptions): Promise<Index> {
  if (!existsSync(path)) throw notFound(path);
  try {
    return await during("opening", open(path, options));
  } catch (error) {
    if (!(error instanceof HebbError)) throw error;
    if (error.code === "STORE_NOT_FOUND") throw notFound(path);
    if (error.code !== "STORE_READ_ONLY") throw error;
  }
  // A writer was killed: what it logged has to be put in its place first, which a reader cannot.
  const recovered = await during("opening", open(path));
  await during("closing", recovered.close());
  warn([`${path} was not closed by its last writer; it has been brought up to its log`]);
  return open(path, options);
}

const notFound = (path: string): HebbError =>
  new HebbError(
    "STORE_NOT_FOUND",
    `there is no store at ${path}; make one with "hebb create ${path} --text" or "--dimensions <n>"`,
    { path },
  );

/** For commands that would put texts into a store of vectors, or ask it with one. */
export const noEncoder = (path: string): HebbError =>
  new HebbError(
    "NO_ENCODER",
    `${path} was made for vectors and takes no texts; make a store for texts with "hebb create <store> --text"`,
    { path },
  );

/**
 * Refuses a path at which no new store can be made.
 * @throws {HebbError} STORE_EXISTS
 */
export function checkIsFree(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || (found.isDirectory() && readdirSync(path).length === 0)) return;
  const what = found.isDirectory() ? "is there already and not empty" : "is a file";
  throw new HebbError("STORE_EXISTS", `${path} ${what}; choose another directory`, { path });
}

/** Lines for the store's warnings, on stderr. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`hebb: warning: ${warning}\n`);
}
