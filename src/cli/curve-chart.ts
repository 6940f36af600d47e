/** The learning curve as a chart of characters. */
import type { Stats } from "../index.js";
import { formatCount } from "./progress.js";
import { type Canvas, canvasOf, coloured, sparkline } from "./terminal.js";

/** Lines of the taller side, above or below zero. */
const HEIGHT = 5;
/** Characters of a point. */
const WIDTH = 2;

type Points = Stats["learning"]["curve"];

/**
 * A column each point; the line at zero says what served: `.` static, `=` learners, `T` from a training on. Where there
 * is no room for that, one line: a sparkline. Empty without points.
 */
export function curveChart(points: Points, canvas: Canvas = canvasOf()): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return "";
  const gains = points.map(({ gain }) => gain);
  const [low, high] = [Math.min(0, ...gains), Math.max(0, ...gains)];
  if (LABEL + 2 + points.length * WIDTH > canvas.columns)
    return `nDCG@10 gained: ${coloured(canvas, "green", sparkline(gains))} ${signed(last.gain)}`;
  const unit = Math.max(high, -low) / HEIGHT;
  const linesOf = (extent: number): number => (unit > 0 ? Math.round(extent / unit) : 0);
  const [above, below] = [linesOf(high), linesOf(-low)];
  const bars = (line: number): string =>
    gains
      .map((gain) => (line < 0 ? -gain : gain))
      .map((gain) => (linesOf(gain) >= Math.abs(line) ? "#" : " "))
      .join(" ");
  const zero = points.map(({ serving, trained }) => (trained ? "T" : serving === "static" ? "." : "=")).join(" ");
  const labels = new Map([
    [above, signed(high)],
    [-below, signed(low)],
    [0, "0"],
  ]);
  const lines = Array.from({ length: above + 1 + below }, (_, i) => above - i).map((line) =>
    `${(labels.get(line) ?? "").padStart(LABEL)} |${line === 0 ? zero : bars(line)}`.trimEnd(),
  );
  const [from, to] = [formatCount(first.events), formatCount(last.events)];
  const ends =
    points.length > 1
      ? from + to.padStart(Math.max(points.length * WIDTH - 1, from.length + 2 + to.length) - from.length)
      : to;
  return [
    "nDCG@10 gained over static, by events learned from (. static served, = learners, T training)",
    ...lines,
    `${" ".repeat(LABEL + 2)}${ends}`,
  ].join("\n");
}

const LABEL = 7;
const signed = (x: number): string => (x < 0 ? x.toFixed(4) : `+${x.toFixed(4)}`);
