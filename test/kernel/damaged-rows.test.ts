/** Rows that name what does not exist, under checksums that hold: refused with their place, never followed. */
import { describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { createGraph, type Graph, type GraphOptions, graphStrides } from "../../native/graph.js";
import { createRegion, type Region } from "../../native/index.js";

const ROWS = 3;
const d = 16;
const n = 2200; // from 2,048 on rows have codes

async function built(profile: GraphOptions["profile"]): Promise<{ graph: Graph; region: Region; row: number }> {
  const options: GraphOptions = {
    dimensions: d,
    metric: "l2",
    m: 8,
    efConstruction: 60,
    ml: 1 / Math.log(8),
    seed: 1,
    maxNodes: 3000,
    profile,
    stopMargin: -1,
    keepOriginals: true,
    cacheBytes: 0,
  };
  const { vector, row, upper, id, projection, place, warm, cool, cold, archive, codebooks } = graphStrides(options);
  const region = createRegion([
    4096,
    3000,
    vector * 3000,
    row * 3000,
    upper * 6000,
    id * 3000,
    Math.max(projection, 4096),
    place * 3000,
    ...[warm, cool, cold, archive].map((bytes) => bytes * 3000),
    codebooks,
  ]);
  const graph = createGraph(region, options);
  const nodes = graph.allocate(n)!;
  const prng = new Prng(3);
  graph.setVectors(
    nodes,
    Float32Array.from({ length: n * d }, () => prng.gaussian()),
    1,
  );
  graph.publish(nodes, new Uint32Array(0));
  await graph.link(n);
  return { graph, region, row };
}

/** The error of searching everywhere, or undefined. */
function refusal(graph: Graph): HebbError | undefined {
  const prng = new Prng(4);
  const [nodes, distances] = [new Uint32Array(10), new Float32Array(10)];
  try {
    for (let i = 0; i < 200; i++) {
      graph.search(
        Float32Array.from({ length: d }, () => prng.gaussian()),
        10,
        30,
        nodes,
        distances,
        false,
        4,
      );
    }
  } catch (error) {
    if (error instanceof HebbError) return error;
    throw error;
  }
  return undefined;
}

describe.each(["turbo", "compact", "small"] as const)("%s", (profile) => {
  test("a sound graph is searched without complaint", async () => {
    const { graph, region } = await built(profile);
    expect(refusal(graph)).toBeUndefined();
    graph.close();
    region.close();
  });

  test.each([
    ["a neighbour past the last node", 16 + 4 * 3, Uint32Array.of(n + 7), "names a node that does not exist"],
    ["a degree past the room of a row", 8, Uint16Array.of(17), "more neighbours than it has room for"],
  ])("%s", async (_, at, value, reason) => {
    const { graph, region, row } = await built(profile);
    for (let node = 0; node < n; node++) region.write(ROWS, node * row + at, new Uint8Array(value.buffer.slice(0)));
    const error = refusal(graph);
    expect(error).toMatchObject({ code: "INDEX_CORRUPT", details: { section: ROWS } });
    expect(error?.message).toContain(reason);
    const { offset } = error!.details as { offset: number };
    expect(offset % row).toBe(at);
    graph.close();
    region.close();
  });
});
