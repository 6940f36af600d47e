/** The four query modes, and what a query may ask with. */
import { checkInteger, checkOneOf, checkOptions } from "../../base/errors.js";
import type { Seed } from "../../model/edges.js";
import { firstNonFinite } from "../../native/index.js";
import { hasBit } from "../catalog/bitmaps.js";
import { fuseRankings } from "../text/fuse.js";
import { ESTIMATORS, QUERY_MODES, type Query, type QueryInput, type QueryMode, type QueryResult } from "../types.js";
import { exampleVector } from "./examples.js";
import { type Ranking, SEARCH_OPTIONS, type SearchPlan } from "./searching.js";
import type { Session } from "./session.js";
import { type SoftSettings, softSearch } from "./soft-search.js";
import { checkId, checkValues, checkVector, show } from "./validate.js";

export const INPUTS = ["vector", "text", "id", "positive", "negative", "weights"];
const OPTIONS = [
  ...INPUTS,
  "mode",
  "hybrid",
  "temperature",
  "estimator",
  "seed",
  "gnnDepth",
  "returnAttention",
  ...SEARCH_OPTIONS.filter((o) => o !== "exact" && o !== "rerank"),
];
/** Nodes of a subgraph that hops may add up to. */
const MOST_SUBGRAPH = 10_000;
/** Rows that each ranking of a hybrid query contributes, at least. */
const FUSED_LEAST = 100;
/** Candidates of a differentiable query for each hit wanted, as in the specification. */
const CANDIDATES_PER_HIT = 4;

type Subgraph = NonNullable<QueryResult["subgraph"]>;

