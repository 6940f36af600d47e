#!/usr/bin/env node
/** `npm run bench -- ann|learn|recommend|gnn|tiers|frozen|durability|smoke|release|tables|compare [options]`; what each measures and how to read it is in bench/README.md. */
import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import { ENGINES } from "./ann/engine.js";
import { scaleSizes } from "./ann/options.js";
import { hasStored, PARTS } from "./ann/parts.js";
import { runAnn } from "./ann/run.js";
import { UsageError } from "./data.js";
import { DURABILITY_PARTS } from "./durability/options.js";
import { runDurability } from "./durability/run.js";
import { FROZEN_PARTS } from "./frozen/options.js";
import { runFrozen } from "./frozen/run.js";
import { GNN_PARTS, memorySizes } from "./gnn/options.js";
import { runGnn } from "./gnn/run.js";
import { type LearnPart, runLearn } from "./learn/run.js";
import { Options } from "./options.js";
import { RECOMMEND_PARTS } from "./recommend/options.js";
import { runRecommend } from "./recommend/run.js";
import { commit, RESULTS } from "./record.js";
import { RELEASE } from "./release/parts.js";
import { runRelease } from "./release/run.js";
import { runSmoke } from "./smoke.js";
import { runCompare } from "./tables/compare.js";
import { runTables } from "./tables/documents.js";
import { TIER_PARTS } from "./tiers/options.js";
import { runTiers } from "./tiers/run.js";

const USAGE = `npm run bench -- <what> [options]

ann    recall and speed of Hebb beside usearch and hnswlib-node, and what only Hebb is asked
  --only PART,...         ${PARTS.join(",")}
                          (all)
  --data NAME             folder under the data root, a path, or synthetic (ann-mnist)
  --m N                   links a node (16)            --ef-construction N   (200)
  --queries N             (1000)                       --k N                 (10)
  --ef N,N,...            efs of the sweep             --repeats N           timed passes at each (5)
  --threads N             for building and "all threads" (the machine's)
  --base N                only the first N rows (all)
  --engines NAME,...      ${ENGINES.join(",")}
  --filter-queries N      (200)
  --scale N               rows that the part scale grows to (100000)

learn  feedback in 5 folds over queries: neural beside static and simple learners
  --data NAME,...         (ir-cranfield); also ir-cisi, ir-scifact
  --placebo               once more with the feedback shuffled: the gain must vanish
  --clicks                instead: simulated clicks, by position bias and noise
  --failures              instead: poisoning, forgetting, drift, collapse
  --arrivals              instead: documents that arrive after the feedback
  --sessions N            of each query (5)            --seeds N             draws of the clicks (1)

recommend  likes one after the other, each asked for before it is learned: neural beside static, popularity, item-kNN, EASE, iALS
  --only PART,...         ${RECOMMEND_PARTS.join(",")} (all)
  --data NAME,...         (rec-ml100k,rec-amazon-hin,rec-lastfm-lightgcn)
  --max N                 events after the warm-up (all)
  --seeds N               draws of the frozen item vectors (1)

gnn    message passing and learning: what they cost
  --only PART,...         ${GNN_PARTS.join(",")} (all)
  --data NAME             of the part learn (ann-mnist)
  --base N                its rows at most (all)
  --events N              learned one by one (300)
  --repeats N             turns of the part step (40)
  --nodes N               that the part memory grows to (100000)

tiers  precision tiers: recall beside plain quantizers, cost of codecs, whole stores, real access traces
  --only PART,...         ${TIER_PARTS.join(",")}
                          (all)
  --data NAME,...         of the part recall (ann-mnist,ir-scifact,ann-wiki-terms-minilm-glove,ann-glove100-10k)
  --base N                rows of each at most (20000)
  --queries N             of the part recall (200)
  --repeats N             timed passes (5)

frozen  frozen bundles: scans beside exhaustive search, freezing, opening, what codes take and find, their estimates
  --only PART,...         ${FROZEN_PARTS.join(",")}
                          (all)
  --data NAME             beside generated vectors (ann-mnist)
  --base N                generated rows (100000)
  --rows N                of the part open; a million take minutes to link (1000000)
  --queries N             (1000)
  --repeats N             timed passes (5)

durability  rows that are on disk before they are acknowledged, beside SQLite and LMDB; searches during checkpoints; the log
            of a long ingest
  --only PART,...         ${DURABILITY_PARTS.join(",")} (all)
  --rows N                put with many callers, and searched (100000; ingest: a fifth)
  --repeats N             runs of each engine (3)

smoke  all of them on small seeded data, in a minute or two; needs no data and no rivals. What they find is held to
       bench/results/smoke-baseline.json
  --rebase                write that file from this run instead

release  the record of a commit: what README quotes, each bench in a process of its own, about ${Math.ceil(RELEASE.reduce((sum, { minutes }) => sum + minutes, 0))} minutes.
         Parts that this commit's record has already are left out
  --only PART,...         ${RELEASE.slice(0, 8)
    .map(({ name }) => name)
    .join(",")},
                          ${RELEASE.slice(8)
                            .map(({ name }) => name)
                            .join(",")} (all)

tables   README's tables and docs/measured.md from the newest record
  --check                 write nothing; fail where they differ

compare  [OLD] [NEW]: every figure of two records, by folder or commit (the last two); fails where recall or nDCG fell

all    --out DIR          where records go (bench/results)

Data lie in $HEBB_DATA, else in ../shared/data. Rivals: npm --prefix bench ci`;

