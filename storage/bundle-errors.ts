/** What is wrong with a frozen bundle, said in one way. */
import { HebbError } from "../base/errors.js";

const REMEDY = "Copy the bundle again, whole, or freeze again";

/** A bundle that contradicts itself. @param problem names the thing, what was found and what was expected */
export function corruptBundle(problem: string, details: Record<string, unknown>): HebbError {
  return new HebbError("BUNDLE_CORRUPT", `${problem}. ${REMEDY}`, details);
}

/** Bytes that are not those which the bundle's witness vouches for. */
export function witnessMismatch(problem: string, details: Record<string, unknown>, cause?: unknown): HebbError {
  return new HebbError("WITNESS_MISMATCH", `${problem}. ${REMEDY}`, details, cause);
}
