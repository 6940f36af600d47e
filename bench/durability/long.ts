/** Part `long`: an ingest far larger than the log may be. The log stays bounded, and so does what is changed and not yet written. */
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { open } from "../../src/index.js";
import type { Claim } from "../claims.js";
import { sheetVectors } from "../generate.js";
import { count, megabytes } from "../table.js";
import type { DurabilityOptions } from "./options.js";

export interface LongFigures {
  rows: number;
  rowsPerSecond: number;
  logBytes: number;
  dirtyBytes: number;
  writtenBytes: number;
}

const TOGETHER = 500;

export async function measureLong(
  folder: string,
  { dimensions, long }: DurabilityOptions,
  claims: Claim[],
): Promise<LongFigures> {
  const limit = long.checkpointWalMb * 2 ** 20;
  const index = await open(join(folder, "long.hebb"), {
    dimensions,
    metric: "l2",
    durability: "sync",
    config: { storage: { checkpoint_wal_mb: long.checkpointWalMb } },
  });
  const vectors = sheetVectors(TOGETHER * 20, dimensions, 1, { clusters: 100 });
  const figures: LongFigures = { rows: long.rows, rowsPerSecond: 0, logBytes: 0, dirtyBytes: 0, writtenBytes: 0 };
  const start = performance.now();
  for (let from = 0; from < long.rows; from += TOGETHER) {
    const at = ((from / TOGETHER) % 20) * TOGETHER * dimensions;
    const ids = Array.from({ length: TOGETHER }, (_, i) => from + i);
    await index.putMany({
      ids,
      vectors: vectors.slice(at, at + TOGETHER * dimensions).map((x, i) => x + ids[Math.floor(i / dimensions)] * 1e-5),
    });
    const { bytes } = index.stats();
    figures.logBytes = Math.max(figures.logBytes, bytes.wal);
    figures.dirtyBytes = Math.max(figures.dirtyBytes, bytes.dirty);
    figures.writtenBytes += TOGETHER * dimensions * 4;
  }
  figures.rowsPerSecond = (long.rows / (performance.now() - start)) * 1000;
  await index.close();
  console.log(
    `\n${count(long.rows)} rows, ${megabytes(figures.writtenBytes)} of vectors, log limit ${long.checkpointWalMb} MB: the log had ${megabytes(figures.logBytes)} at most, ${megabytes(figures.dirtyBytes)} were changed and not written at most\n`,
  );
  const most = 5 * limit; // writers wait at four times the limit, where a checkpoint is under way
  claims.push({
    name: "a long ingest keeps the log within five times its limit",
    kind: "assertion",
    holds: figures.logBytes <= most,
    figure: `${megabytes(figures.logBytes)} of ${megabytes(most)}`,
  });
  return figures;
}
