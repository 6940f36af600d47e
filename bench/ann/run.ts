/** `bench ann`: its parts one after the other, and the record of them all. */
import { writeFileSync } from "node:fs";
import { basename } from "node:path";
import { type Claim, printClaims } from "../claims.js";
import { UsageError } from "../data.js";
import { writeRecord } from "../record.js";
import { INSTALL_RIVALS, missingRivals } from "../rivals.js";
import { type ContestResult, runContest } from "./contest.js";
import type { EngineName } from "./engine.js";
import { runIngest, runScale, type Scale } from "./generated.js";
import type { IngestResult } from "./ingest.js";
import type { AnnOptions } from "./options.js";
import { hasStored } from "./parts.js";

export async function runAnn(options: AnnOptions): Promise<boolean> {
  const { parts, spec } = options;
  const engines = presentEngines(options);
  const claims: Claim[] = [];
  const pictures: { suffix: string; svg: string }[] = [];
  let contest: ContestResult | undefined;
  let ingest: IngestResult[] | undefined;
  let scale: Scale | undefined;
  if (hasStored(parts)) {
    contest = await runContest(options, engines, claims);
    if (contest.picture) pictures.push({ suffix: "", svg: contest.picture });
  }
  if (parts.includes("ingest")) ingest = await runIngest(options, claims);
  if (parts.includes("scale")) {
    const grown = await runScale(options, claims);
    scale = grown.scale;
    pictures.push({ suffix: "-growth", svg: grown.picture });
  }

  const held = options.smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const stem = writeRecord(options.out, options.name, {
    bench: "ann",
    data: contest?.set.name ?? "sheet",
    settings: {
      parts,
      ...options.graph,
      k: spec.k,
      rows: contest?.set.n,
      dimensions: contest?.set.d,
      queries: spec.queries,
      efs: options.efs,
      repeats: options.repeats,
      margins: options.margins,
      churn: options.churn,
      ingest: options.ingest,
      scale: options.scale,
      durability: "off",
      seed: spec.seed,
    },
    claims: held,
    results: {
      notInstalled: options.engines.filter((engine) => !engines.includes(engine)),
      ...contest?.results,
      ingest,
      scale,
    },
  });
  for (const { suffix, svg } of pictures) writeFileSync(`${stem}${suffix}.svg`, svg);
  const drawn = pictures.map(({ suffix }) => `${basename(stem)}${suffix}.svg`);
  console.log(`\n${[`record ${stem}.json`, ...drawn].join(", ")}\n`);
  return printClaims(held);
}

/** The engines asked for, without rivals that are not installed where the run can go on without. */
function presentEngines({ engines, smoke, parts }: AnnOptions): EngineName[] {
  const absent = parts.includes("sweep") || parts.includes("profiles") ? missingRivals(engines) : [];
  if (absent.length === 0) return engines;
  const how = `${absent.join(" and ")} not installed; run "${INSTALL_RIVALS}" to measure beside ${absent.length > 1 ? "them" : "it"}`;
  if (!smoke) throw new UsageError(`${how}, or pass --engines hebb.`);
  console.log(`${how}. Going on without.`);
  return engines.filter((engine) => !absent.some((rival) => rival === engine));
}
