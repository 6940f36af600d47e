/** Where the kernel cannot be built, one message says what to install. (Nothing is compiled here.) */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

const program = fileURLToPath(new URL("../../native/install.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hebb-install-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function install(env: NodeJS.ProcessEnv, ...flags: string[]): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, [...flags, program], { encoding: "utf8", env });
}

test("tools that are missing are named, with how to get them", () => {
  const { status, stderr } = install({ PATH: folder });
  expect(status).toBe(1);
  expect(stderr).toContain("python3 and make and a C++ compiler not found");
  expect(stderr).toMatch(/Install them and run npm again:\n {2}(apt-get install python3 make g\+\+|xcode-select)/);
});

test("of a failed build the telling lines are shown, and what it needs", () => {
  const gyp = join(folder, "gyp.cjs");
  writeFileSync(gyp, `console.log("make: fine"); console.error("graph.cpp:1: error: no such thing"); process.exit(1);`);
  const { status, stderr } = install({ ...process.env, npm_config_node_gyp: gyp });
  expect(status).toBe(1);
  expect(stderr).toContain("graph.cpp:1: error: no such thing");
  expect(stderr).not.toContain("make: fine");
  expect(stderr).toContain("It needs python3, make and a C++20 compiler");
});

test("a system that is not supported is refused by name", () => {
  const elsewhere = `data:text/javascript,Object.defineProperty(process, "platform", { value: "sunos" })`;
  const { status, stderr } = install(process.env, "--import", elsewhere);
  expect(status).toBe(1);
  expect(stderr).toContain("sunos is not supported; Hebb runs on Linux and macOS");
});
