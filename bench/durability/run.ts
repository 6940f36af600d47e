/** `bench durability`: its parts one after the other, and the record of them all. */
import { type Claim, printClaims } from "../claims.js";
import { writeRecord } from "../record.js";
import { loadRival } from "../rivals.js";
import { withFolder } from "../tiers/stores.js";
import { type IngestFigures, measureIngest } from "./ingest.js";
import { type LongFigures, measureLong } from "./long.js";
import type { DurabilityOptions } from "./options.js";
import { measureSearch } from "./search.js";

export interface DurabilityResults {
  ingest?: IngestFigures[];
  search?: Awaited<ReturnType<typeof measureSearch>>;
  long?: LongFigures;
}

export async function runDurability(options: DurabilityOptions): Promise<boolean> {
  const { parts, smoke } = options;
  const claims: Claim[] = [];
  const results: DurabilityResults = {};
  await withFolder(async (folder) => {
    if (parts.includes("ingest")) results.ingest = await measureIngest(folder, options, claims);
    if (parts.includes("search")) results.search = await measureSearch(folder, options, claims);
    if (parts.includes("long")) results.long = await measureLong(folder, options, claims);
  });
  const held = smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const { dimensions, ingest, callers, search, long, repeats } = options;
  const stem = writeRecord(options.out, options.name, {
    bench: "durability",
    data: "generated",
    settings: { parts, dimensions, ingest, callers, search, long, repeats, lmdb: loadRival("lmdb")?.version },
    claims: held,
    results,
  });
  console.log(`\nrecord ${stem}.json\n`);
  return printClaims(held);
}
