// The tarball, and an SQLite that need not be compiled again to install it.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const checkout = fileURLToPath(new URL("../..", import.meta.url));

/** npm's own program, so that it can run where PATH has nothing. */
export const npm = process.env.npm_execpath;
if (!npm?.endsWith("npm-cli.js")) throw new Error('run it as "npm run test:package", which says where npm is');

/** The path of a fresh tarball in `folder`. */
export function pack(folder) {
  const args = [npm, "pack", "--silent", `--pack-destination=${folder}`];
  const said = execFileSync(process.execPath, args, {
    cwd: checkout,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return join(folder, said.trim().split("\n").at(-1));
}

/**
 * The environment in which better-sqlite3's install script finds the checkout's compiled binary as if it had downloaded
 * it: an archive where prebuild-install looks for local ones. The script itself runs as it does for everyone.
 */
export function withSqlite(folder) {
  const root = dirname(createRequire(import.meta.url).resolve("better-sqlite3/package.json"));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const local = join(folder, "sqlite");
  mkdirSync(local, { recursive: true });
  const { glibcVersionRuntime } = process.report.getReport().header;
  const libc = process.platform === "linux" && !glibcVersionRuntime ? "musl" : "";
  const name = `better-sqlite3-v${version}-node-v${process.versions.modules}-${process.platform}${libc}-${process.arch}.tar.gz`;
  execFileSync("tar", ["-czf", join(local, name), "-C", root, "build/Release/better_sqlite3.node"]);
  return { npm_config_better_sqlite3_local_prebuilds: local };
}
