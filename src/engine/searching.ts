/** Searching: options in, hits out. */
import { checkInteger, checkOptions } from "../../base/errors.js";
import type { Filter, Id, Metric } from "../../base/types.js";
import { type Graph, ORIGINALS } from "../../native/graph.js";
import type { Catalog } from "../catalog/catalog.js";
import type { Hit, SearchOptions } from "../types.js";
import type { Tiering } from "./tiering.js";
import { checkEf, checkK, checkRows, checkValues, checkVector, MAX_K, show } from "./validate.js";

export const SEARCH_OPTIONS = ["k", "ef", "filter", "include", "maxDistance", "exact", "rerank"] as const;
const INCLUDES = ["payload", "vector"];
/** How often `searchMany` asks for a query whose results are being deleted; then fewer than k come back. */
const MOST_ROUNDS = 4;
/** Queries of `searchMany` go in parts: while one's hits are put together on this thread, the next is searched. */
const LEAST_TOGETHER = 64;
const MOST_PARTS = 8;
/** How many times k nodes are compared again with their originals, where codes were what they were found by. */
export const STANDARD_RERANK = 4;
const MOST_RERANK = 1024;

/** Search options, validated and complete. */
export interface SearchPlan {
  k: number;
  ef: number;
  exact: boolean;
  /** Of the best `rerank` x k, distances are those of originals; ORIGINALS: of all. */
  rerank: number;
  maxDistance: number;
  withPayload: boolean;
  withVector: boolean;
  bits: Uint32Array | undefined;
  count: number;
}

/** Nodes in the order of a mode, with what its hits tell. */
export interface Ranking {
  nodes: Uint32Array;
  distances: Float32Array;
  /** Where they do not follow from the distances. */
  scores?: ArrayLike<number>;
}

export class Searcher {
  private nodes = new Uint32Array(64);
  private distances = new Float32Array(64);

  constructor(
    readonly graph: Graph,
    readonly catalog: Catalog,
    private readonly tiering: Tiering,
    readonly dimensions: number,
    readonly metric: Metric,
    private readonly standardEf: number,
  ) {}

  plan(options: SearchOptions): SearchPlan {
    const { filter, include = ["payload"], maxDistance = Infinity, exact = false } = options;
    const k = checkK(options.k);
    if (!Array.isArray(include) || include.some((part) => !INCLUDES.includes(part))) {
      throw new TypeError(
        `include is ${show(include)} with ${JSON.stringify(include)}; expected a list of ${INCLUDES.join(", ")}`,
      );
    }
    if (typeof maxDistance !== "number" || Number.isNaN(maxDistance)) {
      throw new TypeError(`maxDistance is ${show(maxDistance)}; expected a number`);
    }
    if (typeof exact !== "boolean") throw new TypeError(`exact is ${show(exact)}; expected true or false`);
    const { rerank = exact ? ORIGINALS : STANDARD_RERANK } = options;
    if (options.rerank !== undefined && rerank !== false) checkInteger("rerank", rerank, 1, MOST_RERANK);
    return {
      k,
      ef: checkEf(options.ef, k, this.standardEf),
      exact,
      rerank: rerank === false ? 0 : rerank,
      maxDistance,
      withPayload: include.includes("payload"),
      withVector: include.includes("vector"),
      ...this.bitmap(filter),
    };
  }

  /** A filter's bitmap, or none. */
  bitmap(filter: Filter | undefined): { bits: Uint32Array | undefined; count: number } {
    if (filter === undefined) return { bits: undefined, count: 0 };
    return this.catalog.bitmap(filter);
  }

  search(query: unknown, options: SearchOptions): Hit[] {
    checkOptions("search", options, SEARCH_OPTIONS);
    const vector = checkVector(
      "query",
      query,
      this.dimensions,
      this.metric === "cosine",
      "Ask by text with query({ text })",
    );
    const plan = this.plan(options);
    const count = this.find(vector, plan);
    return this.hits(this.nodes, this.distances, count, plan);
  }

  /** Fills this.nodes and this.distances; returns how many. */
  private find(vector: Float32Array, plan: SearchPlan): number {
    const room = Math.min(plan.k, this.graph.live);
    if (this.nodes.length < room) {
      this.nodes = new Uint32Array(room);
      this.distances = new Float32Array(room);
    }
    if (room === 0) return 0;
    return this.graph.search(
      vector,
      room,
      Math.max(plan.ef, room),
      this.nodes,
      this.distances,
      plan.exact,
      plan.rerank,
      plan.bits,
      plan.count,
    );
  }

  /** The nearest nodes with their distances, ascending, as arrays of their own. */
  nearest(vector: Float32Array, plan: SearchPlan): { nodes: Uint32Array; distances: Float32Array } {
    const count = this.find(vector, plan);
    return { nodes: this.nodes.slice(0, count), distances: this.distances.slice(0, count) };
  }

