/**
 * `hebb demo`: search real texts, learn from some questions, and look at what that does to
 * others. The texts are the READMEs that npm put on this machine, the questions what the packages
 * say of themselves in one line, each with its package's README as the answer. Whatever comes out is
 * shown.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { Prng } from "../../../base/prng.js";
import { type Feedback, HebbError, type Index, open, type Query } from "../../index.js";
import { integerOf } from "../arguments.js";
import { findNodeModules, type PackageText, readPackages } from "../packages.js";
import { hitTable, print, table, tierTable } from "../print.js";
import { formatBytes, formatDuration, Progress } from "../progress.js";
import { mean, ndcgAt10 } from "../ranking.js";
import { checkIsFree } from "../store.js";

const DIMENSIONS = 256;
/** Each question is tested on a store that learned from the other folds. */
const FOLDS = 3;
const MOST_FOLDS = 20;
const SEED = 7;
/** Fewer packages than this are no demonstration of anything; more than there are by default take longer than a minute. */
const LEAST_PACKAGES = 20;
const PACKAGES = 150;
const MOST_PACKAGES = 10_000;
/**
 * Without the attention network: fitting it takes longer than all else here, and so few texts give it nothing to learn.
 */
const CONFIG = { ruvector: { propagation: "linear" } } as const;
/** Feedback carries a time; the demo's is fixed, so that each run is the same. */
const FIRST_EVENT_MS = 1_700_000_000_000;

interface DemoOptions {
  folds: number;
  packages: number;
  json?: boolean;
}

/** nDCG@10 of one set of questions before and after. */
interface Comparison {
  questions: number;
  before: number;
  after: number;
  better: number;
  worse: number;
}

/** What the folds found. `chosen`: questions whose answer was chosen for another one; `never`: all others. */
interface Tested {
  all: Comparison;
  chosen: Comparison;
  never: Comparison;
  servingFolds: number;
}

export function demoCommand(program: Command): void {
  program
    .command("demo")
    .summary("see it search, and learn, on texts that are on this machine")
    .description(
      "Indexes the README files that npm put on this machine, searches them, learns from some packages' descriptions and shows what that does to the ranking for others. No network, less than a minute.",
    )
    .argument(
      "[store]",
      "new directory to make the store in; default: one below the system's folder for temporary files",
    )
    .option(
      "-f, --folds <n>",
      `parts that the questions are tested in, 2-${MOST_FOLDS}; more take longer`,
      integerOf,
      FOLDS,
    )
    .option(
      "-p, --packages <n>",
      `READMEs at most, ${LEAST_PACKAGES}-${MOST_PACKAGES}, evenly drawn by name`,
      integerOf,
      PACKAGES,
    )
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb demo")
    .action(demo);
}

