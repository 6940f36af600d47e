/** `bench recommend`: what was learned from a stream of likes, beside simple recommenders with the same events. */
import { writeFileSync } from "node:fs";
import type { Stats } from "../../src/index.js";
import { atLeast, atMost, type Claim, printClaims } from "../claims.js";
import { writeRecord } from "../record.js";
import { bootstrapInterval, mean, percentile, randomisationTest } from "../stats.js";
import { drawChart } from "../svg.js";
import { count, fixed, table } from "../table.js";
import { type LoopReport, runLoop } from "./loop.js";
import type { RecommendOptions } from "./options.js";
import { type ControlRun, type IndexRun, runControls, runIndex } from "./prequential.js";
import { DEPTH, runSplit, type SplitReport } from "./split.js";
import { isSplit, loadSplit, loadTimeline, type Timeline } from "./timeline.js";

/** `neural` less another ranker, nDCG: over windows of tests, or over users. */
export interface Difference {
  over: string;
  mean: number;
  low: number;
  high: number;
  p: number;
  of: number;
}

/** What the best control is to be beaten by, by data: nDCG of `neural` over it. */
const TARGET = 1;
const LEARN_MS = 5;

export async function runRecommend(options: RecommendOptions): Promise<boolean> {
  const claims: Claim[] = [];
  const results: Record<string, unknown> = {};
  let name = options.data;
  let curve: string | undefined;
  if (isSplit(options.data)) {
    const split = loadSplit(options.data);
    name = split.name;
    const report = await runSplit(split, options);
    results.split = { ...report, differences: reportSplit(name, report, claims) };
  } else {
    const timeline = loadTimeline(options.data);
    name = timeline.name;
    describe(timeline);
    if (options.parts.includes("stream")) {
      const controls = runControls(timeline, options);
      const runs: IndexRun[] = [];
      for (let seed = 1; seed <= options.seeds; seed++) runs.push(await runIndex(timeline, options, seed));
      const stream = reportStream(name, controls, runs, options, claims);
      results.stream = stream.record;
      curve = stream.curve;
    }
    if (options.parts.includes("loop")) {
      const loop = await runLoop(timeline, options);
      if (loop) reportLoop(name, loop, claims);
      results.loop = loop;
    }
  }
  const held = options.smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const { out, name: file, smoke, ...settings } = options;
  const stem = writeRecord(out, file, {
    bench: "recommend",
    data: name,
    settings: { ...settings, metric: "cosine", durability: "off" },
    claims: held,
    results,
  });
  if (curve) writeFileSync(`${stem}.svg`, curve);
  console.log(`\nrecord ${stem}.json\n`);
  return printClaims(held);
}

function describe({ name, items, events }: Timeline): void {
  const liked = events.filter((event) => event.liked).length;
  console.log(`${name}: ${count(events.length)} events, ${count(liked)} likes, ${count(items.length)} items\n`);
}

/** Means of windows of `size` values; what is left at the end is a window if it is at least half of one. */
export function windowsOf(values: ArrayLike<number>, size: number): Float64Array {
  const means: number[] = [];
  for (let at = 0; at < values.length; at += size) {
    const part = Array.prototype.slice.call(values, at, at + size) as number[];
    if (part.length >= size / 2 || means.length === 0) means.push(mean(part));
  }
  return Float64Array.from(means);
}

function difference(over: string, own: ArrayLike<number>, theirs: ArrayLike<number>): Difference {
  const differences = Float64Array.from(own, (value, i) => value - theirs[i]);
  const { mean: gain, low, high } = bootstrapInterval(differences);
  return { over, mean: gain, low, high, p: randomisationTest(differences), of: differences.length };
}

/** Value by value over several runs. */
const meanOf = (runs: Float64Array[]): Float64Array => runs[0].map((_, i) => mean(runs.map((run) => run[i])));

