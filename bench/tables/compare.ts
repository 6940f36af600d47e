/** `bench compare`: each figure of two records, before and after. */
import { basename } from "node:path";
import { UsageError } from "../data.js";
import { type RecordFolder, recordCalled, recordsIn } from "../release/index-file.js";
import { table as aligned } from "../table.js";
import { ALL_TABLES } from "./documents.js";
import type { Row } from "./table.js";
import type { Figure } from "./words.js";

export interface Change {
  section: string;
  /** Row and column. */
  what: string;
  before: Figure;
  after: Figure;
  /** After over before. */
  ratio: number;
  /** Whether recall or nDCG fell by more than it may. */
  fell: boolean;
}

/** What both records measured, in the order of docs/measured.md. */
export function changesBetween(before: RecordFolder, after: RecordFolder): Change[] {
  return ALL_TABLES.flatMap(({ title, table: { columns, rows } }) =>
    rows.flatMap((row) => {
      const [old, now] = [figuresOf(row, before), figuresOf(row, after)];
      if (old.length !== now.length) return [];
      return now.flatMap((cell, column) =>
        cell.flatMap((figure, i): Change[] => {
          const was = old[column][i];
          if (!was || Number.isNaN(was.value) || Number.isNaN(figure.value)) return [];
          const what = columns.length > 1 ? `${row.what}: ${columns[column]}` : row.what;
          const fell = figure.mayFall !== undefined && was.value - figure.value > figure.mayFall;
          return [{ section: title, what, before: was, after: figure, ratio: figure.value / was.value, fell }];
        }),
      );
    }),
  );
}

/** How many figures `before` has that are not among the changes, since `after` does not have them. */
export function missingAmong(changes: readonly Change[], before: RecordFolder): number {
  const rows = ALL_TABLES.flatMap(({ table }) => table.rows);
  const all = rows.flatMap((row) => figuresOf(row, before).flat()).filter(({ value }) => !Number.isNaN(value));
  return all.length - changes.length;
}

const figuresOf = (row: Row, record: RecordFolder): Figure[][] => row.cells(record)?.map((cell) => cell.figures) ?? [];

/**
 * Prints the changes from `names[0]` (the record before the newest) to `names[1]` (the newest).
 * @returns false where recall or nDCG fell by more than it may (`MAY_FALL`).
 */
export function runCompare(results: string, names: readonly string[]): boolean {
  if (names.length > 2) throw new UsageError(`compare takes two records, OLD and NEW; got ${names.join(" ")}`);
  const records = recordsIn(results);
  const [old, now] = names.map((name) => recordCalled(name, results));
  const after = now ?? records.find(({ folder }) => folder !== old?.folder);
  const before = old ?? records.find(({ folder }) => folder !== after?.folder);
  if (!now && before && after && before.index.date > after.index.date) {
    throw new UsageError(`${basename(before.folder)} is the newest record; name an older one, or two: compare OLD NEW`);
  }
  if (!before || !after) {
    throw new UsageError(`compare needs two records; ${results} has ${records.length}. Name a folder: compare OLD NEW`);
  }
  console.log(`before: ${basename(before.folder)}\nafter:  ${basename(after.folder)}\n* recall or nDCG\n`);
  const changes = changesBetween(before, after);
  const lines = changes.map(({ section, what, before: was, after: is, ratio, fell }) => [
    `${section}: ${what}${is.mayFall === undefined ? "" : " *"}`,
    was.text,
    is.text,
    Number.isFinite(ratio) ? `${ratio.toFixed(2)}x` : "-",
    fell ? "FELL" : "",
  ]);
  console.log(aligned(["", "before", "after", "ratio", ""], lines));
  const fallen = changes.filter(({ fell }) => fell);
  for (const { what, before: was, after: is } of fallen) {
    console.log(`FAIL ${what}: ${is.text} after ${was.text}, more than ${is.mayFall} lower`);
  }
  console.log(`\n${changes.length} figures, ${fallen.length} fell too far`);
  const missing = missingAmong(changes, before);
  if (missing > 0) console.log(`${missing} more were measured before, and not after: nothing is said of them`);
  return fallen.length === 0;
}
