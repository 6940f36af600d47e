/** Symbolic expressions that callers give, checked and copied before anything changes. */
import type { Expression } from "../../model/expression.js";
import { isVariable } from "../../model/patterns.js";
import { show } from "./validate.js";

const MOST_LEVELS = 32;
const MOST_ELEMENTS = 64;
const MOST_TERMS = 1024;

/**
 * @throws {TypeError | RangeError} unless a string, a finite number, a boolean, or a list of 1-64 expressions; at most
 *   32 levels of lists and 1,024 atoms and lists in all. A string such as "?1" names a variable of patterns
 */
export function readExpression(given: unknown): Expression {
  let terms = 0;
  const read = (value: unknown, where: string, levels: number): Expression => {
    terms++;
    if (terms > MOST_TERMS) {
      throw new RangeError(`expression has more than ${MOST_TERMS} atoms and lists; expected a smaller one`);
    }
    if (Array.isArray(value)) {
      if (levels === MOST_LEVELS) {
        throw new RangeError(`expression has more than ${MOST_LEVELS} levels of lists; expected a flatter one`);
      }
      if (value.length === 0 || value.length > MOST_ELEMENTS) {
        throw new RangeError(
          `${where} is a list of ${value.length}; expected 1-${MOST_ELEMENTS} elements, the first of them its head`,
        );
      }
      return Array.from(value, (part, i) => read(part, `${where}[${i}]`, levels + 1));
    }
    if (typeof value === "boolean") return value;
    if (typeof value === "number") {
      if (!Number.isFinite(value)) throw new RangeError(`${where} is ${value}; expected a finite number`);
      return value + 0; // JSON has no -0
    }
    if (typeof value !== "string") {
      throw new TypeError(
        `${where} is ${show(value)}; expected a string, a number, true or false, or a list of expressions such as ["is", "ann", "tall"]`,
      );
    }
    if (!value.isWellFormed()) {
      throw new TypeError(`${where} ${show(value)} has half a surrogate pair; expected well-formed text`);
    }
    if (isVariable(value)) {
      throw new RangeError(`${where} is ${show(value)}, a variable of patterns; expected another name`);
    }
    return value;
  };
  return read(given, "expression", 0);
}
