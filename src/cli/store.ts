/** Opening stores for commands. */
import { existsSync } from "node:fs";
import { HebbError, type Index, type OpenOptions, open } from "../index.js";

/**
 * Opens a store that must be there, hands it to `use`, and closes it whatever happens.
 * @throws {HebbError} STORE_NOT_FOUND, and whatever opening and `use` throw
 */
export async function withStore<T>(path: string, options: OpenOptions, use: (index: Index) => Promise<T>): Promise<T> {
  if (!existsSync(path)) {
    throw new HebbError(
      "STORE_NOT_FOUND",
      `there is no store at ${path}; make one with "hebb create ${path} --text" or "--dimensions <n>"`,
      { path },
    );
  }
  const index = await open(path, options);
  let result: T;
  try {
    result = await use(index);
  } catch (error) {
    // The first error tells more than one from closing.
    await index.close().catch(() => undefined);
    throw error;
  }
  await index.close();
  return result;
}

/** Lines for the store's warnings, on stderr. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`hebb: warning: ${warning}\n`);
}
