/**
 * Estimates held to the theory of RaBitQ (Gao & Long 2024, arXiv 2405.12497, Theorem 3.2; of more bits Gao et al. 2024,
 * arXiv 2409.09913). Under squared L2 an estimate is off by
 *
 *   2 |r| |q - c| sqrt(1 - cos^2) times a variable of mean 0 and variance (1 - x0^2) / x0^2 / (D - 1),
 *
 * c being the centre, r = o - c, cos that of r and q - c, and x0 that of r and its code, under a random rotation of D
 * values (the padded dimensions). Errors are counted in these standard deviations. So few rows are one cluster, and its
 * centre is their mean.
 */
import { join } from "node:path";
import { Prng } from "../../base/prng.js";
import { frozenStrides } from "../../native/frozen.js";
import { open } from "../../src/index.js";
import type { Claim } from "../claims.js";
import { type AnnSpec, loadAnn } from "../data.js";
import { mean } from "../stats.js";
import { fixed, table } from "../table.js";
import { putRows } from "../tiers/stores.js";
import { type OwnCode, ownCodes } from "./codes.js";
import { type FrozenOptions, inBits } from "./options.js";
import type { Stores } from "./stores.js";

/** Rows of a sample, and its queries. K-means looks at no more rows of a cluster. */
const ROWS = 32;
const QUERIES = 32;
const ROTATIONS = ["hadamard", "haar"] as const;
const BITS = [1, 2, 4, 8] as const;

export interface EstimatorFigures {
  data: string;
  dimensions: number;
  rotation: (typeof ROTATIONS)[number];
  bits: number;
  /** Rotations, and estimates under all of them. */
  turns: number;
  estimates: number;
  /** Mean error of a rotation's estimates over all rotations: in deviations of the theory, and in standard errors. */
  bias: number;
  standardErrors: number;
  /** Of errors, over the theory's. */
  deviation: number;
  /** Mean square of each pair's own mean error, in standard errors: about 1 where no pair is biased. */
  pairs: number;
  /** Greatest share by which the bundle's own bound differs from the theory. */
  boundOff: number;
}

interface Sample {
  d: number;
  rows: Float32Array;
  queries: Float32Array;
}

export async function measureEstimator(
  stores: Stores,
  { estimator, real, smoke }: FrozenOptions,
  claims: Claim[],
): Promise<EstimatorFigures[]> {
  const { dimensions, samples, turns } = estimator;
  const sets = [
    { data: "gaussian", drawn: gaussianSamples(dimensions, samples) },
    { data: loadAnn(real, new Float64Array(0)).name, drawn: realSamples(real, samples) },
  ];
  const results: EstimatorFigures[] = [];
  for (const { data, drawn } of sets) {
    for (const rotation of ROTATIONS) {
      const errors = BITS.map(() => new Errors());
      for (const [at, sample] of drawn.entries()) {
        await turnSample(stores, sample, rotation, { from: at * turns, turns }, errors);
      }
      for (const [i, bits] of BITS.entries()) {
        results.push({ data, dimensions: drawn[0].d, rotation, bits, ...errors[i].figures() });
      }
    }
  }
  report(results);
  for (let i = 0; i < results.length; i += BITS.length)
    claims.push(...claimsOf(results.slice(i, i + BITS.length), smoke));
  return results;
}

function gaussianSamples(d: number, samples: number): Sample[] {
  const random = new Prng(1);
  const draw = (n: number) => Float32Array.from({ length: n * d }, () => random.gaussian());
  return Array.from({ length: samples }, () => ({ d, rows: draw(ROWS), queries: draw(QUERIES) }));
}

/** Rows and queries spread over all. */
function realSamples(spec: AnnSpec, samples: number): Sample[] {
  const { d, n, nq, base, queries } = loadAnn(spec, new Float64Array(0));
  const spread = (from: Float32Array, total: number, each: number, sample: number) => {
    const out = new Float32Array(each * d);
    for (let i = 0; i < each; i++) {
      const row = Math.floor(((i * samples + sample) * total) / (each * samples));
      out.set(from.subarray(row * d, (row + 1) * d), i * d);
    }
    return out;
  };
  return Array.from({ length: samples }, (_, sample) => ({
    d,
    rows: spread(base, n, ROWS, sample),
    queries: spread(queries, nq, QUERIES, sample),
  }));
}

