/**
 * Product quantization (Jégou et al. 2011): the plain residual is cut into runs of neighbouring dimensions, subvectors,
 * and each is the nearest of up to 256 centroids of its own, in a byte.
 */
import { floatsAt } from "./f32.js";
import { nearest } from "./nearest.js";
import type { Direction } from "./residual.js";

export class Product implements Direction {
  readonly kind = "product";
  readonly rotated = false;
  /** By subvector, its centroids one after the other. */
  private readonly centroids: Float32Array[];

  /** @param body `count` centroids of each subvector, subvector by subvector */
  constructor(
    private readonly d: number,
    private readonly count: number,
    private readonly subvectors: number,
    body: Uint8Array,
  ) {
    this.centroids = Array.from({ length: subvectors }, (_, s) => {
      const [from, to] = [this.startOf(s), this.startOf(s + 1)];
      return floatsAt(body, 4 * count * from, count * (to - from));
    });
  }

  private startOf(subvector: number): number {
    return Math.floor((this.d * subvector) / this.subvectors);
  }

  encode(z: Float32Array): Uint8Array {
    return Uint8Array.from(this.centroids, (of, s) => nearest(z.subarray(this.startOf(s), this.startOf(s + 1)), of));
  }

  expand(code: Uint8Array): Float32Array | undefined {
    const l = new Float32Array(this.d);
    for (const [s, of] of this.centroids.entries()) {
      if (code[s] >= this.count) return undefined;
      const n = of.length / this.count;
      l.set(of.subarray(code[s] * n, (code[s] + 1) * n), this.startOf(s));
    }
    return l;
  }
}
