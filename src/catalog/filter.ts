/**
 * Filters over payloads: parsed into conditions, compiled into predicates.
 *
 * `matcher` is the truth; SQL and the text screen below only exclude rows that cannot match. It compares
 * within one JSON type only ("10" is not >= 5, true is not 1). An array matches when one of its elements
 * does, each operator on its own; `$eq` and `$in` also compare whole values, arrays and objects by content.
 * `$ne` and `$nin` are the negations of `$eq` and `$in`, so that a missing field matches exactly `$ne`,
 * `$nin`, `$not` and `$exists: false`. null is a value: `{ a: null }` matches an existing null alone.
 * Dots reach into nested objects, not through arrays. Strings order by UTF-16 code units, as in JavaScript.
 */
import { nearest } from "../../base/errors.js";
import type { Filter, Json, Payload } from "../../base/types.js";

const FIELD_OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists"];
const GROUP_OPERATORS = ["$and", "$or", "$not"];
const ALL_OPERATORS = [...new Set([...FIELD_OPERATORS, ...GROUP_OPERATORS])];
const DEEPEST_LEVELS = 64;

export type Comparison = "gt" | "gte" | "lt" | "lte";

/** A parsed filter. `path` is the dotted field's steps. */
export type Condition =
  | { op: "and" | "or"; parts: Condition[] }
  | { op: "not"; part: Condition }
  | { op: "exists"; path: string[] }
  | { op: "eq"; path: string[]; value: Json }
  | { op: "in"; path: string[]; values: Json[] }
  | { op: Comparison; path: string[]; value: number | string };

/**
 * Parses and validates a filter.
 * @throws {TypeError} on an unknown operator (naming the nearest and all valid ones), an operand of a type
 *   the operator does not take, a field name with an empty step, or more than 64 levels
 */
export function parseFilter(filter: Filter): Condition {
  return parseGroup(filter, "filter", 0);
}

function parseGroup(filter: unknown, where: string, level: number): Condition {
  if (!isPlainObject(filter))
    throw new TypeError(`${where} is ${show(filter)}; expected an object such as { lang: "en" }`);
  if (level > DEEPEST_LEVELS) throw new TypeError(`${where}: nested more than ${DEEPEST_LEVELS} levels deep`);
  const parts: Condition[] = [];
  for (const [key, operand] of Object.entries(filter)) {
    const at = `${where}: ${key}`;
    if (key === "$and" || key === "$or") {
      if (!Array.isArray(operand) || operand.length === 0) {
        throw new TypeError(`${at} is ${show(operand)}; expected an array of at least one filter`);
      }
      const op = key === "$and" ? "and" : "or";
      parts.push(
        group(
          op,
          operand.map((part, i) => parseGroup(part, `${at}[${i}]`, level + 1)),
        ),
      );
    } else if (key === "$not") {
      parts.push({ op: "not", part: parseGroup(operand, at, level + 1) });
    } else if (key.startsWith("$")) {
      if (FIELD_OPERATORS.includes(key)) {
        throw new TypeError(`${at} stands beside fields; expected it inside one, such as { year: { ${key}: ... } }`);
      }
      throw unknownOperator(at, key);
    } else {
      const path = key.split(".");
      if (path.includes("")) {
        throw new TypeError(
          `${where}: field ${show(key)} has an empty step; expected names with a dot between each two`,
        );
      }
      parts.push(parseField(path, operand, at, level + 1));
    }
  }
  return group("and", parts);
}

function parseField(path: string[], operand: unknown, where: string, level: number): Condition {
  if (!isPlainObject(operand)) return { op: "eq", path, value: toJson(operand, where, level) };
  const entries = Object.entries(operand);
  if (entries.length === 0) throw new TypeError(`${where} is {}; expected operators, such as { $gte: 5 }`);
  return group(
    "and",
    entries.map(([key, value]) => parseOperator(path, key, value, `${where}: ${key}`, level)),
  );
}

