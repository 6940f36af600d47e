// Runs at `npm install`: takes the prebuilt kernel where there is one that works on this platform, else
// compiles it. Says in one message what is missing when neither can be done.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Ends with one message: why the kernel cannot be compiled, and, where that was tried first, why no prebuilt one serves. */
function fail(reason, prebuiltFault) {
  const install =
    process.platform === "darwin"
      ? "xcode-select --install"
      : "apt-get install python3 make g++   (or your system's packages of these: g++ 11 or newer)";
  const prebuilt = prebuiltFault ? `There is no prebuilt one to use: ${prebuiltFault}.\n` : "";
  console.error(
    `\nhebb: the native kernel could not be built: ${reason}.\n${prebuilt}It needs python3, make and a C++20 compiler. Install them and run npm again:\n  ${install}\n`,
  );
  process.exit(1);
}

/** The reason why Hebb does not run on this version of Node, if it does not; base/node-version.ts says the same later. */
function tooOld() {
  const { engines } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [oldestMajor, oldestMinor] = engines.node.replace(">=", "").split(".").map(Number);
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined;
  return `Node.js ${process.versions.node} is too old; Hebb needs ${engines.node}. Install a newer one (https://nodejs.org) and run npm again`;
}

/** Why the prebuilt kernel cannot be used; undefined where it can. */
function findPrebuiltFault() {
  // The sources of a checkout may be newer than what lies in its prebuilds/, so they are what counts.
  if (existsSync(`${root}/tsconfig.json`)) return "this is a checkout of the repository, which is compiled";
  if (["true", "hebb"].includes(process.env.npm_config_build_from_source))
    return "npm was run with --build-from-source";
  if (!existsSync(`${root}/prebuilds`)) return "the package has none";
  // In a process of its own, since a damaged file can end the one that loads it.
  const trial = `
    const kernel = require("node-gyp-build")(process.argv[1]);
    if (kernel.crc32c(Buffer.from("123456789")) !== 0xe3069283) throw new Error("it computes a wrong checksum");`;
  const env = { ...process.env, PREBUILDS_ONLY: "1" };
  const { status, signal, stderr } = spawnSync(process.execPath, ["-e", trial, root], {
    cwd: root,
    encoding: "utf8",
    env,
  });
  if (status === 0) return undefined;
  const message = /^\w*Error: (.*)$/m.exec(stderr ?? "")?.[1];
  return (
    message?.replace(/^No native build was found/, "none was found") ??
    `loading it ended with ${signal ?? `status ${status}`}`
  );
}

const old = tooOld();
if (old) {
  console.error(`\nhebb: ${old}.\n`);
  process.exit(1);
}
if (process.platform !== "linux" && process.platform !== "darwin") {
  fail(`${process.platform} is not supported; Hebb runs on Linux and macOS`);
}
const prebuiltFault = findPrebuiltFault();
if (prebuiltFault === undefined) {
  rmSync(`${root}/build`, { recursive: true, force: true }); // one compiled for another system would be taken first
} else {
  console.log(
    `hebb: the kernel is compiled, which takes about a minute. The prebuilt one is not used: ${prebuiltFault}.`,
  );
  const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
  const compiler = process.env.CXX?.split(" ").pop() ?? "c++";
  const missing = [["python3"], ["make"], [compiler, "g++", "clang++"]].filter((names) => !names.some(has));
  if (missing.length > 0)
    fail(
      `${missing.map((names) => (names.at(-1) === "clang++" ? "a C++ compiler" : names[0])).join(" and ")} not found`,
      prebuiltFault,
    );
  const gyp = process.env.npm_config_node_gyp;
  const [command, ...args] = gyp ? [process.execPath, gyp] : ["node-gyp"];
  const built = spawnSync(command, [...args, "rebuild", "--jobs=max"], { cwd: root, encoding: "utf8" });
  if (built.status !== 0) {
    const lines = `${built.stdout ?? ""}\n${built.stderr ?? ""}`.split("\n");
    const telling = lines.filter((line) => /error|ERR!/.test(line)).slice(0, 8);
    console.error(telling.join("\n"));
    fail(built.error ? built.error.message : "the compiler reported the errors above", prebuiltFault);
  }
}
