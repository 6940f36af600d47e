// Runs at `npm install`: takes the prebuilt kernel where there is one for this platform, else
// compiles it. Says in one message what is missing when that cannot be done.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

function fail(reason) {
  const install =
    process.platform === "darwin"
      ? "xcode-select --install"
      : "apt-get install python3 make g++   (or your system's packages of these: g++ 11 or newer)";
  console.error(
    `\nhebb: the native kernel could not be built: ${reason}.\nIt needs python3, make and a C++20 compiler. Install them and run npm again:\n  ${install}\n`,
  );
  process.exit(1);
}

function prebuilt() {
  if (!existsSync(`${root}/prebuilds`)) return false;
  try {
    createRequire(import.meta.url)("node-gyp-build")(root);
    return true;
  } catch {
    return false; // not for this platform: it is compiled
  }
}

if (process.platform !== "linux" && process.platform !== "darwin") {
  fail(`${process.platform} is not supported; Hebb runs on Linux and macOS`);
}
if (!prebuilt()) {
  const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
  const compiler = process.env.CXX?.split(" ").pop() ?? "c++";
  const missing = [["python3"], ["make"], [compiler, "g++", "clang++"]].filter((names) => !names.some(has));
  if (missing.length > 0)
    fail(
      `${missing.map((names) => (names.at(-1) === "clang++" ? "a C++ compiler" : names[0])).join(" and ")} not found`,
    );
  const gyp = process.env.npm_config_node_gyp;
  const [command, ...args] = gyp ? [process.execPath, gyp] : ["node-gyp"];
  const built = spawnSync(command, [...args, "rebuild", "--jobs=max"], { cwd: root, encoding: "utf8" });
  if (built.status !== 0) {
    const lines = `${built.stdout ?? ""}\n${built.stderr ?? ""}`.split("\n");
    const telling = lines.filter((line) => /error|ERR!/.test(line)).slice(0, 8);
    console.error(telling.join("\n"));
    fail(built.error ? built.error.message : "the compiler reported the errors above");
  }
}
