/**
 * The plots of a report, as SVG in the page's own colours (page-style.ts). They are drawn 360 units wide, so that a
 * telephone shows them at about their own size; the map alone has no text in it and is wider.
 */
import type { Stats } from "../../index.js";
import type { Spread } from "../graph-health.js";
import { formatBytes, formatCount } from "../progress.js";
import type { Recall, StoreMap } from "./gather.js";
import { escapeXml, linearTicks, logTicks, mark, sparseLogTicks } from "./svg.js";
import { plain } from "./text.js";

const WIDTH = 360;
const HEIGHT = 232;
const BOX = { left: 50, right: 14, top: 30, bottom: 44 };
const BOTTOM = HEIGHT - BOX.bottom;
const RIGHT = WIDTH - BOX.right;
/** Of the map. */
const MAP = { width: 640, height: 440, edge: 12, radius: 3.6 };
/** Of the tiers' bars. */
const ROW = 36;

interface Tick {
  at: number;
  text: string;
}

/** An axis from `low` to `high`; `log`: by powers. */
interface Axis {
  label: string;
  low: number;
  high: number;
  ticks: readonly Tick[];
  log?: boolean;
}

type Scale = (value: number) => number;

const scaleOf = ({ low, high, log }: Axis, from: number, to: number): Scale => {
  const at = (value: number) => (log ? Math.log(value) : value);
  return (value) => from + ((at(value) - at(low)) / (at(high) - at(low))) * (to - from);
};

const n = (value: number): string => value.toFixed(1);

/** Axes with grid and labels, and what `draw` puts on them. `label`: what the plot is of, for who does not see it. */
function plot(label: string, x: Axis, y: Axis, draw: (toX: Scale, toY: Scale) => string): string {
  const [toX, toY] = [scaleOf(x, BOX.left, RIGHT), scaleOf(y, BOTTOM, BOX.top)];
  const across = y.ticks.map(
    ({ at, text }) =>
      `<line class="grid" x1="${BOX.left}" x2="${RIGHT}" y1="${n(toY(at))}" y2="${n(toY(at))}"/><text x="${BOX.left - 7}" y="${n(toY(at) + 4)}" text-anchor="end">${escapeXml(text)}</text>`,
  );
  const along = x.ticks.map(
    ({ at, text }) => `<text x="${n(toX(at))}" y="${BOTTOM + 17}" text-anchor="middle">${escapeXml(text)}</text>`,
  );
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeXml(label)}">`,
    ...across,
    ...along,
    `<text class="axis" x="4" y="14">${escapeXml(y.label)}</text>`,
    `<text class="axis" x="${RIGHT}" y="${HEIGHT - 8}" text-anchor="end">${escapeXml(x.label)}</text>`,
    `<line class="base" x1="${BOX.left}" x2="${RIGHT}" y1="${BOTTOM}" y2="${BOTTOM}"/>`,
    draw(toX, toY),
    "</svg>",
  ].join("");
}

const said = (text: string): string => `<title>${escapeXml(text)}</title>`;

/** A line through points, each with a mark that says what it is. */
function series(colour: number, points: readonly { x: number; y: number; text: string }[]): string {
  const line = points.map(({ x, y }) => `${n(x)},${n(y)}`).join(" ");
  const marks = points.map(({ x, y, text }) => `<g class="mark">${said(text)}${mark(colour, x, y)}</g>`);
  return `<g class="s${colour}"><polyline points="${line}"/>${marks.join("")}</g>`;
}

/** ef at even steps, as it doubles. */
function efAxis({ runs }: Recall): Axis {
  const efs = runs.map(({ ef }) => ef);
  const [low, high] = [Math.min(...efs) / 1.15, Math.max(...efs) * 1.15];
  return { label: "ef (log)", low, high, ticks: efs.map((ef) => ({ at: ef, text: String(ef) })), log: true };
}

export function recallPlot(recall: Recall): string {
  const { runs, k } = recall;
  const least = Math.min(...runs.map((run) => run.recall));
  // The axis begins just below what was found, on a round share: .99 and .999 are told apart.
  const step = least < 0.8 ? 0.2 : least < 0.95 || least === 1 ? 0.05 : least < 0.99 ? 0.01 : 0.0025;
  const low = Math.max(0, Math.floor((least - step / 4) / step) * step);
  const digits = step < 0.01 ? 4 : 2;
  const ticks = linearTicks(low, 1, 5).map((at) => ({ at, text: at.toFixed(digits) }));
  const y = { label: `recall@${k} against exact search`, low, high: 1, ticks };
  const label = `recall@${k} by ef: ${runs.map((run) => `${run.recall.toFixed(4)} at ${run.ef}`).join(", ")}`;
  return plot(label, efAxis(recall), y, (toX, toY) =>
    series(
      1,
      runs.map((run) => ({
        x: toX(run.ef),
        y: toY(run.recall),
        text: `ef ${run.ef}: recall ${run.recall.toFixed(4)}`,
      })),
    ),
  );
}

