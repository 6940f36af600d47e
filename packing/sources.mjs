// What the kernel is compiled from, and a digest of it: a prebuilt kernel is fresh as long as that stays the same.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const checkout = fileURLToPath(new URL("..", import.meta.url));

/** Paths of the kernel's sources in the checkout, sorted. */
export function kernelSources() {
  const native = readdirSync(join(checkout, "native"), { recursive: true })
    .filter((name) => /\.(cpp|hpp|inl)$/.test(name))
    .map((name) => `native/${name}`);
  return ["binding.gyp", ...native.sort()];
}

/** SHA-256, in hex, of the sources and of the version of node-addon-api that they are compiled with. */
export function kernelDigest() {
  const hash = createHash("sha256");
  for (const path of kernelSources()) {
    const bytes = readFileSync(join(checkout, path));
    hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  }
  return hash.update(createRequire(import.meta.url)("node-addon-api").version).digest("hex");
}
