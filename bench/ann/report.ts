/** What people see of a sweep: tables, ratios at equal recall, the drawn curve. */
import { atLeast, type Claim } from "../claims.js";
import { speedAt } from "../stats.js";
import { drawChart } from "../svg.js";
import { count, fixed, megabytes, table, times } from "../table.js";
import type { EngineResult } from "./sweep.js";

const RECALLS = [0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.997];

/** Of the turbo profile, on ann-mnist with M 16. */
const TARGETS: { recall: number; overUsearch: number; speed?: number }[] = [
  { recall: 0.985, overUsearch: 7, speed: 28_000 },
  { recall: 0.997, overUsearch: 8 },
];

export function printSweep(results: EngineResult[], rawBytes: number): void {
  const rows = results.flatMap(({ label, points }) =>
    points.map((point) => [
      label,
      String(point.ef),
      fixed(point.recall),
      count(point.queriesPerSecond),
      point.queriesPerSecondMany === undefined ? "-" : count(point.queriesPerSecondMany),
      point.p50Ms.toFixed(3),
      point.p99Ms.toFixed(3),
    ]),
  );
  console.log(`\n${table(["engine", "ef", "recall", "queries/s", "all threads", "p50 ms", "p99 ms"], rows)}\n`);
  const built = results.map(({ label, build, residentBytes }) => [
    `${label} ${build.version}`,
    count(build.rows / build.acknowledgedSeconds),
    count(build.rows / build.seconds),
    String(build.threads),
    residentBytes === undefined ? "-" : megabytes(residentBytes),
    build.peakBytes === undefined ? "-" : megabytes(build.peakBytes),
    megabytes(build.fileBytes),
    `${(build.fileBytes / rawBytes).toFixed(2)}x`,
  ]);
  console.log(
    table(["engine", "acknowledged/s", "linked/s", "threads", "resident", "peak", "on disk", "of raw"], built),
  );
}

/** Queries/s of Hebb's turbo profile at a recall, and that over each rival's; undefined where a curve does not get there. */
export interface AtRecall {
  recall: number;
  hebb: number | undefined;
  over: Record<string, number | undefined>;
}

/** Queries/s of Hebb's turbo profile over each rival's at equal recall, and the project's targets that follow from them. */
export function compare(results: EngineResult[], claims: Claim[]): AtRecall[] {
  const hebb = results.find(({ engine }) => engine === "hebb"); // turbo comes first
  const rivals = results.filter(({ engine }) => engine !== "hebb");
  if (!hebb || rivals.length === 0) return [];
  const rows = RECALLS.map((recall) => {
    const own = speedAt(hebb.points, recall);
    return {
      recall,
      hebb: own,
      over: Object.fromEntries(
        rivals.map(({ engine, points }) => {
          const other = speedAt(points, recall);
          return [engine, own !== undefined && other !== undefined ? own / other : undefined];
        }),
      ) as Record<string, number | undefined>,
    };
  });
  const header = ["at recall", `${hebb.label} queries/s`, ...rivals.map(({ engine }) => `over ${engine}`)];
  const lines = rows.map(({ recall, hebb: own, over }) => [
    String(recall),
    own === undefined ? "-" : count(own),
    ...rivals.map(({ engine }) => times(over[engine])),
  ]);
  console.log(`\n${table(header, lines)}`);
  for (const { recall, hebb: own, over } of rows) {
    const wanted = TARGETS.find((target) => target.recall === recall);
    if (!wanted) continue;
    if (wanted.speed !== undefined) claims.push(atLeast(`queries/s at recall ${recall}`, own, wanted.speed, count));
    if (rivals.some(({ engine }) => engine === "usearch")) {
      claims.push(atLeast(`queries/s at recall ${recall} over usearch's`, over.usearch, wanted.overUsearch, times));
    }
  }
  const hnswlib = rivals.find(({ engine }) => engine === "hnswlib-node");
  if (hnswlib) {
    claims.push(atLeast("linked vectors/s over hnswlib-node's", hnswlib.build.seconds / hebb.build.seconds, 2, times));
  }
  return rows;
}

/** The curves, without the points of so low a recall that nobody would choose them. */
export function drawCurves(results: EngineResult[], k: number, title: string, subtitle: string): string {
  const lowest = Math.min(0.9, Math.max(...results.flatMap(({ points }) => points.map(({ recall }) => recall))) - 0.05);
  return drawChart({
    title,
    subtitle,
    xLabel: `recall@${k}`,
    yLabel: "queries/s",
    series: results.map(({ label, build, points }) => ({
      name: `${label} ${build.version}`,
      points: points
        .filter(({ recall }) => recall >= lowest)
        .map(({ recall, queriesPerSecond }) => ({ x: recall, y: queriesPerSecond })),
    })),
  });
}
