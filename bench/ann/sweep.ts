/**
 * The recall/speed curves: rounds in which every engine makes one timed pass at every ef, so that
 * a slow minute of the machine falls on all of them. Medians over rounds. Recall is computed from
 * what each timed pass returned.
 */
import type { Claim } from "../claims.js";
import type { AnnSet } from "../data.js";
import { type CurvePoint, median, percentile } from "../stats.js";
import { fixed } from "../table.js";
import { recallOf } from "../truth.js";
import type { EngineName } from "./engine.js";
import type { Pass } from "./pass.js";
import type { BuildResult } from "./protocol.js";
import type { Remote } from "./remote.js";

/** One ef of one engine over all its rounds. */
export interface SweepPoint extends CurvePoint {
  /** All queries at once on all threads; undefined where the binding cannot. */
  queriesPerSecondMany: number | undefined;
  p50Ms: number;
  p99Ms: number;
  /** Seconds of each timed pass, one thread. */
  passSeconds: number[];
}

export interface Swept {
  /** What was measured, as its `Remote` is called. */
  label: string;
  /** Growth of the resident set from before the build until every query was asked at every ef: what is needed to serve. Of a full sweep. */
  residentBytes: number | undefined;
  points: SweepPoint[];
}

/** What an engine that was built for the sweep gave. */
export interface EngineResult extends Swept {
  engine: EngineName;
  build: BuildResult;
}

/** What the passes of one engine at one ef gave so far. */
interface Cell {
  ef: number;
  /** Of the untimed pass: every timed one must agree. */
  recall: number;
  seconds: number[];
  secondsMany: number[];
  p50Ms: number[];
  p99Ms: number[];
}

export interface SweepSettings {
  efs: number[];
  repeats: number;
  /** Also all queries at once, and the memory in use. */
  full: boolean;
  /** Below this recall at the largest ef an engine is broken, and the run fails; undefined: it may be. */
  floor?: number;
}

export async function sweep(
  remotes: Remote[],
  { efs, repeats, full, floor }: SweepSettings,
  set: AnnSet,
  claims: Claim[],
): Promise<Swept[]> {
  const cells = remotes.map(() =>
    efs.map((ef): Cell => ({ ef, recall: Number.NaN, seconds: [], secondsMany: [], p50Ms: [], p99Ms: [] })),
  );
  const residentBytes: (number | undefined)[] = [];
  for (const [which, remote] of remotes.entries()) {
    for (const cell of cells[which]) {
      const pass = await remote.ask("pass", { ef: cell.ef, many: false });
      cell.recall = recallOf(pass!.rows, set, set.kth);
    }
    residentBytes.push(full ? await remote.ask("resident") : undefined);
  }
  let passes = 0;
  let unsteady = 0;
  for (let round = 0; round < repeats; round++) {
    for (let turn = 0; turn < remotes.length; turn++) {
      const which = (turn + round) % remotes.length; // another goes first in each round
      for (const cell of cells[which]) {
        for (const many of full ? [false, true] : [false]) {
          const pass = await remotes[which].ask("pass", { ef: cell.ef, many });
          if (!pass) continue;
          passes++;
          if (Math.abs(recallOf(pass.rows, set, set.kth) - cell.recall) > 1e-3) unsteady++;
          take(cell, pass, many);
        }
      }
    }
  }
  claims.push({
    name: `recall of every timed pass is that of the first (${remotes.map(({ label }) => label).join(", ")})`,
    kind: "assertion",
    holds: unsteady === 0,
    figure: `${passes - unsteady} of ${passes} passes within .001`,
  });
  return remotes.map(({ label }, which) => {
    const points = cells[which].map((cell) => pointOf(cell, set.nq));
    const best = points.at(-1)!;
    if (floor === undefined) return { label, residentBytes: residentBytes[which], points };
    claims.push({
      name: `${label}: recall@${set.k} at ef ${best.ef} >= ${floor}`,
      kind: "assertion",
      holds: best.recall >= floor,
      figure: fixed(best.recall),
    });
    return { label, residentBytes: residentBytes[which], points };
  });
}

function take(cell: Cell, pass: Pass, many: boolean): void {
  if (many) {
    cell.secondsMany.push(pass.seconds);
    return;
  }
  cell.seconds.push(pass.seconds);
  cell.p50Ms.push(percentile(pass.latenciesMs, 0.5));
  cell.p99Ms.push(percentile(pass.latenciesMs, 0.99));
}

const pointOf = ({ ef, recall, seconds, secondsMany, p50Ms, p99Ms }: Cell, queries: number): SweepPoint => ({
  ef,
  recall,
  queriesPerSecond: queries / median(seconds),
  queriesPerSecondMany: secondsMany.length > 0 ? queries / median(secondsMany) : undefined,
  p50Ms: median(p50Ms),
  p99Ms: median(p99Ms),
  passSeconds: seconds,
});