async function main([what, ...args]: string[]): Promise<boolean> {
  switch (what) {
    case "ann":
      return ann(args);
    case "learn":
      return learn(args);
    case "recommend":
      return recommend(args);
    case "gnn":
      return gnn(args);
    case "tiers":
      return tiers(args);
    case "frozen":
      return frozen(args);
    case "durability":
      return durability(args);
    case "smoke":
      return smoke(args);
    case "release":
      return release(args);
    case "tables": {
      const options = new Options(args, ["out"], ["check"]);
      return runTables(resolve(options.text("out", RESULTS)), options.flag("check"));
    }
    case "compare": {
      const first = args.findIndex((arg) => arg.startsWith("--"));
      const names = first < 0 ? args : args.slice(0, first);
      return runCompare(resolve(new Options(args.slice(names.length), ["out"]).text("out", RESULTS)), names);
    }
    case undefined:
    case "help":
    case "--help":
      console.log(USAGE);
      return true;
    default:
      throw new UsageError(
        `nothing is called "${what}"; there are ann, learn, recommend, gnn, tiers, frozen, durability, smoke, release, tables and compare (npm run bench -- --help)`,
      );
  }
}

function smoke(args: string[]): Promise<boolean> {
  const options = new Options(args, ["out"], ["rebase"]);
  return runSmoke(resolve(options.text("out", RESULTS)), options.flag("rebase"));
}

function release(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "out"]);
  const names = RELEASE.map(({ name }) => name);
  return runRelease({
    parts: RELEASE,
    only: options.words("only", names),
    commit: commit(),
    results: resolve(options.text("out", RESULTS)),
  });
}

function ann(args: string[]): Promise<boolean> {
  const names = ["data", "m", "ef-construction", "queries", "k", "ef", "repeats", "threads", "base", "engines"];
  const options = new Options(args, [...names, "only", "scale", "filter-queries", "out"]);
  const data = options.text("data", "ann-mnist");
  const base = options.count("base", 0);
  const parts = options.words("only", PARTS);
  return runAnn({
    spec: {
      data,
      base: base || undefined,
      queries: options.count("queries", 1000),
      k: options.count("k", 10),
      dimensions: 64,
      seed: 1,
    },
    graph: {
      m: options.count("m", 16),
      efConstruction: options.count("ef-construction", 200),
      threads: options.count("threads", availableParallelism()),
    },
    engines: options.words("engines", ENGINES),
    efs: options.counts("ef", [10, 16, 24, 32, 48, 64, 96, 128, 200, 400]).sort((a, b) => a - b),
    repeats: options.count("repeats", 5),
    parts,
    margins: [0, 0.05, 0.1, 0.2, 0.4],
    churn: { share: 0.9, rounds: 10 },
    ingest: { rows: 50_000, dimensions: 128 },
    scale: { sizes: scaleSizes(options.count("scale", 100_000)), dimensions: 128, recall: 0.99 },
    filterQueries: options.count("filter-queries", 200),
    floor: 0.95,
    smoke: false,
    out: resolve(options.text("out", RESULTS)),
    name: `{date}-ann-${hasStored(parts) ? basename(data).replace(/^ann-/, "") : parts.join("-")}`,
  });
}

async function learn(args: string[]): Promise<boolean> {
  const options = new Options(
    args,
    ["data", "sessions", "seeds", "out"],
    ["placebo", "clicks", "failures", "arrivals"],
  );
  const asked = (["clicks", "failures", "arrivals"] as const).filter((part) => options.flag(part));
  let holds = true;
  for (const data of options.text("data", "ir-cranfield").split(",")) {
    const parts: LearnPart[] = asked.length > 0 ? asked : ["folds"];
    const name = basename(data).replace(/^ir-/, "");
    holds =
      (await runLearn({
        data,
        parts,
        placebo: options.flag("placebo"),
        sessions: options.count("sessions", 5),
        seeds: options.count("seeds", 1),
        passes: 3,
        smoke: false,
        out: resolve(options.text("out", RESULTS)),
        name: `{date}-${["learn", ...asked, name].join("-")}`,
      })) && holds;
  }
  return holds;
}

