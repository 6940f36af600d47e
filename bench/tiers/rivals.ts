/**
 * What else could be done with a tier's bytes: plain quantizers, as rivals of the codecs. Each gives
 * reconstructions to compare queries with, and what is added to each squared distance. Tables that all vectors
 * share (ranges, centroids, the mean) are not counted, as they are not in tiers.
 */
import { Prng } from "../../base/prng.js";

/** A quantizer after training and encoding. */
export interface Rival {
  name: string;
  /** All of a vector, its own factors included. */
  bitsPerDimension: number;
  /** n x d, in the frame of `queries`. */
  rows: Float32Array;
  /** Added to the squared L2 distance from each row. */
  offsets?: Float64Array;
  queries: Float32Array;
}

export interface RivalInput {
  base: Float32Array;
  queries: Float32Array;
  d: number;
  /** Bytes of a vector. */
  bytes: number;
}

/** Rows that k-means sees, and its rounds: what keeps a run short. */
const TRAINED = 4096;
const ROUNDS = 8;
const CENTROIDS = 256;
/** Bits of the two factors of a RaBitQ code: kept exactly here, and counted as halves. */
const FACTOR_BITS = 32;

/** Those that can spend the bytes. */
export function* rivalsOf(input: RivalInput): Generator<Rival> {
  yield scalarRival(input);
  if (input.bytes <= input.d) yield productRival(input);
  const rabitq = rabitqRival(input);
  if (rabitq) yield rabitq;
}

/** Bits of each dimension: all alike, and what is left over goes to those first in `order`. */
function allocate(bits: number, d: number, order: Uint32Array): Uint8Array {
  const each = Math.floor(bits / d);
  const given = new Uint8Array(d).fill(each);
  for (const j of order.subarray(0, bits - each * d)) given[j]++;
  return given;
}

/** Each dimension cut into cells of one width between its least and its greatest value; a value becomes its cell's middle. */
function scalarRival({ base, queries, d, bytes }: RivalInput): Rival {
  const least = new Float32Array(d).fill(Number.POSITIVE_INFINITY);
  const most = new Float32Array(d).fill(Number.NEGATIVE_INFINITY);
  for (let at = 0; at < base.length; at++) {
    const j = at % d;
    if (base[at] < least[j]) least[j] = base[at];
    if (base[at] > most[j]) most[j] = base[at];
  }
  const widest = Uint32Array.from({ length: d }, (_, j) => j).sort((a, b) => most[b] - least[b] - (most[a] - least[a]));
  const cells = Float64Array.from(allocate(8 * bytes, d, widest), (bits) => 2 ** bits);
  const rows = new Float32Array(base.length);
  for (let at = 0; at < base.length; at++) {
    const j = at % d;
    const width = (most[j] - least[j]) / cells[j];
    const cell = width > 0 ? Math.min(cells[j] - 1, Math.floor((base[at] - least[j]) / width)) : 0;
    rows[at] = least[j] + (cell + 0.5) * width;
  }
  return { name: "scalar", bitsPerDimension: (8 * bytes) / d, rows, queries };
}

/** As many subvectors of neighbouring dimensions as there are bytes, each with 256 centroids (Jegou et al. 2011). */
function productRival({ base, queries, d, bytes }: RivalInput): Rival {
  const n = base.length / d;
  const random = new Prng(1);
  const sample = random
    .shuffle(Uint32Array.from({ length: n }, (_, i) => i))
    .subarray(0, TRAINED)
    .sort();
  const rows = new Float32Array(base.length);
  for (let part = 0; part < bytes; part++) {
    const [from, to] = [Math.floor((part * d) / bytes), Math.floor(((part + 1) * d) / bytes)];
    const width = to - from;
    const slice = (which: ArrayLike<number>) => {
      const out = new Float32Array(which.length * width);
      for (let i = 0; i < which.length; i++) {
        for (let j = 0; j < width; j++) out[i * width + j] = base[which[i] * d + from + j];
      }
      return out;
    };
    const nearest = width === 1 ? kMeans1(slice(sample)) : kMeans(slice(sample), width, random);
    const value = new Float32Array(width);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < width; j++) value[j] = base[i * d + from + j];
      rows.set(nearest(value), i * d + from);
    }
  }
  return { name: "PQ", bitsPerDimension: (8 * bytes) / d, rows, queries };
}

type Nearest = (value: Float32Array) => Float32Array;

/** Lloyd's rounds from random points; an empty cluster keeps its centroid. */
function kMeans(points: Float32Array, width: number, random: Prng): Nearest {
  const n = points.length / width;
  const centroids = new Float32Array(CENTROIDS * width);
  for (let c = 0; c < CENTROIDS; c++) {
    const from = random.below(n) * width;
    centroids.set(points.subarray(from, from + width), c * width);
  }
  const find = (from: Float32Array, at: number) => {
    let [best, least] = [0, Number.POSITIVE_INFINITY];
    for (let c = 0, x = 0; c < CENTROIDS; c++) {
      let sum = 0;
      for (let j = 0; j < width; j++) {
        const apart = from[at + j] - centroids[x++];
        sum += apart * apart;
      }
      if (sum < least) [best, least] = [c, sum];
    }
    return best;
  };
  for (let round = 0; round < ROUNDS; round++) {
    const sums = new Float64Array(CENTROIDS * width);
    const counts = new Uint32Array(CENTROIDS);
    for (let i = 0; i < n; i++) {
      const c = find(points, i * width);
      counts[c]++;
      for (let j = 0; j < width; j++) sums[c * width + j] += points[i * width + j];
    }
    for (let x = 0; x < sums.length; x++) {
      const size = counts[Math.floor(x / width)];
      if (size > 0) centroids[x] = sums[x] / size;
    }
  }
  return (value) => {
    const at = find(value, 0) * width;
    return centroids.subarray(at, at + width);
  };
}

