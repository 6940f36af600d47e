/** Where a report goes: what may be replaced there, and a write that is whole or nothing. */
import {
  closeSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { reasonOf } from "../../../base/errors.js";
import { HebbError } from "../../index.js";

/** In the first bytes of every report; by it a former one is known. */
export const MADE_BY = '<meta name="generator" content="hebb report">';
const HEAD_BYTES = 1024;

/**
 * Refuses what a report must not replace: anything but a regular file or nothing, a file that is no report unless
 * `force`, and whatever lies in the store.
 * @throws {HebbError} FILE_EXISTS, IO_ERROR
 * @throws {RangeError} for a path in the store
 */
export function checkOutput(path: string, store: string, force: boolean): void {
  const folder = dirname(resolve(path));
  try {
    if (!statSync(folder).isDirectory()) throw new Error("it is no directory");
  } catch (cause) {
    throw unwritable(path, `${folder}: ${reasonOf(cause)}`, cause);
  }
  const within = relative(realpathSync(store), join(realpathSync(folder), basename(path)));
  if (within === "" || !(within === ".." || within.startsWith(`..${sep}`))) {
    throw new RangeError(`${path} is in the store ${store}; expected a path beside it`);
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isFile()) {
    const what = found.isDirectory() ? "a directory" : found.isSymbolicLink() ? "a symbolic link" : "no regular file";
    throw new HebbError("FILE_EXISTS", `${path} is ${what}, which is never replaced; choose another path`, { path });
  }
  if (!force && found.size > 0 && !isReport(path)) {
    throw new HebbError(
      "FILE_EXISTS",
      `${path} is there and no former report; choose another path, or replace it with --force`,
      { path },
    );
  }
}

function isReport(path: string): boolean {
  try {
    const file = openSync(path, "r");
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      return head.toString("utf8", 0, readSync(file, head, 0, HEAD_BYTES, 0)).includes(MADE_BY);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw unwritable(path, reasonOf(cause), cause);
  }
}

/** Writes beside it first: whoever reads the former report has it whole. @throws {HebbError} IO_ERROR, DISK_FULL */
export function writeOutput(path: string, text: string): void {
  const beside = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(beside, text, { flag: "wx" });
    renameSync(beside, path);
  } catch (cause) {
    rmSync(beside, { force: true });
    if ((cause as NodeJS.ErrnoException).code === "ENOSPC") {
      throw new HebbError("DISK_FULL", `${path} cannot be written: no space is left`, { path }, cause);
    }
    throw unwritable(path, reasonOf(cause), cause);
  }
}

const unwritable = (path: string, reason: string, cause: unknown): HebbError =>
  new HebbError("IO_ERROR", `${path} cannot be written: ${reason}`, { path }, cause);
