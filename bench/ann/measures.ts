/** What only Hebb is asked: reopening, filters and churn, each with the target it is held to. */
import type { Claim } from "../record.js";
import { median } from "../stats.js";
import { count, fixed, megabytes, table, times } from "../table.js";
import type { ChurnResult } from "./churn.js";
import type { FilterResult } from "./filters.js";
import type { Remote } from "./remote.js";
import type { ReopenResult } from "./reopen.js";

export const MEASURES = ["reopen", "filters", "churn"] as const;
export type Measure = (typeof MEASURES)[number];

export interface MeasureOptions {
  measures: Measure[];
  efs: number[];
  repeats: number;
  filterQueries: number;
}

export interface MeasureResults {
  reopen?: ReopenResult;
  filters?: FilterResult[];
  churn?: ChurnResult;
}

const SELECTIVITIES = [0.001, 0.01, 0.1, 0.5];

/** Churn comes last: it changes what is stored. */
export async function measureHebb(hebb: Remote, options: MeasureOptions, claims: Claim[]): Promise<MeasureResults> {
  const { measures, efs, repeats, filterQueries: queries } = options;
  const results: MeasureResults = {};
  if (measures.includes("reopen")) {
    results.reopen = await hebb.ask("reopen", { ef: 64, repeats });
    reportReopen(results.reopen, claims);
  }
  if (measures.includes("filters")) {
    const passes = Math.min(3, repeats);
    results.filters = await hebb.ask("filters", { efs, queries, repeats: passes, selectivities: SELECTIVITIES });
    reportFilters(results.filters, claims);
  }
  if (measures.includes("churn")) {
    results.churn = await hebb.ask("churn", { efs });
    reportChurn(results.churn, claims);
  }
  return results;
}

function reportReopen(result: ReopenResult, claims: Claim[]): void {
  const { medianMs, identical, residentBytes, directoryBytes, closeMs, cold } = result;
  console.log(
    `\nreopen: first result after ${medianMs.toFixed(1)} ms (resident ${megabytes(residentBytes)} more), closing ${median(closeMs).toFixed(1)} ms; medians of ${closeMs.length}`,
  );
  console.log(
    cold
      ? `reopen, nothing cached: first result after ${cold.openToFirstResultMs.toFixed(1)} ms, ${megabytes(cold.readBytes)} of ${megabytes(directoryBytes)} read, ${megabytes(cold.openReadBytes)} of it by open itself`
      : "reopen, nothing cached: this system does not let it be measured",
  );
  claims.push(
    {
      name: "results are the same after reopening",
      kind: "assertion",
      holds: identical,
      figure: identical ? "bit for bit" : "they differ",
    },
    {
      name: "open to first result < 100 ms",
      kind: "target",
      holds: medianMs < 100,
      figure: `${medianMs.toFixed(1)} ms`,
    },
  );
  if (!cold) return;
  claims.push({
    name: "opening reads under a quarter of the store",
    kind: "target",
    holds: cold.openReadBytes < directoryBytes / 4,
    figure: `${megabytes(cold.openReadBytes)} of ${megabytes(directoryBytes)}; ${megabytes(cold.readBytes)} with the first search and what the system reads ahead`,
  });
}

function reportFilters(results: FilterResult[], claims: Claim[]): void {
  const bestOf = ({ filtered }: FilterResult) => fixed(Math.max(...filtered.map(({ recall }) => recall)));
  const rows = results.map((result) => [
    `${result.selectivity * 100}% (${count(result.admitted)} rows)`,
    bestOf(result),
    result.atEqualEf ? String(result.atEqualEf.ef) : "-",
    fixed(result.atEqualEf?.recall),
    times(result.atEqualEf?.ratio),
    times(result.atEqualRecall),
    result.firstMs.toFixed(1),
  ]);
  const header = [
    "filter admits",
    "best recall",
    "ef for .95",
    "recall",
    "speed at that ef",
    "at recall .95",
    "first ms",
  ];
  console.log(`\n${table(header, rows)}`);
  for (const result of results) {
    const name = `filter ${result.selectivity * 100}%`;
    const { atEqualEf, atEqualRecall } = result;
    claims.push({
      name: `${name}: recall within it >= .95`,
      kind: "assertion",
      holds: atEqualEf !== undefined,
      figure: atEqualEf ? `${fixed(atEqualEf.recall)} at ef ${atEqualEf.ef}` : `best ${bestOf(result)}`,
    });
    if (result.selectivity < 0.1) continue; // below, a scan of the few rows admitted is what is wanted, not the graph's speed
    claims.push({
      name: `${name}: speed over unfiltered >= .5 at recall .95`,
      kind: "target",
      holds: (atEqualRecall ?? 0) >= 0.5,
      figure: `${times(atEqualRecall)}; at equal ef ${times(atEqualEf?.ratio)}`,
    });
  }
}

function reportChurn(result: ChurnResult, claims: Claim[]): void {
  const { fresh, churned, deleted, deleteSeconds, insertSeconds, auditFresh, auditChurned } = result;
  console.log(
    `\nchurn: deleted ${count(deleted)} in ${deleteSeconds.toFixed(1)} s, inserted as many in ${insertSeconds.toFixed(1)} s`,
  );
  const rows = fresh.map(({ ef, recall, queriesPerSecond }, i) => [
    String(ef),
    fixed(recall),
    fixed(churned[i].recall),
    count(queriesPerSecond),
    count(churned[i].queriesPerSecond),
  ]);
  console.log(table(["ef", "recall fresh", "after churn", "queries/s fresh", "after churn"], rows));
  const { live, missed, missedAt, ef } = auditChurned;
  const furthest = missedAt.at(-1) ?? { ef, missed };
  claims.push(
    {
      name: "recall after churn within .01 of the fresh build, where that is >= .95",
      kind: "assertion",
      holds: result.worstLoss <= 0.01,
      figure: `at worst ${fixed(result.worstLoss)} lower`,
    },
    {
      name: `audit: every live id is found at ef ${ef}`,
      kind: "target",
      holds: missed === 0,
      figure: `${(100 * (1 - missed / live)).toFixed(3)}%, ${missed} of ${count(live)} missed (${auditFresh.missed} before the churn)`,
    },
    {
      name: "audit: every live id can be reached",
      kind: "assertion",
      holds: furthest.missed === 0,
      figure: `${furthest.missed} out of reach at ef ${furthest.ef}`,
    },
  );
}
