/** Finds and loads the compiled kernel. */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HebbError } from "../base/errors.js";
import type { Addon } from "./addon.js";

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

function load(): Addon {
  const require = createRequire(import.meta.url);
  try {
    return (require("node-gyp-build") as (root: string) => Addon)(packageRoot());
  } catch (cause) {
    if (cause instanceof HebbError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
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

export const addon: Addon = load();
