/** Caches that hold so many entries whole, as rivals of tiers: the share of accesses that find what they ask for. */

/** @returns the share of accesses from `warm` on that found their key held */
export function lruHits(trace: Uint32Array, capacity: number, warm: number): number {
  const held = new Set<number>(); // in the order of use
  let hits = 0;
  for (let i = 0; i < trace.length; i++) {
    const key = trace[i];
    if (held.delete(key)) {
      if (i >= warm) hits++;
    } else if (held.size >= capacity) {
      held.delete(first(held));
    }
    held.add(key);
  }
  return hits / (trace.length - warm);
}

/**
 * W-TinyLFU (Einziger, Friedman & Manes 2017): a window of 1%, in front of a segmented LRU (80% protected) into which
 * a key comes only where it was asked for more often than the one it drives out, by a count-min sketch of 4-bit
 * counters that are halved after ten times as many accesses as there are entries.
 */
export function tinyLfuHits(trace: Uint32Array, capacity: number, warm: number): number {
  const windowSize = Math.max(1, Math.round(capacity * 0.01));
  const mainSize = capacity - windowSize;
  const protectedSize = Math.floor(mainSize * 0.8);
  const sketch = new Sketch(capacity);
  const [fresh, safe, tried] = [new Set<number>(), new Set<number>(), new Set<number>()];
  let hits = 0;
  for (let i = 0; i < trace.length; i++) {
    const key = trace[i];
    sketch.count(key);
    let hit = true;
    if (fresh.delete(key)) fresh.add(key);
    else if (safe.delete(key)) safe.add(key);
    else if (tried.delete(key)) {
      safe.add(key);
      if (safe.size > protectedSize) {
        const oldest = first(safe);
        safe.delete(oldest);
        tried.add(oldest);
      }
    } else {
      hit = false;
      fresh.add(key);
      if (fresh.size > windowSize) {
        const candidate = first(fresh);
        fresh.delete(candidate);
        const from = tried.size > 0 ? tried : safe;
        if (safe.size + tried.size < mainSize) tried.add(candidate);
        else if (mainSize > 0 && sketch.estimate(candidate) > sketch.estimate(first(from))) {
          from.delete(first(from));
          tried.add(candidate);
        }
      }
    }
    if (hit && i >= warm) hits++;
  }
  return hits / (trace.length - warm);
}

const first = (keys: Set<number>): number => keys.values().next().value as number;

/** Four rows of 4-bit counters, about sixteen an entry in all. */
class Sketch {
  private readonly width: number;
  private readonly counters: Uint8Array;
  private counted = 0;

  constructor(private readonly capacity: number) {
    this.width = 4 * 2 ** Math.max(4, Math.ceil(Math.log2(capacity)));
    this.counters = new Uint8Array(4 * this.width);
  }

  private place(key: number, row: number): number {
    let hash = Math.imul(key + 1, [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f][row]);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return row * this.width + (((hash ^ (hash >>> 13)) >>> 0) & (this.width - 1));
  }

  estimate(key: number): number {
    let least = 15;
    for (let row = 0; row < 4; row++) least = Math.min(least, this.counters[this.place(key, row)]);
    return least;
  }

  count(key: number): void {
    let grew = false;
    for (let row = 0; row < 4; row++) {
      const at = this.place(key, row);
      if (this.counters[at] === 15) continue;
      this.counters[at]++;
      grew = true;
    }
    if (!grew || ++this.counted < 10 * this.capacity) return;
    for (let at = 0; at < this.counters.length; at++) this.counters[at] >>= 1;
    this.counted >>= 1;
  }
}
