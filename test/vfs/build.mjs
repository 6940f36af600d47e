// Compiles the VFS that tests trace and fail SQLite with, where its source is newer than what was compiled.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("./trace-vfs.cpp", import.meta.url));
const build = fileURLToPath(new URL("./build/", import.meta.url));
/** The very headers that better-sqlite3 was compiled with. */
const headers = fileURLToPath(new URL("../../node_modules/better-sqlite3/deps/sqlite3", import.meta.url));

/** @returns {string} the path of the library */
export function buildTraceVfs() {
  const library = `${build}trace-vfs${process.platform === "darwin" ? ".dylib" : ".so"}`;
  if (existsSync(library) && statSync(library).mtimeMs > statSync(source).mtimeMs) return library;
  mkdirSync(build, { recursive: true });
  const own = `${library}-${process.pid}`; // another test file may compile it at the same time
  const flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", `-I${headers}`];
  execFileSync(process.env.CXX ?? "g++", [...flags, source, "-o", own], { stdio: "inherit" });
  renameSync(own, library);
  return library;
}
