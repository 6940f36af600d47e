/**
 * Thoughts: texts that are linked to what they are related to when they are stored, and asked for with their context.
 */
import { randomUUID } from "node:crypto";
import { checkInteger, checkOptions, HebbError } from "../../base/errors.js";
import type { Filter, Id, Payload } from "../../base/types.js";
import { FIELD } from "../../training/state.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { ContextOptions, Hit, StoredThought, ThoughtContext, ThoughtInput } from "../types.js";
import { likeness } from "./likeness.js";
import { rowsOfEntries } from "./put-input.js";
import type { Querier } from "./querying.js";
import type { SearchPlan } from "./searching.js";
import type { Session } from "./session.js";
import type { TextWriter } from "./text-writer.js";
import type { Trainer } from "./trainer.js";
import { checkId, checkK, parsePayload, payloadText, show } from "./validate.js";

/** As in the specification. */
const RELATED = 10;
const CONTEXT = 20;
const DEFAULT_DEPTH = 1;
const MOST_DEPTH = 8;
/** Rows with a text: every string is at least the empty one. */
const HAS_TEXT: Filter = { text: { $gte: "" } };

interface Related {
  id: Id;
  score: number;
  strength: number;
}

/** `index.thoughts`. A thought is a row with a text as `text` in its payload, however it was put. */
export class Thoughts {
  readonly #session: Session;
  readonly #texts: TextWriter;
  readonly #querier: Querier;
  readonly #trainer: Trainer;

  /** Made by `open`. */
  constructor(session: Session, texts: TextWriter, querier: Querier, trainer: Trainer) {
    this.#session = session;
    this.#texts = texts;
    this.#querier = querier;
    this.#trainer = trainer;
  }

  /**
   * Encodes a text, puts it, and links it to the related thoughts among the 10 that a neural query finds: by learned
   * edges, both ways, with each whose vector has a positive cosine with its own, of that strength. The row is durable
   * first, then its links are.
   * @returns its id, and what it was linked to, nearest first
   * @throws {TypeError | RangeError} on a bad content, id or payload; nothing has changed then
   * @throws {HebbError} NO_ENCODER, ENCODER_FAILED, and what `put` fails with
   */
  async store(thought: ThoughtInput): Promise<StoredThought> {
    const session = this.#session;
    session.checkWritable();
    checkOptions("thought", thought, ["content", "payload", "id"]);
    const content = checkText("content", thought.content);
    const id = thought.id === undefined ? randomUUID() : checkId(thought.id);
    const payload: Payload = parsePayload(payloadText(id, thought.payload)) ?? {};
    if (payload.text !== undefined && payload.text !== content) {
      throw new TypeError(
        `payload of id ${show(id)} has text ${show(payload.text)}; expected none, as the content is kept there`,
      );
    }
    const { rows, texts } = rowsOfEntries([{ id, text: content, payload: { ...payload, text: content } }], {
      dimensions: session.dimensions,
      cosine: session.metric === "cosine",
    });
    return session.inFlight(async () => {
      await this.#texts.put(rows, texts);
      const { hits } = await this.#querier.query({
        id,
        mode: "neural",
        k: RELATED,
        filter: HAS_TEXT,
        include: ["payload", "vector"],
      });
      const node = session.nodeOf(id);
      if (node === undefined) return { id, related: [] }; // deleted meanwhile
      const vector = session.graph.vector(node);
      const related = hits
        .filter(isThought)
        .map(({ id, score, vector: other }) => ({ id, score, strength: likeness(vector, other!) }))
        .filter(({ strength }) => strength > 0);
      return { id, related: await this.#link(id, related) };
    });
  }

  /** Links a thought to others, those that were deleted meanwhile left out; returns to which. */
  async #link(id: Id, related: Related[]): Promise<StoredThought["related"]> {
    const session = this.#session;
    const isThere = (id: Id) => session.nodeOf(id) !== undefined;
    const there = isThere(id) ? related.filter((other) => isThere(other.id)) : [];
    if (there.length === 0) return [];
    try {
      await this.#trainer.connect(
        id,
        there.map(({ id, strength }) => ({ id, strength })),
      );
    } catch (error) {
      if (error instanceof HebbError && error.code === "UNKNOWN_ID") return this.#link(id, there);
      throw error;
    }
    return there.map(({ id, score }) => ({ id, score }));
  }

  /**
   * The thoughts nearest to a text, nearest first; then what learned edges lead to from them within `depth` hops, of
   * each hop the strongest first, as many again at most; and the edges among all of these, the graph's too.
   * @throws {TypeError | RangeError} on a bad query or option
   * @throws {HebbError} NO_ENCODER, ENCODER_FAILED
   */
  async context(query: string, options: ContextOptions = {}): Promise<ThoughtContext> {
    const session = this.#session;
    session.checkOpen();
    checkOptions("context", options, ["depth", "k", "filter"]);
    const text = checkText("query", query);
    const k = checkK(options.k ?? CONTEXT);
    const depth = checkInteger("depth", options.depth ?? DEFAULT_DEPTH, 0, MOST_DEPTH);
    const filter = options.filter === undefined ? HAS_TEXT : { $and: [HAS_TEXT, options.filter] };
    return session.inFlight(async () => {
      const { searcher, graph } = session;
      const { vector } = await this.#querier.resolveInFit("query", { text });
      const plan = searcher.plan({ k, filter });
      const near = searcher.nearest(vector, plan).nodes;
      const nodes = Uint32Array.of(...near, ...this.#linked(near, depth, plan));
      const hits = searcher.hits(nodes, graph.distances(vector, nodes), nodes.length, plan);
      const found = hits.filter(isThought);
      const { edges } = this.#querier.edgesAmong(nodes);
      const ids = new Set(found.map(({ id }) => id));
      return {
        thoughts: found.map(({ id, payload, score }) => ({ id, content: payload.text, payload, score })),
        edges: edges.filter(({ from, to }) => ids.has(from) && ids.has(to)),
      };
    });
  }

  /** What learned edges lead to within some hops, k at most. */
  #linked(from: Uint32Array, depth: number, { bits, k }: SearchPlan): number[] {
    const { graph, learned } = this.#session;
    const { edges, header } = learned.state;
    const seen = new Set(from);
    const found: number[] = [];
    let front = [...from];
    for (let hop = 0; hop < depth && front.length > 0 && found.length < k; hop++) {
      const strongest = new Map<number, number>();
      for (const node of front) {
        for (const { to, strength } of edges.from(node, header[FIELD.clock])) {
          if (seen.has(to) || !graph.isLive(to) || (bits && !hasBit(bits, to))) continue;
          strongest.set(to, Math.max(strength, strongest.get(to) ?? 0));
        }
      }
      front = [...strongest].sort(([a, x], [b, y]) => y - x || a - b).map(([node]) => node);
      for (const node of front) seen.add(node);
      found.push(...front);
    }
    return found.slice(0, k);
  }
}

/** An array of texts passes the filter, and is none. */
const isThought = (hit: Hit): hit is Hit & { payload: { text: string } } => typeof hit.payload?.text === "string";

function checkText(name: string, text: unknown): string {
  if (typeof text !== "string") throw new TypeError(`${name} is ${show(text)}; expected a text`);
  if (text === "") throw new RangeError(`${name} is ""; expected a text of at least one character`);
  return text;
}
