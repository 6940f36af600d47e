/**
 * A uniform sample of all feedback that was ever learned, whatever there is of it (reservoir sampling, Vitter 1985).
 */
import { Prng } from "../../base/prng.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";

/** Events that are kept at hand. */
const CAPACITY = 1024;

export class ReplayBuffer {
  private readonly events: StoredFeedback[] = [];
  private readonly prng = new Prng(1);
  private seen = 0;

  add(event: StoredFeedback): void {
    this.seen++;
    if (this.events.length < CAPACITY) {
      this.events.push(event);
      return;
    }
    const place = this.prng.below(this.seen);
    if (place < CAPACITY) this.events[place] = event;
  }

  /** `count` events at random, with repeats; none while there are none. */
  draw(count: number, prng: Prng): StoredFeedback[] {
    if (this.events.length === 0) return [];
    return Array.from({ length: count }, () => this.events[prng.below(this.events.length)]);
  }
}
