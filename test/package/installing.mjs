// The three ways to get a kernel: prebuilt, compiled, or one error that says what is missing.
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, withSqlite } from "./packing.mjs";
import { expect, output, run, step } from "./step.mjs";

/** A PATH with Node and a shell, which npm runs scripts with, and nothing to compile with. */
function bareEnvironment(folder) {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, "node"));
  symlinkSync("/bin/sh", join(bin, "sh"));
  return { HOME: process.env.HOME, PATH: bin };
}

/** Resolves to the folder of a consumer who has the package installed; `compiled` ends with the step that takes longest. */
export async function installTests(tarball, folder) {
  const consumer = join(folder, "consumer");
  mkdirSync(consumer);
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  const bare = bareEnvironment(folder);

  await step("npm install with the prebuilt kernel, without a compiler", async () => {
    await output(process.execPath, [npm, "install", "--prefer-offline", tarball], {
      cwd: consumer,
      env: { ...bare, ...withSqlite(folder) },
    });
    return "SQLite's binary was there already, as after a download";
  });

  const kernels = (root) => join(root, "node_modules/hebb/prebuilds");
  const copyWithoutKernel = async (name, work) => {
    const copy = join(folder, name);
    cpSync(consumer, copy, { recursive: true, verbatimSymlinks: true });
    const said = await work(copy);
    rmSync(copy, { recursive: true });
    return said;
  };

  await step("without a prebuilt kernel and without a compiler, one error says what to install", () =>
    copyWithoutKernel("neither", async (copy) => {
      rmSync(kernels(copy), { recursive: true });
      const { status, stderr } = await run(process.execPath, [npm, "rebuild", "hebb"], { cwd: copy, env: bare });
      expect(status !== 0, "it was taken for installed");
      for (const part of ["python3 and make and a C++ compiler not found", "Install them and run npm again"]) {
        expect(stderr.includes(part), `"${part}" is not in:\n${stderr}`);
      }
      const imported = await run(process.execPath, ["-e", 'import("hebb")'], { cwd: copy, env: bare });
      expect(/KERNEL_UNAVAILABLE.*npm rebuild hebb/.test(imported.stderr), imported.stderr);
    }),
  );

  const compiled = step("a damaged prebuilt kernel is told, and compiling takes its place", () =>
    copyWithoutKernel("compiled", async (copy) => {
      for (const name of readdirSync(kernels(copy), { recursive: true })) {
        if (name.endsWith(".node")) truncateSync(join(kernels(copy), name), 100_000);
      }
      // What is tried is whether the package's sources compile; unoptimized, which the last -O decides, they do sooner.
      const env = { ...process.env, JOBS: "max", CXXFLAGS: "-O0" };
      const said = await output(process.execPath, [npm, "rebuild", "hebb", "--foreground-scripts"], { cwd: copy, env });
      expect(/The prebuilt one is not used: .*(too short|damaged|truncated|SIGBUS|SIGSEGV)/.test(said), said);
      const program = 'import("hebb").then(({ open }) => open("x.hebb", { dimensions: 2, metric: "l2" }))';
      const loaded = await output(
        process.execPath,
        ["-e", `${program}.then((x) => console.log(x.stats().kernel, x.close() && ""))`],
        { cwd: copy },
      );
      return `${said.split("\n").find((line) => line.startsWith("hebb:"))} Kernel: ${loaded.trim()}`;
    }),
  );
  return { consumer, compiled };
}
