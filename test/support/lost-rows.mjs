/** Rows that both the test and the process that it watches know. */
export const DIMENSIONS = 24;

/** The vector of a row, by its number. */
export const vectorOf = (n) =>
  Float32Array.from({ length: DIMENSIONS }, (_, i) => Math.sin(n * 12.9898 + i * 78.233) * 3);

export const rowOf = (n) => ({ id: n, vector: vectorOf(n), payload: { n } });
