/**
 * Places beyond 2 and 4 GiB, in the file and in memory, with one byte more and one less: written, checkpointed, put in
 * place by the journal, read back. Files are sparse, so that they take no disk.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createGraph, type GraphOptions, graphStrides } from "../../native/graph.js";
import { BLOCK_BYTES, createRegion, PAGE_BYTES } from "../../native/index.js";
import { diskFiles, type Files } from "../../storage/files.js";
import { Store } from "../../storage/store.js";
import { long } from "../support/seed.js";

const scratch = mkdtempSync(join(tmpdir(), "hebb-large-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const GIB = 2 ** 30;

/** The disk, but for files that are extended by holes where they are to have room. */
const sparseFiles: Files = {
  ...diskFiles,
  async open(path, mode) {
    const file = await diskFiles.open(path, mode);
    file.allocate = async (offset, length) => file.truncate(Math.max(await file.size(), offset + length));
    return file;
  },
};

test("a section of more than 4 GiB, and one that lies behind it in the file", async () => {
  const directory = join(scratch, "store");
  const reserveBytes = 5 * GIB;
  const sections = () => [
    { kind: 1, name: "huge", stride: 1, reserveBytes },
    { kind: 2, name: "behind", stride: 1, reserveBytes: BLOCK_BYTES * 4 },
  ];
  const create = { dimensions: 3, metric: "l2", config: {} } as const;
  const open = async (readOnly = false) => {
    const store = await Store.open(directory, {
      files: sparseFiles,
      create: readOnly ? undefined : create,
      sections,
      readOnly,
    });
    for await (const _ of store.replay());
    return store;
  };
  // Around 2^31 and 2^32 in the section, which in the file lies a block further on: around both there, too.
  const places = [2 ** 31, 2 ** 32].flatMap((at) =>
    [at - BLOCK_BYTES, at].flatMap((near) => [near - 1, near, near + 1]),
  );
  places.push(reserveBytes - 1);
  const value = (at: number, round: number) => new Uint8Array(1).fill(1 + ((at / 7 + 31 * round) % 250));

  for (let round = 0; round < 3; round++) {
    const store = await open();
    for (const at of places) {
      const expected = round === 0 ? new Uint8Array(1) : value(at, round - 1);
      expect([round, at, store.region.read(0, at, 1)]).toEqual([round, at, expected]);
      store.region.write(0, at, value(at, round));
    }
    store.region.write(1, 5, value(5, round));
    await store.log.append([{ type: 1, payload: new Uint8Array(1) }]);
    await store.checkpoint(store.log.lastLsn); // the first one writes free blocks, the others go through the journal
    for (const at of places) expect([at, store.region.read(0, at, 1)]).toEqual([at, value(at, round)]);
    await store.close();
  }
  const store = await open(true);
  for (const at of places) {
    expect([at, store.region.read(0, at, 1)]).toEqual([at, value(at, 2)]);
    // What is around it is as it was: zeros, or another of the places.
    const page = Math.floor(at / PAGE_BYTES) * PAGE_BYTES;
    const bytes = store.region.read(0, page, PAGE_BYTES);
    const set = places.filter((one) => one >= page && one < page + PAGE_BYTES);
    expect(bytes.filter((byte) => byte !== 0).length).toBe(set.length);
  }
  expect(store.region.read(1, 5, 1)).toEqual(value(5, 2));
  if (long) expect(await store.check()).toEqual([]); // reads all 5 GiB
  await store.close();
  const { size, blocks } = statSync(join(directory, "index.hebb"));
  expect(size).toBeGreaterThan(reserveBytes);
  expect(blocks * 512).toBeLessThan(64 << 20); // or it is not sparse here, and this test no use
});

test("a graph's vectors on both sides of 2^31 and of 2^32 bytes are found, and no others", async () => {
  const d = 16_384; // 64 KiB a vector
  const nodes = Uint32Array.of(1, 32_767, 32_768, 65_535, 65_536, 70_000);
  const options: GraphOptions = {
    dimensions: d,
    metric: "l2",
    m: 4,
    efConstruction: 20,
    ml: 1 / Math.log(4),
    seed: 1,
    maxNodes: 70_100,
    profile: "small",
    stopMargin: -1,
    keepOriginals: true,
    cacheBytes: 0,
  };
  const { vector, row, upper, id, projection, place, warm, cool, cold, archive, codebooks } = graphStrides(options);
  expect(vector).toBe(BLOCK_BYTES);
  const n = options.maxNodes;
  const tiers = [warm, cool, cold, archive].map((bytes) => bytes * n);
  const region = createRegion([
    4096,
    n,
    vector * n,
    row * n,
    upper * 2 * n,
    id * n,
    projection,
    place * n,
    ...tiers,
    codebooks,
  ]);
  const graph = createGraph(region, options);
  expect(graph.claim(nodes)).toBe(true);
  const vectors = new Float32Array(nodes.length * d);
  nodes.forEach((_, i) => {
    for (let j = 0; j < 64; j++) vectors[i * d + ((i * 997 + j * 251) % d)] = 1 + i + j / 64;
  });
  graph.setVectors(nodes, vectors, 1);
  graph.publish(nodes, new Uint32Array(0));
  await graph.link(nodes.length);
  expect(graph.backlog).toBe(0);
  const [found, distances] = [new Uint32Array(3), new Float32Array(3)];
  nodes.forEach((node, i) => {
    const own = vectors.slice(i * d, (i + 1) * d);
    expect(graph.vector(node)).toEqual(own);
    expect(graph.search(own, 3, 50, found, distances, false, 4)).toBe(3);
    expect([found[0], distances[0]]).toEqual([node, 0]);
  });
  expect(graph.vector(32_769)).toEqual(new Float32Array(d)); // its neighbour in memory was never written
  graph.close();
  region.close();
});
