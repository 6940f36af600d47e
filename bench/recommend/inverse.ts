/** The inverse that EASE needs, in double precision and without a library. */

const TILE = 4;

/**
 * The inverse of a symmetric positive definite matrix (n x n, the lower triangle is read) by Cholesky: A = L L^T,
 * M = L^-1, A^-1 = M^T M. n^3 / 2 multiplications, all of them products of contiguous rows, a tile of 4 x 4 at a time.
 * @throws {RangeError} where the matrix is not positive definite
 */
export function inverse(matrix: ArrayLike<number>, n: number): Float64Array {
  const side = Math.ceil(n / TILE) * TILE; // padded by a unit matrix
  const a = new Float64Array(side * side);
  for (let i = 0; i < side; i++) {
    for (let j = 0; j <= i; j++) a[i * side + j] = i < n ? matrix[i * n + j] : i === j ? 1 : 0;
  }
  factor(a, side);
  const transposed = invertFactor(a, side); // row j is column j of M
  const out = new Float64Array(n * n);
  const sums = new Float64Array(TILE * TILE);
  for (let ib = 0; ib < side; ib += TILE) {
    for (let jb = 0; jb <= ib; jb += TILE) {
      products(transposed, ib, transposed, jb, ib, side, side, sums);
      for (let r = 0; r < TILE; r++) {
        for (let c = 0; c < TILE; c++) {
          const [i, j] = [ib + r, jb + c];
          if (i < n && j < n) out[i * n + j] = out[j * n + i] = sums[r * TILE + c];
        }
      }
    }
  }
  return out;
}

/** L over the lower triangle of `a`. */
function factor(a: Float64Array, n: number): void {
  const sums = new Float64Array(TILE * TILE);
  for (let ib = 0; ib < n; ib += TILE) {
    for (let jb = 0; jb <= ib; jb += TILE) {
      products(a, ib, a, jb, 0, jb, n, sums);
      for (let r = 0; r < TILE; r++) {
        const row = (ib + r) * n + jb;
        const last = jb === ib ? r : TILE - 1;
        for (let c = 0; c <= last; c++) {
          const other = (jb + c) * n + jb;
          let value = a[row + c] - sums[r * TILE + c];
          for (let q = 0; q < c; q++) value -= a[row + q] * a[other + q];
          if (row === other && c === r) {
            if (!(value > 0)) throw new RangeError(`not positive definite: pivot ${ib + r} is ${value}`);
            a[row + c] = Math.sqrt(value);
          } else a[row + c] = value / a[other + c];
        }
      }
    }
  }
}

/** (L^-1)^T, upper triangular, from L in the lower triangle of `l`. */
function invertFactor(l: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  const sums = new Float64Array(TILE * TILE);
  for (let jb = 0; jb < n; jb += TILE) {
    for (let ib = jb; ib < n; ib += TILE) {
      products(l, ib, out, jb, jb, ib, n, sums);
      for (let c = 0; c < TILE; c++) {
        const column = (jb + c) * n;
        for (let r = 0; r < TILE; r++) {
          const i = ib + r;
          if (i < jb + c) continue;
          let value = (i === jb + c ? 1 : 0) - sums[r * TILE + c];
          for (let q = 0; q < r; q++) value -= l[i * n + ib + q] * out[column + ib + q];
          out[column + i] = value / l[i * n + i];
        }
      }
    }
  }
  return out;
}

/** sums[r, c] = row i + r of `a` times row j + c of `b`, over columns [from, to). */
function products(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  from: number,
  to: number,
  n: number,
  sums: Float64Array,
): void {
  // Two columns at a time: eight sums and six values fit into a processor's registers, sixteen do not.
  for (let c = 0; c < TILE; c += 2) {
    let a0 = i * n + from;
    let a1 = a0 + n;
    let a2 = a1 + n;
    let a3 = a2 + n;
    let b0 = (j + c) * n + from;
    let b1 = b0 + n;
    let [s00, s01, s10, s11, s20, s21, s30, s31] = [0, 0, 0, 0, 0, 0, 0, 0];
    for (let k = from; k < to; k++) {
      const x = b[b0++];
      const y = b[b1++];
      const p = a[a0++];
      const q = a[a1++];
      const r = a[a2++];
      const s = a[a3++];
      s00 += p * x;
      s01 += p * y;
      s10 += q * x;
      s11 += q * y;
      s20 += r * x;
      s21 += r * y;
      s30 += s * x;
      s31 += s * y;
    }
    sums[c] = s00;
    sums[c + 1] = s01;
    sums[TILE + c] = s10;
    sums[TILE + c + 1] = s11;
    sums[2 * TILE + c] = s20;
    sums[2 * TILE + c + 1] = s21;
    sums[3 * TILE + c] = s30;
    sums[3 * TILE + c + 1] = s31;
  }
}
