import type { Command } from "commander";
import { Prng } from "../../../base/prng.js";
import type { Index } from "../../index.js";
import { integerOf } from "../arguments.js";
import { print, table } from "../print.js";
import { formatCount, Progress } from "../progress.js";
import { EFS, measure, withNoise } from "../recall.js";
import { withStore } from "../store.js";

const SEED = 1;

interface BenchOptions {
  queries: number;
  k: number;
  json?: boolean;
}

export function benchCommand(program: Command): void {
  program
    .command("bench")
    .summary("recall and speed of a store of your own")
    .description(
      "Measures recall and speed of searches in a store for a range of ef, against exact search. The queries are stored vectors with 10% of noise, the same in each run.",
    )
    .argument("<store>", "directory of the store")
    .option("-q, --queries <n>", "how many queries", integerOf, 200)
    .option("-k, --k <n>", "results per query", integerOf, 10)
    .option("--json", "print one line of JSON")
    .addHelpText("after", "\nExample:\n  hebb bench images.hebb --queries 500")
    .action(bench);
}

async function bench(store: string, { queries, k, json }: BenchOptions): Promise<void> {
  if (queries < 1) throw new RangeError(`--queries is ${queries}; expected at least 1`);
  const result = await withStore(store, { readOnly: true }, async (index) => {
    if (index.size === 0) throw new RangeError(`${store} is empty; there is nothing to measure`);
    const asked = sampleQueries(index, queries);
    const progress = new Progress("searching exactly", "queries");
    const truth = asked.map((query, i) => {
      progress.update(i, i / asked.length);
      return new Set(index.search(query, { k, exact: true, include: [] }).map((hit) => hit.id));
    });
    progress.stop();
    const searching = new Progress("measuring", "searches");
    const runs = EFS.map((ef, i) => {
      searching.update(2 * i * asked.length, i / EFS.length);
      return measure(index, asked, truth, k, ef);
    });
    searching.stop();
    return {
      store,
      size: index.size,
      dimensions: index.dimensions,
      kernel: index.stats().kernel,
      k,
      queries: asked.length,
      runs,
    };
  });
  print(json, result, () => {
    const { size, dimensions, kernel, runs } = result;
    const rows = runs.map((run) => [
      String(run.ef),
      run.recall.toFixed(4),
      formatCount(Math.round(run.queriesPerSecond)),
      run.p50Ms.toFixed(3),
      run.p99Ms.toFixed(3),
    ]);
    return [
      `${formatCount(size)} x ${dimensions}, kernel ${kernel}, ${result.queries} queries, one thread`,
      table([["ef", `recall@${k}`, "queries/s", "p50 ms", "p99 ms"], ...rows], [0, 1, 2, 3, 4]),
    ].join("\n");
  });
}

/** Stored vectors with noise, drawn evenly from the store (reservoir sampling). */
function sampleQueries(index: Index, count: number): Float32Array[] {
  const random = new Prng(SEED);
  const sample: Float32Array[] = [];
  let seen = 0;
  for (const { vector } of index.entries()) {
    seen++;
    if (sample.length < count) sample.push(vector);
    else {
      const at = random.below(seen);
      if (at < count) sample[at] = vector;
    }
  }
  return sample.map((vector) => withNoise(vector, random));
}
