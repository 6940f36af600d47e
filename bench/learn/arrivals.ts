/**
 * Documents that arrive after the feedback. A fifth of them, at random, is held back; the others get the feedback of the
 * training queries, as far as it names them. Then the rest is put, and queries that have relevant documents among it
 * are judged: those nobody asked before, and those of the feedback. `late` takes the earlier relevant documents out of
 * ranking and judgements: how high stands what arrived?
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { type ConfigInput, open } from "../../src/index.js";
import { atLeast, type Claim } from "../claims.js";
import type { JudgedSet } from "../data.js";
import { bootstrapInterval, mean } from "../stats.js";
import { fixed, table } from "../table.js";
import { withFolder } from "../tiers/stores.js";
import { FOLDS, SEED } from "./cross-validate.js";
import { foldRandom, permutation, splitFolds } from "./folds.js";
import { ndcg } from "./ndcg.js";
import { ask, type Mode, queryVector, type Subject, servingIn } from "./store.js";

const LATE_SHARE = 0.2;

/** Ways to put what arrives, static first. */
const WAYS: { name: string; mode: Mode; ruvector: ConfigInput["ruvector"] }[] = [
  { name: "static", mode: "vector", ruvector: {} },
  { name: "local_steps = 0", mode: "neural", ruvector: { local_steps: 0 } },
  { name: "local_steps = 3", mode: "neural", ruvector: { local_steps: 3 } },
  { name: "and propagate_updates", mode: "neural", ruvector: { local_steps: 3, propagate_updates: true } },
];
const COLUMNS = ["new queries, all", "new queries, late", "asked before, all", "asked before, late"] as const;

export interface ArrivalsReport {
  /** By way: means by column, and milliseconds that putting a row took. */
  ways: Record<string, { means: number[]; putMs: number }>;
  queries: [fresh: number, asked: number];
  serving: string[];
}

export async function measureArrivals(
  subject: Subject,
  { smoke }: { smoke: boolean },
  claims: Claim[],
): Promise<ArrivalsReport> {
  const { set } = subject;
  const random = foldRandom(SEED);
  const folds = splitFolds(permutation(set.queries.length, random), FOLDS).slice(0, smoke ? 1 : FOLDS);
  const late = new Set(permutation(set.documents.length, random).slice(0, set.documents.length * LATE_SHARE));
  const values = WAYS.map(() => COLUMNS.map((): number[] => []));
  const putMs = WAYS.map((): number[] => []);
  const serving: string[] = [];
  for (const { train, test } of folds) {
    await withFolder(async (folder) => {
      const taught = join(folder, "taught.hebb");
      serving.push(await teach(subject, taught, late, train));
      for (const [way, { mode, ruvector }] of WAYS.entries()) {
        const path = join(folder, `way-${way}.hebb`);
        cpSync(taught, path, { recursive: true });
        const config = { ...subject.config, ruvector: { ...subject.config.ruvector, ...ruvector } };
        const index = await open(path, { durability: "off", config });
        const start = performance.now();
        await index.putMany(rowsOf(set, [...late]));
        putMs[way].push((performance.now() - start) / late.size);
        await index.settle();
        for (const [at, queries] of [test, train].entries()) {
          for (const query of queries) {
            const relevant = set.relevant[query];
            const arrived = new Map([...relevant].filter(([document]) => late.has(document)));
            if (arrived.size === 0) continue;
            const ranking = await ask(index, set, queryVector(set, query), mode);
            values[way][2 * at].push(ndcg(ranking, relevant));
            const left = ranking.filter((document) => late.has(document) || !relevant.has(document));
            values[way][2 * at + 1].push(ndcg(left, arrived));
          }
        }
        await index.close();
      }
    });
  }
  const ways = WAYS.map(({ name }, way) => [name, { means: values[way].map(mean), putMs: mean(putMs[way]) }] as const);
  const report: ArrivalsReport = {
    ways: Object.fromEntries(ways),
    queries: [values[0][0].length, values[0][2].length],
    serving,
  };
  print(set.name, report);
  const [, without, inherited] = values;
  const gainOf = (column: number) => inherited[column].map((value, i) => value - without[column][i]);
  const { mean: all, low, high } = bootstrapInterval(gainOf(0));
  claims.push(
    {
      name: `${set.name} arrivals: what they inherit costs new queries nothing (.005)`,
      kind: "assertion",
      holds: all >= -0.005,
      figure: `${fixed(all)} [${fixed(low)}, ${fixed(high)}]`,
    },
    atLeast(`${set.name} arrivals: among new queries, late documents gain`, mean(gainOf(1)), 0.01, fixed),
  );
  return report;
}

const rowsOf = ({ documents, documentVectors, d }: JudgedSet, which: number[]) => {
  const vectors = new Float32Array(which.length * d);
  for (const [i, document] of which.entries()) {
    vectors.set(documentVectors.subarray(document * d, (document + 1) * d), i * d);
  }
  return { ids: which.map((document) => documents[document]), vectors };
};

/** A store of the other documents that learned and trained on what feedback says of them; returns what serves. */
async function teach(
  { set, config }: Subject,
  path: string,
  late: ReadonlySet<number>,
  train: readonly number[],
): Promise<string> {
  const index = await open(path, { dimensions: set.d, metric: "cosine", durability: "off", config });
  const early = Array.from(set.documents.keys()).filter((document) => !late.has(document));
  await index.putMany(rowsOf(set, early));
  await index.settle();
  const events = train.flatMap((query, i) => {
    const chosen = [...set.relevant[query].keys()].filter((document) => !late.has(document));
    if (chosen.length === 0) return [];
    return [
      {
        query: queryVector(set, query),
        chosen: chosen.map((document) => set.documents[document]),
        time: 1.7e12 + i * 1000,
      },
    ];
  });
  await index.learn(events);
  await index.train({});
  const serving = servingIn(index);
  await index.close();
  return serving;
}

function print(name: string, { ways, queries, serving }: ArrivalsReport): void {
  console.log(
    `\n${name}, a fifth of the documents after the feedback: ${queries[0]} new queries and ${queries[1]} of the feedback have relevant ones among them; serving: ${serving.join("; ")}`,
  );
  const rows = Object.entries(ways).map(([way, { means, putMs }]) => [
    way,
    ...means.map((value) => fixed(value)),
    putMs.toFixed(2),
  ]);
  console.log(table(["nDCG@10", ...COLUMNS, "ms to put a row"], rows));
}
