/**
 * `bench release`: every bench that README quotes, each in a process of its own; together they are the record of a
 * commit. They run one after the other, but for those that measure what is found and not how fast: of these two at once.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { machine } from "../record.js";
import { table } from "../table.js";
import { type PartEntry, type RecordFolder, recordsIn, writeIndex } from "./index-file.js";
import { commandOf, type Part } from "./parts.js";

const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));

/** Parts without times that run at once. */
const LANES = 2;

export interface ReleaseOptions {
  /** All of the record. */
  parts: readonly Part[];
  /** Names of those to run now. */
  only: readonly string[];
  /** Records lie in folders under it. */
  results: string;
  /** What is measured, as `commit` of record.ts says. */
  commit: string;
}

/**
 * Runs what this commit's record lacks, and gives whether every part that was asked for ended well. Once each part has been run, records before the last one are deleted: `compare` needs that one, and git keeps the others.
 */
export async function runRelease({ parts, only, results, commit }: ReleaseOptions): Promise<boolean> {
  const record = recordOf(commit, results);
  const asked = parts.filter(({ name }) => only.includes(name));
  const todo = asked.filter(({ name }) => isToRun(record.index.parts[name], only.length < parts.length));
  const timed = todo.filter(({ timeless }) => !timeless);
  const timeless = todo.filter((part) => part.timeless);
  const minutes = (some: readonly Part[]) => some.reduce((sum, part) => sum + part.minutes, 0);
  console.log(
    `record ${record.folder}: ${asked.length - todo.length} parts are there, ${todo.length} to run, about ${Math.ceil(minutes(timed) + minutes(timeless) / LANES)} minutes`,
  );
  await inLanes(timed, 1, record);
  await inLanes(timeless, LANES, record);
  printParts(record, parts);
  if (parts.every(({ name }) => name in record.index.parts)) deleteBefore(record, results);
  return asked.every(({ name }) => record.index.parts[name].ok);
}

async function inLanes(parts: readonly Part[], lanes: number, record: RecordFolder): Promise<void> {
  const waiting = [...parts];
  const lane = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      console.log(`\n== ${part.name}: ${commandOf(part)} (about ${part.minutes} minutes)\n`);
      record.index.parts[part.name] = await runPart(part, record.folder);
      writeIndex(record);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** What failed and left its figures would most likely fail again: only where it is named. What left none is run again. */
const isToRun = (entry: PartEntry | undefined, named: boolean): boolean =>
  entry === undefined || (!entry.ok && (named || entry.file === undefined));

/** The record that this commit has already, or a new one. Of a tree that differs from its commit nobody knows whether it is the same: always a new one. */
function recordOf(current: string, results: string): RecordFolder {
  const clean = !current.endsWith("+") && current !== "unknown";
  const begun = clean && recordsIn(results).find(({ index }) => index.commit === current);
  if (begun) return begun;
  if (!clean) console.log(`tracked files differ from a commit (${current}): this run cannot be resumed`);
  const date = new Date().toISOString();
  const folder = join(results, `${date.slice(0, 19).replaceAll(":", "-")}-${current}`);
  return { folder, index: { commit: current, date, machine: machine(), parts: {} } };
}

async function runPart({ name, args }: Part, folder: string): Promise<PartEntry> {
  const unfinished = join(folder, `.${name}`);
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const started = performance.now();
  const child = spawn(process.execPath, [MAIN, ...args, "--out", unfinished], { stdio: "inherit" });
  const ended = await new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const seconds = (performance.now() - started) / 1e3;
  // A bench writes one JSON file, and pictures beside it whose names begin with the same stem.
  const written = readdirSync(unfinished);
  const json = written.find((file) => file.endsWith(".json"));
  const stem = json?.slice(0, -".json".length);
  if (stem !== undefined) {
    for (const file of written) renameSync(join(unfinished, file), join(folder, file.replace(stem, name)));
  }
  rmSync(unfinished, { recursive: true });
  const ok = ended === "exit code 0" && json !== undefined;
  if (!ok) console.log(`\nFAIL ${name}: ${ended}${json ? "" : ", no record written"}; the others go on`);
  return { file: json && `${name}.json`, args, seconds: Number(seconds.toFixed(1)), ok };
}

function printParts({ folder, index }: RecordFolder, parts: readonly Part[]): void {
  const rows = parts.map(({ name, minutes }) => {
    const entry = index.parts[name];
    if (!entry) return [name, "not run", "-", minutes.toFixed(1)];
    const took = entry.seconds === undefined ? "-" : (entry.seconds / 60).toFixed(1);
    return [name, entry.ok ? "ok" : "FAIL", took, minutes.toFixed(1)];
  });
  const total = Object.values(index.parts).reduce((sum, { seconds = 0 }) => sum + seconds, 0);
  console.log(`\n${table(["part", "", "minutes", "expected"], rows)}`);
  console.log(`\n${(total / 60).toFixed(1)} minutes in all; record ${folder}`);
}

function deleteBefore(record: RecordFolder, results: string): void {
  const older = recordsIn(results).filter(({ index }) => index.date < record.index.date);
  for (const { folder } of older.slice(1)) {
    rmSync(folder, { recursive: true });
    console.log(`deleted ${basename(folder)}: replaced, and older than what compare needs`);
  }
}
