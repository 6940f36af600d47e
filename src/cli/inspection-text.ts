/** What `hebb inspect` says of a row. */
import type { Explanation, Inspection, Payload } from "../index.js";
import { rounded, signed, table } from "./print.js";
import { counted, formatCount } from "./progress.js";
import { bar, type Canvas, coloured, printable } from "./terminal.js";

/** Of neighbours, beside those by learned edges, and of learned edges to the row; `--json` has all. */
const LISTED = 16;
const BAR = 20;
/** Numbers of a vector that are shown. */
const VALUES = 4;

export function inspectionText(row: Inspection, canvas: Canvas): string {
  const { id, vector, tier, heat, linked, level, inDegree, neighbours, shift, payload, explanation } = row;
  const inGraph = neighbours.filter((neighbour) => neighbour.inGraph).length;
  const learned = neighbours.filter(({ strength }) => strength > 0).length;
  const facts = [
    ["id", printable(JSON.stringify(id))],
    ["tier", `${tier}, heat ${heat.toFixed(2)}`],
    [
      "graph",
      linked
        ? `highest layer ${level}; ${counted(inGraph, "edge")} leave it, ${formatCount(inDegree)} lead to it`
        : "not linked yet: a search finds it by a scan",
    ],
    ["learned edges", learned === 0 ? "none leave it" : `${formatCount(learned)} leave it`],
    [
      "shift",
      shift === undefined ? "none" : `${shift.length.toFixed(4)} long, chosen ${counted(shift.choices, "time")}`,
    ],
    [
      "vector",
      `[${Array.from(vector.subarray(0, VALUES), (x) => x.toFixed(4)).join(", ")}${vector.length > VALUES ? `, ...] (${vector.length} values)` : "]"}`,
    ],
  ];
  const parts = [
    table(facts),
    payloadText(payload, canvas),
    neighbours.length === 0
      ? ""
      : `${title(canvas, "Neighbours, nearest first")}\n${neighbourTable(neighbours, canvas)}`,
    explanation === undefined
      ? ""
      : `${title(canvas, "Why it ranks where it ranks")}\n${explanationText(explanation, canvas)}`,
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

const title = (canvas: Canvas, text: string): string => coloured(canvas, "bold", text);

/** A field each line, cut to the width; control characters are shown as JSON shows them. */
function payloadText(payload: Payload | undefined, canvas: Canvas): string {
  if (payload === undefined) return "";
  const lines = Object.entries(payload).map(([field, value]) => {
    const line = `  ${printable(JSON.stringify(field).slice(1, -1))}: ${printable(JSON.stringify(value))}`;
    return line.length > canvas.columns ? `${line.slice(0, canvas.columns - 3)}...` : line;
  });
  return [title(canvas, "Payload"), ...lines].join("\n");
}

function neighbourTable(neighbours: Inspection["neighbours"], canvas: Canvas): string {
  const shown = neighbours.filter(({ strength }, i) => i < LISTED || strength > 0).slice(0, 2 * LISTED);
  const rows = shown.map(({ id, distance, weight, bias, strength, inGraph }) => [
    rounded(distance),
    weight.toFixed(4),
    bias === 0 ? "" : signed(bias),
    strength === 0 ? "" : strength.toFixed(3),
    inGraph ? (strength > 0 ? "both" : "graph") : "learned",
    printable(JSON.stringify(id)),
  ]);
  const lines = table([["distance", "weight", "bias", "strength", "edge", "id"], ...rows], [0, 1, 2, 3]).split("\n");
  const rest = neighbours.length - shown.length;
  return [
    ...lines.map((line, i) => (i === 0 ? coloured(canvas, "gray", line) : line)),
    ...(rest > 0 ? [`and ${formatCount(rest)} more (--json has all)`] : []),
  ].join("\n");
}

function explanationText({ serving, k, static: plain, neural, parts, edges }: Explanation, canvas: Canvas): string {
  const rank = (at: number | undefined) => (at === undefined ? `not among ${formatCount(k)}` : String(at));
  const most = Math.max(Math.abs(plain.score), ...parts.map(({ adds }) => Math.abs(adds)), Number.MIN_VALUE);
  const drawn = (x: number) => coloured(canvas, x < 0 ? "red" : "green", bar(Math.abs(x) / most, BAR));
  const rows = [
    ["static", rounded(plain.score), rank(plain.rank), drawn(plain.score)],
    ...parts.map(({ learner, adds, rank: at }) => [`+ ${learner}`, signed(adds), formatCount(at), drawn(adds)]),
    ["neural", rounded(neural.score), rank(neural.rank), ""],
  ];
  const lines = [table([["", "score", "rank", ""], ...rows], [1, 2])];
  if (serving === "static") lines.push("nothing learned serves: neural answers equal vector answers");
  if (edges.length > 0) {
    lines.push(
      "",
      `${counted(edges.length, "row")} that stand${edges.length === 1 ? "s" : ""} for the query lead${edges.length === 1 ? "s" : ""} here by learned edges:`,
    );
    const shown = edges
      .slice(0, LISTED)
      .map(({ from, share, strength }) => [share.toFixed(3), strength.toFixed(3), printable(JSON.stringify(from))]);
    lines.push(table([["share", "strength", "from"], ...shown], [0, 1]));
  }
  return lines.join("\n");
}
