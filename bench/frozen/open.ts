/** Opening a bundle of many rows: milliseconds until the first result, in a fresh process each time. */
import { openFrozen } from "../../src/index.js";
import { atMost, type Claim } from "../claims.js";
import type { AnnSet } from "../data.js";
import { RemoteProcess } from "../remote.js";
import { median } from "../stats.js";
import { count, fixed, megabytes, milliseconds, table } from "../table.js";
import { kthDistances, recallOf } from "../truth.js";
import { FLOOR } from "./contest.js";
import type { Opened, OpenRequests } from "./open-child.js";
import type { FrozenOptions } from "./options.js";
import type { Stores } from "./stores.js";

const VERIFY = ["lazy", "off"] as const;
/** Milliseconds. */
const TARGET = 20;
/** Processes of each kind, for each timed pass elsewhere: they are short, and the system has its moods. */
const PROCESSES = 3;

export interface OpenFigures {
  verify: (typeof VERIFY)[number];
  /** Of each process: until it was open, and until the first result. */
  openMs: number[];
  firstMs: number[];
  medianMs: number;
}

export interface OpenResult {
  rows: number;
  dimensions: number;
  bytes: number;
  opening: OpenFigures[];
  /** Of the first results of all processes. */
  recall: number;
  verifySeconds: number[];
  verifiedBytesPerSecond: number;
}

export async function measureOpen(
  stores: Stores,
  { open, repeats, generated: { k, seed } }: FrozenOptions,
  claims: Claim[],
): Promise<OpenResult> {
  const { rows, dimensions } = open;
  const processes = PROCESSES * repeats;
  const queries = VERIFY.length * processes; // each asks another
  const spec = { data: "sheet", base: rows, queries, k, dimensions, seed };
  const { path, set } = await stores.of(spec, new Float64Array(0));
  const directory = await stores.freeze(path, {});
  stores.drop(path);
  try {
    const { figures, found } = await openings(directory, set, processes);
    const kth = kthDistances(set.base, set.queries, dimensions, k);
    const frozen = await openFrozen(directory);
    const bytes = frozen.stats().bytes.total;
    const verifySeconds: number[] = [];
    for (let round = -1; round < repeats; round++) {
      const start = performance.now();
      await frozen.verify();
      if (round >= 0) verifySeconds.push((performance.now() - start) / 1e3);
    }
    await frozen.close();
    const recall = recallOf(found, set, kth);
    const verifiedBytesPerSecond = bytes / median(verifySeconds);
    const result = { rows, dimensions, bytes, opening: figures, recall, verifySeconds, verifiedBytesPerSecond };
    report(result, claims);
    return result;
  } finally {
    stores.drop(directory);
  }
}

/** Each process opens once and asks once. One before them leaves the files in the system's cache. */
async function openings(directory: string, { queries, d, k }: AnnSet, processes: number) {
  const figures = VERIFY.map((verify): OpenFigures => ({ verify, openMs: [], firstMs: [], medianMs: 0 }));
  const found = new Int32Array(VERIFY.length * processes * k).fill(-1);
  for (let round = -1; round < processes; round++) {
    for (const [i, one] of figures.entries()) {
      const number = Math.max(round, 0) * VERIFY.length + i;
      const query = queries.slice(number * d, (number + 1) * d);
      const { openMs, firstMs, rows } = await inProcess({ directory, verify: one.verify, query, k });
      if (round < 0) continue;
      one.openMs.push(openMs);
      one.firstMs.push(firstMs);
      found.set(rows, number * k);
    }
  }
  for (const one of figures) one.medianMs = median(one.firstMs);
  return { figures, found };
}

async function inProcess(request: OpenRequests["open"][0]): Promise<Opened> {
  const remote = new RemoteProcess<OpenRequests>(new URL("./open-child.js", import.meta.url), { label: "open" });
  try {
    return await remote.ask("open", request);
  } finally {
    remote.end();
  }
}

function report(result: OpenResult, claims: Claim[]): void {
  const { rows, dimensions, bytes, opening, recall, verifiedBytesPerSecond, verifySeconds } = result;
  const lines = opening.map(({ verify, openMs, firstMs, medianMs }) => [
    verify,
    milliseconds(median(openMs)),
    milliseconds(medianMs),
    milliseconds(Math.max(...firstMs)),
  ]);
  console.log(`\nopening a bundle of ${count(rows)} x ${dimensions}, ${megabytes(bytes)}, in fresh processes`);
  console.log(table(["verify", "open", "first result", "slowest"], lines));
  console.log(
    `verify(): ${megabytes(verifiedBytesPerSecond)}/s, ${median(verifySeconds).toFixed(2)} s; recall of the first results ${fixed(recall)}`,
  );
  claims.push({
    name: `recall of the first results after opening >= ${FLOOR}`,
    kind: "assertion",
    holds: recall >= FLOOR,
    figure: fixed(recall),
  });
  for (const { verify, medianMs } of opening) {
    const name = `${count(rows)} rows: openFrozen to first result, verify ${verify}`;
    claims.push(atMost(name, medianMs, TARGET, milliseconds));
  }
}
