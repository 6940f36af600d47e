/**
 * What the benches measure on: folders of real data, or seeded synthetic sets. Real data lie in
 * $HEBB_DATA, else in `../shared/data` beside the checkout, and are no part of the project.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, isAbsolute, join, resolve } from "node:path";
import { clusteredVectors, sheetVectors, syntheticJudgements } from "./generate.js";
import { readNpy } from "./npy.js";
import { CHECKOUT } from "./record.js";
import { kthDistances } from "./truth.js";

/** A mistake of whoever runs the bench, or something that is not installed: one line, no stack. */
export class UsageError extends Error {}

/** Vectors to index and vectors to ask with; squared L2. n rows and nq rows of d columns. */
export interface AnnSet {
  name: string;
  d: number;
  n: number;
  base: Float32Array;
  nq: number;
  queries: Float32Array;
  k: number;
  /** Exact squared distance of the k-th nearest base row of each query; empty while nobody knows it. */
  kth: Float64Array;
}

/** Which `AnnSet`: it travels between processes, so it is plain data. */
export interface AnnSpec {
  /** Name of a folder under the data root, a path, or one of `GENERATED`. */
  data: string;
  /** Base rows; default: all. */
  base?: number;
  queries: number;
  /** Rows at the end that are queries and no base rows, where the data do not say; default 1000. */
  held?: number;
  k: number;
  /** Of what is generated; clusters: as many as the generator has where nothing else is said. */
  dimensions: number;
  seed: number;
  clusters?: number;
}

/** `synthetic` is small and easy; `sheet` is for scale. */
const GENERATED = {
  synthetic: clusteredVectors,
  sheet: (n: number, d: number, seed: number, clusters?: number) => sheetVectors(n, d, seed, { clusters }),
} as const;

const isGenerated = (data: string): data is keyof typeof GENERATED => Object.hasOwn(GENERATED, data);

const dataRoot = (): string => process.env.HEBB_DATA ?? resolve(CHECKOUT, "../shared/data");

/** The folder that `data` names. @throws {UsageError} says where it was looked for and what is there. */
export function dataFolder(data: string): string {
  const folder = isAbsolute(data) || data.startsWith(".") ? resolve(data) : join(dataRoot(), data);
  if (existsSync(folder)) return folder;
  const there = existsSync(dataRoot())
    ? `there are ${readdirSync(dataRoot()).join(" ")}`
    : "that folder does not exist";
  throw new UsageError(
    `no data "${data}": looked in ${dataRoot()} (${there}). Set HEBB_DATA to the folder that holds it, or run "npm run bench -- smoke", which needs none.`,
  );
}

/** `kth` where the truth is known already, or is to stay empty; otherwise it is read, or computed by brute force where it is not stored. */
export function loadAnn(spec: AnnSpec, kth?: Float64Array): AnnSet {
  const { d, rows, held, name } = isGenerated(spec.data)
    ? generatedVectors(spec.data, spec)
    : vectorsOf(dataFolder(spec.data), spec.held);
  const total = rows.length / d;
  const n = Math.min(spec.base ?? total - held, total - held);
  const nq = Math.min(spec.queries, held);
  const floats = (from: number, to: number) =>
    rows instanceof Float32Array ? rows.subarray(from * d, to * d) : Float32Array.from(rows.subarray(from * d, to * d));
  const base = floats(0, n);
  const queries = floats(total - held, total - held + nq);
  const whole = n === total - held && !isGenerated(spec.data);
  const known = kth ?? (whole ? storedTruth(dataFolder(spec.data), nq, spec.k) : undefined);
  return { name, d, n, base, nq, queries, k: spec.k, kth: known ?? kthDistances(base, queries, d, spec.k) };
}

interface Vectors {
  name: string;
  d: number;
  rows: Float32Array | Uint8Array;
  /** Rows at the end that are queries. */
  held: number;
}

function vectorsOf(folder: string, spare = 1000): Vectors {
  const at = (file: string) => join(folder, file);
  const name = basename(folder);
  if (existsSync(at("glove.bin"))) return { name, ...readGlove(at("glove.bin")), held: spare };
  if (existsSync(at("vector-task-minilm.vec"))) {
    return { name, ...readVec(at("vector-task-minilm.vec"), 384), held: spare };
  }
  if (existsSync(at("queries.f32.npy"))) {
    const [documents, queries] = ["docs.f32.npy", "queries.f32.npy"].map((file) => readNpy(at(file)));
    const rows = new Float32Array(documents.data.length + queries.data.length);
    rows.set(documents.data);
    rows.set(queries.data, documents.data.length);
    return { name, d: documents.shape[1], rows, held: queries.shape[0] };
  }
  const file = ["vectors.u8.npy.gz", "vectors.f32.npy"].find((candidate) => existsSync(at(candidate)));
  if (!file) {
    throw new UsageError(
      `${folder} holds no vectors.u8.npy.gz, vectors.f32.npy, glove.bin, vector-task-minilm.vec or queries.f32.npy`,
    );
  }
  const { shape, data } = readNpy(at(file));
  const held = existsSync(at("truth-distances.f32.npy")) ? readNpy(at("truth-distances.f32.npy")).shape[0] : spare;
  return { name, d: shape[1], rows: data as Float32Array | Uint8Array, held };
}

