/** Numbers below 16, two to a byte, the first in its low half. */

export function packed(numbers: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(numbers.length / 2));
  for (const [i, number] of numbers.entries()) bytes[i >> 1] |= number << (4 * (i % 2));
  return bytes;
}

export function unpacked(bytes: Uint8Array, n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => (bytes[i >> 1] >> (4 * (i % 2))) & 15);
}
