/** What `bench smoke` runs of `bench recommend`: a stream with a closed loop, and a split, on small seeded data. Its figures mean nothing. */
import { RECOMMEND_PARTS } from "./options.js";
import { runRecommend } from "./run.js";

export async function smokeRecommend(out: string): Promise<boolean> {
  let holds = true;
  for (const data of ["synthetic", "synthetic-split"]) {
    holds =
      (await runRecommend({
        data,
        parts: [...RECOMMEND_PARTS],
        max: 120,
        seeds: 1,
        dimensions: 16,
        warm: 0.15,
        refit: 150,
        window: 50,
        rounds: 2,
        users: 15,
        smoke: true,
        out,
        name: `smoke-recommend-${data}`,
      })) && holds;
  }
  return holds;
}
