/** A bundle in memory: mapped, attached, searched. What is damaged is found where it is first touched, and named. */
import { allDone } from "../../base/all-done.js";
import { bareMessage, HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import type { Id, Payload } from "../../base/types.js";
import { attachCodes, type FrozenCodes } from "../../native/frozen.js";
import { createGraph, type Graph, type ManyResults } from "../../native/graph.js";
import { createRegion, kernelTraits, type Region } from "../../native/index.js";
import { Bundle, type BundleOptions } from "../../storage/bundle.js";
import { corruptBundle, witnessMismatch } from "../../storage/bundle-errors.js";
import { diskFiles } from "../../storage/files.js";
import type { Hit, StoredFrozen } from "../types.js";
import { checkKernel } from "./frozen-kernel.js";
import { FrozenOverlay } from "./frozen-overlay.js";
import {
  BUNDLE_SECTIONS,
  type BundleSection,
  checkParameters,
  expectedBytes,
  type FrozenParameters,
  graphOptionsOf,
  reservedBytes,
  sectionNumber,
} from "./frozen-parameters.js";
import { FrozenTexts } from "./frozen-texts.js";
import { compareIds } from "./id-order.js";

/** Queries of `searchMany` that are searched together. */
const LEAST_TOGETHER = 32;
const MOST_TOGETHER = 512;
const PARTS = 4;
/** Parts under way at once: the next one is waiting when one ends. */
const AHEAD = 4;

/** Search options, validated and complete. */
export interface FrozenPlan {
  k: number;
  rerankFactor: number;
  ef: number;
  byGraph: boolean;
  withPayload: boolean;
  withVector: boolean;
}

export class FrozenReader {
  private readonly flights = new Set<Promise<unknown>>();
  private nodes = new Uint32Array(64);
  private distances = new Float32Array(64);

  private constructor(
    readonly bundle: Bundle,
    readonly parameters: FrozenParameters,
    readonly region: Region,
    private readonly graph: Graph,
    readonly codes: FrozenCodes,
    private readonly texts: FrozenTexts,
    private readonly overlay: FrozenOverlay,
  ) {}

  /** Maps the bundle that is in a directory now. Throws as `openFrozen` does. */
  static async open(directory: string, options: BundleOptions): Promise<FrozenReader> {
    const bundle = await Bundle.open(diskFiles, directory, options);
    let region: Region | undefined;
    try {
      const parameters = checkParameters(bundle.manifest.parameters, directory);
      checkKernel(kernelTraits, parameters.dimensions);
      checkSections(bundle, parameters);
      const bytesOf = (name: BundleSection) => bundle.bytesOf(name) ?? 0;
      const mapped = createRegion(reservedBytes(parameters, bytesOf));
      region = mapped;
      const there = BUNDLE_SECTIONS.filter((name) => bytesOf(name) > 0);
      await allDone(there.map((name) => bundle.map(mapped, sectionNumber(name), name)));
      await bundle.close(); // what is mapped stays
      return inBundle(() => FrozenReader.attach(bundle, parameters, mapped));
    } catch (error) {
      region?.close();
      await bundle.close().catch(() => {}); // the first error tells more
      throw error;
    }
  }

  private static attach(bundle: Bundle, parameters: FrozenParameters, region: Region): FrozenReader {
    const { bits, rotation, seed, clusters, blocks, coded, rows } = parameters;
    const graph = createGraph(region, graphOptionsOf(parameters));
    if (graph.nodes !== rows || graph.live !== rows || graph.backlog > 0) {
      throw corruptBundle(`the graph has ${graph.nodes} nodes, ${graph.live} of them live; expected ${rows}`, {
        section: "head",
      });
    }
    const read = (name: BundleSection, at: number, length: number) => region.read(sectionNumber(name), at, length);
    const overlay = FrozenOverlay.read(parameters, (name) => read(name, 0, bundle.bytesOf(name) ?? 0));
    const codes = attachCodes(graph, { bits, haar: rotation === "haar", seed, clusters, blocks, coded });
    return new FrozenReader(
      bundle,
      parameters,
      region,
      graph,
      codes,
      new FrozenTexts(read, bundle.bytesOf("texts") ?? 0),
      overlay,
    );
  }

  search(vector: Float32Array, plan: FrozenPlan): Hit[] {
    const { graph, codes, parameters, nodes: known } = this;
    const room = Math.min(plan.k, parameters.rows);
    if (known.length < room) {
      this.nodes = new Uint32Array(room);
      this.distances = new Float32Array(room);
    }
    const { nodes, distances } = this;
    return inBundle(() => {
      const asked = this.overlay.ask(vector);
      let count = 0;
      if (parameters.coded > 0 && plan.byGraph)
        count = graph.search(asked, room, plan.ef, nodes, distances, false, 0, ...this.unshifted());
      else if (parameters.coded > 0) count = codes.scan(asked, room, plan.rerankFactor, nodes, distances);
      return this.hits(asked, plan, nodes, distances, count);
    });
  }

  /**
   * In parts: while the hits of one are put together on this thread, in slices, the next is searched on all cores.
   * @param queries n x dimensions, copied
   */
  async searchMany(queries: Float32Array, plan: FrozenPlan): Promise<Hit[][]> {
    const d = this.parameters.dimensions;
    const n = queries.length / d;
    const size = Math.min(MOST_TOGETHER, Math.max(LEAST_TOGETHER, Math.ceil(n / PARTS)));
    const parts: Float32Array[] = [];
    for (let at = 0; at < n; at += size) parts.push(this.asked(queries.slice(at * d, (at + size) * d)));
    return inBundleLater(async () => {
      const lists: Hit[][] = [];
      const underWay: Promise<ManyResults>[] = [];
      let begun = 0;
      for (const part of parts) {
        while (underWay.length < AHEAD && begun < parts.length) {
          const search = this.findMany(parts[begun++], plan);
          search.catch(() => {}); // whoever waits for it gets the error; one before it may have failed first
          underWay.push(search);
        }
        const { nodes, distances, counts } = await underWay.shift()!;
        const room = nodes.length / counts.length;
        await inSlices(counts, (count, j) => {
          const own = [nodes.subarray(j * room), distances.subarray(j * room)] as const;
          lists.push(this.hits(part.subarray(j * d, (j + 1) * d), plan, ...own, count));
        });
      }
      return lists;
    });
  }

  /** Queries as they are asked with, in place. */
  private asked(queries: Float32Array): Float32Array {
    const d = this.parameters.dimensions;
    for (let at = 0; at < queries.length; at += d) queries.set(this.overlay.ask(queries.subarray(at, at + d)), at);
    return queries;
  }

  private async findMany(queries: Float32Array, plan: FrozenPlan): Promise<ManyResults> {
    const { graph, codes, parameters } = this;
    const room = Math.min(plan.k, parameters.rows);
    if (parameters.coded > 0) {
      return plan.byGraph
        ? graph.searchMany(queries, room, plan.ef, false, 0, ...this.unshifted())
        : codes.scanMany(queries, room, plan.rerankFactor);
    }
    const counts = new Int32Array(queries.length / parameters.dimensions);
    return { nodes: new Uint32Array(0), distances: new Float32Array(0), counts };
  }

  /** In the graph shifted rows lie where they were before: what it finds of them is no result. */
  private unshifted(): [bits: Uint32Array | undefined, count: number] {
    return [this.overlay.others?.bits, this.overlay.others?.count ?? 0];
  }

  private hits(
    asked: Float32Array,
    { k, byGraph, withPayload, withVector }: FrozenPlan,
    nodes: Uint32Array,
    distances: Float32Array,
    count: number,
  ): Hit[] {
    const isOrdered = this.parameters.tier === "hot" && !hasTies(distances, count);
    if (byGraph && !isOrdered)
      [nodes, distances] = this.walked(asked, nodes.slice(0, count), distances.slice(0, count));
    if (this.overlay.size > 0) [nodes, distances, count] = this.overlay.merge(asked, k, nodes, distances, count);
    const ids = this.ids(nodes, count);
    const isCosine = this.parameters.metric === "cosine";
    const hits = new Array<Hit>(count);
    for (let i = 0; i < count; i++) {
      const distance = distances[i];
      const hit: Hit = { id: ids[i], score: isCosine ? 1 - distance : 0 - distance, distance };
      if (withPayload) hit.payload = this.payload(nodes[i]);
      if (withVector) hit.vector = this.graph.vector(nodes[i]);
      hits[i] = hit;
    }
    return hits;
  }

  /**
   * What a walk found, of equals the lower rows first, as a scan has it; and in a tier's codec by what vectors decode to,
   * as a scan compares them: a walk goes by estimates then.
   */
  private walked(asked: Float32Array, nodes: Uint32Array, distances: Float32Array): [Uint32Array, Float32Array] {
    const { tier, metric } = this.parameters;
    const least = metric === "dot" ? -Infinity : 0; // rounding may take a distance below
    const found = tier === "hot" ? distances : this.graph.distances(asked, nodes).map((x) => Math.max(x, least));
    const order = [...nodes.keys()].sort((a, b) => found[a] - found[b] || nodes[a] - nodes[b]);
    return [Uint32Array.from(order, (i) => nodes[i]), Float32Array.from(order, (i) => found[i])];
  }

  /** The row of a number. */
  row(node: number): StoredFrozen {
    return inBundle(() => {
      const [id] = this.ids(Uint32Array.of(node), 1);
      return { id, vector: this.graph.vector(node), payload: this.payload(node) };
    });
  }

  /** Found by halving: rows lie in the order of their ids. */
  nodeOf(id: Id): number | undefined {
    return inBundle(() => {
      let [from, to] = [0, this.parameters.rows];
      while (from < to) {
        const middle = Math.floor((from + to) / 2);
        const order = compareIds(this.ids(Uint32Array.of(middle), 1)[0], id);
        if (order === 0) return middle;
        if (order < 0) from = middle + 1;
        else to = middle;
      }
      return undefined;
    });
  }

  private payload(node: number): Payload | undefined {
    return this.texts.of(node).payload;
  }

  private ids(nodes: Uint32Array, count: number): Id[] {
    const ids = this.graph.idsOf(nodes, count);
    for (let i = 0; i < count; i++) ids[i] ??= this.texts.longId(nodes[i]);
    return ids as Id[];
  }

  /** Counts something asynchronous, so that closing waits for it. */
  inFlight<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {}, // whoever asked gets the error
    );
    this.flights.add(settled);
    void settled.then(() => this.flights.delete(settled));
    return work;
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    while (this.flights.size > 0) await Promise.all(this.flights);
    this.codes.close();
    this.graph.close();
    this.region.close();
  }
}

