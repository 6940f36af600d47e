/**
 * Between symbols and vectors: expressions are grounded in what the index holds, vectors lifted to patterns of
 * expressions.
 */
import { checkInteger, checkOptions } from "../../base/errors.js";
import type { Filter, Id, Payload } from "../../base/types.js";
import type { Expression } from "../../model/expression.js";
import { MOST_LISTS, minePatterns } from "../../model/patterns.js";
import { axpy, normalize } from "../../model/scoring.js";
import { SymbolEncoder } from "../../model/symbol-encoder.js";
import type { Grounded, Hit, LiftedPattern, LiftOptions } from "../types.js";
import { readExpression } from "./expression-input.js";
import { likeness } from "./likeness.js";
import { rowsOfEntries } from "./put-input.js";
import type { Querier } from "./querying.js";
import type { Session } from "./session.js";
import { checkId, checkVector, parsePayload, payloadText, show } from "./validate.js";

/** As in the specification. */
const CONCEPTS = 5;
const DEFAULT_BEAM = 10;
/** "symb". One for all stores: the same dimensions, the same vectors. */
const SEED = 0x73796d62;
const HAS_EXPRESSION: Filter = { expression: { $exists: true } };

/** `index.symbols`. The mathematics are in docs/concepts/bridges.md. */
export class Symbols {
  readonly #session: Session;
  readonly #querier: Querier;
  readonly #encoder: SymbolEncoder;

  /** Made by `open`. */
  constructor(session: Session, querier: Querier) {
    this.#session = session;
    this.#querier = querier;
    this.#encoder = new SymbolEncoder(session.dimensions, SEED);
  }

  /**
   * Puts an expression by the vector of its structure; it becomes `expression` of the payload. Expressions in payloads
   * of rows with other vectors are lifted too.
   * @throws {TypeError | RangeError} on a bad id, expression or payload; nothing has changed then
   * @throws {HebbError} what `put` fails with
   */
  async put(id: Id, expression: Expression, payload?: Payload): Promise<void> {
    const session = this.#session;
    session.checkWritable();
    const checked = checkId(id);
    const read = readExpression(expression);
    const given: Payload = parsePayload(payloadText(checked, payload)) ?? {};
    if (given.expression !== undefined) {
      throw new TypeError(
        `payload of id ${show(checked)} has an expression of its own; expected none, as the one given is kept there`,
      );
    }
    const { rows } = rowsOfEntries(
      [{ id: checked, vector: this.#encoder.encode(read), payload: { ...given, expression: read } }],
      { dimensions: session.dimensions, cosine: session.metric === "cosine" },
    );
    await session.put(rows);
  }

  /**
   * The vector of an expression, moved half-way to the 5 rows that a neural query finds by it: the mean of their
   * directions, each weighed by its cosine with the expression where that is positive. Without any such row it is that
   * of the structure.
   * @throws {TypeError | RangeError} on a bad expression
   */
  async ground(expression: Expression): Promise<Grounded> {
    const session = this.#session;
    session.checkOpen();
    const structural = this.#encoder.encode(readExpression(expression));
    const { hits } = await session.inFlight(() =>
      this.#querier.query({ vector: structural, mode: "neural", k: CONCEPTS, include: ["vector"] }),
    );
    return {
      vector: blend(structural, hits),
      structural,
      retrieved: hits.map(({ id, score }) => ({ id, score })),
    };
  }

  /**
   * What the expressions around a vector have in common, best first: those expressions themselves, and patterns of two
   * of them at least.
   * @param options `beamWidth`: expressions to look at, 1-128, default 10
   * @throws {TypeError | RangeError} on a bad vector or option
   */
  async lift(vector: Float32Array | number[], options: LiftOptions = {}): Promise<LiftedPattern[]> {
    const session = this.#session;
    session.checkOpen();
    checkOptions("lift", options, ["beamWidth"]);
    const k = checkInteger("beamWidth", options.beamWidth ?? DEFAULT_BEAM, 1, MOST_LISTS);
    const asked = checkVector("vector", vector, session.dimensions, session.metric === "cosine").slice();
    const { hits } = await session.inFlight(() =>
      this.#querier.query({
        vector: asked,
        mode: "subgraph",
        k,
        filter: HAS_EXPRESSION,
        include: ["payload", "vector"],
      }),
    );
    const found = hits.flatMap((hit) => {
      const expression = expressionOf(hit.payload);
      return expression === undefined ? [] : [{ id: hit.id, expression, weight: likeness(asked, hit.vector!) }];
    });
    return minePatterns(found).map(({ pattern, from, score }) => ({
      pattern,
      support: from.length,
      score,
      from: from.map((i) => found[i].id),
    }));
  }
}

/** normalize(s / 2 + r / 2), r the mean of the rows' directions by their likeness to s. */
function blend(structural: Float32Array, hits: readonly Hit[]): Float32Array {
  const sum = new Float64Array(structural.length);
  const weights = hits.map(({ vector }) => likeness(structural, vector!));
  const total = weights.reduce((a, b) => a + b, 0);
  if (total === 0) return structural.slice();
  hits.forEach(({ vector }, i) => {
    const direction = Float64Array.from(vector!);
    normalize(direction);
    axpy((0.5 * weights[i]) / total, direction, sum);
  });
  axpy(0.5, structural, sum);
  normalize(sum);
  return Float32Array.from(sum);
}

/** The expression that a payload holds, if it is one: payloads are the caller's. */
function expressionOf(payload: Payload | undefined): Expression | undefined {
  try {
    return readExpression(payload?.expression);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    throw error;
  }
}
