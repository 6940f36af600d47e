/** What people see of a sweep: tables, ratios at equal recall, the drawn curve. */
import type { Claim } from "../record.js";
import { speedAt } from "../stats.js";
import { drawChart } from "../svg.js";
import { count, fixed, megabytes, table, times } from "../table.js";
import type { EngineResult } from "./sweep.js";

const RECALLS = [0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.997];

export function printSweep(results: EngineResult[], rawBytes: number): void {
  const rows = results.flatMap(({ engine, points }) =>
    points.map((point) => [
      engine,
      String(point.ef),
      fixed(point.recall),
      count(point.queriesPerSecond),
      point.queriesPerSecondMany === undefined ? "-" : count(point.queriesPerSecondMany),
      point.p50Ms.toFixed(3),
      point.p99Ms.toFixed(3),
    ]),
  );
  console.log(`\n${table(["engine", "ef", "recall", "queries/s", "all threads", "p50 ms", "p99 ms"], rows)}\n`);
  const built = results.map(({ engine, build, residentBytes }) => [
    `${engine} ${build.version}`,
    count(build.rows / build.seconds),
    String(build.threads),
    megabytes(residentBytes),
    build.peakBytes === undefined ? "-" : megabytes(build.peakBytes),
    megabytes(build.fileBytes),
    `${(build.fileBytes / rawBytes).toFixed(2)}x`,
  ]);
  console.log(table(["engine", "vectors/s", "threads", "resident", "peak", "on disk", "of raw"], built));
}

/** Queries/s of Hebb over each rival's at equal recall, and the project's targets that follow from them. */
export function compare(results: EngineResult[], claims: Claim[]): object[] {
  const hebb = results.find(({ engine }) => engine === "hebb");
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
  const header = ["at recall", "hebb queries/s", ...rivals.map(({ engine }) => `over ${engine}`)];
  const lines = rows.map(({ recall, hebb: own, over }) => [
    String(recall),
    own === undefined ? "-" : count(own),
    ...rivals.map(({ engine }) => times(over[engine])),
  ]);
  console.log(`\n${table(header, lines)}`);
  const at96 = rows.find(({ recall }) => recall === 0.96)?.over.usearch;
  if (rivals.some(({ engine }) => engine === "usearch")) {
    claims.push({
      name: "queries/s at recall .96 over usearch's >= 1.8",
      kind: "target",
      holds: (at96 ?? 0) >= 1.8,
      figure: times(at96),
    });
  }
  const hnswlib = rivals.find(({ engine }) => engine === "hnswlib-node");
  if (hnswlib) {
    const ratio = hnswlib.build.seconds / hebb.build.seconds;
    claims.push({
      name: "build rate over hnswlib-node's >= 2",
      kind: "target",
      holds: ratio >= 2,
      figure: times(ratio),
    });
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
    series: results.map(({ engine, build, points }) => ({
      name: `${engine} ${build.version}`,
      points: points
        .filter(({ recall }) => recall >= lowest)
        .map(({ recall, queriesPerSecond }) => ({ x: recall, y: queriesPerSecond })),
    })),
  });
}
