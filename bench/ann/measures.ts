/** What only Hebb is asked, on the store of the sweep: its calls, reopening, filters and churn, each with what it is held to. */
import { availableParallelism } from "node:os";
import { atLeast, atMost, type Claim } from "../claims.js";
import type { AnnSet } from "../data.js";
import { median } from "../stats.js";
import { count, fixed, megabytes, milliseconds, table, times } from "../table.js";
import type { CallsResult } from "./calls.js";
import type { ChurnResult } from "./churn.js";
import type { FilterResult } from "./filters.js";
import type { AnnOptions } from "./options.js";
import { efReaching } from "./readers.js";
import type { Remote } from "./remote.js";
import type { ReopenResult } from "./reopen.js";

export interface MeasureResults {
  calls?: CallsResult;
  reopen?: ReopenResult;
  filters?: FilterResult[];
  churn?: ChurnResult;
}

const SELECTIVITIES = [0.001, 0.01, 0.1, 0.5];

const CALLS_RECALL = 0.985;

/** What is asked of the store as the build left it; `measureLast` changes what is stored. */
export async function measureHebb(
  hebb: Remote,
  set: AnnSet,
  { parts, efs, repeats, filterQueries: queries }: AnnOptions,
  claims: Claim[],
): Promise<MeasureResults> {
  const results: MeasureResults = {};
  if (parts.includes("sweep")) {
    const ef = await efReaching(hebb, set, efs, CALLS_RECALL);
    results.calls = await hebb.ask("calls", { ef, repeats });
    reportCalls(results.calls, claims);
  }
  if (parts.includes("reopen")) {
    results.reopen = await hebb.ask("reopen", { ef: 64, repeats });
    reportReopen(results.reopen, claims);
  }
  if (parts.includes("filters")) {
    results.filters = await hebb.ask("filters", { efs, queries, repeats, selectivities: SELECTIVITIES });
    reportFilters(results.filters, claims);
  }
  return results;
}

export async function measureLast(
  hebb: Remote,
  { parts, efs, churn }: AnnOptions,
  claims: Claim[],
): Promise<MeasureResults> {
  if (!parts.includes("churn")) return {};
  const result = await hebb.ask("churn", { efs, ...churn });
  reportChurn(result, churn, claims);
  return { churn: result };
}

function reportCalls({ ef, queriesPerSecond }: CallsResult, claims: Claim[]): void {
  const { searchNodes, search, searchMany } = queriesPerSecond;
  const rows = [
    ["searchNodes", count(searchNodes), "-"],
    ["search, ids and payloads", count(search), `${times(search / searchNodes)} of searchNodes`],
    ["searchMany, the same", count(searchMany), `${times(searchMany / search)} of search`],
  ];
  console.log(`\n${table([`ef ${ef}`, "queries/s", "ratio"], rows)}`);
  claims.push(atLeast("search with ids and payloads over searchNodes", search / searchNodes, 0.6, times));
  if (availableParallelism() > 1) {
    claims.push(atLeast("searchMany on all cores over search on one", searchMany / search, 1.8, times));
  }
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
    atMost("open to first result", medianMs, 100, milliseconds),
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
    claims.push(atLeast(`${name}: speed over unfiltered at recall .95`, atEqualRecall, 0.5, times));
  }
}

function reportChurn(result: ChurnResult, { share }: AnnOptions["churn"], claims: Claim[]): void {
  const { fresh, churned, deleted, rounds, settleSeconds, auditFresh, auditChurned } = result;
  const [deleting, inserting] = [
    rounds.reduce((sum, { deleteSeconds }) => sum + deleteSeconds, 0),
    rounds.reduce((sum, { insertSeconds }) => sum + insertSeconds, 0),
  ];
  console.log(
    `\nchurn: ${share * 100}% in ${rounds.length} rounds: ${count(deleted)} deleted in ${deleting.toFixed(1)} s, inserted in ${inserting.toFixed(1)} s, linked ${settleSeconds.toFixed(1)} s later`,
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