function reportStream(
  name: string,
  controls: ControlRun[],
  runs: IndexRun[],
  options: RecommendOptions,
  claims: Claim[],
) {
  const all = new Map<string, Float64Array>([
    ...controls.map(({ control, credits }): [string, Float64Array] => [control, credits]),
    ["Hebb, vector", meanOf(runs.map((run) => run.static))],
    ["Hebb, neural", meanOf(runs.map((run) => run.neural))],
  ]);
  const neural = all.get("Hebb, neural")!;
  const window = Math.max(1, Math.min(options.window, Math.floor(neural.length / 20)));
  const best = controls.reduce((a, b) => (mean(b.credits) > mean(a.credits) ? b : a));
  const rows = [...all].map(([ranker, credits]) => [
    ranker,
    fixed(mean(credits)),
    fixed(mean(credits.map((value) => (value > 0 ? 1 : 0)))),
    controls.find(({ control }) => control === ranker)?.settings ?? "",
  ]);
  console.log(
    `\n${count(neural.length)} tests, ${runs.length} draw${runs.length > 1 ? "s" : ""} of the item vectors\n${table(["", "nDCG@10", "hit rate", "settings"], rows)}`,
  );
  const differences = ["Hebb, vector", ...controls.map(({ control }) => control)].map((over) =>
    difference(over, windowsOf(neural, window), windowsOf(all.get(over)!, window)),
  );
  printDifferences(differences, `windows of ${window} tests`);
  const learnMs = Float64Array.from(runs.flatMap((run) => [...run.learnMs]));
  const [p50, p99] = [percentile(learnMs, 0.5), percentile(learnMs, 0.99)];
  console.log(
    `\nlearn of one event: mean ${mean(learnMs).toFixed(2)} ms, p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}; the warm-up took ${runs.map((run) => run.warmUpSeconds.toFixed(1)).join(", ")} s`,
  );
  for (const { seed, serving } of runs) {
    console.log(`serving, draw ${seed}: ${serving.map((one) => `from test ${one.test}: ${one.serving}`).join("; ")}`);
  }
  printArms(runs.at(-1)!.learning.arms);
  const ratio = mean(neural) / mean(best.credits);
  const over = (rival: string) => differences.find((one) => one.over === rival)!;
  claims.push(
    untouched(
      name,
      runs.every((run) => run.untouched),
    ),
    tookIn(name, Math.min(...runs.map(({ learning }) => learning.events))),
    notBelow(name, over("Hebb, vector")),
    atLeast(
      `${name}: neural over the best control (${best.control})`,
      ratio,
      TARGET,
      (value) => `${value.toFixed(3)}x`,
    ),
    above(name, over(best.control)),
    atMost(`${name}: learn of one event, mean`, mean(learnMs), LEARN_MS, (value) => `${value.toFixed(2)} ms`),
  );
  const record = {
    tests: neural.length,
    window,
    differences,
    bestControl: best.control,
    ratio,
    controls: controls.map(({ credits, ...rest }) => ({ ...rest, windows: windowsOf(credits, window) })),
    runs: runs.map(({ learnMs: ms, ...run }) => ({
      ...run,
      static: windowsOf(run.static, window),
      neural: windowsOf(run.neural, window),
      learnMs: { mean: mean(ms), p50: percentile(ms, 0.5), p99: percentile(ms, 0.99), most: percentile(ms, 1) },
    })),
  };
  return { record, curve: drawCurve(name, all) };
}

function reportSplit(name: string, report: SplitReport, claims: Claim[]): Difference[] {
  const rows = report.runs.map(({ ranker, recall, ndcg, settings }) => [
    ranker === "static" || ranker === "neural" ? `Hebb, ${ranker === "static" ? "vector" : "neural"}` : ranker,
    fixed(mean(recall)),
    fixed(mean(ndcg)),
    settings,
  ]);
  const users = report.runs[0].recall.length;
  console.log(`${name}: ${count(users)} users to test\n`);
  console.log(table(["", `recall@${DEPTH}`, `nDCG@${DEPTH}`, "settings"], rows));
  const neural = report.runs.find(({ ranker }) => ranker === "neural")!;
  const rivals = report.runs.filter((run) => run !== neural);
  const best = rivals
    .filter(({ ranker }) => ranker !== "static")
    .reduce((a, b) => (mean(b.ndcg) > mean(a.ndcg) ? b : a));
  const differences = rivals.map(({ ranker, ndcg }) => difference(ranker, neural.ndcg, ndcg));
  printDifferences(differences, "users");
  console.log(
    `\n${count(report.events)} events: learn ${report.learnSeconds.toFixed(1)} s (a call's mean of an event: p50 ${percentile(report.learnMs, 0.5).toFixed(2)} ms, p99 ${percentile(report.learnMs, 0.99).toFixed(2)}), train ${report.trainSeconds.toFixed(1)} s; serving ${report.serving}`,
  );
  const over = (rival: string) => differences.find((one) => one.over === rival)!;
  const ratio = mean(neural.ndcg) / mean(best.ndcg);
  claims.push(
    untouched(name, report.untouched),
    tookIn(name, report.events),
    notBelow(name, over("static")),
    atLeast(`${name}: neural over the best control (${best.ranker})`, ratio, TARGET, (value) => `${value.toFixed(3)}x`),
    above(name, over(best.ranker)),
  );
  return differences;
}

