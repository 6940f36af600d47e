/** What callers give, checked before anything changes. Messages name the thing, the value and what was expected. */
import { checkInteger, reasonOf } from "../../base/errors.js";
import type { Id, Payload } from "../../base/types.js";
import { dot, firstNonFinite } from "../../native/index.js";

const MAX_ID_BYTES = 512;
const MAX_PAYLOAD_BYTES = 16 << 20;
/**
 * Of a vector's squared length: the distance of two such vectors is at most 4 times as much, which a float32 can hold.
 */
const MAX_SQUARE = 1e36;

/** A value as an error message shows it. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value instanceof Promise) return "a promise (await it first)";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** @throws {TypeError} unless a path; `name` is what the message calls it */
export function checkPath(name: string, path: unknown): void {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return;
  throw new TypeError(`${name} is ${show(path)}; expected a path, not empty and without NUL`);
}

/** @throws {TypeError} unless a string of 1-512 bytes of UTF-8 or a safe integer */
export function checkId(id: unknown): Id {
  if (typeof id === "number") {
    if (Number.isSafeInteger(id)) return Object.is(id, -0) ? 0 : id;
    throw new TypeError(`id is ${id}; expected a safe integer or a string of 1-${MAX_ID_BYTES} bytes`);
  }
  if (typeof id !== "string") {
    throw new TypeError(`id is ${show(id)}; expected a safe integer or a string of 1-${MAX_ID_BYTES} bytes`);
  }
  const bytes = Buffer.byteLength(id);
  if (bytes === 0 || bytes > MAX_ID_BYTES) {
    throw new RangeError(`id ${show(id)} has ${bytes} bytes of UTF-8; expected 1-${MAX_ID_BYTES}`);
  }
  if (!id.isWellFormed()) throw new TypeError(`id ${show(id)} has half a surrogate pair; expected well-formed text`);
  return id;
}

/** Each of an array; a hole in it is no id. */
export const checkIds = (ids: readonly unknown[]): Id[] => Array.from(ids, checkId);

/** `42` and `"42"` are different ids; as keys of one Map they would be too, but not inside one object. */
export const idKey = (id: Id): string => (typeof id === "number" ? `n${id}` : `s${id}`);

/**
 * One vector: `dimensions` finite values; a number array is converted. Under cosine, or as a
 * direction, a zero vector has no angle and is refused. `textGoes` says how a text is given instead.
 */
export function checkVector(
  what: string,
  vector: unknown,
  dimensions: number,
  cosine: boolean,
  textGoes?: string,
): Float32Array {
  const values = vector instanceof Float32Array ? vector : isNumbers(vector) ? Float32Array.from(vector) : undefined;
  if (!values) {
    const hint = typeof vector === "string" && textGoes ? `. ${textGoes}` : "";
    throw new TypeError(
      `${what} is ${show(vector)}; expected a Float32Array (or array) of ${dimensions} numbers${hint}`,
    );
  }
  if (values.length !== dimensions) {
    throw new RangeError(`${what} has ${values.length} values; expected ${dimensions}, the index's dimensions`);
  }
  checkValues(what, values, dimensions, cosine);
  return values;
}

function isNumbers(value: unknown): value is number[] {
  return (Array.isArray(value) && value.every((x) => typeof x === "number")) || value instanceof Float64Array;
}

/** Rows of `dimensions` finite values each; `name(row)` is what errors call a row. */
export function checkValues(
  what: string,
  values: Float32Array,
  dimensions: number,
  cosine: boolean,
  name?: (row: number) => string,
): void {
  const at = firstNonFinite(values);
  if (at >= 0) {
    const row = Math.floor(at / dimensions);
    throw new RangeError(
      `${name?.(row) ?? what} holds ${values[at]} at position ${at % dimensions}; expected finite numbers`,
    );
  }
  for (let row = 0; row * dimensions < values.length; row++) {
    const v = values.length === dimensions ? values : values.subarray(row * dimensions, (row + 1) * dimensions);
    const square = dot(v, v);
    if (cosine && !(square >= 1e-30 && square <= 1e30)) {
      throw new RangeError(
        `${name?.(row) ?? what} has length ${Math.sqrt(square)}; expected between 1e-15 and 1e15 under cosine, where a direction is needed`,
      );
    }
    if (!(square <= MAX_SQUARE)) {
      throw new RangeError(
        `${name?.(row) ?? what} is longer than ${Math.sqrt(MAX_SQUARE)}, so that distances would overflow; expected smaller values`,
      );
    }
  }
}

/** Many queries or vectors: a Float32Array of whole rows. */
export function checkRows(what: string, values: unknown, dimensions: number): Float32Array {
  if (!(values instanceof Float32Array)) {
    throw new TypeError(`${what} is ${show(values)}; expected a Float32Array of n x ${dimensions} values`);
  }
  if (values.length % dimensions !== 0) {
    throw new RangeError(
      `${what} has ${values.length} values; expected a multiple of ${dimensions}, the index's dimensions`,
    );
  }
  return values;
}

/** A payload as it is kept: JSON text, or undefined for none. */
export function payloadText(id: Id, payload: unknown): string | undefined {
  if (payload === undefined || payload === null) return undefined;
  if (typeof payload !== "object" || Array.isArray(payload) || ArrayBuffer.isView(payload)) {
    throw new TypeError(`payload of id ${show(id)} is ${show(payload)}; expected a plain object that JSON can hold`);
  }
  let text: string | undefined;
  try {
    text = JSON.stringify(payload);
  } catch (cause) {
    const reason = reasonOf(cause);
    throw new TypeError(
      `payload of id ${show(id)} cannot be written as JSON: ${reason}; expected an object without cycles or bigints`,
      { cause },
    );
  }
  // What JSON sees nothing of, such as a Map or a Promise, would be lost without a word.
  const isLost = text === "{}" && ![Object.prototype, null].includes(Object.getPrototypeOf(payload));
  if (isLost || text === undefined || !text.startsWith("{")) {
    const given = payload instanceof Promise ? "is a promise (await it first)" : `becomes ${show(text)} as JSON`;
    throw new TypeError(`payload of id ${show(id)} ${given}; expected an object that JSON can hold`);
  }
  if (Buffer.byteLength(text) > MAX_PAYLOAD_BYTES) {
    throw new RangeError(
      `payload of id ${show(id)} has ${Buffer.byteLength(text)} bytes as JSON; expected at most ${MAX_PAYLOAD_BYTES}`,
    );
  }
  return text;
}

/** The object that a payload's text holds. */
export const parsePayload = (text: string | undefined): Payload | undefined =>
  text === undefined ? undefined : (JSON.parse(text) as Payload);

/** Results of one search, at most. */
export const MAX_K = 1_000_000;

/** How many results; default 10. */
export function checkK(k: unknown): number {
  if (k === undefined) return 10;
  if (typeof k === "number" && k > MAX_K) {
    throw new RangeError(
      `k is ${k}; expected an integer from 1 to ${MAX_K}. For all rows of an index, go through entries()`,
    );
  }
  return checkInteger("k", k, 1, MAX_K);
}

/** Candidates kept while searching, raised to k. */
export function checkEf(ef: unknown, k: number, standard: number): number {
  return Math.max(k, ef === undefined ? standard : checkInteger("ef", ef, 1, MAX_K));
}