const hasTies = (ascending: Float32Array, count: number): boolean => {
  for (let i = 1; i < count; i++) if (ascending[i] === ascending[i - 1]) return true;
  return false;
};

/** Every section is known, there where the parameters want it, and of the size that they imply. */
function checkSections(bundle: Bundle, parameters: FrozenParameters): void {
  const expected = expectedBytes(parameters);
  for (const { name } of bundle.manifest.sections) {
    if (name === "checksums" || (BUNDLE_SECTIONS as readonly string[]).includes(name)) continue;
    throw corruptBundle(`section ${name} is none that this release knows`, { section: name });
  }
  for (const name of BUNDLE_SECTIONS) {
    const [found, wanted] = [bundle.bytesOf(name) ?? 0, expected[name]];
    if (wanted !== undefined && found !== wanted) {
      throw corruptBundle(`section ${name} has ${found} bytes; the parameters imply ${wanted}`, {
        section: name,
        expected: wanted,
        found,
      });
    }
  }
  const [offsets, texts] = [bundle.bytesOf("text-offsets") ?? 0, bundle.bytesOf("texts") ?? 0];
  const wanted = texts === 0 ? 0 : 8 * (parameters.rows + 1);
  if (offsets !== wanted) {
    throw corruptBundle(`section text-offsets has ${offsets} bytes; the parameters imply ${wanted}`, {
      section: "text-offsets",
      expected: wanted,
      found: offsets,
    });
  }
}

