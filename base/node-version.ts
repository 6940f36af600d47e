/**
 * Refuses a version of Node.js that is too old. Imported before anything else by what users import, so that they read
 * this and not what happens to fail first.
 */
import { HebbError } from "./errors.js";

/** The oldest that Hebb is tested on: major and minor, as `engines` in package.json. */
export const OLDEST_NODE: readonly [major: number, minor: number] = [20, 19];

/** @throws {HebbError} NODE_UNSUPPORTED where `version` (such as "18.20.8") is older than OLDEST_NODE */
export function checkNode(version: string): void {
  const [major, minor] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new HebbError(
    "NODE_UNSUPPORTED",
    `this is Node.js ${version}; Hebb needs ${oldestMajor}.${oldestMinor} or newer. Install it (https://nodejs.org), then run "npm install" again`,
    { version },
  );
}

checkNode(process.versions.node);
