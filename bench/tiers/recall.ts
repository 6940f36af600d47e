/** How well each tier finds neighbours by its codes alone, beside plain quantizers that spend as many bits. */
import { join } from "node:path";
import { TIERS, type Tier } from "../../base/types.js";
import { l2 } from "../../native/index.js";
import type { Index } from "../../src/index.js";
import type { Claim } from "../claims.js";
import { type AnnSet, type AnnSpec, loadAnn } from "../data.js";
import { count, fixed, table } from "../table.js";
import { recallOf } from "../truth.js";
import { rivalsOf } from "./rivals.js";
import { LOOSE, putRows, STILL, searchAll, withFolder, withStore } from "./stores.js";

/** Best hits that are compared again with their originals, in units of k. */
const RERANK = 4;

interface Found {
  /** Of exhaustive search on codes alone. */
  recall: number;
  /** With the best 4 k compared again with their originals. */
  reranked: number;
}

export interface TierRecall extends Found {
  tier: Tier;
  codec: string;
  bytesPerVector: number;
  ratio: number;
  /** On all cores, through the store. */
  encodePerSecond: number;
  rivals: (Found & { name: string; bitsPerDimension: number })[];
}

export interface SetRecall {
  data: string;
  rows: number;
  dimensions: number;
  queries: number;
  tiers: TierRecall[];
}

export async function measureRecall(spec: AnnSpec, claims: Claim[], smoke: boolean): Promise<SetRecall> {
  const set = loadAnn(spec);
  const { d, n, nq } = set;
  const config = { ruvector: LOOSE, tensor_compress: STILL };
  const tiers = await withFolder((folder) =>
    withStore(join(folder, "tiers.hebb"), { dimensions: d, config }, (index) => measureTiers(index, set)),
  );
  const result = { data: set.name, rows: n, dimensions: d, queries: nq, tiers };
  report(result);
  for (const tier of tiers) claims.push(...(smoke ? smokeBars(tier) : bars(result, tier)));
  return result;
}

async function measureTiers(index: Index, set: AnnSet): Promise<TierRecall[]> {
  const { base, queries, d, n, k, kth } = set;
  await putRows(index, base);
  await index.settle();
  await index.retier({ force: "cool" }); // trains the codebook, so that no tier's time has it
  await index.retier({ force: "hot" });
  const results: TierRecall[] = [];
  for (const tier of TIERS.slice(1)) {
    const start = performance.now();
    await index.retier({ force: tier });
    const encodePerSecond = (n / (performance.now() - start)) * 1e3;
    const { codec = "half", bytesPerVector, ratio } = index.stats().tiers[tier];
    const rows = await searchAll(index, queries, { k, exact: true, rerank: false });
    const rerankedRows = await searchAll(index, queries, { k, exact: true, rerank: RERANK });
    const [recall, reranked] = [recallOf(rows, set, kth), recallOf(rerankedRows, set, kth)];
    const rivals: TierRecall["rivals"] = [];
    for (const rival of rivalsOf({ base, queries, d, bytes: bytesPerVector })) {
      const { name, bitsPerDimension } = rival;
      const candidates = scan(rival.rows, rival.offsets, rival.queries, d, RERANK * k);
      rivals.push({ name, bitsPerDimension, ...foundBy(candidates, set, RERANK) });
    }
    results.push({ tier, codec, bytesPerVector, ratio, recall, reranked, encodePerSecond, rivals });
  }
  return results;
}

/** The `most` rows of least squared distance plus offset of each query, ascending. */
function scan(
  rows: Float32Array,
  offsets: Float64Array | undefined,
  queries: Float32Array,
  d: number,
  most: number,
): Int32Array {
  const views = Array.from({ length: rows.length / d }, (_, i) => rows.subarray(i * d, (i + 1) * d));
  const out = new Int32Array((queries.length / d) * most).fill(-1);
  const distances = new Float64Array(most);
  for (let query = 0; query < queries.length / d; query++) {
    const q = queries.subarray(query * d, (query + 1) * d);
    const found = out.subarray(query * most, (query + 1) * most);
    distances.fill(Number.POSITIVE_INFINITY);
    for (let i = 0; i < views.length; i++) {
      const distance = l2(q, views[i]) + (offsets ? offsets[i] : 0);
      if (distance >= distances[most - 1]) continue;
      let at = most - 1;
      for (; at > 0 && distances[at - 1] > distance; at--) {
        distances[at] = distances[at - 1];
        found[at] = found[at - 1];
      }
      distances[at] = distance;
      found[at] = i;
    }
  }
  return out;
}

