/** A whole store with vectors in all tiers: its bytes by part, and what searching it is like, in each graph profile. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import { TIERS, type Tier } from "../../base/types.js";
import { type Index, open } from "../../src/index.js";
import { decodeSlot, SLOT_BYTES } from "../../storage/format.js";
import { PROFILES, type Profile } from "../ann/engine.js";
import { atLeast, atMost, type Claim } from "../claims.js";
import { type AnnSpec, loadAnn } from "../data.js";
import { median } from "../stats.js";
import { count, fixed, table } from "../table.js";
import { recallOf, squaredL2 } from "../truth.js";
import type { TiersOptions } from "./options.js";
import { exactNeighbours, putRows, withFolder, withStore } from "./stores.js";

/** Shares of all rows. */
const MIX: { [tier in Tier]: number } = { hot: 0.01, warm: 0.05, cool: 0.2, cold: 0.4, archive: 0.34 };

/** Thresholds close to one another: a few accesses more or less put a row into another tier after three half-lives. */
const CLOSE = {
  hot_threshold: 0.5,
  warm_threshold: 0.45,
  cool_threshold: 0.4,
  cold_threshold: 0.3,
  promotion_threshold: 100,
  demotion_threshold: 0.9,
  access_decay_halflife_s: 31_536_000,
  recompress_interval_s: 604_800,
} as const;
const HALF_LIVES = 3;

/**
 * Accesses that leave a new row in each tier. A new row has heat 2, so after three half-lives it is (2 + accesses) / 8;
 * rows are demoted below .9 of f / (1 - f), f being the threshold: .9, .736, .6 and .386.
 */
const ACCESSES: { [tier in Tier]: number } = { hot: 6, warm: 4, cool: 3, cold: 2, archive: 0 };

const EF = 64;

/** Profiles and M; small once more with fewer edges, which are most of what is left there. */
const GRAPHS: readonly { profile: Profile; m?: number }[] = [
  ...PROFILES.map((profile) => ({ profile })),
  { profile: "small", m: 10 },
];

/** Parts of index.hebb by what they hold. */
const PARTS: { [name: string]: readonly string[] } = {
  rows: ["rows"],
  upper: ["upper"],
  state: ["state", "head", "projection"],
  ids: ["ids"],
  places: ["places"],
  vectors: ["vectors"],
  warm: ["warm"],
  cool: ["cool"],
  cold: ["cold"],
  archive: ["archive"],
  codebooks: ["codebooks"],
};

interface Asked {
  queries: number;
  recall: number;
  /** `searchNodes`, one thread. */
  queriesPerSecond: number;
}

export interface StoreResult {
  data: string;
  rows: number;
  dimensions: number;
  profile: Profile;
  m: number;
  keepOriginals: boolean;
  tiers: { [tier in Tier]: number };
  /** Of index.hebb after compaction; `other` is the rest of the file. */
  bytes: { [part: string]: number };
  fileBytes: number;
  /** Of all parts but codebooks, what is unused, and originals that no tier needs, over 4 bytes a value. */
  share: number;
  /** Queries of the workload whose nearest row is hot, all of them, and others that used no row. */
  hot: Asked;
  all: Asked;
  fresh: Asked;
}

/** Rows in the tiers that a workload of skewed queries asks for. */
interface Workload {
  tierOf: Tier[];
  queries: Float32Array;
  /** By number in `queries`. */
  hot: number[];
  all: number[];
  fresh: number[];
  kth: Float64Array;
}

export async function measureStores(spec: AnnSpec, options: TiersOptions, claims: Claim[]): Promise<StoreResult[]> {
  const set = loadAnn({ ...spec, queries: spec.queries + options.fresh }, new Float64Array());
  const { d, n, base } = set;
  const workload = await useOf(set, spec.queries);
  const results: StoreResult[] = [];
  for (const keepOriginals of [false, true]) {
    for (const { profile, m = options.m } of GRAPHS) {
      const result = await withFolder((folder) =>
        build(join(folder, "store.hebb"), { base, d, workload, profile, m, keepOriginals, options }),
      );
      results.push({ data: set.name, rows: n, dimensions: d, profile, m, keepOriginals, ...result });
    }
  }
  report(results, claims, options.smoke);
  return results;
}

/**
 * Queries are asked as often as their rank says (1 / rank), and each time use their ten nearest rows: the rows used most
 * are hot, those used less warm, and so on in the shares of MIX; rows that nobody used follow in random order.
 */
