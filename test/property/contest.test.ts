/**
 * Contest, judge and gate: what an arm's scores are, by formulas written out over all documents; what nDCG@10 makes of
 * them; and which arm may serve by that.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { METRICS, type Metric } from "../../base/types.js";
import { Edges, type Seed } from "../../model/edges.js";
import { Overlay } from "../../model/overlay.js";
import { score } from "../../model/scoring.js";
import {
  ADAPTER,
  ARMS,
  ATTENTION,
  armsOf,
  EDGES_STRONG,
  edgeWeight,
  LEARNERS,
  LINEAR,
  learnersOf,
  nameOf,
  SHIFT,
  STATIC,
  versionOf,
} from "../../training/arms.js";
import { Contest, type Learners, seedsOf } from "../../training/contest.js";
import { Gate, RunningDifference } from "../../training/gate.js";
import { type Judgement, judge } from "../../training/judge.js";
import { LEARNING_DEFAULTS, type LearningOptions, type NetworkOptions } from "../../training/options.js";
import { learningReport } from "../../training/report.js";
import { FIELD } from "../../training/state.js";
import { train } from "../../training/train.js";
import { corpusOf, makeWorld, shuffleAnswers } from "../support/corpus.js";
import { answersOf, apply, contestOf, learnEvents, measure, newState, ranking } from "../support/learning.js";
import { runs } from "../support/seed.js";

const D = 6;
const NODES = 40;
const SCALE: Record<Metric, number> = { cosine: 1, l2: 7, dot: 5 };
const ALL = Array.from({ length: ARMS }, (_, arm) => arm);

const unit = (metric: Metric, v: Float32Array): Float32Array => {
  const length = metric === "cosine" ? Math.hypot(...v) : 1;
  return v.map((x) => x / length);
};

interface Scene {
  metric: Metric;
  seed: number;
  /** Nodes that are dead, no answers, or kept out by a filter. */
  dead: number[];
  excluded: number[];
  filtered: number[];
  examples: number[];
}
const nodes = fc.array(fc.nat({ max: NODES - 1 }), { maxLength: 6 });
const scenes = fc.record<Scene>({
  metric: fc.constantFrom(...METRICS),
  seed: fc.nat(),
  dead: nodes,
  excluded: nodes,
  filtered: nodes,
  examples: fc.uniqueArray(fc.nat({ max: NODES - 1 }), { maxLength: 4 }),
});

/** Documents, a question, and learners of every kind, at random; some shifts are in both overlays. */
function setUp({ metric, seed, dead, excluded, filtered, examples }: Scene) {
  const prng = new Prng(seed);
  const gaussian = (size = 1) => Float32Array.from({ length: D }, () => size * prng.gaussian());
  const vectors = Array.from({ length: NODES }, () => unit(metric, gaussian()));
  const corpus = corpusOf(vectors, metric);
  for (const node of dead) corpus.dead.add(node);
  const overlayOf = (count: number) => {
    const overlay = new Overlay(D, metric);
    for (let i = 0; i < count; i++) overlay.set(prng.below(NODES), gaussian(0.4), 1);
    overlay.refresh((node) => vectors[node]!);
    return overlay;
  };
  const edges = new Edges(50);
  for (let now = 1; now <= 120; now++) edges.add(prng.below(NODES), prng.below(NODES), prng.next(), now);
  for (let now = 1; now <= 40; now++) edges.choose(prng.below(NODES), prng.next(), 120);
  const turnedBy = (turn: Float32Array) => (query: Float32Array) =>
    unit(
      metric,
      query.map((x, i) => x + turn[i]!),
    );
  const first = overlayOf(8);
  const learners: Learners = {
    scale: SCALE[metric],
    adapt: turnedBy(gaussian(0.5)),
    attend: turnedBy(gaussian(0.5)),
    overlays: [first, overlayOf(6)],
    adaptedOverlays: [overlayOf(7)],
    edges,
    now: 125,
  };
  const seeds: Seed[] = examples.map((node) => ({ node, weight: 0.1 + prng.next() }));
  const question = { query: unit(metric, gaussian()), seeds, excluded: new Set(excluded) };
  const accept = (node: number) => !filtered.includes(node) && corpus.isLive(node);
  const isAnswer = (node: number) => accept(node) && !question.excluded.has(node);
  /** Candidates of each search. */
  const contest = (arms: readonly number[], candidates = NODES, reach = NODES) => {
    const search = (query: Float32Array) => corpus.nearest(query, NODES).nodes.filter(accept).slice(0, candidates);
    return new Contest(corpus, learners, question, search(question.query), search, accept, reach, arms);
  };
  return { corpus, learners, question, accept, isAnswer, contest };
}

