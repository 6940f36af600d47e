/** How often processes are killed with -9 in one run, over all files together, and with which seed. */
import { long } from "./seed.js";

/** `HEBB_KILLS=n` says otherwise. */
const KILLS = Number(process.env.HEBB_KILLS ?? (long ? 1000 : 80));

/** A file's part of them. */
const SHARES = { life: 0.6, texts: 0.08, gradients: 0.2, frozen: 0.08, repair: 0.04 };

export const killsOf = (what: keyof typeof SHARES): number => Math.ceil(KILLS * SHARES[what]);

/** `HEBB_SEED=n` repeats the operations and delays of a run; a failure prints it. */
export const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
export const replay = `HEBB_SEED=${SEED}`;