function reportLoop(name: string, loop: LoopReport, claims: Claim[]): void {
  const part = Math.max(1, Math.floor(loop.rounds / 4));
  const rows = (["static", "neural"] as const).map((which) => {
    const { clicks, gini, giniOverall, covered } = loop[which];
    return [
      `Hebb, ${which === "static" ? "vector" : "neural"}`,
      (mean(clicks) / loop.users).toFixed(2),
      fixed(mean(gini.slice(0, part)), 3),
      fixed(mean(gini.slice(-part)), 3),
      fixed(giniOverall, 3),
      count(covered),
    ];
  });
  console.log(`\nclosed loop: ${loop.users} users, ${loop.rounds} rounds; serving ${loop.serving}`);
  console.log(
    table(["", "clicks a user and round", `Gini, first ${part}`, `last ${part}`, "all rounds", "items shown"], rows),
  );
  const rise = loop.neural.giniOverall / loop.static.giniOverall - 1;
  const percent = (value: number) => `${(100 * value).toFixed(1)}%`;
  claims.push(
    atMost(`${name} closed loop: Gini of exposure above static's`, rise, 0.05, percent),
    atLeast(`${name} closed loop: items shown, of static's`, loop.neural.covered / loop.static.covered, 0.95, percent),
  );
}

/** Why the sets of learners that gain most serve or not, at the end. */
function printArms(arms: Stats["learning"]["arms"]): void {
  const most = Object.entries(arms)
    .sort((a, b) => b[1].gain - a[1].gain)
    .slice(0, 5);
  const rows = most.map(([name, { gain, disjointGain, events, why }]) => [
    name,
    signed(gain),
    signed(disjointGain),
    count(events),
    why,
  ]);
  if (rows.length > 0) console.log(`\n${table(["learners", "gain", "disjoint", "events", "why"], rows)}`);
}

const signed = (value: number) => `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(4)}`;
const interval = ({ mean: gain, low, high }: Difference) => `${signed(gain)} [${signed(low)}, ${signed(high)}]`;

function printDifferences(differences: Difference[], of: string): void {
  const rows = differences.map((one) => [
    `over ${one.over}`,
    signed(one.mean),
    `[${signed(one.low)}, ${signed(one.high)}]`,
    one.p.toFixed(4),
  ]);
  console.log(`\n${table([`neural, ${differences[0].of} ${of}`, "nDCG", "95% interval", "p"], rows)}`);
}

const untouched = (name: string, holds: boolean): Claim => ({
  name: `${name}: without feedback neural is vector, bit for bit`,
  kind: "assertion",
  holds,
  figure: holds ? "identical" : "they differ",
});

const tookIn = (name: string, events: number): Claim => ({
  name: `${name}: feedback was taken in`,
  kind: "assertion",
  holds: events > 0,
  figure: `${count(events)} events`,
});

const notBelow = (name: string, over: Difference): Claim => ({
  name: `${name}: neural not below static (.005)`,
  kind: "assertion",
  holds: over.mean >= -0.005,
  figure: interval(over),
});

const above = (name: string, over: Difference): Claim => ({
  name: `${name}: lower bound of neural over ${over.over} above 0`,
  kind: "target",
  holds: over.low > 0,
  figure: `${interval(over)}, p ${over.p.toFixed(4)}`,
});

/** At most 20 points a ranker; where nothing was found there is no point, as the axis is logarithmic. */
function drawCurve(name: string, all: ReadonlyMap<string, Float64Array>): string {
  const tests = [...all.values()][0].length;
  const size = Math.max(1, Math.ceil(tests / 20));
  return drawChart({
    title: `Learning from a stream of likes: ${name}`,
    subtitle: `nDCG@10 of each ${count(size)} tests; each is learned from after it was asked`,
    xLabel: "tests so far",
    yLabel: "nDCG@10",
    series: [...all].map(([ranker, credits]) => ({
      name: ranker,
      points: [...windowsOf(credits, size)].map((y, i) => ({ x: (i + 1) * size, y })).filter(({ y }) => y > 0),
    })),
  });
}
