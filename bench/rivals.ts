/** The libraries Hebb is measured against: they live in bench/package.json alone, and may be absent. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { CHECKOUT, versionAt } from "./record.js";

const RIVALS = ["usearch", "hnswlib-node", "lmdb", "@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"] as const;
export type Rival = (typeof RIVALS)[number];

export const INSTALL_RIVALS = "npm --prefix bench ci";

const requireFromBench = createRequire(join(CHECKOUT, "bench", "package.json"));

/** The module, or undefined where it is not installed. One that is installed but does not load throws. */
export function loadRival(name: Rival): { module: unknown; version: string } | undefined {
  let main: string;
  try {
    main = requireFromBench.resolve(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
  const module: unknown = requireFromBench(name);
  const folder = main.slice(0, main.lastIndexOf(join("node_modules", name)) + join("node_modules", name).length);
  return { module, version: versionAt(join(folder, "package.json")) };
}

/** Which of `names` are not installed. */
export const missingRivals = (names: readonly string[]): Rival[] =>
  RIVALS.filter((name) => names.includes(name) && loadRival(name) === undefined);
