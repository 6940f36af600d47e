/** How alike two vectors are where no metric's unit may count. */
import { dot, type Floats } from "../../model/scoring.js";

/** The cosine where it is positive, 0 otherwise and for a zero vector; 0 to 1, under any metric. */
export function likeness(a: Floats, b: Floats): number {
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths > 0 ? Math.min(1, Math.max(0, dot(a, b) / lengths)) : 0;
}