/** All scores of an arm, from the formulas and in f64. */
function bruteForce(
  { corpus, learners, question, accept, isAnswer }: ReturnType<typeof setUp>,
  arm: number,
): Map<number, number> {
  const { metric } = corpus;
  const { scale } = learners;
  const softmaxed = (query: Float32Array, of: number[]) => {
    const powers = of.map((node) => Math.exp(score(metric, query, corpus.vector(node)) / (0.1 * scale)));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((p) => p / sum);
  };
  const nearest = (query: Float32Array, count: number) =>
    [...corpus.nearest(query, NODES).nodes].filter(accept).slice(0, count);
  let query = question.query;
  if (arm & ADAPTER) query = learners.adapt!(query);
  if (arm & ATTENTION) query = learners.attend!(query);
  if (arm & LINEAR) {
    const heard = nearest(query, 5);
    const weights = softmaxed(query, heard);
    const mean = unit(
      metric,
      Float32Array.from({ length: D }, (_, i) =>
        heard.reduce((sum, node, j) => sum + weights[j]! * corpus.vector(node)[i]!, 0),
      ),
    );
    const from = metric === "cosine" ? 1 : 0.7;
    if (heard.length > 0)
      query = unit(
        metric,
        query.map((x, i) => from * x + 0.3 * mean[i]!),
      );
  }
  const plain = (node: number) => score(metric, query, corpus.vector(node));
  const overlays = arm & ADAPTER ? learners.adaptedOverlays : learners.overlays;
  const own = (node: number): number => {
    const overlay = arm & SHIFT ? overlays.findLast((o) => o.has(node)) : undefined;
    return overlay ? score(metric, query, overlay.row(overlay.slotOf(node)!)) : plain(node);
  };
  const spread = (node: number): number => {
    const [field] = corpus.fields(Uint32Array.of(node), scale);
    const total = field!.weights.reduce((a, b) => a + b, 0);
    if (total === 0) return 1.5 * own(node);
    const sum = [...field!.nodes].reduce(
      (all, u, i) => all + field!.weights[i]! * (isAnswer(u) ? own(u) : plain(u)),
      0,
    );
    return own(node) + (0.5 * sum) / total;
  };
  let seeds = question.seeds.map(({ node, weight }) => ({ node, weight }));
  if (seeds.length === 0) {
    const near = nearest(question.query, 10);
    const weights = softmaxed(question.query, near);
    seeds = near.map((node, i) => ({ node, weight: weights[i]! }));
  }
  const support = learners.edges!.spread(seeds, learners.now, isAnswer);
  const weight = edgeWeight(arm) * scale;
  return new Map(
    [...Array(NODES).keys()]
      .filter(isAnswer)
      .map((node) => [node, (arm & LINEAR ? spread(node) : own(node)) + weight * (support.get(node) ?? 0)]),
  );
}

const scored = (contest: Contest, arm: number) => new Map(ranking(contest, arm).map((r) => [r.node, r.score]));

