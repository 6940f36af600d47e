/** What a report shows, measured on the store itself. */
import { Prng } from "../../../base/prng.js";
import { TIERS } from "../../../base/types.js";
import type { Index, Stats, SurveyedRow } from "../../index.js";
import { type GraphHealth, graphHealth } from "../graph-health.js";
import { snippet } from "../print.js";
import { Progress } from "../progress.js";
import { EFS, type Measured, measure, quantile, withNoise } from "../recall.js";
import { type Grouping, groupsBy } from "./groups.js";
import { type FlatMap, flatMap } from "./map.js";

/** Values of all vectors of a map; fewer rows are drawn where they are longer. */
const MAP_VALUES = 8e6;
const SEED = 1;
/** Of a distribution. */
const BARS = 24;
/** Characters of a payload beside an id. */
const BESIDE = 80;

export interface ReportOptions {
  /** Queries that recall and time are measured with. */
  queries: number;
  k: number;
  /** Points of the map, at most. */
  points: number;
  /** The payload field that colours the map; undefined: the tier. */
  colour: string | undefined;
}

export interface Recall {
  k: number;
  queries: number;
  runs: Measured[];
  /** Median of exact searches. */
  exactMs: number;
}

export interface StoreMap extends FlatMap {
  rows: (SurveyedRow & { beside: string })[];
  groups: Grouping;
  colouredBy: string;
}

export interface ReportData {
  store: string;
  /** When it was gathered. */
  at: Date;
  version: string;
  stats: Stats;
  health: GraphHealth | undefined;
  recall: Recall | undefined;
  map: StoreMap | undefined;
}

export async function gather(
  index: Index,
  { queries, k, points, colour }: ReportOptions,
): Promise<Omit<ReportData, "store" | "at" | "version">> {
  const stats = index.stats(); // before searches bring more of it into memory
  const health = await graphHealth(index, BARS);
  return { stats, health, recall: recallOf(index, queries, k), map: mapOf(index, points, colour) };
}

function recallOf(index: Index, queries: number, k: number): Recall | undefined {
  const random = new Prng(SEED);
  const asked = index.survey(queries).map(({ id }) => withNoise(index.get(id)!.vector, random));
  if (asked.length === 0) return undefined;
  const exactMs: number[] = [];
  const exactly = new Progress("searching exactly", "queries");
  const truth = asked.map((query, i) => {
    exactly.update(i, i / asked.length);
    const start = performance.now();
    const hits = index.search(query, { k, exact: true, include: [] });
    exactMs.push(performance.now() - start);
    return new Set(hits.map(({ id }) => id));
  });
  exactly.stop();
  const searching = new Progress("measuring", "searches");
  const runs = EFS.filter((ef) => ef >= k || ef === EFS.at(-1)).map((ef, i) => {
    searching.update(2 * i * asked.length, i / EFS.length);
    return measure(index, asked, truth, k, ef);
  });
  searching.stop();
  return { k, queries: asked.length, runs, exactMs: quantile(exactMs, 0.5) };
}

function mapOf(index: Index, points: number, colour: string | undefined): StoreMap | undefined {
  const surveyed = index.survey(Math.min(points, Math.max(50, Math.floor(MAP_VALUES / index.dimensions))));
  if (surveyed.length === 0) return undefined;
  const stored = surveyed.map(({ id }) => index.get(id)!);
  const rows = surveyed.map((row, i) => ({ ...row, beside: snippet(stored[i]!.payload, BESIDE) }));
  const groups =
    colour === undefined
      ? tiersOf(rows)
      : groupsBy(
          colour,
          stored.map(({ payload }) => payload),
        );
  const vectors = stored.map(({ vector }) => vector);
  return { ...flatMap(vectors, index.metric === "cosine"), rows, groups, colouredBy: colour ?? "tier" };
}

/** Tiers in their order, those that have none left out. */
function tiersOf(rows: readonly SurveyedRow[]): Grouping {
  const names = TIERS.filter((tier) => rows.some((row) => row.tier === tier));
  return { names, of: rows.map(({ tier }) => names.indexOf(tier)) };
}