/** Freezes a sample under `turns` seeds, and adds what its estimates are off by, for each of the bits. */
async function turnSample(
  stores: Stores,
  sample: Sample,
  rotation: (typeof ROTATIONS)[number],
  { from, turns }: { from: number; turns: number },
  errors: Errors[],
): Promise<void> {
  const { d, rows, queries } = sample;
  const [path, directory] = ["sample.hebb", "sample.frozen"].map((name) => join(stores.folder, name));
  const exact = geometryOf(sample);
  const index = await open(path, { dimensions: d, metric: "l2", durability: "off" });
  try {
    await putRows(index, rows);
    for (const one of errors) one.nextSample();
    for (let turn = 0; turn < turns; turn++) {
      for (const [i, bits] of BITS.entries()) {
        const frozen = await index.freeze(directory, { rotation, bits, seed: from + turn });
        if (frozen.stats().clusters !== 1)
          throw new Error(`${ROWS} rows are ${frozen.stats().clusters} clusters; expected 1`);
        const codes = ownCodes(directory, { dimensions: d, bits });
        errors[i].nextTurn(codes, exact, frozenStrides({ dimensions: d, bits }).padded);
        for (let query = 0; query < QUERIES; query++) {
          const asked = queries.subarray(query * d, (query + 1) * d);
          const hits = frozen.search(asked, { k: ROWS, rerankFactor: 0, include: [] });
          if (hits.length !== ROWS) throw new Error(`${hits.length} of ${ROWS} rows were found`);
          for (const { id, distance } of hits) errors[i].add(id as number, query, distance);
        }
        await frozen.close();
      }
    }
  } finally {
    await index.close();
    stores.drop(path);
    stores.drop(directory);
  }
}

/** Exact distances, and what the theory asks for. */
interface Geometry {
  /** |r| of each row. */
  lengths: Float64Array;
  /** Of each row and query: squared distance, and |r| |q - c| sqrt(1 - cos^2). */
  distances: Float64Array;
  apart: Float64Array;
}

function geometryOf({ d, rows, queries }: Sample): Geometry {
  const centre = Float64Array.from({ length: d }, (_, j) =>
    mean(Float64Array.from({ length: ROWS }, (_, i) => rows[i * d + j])),
  );
  const pairs = ROWS * QUERIES;
  const out = { lengths: new Float64Array(ROWS), distances: new Float64Array(pairs), apart: new Float64Array(pairs) };
  for (let row = 0; row < ROWS; row++) {
    for (let query = 0; query < QUERIES; query++) {
      let [own, other, product, distance] = [0, 0, 0, 0];
      for (let j = 0; j < d; j++) {
        const [o, q] = [rows[row * d + j], queries[query * d + j]];
        own += (o - centre[j]) ** 2;
        other += (q - centre[j]) ** 2;
        product += (o - centre[j]) * (q - centre[j]);
        distance += (o - q) ** 2;
      }
      const pair = row * QUERIES + query;
      out.lengths[row] = Math.sqrt(own);
      out.distances[pair] = distance;
      out.apart[pair] = Math.sqrt(Math.max(0, own * other - product ** 2));
    }
  }
  return out;
}

/** Errors of estimates in deviations of the theory, by rotation and by pair. */
class Errors {
  private readonly turns: { sum: number; count: number }[] = [];
  private readonly pairs: { sum: number; squares: number; count: number }[] = [];
  private firstPair = 0;
  private exact: Geometry | undefined;
  private deviations = new Float64Array(0);
  private boundOff = 0;
  private squares = 0;

  nextSample(): void {
    this.firstPair = this.pairs.length;
    for (let pair = 0; pair < ROWS * QUERIES; pair++) this.pairs.push({ sum: 0, squares: 0, count: 0 });
  }

