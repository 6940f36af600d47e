/** `npm run test:long`: many more runs than there is time for at each change. */
export const long = process.env.HEBB_LONG !== undefined;
const LONGER = 20;

/** Settings for fast-check: `HEBB_SEED=n` replays a failure, which printed that seed. */
export function runs(numRuns: number): { numRuns: number; seed?: number; verbose: 1 } {
  const seed = process.env.HEBB_SEED;
  const settings = { numRuns: long ? LONGER * numRuns : numRuns, verbose: 1 } as const;
  return seed === undefined ? settings : { ...settings, seed: Number(seed) };
}

/** Seeds from 1 on: `count` of them, or the one that HEBB_SEED gives alone. */
export function seeds(count: number): number[] {
  const only = process.env.HEBB_SEED;
  return only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];
}

/** Runs with the seed named in whatever goes wrong. */
export async function seeded<T>(seed: number, more: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new Error(`HEBB_SEED=${seed} ${more}: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
