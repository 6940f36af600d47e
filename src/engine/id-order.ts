/** The order of rows in a frozen bundle: integers ascending, then strings by their UTF-8. */
import type { Id } from "../../base/types.js";

export function compareIds(a: Id, b: Id): number {
  if (typeof a === "number") return typeof b === "number" ? a - b : -1;
  if (typeof b === "number") return 1;
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    if (a.charCodeAt(i) !== b.charCodeAt(i)) return byCodePoint(a.charCodeAt(i)) - byCodePoint(b.charCodeAt(i));
  }
  return a.length - b.length;
}

/** A code unit of UTF-16, moved so that surrogates come behind all others, as what they stand for does in UTF-8. */
const byCodePoint = (unit: number): number => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);
