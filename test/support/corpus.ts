/** A small world for the learners: documents around topics, and queries that see topics through a distortion. */
import { Prng } from "../../base/prng.js";
import type { Metric } from "../../base/types.js";
import { edgeWeights, structuralScore } from "../../model/field.js";
import { normalize, score } from "../../model/scoring.js";
import type { Corpus, LearnEvent, Neighbourhood } from "../../training/corpus.js";

/** Neighbours that a node hears, as in a store. */
const HEARD = 16;

export interface World {
  corpus: Corpus & { vectors: Float32Array[]; dead: Set<number> };
  /**
   * Events whose chosen documents are those of the topic that the query means; `distortion` 0 asks
   * for the topic as it is, where the static index is right and what was learned is wrong.
   */
  events(count: number, seed: number, distortion?: number): LearnEvent[];
}

/** Every 8th node is on layer 1, every 64th on layer 2. */
const levelOf = (node: number): number => (node % 64 === 0 ? 2 : node % 8 === 0 ? 1 : 0);

/** Exact search over `vectors`, with as many deleted nodes as `dead` holds; a node hears its 16 nearest live ones. */
export function corpusOf(vectors: Float32Array[], metric: Metric): World["corpus"] {
  const dead = new Set<number>();
  const live = () => vectors.map((_, i) => i).filter((i) => !dead.has(i));
  const known = new Map<number, Neighbourhood>();
  let asOf = "";
  const neighbours = (node: number): Uint32Array => {
    const all = vectors.map((v) => score(metric, vectors[node]!, v));
    const others = live().filter((other) => other !== node);
    return Uint32Array.from(others.sort((x, y) => all[y]! - all[x]! || x - y)).slice(0, 2 * HEARD);
  };
  const neighbourhoodOf = (node: number): Neighbourhood => {
    const nodes = neighbours(node).slice(0, HEARD);
    const scores = Float32Array.from(nodes, (other) => score(metric, vectors[node]!, vectors[other]!));
    const structural = Float32Array.from(nodes, (other) => structuralScore(levelOf(node), 16, levelOf(other), 16));
    return { nodes, scores, structural, biases: new Float32Array(nodes.length) };
  };
  const neighbourhoods = (nodes: Uint32Array): Neighbourhood[] => {
    if (asOf !== `${[...dead]}`) known.clear();
    asOf = `${[...dead]}`;
    for (const node of nodes) if (!known.has(node)) known.set(node, neighbourhoodOf(node));
    return Array.from(nodes, (node) => known.get(node)!);
  };
  const nearest = (query: Float32Array, k: number, among: number[]): Uint32Array => {
    const scores = vectors.map((v) => score(metric, query, v));
    return Uint32Array.from(among.sort((a, b) => scores[b]! - scores[a]! || a - b)).slice(0, k);
  };
  return {
    vectors,
    dead,
    metric,
    dimensions: vectors[0]!.length,
    get size() {
      return vectors.length - dead.size;
    },
    vector: (node) => vectors[node]!,
    vectorsOf: (nodes) => Array.from(nodes, (node) => vectors[node]!),
    isLive: (node) => node < vectors.length && !dead.has(node),
    scores: (query, nodes) => Float32Array.from(nodes, (node) => score(metric, query, vectors[node]!)),
    fields: (nodes, scale) =>
      neighbourhoods(nodes).map(({ nodes: heard, scores }) => ({
        nodes: heard,
        weights: edgeWeights(scores, metric, scale),
      })),
    neighbourhoods,
    neighbours,
    nearest: (query, k) => ({ nodes: nearest(query, k, live()) }),
    topLevel: 2,
    nearestAt: (level, query, k) =>
      nearest(
        query,
        k,
        live().filter((node) => levelOf(node) >= level),
      ),
    sample: (count, prng) => {
      const nodes = live();
      return Uint32Array.from({ length: nodes.length === 0 ? 0 : count }, () => nodes[prng.below(nodes.length)]!);
    },
  };
}

/**
 * 60 topics of 8 documents. A query is its topic with the first half of the coordinates swapped for
 * the second in part, so that one linear map, which the adapter can learn, undoes it for all topics.
 */
export function makeWorld(metric: Metric = "cosine", seed = 7, dimensions = 16): World {
  const prng = new Prng(seed);
  const gaussian = (size: number) => Float32Array.from({ length: dimensions }, () => size * prng.gaussian());
  const finish = (v: Float32Array) => {
    if (metric === "cosine") normalize(v);
    return v;
  };
  const topics = Array.from({ length: 60 }, () => gaussian(1));
  const vectors = topics.flatMap((topic) =>
    Array.from({ length: 8 }, () => finish(gaussian(0.5).map((x, i) => x + topic[i]!))),
  );
  return {
    corpus: corpusOf(vectors, metric),
    events(count, eventSeed, distortion = 1.2) {
      const own = new Prng(eventSeed);
      return Array.from({ length: count }, () => {
        const t = own.below(topics.length);
        const topic = topics[t]!;
        const half = dimensions / 2;
        const query = topic.map((x, i) => x + distortion * topic[(i + half) % dimensions]! + 0.4 * own.gaussian());
        const chosen = Array.from({ length: 3 }, () => ({ node: t * 8 + own.below(8), grade: 1 }));
        const distinct = chosen.filter(({ node }, i) => chosen.findIndex((c) => c.node === node) === i);
        return { query: finish(query), chosen: distinct, shown: [], rejected: [], source: undefined };
      });
    },
  };
}

/** The same queries with the answers of others: there is nothing to learn. */
export function shuffleAnswers(events: LearnEvent[], seed: number): LearnEvent[] {
  const answers = new Prng(seed).shuffle(events.map((e) => e.chosen));
  return events.map((event, i) => ({ ...event, chosen: answers[i]! }));
}
