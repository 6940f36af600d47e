// Before packing: removes what `tsc -b` made in dist/ of sources that are no longer there, which it leaves behind.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "./sources.mjs";

const dist = join(checkout, "dist");
for (const name of existsSync(dist) ? readdirSync(dist, { recursive: true }) : []) {
  if (!/\.(d\.ts|js)$/.test(name)) continue;
  if (!existsSync(join(checkout, name.replace(/\.(d\.ts|js)$/, ".ts")))) rmSync(join(dist, name));
}
