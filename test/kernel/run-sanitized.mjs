// Compiles the kernel and its tests without Node, under ASan and UBSan, and runs them.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = `${root}/build/sanitized`;
mkdirSync(out, { recursive: true });
const compiler = process.env.CXX ?? "c++";
const common = [
  "-std=c++20",
  "-O1",
  "-g",
  "-fno-exceptions",
  "-fno-rtti",
  "-ffp-contract=off",
  "-Wno-psabi",
  "-Inative/include",
  "-Inative",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
  "-fno-omit-frame-pointer",
];
const x64 = process.arch === "x64";
const flags = {
  "native/simd/avx2.cpp": x64 ? ["-mavx2", "-mfma", "-mf16c", "-msse4.2", "-mpopcnt"] : [],
  "native/simd/avx512.cpp": x64
    ? ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-msse4.2", "-mpopcnt"]
    : [],
  "native/simd/neon.cpp": x64 ? [] : ["-march=armv8-a+crc"],
};
const sources = [
  "simd/scalar",
  "simd/avx2",
  "simd/avx512",
  "simd/neon",
  "simd/dispatch",
  "map/platform",
  "map/region",
  "graph/graph",
  "graph/search",
  "graph/insert",
  "graph/consolidate",
].map((name) => `native/${name}.cpp`);

function run(command, args) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (done.status !== 0) process.exit(done.status ?? 1);
}

const objects = [...sources, "test/kernel/kernel-test.cpp"].map((source) => {
  const object = `${out}/${source.replaceAll("/", "-")}.o`;
  run(compiler, [...common, ...(flags[source] ?? []), "-c", source, "-o", object]);
  return object;
});
run(compiler, ["-fsanitize=address,undefined", "-pthread", ...objects, "-o", `${out}/kernel-test`]);
run(`${out}/kernel-test`, process.argv.slice(2));
