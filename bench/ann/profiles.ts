/** What each graph profile costs in bytes, and what it gives for them. */
import { atLeast, atMost, type Claim } from "../claims.js";
import { speedAt } from "../stats.js";
import { count, table, times } from "../table.js";
import { PROFILES, type Profile } from "./engine.js";
import type { EngineResult } from "./sweep.js";

export interface ProfileResult {
  profile: Profile;
  rowBytes: number;
  /** Vector, row, state, id and upper rows. */
  bytesPerVector: number;
  /** Those over the bytes of hnswlib, 4 d + 8 M: the vector, and 2 M links on the bottom layer. */
  overHnswlib: number;
  fileBytesPerVector: number;
  atRecall: { recall: number; queriesPerSecond: number | undefined; overUsearch: number | undefined }[];
}

const RECALLS = [0.985, 0.997];

/** Bytes are of hnswlib's, speeds of usearch's at recall .985. */
const TARGETS: { [profile in Profile]?: { bytes: number; speed: number } } = {
  compact: { bytes: 1.35, speed: 4 },
  small: { bytes: 1.15, speed: 2 },
};

export function profilesOf(results: readonly EngineResult[], { d, m }: { d: number; m: number }): ProfileResult[] {
  const usearch = results.find(({ engine }) => engine === "usearch");
  return PROFILES.flatMap((profile): ProfileResult[] => {
    const own = results.find(({ build }) => build.graph?.profile === profile);
    if (!own) return [];
    const { rowBytes, bytesPerVector, fileBytesPerVector } = own.build.graph!;
    const atRecall = RECALLS.map((recall) => {
      const queriesPerSecond = speedAt(own.points, recall);
      const other = usearch && speedAt(usearch.points, recall);
      return {
        recall,
        queriesPerSecond,
        overUsearch: queriesPerSecond && other ? queriesPerSecond / other : undefined,
      };
    });
    const overHnswlib = bytesPerVector / (4 * d + 8 * m);
    return [{ profile, rowBytes, bytesPerVector, overHnswlib, fileBytesPerVector, atRecall }];
  });
}

export function printProfiles(profiles: readonly ProfileResult[]): void {
  const rows = profiles.map(({ profile, rowBytes, bytesPerVector, overHnswlib, fileBytesPerVector, atRecall }) => [
    profile,
    count(rowBytes),
    count(bytesPerVector),
    times(overHnswlib),
    count(fileBytesPerVector),
    ...atRecall.flatMap(({ queriesPerSecond, overUsearch }) => [
      queriesPerSecond === undefined ? "-" : count(queriesPerSecond),
      times(overUsearch),
    ]),
  ]);
  const speeds = RECALLS.flatMap((recall) => [`queries/s at ${recall}`, "over usearch"]);
  const header = ["profile", "row bytes", "bytes/vector", "over hnswlib", "file bytes/vector", ...speeds];
  console.log(`\n${table(header, rows)}`);
}

/** Without usearch there is nothing to hold speeds to. */
export function profileClaims(profiles: readonly ProfileResult[], besideUsearch: boolean): Claim[] {
  return profiles.flatMap(({ profile, overHnswlib, atRecall }) => {
    const wanted = TARGETS[profile];
    if (!wanted) return [];
    const bytes = atMost(`${profile}: bytes a vector over hnswlib's`, overHnswlib, wanted.bytes, times);
    if (!besideUsearch) return [bytes];
    const [{ recall, overUsearch }] = atRecall;
    const name = `${profile}: queries/s at recall ${recall} over usearch's`;
    return [bytes, atLeast(name, overUsearch, wanted.speed, times)];
  });
}
