/** When a walk ends: once `ef` are expanded, or by a margin; one store, the same recall, which is faster? */
import type { Claim } from "../claims.js";
import { envelope, speedAt } from "../stats.js";
import { count, table, times } from "../table.js";
import type { AnnOptions } from "./options.js";
import { type Store, withReaders } from "./readers.js";
import { type Swept, sweep } from "./sweep.js";

export interface StopResult {
  ef: Swept;
  /** Each margin over all efs, which bound it. */
  adaptive: (Swept & { margin: number })[];
  /** Queries/s at a recall, and the best of the margins over `ef`. */
  atRecall: { recall: number; ef: number | undefined; adaptive: number | undefined; ratio: number | undefined }[];
}

const RECALLS = [0.95, 0.985, 0.997];

export async function measureStop(store: Store, options: AnnOptions, claims: Claim[]): Promise<StopResult> {
  const { efs, repeats, margins } = options;
  const readers = [{ label: "ef" }, ...margins.map((margin) => ({ label: `adaptive ${margin}`, margin }))];
  const [ef, ...adaptive] = await withReaders(store, options, readers, (remotes) =>
    sweep(remotes, { efs, repeats, full: false }, store.set, claims),
  );
  const best = envelope(adaptive.map(({ points }) => points));
  const atRecall = RECALLS.map((recall) => {
    const [own, other] = [speedAt(best, recall), speedAt(ef.points, recall)];
    return { recall, ef: other, adaptive: own, ratio: own && other ? own / other : undefined };
  });
  const show = (speed: number | undefined) => (speed === undefined ? "-" : count(speed));
  const rows = [ef, ...adaptive].map(({ label, points }) => [
    label,
    ...RECALLS.map((recall) => show(speedAt(points, recall))),
  ]);
  rows.push(["best of adaptive over ef", ...atRecall.map(({ ratio }) => times(ratio))]);
  console.log(`\n${table(["stop, queries/s at recall", ...RECALLS.map(String)], rows)}`);
  return { ef, adaptive: adaptive.map((swept, at) => ({ ...swept, margin: margins[at] })), atRecall };
}