/** Milliseconds with as many digits as mean something. */
export const milliseconds = (ms: number): string => `${Number(ms.toPrecision(3))} ms`;

export function timePlot(recall: Recall): string {
  const { runs, exactMs } = recall;
  const all = [exactMs, ...runs.flatMap(({ p50Ms, p99Ms }) => [p50Ms, p99Ms])];
  const low = Math.min(...all) / 1.3;
  const high = Math.max(low * 10, Math.max(...all) * 1.3); // always with a few ticks between
  const every = logTicks(low, high);
  const ticks = (every.length > 6 ? sparseLogTicks(low, high) : every).map((at) => ({
    at,
    text: String(Number(at.toPrecision(2))),
  }));
  const y = { label: "ms a query, one thread (log)", low, high, ticks, log: true };
  const label = `milliseconds a query by ef: ${runs.map((run) => `${run.p50Ms.toFixed(3)} at ${run.ef}`).join(", ")}, median; exact search ${exactMs.toFixed(3)}`;
  return plot(label, efAxis(recall), y, (toX, toY) => {
    const of = (name: string, value: (run: Recall["runs"][number]) => number) =>
      runs.map((run) => ({
        x: toX(run.ef),
        y: toY(value(run)),
        text: `ef ${run.ef}, ${name}: ${milliseconds(value(run))}`,
      }));
    const exact = `<g class="s5"><line class="dashed" x1="${BOX.left}" x2="${RIGHT}" y1="${n(toY(exactMs))}" y2="${n(toY(exactMs))}">${said(`exact search, median: ${milliseconds(exactMs)}`)}</line></g>`;
    return (
      exact +
      series(
        0,
        of("99th percentile", (run) => run.p99Ms),
      ) +
      series(
        1,
        of("median", (run) => run.p50Ms),
      )
    );
  });
}

/** Bars from `from` to `to` each. */
export function spreadPlot(what: string, { least, median, most, bins }: Spread): string {
  const [low, high] = [bins[0]!.from, bins.at(-1)!.to + 1];
  const top = Math.max(...bins.map(({ count }) => count)) * 1.05;
  const whole = linearTicks(low, high, 5).filter((at) => Number.isInteger(at));
  const x = {
    label: what,
    low,
    high,
    ticks: whole.map((at) => ({ at: at + 0.5, text: formatCount(at) })).filter(({ at }) => at < high),
  };
  const counts = linearTicks(0, top, 4).filter((at) => Number.isInteger(at));
  const y = { label: "rows looked at", low: 0, high: top, ticks: counts.map((at) => ({ at, text: formatCount(at) })) };
  const label = `${what}: from ${least} to ${most}, median ${median}`;
  return plot(label, x, y, (toX, toY) => {
    const bars = bins.map(({ from, to, count }) => {
      const [left, right] = [toX(from), toX(to + 1)];
      const width = Math.min(48, Math.max(1, right - left - 1.5));
      const text = `${from === to ? from : `${from} to ${to}`}: ${formatCount(count)} rows`;
      return `<rect class="bar" x="${n((left + right - width) / 2)}" y="${n(toY(count))}" width="${n(width)}" height="${n(BOTTOM - toY(count))}">${said(text)}</rect>`;
    });
    return `<g class="s1">${bars.join("")}</g>`;
  });
}

/** Rows by their highest layer, on a log axis: each layer has a small part of the one below. */
export function levelPlot(levels: readonly number[]): string {
  const high = Math.max(...levels) * 1.6;
  const ticks = logTicks(1, high)
    .filter((at) => Number.isInteger(Math.log10(at)))
    .map((at) => ({ at, text: formatCount(at) }));
  const x = {
    label: "highest layer of a row",
    low: -0.6,
    high: levels.length - 0.4,
    ticks: levels.map((_, at) => ({ at, text: String(at) })),
  };
  const y = { label: "rows looked at (log)", low: 0.5, high, ticks, log: true };
  return plot(`rows by highest layer: ${levels.join(", ")} from layer 0 on`, x, y, (toX, toY) => {
    const bars = levels.map((count, level) => {
      if (count === 0) return "";
      const y = toY(count);
      return `<rect class="bar" x="${n(toX(level) - 20)}" y="${n(y)}" width="40" height="${n(BOTTOM - y)}">${said(`layer ${level}: ${formatCount(count)} rows`)}</rect>`;
    });
    return `<g class="s2">${bars.join("")}</g>`;
  });
}

