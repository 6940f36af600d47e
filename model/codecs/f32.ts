/**
 * Single precision as the kernel computes it, in the same order, so that results are equal bit for bit. The product,
 * sum, quotient or root of f32 in double precision, rounded to f32, is what f32 arithmetic gives (Figueroa 1995), and
 * what is stored into a Float32Array is rounded.
 */

export const f32 = Math.fround;

/** The greatest finite f32. */
export const MOST = 2 ** 128 - 2 ** 104;

const word = new DataView(new ArrayBuffer(4));

/** The bits of an f32. */
export function bitsOf(x: number): number {
  word.setFloat32(0, x);
  return word.getUint32(0);
}

/** The f32 of these bits. */
export function ofBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** n little-endian f32 from `at` on, which need not be aligned. */
export function floatsAt(bytes: Uint8Array, at: number, n: number): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 4 * n);
  return Float32Array.from({ length: n }, (_, i) => view.getFloat32(4 * i, true));
}

/**
 * Sum of a_i b_i in 64 lanes, 16 of them for what is left of 64, the next 16 for what is left of 16; folded as a tree.
 */
export function dot(a: Float32Array, b: Float32Array): number {
  const lanes = new Float32Array(64);
  const n = a.length;
  for (let i = 0; i < n; i++) {
    const lane = i < n - (n % 64) ? i % 64 : i < n - (n % 16) ? i % 16 : 16 + (i % 16);
    lanes[lane] += f32(a[i] * b[i]);
  }
  for (let i = 0; i < 16; i++) lanes[i] = f32(lanes[i] + lanes[16 + i]) + f32(lanes[32 + i] + lanes[48 + i]);
  for (let width = 8; width >= 1; width /= 2) for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}
