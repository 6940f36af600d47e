/**
 * The parts on one set of data: engines are built in turn, each in its process, then all are swept; then
 * Hebb's store is asked what the others have no part in, and what is told by reading it in several ways.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Claim } from "../claims.js";
import { type AnnSet, loadAnn, UsageError } from "../data.js";
import { count } from "../table.js";
import { type EngineName, PROFILES, type Profile } from "./engine.js";
import { type KernelsResult, measureKernels } from "./kernels.js";
import { type MeasureResults, measureHebb, measureLast } from "./measures.js";
import type { AnnOptions } from "./options.js";
import { type ProfileResult, printProfiles, profileClaims, profilesOf } from "./profiles.js";
import type { BuildResult } from "./protocol.js";
import type { Store } from "./readers.js";
import { Remote } from "./remote.js";
import { type AtRecall, compare, drawCurves, printSweep } from "./report.js";
import { measureStop, type StopResult } from "./stop.js";
import { type EngineResult, sweep } from "./sweep.js";
import { measureThreads, type ThreadsResult } from "./threads.js";

interface ReaderResults {
  kernels?: KernelsResult;
  stop?: StopResult;
  threads?: ThreadsResult;
}

export interface ContestResult {
  set: Pick<AnnSet, "name" | "n" | "d" | "nq">;
  results: {
    engines: EngineResult[];
    /** Where nothing was swept. */
    builds?: BuildResult[];
    ratios: AtRecall[];
    profiles?: ProfileResult[];
  } & MeasureResults &
    ReaderResults;
  /** Undefined where nothing was swept. */
  picture: string | undefined;
}

interface Contestant {
  engine: EngineName;
  profile: Profile;
}

export async function runContest(options: AnnOptions, engines: EngineName[], claims: Claim[]): Promise<ContestResult> {
  const { parts, efs, repeats, floor } = options;
  const set = loadAnn(options.spec);
  const { m, efConstruction, threads } = options.graph;
  const setting = `M ${m}, ef_construction ${efConstruction}, k ${set.k}`;
  console.log(
    `${set.name}: ${count(set.n)} x ${set.d}, ${count(set.nq)} queries, squared L2, ${setting}, ${threads} threads\n`,
  );

  const swept = parts.includes("sweep") || parts.includes("profiles");
  const contestants = contestantsOf(options, engines, swept);
  if (contestants.length === 0) {
    throw new UsageError(`--engines ${engines.join(",")} have no part in --only ${parts.join(",")}; add hebb`);
  }
  const folder = mkdtempSync(join(tmpdir(), "hebb-bench-"));
  const remotes = contestants.map(({ engine, profile }) => {
    return new Remote(engine, { label: engine === "hebb" ? `hebb ${profile}` : engine });
  });
  const results: ContestResult["results"] = { engines: [], ratios: [] };
  let picture: string | undefined;
  try {
    const builds = await buildInTurn(remotes, contestants, options, set.kth, folder);
    if (swept) {
      const curves = await sweep(remotes, { efs, repeats, floor, full: true }, set, claims);
      results.engines = curves.map((curve, at) => ({ ...curve, engine: remotes[at].engine, build: builds[at] }));
      printSweep(results.engines, set.n * set.d * 4);
      results.ratios = compare(results.engines, claims);
      if (parts.includes("profiles")) {
        results.profiles = profilesOf(results.engines, { d: set.d, m });
        printProfiles(results.profiles);
        claims.push(...profileClaims(results.profiles, engines.includes("usearch")));
      }
      const title = `${set.name}, ${count(set.n)} x ${set.d}`;
      const subtitle = `${setting}, one search thread; higher and further right is better`;
      picture = drawCurves(results.engines, set.k, title, subtitle);
    } else {
      results.builds = builds;
    }
    const [hebb, ...others] = remotes;
    for (const remote of others) {
      await remote.ask("close");
      remote.end();
    }
    if (hebb.engine === "hebb") Object.assign(results, await measureOwn(hebb, set, options, claims));
    await hebb.ask("close");
  } finally {
    for (const remote of remotes) remote.end();
    rmSync(folder, { recursive: true, force: true });
  }
  return { set: { name: set.name, n: set.n, d: set.d, nq: set.nq }, results, picture };
}

/** Hebb comes first, and its turbo profile before the others. */
function contestantsOf({ parts }: AnnOptions, engines: EngineName[], swept: boolean): Contestant[] {
  const rivals = swept ? engines.filter((engine) => engine !== "hebb") : [];
  const profiles = parts.includes("profiles") ? PROFILES : (["turbo"] as const);
  return [
    ...(engines.includes("hebb") ? profiles.map((profile): Contestant => ({ engine: "hebb", profile })) : []),
    ...rivals.map((engine): Contestant => ({ engine, profile: "turbo" })),
  ];
}

async function buildInTurn(
  remotes: Remote[],
  contestants: Contestant[],
  { spec, graph }: AnnOptions,
  kth: Float64Array,
  folder: string,
): Promise<BuildResult[]> {
  const builds: BuildResult[] = [];
  for (const [at, remote] of remotes.entries()) {
    const { engine, profile } = contestants[at];
    await remote.ask("setup", { engine, spec, kth, graph, hebb: { profile }, folder });
    const build = await remote.ask("build");
    const linked = `${build.seconds.toFixed(1)} s`;
    const path = build.graph ? ` (${build.kernel}, walks by ${build.graph.path})` : "";
    console.log(`${remote.label} ${build.version}${path} built in ${linked}`);
    builds.push(build);
  }
  return builds;
}

/** Churn comes last: it changes what is stored. */
async function measureOwn(
  hebb: Remote,
  set: AnnSet,
  options: AnnOptions,
  claims: Claim[],
): Promise<MeasureResults & ReaderResults> {
  const measured = await measureHebb(hebb, set, options, claims);
  const readers: ReaderResults = {};
  if ((["kernels", "stop", "threads"] as const).some((part) => options.parts.includes(part))) {
    const store: Store = { path: await hebb.ask("release"), set };
    if (options.parts.includes("kernels")) readers.kernels = await measureKernels(store, options, claims);
    if (options.parts.includes("stop")) readers.stop = await measureStop(store, options, claims);
    if (options.parts.includes("threads")) readers.threads = await measureThreads(store, options, claims);
    await hebb.ask("resume");
  }
  return { ...measured, ...readers, ...(await measureLast(hebb, options, claims)) };
}