function parseOperator(path: string[], key: string, operand: unknown, where: string, level: number): Condition {
  switch (key) {
    case "$eq":
      return { op: "eq", path, value: toJson(operand, where, level) };
    case "$ne":
      return { op: "not", part: { op: "eq", path, value: toJson(operand, where, level) } };
    case "$in":
    case "$nin": {
      if (!Array.isArray(operand)) throw new TypeError(`${where} is ${show(operand)}; expected an array of values`);
      const values = operand.map((value, i) => toJson(value, `${where}[${i}]`, level));
      const part: Condition = { op: "in", path, values };
      return key === "$in" ? part : { op: "not", part };
    }
    case "$gt":
    case "$gte":
    case "$lt":
    case "$lte":
      if (typeof operand !== "string" && !Number.isFinite(operand)) {
        throw new TypeError(`${where} is ${show(operand)}; expected a finite number or a string`);
      }
      return { op: key.slice(1) as Comparison, path, value: operand as number | string };
    case "$exists": {
      if (typeof operand !== "boolean") throw new TypeError(`${where} is ${show(operand)}; expected true or false`);
      const part: Condition = { op: "exists", path };
      return operand ? part : { op: "not", part };
    }
    case "$not":
      if (!isPlainObject(operand)) {
        throw new TypeError(`${where} is ${show(operand)}; expected operators, such as { $gte: 5 }, or use $ne`);
      }
      if (level > DEEPEST_LEVELS) throw new TypeError(`${where}: nested more than ${DEEPEST_LEVELS} levels deep`);
      return { op: "not", part: parseField(path, operand, where, level + 1) };
    default:
      if (GROUP_OPERATORS.includes(key)) {
        throw new TypeError(`${where} stands inside a field; expected it beside fields, such as { ${key}: [{ ... }] }`);
      }
      throw unknownOperator(where, key);
  }
}

function unknownOperator(where: string, key: string): TypeError {
  return new TypeError(
    `${where}: unknown operator "${key}"; did you mean "${nearest(key, ALL_OPERATORS)}"? ` +
      `Valid: ${ALL_OPERATORS.join(", ")}. A nested field is named with a dot, such as "author.name"`,
  );
}

