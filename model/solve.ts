/** Solves A X = B in place (B becomes X) for a symmetric positive definite A, n x n, by Cholesky; B is n x m. */
export function solvePositiveDefinite(a: Float64Array, b: Float64Array, n: number, m: number): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let p = 0; p < j; p++) sum -= a[i * n + p]! * a[j * n + p]!;
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / a[j * n + j]!;
    }
  }
  const subtract = (from: number, row: number, factor: number) => {
    for (let c = 0; c < m; c++) b[row * m + c] = b[row * m + c]! - factor * b[from * m + c]!;
  };
  const divide = (row: number) => {
    for (let c = 0; c < m; c++) b[row * m + c] = b[row * m + c]! / a[row * n + row]!;
  };
  for (let i = 0; i < n; i++) {
    for (let p = 0; p < i; p++) subtract(p, i, a[i * n + p]!);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let p = i + 1; p < n; p++) subtract(p, i, a[p * n + i]!);
    divide(i);
  }
}
