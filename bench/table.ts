/** Plain text for people: aligned tables and short numbers. */

/** Rows under a header, the first column left-aligned, the others right-aligned. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    widths.map((width, i) => (i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width))).join("  ");
  return [line(header), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** 12,345 */
export const count = (value: number): string => Math.round(value).toLocaleString("en-US");

export const megabytes = (bytes: number): string => `${count(bytes / 1e6)} MB`;

export const milliseconds = (value: number): string => `${value < 10 ? value.toFixed(3) : value.toFixed(1)} ms`;

export const fixed = (value: number | undefined, digits = 4): string =>
  value === undefined ? "-" : value.toFixed(digits);

export const times = (ratio: number | undefined): string => (ratio === undefined ? "-" : `${ratio.toFixed(2)}x`);
