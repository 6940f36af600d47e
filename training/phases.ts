/**
 * The parts of a training: each draws from numbers of its own, and its result is kept, so that an interrupted training
 * goes on.
 */
import { deserialize, serialize } from "node:v8";
import { Prng } from "../base/prng.js";
import type { FitContext } from "./fit.js";

/** Results of phases, by number. */
export interface TrainProgress {
  get(phase: number): Uint8Array | undefined;
  /** Resolves once it is kept. */
  add(phase: number, bytes: Uint8Array): Promise<void>;
}

export interface PhaseSettings {
  /** Same seed, corpus and events: same result. Default 1. */
  seed?: number;
  /** What phases of an earlier run over the same state, corpus, events and settings left. Default: nothing is kept. */
  progress?: TrainProgress;
  /** `phase` is "reading feedback", then "training"; phases that an earlier run ended count as done from its start. */
  onProgress?: (progress: { phase: string; done: number; total: number }) => void;
}

/** Random numbers of a phase, and of what is drawn beside phases. */
export const drawsOf = (seed: number | undefined, phase: number): Prng =>
  new Prng(Math.imul(seed ?? 1, 0x9e3779b1) ^ (phase + 1));

/** Runs phases, or takes over what they left in an earlier run. */
export class Phases {
  /** Of all phases until now. */
  skippedSteps = 0;
  private done = 0;
  private reported = 0;

  constructor(
    private readonly context: Pick<FitContext, "corpus" | "pool" | "options" | "scales">,
    /** How many there are. */
    readonly count: number,
    private readonly settings: PhaseSettings,
  ) {}

  async run<T>(phase: number, work: (context: FitContext) => Promise<T>): Promise<T> {
    const { seed, progress } = this.settings;
    let left = this.leftBy<T>(phase);
    this.done = phase;
    if (left === undefined) {
      this.report();
      const context = { ...this.context, prng: drawsOf(seed, phase), skippedSteps: 0 };
      const result = await work(context);
      left = { result, skippedSteps: context.skippedSteps };
      await progress?.add(phase, serialize(left));
    }
    this.skippedSteps += left.skippedSteps;
    return left.result;
  }

  /** All are done. */
  end(): void {
    this.done = this.count;
    this.report();
  }

  /** Tells how many phases are done, where that is news. */
  private report(): void {
    if (this.done === this.reported) return;
    this.reported = this.done;
    this.settings.onProgress?.({ phase: "training", done: this.done, total: this.count });
  }

  private leftBy<T>(phase: number): { result: T; skippedSteps: number } | undefined {
    const bytes = this.settings.progress?.get(phase);
    try {
      return bytes && (deserialize(bytes) as { result: T; skippedSteps: number });
    } catch {
      return undefined; // of a newer runtime
    }
  }
}
