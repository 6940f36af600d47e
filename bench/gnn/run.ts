/** `bench gnn`: what message passing and learning cost. */
import { type Claim, printClaims } from "../claims.js";
import { writeRecord } from "../record.js";
import { type HopResult, measureHop } from "./hop.js";
import { type LearningResult, measureLearning } from "./learning.js";
import { measureMemory } from "./memory.js";
import type { MemoryResult } from "./memory-child.js";
import type { GnnOptions } from "./options.js";
import { measureStep, type StepResult } from "./step.js";

export async function runGnn(options: GnnOptions): Promise<boolean> {
  const { parts, smoke, out, name, ...settings } = options;
  const claims: Claim[] = [];
  const step: StepResult | undefined = parts.includes("step") ? await measureStep(options, claims) : undefined;
  const hop: HopResult[] = parts.includes("hop") ? measureHop(options, claims) : [];
  const learn: LearningResult | undefined = parts.includes("learn")
    ? await measureLearning(options, claims)
    : undefined;
  const memory: MemoryResult[] = parts.includes("memory") ? await measureMemory(options, claims) : [];
  const held = smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const stem = writeRecord(out, name, {
    bench: "gnn",
    data: learn?.data ?? "random",
    settings: { parts, ...settings },
    claims: held,
    results: { step, hop, learn, memory },
  });
  console.log(`record ${stem}.json\n`);
  return printClaims(held);
}
