/** What freezing costs: clusters and codes on two threads, and the whole of it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { createSnapshot, frozenSection } from "../../native/frozen.js";
import { createGraph, type Graph, type GraphOptions, graphStrides } from "../../native/graph.js";
import { createRegion } from "../../native/index.js";
import { open } from "../../src/index.js";
import { atLeast, type Claim } from "../claims.js";
import type { AnnSet } from "../data.js";
import { median } from "../stats.js";
import { count, fixed, megabytes, table, times } from "../table.js";
import { recallOf } from "../truth.js";
import { bundleSection } from "./codes.js";
import { BITS, FLOOR } from "./contest.js";
import { foundIn } from "./hits.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stored, Stores } from "./stores.js";

const THREADS = 2;
const ROTATIONS = ["hadamard", "haar"] as const;
/** Vectors/s of 128 dimensions by the fast rotation. */
const TARGET = 500_000;

type Rotation = (typeof ROTATIONS)[number];

export interface CodingFigures {
  rotation: Rotation;
  bits: number;
  /** Clusters and codes, and the rotation, of each pass. */
  seconds: number[];
  vectorsPerSecond: number;
  /** Of that the rotation: what it takes to code one row. */
  drawingSeconds: number[];
}

export interface FreezeFigures {
  bits: number;
  /** `freeze` until the bundle is open, with writing, syncing and digests, on all threads. */
  seconds: number[];
  vectorsPerSecond: number;
  bytes: number;
  recall: number;
}

export interface BuildResult {
  data: string;
  rows: number;
  dimensions: number;
  coding: CodingFigures[];
  freezing: FreezeFigures[];
}

export async function measureBuild(
  stores: Stores,
  { generated, real, repeats }: FrozenOptions,
  claims: Claim[],
): Promise<BuildResult[]> {
  const results: BuildResult[] = [];
  for (const spec of [generated, real]) {
    const stored = await stores.of(spec);
    const { set } = stored;
    const freezing = await measureFreezing(stores, stored, repeats);
    const one = { ...set, base: set.base.subarray(0, set.d), n: 1 };
    const coding = await withGraph(set, (graph) => withGraph(one, (row) => measureCoding(graph, row, repeats)));
    const same = freezing.every(({ digest }, i) => coding.digests[i] === digest);
    claims.push(
      {
        name: `${set.name}: what is timed as coding gives the codes that a freeze writes`,
        kind: "assertion",
        holds: same,
        figure: same ? "byte for byte" : "they differ",
      },
      {
        name: `${set.name}: recall of every timed freeze >= ${FLOOR}`,
        kind: "assertion",
        holds: freezing.every(({ figures }) => figures.recall >= FLOOR),
        figure: `at least ${fixed(Math.min(...freezing.map(({ figures }) => figures.recall)))}`,
      },
    );
    const figures = freezing.map((one) => one.figures);
    const result = { data: set.name, rows: set.n, dimensions: set.d, coding: coding.figures, freezing: figures };
    report(result);
    results.push(result);
  }
  for (const { bits, vectorsPerSecond } of results[0].coding.filter(({ rotation }) => rotation === "hadamard")) {
    const name = `${results[0].data}: vectors/s clustered and coded on ${THREADS} threads, ${inBits(bits)}`;
    claims.push(atLeast(name, vectorsPerSecond, TARGET, count));
  }
  return results;
}

/** A graph of the rows that is hardly linked: what is measured does not look at links. */
async function withGraph<T>({ base, n, d }: AnnSet, task: (graph: Graph) => Promise<T>): Promise<T> {
  const options: GraphOptions = {
    dimensions: d,
    metric: "l2",
    m: 4,
    efConstruction: 8,
    ml: 1 / Math.log(4),
    seed: 1,
    maxNodes: n,
    profile: "small",
    stopMargin: -1,
    keepOriginals: true,
    cacheBytes: 0,
  };
  const { vector, row, upper, id, projection, place, warm, cool, cold, archive, codebooks } = graphStrides(options);
  const records = [1, vector, row, 2 * upper, id].map((bytes) => n * bytes);
  const tiers = [place, warm, cool, cold, archive].map((bytes) => n * bytes);
  const region = createRegion([4096, ...records, Math.max(projection, 4096), ...tiers, codebooks]);
  const graph = createGraph(region, options);
  try {
    const nodes = graph.allocate(n)!;
    graph.setVectors(nodes, base, 1);
    graph.publish(nodes, new Uint32Array(0));
    await graph.link(n);
    return await task(graph);
  } finally {
    graph.close();
    region.close();
  }
}

