import { f32 } from "./f32.js";

/**
 * Which of the centroids, n values each, is nearest to x: the one with the greatest <x, c> - |c|^2 / 2, the first of
 * equals.
 */
export function nearest(x: Float32Array, centroids: Float32Array): number {
  const n = x.length;
  let [best, found] = [Number.NEGATIVE_INFINITY, 0];
  for (let c = 0; c * n < centroids.length; c++) {
    const centroid = centroids.subarray(c * n, (c + 1) * n);
    const squares = centroid.reduce((sum, value) => f32(sum + f32(value * value)), 0);
    const product = x.reduce((sum, value, j) => f32(sum + f32(value * centroid[j])), -0.5 * squares);
    if (product > best) [best, found] = [product, c];
  }
  return found;
}
