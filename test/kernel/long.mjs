// The kernel's tests on 64-bit ARM, emulated where the processor is another one: `npm run test:long`.
// Every kernel is forced in turn, and the graphs that they build are compared with those of this machine.
//
// Arguments: SEED (default 1) and SHARE (default 8), by which sizes are divided: emulation is slow.
import { spawnSync } from "node:child_process";
import { buildTests, root } from "./build.mjs";

const [seed = "1", share = "8"] = process.argv.slice(2);
const arm = process.arch === "arm64";
const compiler = arm ? (process.env.CXX ?? "c++") : "aarch64-linux-gnu-g++";
const emulator = arm ? [] : ["qemu-aarch64"];

for (const tool of arm ? [] : [compiler, ...emulator]) {
  if (spawnSync(tool, ["--version"]).status === 0) continue;
  console.error(`${tool} not found. On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user`);
  process.exit(1);
}

const results = [];
/** Runs the tests with one kernel; their output is shown and kept. */
function test(name, command, kernel) {
  console.log(`== ${name}`);
  const done = spawnSync(command[0], [...command.slice(1), seed, share], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, HEBB_KERNEL: kernel },
    stdio: ["ignore", "pipe", "inherit"],
  });
  console.log(done.stdout);
  if (done.error) console.error(done.error.message);
  const graphs = done.stdout?.match(/^graph of .*$/gm)?.join("\n") ?? "";
  results.push({ name, graphs, sound: done.status === 0 && graphs !== "" });
}

const host = await buildTests({
  compiler: process.env.CXX ?? "c++",
  arch: process.arch,
  flags: ["-O2"],
  out: `${root}/build/long-${process.arch}`,
});
test(process.arch, [host], "");
const program = arm
  ? host
  : await buildTests({ compiler, arch: "arm64", flags: ["-O2", "-static"], out: `${root}/build/long-arm64` });
for (const kernel of ["neon", "scalar"]) test(`arm64 ${kernel}`, [...emulator, program], kernel);

for (const { name, graphs, sound } of results) {
  const same = graphs === results[0].graphs;
  console.log(`${name}: ${sound ? "passed" : "FAILED"}${same ? "" : "; its graphs differ from the first ones"}`);
  if (!sound || !same) process.exitCode = 1;
}
