/** What the index tells of single rows: where they stand in the graph, and why they rank where they rank. */
import { checkInteger, checkOptions } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import type { Id } from "../../base/types.js";
import { dot } from "../../model/scoring.js";
import {
  ADAPTER,
  ATTENTION,
  EDGES_STRONG,
  type Learner,
  LINEAR,
  learnersOf,
  SHIFT,
  STATIC,
} from "../../training/arms.js";
import { type Contest, seedsOf } from "../../training/contest.js";
import { FIELD } from "../../training/state.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { Explanation, Inspection, InspectOptions, Neighbour, QueryInput, SurveyedRow } from "../types.js";
import { INPUTS, type Querier, type Resolved } from "./querying.js";
import type { SearchPlan } from "./searching.js";
import type { Session } from "./session.js";
import { checkId, checkK, MAX_K, show } from "./validate.js";

/** Hits that ranks are looked for among, where nobody says. */
const RANKED = 100;
const SURVEY_SEED = 1;
/** Node numbers that a survey draws for each row that it is to return, as some are not in use, before it looks at all. */
const LOOKS = 20;

/** Bits of an arm that a learner may have; edges have both of their weight. */
const BITS: Record<Learner, number> = {
  adapter: ADAPTER,
  shift: SHIFT,
  linear: LINEAR,
  attention: ATTENTION,
  edges: EDGES_STRONG,
};

export async function inspectRow(
  session: Session,
  querier: Querier,
  id: Id,
  options: InspectOptions,
): Promise<Inspection | undefined> {
  checkOptions("inspect", options, ["explain", "k"]);
  const { explain, k } = options;
  const own = checkId(id);
  if (explain === undefined && k !== undefined) throw new TypeError("k without explain: expected it with a query");
  if (explain !== undefined) checkOptions("explain", explain, INPUTS);
  const plan = session.searcher.plan({ k: checkK(k ?? RANKED) });
  if (session.nodeOf(own) === undefined) return undefined;
  const resolved = explain === undefined ? undefined : await resolve(querier, explain);
  // Only now: the row may have been put anew while a text was encoded.
  const node = session.nodeOf(own);
  if (node === undefined) return undefined;
  const { graph, catalog, tiering, learned } = session;
  const { levels, inDegrees } = graph.standing(Uint32Array.of(node));
  const shift = learned.state.overlay.shiftOf(node)?.slice();
  return {
    id: own,
    vector: graph.vector(node),
    payload: catalog.payloads([node], 1)[0],
    tier: tiering.tierOf(node),
    heat: tiering.heatOf(node),
    linked: hasBit(graph.liveBits(true), node),
    level: levels[0],
    inDegree: inDegrees[0],
    neighbours: neighboursOf(session, node),
    shift: shift && {
      vector: shift,
      length: Math.sqrt(dot(shift, shift)),
      choices: learned.state.overlay.choicesOf(node),
    },
    ...(resolved && { explanation: explainRank(session, node, resolved, plan) }),
  };
}

function resolve(querier: Querier, explain: QueryInput): Promise<Resolved> {
  if (typeof explain !== "object")
    throw new TypeError(`explain is ${show(explain)}; expected a query such as { text }`);
  return querier.resolveInFit("explain", explain);
}

function neighboursOf({ graph, searcher, learned }: Session, node: number): Neighbour[] {
  const { nodes, weights } = learned.around(node);
  const ids = searcher.ids(nodes, nodes.length);
  const distances = graph.distances(graph.vector(node), nodes);
  const { edges, header } = learned.state;
  const strengths = new Map(edges.from(node, header[FIELD.clock]).map(({ to, strength }) => [to, strength]));
  const field = graph.fields(Uint32Array.of(node), Math.max(1, nodes.length));
  const biases = new Map(Array.from(field.nodes.subarray(0, field.counts[0]), (to, i) => [to, field.biases[i]]));
  const inGraph = new Set(graph.neighbors(node));
  return Array.from(nodes, (to, i) => ({
    id: ids[i],
    distance: distances[i],
    weight: weights[i],
    bias: biases.get(to) ?? 0,
    strength: strengths.get(to) ?? 0,
    inGraph: inGraph.has(to),
  })).sort((a, b) => a.distance - b.distance);
}