  /** `padded`: values that were rotated. */
  nextTurn(codes: readonly OwnCode[], exact: Geometry, padded: number): void {
    this.exact = exact;
    this.turns.push({ sum: 0, count: 0 });
    // For each unit of |q - c| sqrt(1 - cos^2).
    this.deviations = Float64Array.from(codes, ({ rescale, length, error }, row) => {
      const own = exact.lengths[row];
      const x0 = (2 * own) / (-rescale * length);
      const deviation = Math.sqrt((1 - x0 ** 2) / x0 ** 2 / (padded - 1));
      this.boundOff = Math.max(this.boundOff, Math.abs(error / (2 * own * deviation) - 1));
      return deviation;
    });
  }

  add(row: number, query: number, estimate: number): void {
    const pair = row * QUERIES + query;
    const { distances, apart } = this.exact!;
    const error = (estimate - distances[pair]) / (2 * apart[pair] * this.deviations[row]);
    const turn = this.turns[this.turns.length - 1];
    turn.sum += error;
    turn.count++;
    const own = this.pairs[this.firstPair + pair];
    own.sum += error;
    own.squares += error ** 2;
    own.count++;
    this.squares += error ** 2;
  }

  figures() {
    const means = this.turns.map(({ sum, count }) => sum / count);
    const bias = mean(means);
    const spread = Math.sqrt(mean(means.map((one) => (one - bias) ** 2)) * (means.length / (means.length - 1)));
    const estimates = this.turns.reduce((sum, { count }) => sum + count, 0);
    return {
      turns: means.length,
      estimates,
      bias,
      standardErrors: bias / (spread / Math.sqrt(means.length)),
      deviation: Math.sqrt(this.squares / estimates),
      pairs: mean(
        this.pairs.map(({ sum, squares, count }) => sum ** 2 / count / ((squares - sum ** 2 / count) / (count - 1))),
      ),
      boundOff: this.boundOff,
    };
  }
}

function report(results: readonly EstimatorFigures[]): void {
  const lines = results.map((one) => [
    `${one.data} ${one.dimensions}, ${one.rotation}, ${inBits(one.bits)}`,
    String(one.turns),
    one.bias.toFixed(5),
    one.standardErrors.toFixed(2),
    fixed(one.deviation, 3),
    fixed(one.pairs, 3),
    fixed(one.boundOff, 4),
  ]);
  console.log(
    `\nestimates of ${ROWS} rows and ${QUERIES} queries under each rotation; errors in deviations of the theory`,
  );
  console.log(table(["", "rotations", "bias", "standard errors", "deviation", "pairs", "bound off by"], lines));
}

/** Of all bits by one rotation, the worst of each. */
function claimsOf(own: readonly EstimatorFigures[], smoke: boolean): Claim[] {
  const [{ data, rotation }] = own;
  const name = `${data}, ${rotation}:`;
  const worst = (pick: (one: EstimatorFigures) => number) =>
    own.reduce((most, one) => (Math.abs(pick(one)) > Math.abs(pick(most)) ? one : most));
  const bias = worst(({ standardErrors }) => standardErrors);
  const spread = worst(({ deviation }) => deviation - 1);
  const bound = worst(({ boundOff }) => boundOff);
  // A small run sees few rotations.
  const [errors, off] = smoke ? [5, 0.2] : [3, 0.05];
  return [
    {
      name: `${name} bias of estimates within ${errors} standard errors`,
      kind: "assertion",
      holds: Math.abs(bias.standardErrors) <= errors,
      figure: `at worst ${bias.standardErrors.toFixed(2)}, ${inBits(bias.bits)}`,
    },
    {
      name: `${name} their deviation within ${100 * off}% of the theory's`,
      kind: "assertion",
      holds: Math.abs(spread.deviation - 1) <= off,
      figure: `at worst ${fixed(spread.deviation, 3)} of it, ${inBits(spread.bits)}`,
    },
    {
      name: `${name} what a search takes for a deviation is the theory's, within 1%`,
      kind: "assertion",
      holds: bound.boundOff <= 0.01,
      figure: `at worst ${(100 * bound.boundOff).toFixed(2)}% off, ${inBits(bound.bits)}`,
    },
  ];
}
