/** Closing and opening again: how long until the first result, how much of the store is read for it, and whether anything changed. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { memoryUsage } from "node:process";
import type { Index } from "../../src/index.js";
import type { AnnSet } from "../data.js";
import { median } from "../stats.js";
import { queryRows } from "./engine.js";
import { directoryBytes, type HebbEngine } from "./hebb.js";

export interface ReopenResult {
  /** Close, open and one search: milliseconds from before `open` to after the first result, of each repeat. */
  openToFirstResultMs: number[];
  medianMs: number;
  closeMs: number[];
  /** Growth of the resident set from before `open` to after the first result (median). The system maps pages around each touched one, so this is more than was needed. */
  residentBytes: number;
  /** Once more after the store's files were dropped from the system's cache; undefined where that cannot be done or told. */
  cold: ColdOpening | undefined;
  directoryBytes: number;
  /** Whether every id and every distance of every query is bit for bit the same after the last opening. */
  identical: boolean;
}

export interface ColdOpening {
  openToFirstResultMs: number;
  /** Read from disk until `open` resolved. */
  openReadBytes: number;
  /** Read from disk until the first result; the system reads ahead of what is touched. */
  readBytes: number;
}

export async function measureReopen(
  engine: HebbEngine,
  set: AnnSet,
  { ef, repeats }: { ef: number; repeats: number },
): Promise<ReopenResult> {
  const rows = queryRows(set);
  const before = digestOf(engine.index(), set, ef);
  const openToFirstResultMs: number[] = [];
  const reopen = async (opened?: () => void) => {
    const start = performance.now();
    const index = await engine.open();
    opened?.();
    index.search(rows[0], { k: set.k, ef });
    return performance.now() - start;
  };
  const closeMs: number[] = [];
  const residentBytes: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const closing = performance.now();
    await engine.index().close();
    closeMs.push(performance.now() - closing);
    globalThis.gc?.();
    const residentBefore = memoryUsage.rss();
    openToFirstResultMs.push(await reopen());
    residentBytes.push(memoryUsage.rss() - residentBefore);
  }
  const cold = await openCold(engine, reopen);
  return {
    openToFirstResultMs,
    medianMs: median(openToFirstResultMs),
    closeMs,
    residentBytes: median(residentBytes),
    cold,
    directoryBytes: directoryBytes(engine.path),
    identical: digestOf(engine.index(), set, ef) === before,
  };
}

async function openCold(
  engine: HebbEngine,
  reopen: (opened: () => void) => Promise<number>,
): Promise<ColdOpening | undefined> {
  if (readFromDisk() === undefined) return undefined;
  await engine.index().close();
  const dropped = dropFromCache(engine.path);
  const before = readFromDisk()!;
  let openReadBytes = 0;
  const openToFirstResultMs = await reopen(() => {
    openReadBytes = readFromDisk()! - before;
  });
  const readBytes = readFromDisk()! - before;
  // Nothing read: the files were still in memory (a file system in memory, or one that ignores the advice).
  return dropped && readBytes > 0 ? { openToFirstResultMs, openReadBytes, readBytes } : undefined;
}

/** Bytes this process has had read from storage so far, pages of mapped files included; Linux alone tells. */
function readFromDisk(): number | undefined {
  const path = "/proc/self/io";
  return existsSync(path) ? Number(/^read_bytes:\s*(\d+)/m.exec(readFileSync(path, "utf8"))?.[1]) : undefined;
}

/** Asks the system to forget the files of a closed store (GNU dd knows how); false where there is no such dd. */
function dropFromCache(directory: string): boolean {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const file = openSync(path, "r");
    fsyncSync(file); // pages not written yet cannot be dropped
    closeSync(file);
    try {
      execFileSync("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"], { stdio: "ignore" });
    } catch {
      return false; // another dd, or none: the cold figure is left out, and the record says so by its absence
    }
  }
  return true;
}

/** A hash of every id and distance of every query, in order; JSON writes a double so that it reads back to the same bits. */
export function digestOf(index: Index, set: AnnSet, ef: number): string {
  const hash = createHash("sha256");
  for (const row of queryRows(set)) {
    const hits = index.search(row, { k: set.k, ef, include: [] });
    hash.update(JSON.stringify(hits.map(({ id, distance }) => [id, distance])));
  }
  return hash.digest("hex");
}
