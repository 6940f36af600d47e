/** The store as the learners see it: vectors as they are compared, scores, and who is near whom. */
import type { Prng } from "../../base/prng.js";
import type { Corpus } from "../../training/corpus.js";
import type { Fields } from "./fields.js";
import { type Searcher, STANDARD_RERANK } from "./searching.js";

/** As many neighbours as a row may have. */
const MOST_NEIGHBOURS = 256;

/** @param unit makes a vector's length 1 under cosine, in place */
export function graphCorpus(searcher: Searcher, fields: Fields, unit: (vector: Float32Array) => Float32Array): Corpus {
  const { graph } = searcher;
  let nodes = new Uint32Array(0);
  let distances = new Float32Array(0);
  const roomFor = (k: number): number => {
    const room = Math.min(k, graph.live);
    if (nodes.length < room) {
      nodes = new Uint32Array(room);
      distances = new Float32Array(room);
    }
    return room;
  };
  return {
    dimensions: searcher.dimensions,
    metric: searcher.metric,
    get size() {
      return graph.live;
    },
    vector: (node) => unit(graph.vector(node)),
    vectorsOf(of) {
      const rows = graph.vectors(of);
      const { dimensions: d } = searcher;
      const out: Float32Array[] = [];
      for (let i = 0; i < of.length; i++) out.push(unit(rows.subarray(i * d, (i + 1) * d)));
      return out;
    },
    isLive: (node) => graph.isLive(node),
    scores(query, of) {
      const scores = graph.distances(query, of);
      for (let i = 0; i < scores.length; i++) scores[i] = searcher.scoreOf(scores[i]);
      return scores;
    },
    fields: (of, scale) => fields.of(of).map((heard) => heard.untrained(scale)),
    neighbourhoods: (of) => fields.of(of),
    neighbours(node) {
      const { nodes: around, counts } = graph.fields(Uint32Array.of(node), MOST_NEIGHBOURS);
      return around.slice(0, counts[0]);
    },
    get topLevel() {
      return graph.topLevel;
    },
    nearestAt(level, query, k) {
      const room = roomFor(k);
      return nodes.slice(0, room === 0 ? 0 : graph.searchLevel(query, level, room, nodes, distances));
    },
    nearest(query, k) {
      const room = roomFor(k);
      const count = room === 0 ? 0 : graph.search(query, room, room, nodes, distances, false, STANDARD_RERANK);
      return { nodes: nodes.slice(0, count) };
    },
    sample(count: number, prng: Prng) {
      const found: number[] = [];
      const last = graph.nodes;
      for (let tries = 0; found.length < count && tries < count * 20; tries++) {
        const node = prng.below(last);
        if (graph.isLive(node)) found.push(node);
      }
      return Uint32Array.from(found);
    },
  };
}
