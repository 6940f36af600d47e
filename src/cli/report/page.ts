/** A report as one page that needs nothing else: plots, tables, style and script are all in it. */
import { createHash } from "node:crypto";
import type { GraphHealth } from "../graph-health.js";
import { signed } from "../print.js";
import { counted, formatBytes, formatCount } from "../progress.js";
import type { Recall, ReportData, StoreMap } from "./gather.js";
import { MADE_BY } from "./output.js";
import { SCRIPT, STYLE } from "./page-style.js";
import { curvePlot, levelPlot, mapPlot, milliseconds, recallPlot, spreadPlot, tierPlot, timePlot } from "./plots.js";
import { escapeXml } from "./svg.js";
import { plain } from "./text.js";

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
/** Characters of a group's name. */
const NAME = 40;
/** Text of others, as it is safe in a page. */
const shown = (text: string): string => escapeXml(plain(text));

interface Card {
  title: string;
  /** What is measured, and how. */
  caption: string;
  body: string;
  size?: "wide" | "all";
}

export function page(data: ReportData): string {
  const { store, at, version, stats, health, recall, map } = data;
  const policy = `default-src 'none'; style-src ${hash(STYLE)}; script-src ${hash(SCRIPT)}; base-uri 'none'; form-action 'none'`;
  const warnings = stats.warnings.map((warning) => `<p class="warning">${shown(warning)}</p>`);
  return [
    "<!doctype html>",
    '<html lang="en">',
    '<head><meta charset="utf-8">',
    MADE_BY,
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width,initial-scale=1">',
    `<title>${shown(store)}: a report by hebb</title>`,
    `<style>${STYLE}</style></head>`,
    "<body><main>",
    `<header><h1>${shown(store)}</h1>`,
    `<p class="quiet">State of change ${formatCount(stats.lsn)}, looked at on ${at.toISOString().slice(0, 16).replace("T", " ")} UTC by hebb ${shown(version)}, kernel ${shown(stats.kernel)}</p>`,
    ...warnings,
    facts(data),
    "</header>",
    section("Search", recall === undefined ? [] : searchCards(recall)),
    section("Tiers", [tierCard(data), tierTableCard(data)]),
    section("Graph", health === undefined ? [] : graphCards(health)),
    section("Learning", learningCards(data)),
    section("Map", map === undefined ? [] : [mapCard(map)]),
    "<footer><p>This page holds all that it shows: it asks no one, and nothing in it changes with the store. “Looked at” are rows drawn evenly, the same ones while the store stays as it is.</p></footer>",
    `</main><script>${SCRIPT}</script></body></html>`,
    "",
  ].join("\n");
}

function facts({ stats, health }: ReportData): string {
  const { file, wal, catalog, journal } = stats.bytes;
  const all: [string, string][] = [
    ["rows", formatCount(stats.size)],
    ["dimensions", formatCount(stats.dimensions)],
    ["metric", stats.metric],
    ["encoder", stats.encoder ?? "none"],
    ["on disk", formatBytes(file + wal + catalog + journal)],
    ["not linked yet", formatCount(stats.backlog)],
    ["deleted, not freed", formatCount(stats.deleted)],
    ...(health === undefined
      ? []
      : [["found by itself", `${health.reached.found} of ${health.reached.sought}`] as [string, string]]),
  ];
  return `<dl class="facts">${all.map(([name, value]) => `<div><dt>${name}</dt><dd>${shown(value)}</dd></div>`).join("")}</dl>`;
}

function section(title: string, cards: readonly Card[]): string {
  if (cards.length === 0) return "";
  const drawn = cards.map(
    ({ title, caption, body, size }) =>
      `<figure class="card${size ? ` ${size}` : ""}"><h3>${shown(title)}</h3><figcaption>${caption}</figcaption>${body}</figure>`,
  );
  return `<section><h2>${title}</h2><div class="cards">${drawn.join("\n")}</div></section>`;
}

