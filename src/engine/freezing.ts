/**
 * Freezing: an index's rows as an immutable bundle. Rows are numbered in the order of their ids (integers ascending, then
 * strings by their UTF-8), so that of equal distances the lower id comes first, and an id is found by halving.
 */
import { checkInteger, checkOneOf, checkOptions, HebbError } from "../../base/errors.js";
import { inSlices, Slices, sortInSlices } from "../../base/slices.js";
import { type Id, TIERS } from "../../base/types.js";
import { createSnapshot, FROZEN_SECTIONS, frozenSection, type Snapshot } from "../../native/frozen.js";
import { GRAPH_SECTIONS } from "../../native/graph.js";
import { kernelTraits } from "../../native/index.js";
import { BundleWriter } from "../../storage/bundle-writer.js";
import { diskFiles } from "../../storage/files.js";
import { type Manifest, MOST_STRING_BYTES } from "../../storage/manifest.js";
import { hasBit } from "../catalog/bitmaps.js";
import type { FreezeOptions } from "../types.js";
import { type FrozenIndex, openFrozen } from "./frozen-index.js";
import { checkKernel } from "./frozen-kernel.js";
import {
  type BundleSection,
  type FrozenParameters,
  MOST_BITS,
  MOST_DIMENSIONS,
  MOST_RERANK,
  MOST_ROWS,
  MOST_SEED,
  ROTATIONS,
  sectionNumber,
} from "./frozen-parameters.js";
import { textOf } from "./frozen-texts.js";
import { copyInTier } from "./frozen-tier.js";
import { compareIds } from "./id-order.js";
import type { Session } from "./session.js";
import { checkPath, show } from "./validate.js";

const OPTIONS = [
  "rotation",
  "seed",
  "bits",
  "rerankFactor",
  "tier",
  "overlay",
  "settle",
  "generation",
  "lineage",
  "memoryClass",
];
/** Bytes that are read and written at once. */
const PIECE_BYTES = 1 << 20;
/** Texts that are read at once: so many, and about so many bytes. */
const MOST_TEXTS = 256;
const TEXT_BYTES = 64 << 10;
/** Ids of more bytes are not in the graph's slots (docs/format.md). */
const SLOT_ID_BYTES = 46;
/** Sections whose contents a snapshot has. */
const SNAPSHOT_SECTIONS: readonly BundleSection[] = [...GRAPH_SECTIONS, ...FROZEN_SECTIONS];

/** Options, validated and complete. */
type Plan = ReturnType<typeof planOf>;

