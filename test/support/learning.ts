/** Learning without a store: states over a small world, what they serve, and what that is worth. */
import type { EdgeChange, Edges } from "../../model/edges.js";
import { dot } from "../../model/scoring.js";
import { STATIC } from "../../training/arms.js";
import { Contest } from "../../training/contest.js";
import type { LearnEvent } from "../../training/corpus.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";
import { type Answers, judge } from "../../training/judge.js";
import { type Lesson, learning } from "../../training/learn.js";
import { LEARNING_DEFAULTS, type LearningOptions } from "../../training/options.js";
import { learnersIn } from "../../training/serving.js";
import { applyDelta, type Delta, LearnedState, shiftsOf } from "../../training/state.js";
import type { World } from "./corpus.js";

/** Static candidates of a query; `learn` judges with 128. */
const CANDIDATES = 200;

export const newState = (world: World, options: Partial<LearningOptions> = {}): LearnedState =>
  new LearnedState(world.corpus.dimensions, world.corpus.metric, { ...LEARNING_DEFAULTS, ...options });

/** Applies a delta as a store does: as the log gives it back. */
export function apply(state: LearnedState, world: World, delta: Delta): void {
  applyDelta(state, decodeDelta(encodeDelta(delta)));
  state.overlay.refresh((node) => world.corpus.vector(node));
}

/** Learns at once what `learning` learns in pieces. */
export function learnEvents(...given: Parameters<typeof learning>): Lesson {
  const work = learning(...given);
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** Learns one event after the other, as a caller would, and returns the deltas. */
export function learnAll(
  state: LearnedState,
  world: World,
  events: readonly LearnEvent[],
  before: readonly LearnEvent[] = [],
): Delta[] {
  const past = [...before];
  return events.map((event) => {
    const { delta } = learnEvents(state, world.corpus, [event], { recent: past.slice(-256) });
    apply(state, world, delta);
    past.push(event);
    return delta;
  });
}

/** The contest that a query with these examples would be served by, for some arms. */
export function contestOf(
  state: LearnedState,
  { corpus }: World,
  { query, seeds = [], examples = [] }: Pick<LearnEvent, "query" | "seeds" | "examples">,
  arms: readonly number[],
  accept: (node: number) => boolean = () => true,
): Contest {
  state.overlay.refresh((node) => corpus.vector(node));
  const search = (asked: Float32Array) => corpus.nearest(asked, CANDIDATES).nodes.filter(accept);
  const question = { query, seeds, excluded: new Set(examples) };
  const isThere = (node: number) => corpus.isLive(node) && accept(node);
  return new Contest(corpus, learnersIn(state), question, search(query), search, isThere, CANDIDATES, arms);
}

/** Nodes as an arm ranks them, the best first. */
export function ranking(contest: Contest, arm: number): { node: number; score: number }[] {
  const scores = contest.scores(arm);
  return contest.nodes
    .map((node, i) => ({ node, score: scores[i]! }))
    .filter(({ score }) => score > Number.NEGATIVE_INFINITY)
    .sort((a, b) => b.score - a.score || a.node - b.node);
}

/** What was chosen, of an event that nobody knows the display of. */
export const answersOf = (chosen: ReadonlyMap<number, number>): Answers => ({
  chosen,
  gains: chosen,
  unseen: undefined,
});

/** Mean nDCG@10 of what is served, and of static, on events nobody learned from. */
export function measure(state: LearnedState, world: World, events: readonly LearnEvent[]) {
  const { serving } = state.gate;
  const mean = { served: 0, static: 0 };
  for (const event of events) {
    const chosen = new Map(event.chosen.map(({ node, grade }) => [node, grade]));
    const own = judge(contestOf(state, world, event, [STATIC]), [STATIC], answersOf(chosen), () => false).all[0]!;
    const served = judge(contestOf(state, world, event, [serving]), [serving], answersOf(chosen), () => false).all[0]!;
    mean.served += served / events.length;
    mean.static += own / events.length;
  }
  return mean;
}

/** Everything the state holds, comparable. Places of edges that are not used any more have no meaning. */
export function contents(state: LearnedState) {
  const byNode = (a: number, b: number) => a - b;
  return {
    bytes: Buffer.from(state.bytes).toString("base64"),
    overlay: [...state.overlay.nodes]
      .sort(byNode)
      .map((node) => [node, state.overlay.choicesOf(node), [...state.overlay.shiftOf(node)!]]),
    edges: [...state.edges.nodes()].sort(byNode).map((node) => {
      const { targets, strengths, at, count, ...rest } = state.edges.record(node)!;
      return [node, rest, ...[targets, strengths, at].map((values) => [...values.subarray(0, count)])];
    }),
  };
}

/** The effective rank of some vectors: exp of the entropy of their second moments' eigenvalues, d x d by Jacobi. */
export function effectiveRank(vectors: readonly Float32Array[]): number {
  const d = vectors[0]!.length;
  const a = Array.from({ length: d }, (_, i) =>
    Float64Array.from({ length: d }, (_, j) => vectors.reduce((sum, v) => sum + v[i]! * v[j]!, 0)),
  );
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < d; p++) for (let q = p + 1; q < d; q++) rotate(a, p, q);
  }
  const values = a.map((row, i) => Math.max(row[i]!, 0));
  const sum = values.reduce((x, y) => x + y, 0);
  return Math.exp(-values.reduce((x, y) => (y > 0 ? x + (y / sum) * Math.log(y / sum) : x), 0));
}

/** Makes a[p][q] zero by turning both axes. */
function rotate(a: Float64Array[], p: number, q: number): void {
  const off = a[p]![q]!;
  if (Math.abs(off) < 1e-14) return;
  const angle = 0.5 * Math.atan2(2 * off, a[q]![q]! - a[p]![p]!);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  for (const row of a) [row[p], row[q]] = [c * row[p]! - s * row[q]!, s * row[p]! + c * row[q]!];
  const [rowP, rowQ] = [a[p]!.slice(), a[q]!.slice()];
  a[p]!.forEach((_, i) => {
    a[p]![i] = c * rowP[i]! - s * rowQ[i]!;
    a[q]![i] = s * rowP[i]! + c * rowQ[i]!;
  });
}

/** Length of a shift. */
export const lengthOf = (vector: Float32Array): number => Math.sqrt(dot(vector, vector));

/** All records of the edges, as changes. */
export function recordsOf(edges: Edges): EdgeChange[] {
  return Array.from(edges.nodes(), (node) => {
    const record = edges.record(node)!;
    return { node, record, lanes: Array.from({ length: record.count }, (_, lane) => lane) };
  });
}

/** The state as one delta against an untrained one. */
export function snapshot(state: LearnedState): Delta {
  return {
    parameters: [{ at: 0, bytes: state.bytes.slice() }],
    overlay: shiftsOf(state.overlay),
    edges: recordsOf(state.edges),
    network: state.network ? [{ at: 0, bytes: state.network.bytes.slice() }] : [],
  };
}
