/** What crashes leave of recorded lives: drawn, put on a real disk, and lived on in. */
import { rmSync } from "node:fs";
import { Prng } from "../../base/prng.js";
import type { Simulator } from "../../storage/simulator.js";
import { fingerprint, Player, putOnDisk } from "./crash-states.js";
import { allowedAt, type Contents, type Life, liveOn } from "./index-life.js";

/** What becomes of the disk. */
export type Crash = "power failure" | "everything unsynced is lost" | "kill" | "kill amid a write";
export const POWER_FAILURES: readonly Crash[] = ["power failure", "everything unsynced is lost"];
export const CRASHES: readonly Crash[] = [...POWER_FAILURES, "kill", "kill amid a write"];

export interface Case {
  /** Entries of the life's trace that have happened. */
  entries: number;
  crash: Crash;
  seed: number;
  /** Crashes in what follows: in recovery, or in a put, or in closing. Default 0. */
  depth?: number;
}

/** The states that may be found after a crash, by their places in `life.states`. */
export type Allowed = (life: Life, entries: number, crash: Crash) => number[];

/** Counts what was opened, each disk of a life once. */
export class Aftermath {
  states = 0;
  private readonly seen = new Set<string>();

  /** @param replay the seed that draws it all again */
  constructor(
    private readonly scratch: string,
    private readonly replay: number,
  ) {}

  /**
   * Lives on after each of these crashes of a life. The first one's seed decides what failed syncs left.
   * @throws naming the life, the moment and the seeds of what went wrong
   */
  async of(life: Life, cases: readonly Case[], allowed: Allowed = allowedAt): Promise<void> {
    if (cases.length === 0) return;
    const player = new Player(life.trace, life.directory, cases[0].seed, life.before);
    for (const one of [...cases].sort((a, b) => a.entries - b.entries)) {
      try {
        const disk = await player.diskAt(one.entries, one.seed, partOf(one));
        crash(disk, one.crash);
        await this.outlive(
          life,
          one,
          disk,
          allowed(life, one.entries, one.crash).map((i) => life.states[i]),
        );
      } catch (error) {
        const where = `HEBB_SEED=${this.replay}, ${one.crash} (${one.seed}) after ${one.entries} of ${life.trace.length} calls of "${life.name}"`;
        throw new Error(`${where}: ${error instanceof Error ? error.stack : error}`);
      }
    }
  }

  private async outlive(life: Life, { seed, depth = 0 }: Case, disk: Simulator, allowed: Contents[]): Promise<void> {
    const key = `${life.directory} ${fingerprint(disk)} ${allowed.map((state) => life.states.indexOf(state))}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    const directory = `${this.scratch}/state-${this.states++}`;
    try {
      putOnDisk(disk, directory);
      const tag = 100_000 + depth;
      const next = await liveOn(directory, allowed, { name: `${life.name}, then recovery`, before: disk, tag });
      if (depth === 0) return;
      const prng = new Prng(seed + depth);
      const cases = [
        { entries: prng.below(next.trace.length), crash: CRASHES[prng.below(4)], seed: seed + 1, depth: depth - 1 },
      ];
      await this.of(next, cases);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

const partOf = ({ crash, seed }: Case): number => (crash === "kill amid a write" ? new Prng(seed).next() : 0);

function crash(disk: Simulator, kind: Crash): void {
  if (kind === "power failure") disk.powerFailure();
  else if (kind === "everything unsynced is lost") disk.loseUnsynced();
  else disk.kill();
}

/** The moments of a life from an entry of its trace on: behind each that did something. */
export function momentsOf({ trace }: Life, from = 0): number[] {
  const moments: number[] = [];
  for (let n = from; n <= trace.length; n++) {
    const last = trace[n - 1];
    if (n === from || n === trace.length || !(last.kind === "open" && !last.flag)) moments.push(n);
  }
  return moments;
}
