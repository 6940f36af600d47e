/**
 * The built-in text encoder: words, not meanings, and no model weights. A text becomes its hashed
 * terms, weighed by sublinear TF-IDF, and is then projected: terms that were frequent enough in the
 * texts of the fit onto the strongest directions of those (latent semantic analysis, Deerwester et
 * al. 1990, which puts words that occur together close to one another), all others onto seeded
 * random directions (Achlioptas 2003). The choice and its figures: docs/decisions/0014-text-encoder.md.
 *
 * Nothing but `fit` changes what texts encode to: no vector goes stale by what is added later. Fitting
 * again gives another space, in which every stored text has to be encoded again (engine/text-writer.ts).
 */

import { viewOf } from "../../base/bytes.js";
import { checkInteger, HebbError } from "../../base/errors.js";
import { type SparseRows, strongestDirections } from "./subspace.js";
import { TermCounter } from "./words.js";

/** Texts that a fit looks at; of more, an even sample. */
export const FIT_TEXTS = 2048;
/** Texts per fitted text at which to fit again: measured; 1.5 loses up to 5% of nDCG@10 just before, 2 up to 20%. */
const FIT_GROWTH = 1.25;
/**
 * Terms that get directions of their own; beyond, the rarest go without. Bounds the state to 16,384 x (dimensions + 12)
 * bytes.
 */
const FIT_TERMS = 16384;
/** Below this many texts, terms of a single text get directions too: they are all there is. */
const SMALL_FIT_TEXTS = 32;
/** Nonzero values of a random direction. */
const RANDOM_NONZEROS = 8;
/**
 * Length of a random direction beside the fitted ones: measured; 0 loses rare words, 1 drowns the fitted ones in noise.
 */
const RANDOM_WEIGHT = 0.35;

const MAGIC = 0x31544648; // "HFT1", little-endian
const HEADER_BYTES = 24;

/** What a fit found: term t is hashes[t], and its direction rows[t * dimensions ..] * scales[t]. */
interface Fitted {
  texts: number;
  hashes: Uint32Array;
  idf: Float32Array;
  scales: Float32Array;
  rows: Int8Array;
  /** hash -> term */
  index: Map<number, number>;
}

export class HashedTfidf {
  private fitted: Fitted | undefined;
  private readonly counter: TermCounter;

  /**
   * @param dimensions of the vectors, 1-65536; 256 to 512 serve well
   * @param seed of hashes and random directions, an integer from 0 to 2^32 - 1
   * @param state what `state()` gave, to go on with the same fit
   * @throws {HebbError} INDEX_CORRUPT where the state is damaged or of other dimensions or seed
   */
  constructor(
    readonly dimensions: number,
    readonly seed: number,
    state?: Uint8Array,
  ) {
    checkInteger("dimensions", dimensions, 1, 65536);
    checkInteger("seed", seed, 0, 0xffffffff);
    this.counter = new TermCounter(seed);
    if (state !== undefined && state.length > 0) this.fitted = decodeState(state, dimensions, seed);
  }

  /** How many texts the fit looked at; 0 before the first fit. */
  get fittedTexts(): number {
    return this.fitted?.texts ?? 0;
  }

  /**
   * From how many texts on a fit would be better than the one there is: a quarter more, until hardly
   * more are looked at (then Infinity). A store that still has its texts may then fit again and encode
   * them again.
   */
  get nextFit(): number {
    const next = Math.ceil(FIT_GROWTH * this.fittedTexts);
    return next > FIT_TEXTS ? Infinity : Math.max(1, next);
  }

