/** What the commands write: tables for people, one JSON document for programs (`--json`). */
import type { Hit, Stats } from "../index.js";
import { formatBytes, formatCount } from "./progress.js";

const SNIPPET_CHARACTERS = 70;
const SNIPPET_LEAST = 20;
/** Rank, score and distance of a hit, and the space around them. */
const BESIDE_CHARACTERS = 26;

/** Writes the result of a command on stdout: as one line of JSON, or as text. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(value, floatsAsArrays)}\n` : `${text()}\n`);
}

/** JSON.stringify writes typed arrays as objects; programs want arrays. */
const floatsAsArrays = (_key: string, value: unknown): unknown =>
  value instanceof Float32Array ? Array.from(value) : value;

/** Columns padded to the widest cell; numbers belong to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = rows[0]?.map((_, c) => Math.max(...rows.map((row) => row[c]!.length))) ?? [];
  const line = (row: readonly string[]) =>
    row.map((cell, c) => (right.includes(c) ? cell.padStart(widths[c]!) : cell.padEnd(widths[c]!))).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

/** Hits with rank, score, distance, id, and the title or the beginning of the text, as far as the terminal has room. */
export function hitTable(hits: readonly Hit[], columns = process.stdout.columns ?? Infinity): string {
  if (hits.length === 0) return "nothing found";
  const widestId = Math.max(...hits.map(({ id }) => String(id).length));
  const room = Math.min(SNIPPET_CHARACTERS, columns - widestId - BESIDE_CHARACTERS);
  const rows = hits.map(({ id, score, distance, payload }, i) => [
    String(i + 1),
    rounded(score),
    rounded(distance),
    String(id),
    snippet(payload, Math.max(room, SNIPPET_LEAST)),
  ]);
  return table([["", "score", "distance", "id", ""], ...rows], [0, 1, 2]);
}

/** Four decimals, without the sign of a zero. */
const rounded = (x: number): string => x.toFixed(4).replace(/^-(0\.0+)$/, "$1");

function snippet(payload: Hit["payload"], characters: number): string {
  if (payload === undefined || payload === null) return "";
  const { title, text } = payload;
  const line = (typeof title === "string" ? title : typeof text === "string" ? text : JSON.stringify(payload))
    .replaceAll(/\s+/g, " ")
    .trim();
  return line.length > characters ? `${line.slice(0, characters - 3)}...` : line;
}

const BAR = 24;

/** The tiers of `stats()`, drawn: what share of the vectors each holds, and what they take there. */
export function tierTable(stats: Stats): string {
  const rows = Object.entries(stats.tiers).map(
    ([tier, { count, bytes, bytesPerVector, ratio, codec, residentBytes }]) => [
      tier,
      formatCount(count),
      formatBytes(bytes),
      `${bytesPerVector} B`,
      `${ratio.toFixed(1)}x`,
      formatBytes(residentBytes),
      codec ?? "no codebook yet",
      "#".repeat(stats.size === 0 ? 0 : Math.ceil((count / stats.size) * BAR)),
    ],
  );
  const { bytes, bytesPerVector, ratio } = stats.vectors;
  const sum = [
    "all",
    formatCount(stats.size),
    formatBytes(bytes),
    `${bytesPerVector.toFixed(0)} B`,
    `${ratio.toFixed(1)}x`,
  ];
  const header = ["tier", "vectors", "bytes", "each", "of f32", "in memory", "codec", ""];
  return table([header, ...rows, [...sum, "", "", ""]], [1, 2, 3, 4, 5]);
}

/** What is served and why, then each learner with the best set of learners that has it. */
export function learningText({
  events,
  trainedEvents,
  serving,
  arms,
  learners,
  shifted,
  linked,
}: Stats["learning"]): string {
  const all = Object.entries(arms).sort(([, a], [, b]) => b.gain - a.gain);
  const [best] = all;
  const served = serving === "static" ? undefined : serving.join("+");
  const facts = [
    [
      "feedback events",
      events === 0 ? "none" : `${formatCount(events)}, ${formatCount(trainedEvents)} of them in the last training`,
    ],
    ["serving", served?.replaceAll("+", " + ") ?? "nothing: neural answers equal vector answers"],
  ];
  if (served !== undefined) facts.push(["because it", arms[served]!.why]);
  else if (best !== undefined)
    facts.push(["because", `of ${formatCount(all.length)} sets the best, ${best[0]}: ${best[1].why}`]);
  facts.push(["shifted rows", formatCount(shifted)], ["linked rows", formatCount(linked)]);
  if (best === undefined) return table(facts);
  const header = ["learner", "serves", "adds", "best with", "gain", "never chosen", "events", "state"];
  const rows = Object.entries(learners).map(([learner, { serves, adds }]) => {
    const having = all.filter(([name]) => name.split("+").includes(learner));
    const shown = having.find(([, { state }]) => state === "serving") ?? having[0];
    if (shown === undefined) return [learner, "no", "", "not judged yet", "", "", "", ""];
    const [name, { gain, disjointGain, events: judged, state, why }] = shown;
    return [
      learner,
      serves ? "yes" : "no",
      adds === undefined ? "" : signed(adds),
      name,
      signed(gain),
      signed(disjointGain),
      formatCount(judged),
      state === "serving" ? state : `${state}: ${why}`,
    ];
  });
  return [table(facts), "", table([header, ...rows], [2, 4, 5, 6])].join("\n");
}

/** nDCG@10 as a difference, with its sign. */
const signed = (x: number): string => (x < 0 ? rounded(x) : `+${rounded(x)}`);