async function useOf(
  {
    base,
    queries,
    d,
    n,
    nq,
    k,
  }: { base: Float32Array; queries: Float32Array; d: number; n: number; nq: number; k: number },
  asked: number,
): Promise<Workload> {
  const nearest = await exactNeighbours(base, queries, d, k);
  const heat = new Float64Array(n);
  for (let query = 0; query < asked; query++) {
    for (const row of nearest.subarray(query * k, (query + 1) * k)) heat[row] += 1 / (query + 1);
  }
  const order = new Prng(1).shuffle(Array.from({ length: n }, (_, row) => row)).sort((a, b) => heat[b] - heat[a]);
  const tierOf = new Array<Tier>(n);
  let [from, share] = [0, 0];
  for (const tier of TIERS) {
    share += MIX[tier];
    const to = tier === "archive" ? n : Math.round(share * n);
    for (const row of order.slice(from, to)) tierOf[row] = tier;
    from = to;
  }
  const all = Array.from({ length: asked }, (_, query) => query);
  return {
    tierOf,
    queries,
    hot: all.filter((query) => tierOf[nearest[query * k]] === "hot"),
    all,
    fresh: Array.from({ length: nq - asked }, (_, i) => asked + i),
    kth: Float64Array.from({ length: nq }, (_, query) =>
      squaredL2(queries, query, base, nearest[query * k + k - 1], d),
    ),
  };
}

interface BuildInput {
  base: Float32Array;
  d: number;
  workload: Workload;
  profile: Profile;
  m: number;
  keepOriginals: boolean;
  options: TiersOptions;
}

async function build(
  path: string,
  { base, d, workload, profile, m, keepOriginals, options }: BuildInput,
): Promise<Omit<StoreResult, "data" | "rows" | "dimensions" | "profile" | "m" | "keepOriginals">> {
  const config = {
    ruvector: { hnsw_m: m, hnsw_ef_construction: options.efConstruction, graph_profile: profile },
    tensor_compress: CLOSE,
    storage: { keep_originals: keepOriginals },
  };
  const tiers = await withStore(path, { dimensions: d, config }, async (index) => {
    await putRows(
      index,
      base,
      workload.tierOf.map((tier) => ({ tier })),
    );
    await index.settle();
    const tiers = await mix(index, workload.tierOf);
    await index.compact();
    return tiers;
  });
  const { bytes, fileBytes } = partsOf(path);
  const index = await open(path, { readOnly: true }); // searches move nothing now
  try {
    const asked = (which: number[]) => ask(index, base, workload, which, options.repeats);
    return {
      tiers,
      bytes,
      fileBytes,
      share: counted(bytes, keepOriginals, tiers.hot / workload.tierOf.length) / base.byteLength,
      hot: asked(workload.hot),
      all: asked(workload.all),
      fresh: asked(workload.fresh),
    };
  } finally {
    await index.close();
  }
}

/** Uses each row as often as its tier needs, and lets three half-lives pass. */
async function mix(index: Index, tierOf: readonly Tier[]): Promise<{ [tier in Tier]: number }> {
  const query = new Float32Array(index.dimensions);
  for (const tier of TIERS) {
    const k = tierOf.filter((own) => own === tier).length;
    for (let i = 0; i < ACCESSES[tier]; i++) index.search(query, { k, exact: true, filter: { tier }, include: [] });
  }
  await index.retier(); // counts the accesses while no time has passed
  const passed = HALF_LIVES * CLOSE.access_decay_halflife_s * 1000;
  const { tiers } = await index.retier({ now: Date.now() + passed });
  return tiers;
}

/** Bytes by what they hold, as the section table of index.hebb says. */
function partsOf(path: string): { bytes: { [part: string]: number }; fileBytes: number } {
  const file = join(path, "index.hebb");
  const fileBytes = statSync(file).size;
  const slot = decodeSlot(readFileSync(file).subarray(0, SLOT_BYTES));
  if (slot.state !== "valid") throw new Error(`${file}: its first meta slot is ${slot.state}`);
  const lengthOf = (names: readonly string[]) =>
    slot.meta.sections.reduce((sum, { name, length }) => sum + (names.includes(name) ? length : 0), 0);
  const bytes = Object.fromEntries(Object.entries(PARTS).map(([part, names]) => [part, lengthOf(names)]));
  const other = fileBytes - Object.values(bytes).reduce((a, b) => a + b, 0);
  return { bytes: { ...bytes, other }, fileBytes };
}