describe("a contest", () => {
  test("scores every arm as the formulas do, whatever arms stand beside it", () => {
    fc.assert(
      fc.property(scenes, fc.nat({ max: ARMS - 1 }), (scene, arm) => {
        const world = setUp(scene);
        const expected = bruteForce(world, arm);
        for (const arms of [[arm], ALL]) {
          const found = scored(world.contest(arms), arm);
          expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
          for (const [node, value] of expected) expect(found.get(node)).toBeCloseTo(value, 3);
        }
      }),
      runs(300),
    );
  });

  test("without learners is the static search, to the last bit, in every company", () => {
    fc.assert(
      fc.property(scenes, fc.integer({ min: 1, max: 12 }), (scene, k) => {
        const { corpus, question, contest, isAnswer } = setUp(scene);
        const near = corpus.nearest(question.query, NODES).nodes.filter(isAnswer).slice(0, k);
        const expected = Array.from(corpus.scores(question.query, near), (s, i) => ({ node: near[i]!, score: s }));
        for (const arms of [[STATIC], ALL]) expect(ranking(contest(arms), STATIC).slice(0, k)).toEqual(expected);
      }),
      runs(200),
    );
  });

  test("has no candidate that is dead, excluded or filtered, by whatever way it might come in", () => {
    fc.assert(
      fc.property(scenes, fc.integer({ min: 1, max: NODES }), (scene, candidates) => {
        const { contest, isAnswer } = setUp(scene);
        const found = contest(ALL, candidates).nodes;
        expect(found.filter((node) => !isAnswer(node))).toEqual([]);
        expect(new Set(found).size).toBe(found.length);
      }),
      runs(200),
    );
  });

  test("brings in what edges support and what is shifted, though no search finds it; static does not see the shifted", () => {
    fc.assert(
      fc.property(scenes, (scene) => {
        const { contest, corpus, isAnswer, learners, question } = setUp({ ...scene, examples: [1, 2] });
        const supported = [...learners.edges!.spread(question.seeds, learners.now, isAnswer).keys()];
        const found = [...corpus.nearest(question.query, NODES).nodes].filter((node) => isAnswer(node)).slice(0, 1);
        const shifted = learners.overlays.flatMap((o) => [...o.nodes]).filter(isAnswer);
        const seen = (arms: number[], arm: number) => new Set(scored(contest(arms, 1), arm).keys());
        for (const node of supported) expect(seen([EDGES_STRONG], EDGES_STRONG)).toContain(node);
        for (const node of shifted) expect(seen([SHIFT], SHIFT)).toContain(node);
        if (found.length > 0 && isAnswer(corpus.nearest(question.query, 1).nodes[0]!)) {
          expect(seen([STATIC, SHIFT], STATIC)).toEqual(new Set(found));
        }
      }),
      runs(100),
    );
  });

  test("asks the neighbours of the best by their own scores, as many as it reaches", () => {
    fc.assert(
      fc.property(scenes, fc.integer({ min: 1, max: NODES }), (scene, reach) => {
        const world = setUp(scene);
        const { contest, isAnswer, corpus } = world;
        const contestOfTwo = contest([LINEAR], NODES, reach);
        const found = scored(contestOfTwo, LINEAR);
        const query = contestOfTwo.query(LINEAR);
        const best = corpus.nearest(query, NODES).nodes.filter(isAnswer).slice(0, reach);
        expect([...found.keys()].toSorted()).toEqual([...best].toSorted());
      }),
      runs(100),
    );
  });

  test("stands on the examples where there are some, and else on the ten nearest", () => {
    const { corpus } = makeWorld();
    const query = corpus.vector(5).slice();
    const near = corpus.nearest(query, 50).nodes;
    const given = [
      { node: 3, weight: 1 },
      { node: 9, weight: 3 },
    ];
    const question = { query, seeds: given, excluded: new Set<number>() };
    expect(seedsOf(corpus, question, near, 1)).toEqual([
      { node: 3, weight: 0.25 },
      { node: 9, weight: 0.75 },
    ]);
    const own = seedsOf(corpus, { ...question, seeds: [] }, near, 1);
    expect(own.map(({ node }) => node)).toEqual([...near.slice(0, 10)]);
    const scores = [...corpus.scores(query, near.slice(0, 10))];
    const sum = scores.reduce((total, s) => total + Math.exp(s / 0.1), 0);
    for (const [i, { weight }] of own.entries()) expect(weight).toBeCloseTo(Math.exp(scores[i]! / 0.1) / sum, 6);
    expect(seedsOf(corpus, { ...question, seeds: [] }, new Uint32Array(0), 1)).toEqual([]);
  });
});

describe("arms", () => {
  test("are sets of learners: each number its own, by name but for the weight of the edges", () => {
    expect(nameOf(STATIC)).toBe("static");
    expect(nameOf(ADAPTER | SHIFT | LINEAR | ATTENTION | EDGES_STRONG)).toBe(LEARNERS.join("+"));
    const keys = ALL.map((arm) => `${nameOf(arm)} ${edgeWeight(arm)}`);
    expect(new Set(keys).size).toBe(ARMS);
    for (const arm of ALL) {
      expect(learnersOf(arm).includes("edges")).toBe(edgeWeight(arm) > 0);
      expect(versionOf(arm) & ~(ADAPTER | LINEAR | ATTENTION)).toBe(0);
    }
  });

  test("there are those whose learners are all there, static first", () => {
    for (const there of [0, ADAPTER, SHIFT | LINEAR, ADAPTER | SHIFT | LINEAR | ATTENTION]) {
      for (const edges of [false, true]) {
        const bits = LEARNERS.filter((_, i) => (i < 4 ? there & (1 << i) : edges));
        const expected = ALL.filter((arm) => learnersOf(arm).every((learner) => bits.includes(learner)));
        expect(armsOf(there, edges)).toEqual(expected);
        expect(armsOf(there, edges)[0]).toBe(STATIC);
      }
    }
  });
});

