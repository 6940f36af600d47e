/** Seeded stand-ins for real data, for `smoke`, for tests and for scale. Same seed, same numbers, on every machine. */
import { Prng } from "../base/prng.js";

/** n rows of d columns in clusters: hard enough for a graph to need its ef, easy enough to reach recall 1. */
export function clusteredVectors(n: number, d: number, seed: number, clusters = 40): Float32Array {
  const random = new Prng(seed);
  const centres = Float32Array.from({ length: clusters * d }, () => random.gaussian());
  const rows = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    const centre = random.below(clusters) * d;
    for (let j = 0; j < d; j++) rows[i * d + j] = centres[centre + j] + 0.6 * random.gaussian();
  }
  return rows;
}

/**
 * n rows of d columns for scale: clusters of uneven size and width on a sheet of `intrinsic` dimensions,
 * which is what keeps neighbours meaningful as n grows, and a little noise off the sheet. The first
 * rows are the same for every n.
 */
export function sheetVectors(n: number, d: number, seed: number, { intrinsic = 24, clusters = 2000 } = {}) {
  const random = new Prng(seed);
  const frame = Float32Array.from({ length: intrinsic * d }, () => random.gaussian() / Math.sqrt(d));
  const centres = Float32Array.from({ length: clusters * intrinsic }, () => 2 * random.gaussian());
  const widths = Float32Array.from({ length: clusters }, () => 0.4 + random.next());
  const rows = new Float32Array(n * d);
  const row = new Float64Array(d);
  for (let i = 0; i < n; i++) {
    const cluster = Math.floor(random.next() ** 2 * clusters);
    row.fill(0);
    for (let j = 0; j < intrinsic; j++) {
      const at = centres[cluster * intrinsic + j] + widths[cluster] * random.gaussian();
      for (let x = 0; x < d; x++) row[x] += at * frame[j * d + x];
    }
    for (let x = 0; x < d; x++) rows[i * d + x] = row[x] + 0.1 * (random.next() - 0.5);
  }
  return rows;
}

function unitRows(rows: Float32Array, d: number): Float32Array {
  for (let at = 0; at < rows.length; at += d) {
    const length = Math.hypot(...rows.subarray(at, at + d)) || 1;
    for (let j = at; j < at + d; j++) rows[j] /= length;
  }
  return rows;
}

/**
 * Retrieval with something to learn: documents belong to topics, and queries speak of a topic in
 * other words, so that the query vector is the topic's turned by one fixed amount (every pair of
 * coordinates by 50 degrees) and noisy. Static search finds some; a learner that sees which
 * documents were chosen can turn queries back. Half of the topics are asked about once only: their
 * documents are never training positives of the fold that tests them.
 */
export function syntheticJudgements({ topics = 80, perTopic = 6, queries = 120, d = 32, seed = 7 } = {}) {
  const random = new Prng(seed);
  const centres = unitRows(
    Float32Array.from({ length: topics * d }, () => random.gaussian()),
    d,
  );
  const noisy = (value: number) => value + (0.8 * random.gaussian()) / Math.sqrt(d);
  const documentVectors = Float32Array.from({ length: topics * perTopic * d }, (_, at) =>
    noisy(centres[(Math.floor(at / d) % topics) * d + (at % d)]),
  );
  const [cos, sin] = [Math.cos((50 * Math.PI) / 180), Math.sin((50 * Math.PI) / 180)];
  const queryVectors = Float32Array.from({ length: queries * d }, (_, at) => {
    const centre = (Math.floor(at / d) % topics) * d;
    const j = at % d;
    const [own, other] = [centres[centre + j], centres[centre + (j ^ 1)]];
    return noisy(cos * own + (j & 1 ? sin : -sin) * other);
  });
  return {
    d,
    documents: Array.from({ length: topics * perTopic }, (_, i) => `d${i}`),
    documentVectors: unitRows(documentVectors, d),
    queries: Array.from({ length: queries }, (_, i) => `q${i}`),
    queryVectors: unitRows(queryVectors, d),
    relevant: Array.from(
      { length: queries },
      (_, i) => new Map(Array.from({ length: perTopic }, (_, j) => [(i % topics) + j * topics, 1])),
    ),
  };
}