/** Of the originals, those of hot vectors count: the others are read by nothing but reranking and moves. */
function counted(bytes: { [part: string]: number }, keepOriginals: boolean, hot: number): number {
  const { codebooks: _, other: __, vectors, ...others } = bytes;
  const rest = Object.values(others).reduce((a, b) => a + b, 0);
  return rest + vectors * (keepOriginals ? hot : 1);
}

function ask(index: Index, base: Float32Array, workload: Workload, which: number[], repeats: number): Asked {
  const d = index.dimensions;
  const k = 10;
  const rows = which.map((query) => workload.queries.subarray(query * d, (query + 1) * d));
  const nodes = new Uint32Array(k);
  const distances = new Float32Array(k);
  const found = new Int32Array(which.length * k).fill(-1);
  const seconds: number[] = [];
  for (let pass = -1; pass < repeats; pass++) {
    const start = performance.now();
    for (const row of rows) index.searchNodes(row, k, EF, nodes, distances);
    if (pass >= 0) seconds.push((performance.now() - start) / 1e3); // the pass before it warms up
  }
  rows.forEach((row, query) => {
    const got = index.searchNodes(row, k, EF, nodes, distances);
    for (let i = 0; i < got; i++) found[query * k + i] = index.idOf(nodes[i]) as number;
  });
  const queries = new Float32Array(which.length * d);
  rows.forEach((row, query) => {
    queries.set(row, query * d);
  });
  const kth = Float64Array.from(which, (query) => workload.kth[query]);
  return {
    queries: which.length,
    recall: recallOf(found, { base, queries, d, k }, kth),
    queriesPerSecond: which.length / median(seconds),
  };
}

function report(results: StoreResult[], claims: Claim[], smoke: boolean): void {
  const [{ data, rows, dimensions, tiers, hot, all, fresh }] = results;
  const shares = TIERS.map((tier) => `${tier} ${count(tiers[tier])}`).join(", ");
  console.log(
    `\n${data}: ${count(rows)} x ${dimensions} (${shares}); bytes of index.hebb a vector, and of raw all but codebooks, unused space and idle originals`,
  );
  const parts = Object.keys(results[0].bytes);
  const each = ({ bytes, fileBytes }: StoreResult) => [...parts.map((part) => bytes[part]), fileBytes];
  const label = ({ profile, m, keepOriginals }: StoreResult) =>
    `${profile}, M ${m}${keepOriginals ? ", originals kept" : ""}`;
  console.log(
    table(
      ["store", ...parts, "file", "of raw"],
      results.map((result) => [
        label(result),
        ...each(result).map((bytes) => (bytes / rows).toFixed(1)),
        fixed(result.share, 3),
      ]),
    ),
  );
  const header = [
    `ef ${EF}`,
    ...[`hot (${hot.queries})`, `all asked (${all.queries})`, `fresh (${fresh.queries})`].flatMap((who) => [
      `recall ${who}`,
      "queries/s",
    ]),
  ];
  const lines = results.map((result) => [
    label(result),
    ...[result.hot, result.all, result.fresh].flatMap((asked) => [fixed(asked.recall), count(asked.queriesPerSecond)]),
  ]);
  console.log(`\n${table(header, lines)}`);
  for (const result of results) {
    const name = `${data} ${label(result)}`;
    if (result.profile === "small" && !result.keepOriginals) {
      claims.push(atMost(`${name}: graph, ids and codes of raw`, result.share, 0.3, (value) => fixed(value, 3)));
    }
    const counts = TIERS.every((tier) => Math.abs(result.tiers[tier] - MIX[tier] * rows) < 2);
    claims.push({
      name: `${name}: the mix`,
      kind: "assertion",
      holds: counts,
      figure: Object.values(result.tiers).join(" "),
    });
    const least = result.keepOriginals ? 0.7 : 0.4;
    claims.push(
      smoke
        ? {
            name: `${name}: recall of all that was asked >= ${least}`,
            kind: "assertion",
            holds: result.all.recall >= least,
            figure: fixed(result.all.recall),
          }
        : atLeast(`${name}: recall of hot queries`, result.hot.recall, 0.97, fixed),
    );
  }
}
