// `npm run test:package`: what a stranger gets. Packs, installs the tarball into empty folders, and uses it there.
// Ends with a line "N passed, N failed". Takes a minute or two, most of it for compiling the kernel once.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentTests } from "./content.mjs";
import { installTests } from "./installing.mjs";
import { pack } from "./packing.mjs";
import { failed, passed } from "./step.mjs";
import { useTests } from "./using.mjs";

const folder = mkdtempSync(join(tmpdir(), "hebb-package-"));
try {
  const tarball = pack(folder);
  await contentTests(tarball);
  const { consumer, compiled } = await installTests(tarball, folder);
  await Promise.all([useTests(consumer), compiled]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed()} passed, ${failed()} failed`);
process.exitCode = failed() === 0 ? 0 : 1;
