/**
 * The recall/speed curves: rounds in which every engine makes one timed pass at every ef, so that
 * a slow minute of the machine falls on all of them. Medians over rounds. Recall is computed from
 * what each timed pass returned.
 */
import type { AnnSet } from "../data.js";
import type { Claim } from "../record.js";
import { type CurvePoint, median, percentile } from "../stats.js";
import { fixed } from "../table.js";
import { recallOf } from "../truth.js";
import type { EngineName } from "./engine.js";
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

export interface EngineResult {
  engine: EngineName;
  build: BuildResult;
  points: SweepPoint[];
}

export async function sweep(
  remotes: Remote[],
  builds: BuildResult[],
  options: { efs: number[]; repeats: number; floor: number },
  set: AnnSet,
  claims: Claim[],
): Promise<EngineResult[]> {
  const { efs, repeats } = options;
  const cells = remotes.map(() =>
    efs.map(() => ({
      seconds: [] as number[],
      many: [] as number[],
      p50: [] as number[],
      p99: [] as number[],
      recall: Number.NaN,
    })),
  );
  let unsteady = 0;
  let passes = 0;
  for (let round = -1; round < repeats; round++) {
    for (let turn = 0; turn < remotes.length; turn++) {
      const which = (turn + Math.max(0, round)) % remotes.length; // another goes first in each round
      for (const [at, ef] of efs.entries()) {
        const cell = cells[which][at];
        for (const many of [false, true]) {
          const pass = await remotes[which].ask("pass", { ef, many });
          if (!pass) continue;
          const recall = recallOf(pass.rows, set, set.kth);
          if (round < 0) {
            if (!many) cell.recall = recall; // the untimed round warms up, and says what to expect
            continue;
          }
          passes++;
          if (Math.abs(recall - cell.recall) > 1e-3) unsteady++;
          if (many) cell.many.push(pass.seconds);
          else {
            cell.seconds.push(pass.seconds);
            cell.p50.push(percentile(pass.latenciesMs, 0.5));
            cell.p99.push(percentile(pass.latenciesMs, 0.99));
          }
        }
      }
    }
  }
  claims.push({
    name: "recall of every timed pass is that of the first",
    kind: "assertion",
    holds: unsteady === 0,
    figure: `${passes - unsteady} of ${passes} passes within .001`,
  });
  return remotes.map(({ name: engine }, which) => {
    const points = efs.map((ef, at) => {
      const { seconds, many, p50, p99, recall } = cells[which][at];
      return {
        ef,
        recall,
        queriesPerSecond: set.nq / median(seconds),
        queriesPerSecondMany: many.length ? set.nq / median(many) : undefined,
        p50Ms: median(p50),
        p99Ms: median(p99),
        passSeconds: seconds,
      };
    });
    const best = points.at(-1)!;
    claims.push({
      name: `${engine} recall@${set.k} at ef ${best.ef} >= ${options.floor}`,
      kind: "assertion",
      holds: best.recall >= options.floor,
      figure: fixed(best.recall),
    });
    return { engine, build: builds[which], points };
  });
}
