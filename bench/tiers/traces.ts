/** Real accesses: how many find a hot or warm vector, beside caches of whole vectors; by the policy alone, and through an index. */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Prng } from "../../base/prng.js";
import { TIERS } from "../../base/types.js";
import { rebase } from "../../model/heat.js";
import { ARCHIVE, HOT, TierPolicy, TierRules, WARM } from "../../model/tiering.js";
import type { Index } from "../../src/index.js";
import type { Claim } from "../claims.js";
import { count, table } from "../table.js";
import { loadTrace, type Trace } from "./access-traces.js";
import { lruHits, tinyLfuHits } from "./caches.js";
import type { TraceSpec } from "./options.js";
import { putRows, withFolder, withStore } from "./stores.js";

/** Accesses before anything is counted: a share of all. */
const WARM_UP = 0.2;
/** By the policy alone: accesses between two rounds that come by time; others come when a promotion does not fit. */
const ROUND_EVERY = 3000;
/** Through an index: accesses between two pauses, in which what waits in the background is done, and how long one is. */
const PAUSE_EVERY = 100;
const PAUSE_MS = 5;
const REPLAY_DIMENSIONS = 32;
const THRESHOLDS = {
  hot_threshold: 0.8,
  warm_threshold: 0.4,
  cool_threshold: 0.1,
  cold_threshold: 0.01,
  promotion_threshold: 1.5,
  demotion_threshold: 0.5,
} as const;

/** What a replay found, from the end of the warm-up on. */
interface Replayed {
  /** Share of accesses that found a hot or warm vector. */
  precise: number;
  /** Mean bytes and number of hot and warm vectors. */
  preciseBytes: number;
  preciseCount: number;
  promotedPer1000: number;
  demotedPer1000: number;
}

/** What a replay through an index found. */
interface Indexed extends Replayed {
  /** Share of searches by a row's own vector that found the row. */
  found: number;
  /** Whether vectors kept within the budget at every pause. */
  within: boolean;
}

/** The same accesses to caches that hold whole vectors. */
interface Cached {
  /** With as many bytes. */
  lruSameBytes: number;
  tinyLfuSameBytes: number;
  /** With as many vectors. */
  lruSameCount: number;
  tinyLfuSameCount: number;
}

export interface TraceResult {
  data: string;
  accesses: number;
  keys: number;
  /** Only hot and warm vectors count against the budget: that of `size` x keys whole vectors. */
  sizes: (Replayed & Cached & { size: number })[];
  /** All tiers count, the budget being a share of raw; by the policy alone, and through an index. */
  budgets: (Cached & { budget: number; policy: Replayed; retiered: Indexed; alone: Indexed })[];
}

export async function measureTrace({ data, sizes, budgets }: TraceSpec, claims: Claim[]): Promise<TraceResult> {
  const trace = loadTrace(data);
  const result: TraceResult = { data, accesses: trace.accesses.length, keys: trace.keys, sizes: [], budgets: [] };
  for (const size of sizes) {
    const perTier = [4, 2, 0, 0, 0];
    const bytes = Math.round(size * trace.keys) * perTier[HOT];
    const replayed = replay(trace, { perTier, bytes, fresh: false });
    result.sizes.push({ size, ...replayed, ...cached(trace, replayed, perTier[HOT], bytes) });
  }
  for (const budget of budgets) result.budgets.push(await replayBudget(trace, budget));
  report(result, claims);
  return result;
}

function cached(
  { accesses }: Trace,
  { preciseBytes, preciseCount }: Replayed,
  each: number,
  bytes = preciseBytes,
): Cached {
  const warm = Math.floor(accesses.length * WARM_UP);
  const [sameBytes, sameCount] = [Math.round(bytes / each), Math.round(preciseCount)];
  return {
    lruSameBytes: lruHits(accesses, sameBytes, warm),
    tinyLfuSameBytes: tinyLfuHits(accesses, sameBytes, warm),
    lruSameCount: lruHits(accesses, sameCount, warm),
    tinyLfuSameCount: tinyLfuHits(accesses, sameCount, warm),
  };
}

/** Adds up what a replay found. */
class Tally {
  private counted = 0;
  private hits = 0;
  private bytes = 0;
  private vectors = 0;
  private promoted = 0;
  private demoted = 0;

  constructor(private readonly perTier: readonly number[]) {}