describe("a judgement", () => {
  test("is nDCG@10 of each arm, over all and among documents that never were chosen", () => {
    fc.assert(
      fc.property(
        scenes,
        fc.array(fc.tuple(fc.nat({ max: NODES - 1 }), fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 6 }),
        nodes,
        fc.uniqueArray(fc.nat({ max: NODES - 1 }), { maxLength: 12 }),
        (scene, grades, old, others) => {
          const contest = setUp(scene).contest(ALL);
          const chosen = new Map(grades);
          // On display stood what was chosen, then others; or nobody knows.
          const hasDisplay = others.length > 5;
          const gains = new Map([...(hasDisplay ? others.map((node) => [node, -0.1] as const) : []), ...grades]);
          const unseen = hasDisplay ? (score: number) => score / 8 : undefined;
          const answers = { chosen, gains, unseen };
          const { arms, all, disjoint } = judge(contest, ALL, answers, (node) => old.includes(node));
          expect(arms).toEqual(ALL);
          const world = setUp(scene);
          const still = new Map(
            contest.nodes.map((node) => [node, world.corpus.scores(world.question.query, Uint32Array.of(node))[0]!]),
          );
          const gain = (node: number) => gains.get(node) ?? unseen?.(still.get(node)!) ?? 0;
          const gainOf = (list: number[]) =>
            list.slice(0, 10).reduce((sum, gain, i) => sum + gain / Math.log2(i + 2), 0);
          const ndcg = (arm: number, counts: (node: number) => boolean) => {
            const ideal = [...chosen].filter(([node]) => counts(node)).map(([, grade]) => grade);
            const found = ranking(contest, arm).filter(({ node }) => counts(node));
            const ndcg = gainOf(found.map(({ node }) => gain(node))) / gainOf(ideal.toSorted((a, b) => b - a));
            return Math.max(-1, Math.min(1, ndcg));
          };
          const isNew = (node: number) => !old.includes(node);
          for (const arm of [STATIC, SHIFT, LINEAR, EDGES_STRONG, ARMS - 1]) {
            expect(all[arm]).toBeCloseTo(
              ndcg(arm, () => true),
              9,
            );
            if (disjoint) expect(disjoint[arm]).toBeCloseTo(ndcg(arm, isNew), 9);
          }
          expect(disjoint === undefined).toBe([...chosen.keys()].every((node) => old.includes(node)));
        },
      ),
      runs(100),
    );
  });

  test("hears what stands around ten thousand candidates", () => {
    const [found, heard] = [10_000, 16];
    const small = corpusOf([Float32Array.of(1, 0)], "cosine");
    const corpus: typeof small = {
      ...small,
      size: found * (heard + 1),
      scores: (_, nodes) => Float32Array.from(nodes, (node) => (node < found ? 0.5 : 0.25)),
      fields: (nodes) =>
        Array.from(nodes, (node) => ({
          nodes: Uint32Array.from({ length: heard }, (_, j) => found + node * heard + j),
          weights: new Float32Array(heard).fill(0.5),
        })),
    };
    const search = () => Uint32Array.from({ length: found }, (_, node) => node);
    const learners: Learners = { scale: 1, overlays: [], adaptedOverlays: [], now: 0 };
    const question = { query: Float32Array.of(1, 0), seeds: [], excluded: new Set<number>() };
    const nearest = { ...corpus, vector: () => Float32Array.of(1, 0) };
    const contest = new Contest(nearest, learners, question, search(), search, () => true, found, [LINEAR]);
    expect(new Set(contest.scores(LINEAR))).toEqual(new Set([0.5 + 0.5 * 0.25]));
  });

  test("of equal scores keeps the order of the search, and however far grades are apart is no more than 1", () => {
    const corpus = corpusOf(
      Array.from({ length: 12 }, () => Float32Array.of(1, 0)),
      "cosine",
    );
    const query = Float32Array.of(1, 0);
    const search = () => corpus.nearest(query, 12).nodes;
    const learners: Learners = { scale: 1, overlays: [], adaptedOverlays: [], now: 0 };
    const question = { query, seeds: [], excluded: new Set<number>() };
    const contest = new Contest(corpus, learners, question, search(), search, () => true, 12, [STATIC]);
    const ndcg = (node: number) => judge(contest, [STATIC], answersOf(new Map([[node, 1]])), () => false).all[0];
    expect(ndcg(10)).toBe(0);
    expect(ndcg(9)).toBeCloseTo(1 / Math.log2(11), 12);

    // 1 was chosen before, and was worth so much more than 0 that all that nobody saw looks better than what is left.
    for (const grade of [1e-9, 1e-60, 0]) {
      const gains = new Map([
        [0, grade],
        [1, 1],
      ]);
      const apart = judge(contest, [STATIC], { chosen: gains, gains, unseen: () => 1 }, (node) => node === 1);
      if (grade === 0) expect(apart.disjoint).toBeUndefined();
      else expect(apart.disjoint![0]).toBeLessThanOrEqual(1);
    }
  });
});