/** Cells are HTML. Columns from `numbers` on stand to the right. */
function htmlTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  numbers: (column: number) => boolean,
): string {
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${cells.map((cell, i) => `<${tag}${numbers(i) ? ' class="n"' : ""}>${cell}</${tag}>`).join("")}</tr>`;
  return `<div class="scroll"><table><thead>${line("th", head)}</thead><tbody>${rows.map((row) => line("td", row)).join("")}</tbody></table></div>`;
}

const key = (entries: readonly [className: string, name: string][]): string =>
  `<ul class="key">${entries.map(([className, name]) => `<li><i class="${className}"></i>${shown(name)}</li>`).join("")}</ul>`;

function searchCards(recall: Recall): Card[] {
  const { k, queries, runs, exactMs } = recall;
  const asked = queries === 1 ? "1 query" : `${formatCount(queries)} queries`;
  const rows = runs.map((run) => [
    String(run.ef),
    run.recall.toFixed(4),
    run.p50Ms.toFixed(3),
    run.p99Ms.toFixed(3),
    formatCount(Math.round(run.queriesPerSecond)),
  ]);
  return [
    {
      title: "What searches find",
      caption: `Share of the exact ${k} nearest that a search with each ef found: ${asked}, stored vectors with 10% of noise. Mind where the axis begins.`,
      body: recallPlot(recall),
    },
    {
      title: "What they take",
      caption:
        "Time of the same searches, each asked once before; on the machine that wrote this, whatever else it did.",
      body:
        key([
          ["s1", "median"],
          ["s0", "99th percentile"],
          ["s5 rule", `exact, ${milliseconds(exactMs)}`],
        ]) + timePlot(recall),
    },
    {
      title: "In numbers",
      caption: `Of ${asked}: mean recall against exact search, the times below which half and 99% of them lie, and how many were answered in a second.`,
      body: htmlTable(["ef", `recall@${k}`, "p50 ms", "p99 ms", "queries/s"], rows, () => true),
    },
  ];
}

function tierCard({ stats }: ReportData): Card {
  return {
    title: "Where vectors are",
    caption: "Vectors in each tier, the bytes that they take there, and their share of all.",
    body: tierPlot(stats),
  };
}

function tierTableCard({ stats }: ReportData): Card {
  const rows = Object.entries(stats.tiers).map(([tier, { bytesPerVector, ratio, codec, residentBytes }]) => [
    tier,
    shown(codec ?? "no codebook yet"),
    `${formatCount(bytesPerVector)} B`,
    `${ratio.toFixed(1)}x`,
    formatBytes(residentBytes),
  ]);
  const { bytes, ratio } = stats.vectors;
  return {
    title: "What a vector takes",
    caption: `All together ${formatBytes(bytes)}, ${ratio.toFixed(1)}x less than as f32; originals kept beside them are not in this.`,
    body: htmlTable(["tier", "codec", "each", "of f32", "in memory"], rows, (i) => i > 1),
    size: "wide",
  };
}

function graphCards({ surveyed, outDegree, inDegree, levels }: GraphHealth): Card[] {
  const looked = `${counted(surveyed, "row")} looked at.`;
  return [
    {
      title: "Edges that leave a row",
      caption: `Bottom layer: ${outDegree.least} to ${outDegree.most}, median ${outDegree.median}. ${looked}`,
      body: spreadPlot("edges that leave a row", outDegree),
    },
    {
      title: "Edges that lead to a row",
      caption: `Bottom layer: ${inDegree.least} to ${inDegree.most}, median ${inDegree.median}. A search cannot come to a row that none leads to. ${looked}`,
      body: spreadPlot("edges that lead to a row", inDegree),
    },
    { title: "Layers", caption: `Rows by the highest layer that they are on. ${looked}`, body: levelPlot(levels) },
  ];
}

function learningCards({ stats: { learning } }: ReportData): Card[] {
  const { events, serving, arms, learners, curve, shifted, linked } = learning;
  const serves =
    serving === "static"
      ? "Nothing learned serves: neural answers equal vector answers."
      : `Serving: ${serving.join(" + ")}.`;
  if (events === 0) {
    return [
      {
        title: "No feedback yet",
        caption: "hebb learn, or index.learn(), gives the store something to learn from.",
        body: "",
        size: "all",
      },
    ];
  }
  const all = Object.entries(arms).sort(([, a], [, b]) => b.gain - a.gain);
  const rows = Object.entries(learners).map(([learner, { serves, adds }]) => {
    const [name, best] = all.find(([name]) => name.split("+").includes(learner)) ?? [];
    return [
      learner,
      serves ? "yes" : "no",
      adds === undefined ? "" : signed(adds),
      name === undefined ? "not judged yet" : shown(name.replaceAll("+", " + ")),
      best === undefined ? "" : signed(best.gain),
      best === undefined ? "" : signed(best.disjointGain),
    ];
  });
  const cards: Card[] = [];
  if (curve.length > 0) {
    cards.push({
      title: "What queries gained",
      caption:
        "Mean nDCG@10 of what was served above static, on events judged before they were learned from; dotted: a training.",
      body: curvePlot(curve),
    });
  }
  cards.push({
    title: "Learners",
    caption: `${counted(events, "event")} of feedback. ${shown(serves)} ${counted(shifted, "row")} shifted, ${formatCount(linked)} with learned edges. Gains are nDCG@10 above static.`,
    body: htmlTable(
      ["learner", "serves", "adds", "best set", "its gain", "never chosen"],
      rows,
      (i) => i === 2 || i > 3,
    ),
    size: "wide",
  });
  return cards;
}

const shortened = (name: string): string => (name.length > NAME ? `${name.slice(0, NAME - 3)}...` : name);

function mapCard(map: StoreMap): Card {
  const { points, shares, groups, colouredBy } = map;
  const percent = (share: number) => `${(100 * share).toFixed(0)}%`;
  const counts = groups.names.map((_, group) => groups.of.filter((of) => of === group).length);
  const classOf = (group: number) => (colouredBy === "tier" ? `t-${groups.names[group]}` : `s${group % 7}`);
  return {
    title: `${counted(points.length, "row")}, by ${colouredBy}`,
    caption:
      shares[0] === 0
        ? "All of them are at one place."
        : `The two axes of most variance: ${percent(shares[0])} of it to the right, ${percent(shares[1])} upwards, in one scale. What is far apart here is far apart; what is near may differ in the other ${percent(1 - shares[0] - shares[1])}.`,
    body: [
      key(groups.names.map((name, group) => [classOf(group), `${shortened(name)} (${formatCount(counts[group]!)})`])),
      mapPlot(map),
      '<output id="seen" class="quiet">Point at the map: the nearest row is named here.</output>',
    ].join(""),
    size: "all",
  };
}
