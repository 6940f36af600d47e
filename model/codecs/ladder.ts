/**
 * Steps for entropy-coded records, each 2 % coarser than the one before: a record takes the finest with which it fits.
 */

const STEPS = 255;
/** The number of the step that a codebook has. */
const USUAL = 64;
const RATIO = 1.02;
/** In place of a step's number: nothing fits, and nothing is coded. */
export const ROUGH = 255;

export class Ladder {
  private readonly steps = new Float32Array(STEPS);

  constructor(usual: number) {
    let step = usual;
    for (let i = 0; i < USUAL; i++) step /= RATIO;
    for (let i = 0; i < STEPS; i++, step *= RATIO) this.steps[i] = step;
  }

  step(number: number): number {
    return this.steps[number];
  }

  /** The number of the finest step with which `attempt` gives something, and what; undefined where none does. */
  finest<T>(attempt: (step: number) => T | undefined): { number: number; found: T } | undefined {
    for (const [number, step] of this.steps.entries()) {
      const found = attempt(step);
      if (found !== undefined) return { number, found };
    }
    return undefined;
  }
}
