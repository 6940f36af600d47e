/** Frozen bundles: scans, coding, what codes find alone, how far estimates are off. */
import { type Contest, ratio as overRounds, timed } from "../frozen/contest.js";
import type { PartResults } from "../release/parts.js";
import { type FigureTable, row } from "./table.js";
import { plain, ratio, recall, speed, words } from "./words.js";

type Frozen = PartResults["frozen"];

const KERNELS = ["avx512", "avx2", "scalar"] as const;
const SCAN = "scan, 4 bits";

const callOf = (contest: Contest | undefined, kernel: string, name: string) => {
  const one = contest?.kernels.find((each) => each.kernel === kernel);
  return one && timed(one, name);
};

const over = (contest: Contest | undefined, kernel: string, own: string, other: string) => {
  const [a, b] = [callOf(contest, kernel, own), callOf(contest, kernel, other)];
  return a && b && overRounds(a, b);
};

const leastRecall = (contest: Contest | undefined) => {
  const scans = contest?.kernels.flatMap(({ calls }) => calls.filter(({ name }) => name.startsWith("scan")));
  return scans && Math.min(...scans.flatMap(({ recalls }) => recalls));
};

const scans = (what: string, contestOf: (results: Frozen) => Contest | undefined) =>
  row(what, "frozen", (results) => {
    const contest = contestOf(results);
    const cells = KERNELS.map(
      (kernel) =>
        words`${speed(callOf(contest, kernel, SCAN)?.queriesPerSecond)}, ${ratio(over(contest, kernel, SCAN, "exact"), 0)}`,
    );
    return [words`${recall(leastRecall(contest), 4)}`, ...cells];
  });

export const FROZEN: FigureTable = {
  columns: ["recall@10", "AVX-512", "AVX2", "scalar"],
  rows: [
    scans("100,000 x 128, generated: scans/s, and that over exhaustive search", ({ speed: contest }) => contest),
    scans("MNIST, 60,000 x 784", ({ mnist }) => mnist),
  ],
};

const coding = ({ build }: Frozen, dimensions: number, rotation: string, bits: number) =>
  build
    ?.find((one) => one.dimensions === dimensions)
    ?.coding.find((one) => one.rotation === rotation && one.bits === bits)?.vectorsPerSecond;

const slower = (results: Frozen, dimensions: number) =>
  ratio((coding(results, dimensions, "hadamard", 4) ?? Number.NaN) / (coding(results, dimensions, "haar", 4) ?? 0));

const differing = (data: string, bits: number) => (results: Frozen) => {
  const found = results.exact?.find((one) => one.data === data && one.bits === bits && one.rerankFactor === 1024);
  return words`${speed(found?.differ)} of ${speed(found?.queries)}`;
};

export const FROZEN_DETAILS: FigureTable = {
  columns: ["figure"],
  rows: [
    row("mode `graph` beside the live index on MNIST: AVX-512, AVX2, scalar", "frozen", ({ mnist }) => {
      const [a, b, c] = KERNELS.map((kernel) => ratio(over(mnist, kernel, "graph, 4 bits", "live")));
      return words`${a}, ${b}, ${c}`;
    }),
    row("`searchMany` on 2 cores beside `search` on one, AVX-512, generated", "frozen", (results) => {
      return words`${ratio(over(results.speed, "avx512", "scanMany, 4 bits", SCAN))}`;
    }),
    row("clustering and coding, 128 dimensions, 2 threads, vectors/s by 4 bits, by 1", "frozen", (results) => {
      return words`${speed(coding(results, 128, "hadamard", 4))}, ${speed(coding(results, 128, "hadamard", 1))}`;
    }),
    row("Haar's rotation instead of Hadamard's: times the time at 128 dimensions, at 784", "frozen", (results) => {
      return words`${slower(results, 128)}, ${slower(results, 784)}`;
    }),
    row("results that differ from exhaustive search: generated, 4 bits", "frozen", differing("sheet", 4)),
    row("generated, 1 bit", "frozen", differing("sheet", 1)),
    row("MNIST, 4 bits", "frozen", differing("ann-mnist", 4)),
    row("MNIST, 1 bit", "frozen", differing("ann-mnist", 1)),
    row(
      "estimates, random and real vectors, both rotations: worst bias, standard errors",
      "frozen",
      ({ estimator }) => {
        return words`${plain(estimator && Math.max(...estimator.map((one) => Math.abs(one.standardErrors))), 2)}`;
      },
    ),
    row("their deviation beside the theory's", "frozen", ({ estimator }) => {
      const all = estimator?.map(({ deviation }) => deviation);
      return words`${plain(all && Math.min(...all))} to ${plain(all && Math.max(...all))}`;
    }),
  ],
};

const BITS = [1, 2, 4, 8] as const;

export const FROZEN_CODES: FigureTable = {
  columns: ["1 bit", "2 bits", "4 bits", "8 bits"],
  rows: (
    [
      [128, "128 dimensions"],
      [784, "784 dimensions"],
    ] as const
  ).flatMap(([dimensions, name]) => {
    const at = ({ memory }: Frozen, bits: number) =>
      memory?.find((one) => one.dimensions === dimensions && one.bits === bits);
    return [
      row(`${name}: recall@10 by codes alone`, "frozen", (results) =>
        BITS.map((bits) => words`${recall(at(results, bits)?.recallOfCodes)}`),
      ),
      row(`${name}: with at most 200 vectors compared`, "frozen", (results) =>
        BITS.map((bits) => words`${recall(at(results, bits)?.recall, 4)}`),
      ),
      row(`${name}: bytes of a vector's codes`, "frozen", (results) =>
        BITS.map((bits) => words`${plain(at(results, bits)?.codeBytesPerVector, 1)}`),
      ),
    ];
  }),
};
