/** Finds and loads the compiled kernel. */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HebbError, REPAIR_OR_RESTORE, reasonOf } from "../base/errors.js";
import { GRAPH_SECTIONS, LEARNED_SECTIONS } from "./layout.js";

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "binding.gyp"))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new HebbError("KERNEL_UNAVAILABLE", "the package's root (binding.gyp) is not there; install hebb again");
    folder = parent;
  }
  return folder;
}

/** What this file itself asks of the addon; each face declares what it takes. */
interface Addon {
  /** The function that makes the error for a block without its checksum, and for bytes that could not be read at all. */
  makeFaultsBy(make: typeof blockFault): void;
}

/** Names of a store's sections, by number; docs/format.md has their contents. */
const SECTION_NAMES: readonly string[] = [...GRAPH_SECTIONS, ...LEARNED_SECTIONS];

/**
 * A block without its checksum; or, with a reason, bytes that contradict themselves though it holds; or a page that was
 * lost: `details.lost` is true then, and nothing that the region holds counts any more.
 */
function blockFault(
  section: number,
  block: number,
  expected: number,
  computed: number,
  offset: number,
  reason: string | null,
  lost: boolean,
): HebbError {
  const hex = (value: number) => `0x${value.toString(16).padStart(8, "0")}`;
  const name = SECTION_NAMES[section] ?? String(section);
  if (lost) {
    const message = `index.hebb, section ${name}, offset ${offset}: ${reason}. Close this handle, see to file and disk, open again`;
    return new HebbError("IO_ERROR", message, { section, offset, lost });
  }
  if (reason !== null) {
    const message = `section ${name}, offset ${offset}: ${reason}. ${REPAIR_OR_RESTORE}`;
    return new HebbError("INDEX_CORRUPT", message, { section, offset, reason });
  }
  return new HebbError(
    "INDEX_CORRUPT",
    `section ${name}, block ${block}, offset ${offset}: checksum ${hex(expected)} stored, ` +
      `${hex(computed)} computed. Run "hebb check <dir>"`,
    { section, block, expected, computed },
  );
}

function load(): Addon {
  const require = createRequire(import.meta.url);
  try {
    const addon = (require("node-gyp-build") as (root: string) => Addon)(packageRoot());
    addon.makeFaultsBy(blockFault);
    return addon;
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
    const message = reasonOf(cause);
    if (message.startsWith("HEBB_KERNEL")) throw new HebbError("KERNEL_UNAVAILABLE", message, {}, cause);
    throw new HebbError(
      "KERNEL_UNAVAILABLE",
      `the native kernel did not load on ${process.platform}-${process.arch} (${message.split("\n")[0]}). ` +
        `It needs python3, make and a C++20 compiler; install them, then run "npm rebuild hebb"`,
      {},
      cause,
    );
  }
}

const addon = load();

/**
 * The compiled addon as a face of it declares its part. Faces know the loader and it knows none of them; that they say
 * what the addon has, only their tests can tell.
 */
export const addonAs = <Part>(): Part => addon as Part;
