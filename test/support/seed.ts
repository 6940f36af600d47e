/** `npm run test:long`: many more runs than there is time for at each change. */
export const long = process.env.HEBB_LONG !== undefined;
const LONGER = 20;

/** Settings for fast-check: `HEBB_SEED=n` replays a failure, which printed that seed. */
export function runs(numRuns: number): { numRuns: number; seed?: number; verbose: 1 } {
  const seed = process.env.HEBB_SEED;
  const settings = { numRuns: long ? LONGER * numRuns : numRuns, verbose: 1 } as const;
  return seed === undefined ? settings : { ...settings, seed: Number(seed) };
}
