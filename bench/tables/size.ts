/** Size: what tiers of precision take, and what is found in them. */
import type { Tier } from "../../base/types.js";
import type { PartResults } from "../release/parts.js";
import { type FigureTable, row } from "./table.js";
import { plain, recall, words } from "./words.js";

type Tiers = PartResults["tiers"];

const SETS = [
  ["ann-mnist", "MNIST, 784 dimensions"],
  ["ir-scifact", "SciFact, 256"],
  ["ann-wiki-terms-minilm-glove", "MiniLM, 384"],
  ["ann-glove100-10k", "GloVe, 100"],
] as const;
const CODED = ["cool", "cold", "archive"] as const;

const tierOf = ({ recall: sets }: Tiers, data: string, tier: Tier) =>
  sets.find((set) => set.data === data)?.tiers.find((one) => one.tier === tier);

const storeOf = ({ store }: Tiers, data: string, m: number, keepOriginals: boolean) =>
  store.find(
    (one) => one.data === data && one.profile === "small" && one.m === m && one.keepOriginals === keepOriginals,
  );

const ofEach = (data: string, pick: (results: Tiers, data: string, tier: Tier) => ReturnType<typeof recall>) => {
  return (results: Tiers) => CODED.map((tier) => words`${pick(results, data, tier)}`);
};

const alone = (results: Tiers, data: string, tier: Tier) => recall(tierOf(results, data, tier)?.recall);
const compared = (results: Tiers, data: string, tier: Tier) => recall(tierOf(results, data, tier)?.reranked);
const bestRival = (results: Tiers, data: string, tier: Tier) => {
  const rivals = tierOf(results, data, tier)?.rivals;
  return recall(rivals && Math.max(...rivals.map((one) => one.recall)));
};

const codes = (tier: Tier, what: string) =>
  row(what, "tiers", (results) => [
    words`${plain(1 / (tierOf(results, "ann-mnist", tier)?.ratio ?? Number.NaN))}`,
    words`${alone(results, "ann-mnist", tier)}`,
    words`${compared(results, "ann-mnist", tier)}`,
    words`${bestRival(results, "ann-mnist", tier)}`,
  ]);

export const SIZE: FigureTable = {
  columns: [
    "bytes, of f32's",
    "recall@10 by codes alone",
    "compared again with originals on disk",
    "scalar, PQ or RaBitQ codes of that size, the best",
  ],
  rows: [
    codes("cool", "vectors in tier `cool`"),
    codes("cold", "in `cold`"),
    codes("archive", "in `archive`"),
    row("a whole store (graph, ids, vectors in five tiers), queries for what is used most", "tiers", (results) => {
      const [bare, kept] = [storeOf(results, "ann-mnist", 16, false), storeOf(results, "ann-mnist", 16, true)];
      return [
        words`${plain(bare?.share)}`,
        words`${recall(bare?.hot.recall)}`,
        words`${recall(kept?.hot.recall)}`,
        words``,
      ];
    }),
  ],
};

export const CODES: FigureTable = {
  columns: ["cool (4x smaller)", "cold (about 7.6x)", "archive (about 26x; GloVe 23.5x)"],
  rows: SETS.flatMap(([data, name]) => [
    row(`${name}: by codes alone`, "tiers", ofEach(data, alone)),
    row(`${name}: the best plain quantizer`, "tiers", ofEach(data, bestRival)),
    row(`${name}: 40 compared again`, "tiers", ofEach(data, compared)),
  ]),
};

export const STORES: FigureTable = {
  columns: ["784 dimensions (MNIST)", "1,024 (generated)"],
  rows: [
    ...[16, 10].map((m) =>
      row(`graph, ids and codes, profile \`small\`, M ${m}: share of f32 alone`, "tiers", (results) =>
        ["ann-mnist", "sheet"].map((data) => words`${plain(storeOf(results, data, m, false)?.share)}`),
      ),
    ),
    row("hot queries there (M 16): recall@10 with originals", "tiers", (results) =>
      ["ann-mnist", "sheet"].map((data) => words`${recall(storeOf(results, data, 16, true)?.hot.recall)}`),
    ),
    row("without any originals", "tiers", (results) =>
      ["ann-mnist", "sheet"].map((data) => words`${recall(storeOf(results, data, 16, false)?.hot.recall)}`),
    ),
  ],
};

/** Points of percent, as both are shares. */
const points = (value: number) => plain(value * 100, 1);

export const TRACES: FigureTable = {
  columns: ["found hot or warm", "the better of LRU and W-TinyLFU", "points more"],
  rows: [
    ["trace-cache2k-web07", "web cache"],
    ["trace-scarab-recs", "recommendations"],
  ].flatMap(([data, name]) =>
    [0.01, 0.05, 0.2].map((size) =>
      row(`${name}, bytes for ${size * 100}% of the vectors`, "tiers", ({ traces }) => {
        const at = traces.find((one) => one.data === data)?.sizes.find((one) => one.size === size);
        const rival = at && Math.max(at.lruSameBytes, at.tinyLfuSameBytes);
        return [
          words`${plain(at?.precise)}`,
          words`${plain(rival)}`,
          words`${points((at?.precise ?? Number.NaN) - (rival ?? 0))}`,
        ];
      }),
    ),
  ),
};