  /** The allocation-free form: k results at most, into the caller's arrays. */
  searchNodes(query: Float32Array, k: number, ef: number, outNodes: Uint32Array, outDistances: Float32Array): number {
    if (!(query instanceof Float32Array) || query.length !== this.dimensions) {
      checkVector("query", query, this.dimensions, false);
    }
    if (!(outNodes instanceof Uint32Array) || !(outDistances instanceof Float32Array)) {
      throw new TypeError(
        `outNodes is ${show(outNodes)}, outDistances ${show(outDistances)}; expected a Uint32Array and a Float32Array`,
      );
    }
    checkInteger("k", k, 1, MAX_K);
    if (outNodes.length < k || outDistances.length < k) {
      throw new RangeError(
        `outNodes has room for ${outNodes.length}, outDistances for ${outDistances.length}; expected at least k = ${k}`,
      );
    }
    checkValues("query", query, this.dimensions, this.metric === "cosine");
    const wide = checkEf(ef, k, this.standardEf);
    const count = this.graph.search(query, k, wide, outNodes, outDistances, false, STANDARD_RERANK);
    this.tiering.access(outNodes, count);
    return count;
  }

  async searchMany(queries: unknown, options: SearchOptions): Promise<Hit[][]> {
    checkOptions("searchMany", options, SEARCH_OPTIONS);
    const rows = checkRows("queries", queries, this.dimensions);
    checkValues("queries", rows, this.dimensions, this.metric === "cosine", (row) => `query ${row}`);
    const n = rows.length / this.dimensions;
    const size = Math.max(LEAST_TOGETHER, Math.ceil(n / MOST_PARTS));
    const parts: Promise<Hit[][]>[] = [];
    for (let at = 0; at < n; at += size) {
      const part = rows.slice(at * this.dimensions, (at + size) * this.dimensions);
      parts.push(this.searchRows(part, part.length / this.dimensions, { ...options }, 1));
    }
    return (await Promise.all(parts)).flat();
  }

  /** Rows that were deleted or replaced meanwhile are no results: the queries that met some are asked again. */
  private async searchRows(queries: Float32Array, n: number, options: SearchOptions, round: number): Promise<Hit[][]> {
    const { graph, dimensions } = this;
    const plan = this.plan(options);
    const room = Math.min(plan.k, graph.live);
    if (n === 0 || room === 0) return Array.from({ length: n }, () => []);
    const found = await graph.searchMany(
      queries,
      room,
      Math.max(plan.ef, room),
      plan.exact,
      plan.rerank,
      plan.bits,
      plan.count,
    );
    const again: number[] = [];
    const lists = Array.from({ length: n }, (_, i) => {
      const at = i * room;
      const nodes = found.nodes.subarray(at, at + found.counts[i]);
      const distances = found.distances.subarray(at, at + found.counts[i]);
      if (nodes.every((node) => graph.isLive(node))) return this.hits(nodes, distances, nodes.length, plan);
      again.push(i);
      const live = Array.from(nodes.keys()).filter((j) => graph.isLive(nodes[j]));
      const left = [Uint32Array.from(live, (j) => nodes[j]), Float32Array.from(live, (j) => distances[j])] as const;
      return this.hits(left[0], left[1], live.length, plan, undefined, round === MOST_ROUNDS);
    });
    if (again.length === 0 || round === MOST_ROUNDS) return lists;
    const asked = new Float32Array(again.length * dimensions);
    again.forEach((i, j) => {
      asked.set(queries.subarray(i * dimensions, (i + 1) * dimensions), j * dimensions);
    });
    const better = await this.searchRows(asked, again.length, options, round + 1);
    again.forEach((i, j) => {
      lists[i] = better[j];
    });
    return lists;
  }

  /** The score of a distance: the same order, larger is better. */
  scoreOf(distance: number): number {
    return this.metric === "cosine" ? 1 - distance : 0 - distance;
  }

  /** Nodes as callers see them. `scores` where they do not follow from the distances. */
  hits(
    nodes: Uint32Array,
    distances: Float32Array,
    found: number,
    plan: SearchPlan,
    scores?: ArrayLike<number>,
    returned = true,
  ): Hit[] {
    let count = found;
    if (plan.maxDistance !== Infinity) {
      const kept = Array.from({ length: found }, (_, i) => i).filter((i) => distances[i] <= plan.maxDistance);
      if (kept.length < found) {
        nodes = Uint32Array.from(kept, (i) => nodes[i]);
        distances = Float32Array.from(kept, (i) => distances[i]);
        scores = scores && kept.map((i) => scores![i]);
        count = kept.length;
      }
    }
    if (returned) this.tiering.access(nodes, count);
    const ids = this.ids(nodes, count);
    const payloads = plan.withPayload ? this.catalog.payloads(nodes, count) : undefined;
    const hits = new Array<Hit>(count);
    for (let i = 0; i < count; i++) {
      const distance = distances[i];
      const hit: Hit = { id: ids[i], score: scores ? scores[i] : this.scoreOf(distance), distance };
      if (payloads) hit.payload = payloads[i];
      if (plan.withVector) hit.vector = this.graph.vector(nodes[i]);
      hits[i] = hit;
    }
    return hits;
  }

  /** Ids of nodes; those too long for the graph's slots come from the catalog. */
  ids(nodes: Uint32Array, count: number): Id[] {
    const ids = this.graph.idsOf(nodes, count);
    for (let i = 0; i < count; i++) ids[i] ??= this.catalog.idOf(nodes[i]) ?? null;
    return ids as Id[];
  }
}