  /**
   * Fits idf and directions to texts, in place of what was fitted before: to 2,048 of them, evenly
   * sampled, where there are more (1-3 s for abstracts at 256-512 dimensions). Gives the event loop a
   * turn every few milliseconds. Texts without words count for nothing.
   */
  async fit(texts: readonly string[]): Promise<void> {
    const sample = evenSample(texts, FIT_TEXTS);
    const counts = sample.map((text) => this.counter.count(text)).filter((terms) => terms.size > 0);
    const frequency = new Map<number, number>();
    for (const terms of counts) for (const hash of terms.keys()) frequency.set(hash, (frequency.get(hash) ?? 0) + 1);
    // A term of one text says nothing about which terms go together.
    const least = counts.length < SMALL_FIT_TEXTS ? 1 : 2;
    const terms = [...frequency]
      .filter(([, texts]) => texts >= least)
      .sort((a, b) => b[1] - a[1] || a[0] - b[0])
      .slice(0, FIT_TERMS);
    const hashes = Uint32Array.from(terms, ([hash]) => hash);
    const index = new Map(terms.map(([hash], t) => [hash, t]));
    const idf = Float32Array.from(terms, ([, texts]) => inverseFrequency(texts, counts.length));
    const fitted = { texts: counts.length, hashes, idf, index };
    const { basis, rank } = await strongestDirections(
      sparseRows(counts, fitted),
      Math.min(this.dimensions, counts.length),
      this.seed,
    );
    this.fitted = { ...fitted, ...quantize(basis, rank, hashes.length, this.dimensions) };
  }

  /**
   * One vector of unit length per text.
   * @param nameOf what an error calls text i
   * @throws {RangeError} where a text has no letters and no digits: it has no direction
   */
  encode(texts: readonly string[], nameOf = (i: number): string => `texts[${i}]`): Float32Array[] {
    return texts.map((text, i) => {
      const vector = this.vectorOf(text);
      if (vector === undefined) {
        throw new RangeError(
          `${nameOf(i)} is ${JSON.stringify(text.slice(0, 40))}; the built-in encoder needs at least one letter or digit`,
        );
      }
      return vector;
    });
  }

  /** The vector of one text; undefined where it has no letters and no digits. */
  vectorOf(text: string): Float32Array | undefined {
    return this.project(this.counter.count(text));
  }

  /** What the fit found, to be kept beside the vectors; empty before the first fit. Layout: `decodeState`. */
  state(): Uint8Array {
    return this.fitted === undefined ? new Uint8Array(0) : encodeState(this.fitted, this.dimensions, this.seed);
  }

  private project(terms: Map<number, number>): Float32Array | undefined {
    const { dimensions, fitted } = this;
    const vector = new Float32Array(dimensions);
    const unseen = inverseFrequency(0, fitted?.texts ?? 0);
    for (const [hash, times] of terms) {
      const t = fitted?.index.get(hash);
      if (fitted === undefined || t === undefined) {
        const weight = (1 + Math.log(times)) * unseen * (fitted === undefined ? 1 : RANDOM_WEIGHT);
        addRandomDirection(vector, hash, weight);
      } else {
        const weight = (1 + Math.log(times)) * fitted.idf[t]! * fitted.scales[t]!;
        const start = t * dimensions;
        for (let j = 0; j < dimensions; j++) vector[j]! += weight * fitted.rows[start + j]!;
      }
    }
    let squares = 0;
    for (let j = 0; j < dimensions; j++) squares += vector[j]! * vector[j]!;
    if (!(squares > 0)) return this.fallback(terms);
    const scale = 1 / Math.sqrt(squares);
    for (let j = 0; j < dimensions; j++) vector[j]! *= scale;
    return vector;
  }

  /** Terms whose directions cancel exactly (or were never spanned) still have a direction: that of one of them. */
  private fallback(terms: Map<number, number>): Float32Array | undefined {
    const first = terms.keys().next();
    if (first.done) return undefined;
    const vector = new Float32Array(this.dimensions);
    vector[first.value % this.dimensions] = 1;
    return vector;
  }
}

const inverseFrequency = (texts: number, of: number): number => Math.log((of + 1) / (texts + 0.5)) + (of === 0 ? 1 : 0);

/** The rows of the fit: each text's sublinear TF-IDF over the fitted terms, of unit length. */
function sparseRows(
  counts: Map<number, number>[],
  { index, idf }: { index: Map<number, number>; idf: Float32Array },
): SparseRows {
  const starts = new Uint32Array(counts.length + 1);
  const columns: number[] = [];
  const weights: number[] = [];
  counts.forEach((terms, i) => {
    let squares = 0;
    for (const [hash, times] of terms) {
      const t = index.get(hash);
      if (t === undefined) continue;
      const weight = (1 + Math.log(times)) * idf[t]!;
      columns.push(t);
      weights.push(weight);
      squares += weight * weight;
    }
    for (let e = starts[i]!; e < weights.length; e++) weights[e]! /= Math.sqrt(squares) || 1;
    starts[i + 1] = columns.length;
  });
  return { starts, columns: Uint32Array.from(columns), weights: Float32Array.from(weights), columnCount: index.size };
}