  access(precise: boolean, counts: ArrayLike<number>): void {
    this.counted++;
    if (precise) this.hits++;
    this.vectors += counts[HOT] + counts[WARM];
    this.bytes += counts[HOT] * this.perTier[HOT] + counts[WARM] * this.perTier[WARM];
  }

  moves(promoted: number, demoted: number): void {
    this.promoted += promoted;
    this.demoted += demoted;
  }

  result(): Replayed {
    const n = this.counted;
    return {
      precise: this.hits / n,
      preciseBytes: this.bytes / n,
      preciseCount: this.vectors / n,
      promotedPer1000: (1000 * this.promoted) / n,
      demotedPer1000: (1000 * this.demoted) / n,
    };
  }
}

/**
 * Replays accesses by the policy alone.
 * @param bytes the budget, of all vectors by `perTier`
 * @param fresh whether all keys are put as new ones first; else they begin in the archive
 */
function replay(
  { accesses, keys }: Trace,
  { perTier, bytes, fresh }: { perTier: readonly number[]; bytes: number; fresh: boolean },
): Replayed {
  const rules = new TierRules(THRESHOLDS);
  const policy = new TierPolicy({ rules, nodes: keys, seed: 1, budget: { bytes, perTier } });
  const tally = new Tally(perTier);
  const tiers = new Uint8Array(keys);
  const heats = new Float32Array(keys);
  const counts = new Uint32Array(TIERS.length);
  let time = 0;
  let counting = false;
  const pass = () => {
    time += policy.pace;
    const by = policy.setTime(time);
    if (by > 0) rebase(heats, by);
  };
  const move = (key: number, to: number) => {
    const from = tiers[key];
    heats[key] = policy.move(key, from, to, heats[key]);
    tiers[key] = to;
    counts[from]--;
    counts[to]++;
    if (counting) tally.moves(to < from ? 1 : 0, to > from ? 1 : 0);
  };
  const round = (known = keys) => {
    const moves = policy.round();
    for (let key = 0; key < known; key++) moves.survey(key, tiers[key], heats[key]);
    moves.decide();
    for (let key = 0; key < known; key++) {
      const to = moves.demoted(key, tiers[key], heats[key]);
      if (to !== tiers[key]) move(key, to);
    }
  };
  for (let key = 0; key < keys; key++) {
    tiers[key] = fresh ? HOT : ARCHIVE;
    if (fresh) pass();
    const heat = policy.place(tiers[key]);
    heats[key] = fresh ? heat : 0;
    counts[tiers[key]]++;
    if (policy.over) round(key + 1);
  }
  round();
  const warm = Math.floor(accesses.length * WARM_UP);
  for (let i = 0; i < accesses.length; i++) {
    const key = accesses[i];
    pass();
    counting = i >= warm;
    if (counting) tally.access(tiers[key] <= WARM, counts);
    if (i % ROUND_EVERY === 0) round();
    heats[key] = policy.access(key, tiers[key], heats[key]);
    if (policy.wanted(key, tiers[key], heats[key]) === tiers[key]) continue;
    if (!policy.fits(tiers[key], policy.wanted(key, tiers[key], heats[key]))) round();
    const to = policy.wanted(key, tiers[key], heats[key]);
    if (to < tiers[key] && policy.fits(tiers[key], to)) move(key, to);
  }
  return tally.result();
}

/** A budget over all tiers: what the policy alone does, and an index, with a call of `retier` in every pause and without. */
async function replayBudget(trace: Trace, budget: number): Promise<TraceResult["budgets"][number]> {
  const d = REPLAY_DIMENSIONS;
  const random = new Prng(1);
  const vectors = Float32Array.from({ length: trace.keys * d }, () => random.gaussian());
  const runs: Indexed[] = [];
  let perTier: number[] = [];
  for (const retiers of [true, false]) {
    const config = {
      ruvector: { hnsw_ef_construction: 64 },
      tensor_compress: { ...THRESHOLDS, memory_budget: budget, recompress_interval_s: 604_800 },
    };
    const run = await withFolder((folder) =>
      withStore(join(folder, "trace.hebb"), { dimensions: d, config }, async (index) => {
        await putRows(index, vectors);
        await index.settle();
        await index.retier();
        perTier = TIERS.map((tier) => index.stats().tiers[tier].bytesPerVector);
        return replayIndex(index, trace, vectors, { perTier, bytes: budget * 4 * vectors.length, retiers });
      }),
    );
    runs.push(run);
  }
  const [retiered, alone] = runs;
  const policy = replay(trace, { perTier, bytes: budget * 4 * vectors.length, fresh: true });
  return { budget, policy, retiered, alone, ...cached(trace, policy, perTier[HOT]) };
}

