/** Tables of figures: each row is a small function of one part's results. */
import { type RecordFolder, resultsOf } from "../release/index-file.js";
import { commandOf, type PartName, type PartResults, RELEASE } from "../release/parts.js";
import { NOT_MEASURED, type Words } from "./words.js";

export interface Row {
  what: string;
  part: PartName;
  /** One cell for each of the table's columns; undefined where the record lacks the part. */
  cells(record: RecordFolder): Words[] | undefined;
}

export interface FigureTable {
  /** Of the figures, between "what" and "command"; "" needs no name. */
  columns: readonly string[];
  rows: readonly Row[];
}

/** A row of the figures that `of` reads from the results of `part`. */
export const row = <Name extends PartName>(
  what: string,
  part: Name,
  of: (results: PartResults[Name]) => Words | Words[],
): Row => ({
  what,
  part,
  cells(record) {
    const results = resultsOf(record, part);
    if (results === undefined) return undefined;
    try {
      const cells = of(results);
      return Array.isArray(cells) ? cells : [cells];
    } catch (cause) {
      throw new Error(`"${what}": the record of ${part} in ${record.folder} cannot be read for it`, { cause });
    }
  },
});

/** The table in Markdown. A command stands once where rows below it need the same. */
export function markdown({ columns, rows }: FigureTable, record: RecordFolder): string {
  let above: string | undefined;
  const lines = rows.map((one) => {
    const command = `\`${commandOf(RELEASE.find(({ name }) => name === one.part)!)}\``;
    const cells = one.cells(record)?.map(({ text }) => text) ?? columns.map(() => NOT_MEASURED);
    if (cells.length !== columns.length) {
      throw new Error(`"${one.what}" has ${cells.length} cells in a table of ${columns.length}`);
    }
    const shown = command === above ? "" : command;
    above = command;
    return `| ${[one.what, ...cells, shown].join(" | ")} |`;
  });
  const header = ["", ...columns, "command"];
  return [`| ${header.join(" | ")} |`, `|${header.map(() => " --- |").join("")}`, ...lines].join("\n");
}