/** Every kind in turns, `row` being a graph of one; `digests` are of the codes by the fast rotation, by bits. */
async function measureCoding(
  graph: Graph,
  row: Graph,
  repeats: number,
): Promise<{ figures: CodingFigures[]; digests: string[] }> {
  const kinds = ROTATIONS.flatMap((rotation) => BITS.map((bits) => ({ rotation, bits })));
  const figures = kinds.map(
    (kind): CodingFigures => ({ ...kind, seconds: [], vectorsPerSecond: 0, drawingSeconds: [] }),
  );
  const digests: string[] = [];
  for (let round = -1; round < repeats; round++) {
    for (const [i, { rotation, bits }] of kinds.entries()) {
      const shape = { bits, haar: rotation === "haar", seed: 0 };
      const time = async (from: Graph) => {
        const nodes = Uint32Array.from({ length: from.live }, (_, node) => node);
        const snapshot = createSnapshot(from, shape, nodes, new Uint8Array(0));
        const start = performance.now();
        await snapshot.build(0, THREADS);
        return { seconds: (performance.now() - start) / 1e3, snapshot };
      };
      const whole = await time(graph);
      const one = await time(row);
      if (round >= 0) {
        figures[i].seconds.push(whole.seconds);
        figures[i].drawingSeconds.push(one.seconds);
      } else if (rotation === "hadamard") {
        const section = frozenSection("codes");
        const { count: bytes } = whole.snapshot.size(section);
        digests.push(digestOf(whole.snapshot.read(section, 0, bytes)));
      }
    }
  }
  for (const one of figures) one.vectorsPerSecond = graph.live / median(one.seconds);
  return { figures, digests };
}

async function measureFreezing(
  stores: Stores,
  { path, set }: Stored,
  repeats: number,
): Promise<{ figures: FreezeFigures; digest: string }[]> {
  const results = BITS.map((bits) => ({
    figures: { bits, seconds: [] as number[], vectorsPerSecond: 0, bytes: 0, recall: 1 },
    digest: "",
  }));
  const directory = join(stores.folder, "timed.frozen");
  const index = await open(path);
  try {
    for (let round = -1; round < repeats; round++) {
      for (const result of results) {
        const { figures } = result;
        stores.drop(directory);
        const start = performance.now();
        const frozen = await index.freeze(directory, { bits: figures.bits });
        const seconds = (performance.now() - start) / 1e3;
        const { rows } = foundIn(await frozen.searchMany(set.queries, { k: set.k, include: [] }), set.k);
        figures.recall = Math.min(figures.recall, recallOf(rows, set, set.kth));
        figures.bytes = frozen.stats().bytes.total;
        await frozen.close();
        if (round >= 0) figures.seconds.push(seconds);
        result.digest = digestOf(bundleSection(directory, "codes"));
      }
    }
  } finally {
    await index.close();
    stores.drop(directory);
  }
  for (const { figures } of results) figures.vectorsPerSecond = set.n / median(figures.seconds);
  return results;
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function report({ data, rows, dimensions, coding, freezing }: BuildResult): void {
  const fast = (bits: number) => coding.find((one) => one.rotation === "hadamard" && one.bits === bits)!;
  const lines = coding.map(({ rotation, bits, seconds, drawingSeconds, vectorsPerSecond }) => [
    `${rotation}, ${inBits(bits)}`,
    count(vectorsPerSecond),
    median(seconds).toFixed(3),
    median(drawingSeconds).toFixed(3),
    times(median(seconds) / median(fast(bits).seconds)),
  ]);
  console.log(`\n${data}: ${count(rows)} x ${dimensions}, clustered and coded on ${THREADS} threads`);
  console.log(table(["rotation", "vectors/s", "s", "of it drawing", "time over hadamard"], lines));
  for (const { bits, seconds, vectorsPerSecond, bytes } of freezing) {
    const whole = median(seconds);
    const share = median(fast(bits).seconds) / whole;
    console.log(
      `freeze, ${inBits(bits)}: ${whole.toFixed(2)} s, ${count(vectorsPerSecond)} vectors/s, ${megabytes(bytes)} at ${megabytes(bytes / whole)}/s; clusters and codes are ${(100 * share).toFixed(0)}% of it`,
    );
  }
}