async function recommend(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "data", "max", "seeds", "out"]);
  let holds = true;
  for (const data of options.text("data", "rec-ml100k,rec-amazon-hin,rec-lastfm-lightgcn").split(",")) {
    holds =
      (await runRecommend({
        data,
        parts: options.words("only", RECOMMEND_PARTS),
        max: options.count("max", Number.POSITIVE_INFINITY),
        seeds: options.count("seeds", 1),
        dimensions: 64,
        warm: 0.2,
        refit: 2000,
        window: 500,
        rounds: 20,
        users: 100,
        smoke: false,
        out: resolve(options.text("out", RESULTS)),
        name: `{date}-recommend-${basename(data).replace(/^rec-/, "")}`,
      })) && holds;
  }
  return holds;
}

function gnn(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "data", "base", "events", "repeats", "nodes", "out"]);
  const parts = options.words("only", GNN_PARTS);
  return runGnn({
    parts,
    step: {
      dimensions: 128,
      hidden: 128,
      heads: 4,
      layers: 1,
      anchors: 32,
      neighbours: 16,
      candidates: 65,
      pool: 512,
      repeats: options.count("repeats", 40),
    },
    hop: {
      dimensions: 1024,
      hidden: 512,
      heads: 8,
      layers: 3,
      anchors: 1,
      neighbours: 32,
      candidates: 2,
      pool: 32,
      queries: 500,
    },
    learn: {
      spec: {
        data: options.text("data", "ann-mnist"),
        base: options.count("base", 0) || undefined,
        queries: 1000,
        k: 10,
        dimensions: 64,
        seed: 1,
      },
      events: options.count("events", 300),
    },
    memory: { sizes: memorySizes(options.count("nodes", 100_000)), dimensions: 32, events: 300 },
    smoke: false,
    out: resolve(options.text("out", RESULTS)),
    name: `{date}-gnn${parts.length === GNN_PARTS.length ? "" : `-${parts.join("-")}`}`,
  });
}

function tiers(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "data", "base", "queries", "repeats", "out"]);
  const data = options.text("data", "ann-mnist,ir-scifact,ann-wiki-terms-minilm-glove,ann-glove100-10k").split(",");
  const base = options.count("base", 20_000);
  const parts = options.words("only", TIER_PARTS);
  const common = { base, k: 10, dimensions: 1024, seed: 1, held: 200 };
  return runTiers({
    parts,
    sets: data.map((name) => ({ ...common, data: name, queries: options.count("queries", 200) })),
    stores: ["ann-mnist", "sheet"].map((name) => ({ ...common, data: name, queries: 1000 })),
    fresh: 500,
    m: 16,
    efConstruction: 200,
    repeats: options.count("repeats", 5),
    traces: [
      { data: "trace-cache2k-web07", sizes: [0.01, 0.05, 0.2], budgets: [0.1] },
      { data: "trace-scarab-recs", sizes: [0.01, 0.05, 0.2], budgets: [] },
    ],
    semantic: { ...common, data: "ann-mnist", base: Math.min(base, 10_000), queries: 1000 },
    smoke: false,
    out: resolve(options.text("out", RESULTS)),
    name: `{date}-tiers${parts.length === TIER_PARTS.length ? "" : `-${parts.join("-")}`}`,
  });
}

function durability(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "rows", "repeats", "out"]);
  const parts = options.words("only", DURABILITY_PARTS);
  const rows = options.count("rows", 100_000);
  return runDurability({
    parts,
    dimensions: 128,
    ingest: { before: 20_000, rows: Math.ceil(rows / 5), smallRows: 3000 },
    callers: [1, 32],
    search: { rows, changed: Math.ceil(rows / 10), checkpoints: 5 },
    long: { rows: rows * 2, checkpointWalMb: 8 },
    repeats: options.count("repeats", 3),
    smoke: false,
    out: resolve(options.text("out", RESULTS)),
    name: `{date}-durability-${parts.join("-")}`,
  });
}

function frozen(args: string[]): Promise<boolean> {
  const options = new Options(args, ["only", "data", "base", "rows", "queries", "repeats", "out"]);
  const parts = options.words("only", FROZEN_PARTS);
  const common = { queries: options.count("queries", 1000), k: 10, dimensions: 128, seed: 1 };
  return runFrozen({
    parts,
    generated: { ...common, data: "sheet", base: options.count("base", 100_000), clusters: 200 },
    real: { ...common, data: options.text("data", "ann-mnist") },
    graph: { m: 16, efConstruction: 200 },
    ef: 64,
    exactQueries: 100,
    repeats: options.count("repeats", 5),
    open: { rows: options.count("rows", 1_000_000), dimensions: 128 },
    estimator: { dimensions: 128, samples: 4, turns: 25 },
    exact: { queries: 10_000, seeds: 4 },
    smoke: false,
    out: resolve(options.text("out", RESULTS)),
    name: `{date}-frozen${parts.length === FROZEN_PARTS.length ? "" : `-${parts.join("-")}`}`,
  });
}

main(process.argv.slice(2)).then(
  (holds) => {
    process.exitCode = holds ? 0 : 1;
  },
  (error: unknown) => {
    console.error(error instanceof UsageError ? error.message : error);
    process.exitCode = 1;
  },
);
