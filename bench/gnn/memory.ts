/** What an event costs in stores of growing size, each in a process of its own: learning touches few rows, however many there are. */
import { fork } from "node:child_process";
import { atMost, type Claim } from "../claims.js";
import { count, table } from "../table.js";
import type { MemoryRequest, MemoryResult } from "./memory-child.js";
import type { GnnOptions } from "./options.js";

/** The largest store's time an event over the smallest's, and its memory. */
const FLAT = 1.5;

export async function measureMemory({ memory }: GnnOptions, claims: Claim[]): Promise<MemoryResult[]> {
  const results: MemoryResult[] = [];
  for (const n of memory.sizes) {
    results.push(await inChild({ n, d: memory.dimensions, events: memory.events }));
  }
  console.log(`${memory.events} events, one by one, in stores of ${memory.dimensions} dimensions (durability off)`);
  console.log(
    `${table(
      ["nodes", "p50 ms", "p99 ms", "heap KB/event", "resident KB/event", "resident MB"],
      results.map(({ n, p50Ms, p99Ms, heapBytes, residentBytes, events, resident }) => [
        count(n),
        p50Ms.toFixed(3),
        p99Ms.toFixed(3),
        (heapBytes / events / 1e3).toFixed(2),
        (residentBytes / events / 1e3).toFixed(2),
        (resident / 1e6).toFixed(0),
      ]),
    )}\n`,
  );
  const [first, last] = [results[0], results[results.length - 1]];
  const show = (value: number) => `${value.toFixed(2)}x`;
  const size = `${count(last.n)} nodes over ${count(first.n)}`;
  claims.push(
    {
      name: "every event of every size was learned",
      kind: "assertion",
      holds: results.every(({ learned, events }) => learned >= events),
      figure: results.map(({ learned }) => learned).join(", "),
    },
    atMost(`time of an event (p50), ${size}`, last.p50Ms / first.p50Ms, FLAT, show),
    atMost("heap that an event leaves at the largest size, KB", last.heapBytes / last.events / 1e3, 16, (kilobytes) =>
      kilobytes.toFixed(2),
    ),
  );
  return results;
}

function inChild(request: MemoryRequest): Promise<MemoryResult> {
  return new Promise((resolve, reject) => {
    const child = fork(new URL("./memory-child.js", import.meta.url), { execArgv: ["--expose-gc"] });
    let result: MemoryResult | undefined;
    child.on("message", (message) => {
      result = message as MemoryResult;
    });
    child.on("error", reject);
    child.on("exit", (code) => {
      if (result && code === 0) resolve(result);
      else reject(new Error(`the process that measured ${request.n} nodes ended with ${code}`));
    });
    child.send(request);
  });
}
