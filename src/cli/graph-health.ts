/** How healthy the graph of a store is, by a look at some of its rows. */
import { HebbError, type Index, type Stats } from "../index.js";
import { table } from "./print.js";
import { counted, formatCount } from "./progress.js";
import { bar, type Canvas, coloured } from "./terminal.js";

/** Rows that are looked at, and those of them that searches look for. */
const SURVEYED = 1000;
const SOUGHT = 200;
/** Distances that differ by less than this share are the same. */
const ROUNDING = 1e-5;
/** Bars of a distribution. */
const MOST_BARS = 8;

/** How many values lie from `from` to `to`, both included. */
interface Bin {
  from: number;
  to: number;
  count: number;
}

export interface Spread {
  least: number;
  median: number;
  mean: number;
  most: number;
  bins: Bin[];
}

export interface GraphHealth {
  /** Rows that were looked at, drawn evenly; all others are guessed from them. */
  surveyed: number;
  /** Edges that leave a row on the bottom layer, and that lead to one. */
  outDegree: Spread;
  inDegree: Spread;
  /** Surveyed rows whose highest layer it is, from layer 0 on. */
  levels: number[];
  /** Of `sought` rows those that a search by their own vector, with the usual ef, finds among its first ten. */
  reached: { sought: number; found: number };
}

/**
 * @param bars of a distribution, at most
 * @returns undefined for a graph without rows
 * @throws {HebbError} INDEX_CORRUPT, IO_ERROR where rows cannot be read
 */
export async function graphHealth(index: Index, bars = MOST_BARS): Promise<GraphHealth | undefined> {
  const found = index.survey(SURVEYED);
  if (found.length === 0) return undefined;
  const levels: number[] = Array(1 + Math.max(...found.map(({ level }) => level))).fill(0);
  for (const { level } of found) levels[level]!++;
  const step = Math.max(1, found.length / SOUGHT);
  const sought = Array.from({ length: Math.min(SOUGHT, found.length) }, (_, i) => found[Math.floor(i * step)]!);
  const vectors = new Float32Array(sought.length * index.dimensions);
  sought.forEach(({ id }, i) => {
    vectors.set(index.get(id)!.vector, i * index.dimensions);
  });
  const hits = await index.searchMany(vectors, { k: 10, include: [] });
  // Others may be as near: rows that are equal, and under dot longer ones. Then they are rightly the first.
  const isFound = hits.map((near, i) => {
    const vector = vectors.subarray(i * index.dimensions, (i + 1) * index.dimensions);
    const square = vector.reduce((sum, x) => sum + x * x, 0);
    const own = index.metric === "dot" ? -square : 0;
    const slack = ROUNDING * (index.metric === "cosine" ? 1 : square);
    return near.some(({ id }) => id === sought[i]!.id) || near.at(-1)!.distance <= own + slack;
  });
  return {
    surveyed: found.length,
    outDegree: spreadOf(
      found.map(({ outDegree }) => outDegree),
      bars,
    ),
    inDegree: spreadOf(
      found.map(({ inDegree }) => inDegree),
      bars,
    ),
    levels,
    reached: { sought: sought.length, found: isFound.filter(Boolean).length },
  };
}

/** Counts in bins of equal width, a whole number from the least value to the greatest. */
export function spreadOf(values: readonly number[], most: number): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const [least, greatest] = [sorted[0]!, sorted.at(-1)!];
  const width = Math.max(1, Math.ceil((greatest - least + 1) / most));
  const bins: Bin[] = Array.from({ length: Math.ceil((greatest - least + 1) / width) }, (_, i) => ({
    from: least + i * width,
    to: Math.min(greatest, least + (i + 1) * width - 1),
    count: 0,
  }));
  for (const value of values) bins[Math.floor((value - least) / width)]!.count++;
  return {
    least,
    median: sorted[Math.floor(sorted.length / 2)]!,
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    most: greatest,
    bins,
  };
}

/** `graphHealth`, or why the graph cannot be looked at, for who has more to show than that. */
export async function graphHealthOrFault(index: Index): Promise<{ health?: GraphHealth; fault?: string }> {
  try {
    const health = await graphHealth(index);
    return health === undefined ? {} : { health };
  } catch (error) {
    if (!(error instanceof HebbError)) throw error;
    return { fault: `the graph cannot be looked at: ${error.message}` };
  }
}

/** What waits and what is dead, then what was found of degrees and layers. */
export function healthText(stats: Stats, health: GraphHealth | undefined, canvas: Canvas): string {
  const { backlog, deleted, size } = stats;
  const share = (count: number, of: number) => (of === 0 ? "" : ` (${((100 * count) / of).toFixed(1)}% of all)`);
  const facts = [
    ["not linked yet", backlog === 0 ? "none" : `${formatCount(backlog)}${share(backlog, size)}`],
    ["deleted, not yet freed", deleted === 0 ? "none" : `${formatCount(deleted)}${share(deleted, size + deleted)}`],
    [
      "rows hold",
      `profile ${stats.graph.profile}, ${formatCount(stats.graph.rowBytes)} B; searches compare by ${stats.graph.path}`,
    ],
  ];
  if (health === undefined) return table(facts);
  const { surveyed, reached, outDegree, inDegree, levels } = health;
  const { sought, found } = reached;
  facts.push([
    "reached",
    `${formatCount(found)} of ${formatCount(sought)} rows were found by their own vectors${found === sought ? "" : ": try a larger ef, or hebb check"}`,
  ]);
  const drawn = (bins: readonly { label: string; count: number }[]): string => {
    const most = Math.max(...bins.map(({ count }) => count));
    const widest = Math.max(...bins.map(({ label }) => label.length));
    const width = Math.max(8, Math.min(48, canvas.columns - widest - 14));
    return bins
      .map(({ label, count }) => {
        const line = coloured(canvas, "cyan", bar(count / most, width));
        return `  ${label.padStart(widest)}  ${formatCount(count).padStart(7)}  ${line}`.trimEnd();
      })
      .join("\n");
  };
  const spread = (name: string, { least, median, mean, most, bins }: Spread): string =>
    `${coloured(canvas, "bold", name)}: ${least} to ${most}, median ${median}, mean ${mean.toFixed(1)}\n${drawn(
      bins.map(({ from, to, count }) => ({ label: from === to ? String(from) : `${from}-${to}`, count })),
    )}`;
  return [
    table(facts),
    "",
    `${counted(surveyed, "row")} looked at${surveyed < size - backlog ? `, of ${formatCount(size)}` : ""}`,
    spread("edges that leave a row", outDegree),
    spread("edges that lead to a row", inDegree),
    `${coloured(canvas, "bold", "highest layer of a row")}\n${drawn(levels.map((count, level) => ({ label: String(level), count })))}`,
  ].join("\n");
}
