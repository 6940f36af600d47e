/**
 * A store for retrieval-augmented generation that gets better by being used: index markdown, ask, click, ask better.
 *
 *   npx tsx examples/rag.ts [folder]      default: the READMEs under ./node_modules
 *
 * Files are indexed without their headings, and a heading that stands in one file alone is a question whose answer is that
 * file. A simulated reader asks seven tenths of them, sees ten files each, and clicks the answer where it is among those.
 * The rest are asked once the store was closed and opened again: in mode `vector`, which knows nothing of the clicks, and
 * in `neural`, which gets what the gate lets serve. Expect more of them better than worse, where files were clicked before;
 * a small folder teaches too little, and then it says so. Some ten seconds.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Index, open } from "hebb";

type Question = { text: string; answer: string };
type Result = Question & { before: number; after: number }; // ranks from 0; -1: not among ten
const ndcg = (rank: number) => (rank < 0 ? 0 : 1 / Math.log2(rank + 2));
const gain = ({ before, after }: Result) => ndcg(after) - ndcg(before);
const SETTINGS = {
  dimensions: 256,
  metric: "cosine",
  encoder: "hashed-tfidf", // compares words; with `encoder: async (texts) => Float32Array[]` you bring a model of meanings
  config: { ruvector: { propagation: "linear" } }, // without the attention network, which takes most of the time to train
} as const;

const folder = process.argv[2] ?? "node_modules";
if (!existsSync(folder)) throw new Error(`"${folder}" is not there; expected a folder with markdown files`);
const { files, questions } = readMarkdown(folder, process.argv[2] ? /\.md$/i : /^(@[^/]+\/)?[^/]+\/readme\.md$/i);
const asked = questions.slice(0, 0.7 * questions.length);
const heldOut = questions.slice(asked.length);
if (asked.length === 0) throw new Error(`found no headings in "${folder}"; expected a folder with markdown files`);

const home = mkdtempSync(join(tmpdir(), "hebb-rag-"));
let index = await open(join(home, "notes.hebb"), SETTINGS);
try {
  // A long file is better cut into passages, each a row of its own.
  await index.putMany(files.map(({ path, text }) => ({ id: path, text, payload: { text } })));
  console.log(`Indexed ${files.length} files of ${folder}; their headings make ${questions.length} questions.`);

  const clicks = [];
  for (const { text, answer } of asked) {
    const shown = await ask(index, text, "neural");
    if (shown.includes(answer)) clicks.push({ query: { text }, chosen: [answer] });
  }
  if (clicks.length > 0) await index.learn(clicks);
  await index.train();
  console.log(
    `Asked ${asked.length} of them; the answer was among ten, was clicked, and learned: ${clicks.length} times.`,
  );

  await index.close();
  index = await open(join(home, "notes.hebb"), SETTINGS);
  const { serving, arms } = index.stats().learning;
  console.log(`Opened again. What serves: ${serving === "static" ? "nothing" : serving.join(" and ")}.\n`);

  const results: Result[] = [];
  for (const { text, answer } of heldOut) {
    const [before, after] = [await ask(index, text, "vector"), await ask(index, text, "neural")];
    results.push({ text, answer, before: before.indexOf(answer), after: after.indexOf(answer) });
  }
  const clicked = new Set(clicks.flatMap(({ chosen }) => chosen));
  const isClicked = ({ answer }: Question) => clicked.has(answer);
  console.log("nDCG@10 of questions that nobody had asked:");
  report("all", results);
  report("their file was clicked before", results.filter(isClicked));
  report(
    "their file was never clicked",
    results.filter((one) => !isClicked(one)),
  );

  if (serving === "static") {
    const [[name, { why }]] = Object.entries(arms).sort(([, a], [, b]) => b.gain - a.gain);
    console.log(`\nThe gate lets nothing serve, so before and after are the same. Nearest to it was ${name}: ${why}.`);
  } else {
    const place = (rank: number) => (rank < 0 ? "not among ten" : `at place ${rank + 1}`);
    const [best, ...others] = results.sort((a, b) => gain(b) - gain(a));
    for (const { text, answer, before, after } of [best, ...others.slice(-1)]) {
      console.log(`\n"${text}": ${answer} was ${place(before)}, is ${place(after)}.`);
    }
  }
} finally {
  await index.close();
  rmSync(home, { recursive: true });
}

async function ask(store: Index, text: string, mode: "vector" | "neural"): Promise<unknown[]> {
  const { hits } = await store.query({ text, mode, k: 10, include: [] });
  return hits.map(({ id }) => id);
}

function report(name: string, results: Result[]): void {
  if (results.length === 0) return;
  const mean = (when: "before" | "after") =>
    (results.reduce((sum, one) => sum + ndcg(one[when]), 0) / results.length).toFixed(3);
  const [better, worse] = [results.filter((one) => gain(one) > 0), results.filter((one) => gain(one) < 0)];
  const counts = `${results.length} questions, ${better.length} better, ${worse.length} worse`;
  console.log(`  ${name.padEnd(30)} ${mean("before")} before, ${mean("after")} after (${counts})`);
}

function readMarkdown(
  root: string,
  wanted: RegExp,
): { files: { path: string; text: string }[]; questions: Question[] } {
  const isWanted = (path: string) => wanted.test(path) && !path.includes("node_modules/");
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(isWanted).sort();
  const answers = new Map<string, string[]>();
  const files = paths.map((path) => {
    const prose = readFileSync(join(root, path), "utf8").replaceAll(/^```[\s\S]*?^```/gm, "");
    const headings = new Set(Array.from(prose.matchAll(/^#{1,6} +(.+)$/gm), ([, heading]) => heading));
    for (const heading of headings) answers.set(heading, [...(answers.get(heading) ?? []), path]);
    return { path, text: prose.replaceAll(/^#.*$/gm, "") };
  });
  const single = [...answers].filter(([text, { length }]) => length === 1 && /\w\W+\w/.test(text));
  const mixed = single.map(([text, [answer]]) => ({ text, answer, key: createHash("md5").update(text).digest("hex") }));
  const questions = mixed.sort((a, b) => a.key.localeCompare(b.key)).slice(0, 500);
  return { files: files.filter(({ text }) => /\w/.test(text)), questions };
}
