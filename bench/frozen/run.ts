/** `bench frozen`: its parts one after the other, and the record of them all. */
import { kernelName } from "../../native/index.js";
import { type Claim, printClaims } from "../claims.js";
import { writeRecord } from "../record.js";
import { withFolder } from "../tiers/stores.js";
import { type BuildResult, measureBuild } from "./build.js";
import type { Contest } from "./contest.js";
import { type EstimatorFigures, measureEstimator } from "./estimator.js";
import { type ExactFigures, measureExact } from "./exact.js";
import { type MemoryFigures, measureMemory } from "./memory.js";
import { measureMnist } from "./mnist.js";
import { measureOpen, type OpenResult } from "./open.js";
import type { FrozenOptions } from "./options.js";
import { measureSpeed } from "./speed.js";
import { Stores } from "./stores.js";

export interface FrozenResults {
  speed?: Contest;
  mnist?: Contest;
  build?: BuildResult[];
  open?: OpenResult;
  memory?: MemoryFigures[];
  estimator?: EstimatorFigures[];
  exact?: ExactFigures[];
}

export async function runFrozen(options: FrozenOptions): Promise<boolean> {
  const { parts, smoke } = options;
  const claims: Claim[] = [];
  const results: FrozenResults = {};
  await withFolder(async (folder) => {
    const stores = new Stores(folder, options.graph);
    if (parts.includes("speed")) results.speed = await measureSpeed(stores, options, claims);
    if (parts.includes("mnist")) results.mnist = await measureMnist(stores, options, claims);
    if (parts.includes("build")) results.build = await measureBuild(stores, options, claims);
    if (parts.includes("open")) results.open = await measureOpen(stores, options, claims);
    if (parts.includes("memory")) results.memory = await measureMemory(stores, options, claims);
    if (parts.includes("estimator")) results.estimator = await measureEstimator(stores, options, claims);
    if (parts.includes("exact")) results.exact = await measureExact(stores, options, claims);
  });

  const held = smoke ? claims.filter(({ kind }) => kind === "assertion") : claims;
  const stem = writeRecord(options.out, options.name, {
    bench: "frozen",
    data: `${options.generated.data} ${options.real.data}`,
    settings: {
      parts,
      generated: options.generated,
      real: options.real,
      ...options.graph,
      ef: options.ef,
      exactQueries: options.exactQueries,
      repeats: options.repeats,
      open: options.open,
      estimator: options.estimator,
      exact: options.exact,
      durability: "off",
      kernel: kernelName,
    },
    claims: held,
    results,
  });
  console.log(`\nrecord ${stem}.json\n`);
  return printClaims(held);
}
