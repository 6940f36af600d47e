/** The four query modes, and what a query may ask with. */
import { checkOneOf, checkOptions, HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { hasBit } from "../catalog/bitmaps.js";
import { fuseRankings } from "../text/fuse.js";
import { QUERY_MODES, type Query, type QueryInput, type QueryResult } from "../types.js";
import { exampleVector } from "./examples.js";
import { SEARCH_OPTIONS, type SearchPlan } from "./searching.js";
import type { Session } from "./session.js";
import { softSearch } from "./soft-search.js";
import { checkId, checkValues, checkVector, show } from "./validate.js";

const INPUTS = ["vector", "text", "id", "positive", "negative", "weights"];
const OPTIONS = [
  ...INPUTS,
  "mode",
  "hybrid",
  "temperature",
  "gnnDepth",
  "returnAttention",
  ...SEARCH_OPTIONS.filter((o) => o !== "exact" && o !== "rerank"),
];
/** Rows that each ranking of a hybrid query contributes, at least. */
const FUSED_LEAST = 100;

/** Nodes in the order of a mode, with what its hits tell. */
export interface Ranking {
  nodes: Uint32Array;
  distances: Float32Array;
  /** Where they do not follow from the distances. */
  scores?: ArrayLike<number>;
}

/** What a query asks with, as one vector, and the nodes it was made from. */
export interface Resolved {
  vector: Float32Array;
  from: Set<number>;
}

export class Querier {
  constructor(private readonly session: Session) {}

  async query(given: Query): Promise<QueryResult> {
    const start = performance.now();
    if (typeof given !== "object" || given === null) {
      throw new TypeError(`query is ${show(given)}; expected an object such as { vector, k: 10 }`);
    }
    checkOptions("query", given, OPTIONS);
    const query = { ...given }; // what the caller changes afterwards is not asked
    const mode = checkOneOf("mode", query.mode ?? "vector", QUERY_MODES);
    this.checkMode(query);
    const { searcher } = this.session;
    const temperature = query.temperature ?? this.session.config.ruvector.temperature;
    if (typeof temperature !== "number" || !(temperature > 0) || temperature === Infinity) {
      throw new RangeError(`temperature is ${show(temperature)}; expected a number > 0`);
    }
    const { vector, from } = await this.resolveInFit("query", query);
    // Only now: rows, and so what a filter admits, may have changed while a text was encoded.
    const plan = searcher.plan({
      k: query.k,
      ef: query.ef,
      filter: query.filter,
      include: query.include,
      maxDistance: query.maxDistance,
    });
    const ranking = this.rank(vector, from, plan, mode === "neural", query.hybrid ? query.text : undefined);
    const hits = searcher.hits(ranking.nodes, ranking.distances, ranking.nodes.length, plan, ranking.scores);
    const result: QueryResult = { hits, latencyMs: 0 };
    if (mode === "subgraph") result.subgraph = this.subgraph(ranking.nodes);
    if (mode === "differentiable") {
      const candidates = Array.from(ranking.nodes, (node) => this.session.graph.vector(node));
      if (candidates.length > 0) {
        const soft = softSearch(vector, candidates, searcher.metric, temperature);
        result.embeddings = [soft.vector];
        result.backward = soft.backward;
      } else {
        result.embeddings = [];
      }
    }
    result.latencyMs = performance.now() - start;
    return result;
  }

  private checkMode({ hybrid, text, gnnDepth, returnAttention }: Query): void {
    if (hybrid !== undefined && typeof hybrid !== "boolean")
      throw new TypeError(`hybrid is ${show(hybrid)}; expected true or false`);
    if (hybrid && text === undefined)
      throw new TypeError("hybrid needs a text: it fuses the ranking by vectors with that by words");
    if (gnnDepth !== undefined && gnnDepth !== 0) {
      throw new RangeError(`gnnDepth is ${show(gnnDepth)}; expected 0, as this release has no message-passing layers`);
    }
    if (returnAttention !== undefined && returnAttention !== false) {
      throw new TypeError("returnAttention is set; this release has no message passing, and so no attention to return");
    }
  }

  /**
   * What a query asks with, as one vector.
   * @throws {HebbError} UNKNOWN_ID, NO_ENCODER, ENCODER_FAILED
   */
  async resolve(what: string, input: QueryInput): Promise<Resolved> {
    const { searcher, encoder } = this.session;
    const given = (["vector", "text", "id", "positive"] as const).filter((name) => input[name] !== undefined);
    if (given.length !== 1) {
      throw new TypeError(
        `${what} has ${given.length === 0 ? "none" : given.join(" and ")} of vector, text, id and positive; expected exactly one`,
      );
    }
    if (given[0] !== "positive" && (input.negative !== undefined || input.weights !== undefined)) {
      throw new TypeError(`${what} has negative or weights without positive; expected them together`);
    }
    const isCosine = searcher.metric === "cosine";
    if (input.vector !== undefined) {
      // A copy: the query goes on after this turn, and so may the caller.
      return { vector: checkVector(what, input.vector, searcher.dimensions, isCosine).slice(), from: new Set() };
    }
    if (input.text !== undefined) {
      const [vector] = await encoder.encode([input.text]);
      return { vector, from: new Set() };
    }
    if (input.id !== undefined) {
      const node = this.nodeOf(input.id);
      return { vector: this.session.graph.vector(node), from: new Set([node]) };
    }
    return this.fromExamples(what, input);
  }

  /** `resolve`, again where the built-in encoder was fitted anew meanwhile: rows and query belong in one space. */
  private async resolveInFit(what: string, input: QueryInput): Promise<Resolved> {
    const { encoder } = this.session;
    const { fit } = encoder;
    const resolved = await this.resolve(what, input);
    return encoder.fit === fit ? resolved : this.resolveInFit(what, input);
  }

  private fromExamples(what: string, { positive, negative = [], weights }: QueryInput): Resolved {
    if (!Array.isArray(positive) || positive.length === 0) {
      throw new TypeError(`positive of ${what} is ${show(positive)}; expected an array of at least one id`);
    }
    if (!Array.isArray(negative))
      throw new TypeError(`negative of ${what} is ${show(negative)}; expected an array of ids`);
    const both = positive.length + negative.length;
    if (weights !== undefined) {
      const fits = Array.isArray(weights) && (weights.length === positive.length || weights.length === both);
      if (!fits || !weights.every((w) => typeof w === "number" && w > 0 && w < Infinity)) {
        throw new TypeError(
          `weights of ${what} is ${show(weights)}; expected ${positive.length} numbers > 0, one for each positive id, or ${both} with the negative ones`,
        );
      }
    }
    const nodes = [...positive, ...negative].map((id) => this.nodeOf(id));
    const examples = nodes.map((node, i) => ({ vector: this.session.graph.vector(node), weight: weights?.[i] ?? 1 }));
    const vector = exampleVector(
      examples.slice(0, positive.length),
      examples.slice(positive.length),
      this.session.metric,
    );
    checkValues(`the vector that the examples of ${what} make`, vector, vector.length, false);
    return { vector, from: new Set(nodes) };
  }

  private nodeOf(given: Id): number {
    const id = checkId(given);
    const node = this.session.nodeOf(id);
    if (node === undefined) {
      throw new HebbError("UNKNOWN_ID", `id ${show(id)} is not in the index; put it first, or leave it out`, { id });
    }
    return node;
  }

  /** The k best nodes, without those the query was made from. */
  private rank(
    vector: Float32Array,
    from: Set<number>,
    plan: SearchPlan,
    neural: boolean,
    text: string | undefined,
  ): Ranking {
    const { searcher, learned } = this.session;
    const wanted = (text === undefined ? plan.k : Math.max(plan.k, FUSED_LEAST)) + from.size;
    const wider = { ...plan, k: wanted, ef: Math.max(plan.ef, wanted) };
    const near: Ranking = neural && learned.serves ? learned.rank(vector, wider) : searcher.nearest(vector, wider);
    const ranking = text === undefined ? near : this.fuse(near, vector, text, wider);
    const kept = Array.from(ranking.nodes.keys())
      .filter((i) => !from.has(ranking.nodes[i]))
      .slice(0, plan.k);
    if (kept.length === ranking.nodes.length) return ranking;
    return {
      nodes: Uint32Array.from(kept, (i) => ranking.nodes[i]),
      distances: Float32Array.from(kept, (i) => ranking.distances[i]),
      scores: ranking.scores && kept.map((i) => ranking.scores![i]),
    };
  }

  /** One ranking by vectors and words. */
  private fuse(near: Ranking, vector: Float32Array, text: string, plan: SearchPlan): Ranking {
    const { graph, catalog } = this.session;
    const { bits } = plan;
    const accept = (node: number) => graph.isLive(node) && (!bits || hasBit(bits, node));
    const worded = catalog.fullText(text, plan.k, accept).map((hit) => hit.node);
    const fused = fuseRankings([Array.from(near.nodes), worded]).slice(0, plan.k);
    const nodes = Uint32Array.from(fused, ({ item }) => item);
    return { nodes, distances: graph.distances(vector, nodes), scores: fused.map(({ score }) => score) };
  }

  /** The edges of the bottom layer among nodes, weighed by the score between both ends. */
  private subgraph(nodes: Uint32Array): QueryResult["subgraph"] {
    const { graph, searcher } = this.session;
    const ids = searcher.ids(nodes, nodes.length);
    const place = new Map(Array.from(nodes, (node, i) => [node, i]));
    const edges = Array.from(nodes).flatMap((node, i) => {
      const inside = graph.neighbors(node).filter((other) => place.has(other));
      const distances = graph.distances(graph.vector(node), inside);
      return Array.from(inside, (other, j) => ({
        from: ids[i],
        to: ids[place.get(other)!],
        weight: searcher.scoreOf(distances[j]),
      }));
    });
    return { nodes: ids, edges };
  }
}
