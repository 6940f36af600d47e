/** How many directions a set of vectors uses: what collapses when learning draws all documents together. */

/**
 * Effective rank (Roy & Vetterli 2007) of rows (n x d): e to the entropy of the singular values' shares. Of the
 * rows as they are, not centred; between 1 and d.
 */
export function effectiveRank(rows: ArrayLike<number>, d: number): number {
  const gram = new Float64Array(d * d);
  for (let at = 0; at < rows.length; at += d) {
    for (let i = 0; i < d; i++) {
      const value = rows[at + i];
      if (value === 0) continue;
      for (let j = 0; j <= i; j++) gram[i * d + j] += value * rows[at + j];
    }
  }
  for (let i = 0; i < d; i++) for (let j = 0; j < i; j++) gram[j * d + i] = gram[i * d + j];
  const values = Array.from(eigenvalues(gram, d), (value) => Math.sqrt(Math.max(0, value)));
  const sum = values.reduce((total, value) => total + value, 0);
  return Math.exp(
    -values.reduce((entropy, value) => entropy + (value > 0 ? (value / sum) * Math.log(value / sum) : 0), 0),
  );
}

const SWEEPS = 30;
/** Off the diagonal, relative to all: what is left does not show in an effective rank. */
const DONE = 1e-10;

/** Eigenvalues of a symmetric matrix (n x n), which it overwrites: cyclic Jacobi rotations. */
export function eigenvalues(a: Float64Array, n: number): Float64Array {
  const all = a.reduce((sum, value) => sum + value * value, 0);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += 2 * a[i * n + j] ** 2;
    if (off <= DONE * DONE * all) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, n, p, q);
  }
  return Float64Array.from({ length: n }, (_, i) => a[i * n + i]);
}

function rotate(a: Float64Array, n: number, p: number, q: number): void {
  const apart = a[p * n + q];
  if (apart === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apart);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const cos = 1 / Math.sqrt(t * t + 1);
  const sin = t * cos;
  for (let k = 0; k < n; k++) {
    const x = a[k * n + p];
    const y = a[k * n + q];
    a[k * n + p] = cos * x - sin * y;
    a[k * n + q] = sin * x + cos * y;
  }
  for (let k = 0; k < n; k++) {
    const x = a[p * n + k];
    const y = a[q * n + k];
    a[p * n + k] = cos * x - sin * y;
    a[q * n + k] = sin * x + cos * y;
  }
}
