// Compiles the kernel and its tests without Node into one program.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
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

/** Sources of a folder, by their paths from the root. */
export function sourcesIn(folder) {
  return readdirSync(`${root}/${folder}`)
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => `${folder}/${name}`);
}

/** Of all folders of the kernel; what is in native/ itself is for Node. */
export function kernelSources() {
  return readdirSync(`${root}/native`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => sourcesIn(`native/${entry.name}`));
}

/** Runs a command in the project's root; what it prints is shown. Resolves to its exit status. */
export function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: "inherit" });
    child.on("error", (error) => {
      console.error(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on("close", (status) => resolve(status ?? 1));
  });
}

/** When the newest header that a source may include was written: the kernel's, and for tests theirs too. */
function headersTime(source) {
  const tops = source.startsWith("native/") ? ["native"] : ["native", "test"];
  const headers = tops.flatMap((top) =>
    readdirSync(`${root}/${top}`, { recursive: true })
      .filter((name) => /\.(hpp|inl)$/.test(name))
      .map((name) => `${root}/${top}/${name}`),
  );
  return Math.max(...headers.map((path) => statSync(path).mtimeMs));
}

/**
 * Compiles sources on all cores and resolves to their objects' paths. With `reuse`, objects that are newer than their
 * source and its headers stay as they are. Ends the process where one cannot be compiled.
 */
export async function compile({ compiler, arch, flags, out, sources, reuse = false }) {
  mkdirSync(out, { recursive: true });
  const objectOf = (source) => `${out}/${source.replaceAll("/", "-")}.o`;
  const isNew = (source) => {
    if (!reuse || !existsSync(objectOf(source))) return false;
    return statSync(objectOf(source)).mtimeMs > Math.max(headersTime(source), statSync(`${root}/${source}`).mtimeMs);
  };
  const waiting = sources.filter((source) => !isNew(source));
  let failed = false;
  const work = async () => {
    for (let source = waiting.shift(); source && !failed; source = waiting.shift()) {
      const args = [...common, ...flags, ...(own[arch]?.[source] ?? []), "-c", source, "-o", objectOf(source)];
      if ((await run(compiler, args)) !== 0) failed = true;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  if (failed) process.exit(1);
  return sources.map(objectOf);
}

/** The program's path. `flags` go to the compiler and the linker. Ends the process where it cannot be built. */
export async function buildTests({ compiler, arch, flags, out }) {
  const sources = [...kernelSources(), ...sourcesIn("test/kernel")];
  const objects = await compile({ compiler, arch, flags, out, sources });
  const program = `${out}/kernel-test`;
  if ((await run(compiler, [...flags, "-pthread", ...objects, "-o", program])) !== 0) process.exit(1);
  return program;
}
