/** What a long run counts, for the table at its end (figures-reporter.mjs). */
import { appendFileSync } from "node:fs";

/**
 * Says how often something was tried; equal texts are added up over all tests. To be called where a test has passed.
 * @param row number of the fault in docs/operating.md, "Faults that are tested"
 */
export function figure(row: number, what: string, count: number): void {
  const path = process.env.HEBB_FIGURES;
  if (path !== undefined) appendFileSync(path, `${JSON.stringify({ row, what, count })}\n`);
}