describe("the gate", () => {
  const { minimumEvents, disjointTolerance } = LEARNING_DEFAULTS;
  const network: NetworkOptions = {
    layers: 1,
    hidden: 8,
    heads: 1,
    dropout: 0,
    optimizer: "adam",
    rate: 0.001,
    hierarchical: false,
    selfSupervision: 0,
  };
  const newGate = (of: LearningOptions = { ...LEARNING_DEFAULTS, network }) =>
    new Gate(new Float64Array(Gate.LENGTH), of);
  /** Judgements in which arms differ from static by about this much, over all and among the never chosen. */
  const judgements = (count: number, gains: Record<number, number>, disjoint?: Record<number, number>): Judgement[] => {
    const arms = [STATIC, ...Object.keys(gains).map(Number)];
    return Array.from({ length: count }, (_, i) => {
      const of = (by: Record<number, number>) =>
        Float64Array.from(arms, (arm) => 0.5 + (arm === STATIC ? 0 : (by[arm] ?? 0) + 0.02 * ((i % 5) - 2)));
      return { arms, all: of(gains), disjoint: disjoint && of(disjoint) };
    });
  };
  const record = (gate: Gate, given: Judgement[]) => {
    for (const judgement of given) {
      gate.record(judgement);
      gate.decide();
    }
  };

  test("watches static, the serving arm and the three best of the others more closely than the rest", () => {
    const gate = newGate();
    const arms = [STATIC, ADAPTER, SHIFT, SHIFT | ADAPTER, LINEAR, LINEAR | ADAPTER, EDGES_STRONG];
    expect(gate.leaders(arms)).toEqual([STATIC, ADAPTER, SHIFT, LINEAR]); // nothing is known: the simplest
    const gains = { [ADAPTER]: -0.1, [SHIFT]: 0.1, [SHIFT | ADAPTER]: 0.3, [LINEAR]: 0.2, [LINEAR | ADAPTER]: 0.05 };
    record(gate, judgements(60, { ...gains, [EDGES_STRONG]: -0.2 }, gains));
    expect(gate.serving).toBe(SHIFT | ADAPTER);
    expect(gate.leaders(arms)).toEqual([STATIC, SHIFT, SHIFT | ADAPTER, LINEAR, LINEAR | ADAPTER]);
  });

  test("is young until its window is all but full, and again after a training", () => {
    const gate = newGate({ ...LEARNING_DEFAULTS, network, window: 64 });
    const gains = { [SHIFT]: 0.1 };
    const ages: boolean[] = [];
    for (let i = 0; i < 200; i++) {
      ages.push(gate.isYoung([STATIC, SHIFT]));
      record(gate, judgements(1, gains));
    }
    const grown = ages.indexOf(false);
    expect(grown).toBeGreaterThan(32);
    expect(grown).toBeLessThan(128);
    expect(ages.lastIndexOf(true)).toBe(grown - 1);
    gate.replace(judgements(100, gains));
    expect(gate.isYoung([STATIC, SHIFT])).toBe(true);
  });

  test("lets no arm serve whose network the options leave out, and the next best one at the next judgement", () => {
    const at = new Float64Array(Gate.LENGTH);
    const gains = { [ATTENTION]: 0.2, [SHIFT]: 0.1 };
    record(new Gate(at, { ...LEARNING_DEFAULTS, network }), judgements(60, gains, gains));
    expect(new Gate(at, { ...LEARNING_DEFAULTS, network }).serving).toBe(ATTENTION);
    const without = new Gate(at, LEARNING_DEFAULTS);
    expect(without.serving).toBe(STATIC);
    expect(without.refusal(ATTENTION)).toMatch(/propagation is "linear"$/);
    record(without, judgements(1, { [SHIFT]: 0.1 }));
    expect(without.serving).toBe(SHIFT);
  });

  test("lets every arm serve, withdraws it, and lets it come back", () => {
    for (const arm of ALL.slice(1)) {
      const gate = newGate();
      const gain = { [arm]: 0.1 };
      record(gate, judgements(minimumEvents - 2, gain, gain));
      expect(gate.serving).toBe(STATIC);
      expect(gate.refusal(arm)).toBe("judged on 28 events, needs 30: 2 are missing");
      record(gate, judgements(30, gain, gain));
      expect(gate.serving).toBe(arm);
      const loss = { [arm]: -0.1 };
      record(gate, judgements(60, loss, loss));
      expect(gate.serving).toBe(STATIC);
      expect(gate.withdrawn(arm)).toBe(true);
      record(gate, judgements(400, gain, gain));
      expect(gate.serving).toBe(arm);
      expect(gate.withdrawn(arm)).toBe(false);
    }
  });

  test("refuses what costs documents nobody chose, where an arm moves them, whatever it gains on the others", () => {
    for (const arm of [ADAPTER, LINEAR, ATTENTION, ADAPTER | SHIFT, LINEAR | EDGES_STRONG]) {
      const costly = newGate();
      costly.replace(judgements(200, { [arm]: 0.2 }, { [arm]: -0.02 }));
      expect(costly.serving).toBe(STATIC);
      expect(costly.refusal(arm)).toMatch(/never-chosen documents: -0.0200, lower bound .* < -0.005/);
      const harmless = newGate();
      harmless.replace(judgements(200, { [arm]: 0.2 }, { [arm]: 0 }));
      expect(harmless.serving).toBe(arm);
      const thin = newGate();
      thin.replace([...judgements(49, { [arm]: 0.2 }, { [arm]: 0.02 }), ...judgements(151, { [arm]: 0.2 })]);
      expect(thin.refusal(arm)).toBe("never-chosen documents: judged on 49 events, needs 50");
      const rare = newGate();
      rare.replace([...judgements(9, { [arm]: 0.2 }, { [arm]: -0.2 }), ...judgements(191, { [arm]: 0.2 })]);
      expect(rare.refusal(arm)).toBeUndefined();
    }
    const shift = newGate();
    shift.replace(judgements(200, { [SHIFT]: 0.2 }, { [SHIFT]: -0.02 }));
    expect(shift.serving).toBe(SHIFT);
  });

  test("refuses a gain that is not certain, and takes the best that it does not refuse", () => {
    const gate = newGate();
    const noise = judgements(100, { [SHIFT]: 0.001 }).map((j, i) => ({
      ...j,
      all: Float64Array.of(0.5, i % 2 ? 0.9 : 0.102),
    }));
    gate.replace(noise);
    expect(gate.serving).toBe(STATIC);
    expect(gate.refusal(SHIFT)).toMatch(/gain 0.0010 is not certain: its lower bound is -0.1498/);
    const two = { [ADAPTER]: 0.3, [SHIFT]: 0.1, [EDGES_STRONG]: 0.2 };
    gate.replace(judgements(100, two, { [ADAPTER]: -disjointTolerance * 4 }));
    expect(gate.serving).toBe(EDGES_STRONG);
  });

  test("after a training, lets what was refused there earn its place in fewer events than what serves would lose it", () => {
    const gate = newGate();
    gate.replace(judgements(1000, { [SHIFT]: 0.05, [EDGES_STRONG]: -0.1 }));
    expect(gate.serving).toBe(SHIFT);
    expect(gate.gain(SHIFT).events).toBeCloseTo(LEARNING_DEFAULTS.window / 8, 6);
    expect(gate.gain(EDGES_STRONG).events).toBeCloseTo(LEARNING_DEFAULTS.window / 32, 6);
    expect(gate.gain(EDGES_STRONG).mean).toBeCloseTo(-0.1, 6);
  });

  test("lets none begin that falls lately, whatever it gained before", () => {
    const gate = newGate();
    record(gate, judgements(2000, { [SHIFT]: 0.1, [EDGES_STRONG]: 0.09 }));
    expect(gate.serving).toBe(SHIFT);
    record(gate, judgements(250, { [SHIFT]: 0.1, [EDGES_STRONG]: -0.1 }));
    expect(gate.serving).toBe(SHIFT);
    expect(gate.gain(EDGES_STRONG).lower(LEARNING_DEFAULTS.confidence)).toBeGreaterThan(0);
    expect(gate.refusal(EDGES_STRONG)).toMatch(/^fell below static lately: -0\.0/);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    "notices within a few dozen events that what serves costs, and then nobody's past counts (seed %i)",
    (seed) => {
      const prng = new Prng(seed);
      const gate = newGate();
      const noisy = (mean: number): Judgement => ({
        arms: [STATIC, SHIFT, EDGES_STRONG],
        all: Float64Array.of(0.5, 0.5 + mean + 0.2 * prng.gaussian(), 0.5 + mean / 2 + 0.2 * prng.gaussian()),
        disjoint: undefined,
      });
      record(
        gate,
        Array.from({ length: 1500 }, () => noisy(0.1)),
      );
      const serving = gate.serving;
      expect(serving).not.toBe(STATIC);
      let events = 0;
      for (; gate.serving === serving && events < 200; events++) record(gate, [noisy(-0.15)]);
      expect(events).toBeLessThan(60);
      expect(gate.withdrawn(serving)).toBe(true);
      for (const arm of [SHIFT, EDGES_STRONG]) expect(gate.gain(arm).events).toBeLessThan(2);
      record(
        gate,
        Array.from({ length: minimumEvents - 3 }, () => noisy(0.3)),
      );
      expect(gate.serving).toBe(STATIC);
    },
  );

  test("takes who asks again for less of a witness, and any window for one", () => {
    const again = newGate();
    const [won] = judgements(1, { [SHIFT]: 0.4 });
    for (let k = 1; k <= 500; k++) {
      again.record(won!, 1 / k ** 2);
      again.decide();
    }
    expect(again.serving).toBe(STATIC);
    expect(again.refusal(SHIFT)).toBe("judged on 1 events, needs 30: 29 are missing");
    for (const window of [1, 2, 3, 5, 8, 20, 64]) {
      const gate = newGate({ ...LEARNING_DEFAULTS, network, window, minimumEvents: 1 });
      record(gate, judgements(300, { [SHIFT]: 0.1 }));
      record(gate, judgements(300, { [SHIFT]: -0.2 }));
      for (const figure of [gate.gain(SHIFT).mean, gate.gain(SHIFT).events]) expect(Number.isFinite(figure)).toBe(true);
      expect(gate.serving).toBe(STATIC);
    }
  });

  test("withdraws nothing that goes on gaining as it did, however much and however evenly", () => {
    const prng = new Prng(7);
    for (const gain of [0.1, 0.2, 0.31, 0.369, 0.5, 0.8]) {
      for (const spread of [0, 0.02, 0.05, 0.12, 0.2]) {
        const gate = newGate();
        const all = () => Float64Array.of(0, gain + spread * prng.gaussian());
        record(
          gate,
          Array.from({ length: 1000 }, () => ({ arms: [STATIC, SHIFT], all: all(), disjoint: undefined })),
        );
        expect(`${gain} ${spread} ${gate.serving}`).toBe(`${gain} ${spread} ${SHIFT}`);
        expect(gate.withdrawn(SHIFT)).toBe(false);
      }
    }
  });

  test("takes chance for no change: of forty stores whose learners go on gaining, few ever lose one", () => {
    const prng = new Prng(11);
    let withdrawn = 0;
    for (let store = 0; store < 40; store++) {
      const gate = newGate();
      for (let i = 0; i < 1000; i++) {
        const luck = prng.next() < 0.1 ? Math.sign(prng.gaussian()) * prng.next() : 0; // seldom, and then by far
        record(gate, [{ arms: [STATIC, SHIFT], all: Float64Array.of(0.5, 0.55 + luck), disjoint: undefined }]);
        if (gate.withdrawn(SHIFT)) {
          withdrawn++;
          break;
        }
      }
    }
    expect(withdrawn).toBeLessThan(4);
  });

  test("of equals lets the one with fewer learners serve, and of those the lightest edges", () => {
    const equal = Object.fromEntries(ALL.slice(1).map((arm) => [arm, 0.1]));
    const gate = newGate();
    gate.replace(judgements(100, equal, equal));
    expect(learnersOf(gate.serving)).toHaveLength(1);
    const pairs = { [SHIFT | EDGES_STRONG]: 0.1009, [SHIFT]: 0.1 };
    gate.replace(judgements(100, pairs));
    expect(gate.serving).toBe(SHIFT);
    gate.replace(judgements(100, { ...pairs, [SHIFT | EDGES_STRONG]: 0.1011 }));
    expect(gate.serving).toBe(SHIFT | EDGES_STRONG);
    gate.replace(judgements(100, { [1 << 4]: 0.1, [2 << 4]: 0.1, [3 << 4]: 0.1 }));
    expect(gate.serving).toBe(1 << 4);
  });

  test("lets another arm take over only where it is better by a margin", () => {
    const gate = newGate();
    record(gate, judgements(60, { [SHIFT]: 0.1, [1 << 4]: 0 }));
    expect(gate.serving).toBe(SHIFT);
    record(gate, judgements(3000, { [SHIFT]: 0.1, [1 << 4]: 0.104 }));
    expect(gate.serving).toBe(SHIFT);
    record(gate, judgements(3000, { [SHIFT]: 0.1, [1 << 4]: 0.107 }));
    expect(gate.serving).toBe(1 << 4);
  });

  test("mean and error of a window are those of the weighted differences", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2, maxLength: 60 }), (xs) => {
        const running = new RunningDifference(new Float64Array(RunningDifference.LENGTH));
        for (const x of xs) running.add(x, 20);
        const weights = xs.map((_, i) => (1 - 1 / 20) ** (xs.length - 1 - i));
        const sum = weights.reduce((a, b) => a + b, 0);
        const mean = xs.reduce((total, x, i) => total + weights[i]! * x, 0) / sum;
        const variance = xs.reduce((total, x, i) => total + weights[i]! * (x - mean) ** 2, 0) / sum;
        const events = sum ** 2 / weights.reduce((a, w) => a + w * w, 0);
        expect(running.mean).toBeCloseTo(mean, 9);
        expect(running.standardError).toBeCloseTo(Math.sqrt(variance / (events - 1)), 6);
      }),
      runs(200),
    );
  });

  test("fits into the header, beside all that stands before it", () => {
    expect(Math.max(...Object.values(FIELD))).toBeLessThan(24);
    expect(24 + Gate.LENGTH).toBeLessThanOrEqual(1024);
  });
});

