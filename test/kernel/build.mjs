// Compiles the kernel and its tests without Node into one program.
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const common = [
  "-std=c++20",
  "-fno-exceptions",
  "-fno-rtti",
  "-ffp-contract=off",
  "-Wno-psabi",
  "-Inative/include",
  "-Inative",
];
const avx2 = ["-mavx2", "-mfma", "-mf16c", "-msse4.2", "-mpopcnt"];
const avx512 = [
  "-mavx512f",
  "-mavx512bw",
  "-mavx512dq",
  "-mavx512vl",
  "-mfma",
  "-msse4.2",
  "-mpopcnt",
  "-mprefer-vector-width=512",
];
const neon = ["-march=armv8-a+crc"];
const own = {
  x64: {
    "native/simd/avx2.cpp": avx2,
    "native/gnn/products-avx2.cpp": avx2,
    "native/simd/avx512.cpp": avx512,
    "native/gnn/products-avx512.cpp": avx512,
  },
  arm64: { "native/simd/neon.cpp": neon, "native/gnn/products-neon.cpp": neon },
};

function sourcesIn(folder) {
  return readdirSync(`${root}/${folder}`)
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => `${folder}/${name}`);
}

/** Runs a command in the project's root; what it prints is shown. Resolves to its exit status. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit" });
    child.on("error", (error) => {
      console.error(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on("close", (status) => resolve(status ?? 1));
  });
}

/** The program's path. `flags` go to the compiler and the linker. Ends the process where it cannot be built. */
export async function buildTests({ compiler, arch, flags, out }) {
  mkdirSync(out, { recursive: true });
  const folders = readdirSync(`${root}/native`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `native/${entry.name}`);
  const sources = [...folders, "test/kernel"].flatMap(sourcesIn);
  const objectOf = (source) => `${out}/${source.replaceAll("/", "-")}.o`;
  const waiting = [...sources];
  let failed = false;
  const work = async () => {
    for (let source = waiting.shift(); source && !failed; source = waiting.shift()) {
      const args = [...common, ...flags, ...(own[arch]?.[source] ?? []), "-c", source, "-o", objectOf(source)];
      if ((await run(compiler, args)) !== 0) failed = true;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const program = `${out}/kernel-test`;
  if (failed || (await run(compiler, [...flags, "-pthread", ...sources.map(objectOf), "-o", program])) !== 0)
    process.exit(1);
  return program;
}
