/**
 * Chosen documents as questions: what each should find, for the network's self-supervision. Documents that were chosen
 * for the same query tell what no vector knows; neighbours in the graph say again what the metric says already, and
 * count little.
 */
import type { Prng } from "../base/prng.js";
import { HEARD } from "./corpus.js";
import type { Asked, Example } from "./examples.js";
import type { FitContext } from "./fit.js";

/** Most documents of each kind that one has to find. */
const MOST_TOGETHER = 8;
const MOST_NEIGHBOURS = 4;
/** What a neighbour weighs against a document that was chosen for the same query. */
const NEIGHBOUR_WEIGHT = 0.25;

export interface Relative {
  node: number;
  example: Asked;
}

export class Relatives {
  private readonly all: Relative[] = [];
  private readonly prng: Prng;
  private at = 0;

  constructor({ corpus, pool, prng }: FitContext, examples: readonly Example[]) {
    this.prng = prng;
    const together = new Map<number, Set<number>>();
    for (const { chosen } of examples) {
      for (const node of chosen.keys()) {
        const others = together.get(node) ?? new Set();
        together.set(node, others);
        for (const other of chosen.keys()) if (other !== node && others.size < MOST_TOGETHER) others.add(other);
      }
    }
    for (const [node, others] of together) {
      const neighbours = corpus.neighbours(node);
      const heard = neighbours.slice(0, HEARD);
      const unheard = [...neighbours.slice(HEARD)].filter((other) => !others.has(other));
      const found = [...others, ...unheard.slice(0, MOST_NEIGHBOURS)];
      if (found.length === 0) continue;
      const sum = others.size + NEIGHBOUR_WEIGHT * (found.length - others.size);
      const places = (nodes: readonly number[]) => Int32Array.from(nodes, (other) => pool.add(other));
      const example: Asked = {
        query: corpus.vector(node),
        positives: places(found),
        weights: Float32Array.from(found, (_, i) => (i < others.size ? 1 : NEIGHBOUR_WEIGHT) / sum),
        explicit: new Int32Array(0),
        hard: new Int32Array(0),
        // It is no answer to itself, and what it hears is near: no negative either.
        excludedPlaces: places([node, ...[...heard].filter((other) => !others.has(other))]),
      };
      this.all.push({ node, example });
    }
  }

  get examples(): readonly Asked[] {
    return this.all.map(({ example }) => example);
  }

  /** Up to `count` of them, each once before any comes again. */
  draw(count: number): Relative[] {
    return Array.from({ length: Math.min(count, this.all.length) }, () => {
      if (this.at === 0) this.prng.shuffle(this.all);
      const relative = this.all[this.at]!;
      this.at = (this.at + 1) % this.all.length;
      return relative;
    });
  }
}
