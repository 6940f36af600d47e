/** The highest resident set of this process. Linux keeps that figure and lets a process restart it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** From here on, `peakResident` tells the highest. */
export function startPeak(): void {
  if (existsSync("/proc/self/clear_refs")) writeFileSync("/proc/self/clear_refs", "5");
}

/** Bytes; undefined where the system does not tell. */
export function peakResident(): number | undefined {
  if (!existsSync("/proc/self/clear_refs")) return undefined;
  const kilobytes = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