/** Recall of the first k of `rerank` x k candidates a query, and of the best k among them all. */
function foundBy(candidates: Int32Array, set: AnnSet, rerank: number): Found {
  const { k, nq, kth, base, queries, d } = set;
  const first = new Int32Array(nq * k);
  for (let query = 0; query < nq; query++) {
    first.set(candidates.subarray(query * rerank * k, query * rerank * k + k), query * k);
  }
  let found = 0;
  for (let query = 0; query < nq; query++) {
    const own = candidates.slice(query * rerank * k, (query + 1) * rerank * k);
    const one = { base, queries: queries.subarray(query * d, (query + 1) * d), d, k: rerank * k };
    // Ties can put more than k within the k-th distance: no more than k count.
    found += Math.min(k, Math.round(recallOf(own, one, kth.subarray(query, query + 1)) * rerank * k));
  }
  return { recall: recallOf(first, set, kth), reranked: found / (nq * k) };
}

function report({ data, rows, dimensions, queries, tiers }: SetRecall): void {
  const names = ["scalar", "PQ", "RaBitQ"];
  const show = (found: Found | undefined) => (found ? `${fixed(found.recall)} ${fixed(found.reranked)}` : "-");
  const lines = tiers.map((own) => [
    own.tier,
    own.codec,
    String(own.bytesPerVector),
    `${own.ratio.toFixed(2)}x`,
    ((8 * own.bytesPerVector) / dimensions).toFixed(2),
    count(own.encodePerSecond),
    show(own),
    ...names.map((name) => show(own.rivals.find((rival) => rival.name === name))),
  ]);
  console.log(
    `\n${data}: ${count(rows)} x ${dimensions}, ${queries} queries; recall@10 of exhaustive search on codes alone, and with the best ${RERANK} k compared again`,
  );
  console.log(table(["tier", "codec", "bytes", "rate", "bits/dim", "encode/s", "recall", ...names], lines));
  const better = tiers.flatMap(({ tier, recall, reranked, rivals }) =>
    rivals
      .filter((rival) => rival.recall > recall || rival.reranked > reranked)
      .map((rival) => `${rival.name} at ${tier} (${show(rival)} over ${show({ recall, reranked })})`),
  );
  console.log(`better than the tier, by one of the two: ${better.length > 0 ? better.join(", ") : "none"}`);
}

/** What the tiers were made to reach: rate, recall on codes alone, recall with originals. */
function bars({ data, dimensions }: SetRecall, { tier, ratio, recall, reranked }: TierRecall): Claim[] {
  const mnist = data === "ann-mnist";
  const wanted: { [name in Tier]?: { rate: number; codes?: number; originals?: number } } = {
    warm: { rate: 2, codes: 0.999, originals: 1 },
    cool: { rate: 4, codes: 0.992, originals: 0.999 },
    cold: { rate: 7.6, codes: mnist ? 0.97 : 0.94, originals: 0.999 },
    archive: {
      rate: dimensions >= 384 ? 26 : 0,
      ...(dimensions >= 256 ? { codes: mnist ? 0.82 : 0.71, originals: mnist ? 0.98 : 0.97 } : {}),
    },
  };
  const { rate, codes, originals } = wanted[tier]!;
  const at = (what: string, value: number, least: number): Claim => ({
    name: `${data} ${tier}: ${what} >= ${least}`,
    kind: "assertion",
    holds: value >= least,
    figure: fixed(value),
  });
  return [
    ...(rate > 0 ? [at("times fewer bytes", ratio, rate)] : []),
    ...(codes ? [at("recall on codes alone", recall, codes)] : []),
    ...(originals ? [at("recall with originals", reranked, originals)] : []),
  ];
}

/** Of generated clusters, which are easier than anything real: that each tier works at all. */
function smokeBars({ tier, recall, reranked }: TierRecall): Claim[] {
  const least = { hot: 1, warm: 0.999, cool: 0.97, cold: 0.85, archive: 0.35 }[tier];
  const at = (what: string, value: number, bar: number): Claim => ({
    name: `${tier}: ${what} >= ${bar}`,
    kind: "assertion",
    holds: value >= bar,
    figure: fixed(value),
  });
  return [
    at("recall on codes alone", recall, least),
    at("recall with originals", reranked, tier === "archive" ? 0.7 : 0.99),
  ];
}
