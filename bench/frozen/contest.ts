/**
 * Scans of a bundle beside exhaustive search of the live index, and walks of both graphs, in a process for each kernel:
 * in each round every process makes one timed pass of every call, and another one goes first in the next round.
 */
import type { Claim } from "../claims.js";
import type { AnnSet, AnnSpec } from "../data.js";
import { kernelsHere } from "../kernels.js";
import { RemoteProcess } from "../remote.js";
import { median } from "../stats.js";
import { count, fixed, table, times } from "../table.js";
import { recallOf } from "../truth.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Call, FrozenPass, Requests, Work } from "./protocol.js";
import type { Stores } from "./stores.js";

/** One call over all its rounds. */
export interface Timed {
  name: string;
  queries: number;
  /** Of each timed pass, from what it returned. */
  recalls: number[];
  passSeconds: number[];
  queriesPerSecond: number;
  /** A query's, of scans. */
  work: Work | undefined;
}

export interface KernelContest {
  kernel: string;
  calls: Timed[];
}

export interface Contest {
  data: string;
  rows: number;
  dimensions: number;
  /** The slowest kernel first. */
  kernels: KernelContest[];
  absent: string[];
}

/** Bits of a value: the standard, and the least. */
export const BITS = [4, 1] as const;
/** Recall of every timed scan. */
export const FLOOR = 0.99;

const nameOf = (call: Call): string => ("bits" in call ? `${call.call}, ${inBits(call.bits)}` : call.call);

/** Runs the calls on a set; claims what must hold whatever the speed. */
export async function runContest(
  stores: Stores,
  spec: AnnSpec,
  { ef, exactQueries, repeats }: FrozenOptions,
  claims: Claim[],
): Promise<Contest> {
  const { path, set } = await stores.of(spec);
  const bundles: { bits: number; directory: string }[] = [];
  for (const bits of BITS) bundles.push({ bits, directory: await stores.freeze(path, { bits }) });
  const [standard] = BITS;
  const calls: Call[] = [
    ...BITS.map((bits) => ({ call: "scan", bits }) as const),
    { call: "scanMany", bits: standard },
    { call: "exact", queries: Math.min(exactQueries, set.nq) },
    { call: "graph", bits: standard, ef },
    { call: "live", ef },
  ];
  const { present, absent } = kernelsHere();
  const remotes = present.map(
    (kernel) => new RemoteProcess<Requests>(new URL("./process.js", import.meta.url), { label: kernel, kernel }),
  );
  try {
    for (const remote of remotes) {
      const { queries, d, k } = set;
      const kernel = await remote.ask("setup", { store: path, bundles, queries: queries.slice(), d, k });
      if (kernel !== remote.label) throw new Error(`asked for kernel ${remote.label}, but ${kernel} runs`);
    }
    const passes = remotes.map(() => calls.map((): FrozenPass[] => []));
    for (let round = -1; round < repeats; round++) {
      for (let turn = 0; turn < remotes.length; turn++) {
        const which = (turn + round + 1) % remotes.length;
        // In turns the other way round: who comes after an exhaustive search finds its caches full of something else.
        const order = [...calls.entries()];
        for (const [i, call] of round % 2 === 0 ? order : order.reverse()) {
          const pass = await remotes[which].ask("pass", call);
          if (round >= 0) passes[which][i].push(pass); // the round before it warms up
        }
      }
    }
    for (const remote of remotes) await remote.ask("close");
    const kernels = present.map((kernel, which) => ({
      kernel,
      calls: calls.map((call, i) => timedOf(nameOf(call), passes[which][i], set)),
    }));
    const contest = { data: set.name, rows: set.n, dimensions: set.d, kernels, absent };
    report(contest, set);
    claims.push(...assertions(contest, calls, passes));
    return contest;
  } finally {
    for (const remote of remotes) remote.end();
    for (const { directory } of bundles) stores.drop(directory);
  }
}

