/** What `bench smoke` runs of `bench durability`: every part, in seconds. Its figures mean nothing. */
import { DURABILITY_PARTS } from "./options.js";
import { runDurability } from "./run.js";

export function smokeDurability(out: string): Promise<boolean> {
  return runDurability({
    parts: [...DURABILITY_PARTS],
    dimensions: 16,
    ingest: { before: 500, rows: 200, smallRows: 50 },
    callers: [1, 8],
    search: { rows: 2000, changed: 300, checkpoints: 2 },
    long: { rows: 10_000, checkpointWalMb: 1 },
    repeats: 1,
    smoke: true,
    out,
    name: "smoke-durability",
  });
}
