/** What the bench uses of Hebb: the public API and nothing else. */
export interface Hit {
  id: string | number;
  score: number;
  distance: number;
  payload?: unknown;
}
export interface SearchOptions {
  k?: number;
  ef?: number;
  filter?: Record<string, unknown>;
  include?: ("payload" | "vector")[];
}
export interface Index {
  putMany(batch: {
    ids: (string | number)[];
    vectors: Float32Array;
    payloads?: Record<string, number>[];
  }): Promise<unknown>;
  settle(): Promise<void>;
  delete(ids: (string | number)[]): Promise<number>;
  search(query: Float32Array, options?: SearchOptions): Hit[];
  searchMany(queries: Float32Array, options?: SearchOptions): Promise<Hit[][]>;
  searchNodes(query: Float32Array, k: number, ef: number, outNodes: Uint32Array, outDistances: Float32Array): number;
  idOf(node: number): string | number | undefined;
  query(options: {
    vector: Float32Array;
    mode: "vector" | "neural";
    k: number;
    ef: number;
  }): Promise<{ hits: Hit[]; latencyMs: number }>;
  learn(events: { query: Float32Array; chosen: (string | number)[]; time: number }[]): Promise<unknown>;
  train(options: { epochs?: number }): Promise<unknown>;
  stats(): { size: number; kernel: string; learning: object };
  checkpoint(): Promise<void>;
  close(): Promise<void>;
}
type Open = (
  path: string,
  options: { dimensions: number; metric: "l2" | "cosine"; durability?: "off"; indexes?: string[]; config?: object },
) => Promise<Index>;
const module = "../src/index.js";
export const open: Open = async (path, options) => ((await import(module)) as { open: Open }).open(path, options);