function timedOf(name: string, passes: readonly FrozenPass[], set: AnnSet): Timed {
  const [{ queries, work }] = passes;
  const passSeconds = passes.map(({ seconds }) => seconds);
  return {
    name,
    queries,
    recalls: passes.map(({ rows }) => recallOf(rows, set, set.kth.subarray(0, queries))),
    passSeconds,
    queriesPerSecond: queries / median(passSeconds),
    work,
  };
}

/** The call of a kernel. */
export function timed({ calls }: KernelContest, name: string): Timed {
  const found = calls.find((call) => call.name === name);
  if (!found) throw new Error(`no call ${name}; there are ${calls.map((call) => call.name).join(", ")}`);
  return found;
}

/** Median over rounds of how many times one call is as fast as another in the same round. */
export function ratio(own: Timed, other: Timed): number {
  return median(own.passSeconds.map((s, round) => (own.queries / s) * (other.passSeconds[round] / other.queries)));
}

function report({ data, rows, dimensions, kernels, absent }: Contest, { k, nq }: AnnSet): void {
  const lines = [...kernels]
    .reverse()
    .flatMap((one) =>
      one.calls.map((call) => [
        `${one.kernel}: ${call.name}`,
        count(call.queriesPerSecond),
        times(ratio(call, timed(one, "exact"))),
        fixed(Math.min(...call.recalls)),
        ...(["clusters", "blocks", "candidates", "looked", "compared"] as const).map((key) =>
          call.work ? call.work[key].toFixed(1) : "-",
        ),
      ]),
    );
  const header = [
    "",
    "queries/s",
    "over exact",
    `recall@${k}`,
    "clusters",
    "blocks",
    "candidates",
    "looked",
    "compared",
  ];
  console.log(
    `\n${data}: ${count(rows)} x ${dimensions}, ${count(nq)} queries; what a scan looked at is a query's\n${table(header, lines)}`,
  );
  if (absent.length > 0) console.log(`not on this machine: ${absent.join(" ")}`);
}

function assertions({ data, kernels }: Contest, calls: readonly Call[], passes: FrozenPass[][][]): Claim[] {
  const least = (name: RegExp) =>
    Math.min(...kernels.flatMap((one) => one.calls.filter((call) => name.test(call.name)).flatMap((c) => c.recalls)));
  const same = (a: FrozenPass, b: FrozenPass) =>
    a.rows.every((row, i) => row === b.rows[i]) && a.distances.every((distance, i) => distance === b.distances[i]);
  // Of one bundle and one query there is one answer, whoever asks and however often.
  const answers = calls.map((call, i) => ({ call, all: passes.flatMap((ofKernel) => ofKernel[i]) }));
  const frozen = answers.filter(({ call }) => "bits" in call);
  const differ = frozen.filter(({ all }) => !all.every((one) => same(one, all[0]))).map(({ call }) => nameOf(call));
  const first = (name: Call["call"]) => answers.find(({ call }) => call.call === name)!.all[0];
  const alike = same(first("scan"), first("scanMany"));
  const walks = ["graph", "live"].map((name) => least(new RegExp(`^${name}`)));
  return [
    {
      name: `${data}: recall of every timed scan >= ${FLOOR}`,
      kind: "assertion",
      holds: least(/^scan/) >= FLOOR,
      figure: `at least ${fixed(least(/^scan/))}`,
    },
    {
      name: `${data}: exhaustive search finds all`,
      kind: "assertion",
      holds: least(/^exact/) === 1,
      figure: fixed(least(/^exact/)),
    },
    {
      name: `${data}: recall of mode graph is the live index's`,
      kind: "assertion",
      holds: Math.abs(walks[0] - walks[1]) <= 1e-3,
      figure: `${fixed(walks[0])} and ${fixed(walks[1])}`,
    },
    {
      name: `${data}: every kernel, every pass and searchMany give the same ids and distances`,
      kind: "assertion",
      holds: differ.length === 0 && alike,
      figure:
        differ.length === 0 && alike
          ? `bit for bit: ${kernels.map(({ kernel }) => kernel).join(" ")}`
          : `they differ: ${[...differ, ...(alike ? [] : ["scan and scanMany"])].join("; ")}`,
    },
  ];
}
