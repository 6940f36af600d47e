/**
 * Vectors for symbolic expressions, with no training and no table of symbols: alike in structure, alike in angle.
 *
 * r(t) is a random unit vector, drawn by a hash of t's text; in d dimensions two of them have a cosine of 0 +-
 * 1/sqrt(d).
 *
 *   shape(atom) = r(atom)
 *   shape(list) = unit( sum_i P_i shape(list_i) )     role-filler binding: P_i is the signed permutation of place i
 *   terms(t)    = unit( sum_u r(u) )                  over the different expressions u in t, t among them
 *   e(t)        = unit( shape(t) + terms(t) )
 *
 * `shape` is superposition of bound pairs as in holographic reduced representations (Plate 1995), bound by permutation
 * (Gayler 1998; Kanerva 2009): cheaper than circular convolution, and it keeps lengths. The permutations of different
 * places do not commute, so that it tells (f a b) from (f b a), and (f (g a)) from (g (f a)). Two lists of n that
 * share m elements in their places have a cosine of m/n there, whatever the depth of what is shared. `terms` is a
 * random projection of the bag of subtrees (distributed tree kernels, Zanzotto & Dell'Arciprete 2012): it sees shared
 * parts wherever they stand; two bags of n that share m have a cosine of m/n. So of the cosine of two expressions,
 * half is where things stand and half is what there is, but for noise of about 1/sqrt(d).
 */
import { Prng } from "../base/prng.js";
import { type Expression, termsOf, textOf } from "./expression.js";
import { axpy, normalize } from "./scoring.js";

/** A permutation with signs: y_j = sign_j x_(from_j). */
interface Place {
  from: Uint32Array;
  sign: Int8Array;
}

export class SymbolEncoder {
  private readonly places = new Map<number, Place>();

  /** The same dimensions and seed, the same vectors. */
  constructor(
    readonly dimensions: number,
    private readonly seed: number,
  ) {}

  /** `dimensions` values of unit length. */
  encode(expression: Expression): Float32Array {
    const sum = new Float64Array(this.dimensions);
    for (const text of new Set(termsOf(expression).map(textOf))) axpy(1, this.random(text), sum);
    const encoded = this.unit(sum, expression);
    axpy(1, this.shape(expression), encoded);
    return Float32Array.from(this.unit(encoded, expression));
  }

  private shape(expression: Expression): Float64Array {
    if (!Array.isArray(expression)) return this.random(textOf(expression));
    const sum = new Float64Array(this.dimensions);
    expression.forEach((part, i) => {
      const vector = this.shape(part);
      const { from, sign } = this.place(i);
      for (let j = 0; j < sum.length; j++) sum[j] += sign[j] * vector[from[j]];
    });
    return this.unit(sum, expression);
  }

  /**
   * `sum` made a unit vector; where it vanished, as signs may cancel in few dimensions, one of the expression's own.
   */
  private unit(sum: Float64Array, expression: Expression): Float64Array {
    return normalize(sum) > 1e-9 ? sum : this.random(textOf(expression));
  }

  private random(text: string): Float64Array {
    const prng = new Prng(hash(text, this.seed));
    const vector = Float64Array.from({ length: this.dimensions }, () => prng.gaussian());
    normalize(vector);
    return vector;
  }

  private place(i: number): Place {
    let place = this.places.get(i);
    if (!place) {
      const prng = new Prng(hash(`place ${i}`, this.seed)); // no text of an expression: those are JSON
      const from = prng.shuffle(Uint32Array.from({ length: this.dimensions }, (_, j) => j));
      place = { from, sign: Int8Array.from(from, () => (prng.next() < 0.5 ? -1 : 1)) };
      this.places.set(i, place);
    }
    return place;
  }
}

/** FNV-1a over UTF-16 code units, 32 bits. */
function hash(text: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