function explainRank(session: Session, node: number, { vector, from, seeds }: Resolved, plan: SearchPlan): Explanation {
  const { graph, searcher, learned } = session;
  const { serving } = learned.state.gate;
  // What a query is made of is found, too, and then left out.
  const wider = { ...plan, k: plan.k + from.size, ef: Math.max(plan.ef, plan.k + from.size) };
  const rankIn = (nodes: Uint32Array): number | undefined => {
    const place = nodes.filter((found) => !from.has(found)).indexOf(node);
    return place < 0 || place >= plan.k ? undefined : place + 1;
  };
  const distance = graph.distances(vector, Uint32Array.of(node))[0];
  const near = searcher.nearest(vector, wider).nodes;
  const plain = { rank: rankIn(near), score: searcher.scoreOf(distance), distance };
  const contest = learned.contest(vector, seeds, wider, undefined, node);
  const place = contest.nodes.indexOf(node);
  const parts: Explanation["parts"] = [];
  let arm = STATIC;
  let before = contest.scores(STATIC)[place];
  for (const learner of learnersOf(serving)) {
    arm |= serving & BITS[learner];
    const score = contest.scores(arm)[place];
    parts.push({ learner, adds: score - before, rank: placeIn(contest, arm, place) });
    before = score;
  }
  const neural = learned.serves
    ? { rank: rankIn(learned.rank(vector, seeds, wider).nodes), score: before }
    : { rank: plain.rank, score: plain.score };
  const edges = edgesTo(session, node, { vector, from, seeds }, near);
  return {
    serving: serving === STATIC ? "static" : learnersOf(serving),
    k: plan.k,
    static: plain,
    neural,
    parts,
    edges,
  };
}

/** Where a candidate comes in an arm, from 1. */
function placeIn(contest: Contest, arm: number, place: number): number {
  const scores = contest.scores(arm);
  const [own, node] = [scores[place], contest.nodes[place]];
  return 1 + scores.filter((score, i) => score > own || (score === own && contest.nodes[i] < node)).length;
}

/** Learned edges from what stands for a query, strongest first. */
function edgesTo(session: Session, node: number, { vector, seeds }: Resolved, near: Uint32Array): Explanation["edges"] {
  const { searcher, learned } = session;
  const { edges, header } = learned.state;
  if (edges.isEmpty) return [];
  const question = { query: learned.unit(vector.slice()), seeds, excluded: new Set<number>() };
  return seedsOf(learned.corpus, question, near, header[FIELD.scoreScale])
    .flatMap(({ node: seed, weight }) =>
      edges
        .from(seed, header[FIELD.clock])
        .filter(({ to }) => to === node)
        .map(({ strength }) => ({ from: searcher.ids(Uint32Array.of(seed), 1)[0], share: weight, strength })),
    )
    .sort((a, b) => b.share * b.strength - a.share * a.strength);
}

export function surveyRows({ graph, searcher, tiering }: Session, count: number): SurveyedRow[] {
  checkInteger("count", count, 1, MAX_K);
  const linked = graph.liveBits(true);
  const nodes = sampleOf(linked, graph.nodes, count);
  const { levels, inDegrees } = graph.standing(nodes);
  const ids = searcher.ids(nodes, nodes.length);
  return Array.from(nodes, (node, i) => ({
    id: ids[i],
    tier: tiering.tierOf(node),
    level: levels[i],
    outDegree: graph.neighbors(node).length,
    inDegree: inDegrees[i],
  }));
}

/** At most `count` of the numbers below `end` whose bit is set: all of them where those are few, else drawn evenly. */
function sampleOf(bits: Uint32Array, end: number, count: number): Uint32Array {
  const found = new Set<number>();
  if (count * LOOKS < end) {
    const random = new Prng(SURVEY_SEED);
    for (let look = 0; look < count * LOOKS && found.size < count; look++) {
      const node = random.below(end);
      if (hasBit(bits, node)) found.add(node);
    }
    if (found.size === count) return Uint32Array.from(found).sort();
    found.clear(); // most rows were deleted: what is left is counted one by one
  }
  const all = Array.from({ length: end }, (_, node) => node).filter((node) => hasBit(bits, node));
  const step = Math.max(1, all.length / count);
  for (let at = 0; at < all.length && found.size < count; at += step) found.add(all[Math.floor(at)]!);
  return Uint32Array.from(found);
}
