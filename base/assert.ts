/** An invariant of Hebb itself: when it does not hold, the fault is ours and not the caller's. */
export function assert(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(`internal invariant does not hold: ${what}`);
}
