/** What rows hear of their neighbours in the graph (model/field.ts), kept while nothing changes. */
import { edgeWeights, MOST_BIAS, structuralScore } from "../../model/field.js";
import type { Graph } from "../../native/graph.js";
import { type Field, HEARD, type Neighbourhood } from "../../training/corpus.js";
import type { Searcher } from "./searching.js";

/** Of what nodes hear, so much is kept for sure once it was asked for, and twice as much at most: 5 MiB. */
const KEPT_FIELDS = 2500;

/** What a node hears. Where its neighbours stand is looked up when somebody asks: it takes a look at each one's row. */
class Heard implements Neighbourhood {
  private alike: Float32Array | undefined;
  private scale = 0;
  private field: Field | undefined;

  constructor(
    private readonly searcher: Searcher,
    private readonly node: number,
    readonly nodes: Uint32Array,
    readonly scores: Float32Array,
    readonly biases: Float32Array,
  ) {}

  get structural(): Float32Array {
    this.alike ??= structuralScores(this.searcher.graph, this.node, this.nodes);
    return this.alike;
  }

  untrained(scale: number): Field {
    if (!this.field || this.scale !== scale)
      this.field = { nodes: this.nodes, weights: edgeWeights(this.scores, this.searcher.metric, scale) };
    this.scale = scale;
    return this.field;
  }
}

/**
 * Neighbourhoods that were asked for, until the graph changes: the newest, and those of before them that were asked for
 * again since.
 */
export class Fields {
  private known = new Map<number, Heard>();
  private earlier = new Map<number, Heard>();
  private asOf = "";

  constructor(private readonly searcher: Searcher) {}

  of(nodes: Uint32Array): Heard[] {
    const now = this.asOfNow();
    if (now !== this.asOf) this.clear();
    this.asOf = now;
    if (this.known.size > KEPT_FIELDS) {
      this.earlier = this.known;
      this.known = new Map();
    }
    const missing: number[] = [];
    for (const node of nodes) if (!this.isAtHand(node)) missing.push(node);
    if (missing.length > 0) this.find(Uint32Array.from(missing));
    const heard: Heard[] = [];
    for (const node of nodes) heard.push(this.known.get(node)!);
    return heard;
  }

  private isAtHand(node: number): boolean {
    if (this.known.has(node)) return true;
    const heard = this.earlier.get(node);
    if (heard) this.known.set(node, heard);
    return heard !== undefined;
  }

  private find(nodes: Uint32Array): void {
    const { searcher } = this;
    const { nodes: around, distances, biases: held, counts } = searcher.graph.fields(nodes, HEARD);
    const stride = around.length / nodes.length;
    nodes.forEach((node, i) => {
      const [from, to] = [i * stride, i * stride + counts[i]];
      const scores = distances.slice(from, to).map((distance) => searcher.scoreOf(distance));
      const biases = held.slice(from, to).map(heldBias);
      this.known.set(node, new Heard(searcher, node, around.slice(from, to), scores, biases));
    });
  }

  /** What changes whenever the graph does. */
  asOfNow(): string {
    const { graph } = this.searcher;
    return `${graph.nodes} ${graph.live} ${graph.dead} ${graph.backlog}`;
  }

  clear(): void {
    this.known.clear();
    this.earlier.clear();
  }
}

/** How alike a node and each of others stand in the graph. */
export function structuralScores(graph: Graph, node: number, others: Uint32Array): Float32Array {
  const { levels, inDegrees } = graph.standing(Uint32Array.of(node, ...others));
  return Float32Array.from(others, (_, i) => structuralScore(levels[0], inDegrees[0], levels[i + 1], inDegrees[i + 1]));
}

/** A bias out of a row; damage that no checksum has met yet makes no weight of NaN. */
export const heldBias = (value: number): number => Math.max(-MOST_BIAS, Math.min(MOST_BIAS, value || 0));
