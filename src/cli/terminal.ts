/** What results look like on a terminal: its width, colours where there are some, bars and sparklines. */
import { styleText } from "node:util";

/** Characters of a line where nobody says how many there are. */
const PIPED_COLUMNS = 80;
const LEAST_COLUMNS = 40;

/** Where text is drawn. */
export interface Canvas {
  /** Characters of a line. */
  columns: number;
  /** Whether colours are seen: not in a pipe or a file, nor where NO_COLOR is set. */
  colours: boolean;
}

/** The canvas of a stream: as wide as its terminal, 80 characters elsewhere. */
export function canvasOf(stream: Partial<NodeJS.WriteStream> = process.stdout, env = process.env): Canvas {
  // https://no-color.org: any value but the empty one.
  const colours = stream.isTTY === true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
  return { columns: Math.max(LEAST_COLUMNS, stream.columns ?? PIPED_COLUMNS), colours };
}

export type Colour = "cyan" | "green" | "yellow" | "blue" | "magenta" | "red" | "gray" | "bold";

/** Text in a colour, where there are any. */
export const coloured = (canvas: Canvas, colour: Colour, text: string): string =>
  canvas.colours && text !== "" ? styleText(colour, text, { validateStream: false }) : text;

/**
 * Text of others as it may reach a terminal: control characters, which it would obey, and marks that turn the direction
 * of writing are shown as JSON escapes them.
 */
export const printable = (text: string): string =>
  text.replaceAll(
    /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of at most `width` characters, in steps of an eighth; what is more than nothing is seen. */
export function bar(share: number, width: number): string {
  const eighths = Math.max(share > 0 ? 1 : 0, Math.round(Math.min(1, share) * width * 8));
  return "█".repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]!;
}

const LEVELS = "▁▂▃▄▅▆▇█";

/** A character each value, between the least and the greatest of them and 0. */
export function sparkline(values: readonly number[]): string {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const level = (value: number) => (high > low ? Math.round(((value - low) / (high - low)) * (LEVELS.length - 1)) : 0);
  return values.map((value) => LEVELS[level(value)]).join("");
}
