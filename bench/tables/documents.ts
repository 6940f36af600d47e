/** `bench tables`: README's tables and the whole of docs/measured.md, made from the newest record. Nothing in them is written by hand. */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { UsageError } from "../data.js";
import { CHECKOUT } from "../record.js";
import { newestRecord, type RecordFolder } from "../release/index-file.js";
import { RELEASE } from "../release/parts.js";
import { DURABILITY_DETAILS, INGEST, SEARCHES } from "./durability.js";
import { FROZEN, FROZEN_CODES, FROZEN_DETAILS } from "./frozen.js";
import { CLICKS, CONTROLS, COSTS, FAILURES, LEARNING, LEARNING_DETAILS } from "./learning.js";
import { SEARCH_DETAILS, SPEED } from "./search.js";
import { CODES, SIZE, STORES, TRACES } from "./size.js";
import { type FigureTable, markdown } from "./table.js";

/** README's tables by the name in `<!-- bench:NAME -->`. */
const README_TABLES: Record<string, FigureTable> = {
  search: SPEED,
  size: SIZE,
  learning: LEARNING,
  frozen: FROZEN,
  ingest: INGEST,
  checkpoints: SEARCHES,
};

interface Section {
  title: string;
  note: string;
  tables: FigureTable[];
}

const SECTIONS: Section[] = [
  {
    title: "Search",
    note: "MNIST, 60,000 x 784, M 16, ef_construction 200, one thread where nothing else is said; the other systems in the same run with the same settings.",
    tables: [SPEED, SEARCH_DETAILS],
  },
  {
    title: "Size",
    note: "Codes alone are compared exhaustively; 20,000 rows at most. Stores hold 1, 5, 20, 40 and 34% of the vectors in hot, warm, cool, cold and archive. Traces are real accesses; the caches hold whole vectors in the same bytes.",
    tables: [CODES, STORES, TRACES],
  },
  {
    title: "Learning",
    note: "nDCG@10 of questions that nobody had asked, in 5 folds; in brackets the 95% bootstrap interval of the difference. The best other learner is the best on the test questions themselves, in its favour.",
    tables: [LEARNING, LEARNING_DETAILS, CONTROLS],
  },
  {
    title: "Learning from clicks",
    note: "Cranfield, simulated clicks on ten shown. 0.000 above `vector`: the gate let nothing serve.",
    tables: [CLICKS],
  },
  { title: "When learning goes wrong", note: "Cranfield.", tables: [FAILURES] },
  { title: "What learning costs", note: "One machine; milliseconds are of one call.", tables: [COSTS] },
  {
    title: "Frozen bundles",
    note: "k 10, one thread; beside scans/s how many times exhaustive search by the same kernel that is.",
    tables: [FROZEN, FROZEN_CODES, FROZEN_DETAILS],
  },
  {
    title: "Durability",
    note: "Each row is on disk before it is acknowledged, while checkpoints run one after the other. SQLite and LMDB keep bytes; Hebb links the row into a graph as well.",
    tables: [INGEST, SEARCHES, DURABILITY_DETAILS],
  },
];

export interface Documents {
  readme: string;
  measured: string;
}

export const README = join(CHECKOUT, "README.md");
export const MEASURED = join(CHECKOUT, "docs", "measured.md");

/** README and docs/measured.md as the record says; `readme` is what stands there. @throws {UsageError} for markers that do not match. */
export function documents(record: RecordFolder, readme: string): Documents {
  const said: Record<string, string> = { record: sourceOf(record) };
  for (const [name, table] of Object.entries(README_TABLES)) said[name] = markdown(table, record);
  const found = new Set<string>();
  const filled = readme.replace(/<!-- bench:([a-z]+) -->\n.*?<!-- \/bench -->/gs, (_, name: string) => {
    if (!Object.hasOwn(said, name)) {
      throw new UsageError(`README.md: nothing is called bench:${name}; there are ${Object.keys(said).join(", ")}`);
    }
    found.add(name);
    return `<!-- bench:${name} -->\n${said[name]}\n<!-- /bench -->`;
  });
  const absent = Object.keys(said).filter((name) => !found.has(name));
  if (absent.length > 0) {
    throw new UsageError(
      `README.md: no place for ${absent.join(", ")}; each needs a line <!-- bench:NAME --> and below it <!-- /bench -->`,
    );
  }
  return { readme: filled, measured: measured(record) };
}

function measured(record: RecordFolder): string {
  const sections = SECTIONS.map(({ title, note, tables }) =>
    [`## ${title}`, note, ...tables.map((table) => markdown(table, record))].join("\n\n"),
  );
  const head = `# What was measured\n\nMade by \`npm run bench -- tables\` from \`${relative(CHECKOUT, record.folder)}\`; changes by hand are lost.\nWhat each bench does and how to read it is in [bench/README.md](../bench/README.md). ${sourceOf(record)}`;
  return `${[head, ...sections].join("\n\n")}\n`;
}

function sourceOf({ folder, index }: RecordFolder): string {
  const { cores, cpu, node } = index.machine;
  return `Record \`${basename(folder)}\` of ${index.date.slice(0, 10)}, commit ${index.commit}: one machine with ${cores} cores (${cpu}), Node ${node}.`;
}

/**
 * Writes both documents, or with `check` only says whether they are as the newest record under `results` says.
 * @returns false where `check` finds a difference.
 */
export function runTables(results: string, check: boolean): boolean {
  const record = newestRecord(results);
  const absent = RELEASE.filter(({ name }) => !record.index.parts[name]?.file).map(({ name }) => name);
  if (absent.length > 0) console.log(`not measured in ${record.folder}: ${absent.join(", ")}`);
  const readme = readFileSync(README, "utf8");
  const wanted = documents(record, readme);
  const pairs = [
    { path: README, text: wanted.readme },
    { path: MEASURED, text: wanted.measured },
  ];
  const differ = pairs.filter(({ path, text }) => textOf(path) !== text);
  for (const { path, text } of differ) {
    if (!check) writeFileSync(path, text);
    const name = relative(CHECKOUT, path);
    console.log(
      check ? `FAIL ${name} is not what ${record.folder} says; run "npm run bench -- tables"` : `wrote ${name}`,
    );
  }
  if (differ.length === 0) console.log(`README.md and docs/measured.md are what ${record.folder} says`);
  return !check || differ.length === 0;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // not there yet
  }
}

/** Every figure once (README's `size` is a part of another table), by its section: what `compare` goes through. */
export const ALL_TABLES: readonly { title: string; table: FigureTable }[] = SECTIONS.flatMap(({ title, tables }) =>
  tables.map((table) => ({ title, table })),
);
