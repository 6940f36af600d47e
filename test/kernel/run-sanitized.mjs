// Compiles the kernel and its tests under ASan and UBSan, and runs them: arguments are those of kernel-test.cpp.
import { spawnSync } from "node:child_process";
import { buildTests, root } from "./build.mjs";

const program = await buildTests({
  compiler: process.env.CXX ?? "c++",
  arch: process.arch,
  flags: ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
  out: `${root}/build/sanitized`,
});
process.exit(spawnSync(program, process.argv.slice(2), { cwd: root, stdio: "inherit" }).status ?? 1);
