/** What `learn` is given, checked and copied before anything is looked up. */
import { checkOptions } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import type { StoredFeedback } from "../catalog/feedback-rows.js";
import type { Feedback, QueryInput } from "../types.js";
import { checkId, checkIds, idKey, show } from "./validate.js";

const EVENT_FIELDS = ["query", "chosen", "shown", "rejected", "source", "time"];
const MAX_SOURCE_BYTES = 512;
/** Milliseconds since 1970 that a Date can hold. */
const MAX_TIME = 8.64e15;

/** An event as it was given, checked and copied: its caller may go on changing theirs. */
export interface GivenFeedback {
  what: string;
  input: QueryInput;
  /** Complete but for the query. */
  stored: StoredFeedback;
}

/**
 * One event.
 * @param what what errors call it
 * @throws {TypeError | RangeError} on an unknown field, or one that is not as `Feedback` says
 */
export function readFeedback(what: string, given: Feedback): GivenFeedback {
  if (typeof given !== "object" || given === null)
    throw new TypeError(`${what} is ${show(given)}; expected { query, chosen }`);
  checkOptions(what, given, EVENT_FIELDS);
  const { query, source } = given;
  const isVector = ArrayBuffer.isView(query) || Array.isArray(query);
  if (typeof query !== "object" || query === null) {
    throw new TypeError(
      `query of ${what} is ${show(query)}; expected a vector, { text }, { id } or { positive, negative, weights }`,
    );
  }
  if (!isVector) checkOptions(`query of ${what}`, query, ["text", "id", "positive", "negative", "weights"]);
  const input = copyOf(isVector ? { vector: query as Float32Array } : (query as QueryInput));
  const chosen = readChosen(what, given.chosen);
  const shown = readIds(`shown of ${what}`, given.shown ?? []);
  const rejected = readIds(`rejected of ${what}`, given.rejected ?? []);
  if (shown.length > 0) {
    const there = new Set(shown.map(idKey));
    const missing = chosen.find(({ id }) => !there.has(idKey(id)));
    if (missing)
      throw new RangeError(
        `id ${show(missing.id)} of ${what} was chosen and is not among shown; expected what was chosen to have been shown`,
      );
  }
  if (source !== undefined && (typeof source !== "string" || Buffer.byteLength(source) > MAX_SOURCE_BYTES)) {
    throw new TypeError(`source of ${what} is ${show(source)}; expected a string of at most ${MAX_SOURCE_BYTES} bytes`);
  }
  const time = given.time ?? Date.now();
  if (typeof time !== "number" || !(time >= 0 && time <= MAX_TIME)) {
    throw new RangeError(`time of ${what} is ${show(time)}; expected milliseconds since 1970`);
  }
  const stored: StoredFeedback = { query: new Float32Array(0), chosen, shown, rejected, time };
  if (source !== undefined) stored.source = source;
  const { positive, examples } = examplesOf({ what, input });
  if (examples.length > 0) {
    stored.examples = examples;
    stored.weights = Array.from({ length: positive }, (_, i) => input.weights?.[i] ?? 1);
  }
  return { what, input, stored };
}

function readChosen(what: string, chosen: Feedback["chosen"]): { id: Id; grade: number }[] {
  if (!Array.isArray(chosen) || chosen.length === 0) {
    throw new TypeError(`chosen of ${what} is ${show(chosen)}; expected an array of at least one id, or { id, grade }`);
  }
  return Array.from(chosen, (one) => {
    const graded = typeof one === "object" && one !== null;
    if (graded) checkOptions(`chosen of ${what}`, one, ["id", "grade"]);
    const grade = graded ? one.grade : 1;
    if (typeof grade !== "number" || !(grade > 0 && grade < Infinity)) {
      throw new RangeError(
        `grade of ${show(graded ? one.id : one)} in ${what} is ${show(grade)}; expected a number > 0`,
      );
    }
    return { id: checkId(graded ? one.id : one), grade };
  });
}

function readIds(what: string, ids: Id[]): Id[] {
  if (!Array.isArray(ids)) throw new TypeError(`${what} is ${show(ids)}; expected an array of ids`);
  return checkIds(ids);
}

/**
 * The ids that a query asks with, and how many of them, the first, it is to be like. A weight that is none is left for
 * the query's own checks.
 */
function examplesOf({ what, input }: Pick<GivenFeedback, "what" | "input">): { examples: Id[]; positive: number } {
  if (input.id !== undefined) return { examples: [checkId(input.id)], positive: 1 };
  const positive = readIds(`positive of query of ${what}`, input.positive ?? []);
  const negative = readIds(`negative of query of ${what}`, input.negative ?? []);
  return { examples: [...positive, ...negative], positive: positive.length };
}

/** What is no array or vector is left for the query's own checks. */
function copyOf(input: QueryInput): QueryInput {
  const copies = Object.entries(input).map(([name, value]) => [
    name,
    Array.isArray(value) || value instanceof Float32Array || value instanceof Float64Array ? value.slice() : value,
  ]);
  return Object.fromEntries(copies) as QueryInput;
}
