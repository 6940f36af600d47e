/**
 * `hebb demo`: search real texts, learn from some queries, and look at what that does to others.
 * The texts are the READMEs that npm put on this machine, the queries the packages' one-line
 * descriptions, each with its package's README as the answer. Whatever comes out is shown.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { Prng } from "../../../base/prng.js";
import { HebbError, type Index, open, type Query } from "../../index.js";
import { findNodeModules, type PackageText, readPackages } from "../packages.js";
import { hitTable, print, table, tierTable } from "../print.js";
import { formatBytes, formatDuration, Progress } from "../progress.js";
import { mean, ndcgAt10 } from "../ranking.js";

const DIMENSIONS = 256;
/** Each query is tested by a store that learned from four fifths of the others. */
const FOLDS = 5;
const SEED = 7;
/** Fewer packages than this are no demonstration of anything. */
const LEAST_PACKAGES = 20;
/** Feedback carries a time; the demo's is fixed, so that each run is the same. */
const FIRST_EVENT_MS = 1_700_000_000_000;

interface DemoOptions {
  json?: boolean;
}

/** nDCG@10 of one set of queries before and after, query by query. */
interface Comparison {
  queries: number;
  before: number;
  after: number;
  better: number;
  worse: number;
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
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb demo")
    .action(demo);
}

async function demo(directory: string | undefined, { json }: DemoOptions): Promise<void> {
  const started = performance.now();
  const say = (text: string): void => {
    if (!json) process.stdout.write(`${text}\n`);
  };
  const packages = packagesOfThisMachine();
  if (directory !== undefined && existsSync(directory) && readdirSync(directory).length > 0) {
    throw new HebbError("STORE_EXISTS", `${directory} is there already and not empty; choose another directory`, {
      path: directory,
    });
  }
  const store = directory ?? join(mkdtempSync(join(tmpdir(), "hebb-demo-")), "readmes.hebb");

  say(`1. Index ${packages.length} READMEs (built-in text encoder: words, not meanings)`);
  const built = await timed(() => buildStore(store, packages));
  say(
    `   ${packages.length} texts encoded, logged, indexed: ${formatDuration(built.ms / 1000)}, kernel ${built.value.stats().kernel}\n`,
  );
  await built.value.close();

  const reopened = await timed(() => open(store));
  const index = reopened.value;
  const question = "parse command line arguments";
  const answer = await index.query({ text: question, k: 3 });
  say(`2. Reopen in ${formatDuration(reopened.ms / 1000)} and search: "${question}"`);
  say(`${indent(hitTable(answer.hits))}\n   answered in ${answer.latencyMs.toFixed(2)} ms\n`);

  say(`3. Learn from descriptions, each with its README as the answer; test on others, ${FOLDS} folds`);
  const tested = await timed(() => crossValidate(packages));
  const { others, keywords, servingFolds } = tested.value;
  say(
    indent(
      comparisonTable([
        ["descriptions never learned from, READMEs never chosen", others],
        ["keywords of packages whose README was chosen", keywords],
      ]),
    ),
  );
  say(`\n   ${verdict(others, servingFolds)}`);
  say(`   ${formatDuration(tested.ms / 1000)} for ${FOLDS} stores built, trained and tested\n`);

  const trained = await timed(async () => {
    await index.learn(eventsOf(packages));
    await index.train();
  });
  const stats = index.stats();
  await index.close();
  say(`4. Learn from all ${packages.length} in ${formatDuration(trained.ms / 1000)}; where the bytes are`);
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
        others,
        keywords,
        servingFolds,
        folds: FOLDS,
        trainMs: trained.ms,
        stats,
        seconds,
      },
      () => "",
    );
  }
}

function packagesOfThisMachine(): PackageText[] {
  const here = dirname(fileURLToPath(import.meta.url));
  const nodeModules = findNodeModules(here);
  const packages = nodeModules === undefined ? [] : readPackages(nodeModules);
  if (packages.length < LEAST_PACKAGES) {
    throw new HebbError(
      "FILE_UNSUPPORTED",
      `the demo reads the READMEs under node_modules and found ${packages.length} above ${here}; expected at least ${LEAST_PACKAGES}: run "npm ci" first`,
    );
  }
  return packages;
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

const eventsOf = (packages: PackageText[]) =>
  packages.map(({ description, path }, i) => ({
    query: { text: description },
    chosen: [path],
    time: FIRST_EVENT_MS + 1000 * i,
  }));

/**
 * Tests each description on a store that learned from four fifths of the others. The READMEs that
 * answer them were then never chosen: a gain there is one for documents nobody gave feedback on.
 * Keywords are queries in other words for READMEs that were chosen.
 */
async function crossValidate(
  packages: PackageText[],
): Promise<{ others: Comparison; keywords: Comparison; servingFolds: number }> {
  const order = new Prng(SEED).shuffle(packages.map((_, i) => i));
  const others: [number, number][] = [];
  const keywords: [number, number][] = [];
  let servingFolds = 0;
  const progress = new Progress("learning and testing", "folds");
  for (let fold = 0; fold < FOLDS; fold++) {
    const directory = mkdtempSync(join(tmpdir(), "hebb-demo-fold-"));
    const index = await buildStore(directory, packages, "off");
    try {
      const held = order.filter((_, i) => i % FOLDS === fold).map((i) => packages[i]!);
      const learned = order.filter((_, i) => i % FOLDS !== fold).map((i) => packages[i]!);
      await index.learn(eventsOf(learned));
      await index.train();
      if (index.stats().learning.serving !== "static") servingFolds++;
      for (const { description, path } of held) others.push(await beforeAndAfter(index, description, path));
      for (const { keywords: words, path } of learned) {
        if (words.length > 1) keywords.push(await beforeAndAfter(index, words.join(" "), path));
      }
    } finally {
      await index.close();
      rmSync(directory, { recursive: true, force: true });
    }
    progress.update(fold + 1, (fold + 1) / FOLDS);
  }
  progress.stop();
  return { others: compare(others), keywords: compare(keywords), servingFolds };
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
  queries: pairs.length,
  before: mean(pairs.map(([before]) => before)),
  after: mean(pairs.map(([, after]) => after)),
  better: pairs.filter(([before, after]) => after > before).length,
  worse: pairs.filter(([before, after]) => after < before).length,
});

function comparisonTable(rows: [string, Comparison][]): string {
  const lines = rows.map(([name, { queries, before, after, better, worse }]) => [
    name,
    String(queries),
    before.toFixed(3),
    after.toFixed(3),
    String(better),
    String(worse),
  ]);
  return table([["nDCG@10", "queries", "before", "after", "better", "worse"], ...lines], [1, 2, 3, 4, 5]);
}

/** One sentence that says what the figures say, good or bad. */
function verdict({ before, after, better, worse, queries }: Comparison, servingFolds: number): string {
  if (servingFolds === 0) {
    return `The gate let nothing serve: ${queries} events are too few, or the static ranking is hard to beat. Neural answers equal vector answers.`;
  }
  const change = after - before;
  const size = `${change >= 0 ? "+" : ""}${change.toFixed(3)} nDCG@10 (${better} of ${queries} queries better, ${worse} worse)`;
  const gate = `learners served in ${servingFolds} of ${FOLDS} folds`;
  if (change > 0.005) return `On queries it never saw, learning helped: ${size}; ${gate}.`;
  if (change < -0.005) return `On queries it never saw, learning did harm here: ${size}; ${gate}.`;
  return `On queries it never saw, learning changed next to nothing: ${size}; ${gate}.`;
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
