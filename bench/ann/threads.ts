/** All queries at once on 1 to n processors: does each one more add its share? */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { atLeast, type Claim } from "../claims.js";
import { median } from "../stats.js";
import { count, table, times } from "../table.js";
import type { AnnOptions } from "./options.js";
import { efReaching, type Store, withReaders } from "./readers.js";

export interface ThreadsResult {
  ef: number;
  /** Processes held to so many processors; only the whole machine where that cannot be done. */
  points: { processors: number; queriesPerSecond: number; seconds: number[] }[];
  /** `searchNodes`, one query after the other, in the last of those processes. */
  loop: { queriesPerSecond: number; seconds: number[] };
  /** All processors over one; over the loop where no process could be held to one. */
  gain: number;
}

const AT_RECALL = 0.985;

export async function measureThreads(store: Store, options: AnnOptions, claims: Claim[]): Promise<ThreadsResult> {
  const usable = usableProcessors();
  const counts = usable ? processorCounts(usable.length) : [availableParallelism()];
  const readers = counts.map((processors) => ({
    label: `searchMany on ${processors}`,
    processors: usable?.slice(0, processors),
  }));
  const { set } = store;
  const result = await withReaders(store, options, readers, async (remotes) => {
    const whole = remotes[remotes.length - 1];
    const ef = await efReaching(whole, set, options.efs, AT_RECALL);
    const seconds = remotes.map((): number[] => []);
    const loop: number[] = [];
    for (let round = -1; round < options.repeats; round++) {
      for (const [which, remote] of remotes.entries()) {
        const pass = await remote.ask("pass", { ef, many: true });
        if (round >= 0) seconds[which].push(pass!.seconds); // the round before it warms up
      }
      const pass = await whole.ask("pass", { ef, many: false });
      if (round >= 0) loop.push(pass!.seconds);
    }
    const speed = (passes: number[]) => set.nq / median(passes);
    const points = counts.map((processors, which) => ({
      processors,
      queriesPerSecond: speed(seconds[which]),
      seconds: seconds[which],
    }));
    const one = points.length > 1 ? points[0].queriesPerSecond : speed(loop);
    return {
      ef,
      points,
      loop: { queriesPerSecond: speed(loop), seconds: loop },
      gain: points[points.length - 1].queriesPerSecond / one,
    };
  });
  const rows = result.points.map(({ processors, queriesPerSecond }) => [
    `searchMany on ${processors}`,
    count(queriesPerSecond),
    times(queriesPerSecond / result.points[0].queriesPerSecond),
  ]);
  rows.unshift(["searchNodes in a loop", count(result.loop.queriesPerSecond), "-"]);
  console.log(`\n${table([`ef ${result.ef}`, "queries/s", "gain"], rows)}`);
  const most = counts[counts.length - 1];
  if (most > 1) claims.push(atLeast(`searchMany on ${most} processors over one`, result.gain, 0.9 * most, times));
  return result;
}

/** The processors this process may use, where `taskset` can hold others to some of them. */
function usableProcessors(): number[] | undefined {
  const path = "/proc/self/status";
  if (!existsSync(path)) return undefined;
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync(path, "utf8"))?.[1];
  if (list === undefined) return undefined;
  const processors = parseProcessors(list);
  return spawnSync("taskset", ["-c", String(processors[0]), "true"]).status === 0 ? processors : undefined;
}

/** "0-2,5" */
export const parseProcessors = (list: string): number[] =>
  list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });

/** 1, 2, 4, ... and `all`. */
export function processorCounts(all: number): number[] {
  const counts: number[] = [];
  for (let processors = 1; processors < all; processors *= 2) counts.push(processors);
  return [...counts, all];
}