async function demo(directory: string | undefined, options: DemoOptions): Promise<void> {
  const { folds, json } = options;
  const started = performance.now();
  if (folds < 2 || folds > MOST_FOLDS) throw new RangeError(`--folds is ${folds}; expected 2 to ${MOST_FOLDS}`);
  if (options.packages < LEAST_PACKAGES || options.packages > MOST_PACKAGES) {
    throw new RangeError(`--packages is ${options.packages}; expected ${LEAST_PACKAGES} to ${MOST_PACKAGES}`);
  }
  const say = (text: string): void => {
    if (!json) process.stdout.write(`${text}\n`);
  };
  const packages = packagesOfThisMachine(options.packages);
  if (directory !== undefined) checkIsFree(directory);
  const store = directory ?? join(mkdtempSync(join(tmpdir(), "hebb-demo-")), "readmes.hebb");

  say(`1. Index ${packages.length} READMEs (built-in text encoder: words, not meanings)`);
  const built = await timed(() => buildStore(store, packages));
  say(
    `   ${packages.length} texts encoded, logged, indexed: ${formatDuration(built.ms / 1000)}, kernel ${built.value.stats().kernel}\n`,
  );
  await built.value.close();

  const reopened = await timed(() => open(store, { config: CONFIG }));
  const index = reopened.value;
  const question = "parse command line arguments";
  const answer = await index.query({ text: question, k: 3 });
  say(`2. Reopen in ${formatDuration(reopened.ms / 1000)} and search: "${question}"`);
  say(`${indent(hitTable(answer.hits))}\n   answered in ${answer.latencyMs.toFixed(2)} ms\n`);

  const questions = questionsOf(packages);
  say(`3. Learn: ${questions.length} questions (descriptions, keywords), each with its README as the answer.`);
  say(`   Each is tested on a store that learned from other questions only (${folds} folds)`);
  const tested = await timed(() => crossValidate(packages, folds));
  const { all, chosen, never, servingFolds } = tested.value;
  const rows: [string, Comparison][] = [
    ["all", all],
    ["README was chosen for another question", chosen],
    ["README was never chosen", never],
  ];
  say(indent(comparisonTable(rows)));
  say(`\n   ${verdict(all, servingFolds, folds)}`);
  say(`   ${formatDuration(tested.ms / 1000)} for ${folds} stores built, trained and tested\n`);

  const trained = await timed(async () => {
    await index.learn(eventsOf(questions));
    await index.train();
  });
  const stats = index.stats();
  await index.close();
  say(`4. Learn from all ${questions.length} in ${formatDuration(trained.ms / 1000)}; where the bytes are`);
  say(indent(tierTable(stats)));
  const { file, wal, catalog, resident } = stats.bytes;
  say(
    `   on disk: index ${formatBytes(file)}, log ${formatBytes(wal)}, catalog ${formatBytes(catalog)}; in memory ${formatBytes(resident)}\n`,
  );

  const seconds = (performance.now() - started) / 1000;
  say(`Done in ${formatDuration(seconds)}. The store is ${store}. Next, try:`);
  for (const line of nextSteps(store)) say(`   ${line}`);
  if (json) {
    print(
      true,
      {
        store,
        packages: packages.length,
        buildMs: built.ms,
        reopenMs: reopened.ms,
        queryMs: answer.latencyMs,
        tested: tested.value,
        folds,
        trainMs: trained.ms,
        stats,
        seconds,
      },
      () => "",
    );
  }
}

function packagesOfThisMachine(most: number): PackageText[] {
  const here = dirname(fileURLToPath(import.meta.url));
  const nodeModules = findNodeModules(here);
  const packages = nodeModules === undefined ? [] : readPackages(nodeModules);
  if (packages.length < LEAST_PACKAGES) {
    throw new HebbError(
      "FILE_UNSUPPORTED",
      `the demo reads the READMEs under node_modules and found ${packages.length} above ${here}; expected at least ${LEAST_PACKAGES}: run "npm ci" first`,
    );
  }
  const step = Math.max(1, packages.length / most);
  return Array.from({ length: Math.min(packages.length, most) }, (_, i) => packages[Math.floor(i * step)]!);
}

async function buildStore(
  directory: string,
  packages: PackageText[],
  durability: "sync" | "off" = "sync",
): Promise<Index> {
  const index = await open(directory, {
    dimensions: DIMENSIONS,
    metric: "cosine",
    encoder: "hashed-tfidf",
    config: CONFIG,
    durability,
  });
  await index.putMany(
    packages.map(({ name, path, title, readme }) => ({
      id: path,
      text: readme,
      payload: { name, path, title, text: readme },
    })),
  );
  await index.settle();
  return index;
}

/** A question whose answer is known: what a package says of itself, and its README. */
interface Question {
  text: string;
  answer: string;
}

/** Each package's description, and its keywords where it has more than one: the same wish in other words. */
const questionsOf = (packages: PackageText[]): Question[] =>
  packages.flatMap(({ description, keywords, path }) => [
    { text: description, answer: path },
    ...(keywords.length > 1 ? [{ text: keywords.join(" "), answer: path }] : []),
  ]);

const eventsOf = (questions: Question[]): Feedback[] =>
  questions.map(({ text, answer }, i) => ({ query: { text }, chosen: [answer], time: FIRST_EVENT_MS + 1000 * i }));

/**
 * Tests each question on a store that learned from those of the other folds, and tells apart whether its
 * answer was chosen for another question: what was never chosen gains by generalizing alone.
 */