/** A copy of an operand, object keys sorted, so that equal operands have equal text. */
function toJson(value: unknown, where: string, level: number): Json {
  if (level > DEEPEST_LEVELS) throw new TypeError(`${where}: nested more than ${DEEPEST_LEVELS} levels deep`);
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (Array.isArray(value)) return value.map((item, i) => toJson(item, `${where}[${i}]`, level + 1));
  if (isPlainObject(value)) {
    const keys = Object.keys(value).sort();
    return Object.fromEntries(keys.map((key) => [key, toJson(value[key], `${where}.${key}`, level + 1)]));
  }
  throw new TypeError(`${where} is ${show(value)}; expected a JSON value`);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function show(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** One part stands for itself, and groups of one kind melt together: fewer shapes for whoever reads conditions. */
function group(op: "and" | "or", parts: Condition[]): Condition {
  const flat = parts.flatMap((part) => (part.op === op ? part.parts : [part]));
  return flat.length === 1 ? flat[0] : { op, parts: flat };
}

/** A text that two filters share when they ask the same in another order. */
export function canonical(condition: Condition): string {
  switch (condition.op) {
    case "and":
    case "or":
      return `${condition.op}(${[...new Set(condition.parts.map(canonical))].sort().join(",")})`;
    case "not":
      return `not(${canonical(condition.part)})`;
    case "in": {
      const values = [...new Set(condition.values.map((value) => JSON.stringify(value)))].sort();
      return `in(${JSON.stringify(condition.path)},${values.join(",")})`;
    }
    case "exists":
      return `exists(${JSON.stringify(condition.path)})`;
    default:
      return `${condition.op}(${JSON.stringify(condition.path)},${JSON.stringify(condition.value)})`;
  }
}

export type Matcher = (payload: Payload | undefined) => boolean;

/** Compiles a condition into a predicate; a row without payload has no fields. */
export function matcher(condition: Condition): Matcher {
  switch (condition.op) {
    case "and": {
      const parts = condition.parts.map(matcher);
      return (payload) => parts.every((part) => part(payload));
    }
    case "or": {
      const parts = condition.parts.map(matcher);
      return (payload) => parts.some((part) => part(payload));
    }
    case "not": {
      const part = matcher(condition.part);
      return (payload) => !part(payload);
    }
    case "exists": {
      const read = reader(condition.path);
      return (payload) => read(payload) !== undefined;
    }
    case "in": {
      const among = membership(condition.values);
      return anyElement(condition.path, among, true);
    }
    case "eq":
      return anyElement(condition.path, membership([condition.value]), true);
    default:
      return anyElement(condition.path, comparison(condition.op, condition.value), false);
  }
}

/** The field's value or one element of it passes. `whole`: an array itself is put to the test too. */
function anyElement(path: string[], test: (value: Json) => boolean, whole: boolean): Matcher {
  const read = reader(path);
  return (payload) => {
    const value = read(payload);
    if (value === undefined) return false;
    if (!Array.isArray(value)) return test(value);
    return value.some(test) || (whole && test(value));
  };
}

/** Reads a dotted field; undefined where it is missing. Own properties only: a field may be named "constructor". */
function reader(path: string[]): (payload: Payload | undefined) => Json | undefined {
  const step = (from: Json | undefined, key: string): Json | undefined =>
    typeof from === "object" && from !== null && !Array.isArray(from) && Object.hasOwn(from, key)
      ? from[key]
      : undefined;
  const [first] = path;
  return path.length === 1
    ? (payload) => step(payload, first)
    : (payload) => path.reduce(step, payload as Json | undefined);
}

function membership(values: Json[]): (value: Json) => boolean {
  const isScalar = (value: Json) => typeof value !== "object" || value === null;
  const scalars = new Set<Json>(values.filter(isScalar));
  const rest = values.filter((value) => !isScalar(value));
  if (rest.length > 0) return (value) => scalars.has(value) || rest.some((other) => sameJson(value, other));
  if (values.length !== 1) return (value) => scalars.has(value);
  const [only] = values;
  return (value) => value === only;
}

function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => sameJson(item, b[i]));
  }
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

function comparison(op: Comparison, bound: number | string): (value: Json) => boolean {
  const type = typeof bound;
  switch (op) {
    case "gt":
      return (value) => typeof value === type && (value as typeof bound) > bound;
    case "gte":
      return (value) => typeof value === type && (value as typeof bound) >= bound;
    case "lt":
      return (value) => typeof value === type && (value as typeof bound) < bound;
    case "lte":
      return (value) => typeof value === type && (value as typeof bound) <= bound;
  }
}

/**
 * A test on a payload's text that is false only where the condition cannot match: it saves the parsing of
 * most rows under a selective filter. JSON.stringify writes equal scalars and keys as equal text, so that a row
 * that equals a value holds that text. Undefined where the condition excludes nothing.
 */
export function textScreen(condition: Condition): ((text: string) => boolean) | undefined {
  switch (condition.op) {
    case "and": {
      const parts = condition.parts.map(textScreen).filter((part) => part !== undefined);
      return parts.length === 0 ? undefined : (text) => parts.every((part) => part(text));
    }
    case "or": {
      const parts = condition.parts.map(textScreen);
      return parts.includes(undefined) ? undefined : (text) => parts.some((part) => part!(text));
    }
    case "eq":
      return holdsOneOf([condition.value]);
    case "in":
      return holdsOneOf(condition.values);
    case "not":
      return undefined;
    default: {
      const key = `${JSON.stringify(condition.path[condition.path.length - 1])}:`;
      return (text) => text.includes(key);
    }
  }
}

function holdsOneOf(values: Json[]): ((text: string) => boolean) | undefined {
  if (values.length > 8 || values.some((value) => typeof value === "object" && value !== null)) return undefined;
  const needles = values.map((value) => JSON.stringify(value));
  return (text) => needles.some((needle) => text.includes(needle));
}
