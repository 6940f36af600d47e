/** Learning: what feedback is worth to others' queries, how it goes wrong, and what it costs. */
import { CONTROLS as RECOMMENDERS } from "../recommend/rankers.js";
import type { PartName, PartResults } from "../release/parts.js";
import { mean, median, percentile } from "../stats.js";
import { type FigureTable, row } from "./table.js";
import { type Figure, ms, ndcg, percent, plain, ratio, recall, speed, words } from "./words.js";

type FoldsPart = Extract<PartName, "learn-cranfield" | "learn-scifact" | "learn-cisi">;

const folds = (what: string, part: FoldsPart, stratum: "all" | "disjoint" = "all") =>
  row(what, part, ({ strata, bestControl, comparisons }) => {
    const over = comparisons.find((one) => one.stratum === stratum && one.over === bestControl);
    const best = words`${ndcg(strata[bestControl][stratum])} (${bestControl})`;
    const difference = words`${signed(over?.mean)} [${signed(over?.low)}, ${signed(over?.high)}]`;
    return [words`${ndcg(strata.static[stratum])}`, words`${ndcg(strata.neural[stratum])}`, best, difference];
  });

function signed(value: number | undefined): Figure {
  const { text, ...rest } = plain(value === undefined ? value : Math.abs(value));
  return { ...rest, value: value ?? Number.NaN, text: value === undefined ? text : `${value < 0 ? "-" : "+"}${text}` };
}

const AMAZON = row("Amazon likes, one by one in their order: the next one", "recommend-amazon", ({ stream }) => {
  // Of windows of as many tests each; what is left over at the end is in none.
  const [{ static: fixed, neural }] = stream.runs;
  const best = stream.controls.reduce((a, b) => (mean(b.windows) > mean(a.windows) ? b : a));
  return [
    words`${ndcg(mean(fixed))}`,
    words`${ndcg(mean(neural))}`,
    words`${ndcg(mean(best.windows))} (${best.control})`,
    words`${signed(mean(neural) - mean(best.windows))}`,
  ];
});

const LASTFM = row("Last.fm: recall@20 of the rest of what somebody plays", "recommend-lastfm", ({ split }) => {
  const of = (ranker: string) => mean(split.runs.find((one) => one.ranker === ranker)!.recall);
  const controls = split.runs.filter(({ ranker }) => ranker !== "static" && ranker !== "neural");
  const best = controls.reduce((a, b) => (mean(b.recall) > mean(a.recall) ? b : a));
  return [
    words`${recall(of("static"))}`,
    words`${recall(of("neural"))}`,
    words`${recall(mean(best.recall))} (${best.ranker})`,
    words`${signed(of("neural") - mean(best.recall))}`,
  ];
});

const COLUMNS = ["`vector`", "`neural`", "best other learner", "`neural` above that"];

export const LEARNING: FigureTable = {
  columns: COLUMNS,
  rows: [
    folds("Cranfield (aeronautics): nDCG@10", "learn-cranfield"),
    folds("the same among documents that nobody had chosen", "learn-cranfield", "disjoint"),
    folds("SciFact (claims)", "learn-scifact"),
    folds("CISI (61 questions: too few to be certain of anything)", "learn-cisi"),
    AMAZON,
    LASTFM,
  ],
};

export const LEARNING_DETAILS: FigureTable = {
  columns: COLUMNS,
  rows: [
    folds("SciFact among documents that nobody had chosen", "learn-scifact", "disjoint"),
    folds("CISI among documents that nobody had chosen", "learn-cisi", "disjoint"),
  ],
};

export const CONTROLS: FigureTable = {
  columns: RECOMMENDERS,
  rows: [
    row("Amazon, nDCG@10", "recommend-amazon", ({ stream }) =>
      RECOMMENDERS.map((name) => {
        const found = stream.controls.find(({ control }) => control === name);
        return words`${ndcg(found && mean(found.windows))}`;
      }),
    ),
    row("Last.fm, recall@20", "recommend-lastfm", ({ split }) =>
      RECOMMENDERS.map((name) => {
        const found = split.runs.find(({ ranker }) => ranker === name);
        return words`${recall(found && mean(found.recall))}`;
      }),
    ),
  ],
};

