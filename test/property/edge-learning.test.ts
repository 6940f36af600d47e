/** What edges are worth, as training finds it: by documents that ask themselves, and for queries that go from coarse to fine. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "../../base/prng.js";
import { MOST_BIAS, storableBias, UNTRAINED_EDGES } from "../../model/field.js";
import { layerForward } from "../../model/gnn/layer.js";
import { createNetwork } from "../../native/gnn.js";
import { type Corpus, HEARD, type LearnEvent } from "../../training/corpus.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";
import { Pool, prepareExample } from "../../training/examples.js";
import type { FitContext } from "../../training/fit.js";
import { LearnedBiases } from "../../training/fit-edges.js";
import { fitNetwork, type NetworkSettings } from "../../training/fit-network.js";
import { NetworkBytes, networkPieces, storableScalars } from "../../training/network-bytes.js";
import { LEARNING_DEFAULTS } from "../../training/options.js";
import { type NetworkWeights, Propagator } from "../../training/propagator.js";
import { Relatives } from "../../training/relatives.js";
import { type BiasChange, withoutNodes } from "../../training/state.js";
import { makeWorld } from "../support/corpus.js";
import { runs } from "../support/seed.js";

const world = makeWorld();
const { corpus } = world;
const events = world.events(90, 4);
const shape = { dimensions: 16, hidden: 8, heads: 2, propagation: "attention", metric: "cosine", bound: 0.5 } as const;
const settings: NetworkSettings = {
  ...{
    shape,
    layers: 3,
    dropout: 0.1,
    optimizer: "adamw",
    rate: 0.01,
    epochs: 2,
    hierarchical: false,
    selfSupervision: 0.1,
  },
};

function contextOf(from: readonly LearnEvent[], prng = new Prng(1), of: Corpus = corpus) {
  const pool = new Pool(of);
  const examples = from.map((event) => prepareExample(pool, of, [event])!);
  const scales = { score: 1, query: 1, document: 1 };
  const context: FitContext = { corpus: of, pool, options: { ...LEARNING_DEFAULTS }, scales, prng, skippedSteps: 0 };
  return { context, examples };
}

async function fitted(changed: Partial<NetworkSettings> = {}): Promise<NetworkWeights> {
  const { context, examples } = contextOf(events);
  const queries = examples.map(({ query }) => query);
  const near = examples.map((example) => example.near);
  return fitNetwork(context, { ...settings, ...changed }, examples, queries, near, async () => {});
}

const plain = ({ layers, edges, biases }: NetworkWeights) => ({ layers, edges, biases: [...(biases ?? [])] });

describe("a fit", () => {
  test("is the same for the same seed, and moves alpha, beta and biases of edges that leave chosen documents", async () => {
    const weights = await fitted();
    expect(plain(await fitted())).toEqual(plain(weights));
    expect(weights.edges.alpha).not.toBe(UNTRAINED_EDGES.alpha);
    expect(weights.edges.beta).not.toBe(UNTRAINED_EDGES.beta);
    const chosen = new Set(events.flatMap((event) => event.chosen.map(({ node }) => node)));
    expect(weights.biases!.size).toBeGreaterThan(20);
    for (const [node, { to, values }] of weights.biases!) {
      expect(chosen.has(node)).toBe(true);
      expect(to).toEqual(corpus.neighbourhoods(Uint32Array.of(node))[0]!.nodes);
      expect(values).toEqual(values.map(storableBias));
    }
  });

  test("without self-supervision learns nothing of single edges, nor of where nodes stand", async () => {
    const { biases, edges } = await fitted({ selfSupervision: 0 });
    expect(biases!.size).toBe(0);
    expect(edges.beta).toBe(UNTRAINED_EDGES.beta);
  });

  test("that took no step leaves every query alone, to the last bit", async () => {
    for (const hierarchical of [false, true]) {
      const weights = await fitted({ epochs: 0, hierarchical });
      expect(weights.edges).toEqual(UNTRAINED_EDGES);
      const propagator = new Propagator(createNetwork(shape), weights, corpus, 1);
      for (const { query } of events.slice(0, 10)) {
        expect(propagator.attend(query, corpus.nearest(query, 16).nodes).query).toEqual(query);
      }
    }
  });

  test("comes back from the store as it was: scalars, rows with biases, and whether it is hierarchical", async () => {
    for (const hierarchical of [false, true]) {
      const weights = await fitted({ hierarchical });
      const pieces = networkPieces(weights, 1000);
      const stored = new NetworkBytes(pieces[0]!.bytes, "cosine", 0.5);
      for (const { at, bytes } of pieces) stored.bytes.set(bytes, at);
      expect(stored.layers).toEqual(weights.layers);
      expect(stored.edges).toEqual(weights.edges);
      expect(stored.hierarchical).toBe(hierarchical);
      expect([...stored.biased]).toEqual([...weights.biases!.keys()]);
    }
  });
});

test("a network whose header has zeros behind its shape hears as untrained ones do", () => {
  const header = new Uint8Array(32);
  header.set(new Uint8Array(Uint32Array.of(1, 16, 8, 2).buffer));
  const { edges, hierarchical, biased } = new NetworkBytes(header, "cosine", 0.5);
  expect({ edges, hierarchical, biased: biased.length }).toEqual({
    edges: UNTRAINED_EDGES,
    hierarchical: false,
    biased: 0,
  });
});

test("a hierarchical network hears the nearest of each layer of the graph, from coarse to fine", async () => {
  const weights = await fitted({ hierarchical: true, layers: 5 });
  const propagator = new Propagator(createNetwork(shape), weights, corpus, 1);
  for (const { query } of events.slice(0, 20)) {
    const near = corpus.nearest(query, 32).nodes;
    const { attention } = propagator.attend(query, near);
    const nearestOf = (step: number) => {
      const on = Uint32Array.from(corpus.vectors.keys()).filter((node) => node % step === 0);
      const scores = corpus.scores(query, on);
      const order = [...on.keys()].sort((a, b) => scores[b]! - scores[a]!);
      return order.slice(0, HEARD).map((i) => on[i]);
    };
    // Layers 2 and 1 of the graph have every 64th and every 8th node; two layers of the network are above them.
    expect(attention.map(({ nodes }) => [...nodes])).toEqual([64, 64, 64, 8, 1].map(nearestOf));
    for (const { weights: shares } of attention) expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
    const two = propagator.attend(query, near, 2);
    expect(two.attention.map(({ nodes }) => [...nodes])).toEqual([64, 64].map(nearestOf));
  }
});

test("a node hears its neighbours with alpha, beta and the biases of its own edges: the scalar reference", async () => {
  const weights = await fitted({ layers: 1, epochs: 4, rate: 0.05 });
  const prng = new Prng(8);
  const own = Array.from(weights.biases!.keys()).slice(0, 12);
  const biases = new Map(
    own.map((node) => {
      const to = corpus.neighbourhoods(Uint32Array.of(node))[0]!.nodes.toReversed(); // in whatever order
      return [node, { to, values: Float32Array.from(to, () => 4 * (2 * prng.next() - 1)) }];
    }),
  );
  const edges = { alpha: 3, beta: 2 };
  const heardWith = (changed: Partial<NetworkWeights>) =>
    new Propagator(createNetwork(shape), { ...weights, edges, biases, ...changed }, corpus, 1).states(
      1,
      Uint32Array.from(own),
    );
  const states = heardWith({});
  const apart = (others: Float32Array) => Math.max(...states.map((value, i) => Math.abs(value - others[i]!)));
  const wanted = own.flatMap((node) => {
    const heard = corpus.neighbourhoods(Uint32Array.of(node))[0]!;
    const row = biases.get(node)!;
    const logWeights = Float64Array.from(heard.nodes, (other, i) => {
      const logit = 3 * (heard.scores[i]! - 1) + 2 * heard.structural[i]! + row.values[row.to.indexOf(other)]!;
      return -Math.log(1 + Math.exp(-logit));
    });
    const pool = Float64Array.from([...heard.nodes].flatMap((other) => [...corpus.vector(other)]));
    const index = Uint32Array.from(heard.nodes.keys());
    const parameters = Float64Array.from(weights.layers[0]!);
    return [...layerForward(shape, parameters, Float64Array.from(corpus.vector(node)), { pool, index, logWeights }).y];
  });
  expect(apart(Float32Array.from(wanted))).toBeLessThan(5e-4); // served in half precision
  for (const without of [{ biases: new Map() }, { edges: UNTRAINED_EDGES }]) {
    expect(apart(heardWith(without))).toBeGreaterThan(2e-3);
  }
});

test("documents that ask themselves have to find what was chosen with them, and neighbours that they do not hear", () => {
  const { context, examples } = contextOf(events);
  const relatives = new Relatives(context, examples);
  const { nodes: poolNodes } = context.pool;
  const seen = new Set<number>();
  for (const { node, example } of relatives.draw(relatives.examples.length)) {
    seen.add(node);
    const together = new Set(
      events
        .filter(({ chosen }) => chosen.some((c) => c.node === node))
        .flatMap(({ chosen }) => chosen.map((c) => c.node)),
    );
    together.delete(node);
    const around = [...corpus.neighbours(node)];
    const heard = around.slice(0, HEARD);
    const positives = [...example.positives].map((place) => poolNodes[place]!);
    const chosen = positives.filter((other) => together.has(other));
    expect(chosen).toHaveLength(Math.min(8, together.size));
    const others = positives.filter((other) => !together.has(other));
    expect(others).toEqual(
      around
        .slice(HEARD)
        .filter((other) => !together.has(other))
        .slice(0, 4),
    );
    expect(example.weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    if (chosen.length > 0) expect(example.weights[0]! / example.weights.at(-1)!).toBeCloseTo(4, 5);
    const excluded = new Set([...example.excludedPlaces].map((place) => poolNodes[place]!));
    for (const other of [node, ...heard]) expect(excluded.has(other) || together.has(other)).toBe(true);
  }
  expect(seen.size).toBe(relatives.examples.length); // each once before any comes again
});

describe("logits of edges", () => {
  test("follow their gradients down, stay within their bound, and move where they were heard alone", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }), (slopes) => {
        const biases = new LearnedBiases(0.1);
        const to = Uint32Array.of(5, 6, 7);
        for (let i = 0; i < 30; i++) biases.step(1, to, Float64Array.from(slopes));
        expect([...biases.rows.keys()]).toEqual([1]);
        biases.rows.get(1)!.values.forEach((value, i) => {
          expect(Math.abs(value)).toBeLessThanOrEqual(MOST_BIAS);
          expect(value * slopes[i]!).toBeLessThanOrEqual(0);
        });
      }),
      runs(100),
    );
  });

  test("are left alone by a gradient that is not finite, and begin again where the neighbours are others", () => {
    const biases = new LearnedBiases(0.1);
    biases.step(1, Uint32Array.of(5), Float64Array.of(1));
    const before = biases.rows.get(1)!.values.slice();
    biases.step(1, Uint32Array.of(5), Float64Array.of(Number.NaN));
    expect(biases.rows.get(1)!.values).toEqual(before);
    biases.step(1, Uint32Array.of(6), Float64Array.of(0));
    expect(biases.rows.get(1)!.values).toEqual(Float32Array.of(0));
    expect(biases.storable().size).toBe(0);
  });

  test("go through a log as they are; rows and ends that disappeared meanwhile are left out", () => {
    const row = fc
      .uniqueArray(fc.nat(50), { maxLength: 8 })
      .chain((to) =>
        fc.record({
          node: fc.nat(50),
          to: fc.constant(Uint32Array.from(to)),
          values: fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: to.length, maxLength: to.length }),
        }),
      )
      .map((made) => ({ ...made, values: Float32Array.from(made.values) }));
    fc.assert(
      fc.property(fc.array(row, { minLength: 1 }), fc.array(fc.nat(50)), (biases, gone) => {
        const parameters = [{ at: 0, bytes: new Uint8Array(14 * 8) }];
        const delta = { parameters, overlay: [], edges: [], biases };
        expect(decodeDelta(encodeDelta(delta))).toEqual(delta);
        const left = withoutNodes(delta, new Set(gone)).biases!;
        expect(left.map(({ node }) => node)).toEqual(
          biases.map(({ node }) => node).filter((node) => !gone.includes(node)),
        );
        const edges = (of: readonly BiasChange[]) =>
          of.flatMap(({ node, to, values }) => Array.from(to, (end, i) => [node, end, values[i]]));
        expect(edges(left)).toEqual(
          edges(biases).filter(([node, end]) => !gone.includes(node as number) && !gone.includes(end as number)),
        );
      }),
      runs(100),
    );
  });

  test("scalars are what their store gives back", () => {
    expect(storableScalars(UNTRAINED_EDGES)).toEqual(UNTRAINED_EDGES);
    const { alpha, beta } = storableScalars({ alpha: 8.1, beta: 0.1 });
    expect([alpha - 8, beta]).toEqual([Math.fround(8.1 - 8), Math.fround(0.1)]);
  });
});
