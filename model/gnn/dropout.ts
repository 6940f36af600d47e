/**
 * Which values dropout drops: a hash of (seed, layer, anchor, position), so that nothing remembers and a
 * step can be repeated on any machine. All numbers are u32.
 */

/** Finaliser of MurmurHash3 (Appleby). */
function mix32(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const chain = (hash: number, value: number) => mix32((hash + 0x9e3779b9) ^ value);

/** What a value is multiplied by: 0, or 1 / (1 - rate) so that the expectation stays. */
export function dropoutFactor(rate: number, seed: number, layer: number, anchor: number, position: number): number {
  if (rate === 0) return 1;
  const hash = chain(chain(chain(mix32(seed), layer), anchor), position);
  return hash >= rate * 2 ** 32 ? 1 / (1 - rate) : 0;
}
