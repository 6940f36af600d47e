/** Draws a recall/speed curve as one SVG file: recall to the right, speed upwards on a log axis. */

export interface Series {
  name: string;
  points: { x: number; y: number }[];
}

export interface Chart {
  title: string;
  subtitle: string;
  xLabel: string;
  yLabel: string;
  series: Series[];
}

const WIDTH = 720;
const HEIGHT = 460;
const BOX = { left: 76, right: 24, top: 66, bottom: 92 };

/** Colours of Okabe & Ito (2008), told apart by colour-blind readers too, once for light and once for dark ground. */
const COLOURS = [
  { light: "#d55e00", dark: "#ff8c42" },
  { light: "#0072b2", dark: "#56b4e9" },
  { light: "#00875f", dark: "#3ddba4" },
  { light: "#a0508a", dark: "#e49ac8" },
];

const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** Ticks 1, 2, 5 of each power of ten within [low, high]. */
export function logTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) {
      const tick = digit * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** About `wanted` round ticks within [low, high]. */
export function linearTicks(low: number, high: number, wanted = 6): number[] {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(10)),
  );
}

/** One mark for each series, so that shape tells them apart as well as colour. */
function mark(kind: number, x: number, y: number): string {
  const at = (dx: number, dy: number) => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`;
  switch (kind % 4) {
    case 0:
      return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5"/>`;
    case 1:
      return `<rect x="${(x - 4).toFixed(1)}" y="${(y - 4).toFixed(1)}" width="8" height="8"/>`;
    case 2:
      return `<polygon points="${at(0, -5.5)} ${at(5, 4)} ${at(-5, 4)}"/>`;
    default:
      return `<polygon points="${at(0, -5.5)} ${at(5.5, 0)} ${at(0, 5.5)} ${at(-5.5, 0)}"/>`;
  }
}

/**
 * The chart as SVG text; it follows the reader's light or dark preference by itself.
 * Series without points are left out.
 * @throws {Error} when no series has a point, or a y value is not above 0 (the axis is logarithmic).
 */
export function drawChart(chart: Chart): string {
  const series = chart.series.filter(({ points }) => points.length > 0);
  const all = series.flatMap(({ points }) => points);
  if (all.length === 0) throw new Error(`"${chart.title}": nothing to draw, no series has a point`);
  if (!all.every(({ x, y }) => Number.isFinite(x) && y > 0 && Number.isFinite(y))) {
    throw new Error(`"${chart.title}": a log axis needs finite values above 0`);
  }
  const xs = all.map(({ x }) => x);
  const ys = all.map(({ y }) => y);
  const span = Math.max(Math.max(...xs) - Math.min(...xs), 1e-3);
  const [xLow, xHigh] = [Math.min(...xs) - 0.03 * span, Math.max(...xs) + 0.03 * span];
  const [yLow, yHigh] = [Math.min(...ys) / 1.25, Math.max(...ys) * 1.25];
  const plotWidth = WIDTH - BOX.left - BOX.right;
  const plotHeight = HEIGHT - BOX.top - BOX.bottom;
  const toX = (x: number) => BOX.left + ((x - xLow) / (xHigh - xLow)) * plotWidth;
  const toY = (y: number) => BOX.top + (1 - Math.log(y / yLow) / Math.log(yHigh / yLow)) * plotHeight;
  const bottom = HEIGHT - BOX.bottom;

  const parts: string[] = [];
  const text = (x: number, y: number, body: string, style = "", anchor = "middle", rest = "") =>
    parts.push(
      `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" class="${style}"${rest}>${escapeXml(body)}</text>`,
    );

  parts.push(`<rect class="ground" width="${WIDTH}" height="${HEIGHT}"/>`);
  text(BOX.left, 28, chart.title, "title", "start");
  text(BOX.left, 49, chart.subtitle, "quiet", "start");
  for (const tick of linearTicks(xLow, xHigh)) {
    parts.push(
      `<line class="grid" x1="${toX(tick).toFixed(1)}" x2="${toX(tick).toFixed(1)}" y1="${BOX.top}" y2="${bottom}"/>`,
    );
    text(toX(tick), bottom + 18, String(tick));
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
    const legendX = BOX.left + (plotWidth / series.length) * i;
    parts.push(mark(i, legendX + 6, HEIGHT - 20), "</g>");
    text(legendX + 18, HEIGHT - 16, name, "", "start");
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
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${escapeXml(`${chart.title}: ${chart.yLabel} over ${chart.xLabel}`)}">`,
    `<style>${style}</style>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}