/** What a query asks with, as one vector, and the nodes it was made from. */
export interface Resolved {
  vector: Float32Array;
  from: Set<number>;
  /** Of `from`, what to be like, and how much. */
  seeds: Seed[];
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
    const soft = this.softSettings(query, mode);
    const { vector, from, seeds } = await this.resolveInFit("query", query);
    // Only now: rows, and so what a filter admits, may have changed while a text was encoded.
    const plan = searcher.plan({
      k: query.k,
      ef: query.ef,
      filter: query.filter,
      include: query.include,
      maxDistance: query.maxDistance,
    });
    const wanted = mode === "differentiable" ? CANDIDATES_PER_HIT * plan.k : plan.k;
    const wider = { ...plan, k: wanted, ef: Math.max(plan.ef, wanted) };
    const text = query.hybrid ? query.text : undefined;
    const ranking = this.rank(vector, { from, seeds }, wider, mode === "neural", text, query.gnnDepth);
    const { nodes, distances, scores } = ranking;
    const hits = searcher.hits(nodes, distances, Math.min(plan.k, nodes.length), plan, scores);
    const result: QueryResult = { hits, latencyMs: 0 };
    if (mode === "subgraph") result.subgraph = this.subgraph(nodes, query.gnnDepth ?? 0, plan);
    if (query.returnAttention) result.attention = this.attention(vector, mode, query.gnnDepth);
    if (mode === "differentiable") {
      const near = nodes.filter((_, i) => distances[i] <= plan.maxDistance);
      Object.assign(result, this.soft(vector, near, soft));
    }
    result.latencyMs = performance.now() - start;
    return result;
  }

  /** How a differentiable query is answered. */
  private softSettings({ temperature, estimator, seed }: Query, mode: QueryMode): SoftSettings {
    const { config, metric } = this.session;
    const by = temperature ?? config.ruvector.temperature;
    if (typeof by !== "number" || !(by > 0) || by === Infinity) {
      throw new RangeError(`temperature is ${show(by)}; expected a number > 0`);
    }
    if (estimator !== undefined && mode !== "differentiable") {
      throw new TypeError(`estimator is ${show(estimator)} in mode "${mode}"; expected it with mode "differentiable"`);
    }
    const checked = checkOneOf("estimator", estimator ?? "soft", ESTIMATORS);
    if (seed !== undefined && checked !== "gumbel") {
      throw new TypeError(`seed is ${show(seed)} without noise to draw; expected it with estimator "gumbel"`);
    }
    return { metric, temperature: by, estimator: checked, seed: checkInteger("seed", seed ?? 1, 0, 2 ** 32 - 1) };
  }

  /** What a differentiable query returns beside its hits, from the nodes that are its candidates. */
  private soft(
    vector: Float32Array,
    nodes: Uint32Array,
    settings: SoftSettings,
  ): Pick<QueryResult, "embeddings" | "candidates" | "backward"> {
    const { graph, searcher, dimensions } = this.session;
    if (nodes.length === 0) return { embeddings: [], candidates: [] };
    const vectors = Array.from(nodes, (node) => graph.vector(node));
    const result = softSearch(vector, vectors, settings);
    const backward = (gradient: Float32Array) => {
      if (!(gradient instanceof Float32Array) || gradient.length !== dimensions) {
        throw new TypeError(
          `gradient is not a Float32Array of ${dimensions} values, one for each of the soft vector's`,
        );
      }
      const at = firstNonFinite(gradient);
      if (at >= 0) throw new RangeError(`gradient holds ${gradient[at]} at position ${at}; expected finite numbers`);
      const { query, candidates } = result.backward(gradient);
      return { query: Float32Array.from(query), candidates: candidates.map((g) => Float32Array.from(g)) };
    };
    const candidates = searcher.ids(nodes, nodes.length);
    return { embeddings: [Float32Array.from(result.vector)], candidates, backward };
  }

  private checkMode({ hybrid, text, gnnDepth, returnAttention }: Query): void {
    if (hybrid !== undefined && typeof hybrid !== "boolean")
      throw new TypeError(`hybrid is ${show(hybrid)}; expected true or false`);
    if (hybrid && text === undefined)
      throw new TypeError("hybrid needs a text: it fuses the ranking by vectors with that by words");
    const layers = this.session.config.ruvector.gnn_layers;
    if (gnnDepth !== undefined && !(Number.isInteger(gnnDepth) && gnnDepth >= 0 && gnnDepth <= layers)) {
      throw new RangeError(
        `gnnDepth is ${show(gnnDepth)}; expected an integer from 0 to ruvector.gnn_layers, which is ${layers}`,
      );
    }
    if (returnAttention !== undefined && typeof returnAttention !== "boolean")
      throw new TypeError(`returnAttention is ${show(returnAttention)}; expected true or false`);
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
      return {
        vector: checkVector(what, input.vector, searcher.dimensions, isCosine).slice(),
        from: new Set(),
        seeds: [],
      };
    }
    if (input.text !== undefined) {
      const vector = await encoder.encodeQuery(what, input.text);
      return { vector, from: new Set(), seeds: [] };
    }
    if (input.id !== undefined) {
      const node = this.session.knownNode(checkId(input.id));
      return { vector: this.session.graph.vector(node), from: new Set([node]), seeds: [{ node, weight: 1 }] };
    }
    return this.fromExamples(what, input);
  }

  /** `resolve`, again where the built-in encoder was fitted anew meanwhile: rows and query belong in one space. */
  async resolveInFit(what: string, input: QueryInput): Promise<Resolved> {
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
    const nodes = [...positive, ...negative].map((id) => this.session.knownNode(checkId(id)));
    const d = this.session.dimensions;
    const vectors = this.session.graph.vectors(Uint32Array.from(nodes));
    const examples = nodes.map((_, i) => ({
      vector: vectors.subarray(i * d, (i + 1) * d),
      weight: weights?.[i] ?? 1,
    }));
    const vector = exampleVector(
      examples.slice(0, positive.length),
      examples.slice(positive.length),
      this.session.metric,
    );
    checkValues(`the vector that the examples of ${what} make`, vector, vector.length, false);
    const seeds = examples.slice(0, positive.length).map(({ weight }, i) => ({ node: nodes[i], weight }));
    return { vector, from: new Set(nodes), seeds };
  }

  /** The k best nodes, without those the query was made from. */
  private rank(
    vector: Float32Array,
    { from, seeds }: Pick<Resolved, "from" | "seeds">,
    plan: SearchPlan,
    neural: boolean,
    text: string | undefined,
    depth: number | undefined,
  ): Ranking {
    const { searcher, learned } = this.session;
    const wanted = (text === undefined ? plan.k : Math.max(plan.k, FUSED_LEAST)) + from.size;
    const wider = { ...plan, k: wanted, ef: Math.max(plan.ef, wanted) };
    const near: Ranking =
      neural && learned.serves ? learned.rank(vector, seeds, wider, depth) : searcher.nearest(vector, wider);
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

  /** What the query heard in each hop that it took; none where no network serves, or in another mode than neural. */
  private attention(vector: Float32Array, mode: QueryMode, depth: number | undefined): QueryResult["attention"] {
    const { learned, searcher } = this.session;
    if (mode !== "neural" || !learned.attends) return [];
    const { attention } = learned.attend(learned.served(vector), depth);
    return attention.map(({ nodes, weights }) => ({ nodes: searcher.ids(nodes, nodes.length), weights }));
  }

  /** Nodes and what lies within some hops of them, and the edges among all of these. */
  private subgraph(found: Uint32Array, hops: number, plan: SearchPlan): Subgraph {
    const { graph, learned } = this.session;
    const accept = (node: number) => graph.isLive(node) && (!plan.bits || hasBit(plan.bits, node));
    const place = new Map(Array.from(found, (node, i) => [node, i]));
    let front = Array.from(found);
    for (let hop = 0; hop < hops; hop++) {
      const around = front.flatMap((node) => Array.from(learned.around(node).nodes));
      front = [];
      for (const node of around) {
        if (place.size >= MOST_SUBGRAPH || place.has(node) || !accept(node)) continue;
        place.set(node, place.size);
        front.push(node);
      }
    }
    return this.edgesAmong(Uint32Array.from(place.keys()));
  }

  /**
   * The edges among nodes: those of the graph's bottom layer, and learned ones, with the weights that message
   * passing gives them (model/field.ts).
   */
  edgesAmong(nodes: Uint32Array): Subgraph {
    const { searcher, learned } = this.session;
    const place = new Map(Array.from(nodes, (node, i) => [node, i]));
    const ids = searcher.ids(nodes, nodes.length);
    const edges = Array.from(nodes).flatMap((node, i) => {
      const { nodes: others, weights } = learned.around(node);
      return Array.from(others, (other, j) => ({ to: place.get(other), weight: weights[j] }))
        .filter((edge) => edge.to !== undefined)
        .map(({ to, weight }) => ({ from: ids[i], to: ids[to!], weight }));
    });
    return { nodes: ids, edges };
  }
}
