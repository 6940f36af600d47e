/** What `bench release` runs, and what the record of each part holds. */
import type { ContestResult } from "../ann/contest.js";
import type { DurabilityResults } from "../durability/run.js";
import type { FrozenResults } from "../frozen/run.js";
import type { HopResult } from "../gnn/hop.js";
import type { LearningResult } from "../gnn/learning.js";
import type { MemoryResult } from "../gnn/memory-child.js";
import type { StepResult } from "../gnn/step.js";
import type { ArrivalsReport } from "../learn/arrivals.js";
import type { ClicksReport } from "../learn/clicks.js";
import type { FoldReport } from "../learn/cross-validate.js";
import type { FailuresReport } from "../learn/failures.js";
import type { Comparison, Stratum } from "../learn/strata.js";
import type { ControlRun } from "../recommend/prequential.js";
import type { SplitReport } from "../recommend/split.js";
import type { SetRecall } from "../tiers/recall.js";
import type { StoreResult } from "../tiers/store.js";
import type { TraceResult } from "../tiers/traces.js";

/** One command of the record, run in a process of its own. */
export interface Part {
  /** Of its files in the record. */
  name: string;
  /** After `npm run bench --`. */
  args: readonly string[];
  /** About what it takes on a machine with 2 cores that does nothing else: an estimate, until an index says what it took. */
  minutes: number;
  /** Nothing of its record is a time: what else the machine does changes no figure that is quoted. */
  timeless?: true;
}

/**
 * In the order in which they run: what README quotes most comes first, so that a run that is interrupted has most of it;
 * those without times, which run two at once, after all others.
 * Left out of `frozen` is `open`, and of `tiers` `codecs` and `semantic`: they take minutes, and nothing quotes them.
 */
export const RELEASE = [
  { name: "ann", args: ["ann", "--only", "sweep,profiles,kernels,threads"], minutes: 5 },
  { name: "ann-stored", args: ["ann", "--only", "reopen,filters,churn"], minutes: 2 },
  { name: "learn-cranfield", args: ["learn"], minutes: 1.5 },
  { name: "durability", args: ["durability", "--only", "ingest,search", "--rows", "50000"], minutes: 1 },
  { name: "durability-long", args: ["durability", "--only", "long", "--rows", "50000"], minutes: 0.3 },
  { name: "frozen", args: ["frozen", "--only", "speed,mnist,build,memory,estimator,exact"], minutes: 4.5 },
  { name: "tiers", args: ["tiers", "--only", "recall,store,traces"], minutes: 6 },
  { name: "learn-scifact", args: ["learn", "--data", "ir-scifact"], minutes: 2.5, timeless: true },
  { name: "learn-cisi", args: ["learn", "--data", "ir-cisi"], minutes: 0.7, timeless: true },
  {
    name: "recommend-amazon",
    args: ["recommend", "--data", "rec-amazon-hin", "--only", "stream", "--max", "6000"],
    minutes: 2,
    timeless: true,
  },
  { name: "gnn", args: ["gnn", "--only", "step,hop,learn"], minutes: 1.5 },
  { name: "learn-arrivals", args: ["learn", "--arrivals"], minutes: 1, timeless: true },
  { name: "recommend-lastfm", args: ["recommend", "--data", "rec-lastfm-lightgcn"], minutes: 5, timeless: true },
  { name: "gnn-memory", args: ["gnn", "--only", "memory", "--nodes", "1000000"], minutes: 2.5 },
  { name: "learn-failures", args: ["learn", "--failures"], minutes: 5, timeless: true },
  { name: "learn-clicks", args: ["learn", "--clicks"], minutes: 8, timeless: true },
] as const satisfies readonly Part[];

export type PartName = (typeof RELEASE)[number]["name"];

/** What JSON makes of it: typed arrays are lists. */
type Stored<T> = T extends Float64Array ? number[] : T extends object ? { [Key in keyof T]: Stored<T[Key]> } : T;

interface Folds {
  strata: Record<string, Record<Stratum, number>>;
  bestControl: string;
  comparisons: Comparison[];
  folds: FoldReport[];
}

/** `results` of each part's record: the types that its bench writes. */
export type PartResults = {
  ann: ContestResult["results"];
  "ann-stored": ContestResult["results"];
  "learn-cranfield": Folds;
  "learn-scifact": Folds;
  "learn-cisi": Folds;
  "learn-arrivals": { arrivals: ArrivalsReport };
  "learn-failures": { failures: FailuresReport };
  "learn-clicks": { clicks: ClicksReport };
  durability: DurabilityResults;
  "durability-long": DurabilityResults;
  frozen: FrozenResults;
  tiers: { recall: SetRecall[]; store: StoreResult[]; traces: TraceResult[] };
  "recommend-amazon": {
    stream: {
      tests: number;
      controls: (Omit<ControlRun, "credits"> & { windows: number[] })[];
      runs: { static: number[]; neural: number[] }[];
    };
  };
  "recommend-lastfm": { split: Stored<SplitReport> };
  gnn: { step: StepResult; hop: HopResult[]; learn: LearningResult };
  "gnn-memory": { memory: MemoryResult[] };
};

/** The command that a person types for it. */
export const commandOf = ({ args }: Pick<Part, "args">): string => `npm run bench -- ${args.join(" ")}`;
