/** What a run of `bench recommend` is given. */

export const RECOMMEND_PARTS = ["stream", "loop"] as const;
export type RecommendPart = (typeof RECOMMEND_PARTS)[number];

export interface RecommendOptions {
  /** A folder, or "synthetic". */
  data: string;
  parts: RecommendPart[];
  /** Events after the warm-up at most, or interactions where there are no times; Infinity: all. */
  max: number;
  /** Draws of the frozen item vectors. */
  seeds: number;
  /** Of the item vectors. */
  dimensions: number;
  /** Share of the timeline that is known at the start. */
  warm: number;
  /** Events between two fits of EASE and iALS. */
  refit: number;
  /** Tests of one window, on which intervals and p-values rest; fewer where that would be under 20 windows. */
  window: number;
  /** Of the closed loop. */
  rounds: number;
  users: number;
  /** A small run: held to assertions alone, with one setting for each control. */
  smoke: boolean;
  out: string;
  name: string;
}
