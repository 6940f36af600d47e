/** A cap per source, so that no single one can teach the index by repetition. */
import type { LearnEvent } from "./corpus.js";

/** A source may always have this many events in a window, whatever its share. */
const ALWAYS = 32;

function most(events: number, share: number): number {
  return Math.max(ALWAYS, Math.floor(events * share));
}

/** Keeps the newest events of each source up to its share; a store with one source is not capped. */
export function capSources(events: readonly LearnEvent[], share: number): LearnEvent[] {
  if (new Set(events.map((e) => e.source)).size < 2) return [...events];
  const limit = most(events.length, share);
  const counts = new Map<string, number>();
  return events
    .toReversed()
    .filter(({ source }) => {
      if (source === undefined) return true;
      const count = (counts.get(source) ?? 0) + 1;
      counts.set(source, count);
      return count <= limit;
    })
    .reverse();
}

/** Whether `event` comes from a source that already fills its share of the window before it. */
export function isCapped(event: LearnEvent, window: readonly LearnEvent[], share: number): boolean {
  if (event.source === undefined || window.length === 0) return false;
  const own = window.reduce((sum, e) => sum + (e.source === event.source ? 1 : 0), 0);
  return own < window.length && own >= most(window.length, share);
}