/** The same for single values, from quantiles: their centroids stay in order, so that the nearest is found by halving. */
function kMeans1(points: Float32Array): Nearest {
  const sorted = points.slice().sort();
  const centroids = Float32Array.from(
    { length: CENTROIDS },
    (_, c) => sorted[Math.floor(((c + 0.5) * sorted.length) / CENTROIDS)],
  );
  const find = (value: number) => {
    let [low, high] = [0, CENTROIDS - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= (centroids[middle] + centroids[middle + 1]) / 2) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  for (let round = 0; round < ROUNDS; round++) {
    const sums = new Float64Array(CENTROIDS);
    const counts = new Uint32Array(CENTROIDS);
    for (const value of sorted) {
      const c = find(value);
      sums[c] += value;
      counts[c]++;
    }
    for (let c = 0; c < CENTROIDS; c++) if (counts[c] > 0) centroids[c] = sums[c] / counts[c];
  }
  return (value) => {
    const c = find(value[0]);
    return centroids.subarray(c, c + 1);
  };
}

/** Widths of the cells' range that are tried for each vector, as shares of its greatest value. */
const RANGES = Float64Array.from({ length: 16 }, (_, i) => 1 - 0.05 * i);

/**
 * Multi-bit RaBitQ (Gao et al. 2024, arXiv 2409.09913): a random rotation, per-vector scalar codes, and the correction
 * that makes the estimated product unbiased. Undefined where the bytes have no room for a bit a dimension.
 */
function rabitqRival({ base, queries, d, bytes }: RivalInput): Rival | undefined {
  const bits = 8 * bytes - FACTOR_BITS;
  if (bits < d) return undefined;
  const mean = new Float64Array(d);
  for (let at = 0; at < base.length; at++) mean[at % d] += base[at] / (base.length / d);
  const turn = rotation(d, 1);
  const turned = (from: Float32Array) => turn(from.map((value, at) => value - mean[at % d]));
  const rows = turned(base);
  const given = allocate(
    bits,
    d,
    Uint32Array.from({ length: d }, (_, j) => j),
  );
  const cells = Float64Array.from(given, (count) => 2 ** count);
  const offsets = new Float64Array(base.length / d);
  const code = new Float64Array(d);
  const best = new Float64Array(d);
  for (let i = 0; i < offsets.length; i++) {
    const r = rows.subarray(i * d, (i + 1) * d);
    let [squares, greatest] = [0, 0];
    for (const value of r) {
      squares += value * value;
      greatest = Math.max(greatest, Math.abs(value));
    }
    let [product, most] = [0, 0];
    for (const share of given[d - 1] > 1 ? RANGES : [1]) {
      const range = share * greatest || 1;
      let [along, length] = [0, 0];
      for (let j = 0; j < d; j++) {
        const cell = Math.floor(((r[j] / range + 1) / 2) * cells[j]);
        code[j] = (Math.min(cells[j] - 1, Math.max(0, cell)) + 0.5) * (2 / cells[j]) - 1;
        along += code[j] * r[j];
        length += code[j] * code[j];
      }
      const cosine = along / Math.sqrt(length);
      if (cosine <= most) continue;
      [product, most] = [along, cosine];
      best.set(code);
    }
    const ratio = product > 0 ? squares / product : 0;
    let own = 0;
    for (let j = 0; j < d; j++) {
      r[j] = ratio * best[j];
      own += r[j] * r[j];
    }
    offsets[i] = squares - own; // |q - r|^2 by the estimate, where |q - row|^2 is what is computed
  }
  return { name: "RaBitQ", bitsPerDimension: (8 * bytes) / d, rows, offsets, queries: turned(queries) };
}

/** Rounds of random signs and Walsh-Hadamard transforms, over the first and the last values that make a power of two. */
function rotation(d: number, seed: number): (rows: Float32Array) => Float32Array {
  const size = 2 ** Math.floor(Math.log2(d));
  const random = new Prng(seed);
  const signs = Array.from({ length: 4 }, () => Float32Array.from({ length: d }, () => (random.uint32() & 1 ? 1 : -1)));
  const scale = 1 / Math.sqrt(size);
  const hadamard = (x: Float32Array) => {
    for (let half = 1; half < size; half *= 2) {
      for (let from = 0; from < size; from += 2 * half) {
        for (let i = from; i < from + half; i++) {
          const [a, b] = [x[i], x[i + half]];
          x[i] = a + b;
          x[i + half] = a - b;
        }
      }
    }
    for (let i = 0; i < size; i++) x[i] *= scale;
  };
  return (rows) => {
    for (let at = 0; at < rows.length; at += d) {
      for (const flips of signs) {
        for (let j = 0; j < d; j++) rows[at + j] *= flips[j];
        hadamard(rows.subarray(at, at + size));
        if (size < d) hadamard(rows.subarray(at + d - size, at + d));
      }
    }
    return rows;
  };
}