function storedTruth(folder: string, nq: number, k: number): Float64Array | undefined {
  const path = join(folder, "truth-distances.f32.npy");
  if (!existsSync(path)) return undefined;
  const { shape, data } = readNpy(path);
  return k > shape[1] ? undefined : Float64Array.from({ length: nq }, (_, i) => data[i * shape[1] + k - 1]);
}

/** GloVe words in 8 bits with a scale each (format: SOURCE.md beside it), made unit length: squared L2 then ranks as cosine does. */
function readGlove(path: string): { d: number; rows: Float32Array } {
  const bytes = readFileSync(path);
  const [n, d] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
  const rows = new Float32Array(n * d);
  let at = 8;
  for (let i = 0; i < n; i++) {
    at += 1 + bytes[at];
    const scale = bytes.readFloatLE(at) / 127;
    at += 4;
    let norm = 0;
    for (let j = 0; j < d; j++) {
      const value = bytes.readInt8(at++) * scale;
      rows[i * d + j] = value;
      norm += value * value;
    }
    for (let j = 0; j < d; j++) rows[i * d + j] /= Math.sqrt(norm) || 1;
  }
  return { d, rows };
}

/** Rows of d floats without a header; those that are all zeros stand for texts without a vector, and are left out. */
function readVec(path: string, d: number): { d: number; rows: Float32Array } {
  const bytes = readFileSync(path);
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
  const kept = Array.from({ length: all.length / d }, (_, i) => all.subarray(i * d, (i + 1) * d)).filter((row) =>
    row.some((value) => value !== 0),
  );
  const rows = new Float32Array(kept.length * d);
  kept.forEach((row, i) => {
    rows.set(row, i * d);
  });
  return { d, rows };
}

function generatedVectors(name: keyof typeof GENERATED, spec: AnnSpec): Vectors {
  const { queries, dimensions: d, seed, clusters, base = 3000 } = spec;
  return { name, d, rows: GENERATED[name](base + queries, d, seed, clusters), held: queries };
}

/** Documents, queries and which document is relevant to which query; unit vectors of d columns. */
export interface JudgedSet {
  name: string;
  d: number;
  documents: string[];
  documentVectors: Float32Array;
  queries: string[];
  queryVectors: Float32Array;
  /** For each query, document number -> grade > 0. Queries without a relevant document are left out. */
  relevant: Map<number, number>[];
}

export function loadJudged(data: string): JudgedSet {
  if (data === "synthetic") return { name: data, ...syntheticJudgements() };
  if (data === "synthetic-small") {
    return { name: data, ...syntheticJudgements({ topics: 40, perTopic: 4, queries: 60, d: 16 }) };
  }
  const folder = dataFolder(data);
  const lines = (file: string) => {
    if (!existsSync(join(folder, file))) throw new UsageError(`${folder} holds no ${file}`);
    return readFileSync(join(folder, file), "utf8").trim().split("\n");
  };
  const idsOf = (file: string) => lines(file).map((line) => (JSON.parse(line) as { id: string }).id);
  const documents = idsOf("docs.jsonl");
  const queries = idsOf("queries.jsonl");
  const documentVectors = readNpy(join(folder, "docs.f32.npy"));
  const queryVectors = readNpy(join(folder, "queries.f32.npy"));
  const d = documentVectors.shape[1];
  const documentAt = new Map(documents.map((id, i) => [id, i]));
  const queryAt = new Map(queries.map((id, i) => [id, i]));
  const relevant = queries.map(() => new Map<number, number>());
  for (const line of lines("qrels.tsv")) {
    const [query, document, grade] = line.split("\t");
    const [i, j] = [queryAt.get(query), documentAt.get(document)];
    if (i !== undefined && j !== undefined && Number(grade) > 0) relevant[i].set(j, Number(grade));
  }
  const judged = queries.map((_, i) => i).filter((i) => relevant[i].size > 0);
  const kept = new Float32Array(judged.length * d);
  const queryData = queryVectors.data as Float32Array;
  judged.forEach((i, at) => {
    kept.set(queryData.subarray(i * d, (i + 1) * d), at * d);
  });
  return {
    name: basename(folder),
    d,
    documents,
    documentVectors: documentVectors.data as Float32Array,
    queries: judged.map((i) => queries[i]),
    queryVectors: kept,
    relevant: judged.map((i) => relevant[i]),
  };
}