/** Each access is a search by the row's own vector, k = 1. */
async function replayIndex(
  index: Index,
  { accesses }: Trace,
  vectors: Float32Array,
  { perTier, bytes, retiers }: { perTier: readonly number[]; bytes: number; retiers: boolean },
): Promise<Indexed> {
  const d = index.dimensions;
  const warm = Math.floor(accesses.length * WARM_UP);
  const tally = new Tally(perTier);
  let counts = countsOf(index);
  let found = 0;
  let within = true;
  for (let i = 0; i < accesses.length; i++) {
    const key = accesses[i];
    if (i >= warm) tally.access(TIERS.indexOf(index.get(key)!.tier) <= WARM, counts);
    const [hit] = index.search(vectors.subarray(key * d, (key + 1) * d), { k: 1, ef: 24, include: [] });
    if (hit?.id === key) found++;
    if (i % PAUSE_EVERY !== PAUSE_EVERY - 1) continue;
    if (retiers) {
      const { promoted, demoted } = await index.retier();
      if (i >= warm) tally.moves(promoted, demoted);
    } else {
      await setTimeout(PAUSE_MS);
    }
    counts = countsOf(index);
    within &&= index.stats().vectors.bytes <= bytes;
  }
  return { ...tally.result(), found: found / accesses.length, within };
}

const countsOf = (index: Index): number[] => {
  const { tiers } = index.stats();
  return TIERS.map((tier) => tiers[tier].count);
};

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

function report({ data, accesses, keys, sizes, budgets }: TraceResult, claims: Claim[]): void {
  console.log(
    `\n${data}: ${count(accesses)} accesses to ${count(keys)} keys; share that found a hot or warm vector after ${WARM_UP * 100}% warm-up`,
  );
  const header = [
    "budget",
    "hot or warm",
    "LRU",
    "W-TinyLFU",
    "LRU, as many",
    "W-TinyLFU, as many",
    "up/1000",
    "down/1000",
  ];
  const line = (label: string, own: Replayed, beside?: Cached, moves = true) => [
    label,
    percent(own.precise),
    ...(["lruSameBytes", "tinyLfuSameBytes", "lruSameCount", "tinyLfuSameCount"] as const).map((name) =>
      beside ? percent(beside[name]) : "",
    ),
    moves ? own.promotedPer1000.toFixed(0) : "-",
    moves ? own.demotedPer1000.toFixed(0) : "-",
  ];
  const lines = sizes.map((size) => line(`${size.size * 100}% of keys as f32, hot and warm alone`, size, size));
  for (const result of budgets) {
    const label = `${result.budget} of raw, all tiers`;
    lines.push(line(`${label}: policy alone`, result.policy, result));
    lines.push(line(`${label}: an index, retier() every ${PAUSE_EVERY}`, result.retiered));
    lines.push(line(`${label}: an index, left to itself`, result.alone, undefined, false));
  }
  console.log(table(header, lines));
  for (const own of sizes) {
    const best = Math.max(own.lruSameBytes, own.tinyLfuSameBytes);
    claims.push({
      name: `${data} ${own.size * 100}%: hot or warm found more often than with LRU and W-TinyLFU of the same bytes`,
      kind: "target",
      holds: own.precise > best,
      figure: `${percent(own.precise)}, the better of them ${percent(best)}`,
      measured: own.precise,
      wanted: best,
      by: own.precise / best - 1,
    });
  }
  for (const { budget, policy, retiered, alone } of budgets) {
    const near = (what: string, { precise }: Indexed): Claim => ({
      name: `${data} budget ${budget}: ${what} finds hot or warm within .1 of what the policy alone does`,
      kind: "target",
      holds: precise >= policy.precise - 0.1,
      figure: `${percent(precise)}, ${percent(policy.precise)}`,
    });
    claims.push(near(`an index with retier() every ${PAUSE_EVERY}`, retiered), near("an index left to itself", alone));
    claims.push({
      name: `${data} budget ${budget}: vectors kept within it at every pause`,
      kind: "assertion",
      holds: retiered.within && alone.within,
      figure: `retier() ${retiered.within}, left to itself ${alone.within}`,
    });
  }
}
