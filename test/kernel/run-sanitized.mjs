// Compiles the kernel and its tests under ASan and UBSan, and runs them on all cores: a process a test.
// Arguments are those of kernel-test.cpp.
import { execFileSync, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { buildTests, root } from "./build.mjs";

const [seed = "1", share = "1", ...asked] = process.argv.slice(2);
const program = await buildTests({
  compiler: process.env.CXX ?? "c++",
  arch: process.arch,
  flags: ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
  out: `${root}/test/kernel/build/sanitized`, // node-gyp empties build/ in the root
});

const there = execFileSync(program, ["--list"], { encoding: "utf8" }).trim().split("\n");
const waiting = asked.length > 0 ? asked : there;
const sum = { passed: 0, failed: 0 };

/** One test in a process of its own; its output is shown when it ends. */
function run(name) {
  return new Promise((resolve) => {
    const child = spawn(program, [seed, share, name], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (text) => {
      said += text;
    });
    child.on("close", (status, signal) => {
      const counts = /^(\d+) passed, (\d+) failed\n$/m.exec(said);
      process.stdout.write(counts ? said.replace(counts[0], "") : said);
      sum.passed += Number(counts?.[1] ?? 0);
      sum.failed += Number(counts?.[2] ?? 0);
      // A sanitizer ends the process before it has counted.
      if (!counts || (status !== 0 && counts[2] === "0")) {
        sum.failed++;
        console.log(`FAIL ${name}: ended with ${signal ?? `status ${status}`} (seed ${seed})`);
      }
      resolve();
    });
  });
}

async function work() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await run(name);
}
await Promise.all(Array.from({ length: availableParallelism() }, work));
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exit(sum.failed > 0 ? 1 : 0);
