/** What `bench smoke` runs of `bench learn`: folds on a set with much to learn, the other parts on a smaller one. Their figures mean nothing. */
import { runLearn } from "./run.js";

export async function smokeLearn(out: string): Promise<boolean> {
  const common = { placebo: false, sessions: 1, seeds: 1, passes: 1, smoke: true, out };
  const folds = await runLearn({ ...common, data: "synthetic", parts: ["folds"], name: "smoke-learn" });
  console.log();
  const others = await runLearn({
    ...common,
    data: "synthetic-small",
    parts: ["clicks", "failures", "arrivals"],
    name: "smoke-learn-failures",
  });
  return folds && others;
}