export const CLICKS: FigureTable = {
  columns: ["nDCG@10 above `vector`", "wrong clicks"],
  rows: [
    ...(
      [
        [0, 0.2],
        [1, 0.2],
        [2, 0.2],
        [1, 0.1],
        [1, 0.3],
      ] as const
    ).map(([eta, noise]) =>
      row(`looks fall with the place by eta ${eta}, noise ${noise * 100}%`, "learn-clicks", ({ clicks }) => {
        const found = clicks.cases.find((one) => one.eta === eta && one.noise === noise);
        return [words`${signed(found?.gain)}`, words`${percent(found?.wrongShare)}`];
      }),
    ),
    row("every relevant one of those shown", "learn-clicks", ({ clicks }) => [
      words`${signed(clicks.shown)}`,
      words`0%`,
    ]),
    row("all judgements", "learn-clicks", ({ clicks }) => [words`${signed(clicks.all)}`, words`0%`]),
  ],
};

/** After the flip: how much of the gain before was back, at best and at the end, and after how many events. */
function backAfterFlip({ before, curve }: PartResults["learn-failures"]["failures"]["drift"]) {
  const flipped = curve.filter((point) => point.flipped);
  const gain = (point: (typeof curve)[number]) => point.neural - point.static;
  const best = flipped.reduce((a, b) => (gain(b) > gain(a) ? b : a));
  const last = flipped[flipped.length - 1];
  const of = (point: (typeof curve)[number]) => ({ share: gain(point) / before, events: point.event });
  return { best: of(best), last: of(last) };
}

export const FAILURES: FigureTable = {
  columns: ["figure"],
  rows: [
    row("nDCG@10 lost to 1% of adversarial clicks", "learn-failures", ({ failures }) => {
      return words`${percent(failures.poisoning.loss, 1)}`;
    }),
    row("of what was gained on one topic, kept while another is learned", "learn-failures", ({ failures }) => {
      return words`${percent(failures.forgetting.kept)}`;
    }),
    row("rank of the shifted vectors, of the raw ones'", "learn-failures", ({ failures }) => {
      return words`${percent(failures.collapse.share)}`;
    }),
    row(
      "all judgements turn at once: judged events until `neural` is no more below `vector`",
      "learn-failures",
      ({ failures }) => words`at most ${speed(failures.drift.harmless)}`,
    ),
    row("of the gain before that, the most that is back later", "learn-failures", ({ failures }) => {
      const { best, last } = backAfterFlip(failures.drift);
      return words`${percent(best.share)} after ${speed(best.events)} events; ${percent(last.share)} after ${speed(last.events)}, where it ends`;
    }),
    row(
      "rows put after the feedback, asked for by new queries, nDCG@10: `vector`, `neural` without and with what they inherit",
      "learn-arrivals",
      ({ arrivals }) => {
        const late = (way: string) => ndcg(arrivals.ways[way]?.means[1]);
        return words`${late("static")}, ${late("local_steps = 0")}, ${late("local_steps = 3")}`;
      },
    ),
  ],
};

export const COSTS: FigureTable = {
  columns: ["figure"],
  rows: [
    row("a query for 600 of Cranfield's documents: `vector`, `neural`", "learn-cranfield", ({ folds: all }) => {
      return words`${ms(median(all.map((one) => one.vectorMs)))}, ${ms(median(all.map((one) => one.neuralMs)))}`;
    }),
    row("one layer of the network for a query, 1,024 dimensions, hidden 512, 8 heads: p50, p99", "gnn", ({ hop }) => {
      const layer = hop.find(({ layers }) => layers === 1);
      return words`${ms(layer?.p50)}, ${ms(layer?.p99)}`;
    }),
    row("its training step, 32 queries of 128 dimensions, beside TensorFlow.js (WebAssembly)", "gnn", ({ step }) => {
      return words`${ratio(step.ratio, 0)} faster`;
    }),
    row("`learn` of one event on 60,000 x 784, synced to disk, p50", "gnn", ({ learn }) => {
      return words`${ms(percentile(learn.learnMs, 0.5))}`;
    }),
    row("a search's own time meanwhile, beside alone, p50", "gnn", ({ learn }) => {
      return words`${ratio(percentile(learn.beside.callMs, 0.5) / percentile(learn.alone.callMs, 0.5))}`;
    }),
    row(
      "`learn` on 10,000, 100,000 and 1,000,000 rows of 32 dimensions, not synced, p50",
      "gnn-memory",
      ({ memory }) => {
        const [a, b, c] = memory.map(({ p50Ms }) => ms(p50Ms));
        return words`${a}, ${b}, ${c}`;
      },
    ),
    row("what an event leaves on the heap there, KB", "gnn-memory", ({ memory }) => {
      const [a, b, c] = memory.map(({ heapBytes, events }) => plain(heapBytes / events / 1e3, 0));
      return words`${a}, ${b}, ${c}`;
    }),
  ],
};