describe("a placebo", () => {
  test.each([3, 4, 5])(
    "(answers shuffled by seed %i) serves nothing after train, and the report says why",
    async (seed) => {
      const world = makeWorld();
      const state = newState(world);
      const { delta, report } = await train(state, world.corpus, shuffleAnswers(world.events(120, seed), seed));
      apply(state, world, delta);
      expect(state.gate.serving).toBe(STATIC);
      expect(report.serving).toBe("static");
      expect(Object.keys(report.arms).length).toBeGreaterThan(10);
      for (const arm of Object.values(report.arms)) {
        expect(arm.state).toBe("challenger");
        expect(arm.why).toMatch(/gain .* lower bound|never-chosen|below static lately/);
      }
      for (const { serves } of Object.values(report.learners)) expect(serves).toBe(false);
    },
  );

  test.each([3, 4])("(answers shuffled by seed %i) serves nothing at any time of learn", (seed) => {
    const world = makeWorld();
    const state = newState(world);
    const past = shuffleAnswers(world.events(200, seed), seed);
    past.forEach((event, i) => {
      apply(
        state,
        world,
        learnEvents(state, world.corpus, [event], { recent: past.slice(Math.max(0, i - 256), i) }).delta,
      );
      expect(state.gate.serving).toBe(STATIC);
    });
    const { served, static: plain } = measure(state, world, world.events(20, 1));
    expect(served).toBe(plain);
  });
});

