/** Durability: what a row costs that is on disk before it is acknowledged, and what searches notice of checkpoints. */
import type { EngineName } from "../durability/engines.js";
import type { PartResults } from "../release/parts.js";
import { mean } from "../stats.js";
import { type FigureTable, row } from "./table.js";
import { ms, plain, speed, words } from "./words.js";

type Durability = PartResults["durability"];

const ENGINES: [EngineName, string][] = [
  ["hebb", "Hebb"],
  ["sqlite", "SQLite (WAL, FULL)"],
  ["lmdb", "LMDB"],
];

/** Hebb while checkpoints run one after the other; the others as they always are. */
const ingest = (engine: EngineName, name: string, callers: number) =>
  row(`${name}, ${callers} ${callers === 1 ? "caller" : "callers"}`, "durability", (results: Durability) => {
    const rows = results.ingest?.filter((one) => one.engine === engine && one.callers === callers);
    const found = rows?.find(({ checkpoints }) => checkpoints) ?? rows?.[0];
    return [words`${speed(found?.rowsPerSecond)}`, words`${ms(found?.p50)}`, words`${ms(found?.p99)}`];
  });

export const INGEST: FigureTable = {
  columns: ["rows/s", "p50", "p99"],
  rows: [1, 32].flatMap((callers) => ENGINES.map(([engine, name]) => ingest(engine, name, callers))),
};

const searches = (what: string, during: "nothing" | "checkpoint") =>
  row(what, "durability", ({ search }) => {
    const found = search?.figures.find((one) => one.during === during);
    return [words`${ms(found?.p50)}`, words`${ms(found?.p99)}`, words`${ms(found?.p999)}`];
  });

export const SEARCHES: FigureTable = {
  columns: ["p50", "p99", "p99.9"],
  rows: [
    searches("searches in 50,000 x 128 while checkpoints write", "checkpoint"),
    searches("without checkpoints", "nothing"),
  ],
};

export const DURABILITY_DETAILS: FigureTable = {
  columns: ["figure"],
  rows: [
    row("what such a checkpoint writes, on average", "durability", ({ search }) => {
      return words`${plain(search && mean(search.dirtyMegabytes), 0)} MB`;
    }),
    row("a long ingest with a log limit of 8 MB: the log's size at most", "durability-long", ({ long }) => {
      return words`${plain(long && long.logBytes / 1e6, 0)} MB`;
    }),
    row("rows/s of that", "durability-long", ({ long }) => words`${speed(long?.rowsPerSecond)}`),
  ],
};
