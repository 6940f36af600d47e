/**
 * Symbolic expressions: an atom, or a list of expressions whose first one is its head, as in
 * `["loves", "ann", ["sister", "bob"]]`. Two are the same where their JSON text is.
 */
export type Atom = string | number | boolean;
export type Expression = Atom | Expression[];

/** What two expressions have in common if they are one. */
export const textOf = (expression: Expression): string => JSON.stringify(expression);

/** An expression and everything inside it, level by level. */
export function termsOf(expression: Expression): Expression[] {
  const terms = [expression];
  for (const term of terms) if (Array.isArray(term)) terms.push(...term); // grows while it is walked
  return terms;
}