describe("a report", () => {
  test("names what is missing, and each learner's part", () => {
    const world = makeWorld();
    const state = newState(world);
    const { delta, report } = learnEvents(state, world.corpus, world.events(12, 1));
    expect(learnEvents(state, world.corpus, []).report.arms).toMatchObject({
      adapter: { state: "challenger", events: 0, why: "judged on 0 events, needs 30: 30 are missing" },
      edges: { lower: undefined },
    });
    expect(report).toMatchObject({ serving: "static", events: 12, shifted: 0, linked: 0 });
    expect(report.arms.linear!.why).toBe("judged on 12 events, needs 30: 18 are missing");
    expect(report.arms.shift!.why).toBe("judged on 11 events, needs 30: 19 are missing");
    expect(report.arms.adapter).toBeUndefined(); // it takes its first step after 32 events
    expect(report.learners.adapter).toEqual({ serves: false, adds: undefined });
    expect(report.learners.edges.adds).toBeTypeOf("number");
    apply(state, world, delta);
    expect(learningReport(state).shifted).toBeGreaterThan(10);
    expect(learningReport(state).linked).toBeGreaterThan(learningReport(state).shifted);
  });

  test("of a question by example ranks what was chosen with the examples before", () => {
    const world = makeWorld();
    const state = newState(world);
    const byExample = {
      query: world.corpus.vector(0),
      chosen: [{ node: 300, grade: 1 }],
      shown: [],
      rejected: [],
      source: undefined,
      examples: [0, 8],
      seeds: [
        { node: 0, weight: 1 },
        { node: 8, weight: 1 },
      ],
    };
    apply(state, world, learnEvents(state, world.corpus, [byExample, byExample]).delta);
    const asked = { query: world.corpus.vector(8), seeds: [{ node: 8, weight: 1 }], examples: [8] };
    const contest = contestOf(state, world, asked, [STATIC, EDGES_STRONG]);
    const place = (arm: number) => ranking(contest, arm).findIndex(({ node }) => node === 300);
    expect(place(STATIC)).not.toBe(0);
    expect(place(EDGES_STRONG)).toBe(0);
    expect(ranking(contest, EDGES_STRONG).some(({ node }) => node === 8)).toBe(false);
  });
});
