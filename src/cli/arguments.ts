/** Readers of command-line values; what cannot be read is a usage error that names option and value. */
import { InvalidArgumentError } from "commander";
import type { Filter, Id } from "../index.js";

export function integerOf(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value)) throw new InvalidArgumentError("expected an integer");
  return value;
}

export function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("expected a number");
  return value;
}

/** JSON of an object: a filter. */
export function filterOf(text: string): Filter {
  const value = jsonOf(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`expected a JSON object such as '{"lang":"en"}'`);
  }
  return value as Filter;
}

/** JSON of an array of numbers: a vector. */
export function vectorOf(text: string): Float32Array {
  const value = jsonOf(text);
  if (!Array.isArray(value) || !value.every((x) => typeof x === "number")) {
    throw new InvalidArgumentError("expected a JSON array of numbers such as '[0.1,0.2]'");
  }
  return Float32Array.from(value as number[]);
}

/**
 * An id as it is typed: digits alone are an integer id, anything else a string, and a string in JSON
 * quotes always a string ('"42"').
 */
export function idOf(text: string): Id {
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  if (/^".*"$/s.test(text)) {
    const value = jsonOf(text);
    if (typeof value === "string") return value;
  }
  return text;
}

/** For an option with an id that may be given more than once. */
export function idsOf(text: string, before: Id[] | undefined): Id[] {
  return [...(before ?? []), idOf(text)];
}

/** For an option with a number that may be given more than once. */
export function weightsOf(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), numberOf(text)];
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`not JSON: ${(error as Error).message}`);
  }
}