/** A bar each tier: what share of the vectors it holds. */
export function tierPlot(stats: Stats): string {
  const tiers = Object.entries(stats.tiers);
  const [left, widest] = [66, 150];
  const height = tiers.length * ROW + 8;
  const rows = tiers.map(([tier, { count, bytes }], i) => {
    const [top, share] = [i * ROW + 8, stats.size === 0 ? 0 : count / stats.size];
    const text = `${tier}: ${formatCount(count)} vectors, ${formatBytes(bytes)}, ${(100 * share).toFixed(1)}%`;
    const width = count === 0 ? 0 : Math.max(2, share * widest);
    return [
      `<text x="${left - 8}" y="${top + 16}" text-anchor="end">${tier}</text>`,
      `<rect class="track" x="${left}" y="${top}" width="${widest}" height="22" rx="3"/>`,
      `<g class="t-${tier}"><rect class="bar" x="${left}" y="${top}" width="${n(width)}" height="22" rx="3">${said(text)}</rect></g>`,
      `<text x="${left + widest + 8}" y="${top + 10}">${formatCount(count)}</text>`,
      `<text class="axis" x="${left + widest + 8}" y="${top + 24}">${formatBytes(bytes)}, ${(100 * share).toFixed(1)}%</text>`,
    ].join("");
  });
  const label = `vectors by tier: ${tiers.map(([tier, { count }]) => `${tier} ${formatCount(count)}`).join(", ")}`;
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeXml(label)}">${rows.join("")}</svg>`;
}

/** What queries gained by learning, over the events of the store's life. */
export function curvePlot(points: Stats["learning"]["curve"]): string {
  const gains = points.map(({ gain }) => gain);
  const span = Math.max(0.02, Math.max(0, ...gains) - Math.min(0, ...gains));
  const [low, high] = [Math.min(0, ...gains) - 0.06 * span, Math.max(0, ...gains) + 0.1 * span];
  const most = points.at(-1)!.events;
  const y = {
    label: "nDCG@10 above static",
    low,
    high,
    ticks: linearTicks(low, high, 5).map((at) => ({
      at,
      text: at === 0 ? "0" : `${at < 0 ? "−" : "+"}${Math.abs(at).toPrecision(2)}`,
    })),
  };
  const x = {
    label: "feedback events",
    low: 0,
    high: most * 1.03,
    ticks: linearTicks(0, most, 5).map((at) => ({ at, text: formatCount(at) })),
  };
  const served = (serving: (typeof points)[number]["serving"]) =>
    serving === "static" ? serving : serving.join(" + ");
  const label = `nDCG@10 gained over static by events learned from; at last ${gains.at(-1)!.toFixed(4)} after ${most} events`;
  return plot(label, x, y, (toX, toY) => {
    const zero = `<line class="zero" x1="${BOX.left}" x2="${RIGHT}" y1="${n(toY(0))}" y2="${n(toY(0))}"/>`;
    const trainings = points
      .filter(({ trained }) => trained)
      .map(
        ({ events }) =>
          `<line class="training" x1="${n(toX(events))}" x2="${n(toX(events))}" y1="${BOX.top}" y2="${BOTTOM}">${said(`a training, by ${formatCount(events)} events`)}</line>`,
      );
    const line = series(
      2,
      points.map(({ events, gain, judged, serving }) => ({
        x: toX(events),
        y: toY(gain),
        text: `by ${formatCount(events)} events: ${gain.toFixed(4)} over ${formatCount(judged)} judged; ${served(serving)} served`,
      })),
    );
    return zero + trainings.join("") + line;
  });
}

/** The map's points: one unit is as long to the right as upwards, so that distances can be compared. */
export function mapPlot({ points, rows, groups, colouredBy }: StoreMap): string {
  const bounds = (values: readonly number[]) => {
    const [low, high] = [
      values.reduce((a, b) => Math.min(a, b), Infinity),
      values.reduce((a, b) => Math.max(a, b), -Infinity),
    ];
    return { middle: (low + high) / 2, span: high - low };
  };
  const [x, y] = [bounds(points.map((point) => point.x)), bounds(points.map((point) => point.y))];
  const room = { width: MAP.width - 2 * MAP.edge, height: MAP.height - 2 * MAP.edge };
  const unit = Math.min(room.width / (x.span || 1), room.height / (y.span || 1));
  // Small groups are drawn last: none is hidden behind a large one.
  const sizes = groups.names.map((_, group) => groups.of.filter((of) => of === group).length);
  const order = Array.from(points.keys()).sort((a, b) => sizes[groups.of[b]!]! - sizes[groups.of[a]!]! || a - b);
  const circles = order.map((i) => {
    const point = points[i]!;
    const { id, tier, beside } = rows[i]!;
    const at = { x: MAP.width / 2 + (point.x - x.middle) * unit, y: MAP.height / 2 - (point.y - y.middle) * unit };
    const text = plain([JSON.stringify(id), `tier ${tier}`, ...(beside === "" ? [] : [beside])].join(" · "));
    const colour = colouredBy === "tier" && groups.names.includes(tier) ? `t-${tier}` : `s${groups.of[i]! % 7}`;
    return `<circle class="${colour}" cx="${n(at.x)}" cy="${n(at.y)}" r="${MAP.radius}">${said(text)}</circle>`;
  });
  const label = `map of ${points.length} rows, coloured by ${plain(colouredBy)}`;
  return `<svg id="map" viewBox="0 0 ${MAP.width} ${MAP.height}" role="img" aria-label="${escapeXml(label)}">${circles.join("")}</svg>`;
}