async function crossValidate(packages: PackageText[], folds: number): Promise<Tested> {
  const questions = new Prng(SEED).shuffle(questionsOf(packages));
  const chosen: [number, number][] = [];
  const never: [number, number][] = [];
  let servingFolds = 0;
  const progress = new Progress("learning and testing", "folds");
  for (let fold = 0; fold < folds; fold++) {
    const directory = mkdtempSync(join(tmpdir(), "hebb-demo-fold-"));
    const index = await buildStore(directory, packages, "off");
    try {
      const held = questions.filter((_, i) => i % folds === fold);
      const learned = questions.filter((_, i) => i % folds !== fold);
      await index.learn(eventsOf(learned));
      const onProgress = (done: number, total: number) => progress.update(fold, (fold + done / total) / folds);
      await index.train({ onProgress });
      if (index.stats().learning.serving !== "static") servingFolds++;
      const answers = new Set(learned.map(({ answer }) => answer));
      for (const { text, answer } of held) {
        (answers.has(answer) ? chosen : never).push(await beforeAndAfter(index, text, answer));
      }
    } finally {
      await index.close();
      rmSync(directory, { recursive: true, force: true });
    }
    progress.update(fold + 1, (fold + 1) / folds);
  }
  progress.stop();
  return { all: compare([...chosen, ...never]), chosen: compare(chosen), never: compare(never), servingFolds };
}

/** nDCG@10 of a query in the modes `vector` (before) and `neural` (after). */
async function beforeAndAfter(index: Index, text: string, relevant: string): Promise<[number, number]> {
  const score = async (mode: Query["mode"]): Promise<number> => {
    const { hits } = await index.query({ text, mode, k: 10, ef: 200, include: [] });
    return ndcgAt10(
      hits.map((hit) => hit.id),
      relevant,
    );
  };
  return [await score("vector"), await score("neural")];
}

const compare = (pairs: [number, number][]): Comparison => ({
  questions: pairs.length,
  before: mean(pairs.map(([before]) => before)),
  after: mean(pairs.map(([, after]) => after)),
  better: pairs.filter(([before, after]) => after > before).length,
  worse: pairs.filter(([before, after]) => after < before).length,
});

function comparisonTable(rows: [string, Comparison][]): string {
  const lines = rows.map(([name, { questions, before, after, better, worse }]) => [
    name,
    String(questions),
    before.toFixed(3),
    after.toFixed(3),
    String(better),
    String(worse),
  ]);
  return table([["nDCG@10", "questions", "before", "after", "better", "worse"], ...lines], [1, 2, 3, 4, 5]);
}

/** One sentence that says what the figures say, good or bad. */
function verdict({ before, after, better, worse, questions }: Comparison, servingFolds: number, folds: number): string {
  if (servingFolds === 0) {
    return `The gate let nothing serve: ${questions} questions are too few, or the static ranking is hard to beat. Neural answers equal vector answers.`;
  }
  const change = after - before;
  const size = `${change >= 0 ? "+" : ""}${change.toFixed(3)} nDCG@10 (${better} of ${questions} questions better, ${worse} worse)`;
  const gate = `learners served in ${servingFolds} of ${folds} folds`;
  if (change > 0.005) return `On questions it never saw, learning helped: ${size}; ${gate}.`;
  if (change < -0.005) return `On questions it never saw, learning did harm here: ${size}; ${gate}.`;
  return `On questions it never saw, learning changed next to nothing: ${size}; ${gate}.`;
}

function nextSteps(store: string): string[] {
  return [
    `npx hebb search ${store} "colours in a terminal"`,
    `npx hebb query ${store} "read a toml file" --hybrid`,
    `npx hebb learn ${store} --query "colours in a terminal" --chosen picocolors/README.md`,
    `npx hebb stats ${store}`,
    `npx hebb create notes.hebb --text && npx hebb add notes.hebb <a folder with texts of your own>`,
  ];
}

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const start = performance.now();
  const value = await work();
  return { value, ms: performance.now() - start };
}

const indent = (text: string): string => text.replaceAll(/^/gm, "   ");