/** Damage that the kernel finds, in a bundle's words. */
function bundleError(error: unknown): unknown {
  if (error instanceof HebbError && error.details.lost === true) return lostError(error);
  if (!(error instanceof HebbError) || error.code !== "INDEX_CORRUPT") return error;
  const { section: number, block, offset, expected, computed } = error.details as Record<string, number>;
  const { reason } = error.details as { reason?: string };
  const section = BUNDLE_SECTIONS[number];
  if (section === undefined) return corruptBundle(reason ?? bareMessage(error), {});
  if (expected === undefined)
    return corruptBundle(`section ${section}, offset ${offset}: ${reason}`, { section, offset });
  const hex = (value: number) => `0x${value.toString(16).padStart(8, "0")}`;
  return witnessMismatch(
    `section ${section}, block ${block}: checksum ${hex(computed)} found; expected ${hex(expected)}`,
    { section, block, expected, found: computed },
    error,
  );
}

/** A file that was cut, or whose disk failed, while it was mapped. */
function lostError(error: HebbError): HebbError {
  const { section: number, offset, lost } = error.details as { section: number; offset: number; lost: boolean };
  const section = BUNDLE_SECTIONS[number] ?? String(number);
  const message = `section ${section} of the bundle, offset ${offset}: its file ends before it, or the disk failed under it. Close this handle, see to file and disk, open again`;
  return new HebbError("IO_ERROR", message, { section, offset, lost }, error);
}

function inBundle<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw bundleError(error);
  }
}

async function inBundleLater<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw bundleError(error);
  }
}