/**
 * Directions per term in 8 bits, each with its own scale: a quarter of the size, and no loss that ranking would notice.
 */
function quantize(
  basis: Float32Array,
  rank: number,
  terms: number,
  dimensions: number,
): { rows: Int8Array; scales: Float32Array } {
  const rows = new Int8Array(terms * dimensions);
  const scales = new Float32Array(terms);
  for (let t = 0; t < terms; t++) {
    let largest = 0;
    for (let r = 0; r < rank; r++) largest = Math.max(largest, Math.abs(basis[r * terms + t]!));
    if (largest === 0) continue;
    scales[t] = largest / 127;
    for (let r = 0; r < rank; r++) rows[t * dimensions + r] = Math.round((basis[r * terms + t]! / largest) * 127);
  }
  return { rows, scales };
}

/** Adds a sparse random direction of length `weight`, the same one for the same hash. */
function addRandomDirection(vector: Float32Array, hash: number, weight: number): void {
  const step = weight / Math.sqrt(RANDOM_NONZEROS);
  let h = hash;
  for (let i = 0; i < RANDOM_NONZEROS; i++) {
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
    const at = ((h ^ (h >>> 15)) >>> 1) % vector.length;
    vector[at]! += h & 1 ? step : -step;
  }
}

function evenSample<T>(items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)]!);
}

/*
 * State, little-endian:
 *   0  u32 magic "HFT1"   4  u32 dimensions   8  u32 seed   12  u32 texts   16  u32 terms   20  u32 zero
 *   24 u32 x terms hashes, f32 x terms idf, f32 x terms scales, i8 x terms x dimensions rows
 */
function encodeState({ texts, hashes, idf, scales, rows }: Fitted, dimensions: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + 12 * hashes.length + rows.length);
  const view = new DataView(bytes.buffer);
  [MAGIC, dimensions, seed, texts, hashes.length, 0].forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  let at = HEADER_BYTES;
  for (const part of [hashes, idf, scales, rows]) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return bytes;
}

function decodeState(state: Uint8Array, dimensions: number, seed: number): Fitted {
  const damaged = (what: string) =>
    new HebbError("INDEX_CORRUPT", `the text encoder's state ${what}; run "hebb check" on the store`, {
      bytes: state.length,
    });
  if (state.length < HEADER_BYTES) throw damaged(`has ${state.length} bytes; expected at least ${HEADER_BYTES}`);
  const view = viewOf(state);
  const [magic, storedDimensions, storedSeed, texts, terms] = Array.from({ length: 5 }, (_, i) =>
    view.getUint32(4 * i, true),
  ) as [number, number, number, number, number];
  if (magic !== MAGIC) throw damaged(`begins with 0x${magic.toString(16)}; expected 0x${MAGIC.toString(16)}`);
  if (storedDimensions !== dimensions) throw damaged(`is for ${storedDimensions} dimensions; expected ${dimensions}`);
  if (storedSeed !== seed) throw damaged(`is for seed ${storedSeed}; expected ${seed}`);
  const expected = HEADER_BYTES + terms * (12 + dimensions);
  if (state.length !== expected) throw damaged(`has ${state.length} bytes; expected ${expected} for ${terms} terms`);
  const copy = state.slice().buffer; // aligned
  const hashes = new Uint32Array(copy, HEADER_BYTES, terms);
  return {
    texts,
    hashes,
    idf: new Float32Array(copy, HEADER_BYTES + 4 * terms, terms),
    scales: new Float32Array(copy, HEADER_BYTES + 8 * terms, terms),
    rows: new Int8Array(copy, HEADER_BYTES + 12 * terms, terms * dimensions),
    index: new Map(Array.from(hashes, (hash, t) => [hash, t])),
  };
}