function planOf(options: FreezeOptions) {
  checkOptions("freeze", options, OPTIONS);
  const { rotation = "hadamard", seed = 0, bits = 4, rerankFactor = 20 } = options;
  const { tier = "hot", overlay = false, settle = true } = options;
  for (const [name, value] of Object.entries({ overlay, settle })) {
    if (typeof value !== "boolean") throw new TypeError(`${name} is ${show(value)}; expected true or false`);
  }
  const { generation, lineage, memoryClass } = options;
  if (
    generation !== undefined &&
    typeof generation !== "string" &&
    !(Number.isSafeInteger(generation) && generation >= 0)
  ) {
    throw new RangeError(
      `generation is ${show(generation)}; expected a string, or an integer from 0 to ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  for (const [name, value] of Object.entries({ lineage, memoryClass })) {
    if (value !== undefined && typeof value !== "string")
      throw new TypeError(`${name} is ${show(value)}; expected a string`);
  }
  for (const [name, value] of Object.entries({ generation, lineage, memoryClass })) {
    if (typeof value !== "string") continue;
    const bytes = Buffer.byteLength(value);
    if (bytes > MOST_STRING_BYTES || !value.isWellFormed()) {
      throw new RangeError(
        `${name} has ${bytes} bytes of UTF-8; expected well-formed text of at most ${MOST_STRING_BYTES}`,
      );
    }
  }
  return {
    rotation: checkOneOf("rotation", rotation, ROTATIONS),
    seed: checkInteger("seed", seed, 0, MOST_SEED),
    bits: checkInteger("bits", bits, 1, MOST_BITS),
    rerankFactor: checkInteger("rerankFactor", rerankFactor, 0, MOST_RERANK),
    tier: checkOneOf("tier", tier, TIERS),
    overlay,
    settle,
    generation,
    lineage,
    memoryClass,
  };
}

/** What `Index.freeze` does. */
export async function freeze(session: Session, directory: string, options: FreezeOptions): Promise<FrozenIndex> {
  const plan = planOf(options);
  checkPath("directory", directory);
  if (session.dimensions > MOST_DIMENSIONS) {
    throw new RangeError(`the index has ${session.dimensions} dimensions; a bundle has at most ${MOST_DIMENSIONS}`);
  }
  checkKernel(kernelTraits, session.dimensions);
  if (session.graph.live === 0) throw empty(session);
  const writer = await BundleWriter.open(diskFiles, directory);
  try {
    // Opened before anybody else can publish there.
    return await session.whole(plan.settle, () => writeBundle(session, plan, writer, () => openFrozen(directory)));
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

const empty = ({ directory, graph }: Session) =>
  new HebbError(
    "INDEX_EMPTY",
    graph.live === 0
      ? `the index at ${directory} has no rows; put some before it is frozen`
      : `none of the ${graph.live} rows of the index at ${directory} is linked yet; freeze with settle: true, which waits for them`,
  );

/** Writes all sections and publishes them, while nothing changes. */
async function writeBundle<T>(
  session: Session,
  plan: Plan,
  writer: BundleWriter,
  published: (manifest: Manifest) => Promise<T>,
): Promise<T> {
  const { graph, catalog, settings, dimensions, metric } = session;
  const { nodes, ids } = await rowsInOrder(session);
  if (nodes.length === 0) throw empty(session);
  if (nodes.length > MOST_ROWS)
    throw new RangeError(`the index has ${nodes.length} rows; a bundle has at most ${MOST_ROWS}`);
  const served = plan.overlay ? session.learned.servedVectors() : undefined;
  const shifted = served?.shifted.size
    ? Uint32Array.from(nodes.keys()).filter((i) => served.shifted.has(nodes[i]))
    : new Uint32Array(0);
  const counts = await writeGraph(session, plan, writer, nodes, shifted);
  await writeTexts(writer, ids, (from, to) => catalog.payloadTexts(nodes.subarray(from, to)));
  const { adapter } = served ?? {};
  const rank = Math.min(adapter?.rank ?? 0, dimensions); // more directions than there are dimensions are zeros
  const directions = adapter ? [adapter.basis, adapter.output].map((all) => all.subarray(0, rank * dimensions)) : [];
  await writeSection(writer, "adapter", directions);
  await writeSection(writer, "shifted", [shifted]);
  await writeSection(
    writer,
    "shifts",
    Array.from(shifted, (i) => served!.shifted.get(nodes[i])!),
  );

  const parameters: FrozenParameters = {
    dimensions,
    metric,
    rows: nodes.length,
    leftOut: graph.live - nodes.length,
    rotation: plan.rotation,
    seed: plan.seed,
    bits: plan.bits,
    tier: plan.tier,
    rerankFactor: plan.rerankFactor,
    ef: session.config.ruvector.hnsw_ef_search,
    ...counts,
    coded: nodes.length - shifted.length,
    graph: {
      m: settings.m,
      profile: settings.profile,
      levelMultiplier: settings.ml,
      stopMargin: settings.stopMargin,
    },
    overlay: served ? { adapterRank: rank, shifted: shifted.length } : null,
  };
  const publication = {
    parameters,
    generation: plan.generation ?? session.appliedTo,
    lineage: plan.lineage ?? Buffer.from(session.store.meta.storeId).toString("hex"),
    ...(plan.memoryClass !== undefined && { memoryClass: plan.memoryClass }),
  };
  return writer.publish(publication, published);
}

/**
 * Writes the graph's rows and vectors in the order of `nodes`, and the codes of all but `shifted` ones.
 * @param shifted places in `nodes`
 */
async function writeGraph(
  session: Session,
  plan: Plan,
  writer: BundleWriter,
  nodes: Uint32Array,
  shifted: Uint32Array,
): Promise<{ clusters: number; blocks: number }> {
  const left = new Uint8Array(shifted.length > 0 ? nodes.length : 0);
  for (const i of shifted) left[i] = 1;
  const shape = { bits: plan.bits, haar: plan.rotation === "haar", seed: plan.seed };
  const copy = plan.tier === "hot" ? undefined : await copyInTier(session, nodes, plan.tier);
  const own = copy ? Uint32Array.from(nodes.keys()) : nodes;
  const snapshot = createSnapshot(copy?.graph ?? session.graph, shape, own, left, TIERS.indexOf(plan.tier));
  try {
    await snapshot.build(0, 0);
    for (const name of SNAPSHOT_SECTIONS) await writeRecords(writer, name, snapshot);
    const [clusters, blocks] = [frozenSection("clusters"), frozenSection("codes")].map((at) => snapshot.size(at).count);
    return { clusters, blocks };
  } finally {
    snapshot.close();
    copy?.graph.close();
    copy?.region.close();
  }
}

/** The linked rows in the order of their ids. */
async function rowsInOrder({ graph, searcher }: Session): Promise<{ nodes: Uint32Array; ids: Id[] }> {
  const linked = graph.liveBits(true);
  const rows: { node: number; id: Id }[] = [];
  const together = 1000;
  const slices = new Slices();
  for (let from = 0; from < graph.nodes; from += together) {
    const there: number[] = [];
    for (let node = from; node < Math.min(from + together, graph.nodes); node++)
      if (hasBit(linked, node)) there.push(node);
    const nodes = Uint32Array.from(there);
    searcher.ids(nodes, nodes.length).forEach((id, i) => {
      rows.push({ node: nodes[i], id });
    });
    await slices.pause();
  }
  const sorted = await sortInSlices(rows, (a, b) => compareIds(a.id, b.id));
  return { nodes: Uint32Array.from(sorted, ({ node }) => node), ids: sorted.map(({ id }) => id) };
}

async function writeRecords(writer: BundleWriter, name: BundleSection, snapshot: Snapshot): Promise<void> {
  const number = sectionNumber(name);
  const { stride, count } = snapshot.size(number);
  if (count === 0) return;
  const sink = await writer.section(name, count * stride);
  const together = Math.max(1, Math.floor(PIECE_BYTES / stride));
  for (let first = 0; first < count; first += together) {
    await sink.write(snapshot.read(number, first, Math.min(together, count - first)));
  }
  await sink.finish();
}

async function writeTexts(
  writer: BundleWriter,
  ids: readonly Id[],
  payloads: (from: number, to: number) => (string | null)[],
): Promise<void> {
  /** Texts of rows, some at once: as many as are few bytes. */
  const pieces = function* () {
    let together = 1;
    for (let from = 0; from < ids.length; ) {
      const texts = payloads(from, Math.min(from + together, ids.length)).map((payload, i) =>
        textOf(longId(ids[from + i]), payload),
      );
      yield texts;
      from += texts.length;
      const bytes = texts.reduce((sum, { length }) => sum + length, 0);
      together = bytes < TEXT_BYTES ? Math.min(2 * together, MOST_TEXTS) : Math.max(1, together >> 1);
    }
  };
  // Sizes first: a section is declared before its bytes are there, and all of them may not fit into memory.
  const offsets = new BigUint64Array(ids.length + 1);
  let row = 0;
  await inSlices(pieces(), (texts) => {
    for (const text of texts) offsets[row + 1] = offsets[row++] + BigInt(text.length);
  });
  const bytes = Number(offsets[ids.length]);
  if (bytes === 0) return;
  await writeSection(writer, "text-offsets", [offsets]);
  const sink = await writer.section("texts", bytes);
  const slices = new Slices();
  for (const texts of pieces()) {
    await sink.write(Buffer.concat(texts));
    await slices.pause();
  }
  await sink.finish();
}

const longId = (id: Id): string | undefined =>
  typeof id === "string" && Buffer.byteLength(id) > SLOT_ID_BYTES ? id : undefined;

/** A section that is in memory; none where it is empty. */
async function writeSection(
  writer: BundleWriter,
  name: BundleSection,
  parts: readonly ArrayBufferView[],
): Promise<void> {
  const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (bytes === 0) return;
  const sink = await writer.section(name, bytes);
  for (const { buffer, byteOffset, byteLength } of parts)
    await sink.write(new Uint8Array(buffer, byteOffset, byteLength));
  await sink.finish();
}
