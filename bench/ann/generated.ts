/** The parts on generated vectors, in stores of their own: taking rows in, and growing. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atLeast, atMost, type Claim } from "../claims.js";
import { growthExponent } from "../stats.js";
import { drawChart } from "../svg.js";
import { count, fixed, megabytes, milliseconds, table } from "../table.js";
import type { IngestCase, IngestResult } from "./ingest.js";
import type { AnnOptions } from "./options.js";
import type { BuildResult } from "./protocol.js";
import { Remote } from "./remote.js";
import type { ReopenResult } from "./reopen.js";
import type { Reach } from "./scale.js";

/** Tried in turn, rising finely: what reaches a recall is then not much more than enough. */
const SCALE_EFS = [10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 200, 256, 320, 400, 512];

/** Runs `use` beside a process that was set up for n generated rows, then ends it and removes what it wrote. */
async function withRows<T>(
  { spec, graph }: AnnOptions,
  { n, dimensions, queries }: { n: number; dimensions: number; queries: number },
  use: (remote: Remote) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "hebb-bench-"));
  const remote = new Remote("hebb");
  try {
    await remote.ask("setup", {
      engine: "hebb",
      spec: { data: "sheet", base: n, queries, k: spec.k, dimensions, seed: spec.seed },
      kth: new Float64Array(0),
      graph,
      hebb: { profile: "turbo" },
      folder,
    });
    return await use(remote);
  } finally {
    remote.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

const INGEST_TARGETS = { interval: 50_000, sync: 30_000 } as const;

export async function runIngest(options: AnnOptions, claims: Claim[]): Promise<IngestResult[]> {
  const { rows: n, dimensions } = options.ingest;
  const cases: IngestCase[] = [
    { durability: "interval", batch: n },
    { durability: "interval", batch: 1000 },
    { durability: "sync", batch: 1000 },
  ];
  console.log(`\ningest: ${count(n)} x ${dimensions}`);
  const results = await withRows(options, { n, dimensions, queries: 1 }, (remote) =>
    remote.ask("ingest", { cases, repeats: options.repeats }),
  );
  const lines = results.map(({ durability, batch, runs, acknowledgedPerSecond, linkedPerSecond, catchUpSeconds }) => [
    `${durability}, batches of ${count(batch)}`,
    count(acknowledgedPerSecond),
    count(linkedPerSecond),
    catchUpSeconds.toFixed(2),
    count(Math.max(...runs.map(({ backlog }) => backlog))),
    milliseconds(Math.max(...runs.map(({ p50Ms }) => p50Ms))),
  ]);
  const header = ["durability", "acknowledged/s", "linked/s", "s until linked", "backlog", "search p50 in it"];
  console.log(table(header, lines));
  const [found, looked] = [sum(results, "found"), sum(results, "looked")];
  claims.push({
    name: "rows are found as soon as they are acknowledged",
    kind: "assertion",
    holds: found >= 0.99 * looked,
    figure: `${count(found)} of ${count(looked)}`,
  });
  for (const { durability, batch, acknowledgedPerSecond } of results) {
    if (durability === "off") continue;
    const name = `vectors/s acknowledged, ${durability}, batches of ${count(batch)}`;
    claims.push(atLeast(name, acknowledgedPerSecond, INGEST_TARGETS[durability], count));
  }
  return results;
}

const sum = (results: readonly IngestResult[], key: "found" | "looked"): number =>
  results.reduce((total, { runs }) => runs.reduce((some, run) => some + run[key], total), 0);

export interface ScaleResult {
  n: number;
  build: BuildResult;
  reach: Reach;
  reopen: ReopenResult;
}

export interface Scale {
  sizes: ScaleResult[];
  /** Of the mean time of a query in n; NaN (null in a record) for one size. */
  exponent: number;
}

/** Each size in a process of its own, so that its highest resident set is its own. */
export async function runScale(options: AnnOptions, claims: Claim[]): Promise<{ scale: Scale; picture: string }> {
  const { sizes, dimensions, recall } = options.scale;
  const { spec, repeats } = options;
  const { k, queries } = spec;
  console.log(`\nscale: ${sizes.map(count).join(", ")} x ${dimensions}, recall@${k} >= ${recall}`);
  const results: ScaleResult[] = [];
  for (const n of sizes) {
    const result = await withRows(options, { n, dimensions, queries }, async (remote) => {
      const build = await remote.ask("build");
      const reach = await remote.ask("reach", { efs: SCALE_EFS, recall, repeats });
      const reopen = await remote.ask("reopen", { ef: reach.ef, repeats });
      await remote.ask("close");
      return { n, build, reach, reopen };
    });
    console.log(
      `${count(n)}: linked ${count(n / result.build.seconds)}/s, ${count(result.reach.queriesPerSecond)} queries/s at ${fixed(result.reach.recall)}`,
    );
    results.push(result);
    claimsOfSize(result, recall, claims);
  }
  const exponent = growthExponent(results.map(({ n, reach }) => ({ x: n, y: 1 / reach.queriesPerSecond })));
  printScale(results);
  if (results.length > 1) console.log(`a query's time grows as n to the power of ${exponent.toFixed(2)}`);
  const subtitle = `one search thread at the smallest ef with recall@${k} >= ${recall}; lower is better`;
  return { scale: { sizes: results, exponent }, picture: drawGrowth(results, dimensions, subtitle) };
}

/** Speeds are targets from a million rows on. */
function claimsOfSize({ n, build, reach, reopen }: ScaleResult, recall: number, claims: Claim[]): void {
  const at = `${count(n)} rows`;
  claims.push(
    {
      name: `${at}: recall ${recall} is reached`,
      kind: "assertion",
      holds: reach.recall >= recall,
      figure: `${fixed(reach.recall)} at ef ${reach.ef}`,
    },
    {
      name: `${at}: an exact search gives the distances that brute force gives`,
      kind: "assertion",
      holds: reach.truthHolds,
      figure: reach.truthHolds ? "for the queries that were looked at" : "they differ",
    },
  );
  if (n < 1e6) return;
  claims.push(
    atLeast(`${at}: queries/s at recall ${recall}`, reach.queriesPerSecond, 25_000, count),
    atMost(`${at}: p50`, reach.p50Ms, 0.05, milliseconds),
    atMost(`${at}: p99`, reach.p99Ms, 0.2, milliseconds),
    atLeast(`${at}: vectors/s linked`, n / build.seconds, 5000, count),
    atMost(`${at}: open to first result`, reopen.medianMs, 100, milliseconds),
  );
}

function printScale(results: readonly ScaleResult[]): void {
  const rows = results.map(({ n, build, reach, reopen }) => [
    count(n),
    String(reach.ef),
    fixed(reach.recall),
    count(reach.queriesPerSecond),
    count(reach.queriesPerSecondMany),
    reach.p50Ms.toFixed(3),
    reach.p99Ms.toFixed(3),
    count(n / build.acknowledgedSeconds),
    count(n / build.seconds),
    reopen.medianMs.toFixed(1),
    build.peakBytes === undefined ? "-" : megabytes(build.peakBytes),
    reach.highWaterBytes === undefined ? "-" : megabytes(reach.highWaterBytes),
    build.graph ? count(build.graph.fileBytesPerVector) : "-",
  ]);
  const header = ["rows", "ef", "recall", "queries/s", "all threads", "p50 ms", "p99 ms"];
  header.push("acknowledged/s", "linked/s", "open ms", "build peak", "high water", "file bytes/vector");
  console.log(`\n${table(header, rows)}`);
}

function drawGrowth(results: readonly ScaleResult[], dimensions: number, subtitle: string): string {
  const series = (name: string, pick: (reach: Reach) => number) => ({
    name,
    points: results.map(({ n, reach }) => ({ x: n, y: pick(reach) * 1e3 })),
  });
  return drawChart({
    title: `${results.map(({ n }) => count(n)).join(", ")} x ${dimensions}`,
    subtitle,
    xLabel: "rows",
    yLabel: "microseconds a query",
    logX: true,
    series: [
      series("p99", ({ p99Ms }) => p99Ms),
      series("mean", ({ queriesPerSecond }) => 1e3 / queriesPerSecond),
      series("p50", ({ p50Ms }) => p50Ms),
    ],
  });
}
