/** A frozen bundle as users hold it: arguments are checked here, everything else is next door. */
import { dirname, resolve } from "node:path";
import { checkInteger, checkOneOf, checkOptions, HebbError } from "../../base/errors.js";
import type { Id, Metric } from "../../base/types.js";
import { frozenStrides } from "../../native/frozen.js";
import { kernelName } from "../../native/index.js";
import type { BundleOptions } from "../../storage/bundle.js";
import type { FrozenSearchOptions, FrozenStats, Hit, OpenFrozenOptions, StoredFrozen } from "../types.js";
import { type FrozenParameters, MOST_RERANK, type RotationKind } from "./frozen-parameters.js";
import { type FrozenPlan, FrozenReader } from "./frozen-reader.js";
import { writeRbpx } from "./rbpx.js";
import { checkEf, checkId, checkK, checkPath, checkRows, checkValues, checkVector, show } from "./validate.js";

const SEARCH_OPTIONS = ["k", "rerankFactor", "mode", "ef", "include"];
const INCLUDES = ["payload", "vector"];
const MODES = ["scan", "graph"] as const;
const VERIFY = ["eager", "lazy", "off"] as const;

/**
 * Opens a frozen bundle. It is mapped, not read: opening takes milliseconds, and more only for shifted rows, which are
 * copied, and with `eager`.
 * @throws {TypeError} on a bad directory or option
 * @throws {HebbError} NOT_A_BUNDLE, BUNDLE_VERSION, BUNDLE_CORRUPT, WITNESS_MISMATCH, KERNEL_UNAVAILABLE, IO_ERROR
 */
export async function openFrozen(directory: string, options: OpenFrozenOptions = {}): Promise<FrozenIndex> {
  checkOptions("openFrozen", options, ["verify"]);
  checkPath("directory", directory);
  const verify = checkOneOf("verify", options.verify ?? "lazy", VERIFY);
  const path = resolve(directory); // `refresh` and `verify` look there again
  return new FrozenIndex(path, { verify }, await FrozenReader.open(path, { verify }));
}

/**
 * An open frozen bundle. Answers are the same, bit for bit, on every machine and by every kernel. Made by `openFrozen`
 * and `Index.freeze`. After `close`, every method fails with INDEX_CLOSED.
 */
export class FrozenIndex {
  readonly #directory: string;
  readonly #options: BundleOptions;
  #reader: FrozenReader;
  #closing: Promise<void> | undefined;

  /** Made by `openFrozen`. */
  constructor(directory: string, options: BundleOptions, reader: FrozenReader) {
    this.#directory = directory;
    this.#options = options;
    this.#reader = reader;
  }

  /** Values per vector. */
  get dimensions(): number {
    return this.#open().parameters.dimensions;
  }

  /** How distances are measured. */
  get metric(): Metric {
    return this.#open().parameters.metric;
  }

  /** Rows in the bundle. */
  get size(): number {
    return this.#open().parameters.rows;
  }

  /**
   * What the bundle holds, as 64 digits of hex: SHAKE-256 over every byte that can change an answer, and over the
   * parameters that it is read by. Equal witnesses, equal answers.
   */
  get witness(): string {
    return this.#open().bundle.manifest.witness;
  }

  /**
   * Refuses a bundle of another witness than the one that you keep.
   * @throws {TypeError} unless it is 64 digits of lower-case hex
   * @throws {HebbError} WITNESS_MISMATCH
   */
  expectWitness(expected: string): void {
    if (typeof expected !== "string" || !/^[0-9a-f]{64}$/.test(expected)) {
      throw new TypeError(`the witness is ${show(expected)}; expected 64 digits of lower-case hex`);
    }
    const { witness } = this;
    if (witness === expected) return;
    throw new HebbError(
      "WITNESS_MISMATCH",
      `the bundle at ${this.#directory} has the witness ${witness}; expected ${expected}. It is another bundle: correct its path, or the witness that you keep`,
      { expected, found: witness },
    );
  }

  /** How vectors were rotated before they were coded. */
  get rotationKind(): RotationKind {
    return this.#open().parameters.rotation;
  }

  /**
   * The nearest rows, ascending, and of equally near ones the lower ids first. Synchronous.
   * @param query `dimensions` finite numbers; not zero under cosine
   * @throws {TypeError | RangeError} on a bad query or option
   * @throws {HebbError} WITNESS_MISMATCH for a damaged block that is met for the first time
   */
  search(query: Float32Array | number[], options: FrozenSearchOptions = {}): Hit[] {
    const reader = this.#open();
    const { parameters } = reader;
    const vector = checkVector("query", query, parameters.dimensions, parameters.metric === "cosine");
    return reader.search(vector, planOf(parameters, options));
  }

  /** `search` for each row of `queries` (n x dimensions), on all cores, off this thread. Throws as `search` does. */
  async searchMany(queries: Float32Array, options: FrozenSearchOptions = {}): Promise<Hit[][]> {
    const reader = this.#open();
    const { dimensions, metric } = reader.parameters;
    const rows = checkRows("queries", queries, dimensions);
    checkValues("queries", rows, dimensions, metric === "cosine", (row) => `query ${row}`);
    return reader.inFlight(reader.searchMany(rows, planOf(reader.parameters, options)));
  }

  /** The row of an id, or undefined. */
  get(id: Id): StoredFrozen | undefined {
    const reader = this.#open();
    const node = reader.nodeOf(checkId(id));
    return node === undefined ? undefined : reader.row(node);
  }

