/** What the compiled addon exports; index.ts and graph.ts give it its documented face. */
import type { CodeCounts, CodeShape, FrozenCodes, FrozenStrides, Snapshot } from "./frozen.js";
import type { Network } from "./gnn.js";
import type { Graph, GraphOptions, GraphStrides } from "./graph.js";
import type { Region } from "./index.js";

export interface Addon {
  kernelName: string;
  kernelDeterministic: boolean;
  kernelMaxDimension: number;
  crc32c(bytes: Uint8Array, seed?: number): number;
  firstNonFinite(values: Float32Array): number;
  l2(a: Float32Array, b: Float32Array): number;
  dot(a: Float32Array, b: Float32Array): number;
  scoreRows(
    isL2: boolean,
    query: Float32Array,
    rows: Float32Array,
    slots: Uint32Array,
    out: Float64Array,
    places: Uint32Array,
  ): void;
  tryLock(fd: number, mode: "exclusive" | "shared"): boolean;
  allocate(fd: number, offset: number, length: number): number;
  /** The function that makes the error for a block without its checksum, and for bytes that could not be read at all. */
  makeFaultsBy(
    make: (
      section: number,
      block: number,
      expected: number,
      computed: number,
      offset: number,
      reason: string | null,
      lost: boolean,
    ) => Error,
  ): void;
  Network: new (
    dimensions: number,
    hidden: number,
    heads: number,
    linear: boolean,
    metric: number,
    bound: number,
  ) => Network;
  adam(
    parameters: Float32Array,
    gradient: Float32Array,
    first: Float32Array,
    second: Float32Array,
    learningRate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    weightDecay: number,
    t: number,
  ): void;
  halves(parameters: Float32Array, out: Uint16Array): void;
  Region: new (reserveBytes: number[]) => Region;
  Graph: (new (region: Region, options: GraphOptions) => Graph) & { strides(options: GraphOptions): GraphStrides };
  Snapshot: new (graph: Graph, shape: CodeShape, nodes: Uint32Array, left: Uint8Array, tier: number) => Snapshot;
  Frozen: {
    new (graph: Graph, shape: CodeShape & CodeCounts): FrozenCodes;
    strides(shape: { dimensions: number; bits: number }): FrozenStrides;
  };
}
