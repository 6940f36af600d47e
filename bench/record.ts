/** What a run leaves behind: one JSON file with the machine, the commit, the settings and the raw points. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Claim } from "./claims.js";

/** The checkout: dist/bench/record.js lies two folders below it. */
export const CHECKOUT = fileURLToPath(new URL("../../", import.meta.url));

export const RESULTS = join(CHECKOUT, "bench", "results");

const LOAD_BEFORE = loadavg()[0];

export interface Machine {
  cpu: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  node: string;
  /** Load average of the minute before the run: figures of a busy machine are no figures. */
  load: number;
}

const machine = (): Machine => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: availableParallelism(),
  memoryBytes: totalmem(),
  kernel: `${type()} ${release()}`,
  node: process.version,
  load: LOAD_BEFORE,
});

/** Commit of the checkout, with `+` where tracked files differ from it; "unknown" outside a git checkout. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: CHECKOUT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "-uno") === "" ? "" : "+");
  } catch {
    return "unknown"; // a package or a copied tree: the record says so, and the bench can still run
  }
}

/** Version in the package.json at `path`. */
export const versionAt = (path: string): string =>
  (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;

export interface Record {
  bench: "ann" | "learn" | "recommend" | "gnn" | "tiers" | "frozen" | "durability";
  data: string;
  settings: object;
  claims: Claim[];
  results: object;
}

/** Writes `record` as JSON and gives its path without the extension, for a picture beside it. */
export function writeRecord(folder: string, name: string, record: Record): string {
  mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString();
  const stem = join(folder, name.replace("{date}", date.slice(0, 19).replaceAll(":", "-")));
  const whole = {
    bench: record.bench,
    date,
    commit: commit(),
    hebb: versionAt(join(CHECKOUT, "package.json")),
    machine: machine(),
    data: record.data,
    settings: record.settings,
    claims: record.claims,
    results: record.results,
  };
  // Arrays of plain values stand on one line. A line break inside brackets is layout: in a JSON string it is written "\\n".
  const text = JSON.stringify(whole, roundNumbers, 1).replace(
    /\[\n\s*([^[\]{}]*?)\n\s*\]/g,
    (_, values: string) => `[${values.replace(/\n\s*/g, " ")}]`,
  );
  writeFileSync(`${stem}.json`, `${text}\n`);
  return stem;
}

/** Seven significant digits say all that a measurement knows. */
function roundNumbers(_key: string, value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return Array.from(value as Float64Array, (x) => Number(x.toPrecision(7)));
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value;
}
