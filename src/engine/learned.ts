import type { Region } from "../../native/index.js";
import type { SectionSpec } from "../../storage/store.js";
import type { Config } from "../config.js";
import type { LearnedRecord } from "./records.js";
import type { SearchPlan, Searcher } from "./searching.js";
import type { Ranking } from "./querying.js";
export interface LearnerReport { state: string }
export interface LearningReport { events: number; serving: string[] }
export function learnedSections(dimensions: number, n: number, kind: number): SectionSpec[] {
  return [{ kind, name: "overlay", stride: 64 * Math.ceil((16 + 4 * dimensions) / 64), reserveBytes: n * 64 * Math.ceil((16 + 4 * dimensions) / 64) }, { kind: kind + 1, name: "parameters", stride: 1, reserveBytes: 1 << 30 }];
}
export class Learned {
  constructor(_r: Region, _s: number, private readonly searcher: Searcher, _c: Config) {}
  get serves() { return false; }
  rank(v: Float32Array, plan: SearchPlan): Ranking { return this.searcher.nearest(v, plan); }
  apply(_d: LearnedRecord) {}
  forget(_n: Uint32Array) {}
  report(): LearningReport { return { events: this.searcher.catalog.feedbackCount, serving: [] }; }
}
