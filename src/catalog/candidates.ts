/**
 * SQL that narrows a condition to candidate rows by the declared indexes. A candidate need not match; a row that
 * matches must be a candidate. So bounds are widened where SQLite and JavaScript could differ: SQLite's parsing
 * of decimals may be off in the last bit, and it orders text by UTF-8 where JavaScript orders by UTF-16.
 */
import type { Json } from "../../base/types.js";
import type { Condition } from "./filter.js";
import { isArraySql, valueSql } from "./schema.js";

/** A query for nodes, and its parameters. */
export interface Candidates {
  sql: string;
  parameters: (string | number)[];
}

/** Rows that may match, or undefined where no declared index narrows the condition. */
export function candidates(condition: Condition, indexes: readonly string[]): Candidates | undefined {
  if (condition.op === "and") return narrowest(condition.parts, indexes);
  if (condition.op !== "or") return narrowest([condition], indexes);
  const parts = condition.parts.map((part) => candidates(part, indexes));
  if (parts.length === 0 || parts.length > 64 || parts.includes(undefined)) return undefined;
  return {
    sql: parts.map((part) => part!.sql).join(" UNION "),
    parameters: parts.flatMap((part) => part!.parameters),
  };
}

/** Of parts that must all hold, the field with an equality, else the one with most bounds, else an $or. */
function narrowest(parts: Condition[], indexes: readonly string[]): Candidates | undefined {
  let best: Candidates | undefined;
  let bestRank = 0;
  for (const field of indexes) {
    const terms = parts
      .map((part) => ("path" in part && part.path.join(".") === field ? term(part, valueSql(field)) : undefined))
      .filter((found) => found !== undefined);
    const rank = terms.reduce((sum, { exact }) => sum + (exact ? 100 : 1), 0);
    if (rank <= bestRank) continue;
    bestRank = rank;
    best = {
      // An array holds its elements out of the first index's sight: all arrays are candidates.
      sql:
        `SELECT node FROM entry INDEXED BY "field:${field}" WHERE ${terms.map(({ sql }) => sql).join(" AND ")}` +
        ` UNION SELECT node FROM entry INDEXED BY "array:${field}" WHERE ${isArraySql(field)}`,
      parameters: terms.flatMap(({ parameters }) => parameters),
    };
  }
  if (best !== undefined) return best;
  for (const part of parts) {
    if (part.op === "or") return candidates(part, indexes);
  }
  return undefined;
}

interface Term extends Candidates {
  exact: boolean;
}

/** One operator on one indexed field's value, where that is no array. */
function term(condition: Condition, value: string): Term | undefined {
  switch (condition.op) {
    case "eq":
      // Both sides are decoded by the same code from the same text, so that equal stays equal.
      if (!isIndexed(condition.value)) return undefined;
      return { sql: `${value} = json_extract(?, '$')`, parameters: [JSON.stringify(condition.value)], exact: true };
    case "in":
      if (!condition.values.every(isIndexed)) return undefined;
      return {
        sql: `${value} IN (SELECT value FROM json_each(?))`,
        parameters: [JSON.stringify(condition.values)],
        exact: true,
      };
    case "gt":
    case "gte":
      return bounded(condition.value, value, ">=", "<");
    case "lt":
    case "lte":
      return bounded(condition.value, value, "<=", ">");
    default:
      return undefined;
  }
}

/** null shares SQL's NULL with missing fields, and arrays and objects are text there. */
const isIndexed = (value: Json): boolean => typeof value !== "object";

/** SQLite's order of types is NULL, numbers, text; booleans are numbers. */
function bounded(bound: number | string, value: string, operator: ">=" | "<=", other: "<" | ">"): Term | undefined {
  if (typeof bound === "number") {
    const slack = Math.abs(bound) * 1e-12 + 1e-300;
    const wide = operator === ">=" ? bound - slack : bound + slack;
    const end = operator === ">=" ? `${value} < ''` : `${value} > -9e999`;
    return Number.isFinite(wide)
      ? { sql: `${value} ${operator} ? AND ${end}`, parameters: [wide], exact: false }
      : undefined;
  }
  // UTF-8 and UTF-16 order alike against a bound without surrogates and later characters.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: NUL ends text for some of SQLite's functions
  if (/[\u0000\ud800-\uffff]/.test(bound)) return undefined;
  const end = other === "<" ? "" : ` AND ${value} >= ''`;
  return { sql: `${value} ${operator} ?${end}`, parameters: [bound], exact: false };
}
