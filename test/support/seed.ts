/** Settings for fast-check: `HEBB_SEED=n` replays a failure, which printed that seed. */
export function runs(numRuns: number): { numRuns: number; seed?: number; verbose: 1 } {
  const seed = process.env.HEBB_SEED;
  return seed === undefined ? { numRuns, verbose: 1 } : { numRuns, verbose: 1, seed: Number(seed) };
}
