/**
 * Heat: how much a vector is used, as a count of accesses that decays. An access adds 1; what is there
 * halves with each half-life.
 *
 * Heat is kept in forward form (Cormode et al. 2009, "Forward decay"): g = h(t) 2^(t - base), t and base
 * in half-lives. Time passing changes no stored value; an access adds 2^(t - base). Once t - base has
 * grown past `REBASE_AFTER`, all values are multiplied by one power of two and the base moves to t.
 */

/** Half-lives after which the base moves: 2^60 leaves f32 room for heats up to 2^67. */
export const REBASE_AFTER = 60;

/** Half-lives that count at most for the time in which nothing was open. */
export const MOST_AWAY = 8;

/** A heat `h` in forward form, `age` = t - base half-lives after the base. */
export function forward(heat: number, age: number): number {
  return heat * 2 ** age;
}

/** The heat that a forward value stands for at `age` = t - base. */
export function heatOf(value: number, age: number): number {
  return value * 2 ** -age;
}

/** Moves forward values to a base that is `by` half-lives later, in place. What is too small becomes 0. */
export function rebase(values: Float32Array, by: number): void {
  const factor = 2 ** -by;
  for (let i = 0; i < values.length; i++) values[i] = values[i]! * factor;
}

/** What is kept of a clock between two openings: half-lives, and the time of day in ms since 1970. */
export interface SavedClock {
  time: number;
  wall: number;
}

/**
 * Heat time, in half-lives, which never runs backwards. While open it follows the monotonic clock, so a
 * time of day that is set forwards or back changes nothing. From one opening to the next only the time
 * of day is there to ask: a difference below 0 counts as 0, and one above `MOST_AWAY` half-lives as that,
 * so that a wrong clock or a long pause does not make everything equally cold.
 */
export class HeatClock {
  private halfLives: number;
  private wall: number;
  private last: number;

  /**
   * @param halfLife ms, above 0
   * @param wall the time of day, ms since 1970
   * @param monotonic ms of a clock that is never set
   * @param saved what an earlier clock left
   */
  constructor(
    private readonly halfLife: number,
    wall: number,
    monotonic: number,
    saved: SavedClock = { time: 0, wall },
  ) {
    const away = Math.max(0, wall - saved.wall) / halfLife;
    this.halfLives = saved.time + Math.min(away, MOST_AWAY);
    this.wall = wall;
    this.last = monotonic;
  }

  get time(): number {
    return this.halfLives;
  }

  /** What to keep beside the heats. */
  get saved(): SavedClock {
    return { time: this.halfLives, wall: this.wall };
  }

  /** Lets the time pass that the monotonic clock shows; returns heat time. */
  observe(monotonic: number): number {
    this.pass(monotonic - this.last);
    this.last = monotonic;
    return this.halfLives;
  }

  /**
   * Goes to a time of day that the caller names, taken at its word; one in the past changes nothing.
   *
   * @throws RangeError where `now` is no finite number
   */
  goTo(now: number): number {
    if (!Number.isFinite(now)) throw new RangeError(`now is ${now}; expected milliseconds since 1970`);
    this.pass(now - this.wall);
    return this.halfLives;
  }

  /** Lets half-lives pass that are not measured by a clock: a budget cools by use (`TierPolicy.pace`). */
  advance(halfLives: number): number {
    this.halfLives += halfLives;
    return this.halfLives;
  }

  private pass(ms: number): void {
    if (!(ms > 0)) return;
    this.halfLives += ms / this.halfLife;
    this.wall += ms;
  }
}
