/** Search: speed at equal recall, building, churn. */
import type { EngineName } from "../ann/engine.js";
import type { PartResults } from "../release/parts.js";
import { type FigureTable, row } from "./table.js";
import { ms, plain, ratio, recall, speed, words } from "./words.js";

type Ann = PartResults["ann"];

const engine = ({ engines }: Ann, name: EngineName) => engines.find((one) => one.engine === name);

const builtPerSecond = (results: Ann, name: EngineName) => {
  const build = engine(results, name)?.build;
  return speed(build && build.rows / build.seconds);
};

const besideRivals = (results: Ann, wanted: number) => {
  const at = results.ratios.find((one) => one.recall === wanted);
  const over = (rival: string) => ratio(at?.over[rival]);
  return [words`${speed(at?.hebb)}`, words`${over("usearch")}`, words`${over("hnswlib-node")}`];
};

const profile = (results: Ann, name: string) => {
  const own = results.profiles?.find((one) => one.profile === name);
  const at = (wanted: number) => ratio(own?.atRecall.find((one) => one.recall === wanted)?.overUsearch);
  return words`${at(0.985)} at .985, ${at(0.997)} at .997, with ${ratio(own?.overHnswlib)} the bytes of hnswlib's vectors and links`;
};

export const SPEED: FigureTable = {
  columns: ["Hebb", "over `usearch` (f32)", "over `hnswlib-node`"],
  rows: [
    row("queries/s at recall@10 >= .985", "ann", (results) => besideRivals(results, 0.985)),
    row("queries/s at recall@10 >= .997", "ann", (results) => besideRivals(results, 0.997)),
    row("vectors/s built and linked, 2 threads; `hnswlib-node` can use 1", "ann", (results) => {
      const own = engine(results, "hebb")?.build.seconds ?? Number.NaN;
      const over = (rival: EngineName) => ratio((engine(results, rival)?.build.seconds ?? Number.NaN) / own);
      return [words`${builtPerSecond(results, "hebb")}`, words`${over("usearch")}`, words`${over("hnswlib-node")}`];
    }),
  ],
};

export const SEARCH_DETAILS: FigureTable = {
  columns: ["figure"],
  rows: [
    row("profile `compact` over `usearch`, queries/s", "ann", (results) => profile(results, "compact")),
    row("profile `small` over `usearch`, queries/s", "ann", (results) => profile(results, "small")),
    row("AVX2 and scalar beside AVX-512, queries/s at recall .985", "ann", ({ kernels }) => {
      const over = (name: string) =>
        ratio((kernels?.speeds[name] ?? Number.NaN) / (kernels?.speeds.avx512 ?? Number.NaN));
      return words`${over("avx2")}, ${over("scalar")}; results ${kernels?.identical ? "the same, bit for bit" : "differ"}`;
    }),
    row("`search` with ids and payloads beside `searchNodes`", "ann", ({ calls }) => {
      const { search, searchNodes } = calls?.queriesPerSecond ?? {};
      return words`${ratio((search ?? Number.NaN) / (searchNodes ?? Number.NaN))}`;
    }),
    row("`searchMany` on all cores beside one", "ann", ({ threads }) => words`${ratio(threads?.gain)}`),
    row("vectors/s until acknowledged and found; until linked", "ann", (results) => {
      const build = engine(results, "hebb")?.build;
      const acknowledged = speed(build && build.rows / build.acknowledgedSeconds);
      return words`${acknowledged}, ${builtPerSecond(results, "hebb")} (\`usearch\` ${builtPerSecond(results, "usearch")}, \`hnswlib-node\` on one thread ${builtPerSecond(results, "hnswlib-node")})`;
    }),
    row(
      "90% deleted and put again in 10 rounds, beside a fresh build: recall@10 where that is >= .95",
      "ann-stored",
      ({ churn }) => words`at most ${plain(churn?.worstLoss, 4)} lower`,
    ),
    row("rows that no search finds after that, however large its ef", "ann-stored", ({ churn }) => {
      const audit = churn?.auditChurned;
      return words`${speed(audit && (audit.missedAt.at(-1)?.missed ?? audit.missed))} of ${speed(audit?.live)}`;
    }),
    row(
      "a filter that admits 1%, 10% and 50%: recall@10, and queries/s over no filter at equal ef",
      "ann-stored",
      ({ filters }) => {
        const at = (selectivity: number) => filters?.find((one) => one.selectivity === selectivity)?.atEqualEf;
        const found = (selectivity: number) => recall(at(selectivity)?.recall);
        const over = (selectivity: number) => ratio(at(selectivity)?.ratio);
        return words`${found(0.01)}, ${found(0.1)}, ${found(0.5)}; ${over(0.01)}, ${over(0.1)}, ${over(0.5)}`;
      },
    ),
    row("closing, opening and the first result: files in the system's cache; not", "ann-stored", ({ reopen }) => {
      return words`${ms(reopen?.medianMs)}; ${ms(reopen?.cold?.openToFirstResultMs)}`;
    }),
    row("recall@10 of profile `turbo` at ef 16, 64 and 400", "ann", (results) => {
      const at = (ef: number) => recall(engine(results, "hebb")?.points.find((point) => point.ef === ef)?.recall, 4);
      return words`${at(16)}, ${at(64)}, ${at(400)}`;
    }),
  ],
};
