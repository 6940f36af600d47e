/** Texts of others in a page. */

/**
 * Without what shows as something else than it is: control characters, halves of surrogate pairs, and marks that turn
 * the direction of writing.
 */
export const plain = (text: string): string =>
  text.toWellFormed().replaceAll(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
