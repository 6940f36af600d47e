/**
 * `bench ann`: engines side by side on the same vectors with equal M and ef_construction.
 * Each is built in turn, then all are swept, then Hebb is asked what the others have no part in.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type AnnSpec, loadAnn, UsageError } from "../data.js";
import { type Claim, printClaims, writeRecord } from "../record.js";
import { INSTALL_RIVALS, missingRivals } from "../rivals.js";
import { count } from "../table.js";
import type { EngineName, GraphSettings } from "./engine.js";
import { type Measure, type MeasureResults, measureHebb } from "./measures.js";
import type { BuildResult } from "./protocol.js";
import { Remote } from "./remote.js";
import { compare, drawCurves, printSweep } from "./report.js";
import { type EngineResult, sweep } from "./sweep.js";

export interface AnnOptions {
  spec: AnnSpec;
  graph: GraphSettings;
  engines: EngineName[];
  /** Search efs of the sweep, rising. */
  efs: number[];
  /** Timed passes at each ef. */
  repeats: number;
  /** What to measure of Hebb beside the sweep. */
  measures: Measure[];
  filterQueries: number;
  /** Below this recall at the largest ef an engine is broken, and the run fails. */
  floor: number;
  /** A small run: it goes on without rivals that are not installed, and holds itself to no target, since its speeds mean nothing. */
  smoke: boolean;
  out: string;
  /** Name of the record; `{date}` is filled in. */
  name: string;
}

export async function runAnn(options: AnnOptions): Promise<boolean> {
  const absent = missingRivals(options.engines);
  if (absent.length > 0) {
    const how = `${absent.join(" and ")} not installed; run "${INSTALL_RIVALS}" to measure beside ${absent.length > 1 ? "them" : "it"}`;
    if (!options.smoke) throw new UsageError(`${how}, or pass --engines hebb.`);
    console.log(`${how}. Going on without.`);
  }
  const engines = options.engines.filter((engine) => !absent.some((rival) => rival === engine));
  const set = loadAnn(options.spec);
  const { m, efConstruction, threads } = options.graph;
  const setting = `M ${m}, ef_construction ${efConstruction}, k ${set.k}`;
  console.log(
    `${set.name}: ${count(set.n)} x ${set.d}, ${count(set.nq)} queries, squared L2, ${setting}, ${threads} threads\n`,
  );

  const folder = mkdtempSync(join(tmpdir(), "hebb-bench-"));
  const remotes = engines.map((engine) => new Remote(engine));
  const claims: Claim[] = [];
  let results: EngineResult[];
  let ratios: object[];
  let measured: MeasureResults = {};
  try {
    const builds = await buildInTurn(remotes, options, set.kth, folder);
    results = await sweep(remotes, builds, options, set, claims);
    printSweep(results, set.n * set.d * 4);
    ratios = compare(results, claims);
    for (const remote of remotes.filter(({ name }) => name !== "hebb")) {
      await remote.ask("close");
      remote.end();
    }
    const hebb = remotes.find(({ name }) => name === "hebb");
    if (hebb) measured = await measureHebb(hebb, options, claims);
    await hebb?.ask("close");
  } finally {
    for (const remote of remotes) remote.end();
    rmSync(folder, { recursive: true, force: true });
  }

  const held = options.smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const stem = writeRecord(options.out, options.name, {
    bench: "ann",
    data: set.name,
    settings: {
      ...options.graph,
      k: set.k,
      rows: set.n,
      dimensions: set.d,
      queries: set.nq,
      efs: options.efs,
      repeats: options.repeats,
      durability: "off",
      seed: options.spec.seed,
    },
    claims: held,
    results: { notInstalled: absent, engines: results, ratios, ...measured },
  });
  writeFileSync(
    `${stem}.svg`,
    drawCurves(
      results,
      set.k,
      `${set.name}, ${count(set.n)} x ${set.d}`,
      `${setting}, one search thread; higher and further right is better`,
    ),
  );
  console.log(`\nrecord ${stem}.json, curve ${basename(stem)}.svg`);
  console.log();
  return printClaims(held);
}

async function buildInTurn(
  remotes: Remote[],
  options: AnnOptions,
  kth: Float64Array,
  folder: string,
): Promise<BuildResult[]> {
  const builds: BuildResult[] = [];
  for (const remote of remotes) {
    await remote.ask("setup", { engine: remote.name, spec: options.spec, kth, graph: options.graph, folder });
    const build = await remote.ask("build");
    console.log(
      `${remote.name} ${build.version}${build.kernel ? ` (${build.kernel})` : ""} built in ${build.seconds.toFixed(1)} s`,
    );
    builds.push(build);
  }
  return builds;
}
