/**
 * What several expressions have in common: subterms that recur, and least general generalizations.
 *
 * A pattern is a list with variables "?1", "?2", ... in place of what differs. The least general generalization of two
 * terms (Plotkin 1970; Reynolds 1970) keeps what is equal and puts one variable for each different pair, the same one
 * wherever that pair stands: of (likes ann ann) and (likes bob bob), (likes ?1 ?1). An expression has a pattern
 * where one of its lists is an instance of it.
 */
import { type Expression, termsOf, textOf } from "./expression.js";

/** Lists that are compared in pairs, at most: the outer ones of all expressions first. */
export const MOST_LISTS = 128;
const VARIABLE = /^\?[1-9][0-9]*$/;

export interface Example {
  expression: Expression;
  /** >= 0 */
  weight: number;
}

export interface Pattern {
  pattern: Expression;
  /** The examples that have it, by their number, ascending. */
  from: number[];
  /** The mean weight of those. */
  score: number;
}

export const isVariable = (term: Expression): term is string => typeof term === "string" && VARIABLE.test(term);

/** The same for equal terms, and cheap for atoms. */
type Key = string | number | boolean;
const keyOf = (term: Expression): Key =>
  Array.isArray(term) ? textOf(term) : typeof term === "string" ? `"${term}` : term;

/** The least general generalization of two expressions without variables. */
export function generalize(a: Expression, b: Expression): Expression {
  const variables = new Map<Key, Map<Key, string>>();
  let count = 0;
  const walk = (x: Expression, y: Expression): Expression => {
    if (Array.isArray(x) && Array.isArray(y) && x.length === y.length) return x.map((part, i) => walk(part, y[i]));
    if (x === y) return x;
    const [left, right] = [keyOf(x), keyOf(y)];
    const partners = variables.get(left) ?? new Map<Key, string>();
    variables.set(left, partners);
    const variable = partners.get(right) ?? `?${++count}`;
    partners.set(right, variable);
    return variable;
  };
  return walk(a, b);
}

/** Whether `term` is `pattern` with one term for each of its variables. Variables of `term` stand for themselves. */
export function isInstance(term: Expression, pattern: Expression): boolean {
  const bound = new Map<string, Key>();
  const walk = (t: Expression, p: Expression): boolean => {
    if (isVariable(p)) {
      const key = keyOf(t);
      const held = bound.get(p) ?? key;
      bound.set(p, key);
      return held === key;
    }
    if (!Array.isArray(p)) return t === p;
    return Array.isArray(t) && t.length === p.length && p.every((part, i) => walk(t[i], part));
  };
  return walk(term, pattern);
}

/**
 * Patterns of which each is a whole example, or in two at least. Left out are those without any constant, and those
 * that say less than another one of the same examples (closed patterns: Pasquier et al. 1999, of trees Chi et al.
 * 2004). In the order of support x score, `from.length * score`; then the more specific ones first.
 */
export function minePatterns(examples: readonly Example[]): Pattern[] {
  const lists = listsOf(examples);
  const patterns = new Map<string, Expression>();
  const add = (pattern: Expression) => patterns.set(textOf(pattern), pattern);
  for (const { term } of lists) add(term);
  for (const [i, { term: a }] of lists.entries()) {
    for (const { term: b } of lists.slice(0, i)) {
      if (a.length === b.length) add(generalize(a, b));
    }
  }
  for (const { expression } of examples) add(expression);
  const whole = new Set(examples.map(({ expression }) => textOf(expression)));
  const groups = new Map<string, Sized[]>();
  for (const [text, pattern] of patterns) {
    const from = examplesWith(pattern, lists, examples);
    const found = sized(text, pattern, from);
    if (found.constants === 0 || !(whole.has(text) || from.length >= 2)) continue;
    const group = groups.get(from.join());
    if (group) group.push(found);
    else groups.set(from.join(), [found]);
  }
  const closed = [...groups.values()].flatMap((group) => {
    const kept: Sized[] = [];
    for (const found of group.sort(bySpecificity)) {
      const saysMore = ({ terms }: Sized) => terms.some((term) => isInstance(term, found.pattern));
      if (!kept.some(saysMore)) kept.push(found);
    }
    return kept;
  });
  const scored = closed.map((found) => {
    const total = found.from.reduce((sum, i) => sum + examples[i].weight, 0);
    return { found, total, score: total / found.from.length };
  });
  scored.sort((a, b) => b.total - a.total || bySpecificity(a.found, b.found));
  return scored.map(({ found: { pattern, from }, score }) => ({ pattern, from, score }));
}

/** A list, and the examples it is in. */
interface Placed {
  term: Expression[];
  in: Set<number>;
}

/** Different lists of all examples, outer ones first. */
function listsOf(examples: readonly Example[]): Placed[] {
  const found = new Map<string, Placed>();
  let level = examples.map(({ expression }, example) => ({ term: expression, example }));
  while (level.length > 0) {
    for (const { term, example } of level) {
      if (!Array.isArray(term)) continue;
      const text = textOf(term);
      const placed = found.get(text) ?? { term, in: new Set() };
      if (found.size < MOST_LISTS) found.set(text, placed);
      placed.in.add(example);
    }
    level = level.flatMap(({ term, example }) =>
      Array.isArray(term) ? term.map((part) => ({ term: part, example })) : [],
    );
  }
  return [...found.values()];
}

function examplesWith(pattern: Expression, lists: readonly Placed[], examples: readonly Example[]): number[] {
  const from = new Set<number>();
  for (const { term, in: holders } of lists) if (isInstance(term, pattern)) for (const i of holders) from.add(i);
  if (!Array.isArray(pattern)) {
    examples.forEach(({ expression }, i) => void (termsOf(expression).includes(pattern) && from.add(i)));
  }
  return [...from].sort((a, b) => a - b);
}

/** A pattern with what says how specific it is. */
interface Sized extends Pick<Pattern, "pattern" | "from"> {
  text: string;
  terms: Expression[];
  constants: number;
  variables: number;
}

function sized(text: string, pattern: Expression, from: number[]): Sized {
  const terms = termsOf(pattern);
  const variables = terms.filter(isVariable);
  const constants = terms.filter((term) => !Array.isArray(term)).length - variables.length;
  return { text, pattern, from, terms, constants, variables: new Set(variables).size };
}

/** Whatever is an instance of a pattern, or holds one, comes before it. */
function bySpecificity(a: Sized, b: Sized): number {
  return (
    b.constants - a.constants ||
    b.terms.length - a.terms.length ||
    a.variables - b.variables ||
    (a.text < b.text ? -1 : a.text > b.text ? 1 : 0)
  );
}
