// Compiles the kernel under libFuzzer, ASan and UBSan, and a program of each target.
import { spawnSync } from "node:child_process";
import { compile, kernelSources, root, run } from "../kernel/build.mjs";

/** Every file of this folder that has a program of its own. */
export const targets = ["codecs", "frozen", "graph"];

const sanitizers = "address,undefined";
// Floats of a damaged file may be anything, and so may what they round to: integers that are values of codes and never
// places. Every instruction set has a number for them, which no test need like.
const without = "-fno-sanitize=float-cast-overflow";
const flags = [
  "-O1",
  "-gline-tables-only",
  "-fno-sanitize-recover=all",
  "-fno-omit-frame-pointer",
  "-Wno-atomic-alignment",
];

/** Paths of the targets' programs, by name. Ends the process where they cannot be built. */
export async function buildTargets() {
  const compiler = process.env.CLANGXX ?? "clang++";
  if (spawnSync(compiler, ["--version"]).status !== 0) {
    console.error(
      `${compiler} is not there, and libFuzzer comes with clang alone. Install it (Debian: apt-get install clang), or name one in CLANGXX.`,
    );
    process.exit(1);
  }
  const out = `${root}/test/fuzz/build`;
  const shared = [
    ...kernelSources(),
    "test/kernel/world.cpp",
    "test/kernel/bundle.cpp",
    "test/fuzz/support.cpp",
    "test/fuzz/image.cpp",
  ];
  const sources = [...targets.map((name) => `test/fuzz/${name}.cpp`), ...shared];
  const instrumented = [...flags, `-fsanitize=fuzzer-no-link,${sanitizers}`, without];
  const objects = await compile({ compiler, arch: process.arch, flags: instrumented, out, sources, reuse: true });
  const programs = {};
  for (const [i, name] of targets.entries()) {
    programs[name] = `${out}/${name}`;
    const all = [objects[i], ...objects.slice(targets.length)];
    const link = [
      ...flags,
      `-fsanitize=fuzzer,${sanitizers}`,
      "-fuse-ld=lld",
      "-pthread",
      ...all,
      "-o",
      programs[name],
    ];
    if ((await run(compiler, link)) !== 0) process.exit(1);
  }
  return programs;
}
