/** Draws curves as one SVG file: recall or size to the right, speed or time upwards on a log axis. */
import { COLOURS, escapeXml, linearTicks, logTicks, mark, sparseLogTicks } from "../src/cli/report/svg.js";

export interface Series {
  name: string;
  points: { x: number; y: number }[];
}

export interface Chart {
  title: string;
  subtitle: string;
  xLabel: string;
  yLabel: string;
  /** A log axis to the right too; default: linear. */
  logX?: boolean;
  series: Series[];
}

const WIDTH = 720;
const PLOT_HEIGHT = 302;
const BOX = { left: 76, right: 24, top: 66, bottom: 70 };
/** The legend under the plot. */
const LEGEND = { columns: 3, rowHeight: 22 };

/**
 * The chart as SVG text; it follows the reader's light or dark preference by itself.
 * Series without points are left out.
 * @throws {Error} when no series has a point, or a value on a log axis is not above 0.
 */
export function drawChart(chart: Chart): string {
  const series = chart.series.filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points);
  if (all.length === 0) throw new Error(`"${chart.title}": nothing to draw, no series has a point`);
  if (!all.every(({ x, y }) => Number.isFinite(x) && (x > 0 || !chart.logX) && y > 0 && Number.isFinite(y))) {
    throw new Error(`"${chart.title}": a log axis needs finite values above 0`);
  }
  const along = (x: number) => (chart.logX ? Math.log(x) : x);
  const xs = all.map(({ x }) => along(x));
  const ys = all.map(({ y }) => y);
  const span = Math.max(Math.max(...xs) - Math.min(...xs), 1e-3);
  const [xLow, xHigh] = [Math.min(...xs) - 0.03 * span, Math.max(...xs) + 0.03 * span];
  const [yLow, yHigh] = [Math.min(...ys) / 1.25, Math.max(...ys) * 1.25];
  const plotWidth = WIDTH - BOX.left - BOX.right;
  const plotHeight = PLOT_HEIGHT;
  const legendRows = Math.ceil(series.length / LEGEND.columns);
  const height = BOX.top + PLOT_HEIGHT + BOX.bottom + legendRows * LEGEND.rowHeight;
  const toX = (x: number) => BOX.left + ((along(x) - xLow) / (xHigh - xLow)) * plotWidth;
  const toY = (y: number) => BOX.top + (1 - Math.log(y / yLow) / Math.log(yHigh / yLow)) * plotHeight;
  const bottom = BOX.top + PLOT_HEIGHT;

  const parts: string[] = [];
  const text = (x: number, y: number, body: string, style = "", anchor = "middle", rest = "") =>
    parts.push(
      `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" class="${style}"${rest}>${escapeXml(body)}</text>`,
    );

  parts.push(`<rect class="ground" width="${WIDTH}" height="${height}"/>`);
  text(BOX.left, 28, chart.title, "title", "start");
  text(BOX.left, 49, chart.subtitle, "quiet", "start");
  for (const tick of chart.logX ? sparseLogTicks(Math.exp(xLow), Math.exp(xHigh)) : linearTicks(xLow, xHigh)) {
    parts.push(
      `<line class="grid" x1="${toX(tick).toFixed(1)}" x2="${toX(tick).toFixed(1)}" y1="${BOX.top}" y2="${bottom}"/>`,
    );
    text(toX(tick), bottom + 18, chart.logX ? tick.toLocaleString("en-US") : String(tick));
  }
  for (const tick of logTicks(yLow, yHigh)) {
    parts.push(
      `<line class="grid" x1="${BOX.left}" x2="${WIDTH - BOX.right}" y1="${toY(tick).toFixed(1)}" y2="${toY(tick).toFixed(1)}"/>`,
    );
    text(BOX.left - 8, toY(tick) + 4, tick.toLocaleString("en-US"), "", "end");
  }
  parts.push(`<rect class="frame" x="${BOX.left}" y="${BOX.top}" width="${plotWidth}" height="${plotHeight}"/>`);
  text(BOX.left + plotWidth / 2, bottom + 40, chart.xLabel, "quiet");
  text(
    20,
    BOX.top + plotHeight / 2,
    chart.yLabel,
    "quiet",
    "middle",
    ` transform="rotate(-90 20 ${BOX.top + plotHeight / 2})"`,
  );

  series.forEach(({ name, points }, i) => {
    const sorted = [...points].sort((a, b) => a.x - b.x || b.y - a.y);
    const path = sorted.map(({ x, y }) => `${toX(x).toFixed(1)},${toY(y).toFixed(1)}`).join(" ");
    parts.push(`<g class="s${i % COLOURS.length}"><title>${escapeXml(name)}</title><polyline points="${path}"/>`);
    for (const { x, y } of sorted) parts.push(mark(i, toX(x), toY(y)));
    const legendX = BOX.left + (plotWidth / LEGEND.columns) * (i % LEGEND.columns);
    const legendY = bottom + BOX.bottom + Math.floor(i / LEGEND.columns) * LEGEND.rowHeight;
    parts.push(mark(i, legendX + 6, legendY), "</g>");
    text(legendX + 18, legendY + 4, name, "", "start");
  });

  const colours = (ground: "light" | "dark") =>
    COLOURS.map((colour, i) => `.s${i}{fill:${colour[ground]};stroke:${colour[ground]}}`).join("");
  const style = [
    'text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}',
    ".title{font-size:17px;font-weight:600}.quiet{fill:#57606a}",
    ".ground{fill:#fff}.grid{stroke:#e4e8ec}.frame{fill:none;stroke:#8c959f}",
    "polyline{fill:none;stroke-width:2}",
    colours("light"),
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9da7b3}",
    `.ground{fill:#0d1117}.grid{stroke:#262c36}.frame{stroke:#6e7681}${colours("dark")}}`,
  ].join("");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(`${chart.title}: ${chart.yLabel} over ${chart.xLabel}`)}">`,
    `<style>${style}</style>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}
