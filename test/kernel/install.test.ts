/**
 * A prebuilt kernel is used where it works, and where none can be had, one message says what to install. Nothing is
 * compiled here: `npm run test:package` does that.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";

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

test("a Node.js that is too old is refused before anything is compiled", () => {
  const old = `data:text/javascript,Object.defineProperty(process.versions, "node", { value: "18.20.8" })`;
  const { status, stderr } = install({ PATH: folder }, "--import", old);
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^\nhebb: Node\.js 18\.20\.8 is too old; Hebb needs >=20\.19\. Install a newer one .* run npm again\.\n\n$/,
  );
});

describe("an installed package", () => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const libc = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime;
  const tag = process.platform !== "linux" ? "" : libc ? ".glibc" : ".musl";
  let installed: string;
  let kernel: string;

  // As npm would lay it out, with the kernel that the checkout has compiled, and nothing to compile with.
  beforeEach(() => {
    installed = mkdtempSync(join(folder, "package-"));
    kernel = join(installed, `prebuilds/${process.platform}-${process.arch}/hebb${tag}.node`);
    mkdirSync(dirname(kernel), { recursive: true });
    mkdirSync(join(installed, "native"));
    for (const name of ["package.json", "native/install.mjs"]) cpSync(join(root, name), join(installed, name));
    symlinkSync(join(root, "node_modules"), join(installed, "node_modules"));
    cpSync(join(root, "build/Release/hebb.node"), kernel);
  });
  const installs = (env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, [join(installed, "native/install.mjs")], {
      encoding: "utf8",
      env: { PATH: folder, ...env },
    });

  test("takes its prebuilt kernel, without a compiler and without a word", () => {
    mkdirSync(join(installed, "build/Release"), { recursive: true });
    writeFileSync(join(installed, "build/Release/hebb.node"), "of another system");
    expect(installs()).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(existsSync(join(installed, "build"))).toBe(false);
  });

  const fallsBack = (why: RegExp, env?: NodeJS.ProcessEnv) => {
    const { status, stdout, stderr } = installs(env);
    expect(status).toBe(1);
    expect(stdout).toMatch(why);
    expect(stderr).toContain("python3 and make and a C++ compiler not found.\nThere is no prebuilt one to use: ");
    expect(stderr).toMatch(why);
  };

  test("with a damaged one goes on to compile, and says why", () => {
    writeFileSync(kernel, readFileSync(kernel).subarray(0, 100_000));
    fallsBack(/(file too short|truncated|ended with SIG\w+)/);
    writeFileSync(kernel, "no library at all");
    fallsBack(/(invalid ELF header|not a mach-o|file too short)/);
  });

  test("with none, one of another system, or told to build from source, goes on to compile, and says why", () => {
    fallsBack(/npm was run with --build-from-source/, { npm_config_build_from_source: "true" });
    fallsBack(/none was found for platform=\S+ arch=ia32/, { npm_config_arch: "ia32" });
    rmSync(join(installed, "prebuilds"), { recursive: true });
    fallsBack(/the package has none/);
  });
});
