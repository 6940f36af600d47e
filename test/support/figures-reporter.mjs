/** Ends a run with a table of what tests counted (figures.ts); a test that failed, or did not run, adds nothing to it. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export default class FiguresReporter {
  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "hebb-figures-"));
    this.path = join(this.directory, "figures.jsonl");
    process.env.HEBB_FIGURES = this.path; // the tests' processes inherit it
  }

  onTestRunEnd() {
    const lines = existsSync(this.path) ? readFileSync(this.path, "utf8").trim().split("\n") : [];
    rmSync(this.directory, { recursive: true });
    const sums = new Map();
    for (const { row, what, count } of lines.map((line) => JSON.parse(line))) {
      const sum = sums.get(`${row} ${what}`) ?? { row, what, count: 0 };
      sum.count += count;
      sums.set(`${row} ${what}`, sum);
    }
    console.log("\nFaults that were tried: number (docs/operating.md), times, what became of them");
    for (const { row, what, count } of [...sums.values()].sort((a, b) => a.row - b.row || (a.what < b.what ? -1 : 1))) {
      console.log(`${String(row).padStart(3)} ${count.toLocaleString("en").padStart(12)}  ${what}`);
    }
  }
}
