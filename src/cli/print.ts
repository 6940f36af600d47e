/** What the commands write: tables for people, one JSON document for programs (`--json`). */
import type { Hit, Stats } from "../index.js";
import { formatBytes, formatCount } from "./progress.js";
import { bar, type Canvas, canvasOf, coloured, printable } from "./terminal.js";

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
  const ids = hits.map(({ id }) => printable(String(id)));
  const widestId = Math.max(...ids.map(({ length }) => length));
  const room = Math.min(SNIPPET_CHARACTERS, columns - widestId - BESIDE_CHARACTERS);
  const rows = hits.map(({ score, distance, payload }, i) => [
    String(i + 1),
    rounded(score),
    rounded(distance),
    ids[i]!,
    snippet(payload, Math.max(room, SNIPPET_LEAST)),
  ]);
  return table([["", "score", "distance", "id", ""], ...rows], [0, 1, 2]);
}

/** Four decimals, without the sign of a zero. */
export const rounded = (x: number): string => x.toFixed(4).replace(/^-(0\.0+)$/, "$1");

/** The title, or the beginning of the text, or of the payload as JSON. */
export function snippet(payload: Hit["payload"], characters: number): string {
  if (payload === undefined || payload === null) return "";
  const { title, text } = payload;
  const line = (typeof title === "string" ? title : typeof text === "string" ? text : JSON.stringify(payload))
    .replaceAll(/\s+/g, " ")
    .trim();
  return cut(printable(line), characters);
}

const cut = (line: string, characters: number): string =>
  line.length > characters ? `${line.slice(0, characters - 3).toWellFormed()}...` : line;

const BAR = 24;
const BAR_LEAST = 4;

/** The tiers of `stats()`, drawn: what share of the vectors each holds, and what they take there. */
export function tierTable(stats: Stats, canvas: Canvas = canvasOf()): string {
  const rows = Object.entries(stats.tiers).map(
    ([tier, { count, bytes, bytesPerVector, ratio, codec, residentBytes }]) => [
      tier,
      formatCount(count),
      formatBytes(bytes),
      `${bytesPerVector} B`,
      `${ratio.toFixed(1)}x`,
      formatBytes(residentBytes),
      codec ?? "no codebook yet",
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
  const header = ["tier", "vectors", "bytes", "each", "of f32", "in memory", "codec"];
  const lines = table([header, ...rows, [...sum, "", ""]], [1, 2, 3, 4, 5]).split("\n");
  const widest = Math.max(...lines.map((line) => line.length));
  const room = Math.min(BAR, canvas.columns - widest - 2);
  if (room < BAR_LEAST) return lines.join("\n");
  const counts = Object.values(stats.tiers).map(({ count }) => count);
  return lines
    .map((line, i) => {
      const share = stats.size === 0 ? 0 : (counts[i - 1] ?? 0) / stats.size;
      return share === 0 ? line : `${line.padEnd(widest)}  ${coloured(canvas, "cyan", bar(share, room))}`;
    })
    .join("\n");
}

/** What is served and why, then each learner with the best set of learners that has it. */
export function learningText(
  { events, trainedEvents, serving, arms, learners, shifted, linked }: Stats["learning"],
  canvas: Canvas = canvasOf(),
): string {
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
  const rows = Object.entries(learners).map(([learner, { serves, adds }]) => {
    const having = all.filter(([name]) => name.split("+").includes(learner));
    const shown = having.find(([, { state }]) => state === "serving") ?? having[0];
    const own = [learner, serves ? "yes" : "no", adds === undefined ? "" : signed(adds)];
    if (shown === undefined) return { own, name: "not judged yet", judged: ["", "", "", ""], why: "" };
    const [name, { gain, disjointGain, events: judged, state, why }] = shown;
    return {
      own,
      name,
      judged: [signed(gain), signed(disjointGain), formatCount(judged), state],
      why: state === "serving" ? "" : why,
    };
  });
  const ended = ["gain", "never chosen", "events", "state"];
  const wide = table(
    [
      ["learner", "serves", "adds", "best with", ...ended],
      ...rows.map(({ own, name, judged, why }) => [...own, name, ...judged.slice(0, 3), join(judged[3]!, why)]),
    ],
    [2, 4, 5, 6],
  );
  if (wide.split("\n").every((line) => line.length <= canvas.columns)) return [table(facts), "", wide].join("\n");
  const narrow = table(
    [["learner", "serves", "adds", ...ended], ...rows.map(({ own, judged }) => [...own, ...judged])],
    [2, 3, 4, 5],
  );
  const reasons = rows.map(
    ({ own, name, why }) => `  ${own[0]}: ${name === own[0] ? why || "alone" : join(name, why)}`,
  );
  return [table(facts), "", narrow, "", "best with:", ...reasons].join("\n");
}

const join = (what: string, why: string): string => (why === "" ? what : `${what}: ${why}`);

/** nDCG@10 as a difference, with its sign. */
export const signed = (x: number): string => (x < 0 ? rounded(x) : `+${rounded(x)}`);