  /** Whether there is a row of this id. */
  has(id: Id): boolean {
    return this.#open().nodeOf(checkId(id)) !== undefined;
  }

  /** All rows, in the order of their ids: integers ascending, then strings by their UTF-8. */
  *entries(): Generator<StoredFrozen> {
    const reader = this.#open();
    const { rows } = reader.parameters;
    for (let node = 0; node < rows; node++) {
      if (this.#open() !== reader) {
        throw new HebbError("INDEX_CLOSED", `the bundle at ${this.#directory} was replaced; ask for its entries again`);
      }
      yield reader.row(node);
    }
  }

  /**
   * Reads every byte of the bundle from disk and holds it to the witness.
   * @throws {HebbError} WITNESS_MISMATCH naming the first section that differs; BUNDLE_CORRUPT, also where another bundle
   *   took its place, as its files are gone from there; IO_ERROR
   */
  async verify(): Promise<void> {
    const reader = this.#open();
    await reader.inFlight(reader.bundle.verify());
  }

  /**
   * Looks whether the directory holds another bundle by now, and answers from that one from then on (`replaced`).
   * `missing`: it holds none any more; this handle goes on with the one that it has.
   * @throws {HebbError} as `openFrozen`, where what is there cannot be opened; this handle goes on as before
   */
  async refresh(): Promise<"up-to-date" | "replaced" | "missing"> {
    const before = this.#open();
    const state = await before.inFlight(before.bundle.state());
    if (state !== "replaced") return state;
    const next = await FrozenReader.open(this.#directory, this.#options);
    if (this.#closing !== undefined || this.#reader !== before) {
      await next.close(); // closed, or refreshed by another call, meanwhile
      this.#open();
      return state;
    }
    this.#reader = next;
    await before.close();
    return state;
  }

  /** What the bundle says of itself, and what reads it. */
  stats(): FrozenStats {
    const { parameters, bundle, region, codes } = this.#open();
    const { witness, generation, lineage, memoryClass, sections } = bundle.manifest;
    const strides = frozenStrides(parameters);
    const codeBytes = parameters.blocks * (strides.block + 32 * strides.planes);
    const { rows, leftOut, dimensions, metric, rotation, seed, bits, tier, rerankFactor, clusters, coded, overlay } =
      parameters;
    return {
      size: rows,
      leftOut,
      dimensions,
      metric,
      kernel: kernelName,
      witness,
      rotation,
      seed,
      bits,
      tier,
      rerankFactor,
      clusters,
      codes: { bytes: codeBytes, bytesPerVector: coded && codeBytes / coded },
      overlay: overlay ?? undefined,
      generation,
      lineage,
      memoryClass,
      bytes: {
        total: sections.reduce((sum, { bytes }) => sum + bytes, 0),
        resident: region.residentBytes(),
        sections: Object.fromEntries(sections.map(({ name, bytes }) => [name, bytes])),
      },
      scans: codes.work(),
    };
  }

  /**
   * Writes ids and vectors as an `rbpx0001` container. Its rotation is not portable: whoever reads it codes the vectors
   * anew. Payloads, graph and learned shifts stay behind.
   * @throws {TypeError | RangeError} for a path that is none, or in the bundle itself; for an id that is no integer from 0 to 4,294,967,295, as the container holds no other; nothing
   *   is written then
   * @throws {HebbError} DISK_FULL, IO_ERROR
   */
  async exportRbpx(path: string): Promise<void> {
    const reader = this.#open();
    if (typeof path === "string" && resolve(dirname(path)) === this.#directory) {
      throw new RangeError(`path is ${show(path)}, in the bundle itself; expected another directory`);
    }
    const { dimensions, rerankFactor, seed, rows } = reader.parameters;
    const header = { dimensions, seed: BigInt(seed), rerankFactor, count: rows };
    const all = function* () {
      for (let node = 0; node < rows; node++) yield reader.row(node);
    };
    await reader.inFlight(writeRbpx(path, header, all));
  }

  /** Waits for what is under way and lets go of everything. A second call does nothing. */
  async close(): Promise<void> {
    this.#closing ??= this.#reader.close();
    await this.#closing;
  }

  /** `await using`, where the runtime has it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(): FrozenReader {
    if (this.#closing !== undefined) {
      throw new HebbError("INDEX_CLOSED", `the bundle at ${this.#directory} was closed; open it again`);
    }
    return this.#reader;
  }
}

function planOf(p: FrozenParameters, options: FrozenSearchOptions): FrozenPlan {
  checkOptions("search", options, SEARCH_OPTIONS);
  const { include = ["payload"], mode = "scan", rerankFactor = p.rerankFactor } = options;
  if (!Array.isArray(include) || include.some((part) => !INCLUDES.includes(part))) {
    throw new TypeError(
      `include is ${show(include)} with ${JSON.stringify(include)}; expected a list of ${INCLUDES.join(", ")}`,
    );
  }
  const k = checkK(options.k);
  return {
    k,
    rerankFactor: checkInteger("rerankFactor", rerankFactor, 0, MOST_RERANK),
    ef: checkEf(options.ef, k, p.ef),
    byGraph: checkOneOf("mode", mode, MODES) === "graph",
    withPayload: include.includes("payload"),
    withVector: include.includes("vector"),
  };
}
