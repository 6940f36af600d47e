/** Opening a store: settings, files, catalog, graph, and whatever the log has that they have not. */
import { join } from "node:path";
import { checkInteger, checkOneOf, checkOptions, HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import { DURABILITIES, type Durability, type Json, METRICS, type Metric } from "../../base/types.js";
import {
  createGraph,
  GRAPH_PROFILES,
  GRAPH_SECTIONS,
  type Graph,
  type GraphOptions,
  type GraphProfile,
  graphStrides,
  LEVEL_SEED,
} from "../../native/graph.js";
import { diskFiles, type Files, rewrite } from "../../storage/files.js";
import { CATALOG_NAME } from "../../storage/names.js";
import { type SectionSpec, Store } from "../../storage/store.js";
import { Catalog } from "../catalog/catalog.js";
import { checkIndexes } from "../catalog/schema.js";
import { type Config, loadConfig } from "../config.js";
import type { OpenOptions } from "../types.js";
import { applyChanges, type Change, changeOf, type Parts } from "./changes.js";
import { checkEncoder, ENCODER_SETTING, FROZEN_SETTING, TextEncoder } from "./encoding.js";
import { GRADIENTS_KIND, GradientSlots, gradientSections } from "./gradient-slots.js";
import { Index } from "./hebb-index.js";
import { Learned } from "./learned.js";
import { LEARNED_SECTIONS, learnedSections } from "./learned-sections.js";
import { logSetting } from "./log-setting.js";
import { checkNothingMissing, readingSteadily } from "./reading.js";
import { decodePut, fromLog, RECORD } from "./records.js";
import { recoveryReport, rememberDurability } from "./recovery.js";
import { Searcher } from "./searching.js";
import { type Layout, Session } from "./session.js";
import { checkBudget } from "./tier-options.js";
import { Tiering } from "./tiering.js";
import { show } from "./validate.js";

const OPTIONS = ["dimensions", "metric", "config", "indexes", "readOnly", "durability", "encoder"];
const MAX_DIMENSIONS = 65536;
/** Principal directions take memory by the square of the dimensions. */
const MOST_COMPACT = 4096;
/** Rows of the log that are applied together while it is replayed. */
const REPLAY_ROWS = 4096;
/** Bytes of the log that are, whatever they hold. */
const REPLAY_BYTES = 16 << 20;

/** What a store keeps of its settings: they shaped its graph, so a config that says otherwise is refused. */
interface StoredConfig {
  hnsw_m: number;
  hnsw_ml: number;
  graph_profile: GraphProfile;
  /** False where the floats of a vector go when it leaves tier hot. Stores made before it was there have them. */
  keep_originals: boolean;
  /** Directions of the query adapter: the layout of section `parameters` follows from it. */
  learning_rank: number;
}

/**
 * Opens the index in a directory, or creates it. One handle writes at a time. Any number of `readOnly` handles, of this
 * process and others, read beside it: each one state, which the writer had acknowledged half a second before the opening
 * or later, and which never changes.
 * @param directory created when missing, with its parents
 * @throws {TypeError | RangeError} on an option that is none, or out of range
 * @throws {HebbError} STORE_LOCKED, STORE_NOT_FOUND, NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, CONFIG_INVALID,
 *   INDEX_CORRUPT, JOURNAL_CORRUPT, WAL_CORRUPT, CATALOG_CORRUPT, DISK_FULL, IO_ERROR, KERNEL_UNAVAILABLE; with
 *   `readOnly` also STORE_READ_ONLY, where a writer was killed and only writing can bring the store up to its log
 */
export function open(directory: string, options: OpenOptions = {}): Promise<Index> {
  return openWith(diskFiles, directory, options);
}

/**
 * `open` with the log and index.hebb behind `files`, for tests that fail or record what goes through them. The
 * catalog is SQLite's, which does its own input and output: the directory is a real one.
 */
export async function openWith(files: Files, directory: string, options: OpenOptions = {}): Promise<Index> {
  return new Index(await openSession(directory, options, files));
}

/** What `open` does, for those who need more than an index shows. */
export async function openSession(directory: string, options: OpenOptions, files = diskFiles): Promise<Session> {
  checkOptions("open", options, OPTIONS);
  const { readOnly = false, indexes } = options;
  if (typeof readOnly !== "boolean") throw new TypeError(`readOnly is ${show(readOnly)}; expected true or false`);
  if (indexes !== undefined && !(Array.isArray(indexes) && indexes.every((i) => typeof i === "string"))) {
    throw new TypeError(`indexes is ${show(indexes)}; expected an array of payload fields`);
  }
  if (indexes !== undefined) checkIndexes(indexes);
  checkEncoder(options.encoder);
  if (readOnly && indexes !== undefined)
    throw new TypeError("indexes with readOnly: indexes are built by writing; expected one of them");
  const dimensions =
    options.dimensions === undefined ? undefined : checkInteger("dimensions", options.dimensions, 1, MAX_DIMENSIONS);
  const metric = options.metric === undefined ? undefined : checkOneOf("metric", options.metric, METRICS);
  if ((dimensions === undefined) !== (metric === undefined)) {
    throw new TypeError(
      "open got only one of dimensions and metric; expected both (to create) or none (to open what is there)",
    );
  }
  const config = loadConfig(options.config);
  const durability = checkOneOf("durability", options.durability ?? config.storage.durability, DURABILITIES);
  if (dimensions !== undefined) config.checkAgainst({ dimensions });

  const fresh: StoredConfig = {
    hnsw_m: config.ruvector.hnsw_m,
    hnsw_ml: config.levelMultiplier,
    graph_profile: config.ruvector.graph_profile,
    keep_originals: config.storage.keep_originals,
    learning_rank: config.learning.rank,
  };
  if (dimensions !== undefined && metric !== undefined) {
    checkBudget(graphOptions({ dimensions, metric, config: { ...fresh } }, config), config); // before anything is made
  }
  const opening: Opening = { files, directory, options, config, durability };
  if (dimensions !== undefined && metric !== undefined) opening.create = { dimensions, metric, config: { ...fresh } };
  return readOnly ? readingSteadily(files, directory, () => openOnce(opening)) : openOnce(opening);
}

/** Checked arguments of `open`. */
interface Opening {
  files: Files;
  directory: string;
  options: OpenOptions;
  config: Config;
  durability: Durability;
  create?: { dimensions: number; metric: Metric; config: Json };
}

async function openOnce({ files, directory, options, config, durability, create }: Opening): Promise<Session> {
  const { readOnly = false } = options;
  const pathOfCatalog = () => join(directory, CATALOG_NAME); // once the directory is known to be one
  let [catalog, store, graph]: [Catalog?, Store?, Graph?] = [];
  try {
    store = await Store.open(directory, {
      files,
      safeReads: config.storage.safe_reads,
      ...(readOnly && {
        readOnly: {
          begin: async () => {
            catalog = await Catalog.open(pathOfCatalog(), { readOnly });
            return catalog.committedLsn;
          },
        },
      }),
      ...(create && { create }),
      sections: (identity) => sectionsOf(graphOptions(identity, config)),
    });
    config.checkAgainst({ dimensions: store.meta.dimensions });
    const settings = graphOptions(store.meta, config);
    checkCounts(store, settings);
    graph = createGraph(store.region, settings);
    catalog ??= await Catalog.open(pathOfCatalog(), {
      storeId: store.meta.storeId,
      indexes: options.indexes,
      create: store.meta.lsn === 0, // until the first checkpoint, the log can make it anew
      rewriteLog: () => rewriteWhole(files, `${pathOfCatalog()}-wal`),
    });
    catalog.checkStore(store.meta.storeId);
    if (catalog.committedLsn < store.meta.lsn) {
      throw new HebbError(
        "CATALOG_CORRUPT",
        `catalog.sqlite holds the log up to ${catalog.committedLsn}, index.hebb up to ${store.meta.lsn}. ${REPAIR_OR_RESTORE}`,
      );
    }
    const { metric, dimensions } = store.meta;
    const tiering = new Tiering(graph, settings, config, readOnly);
    const searcher = new Searcher(graph, catalog, tiering, dimensions, metric, config.ruvector.hnsw_ef_search);
    const { learning_rank: rank } = store.meta.config as unknown as StoredConfig;
    const held = heldBytes(store.meta);
    const learned = new Learned(store.region, searcher, config, rank, held);
    const at = LEARNED_SECTIONS.get("gradients")!;
    const { nodes } = graph;
    const slots = { bytes: held(GRADIENTS_KIND), nodes };
    const gradients = new GradientSlots(store.region, at, dimensions, settings.maxNodes, slots);
    const parts: Parts = { graph, catalog, learned, gradients, tiering };
    const { applied, left } = await replay(store, parts);
    await checkNothingMissing(files, directory, left);
    const recovery = recoveryReport(store, catalog, applied);
    if (!readOnly) await rememberDurability(store, parts, durability, config.ruvector.flush_interval_ms);
    const [fit, frozen] = [catalog.setting(ENCODER_SETTING), catalog.setting(FROZEN_SETTING)];
    const encoder = TextEncoder.of(dimensions, metric === "cosine", options.encoder, fit, frozen !== undefined);
    // The next opening of an empty store need not name the built-in encoder.
    if (encoder.fit && fit === undefined && graph.live === 0 && !readOnly) {
      await logSetting(store, parts, ENCODER_SETTING, new Uint8Array(0));
    }
    return new Session({
      directory,
      layout: layoutOf(settings),
      settings,
      store,
      graph,
      catalog,
      learned,
      gradients,
      tiering,
      config,
      durability,
      recovery,
      encoder,
      searcher,
    });
  } catch (error) {
    // The first error tells more than one from closing.
    graph?.close();
    await catalog?.close().catch(() => {});
    await store?.close().catch(() => {});
    throw error;
  }
}

/** Writes a file that may be there again as it is. */
async function rewriteWhole(files: Files, path: string): Promise<void> {
  if ((await files.kind(path)) !== "file") return;
  const file = await files.open(path, "write");
  try {
    await rewrite(file, 0, await file.size());
  } finally {
    await file.close();
  }
}

/** Layout and memory follow from it, so that each field is what it can be. @throws {HebbError} INDEX_CORRUPT */
function checkStored(stored: Json): Partial<StoredConfig> & Omit<StoredConfig, "graph_profile" | "keep_originals"> {
  const fields = (typeof stored === "object" && stored !== null ? stored : {}) as { [key: string]: unknown };
  const { hnsw_m: m, hnsw_ml: ml, learning_rank: rank, graph_profile: profile, keep_originals: kept } = fields;
  if (profile === undefined) return fields as unknown as ReturnType<typeof checkStored>; // of an older release
  const isWhole = (value: unknown, least: number, most: number) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  for (const [name, holds, value, expected] of [
    ["hnsw_m", isWhole(m, 2, 128), m, "2 to 128"],
    ["hnsw_ml", typeof ml === "number" && ml > 0 && ml <= 2, ml, "a number above 0, at most 2"],
    ["learning_rank", isWhole(rank, 1, 4096), rank, "1 to 4096"],
    ["graph_profile", GRAPH_PROFILES.includes(profile as GraphProfile), profile, GRAPH_PROFILES.join(", ")],
    ["keep_originals", kept === undefined || typeof kept === "boolean", kept, "true or false"],
  ] as const) {
    if (holds) continue;
    throw new HebbError(
      "INDEX_CORRUPT",
      `index.hebb, config of the meta slots: ${name} is ${show(value)}; expected ${expected}. Restore the store from a copy`,
      { section: "meta", field: name },
    );
  }
  return fields as unknown as ReturnType<typeof checkStored>;
}

/** Bytes that the file has of the section of a kind. */
function heldBytes({ sections }: Store["meta"]): (kind: number) => number {
  return (kind) => sections.find((section) => section.kind === kind)?.length ?? 0;
}

/** Where the graph's head has how many nodes there are, and entries of section `upper`. */
const NODES_AT = 20;
const UPPER_ENTRIES_AT = 56;
const HEAD_BYTES = 72;
/** Where the head of section `codebooks` has how many slots of each tier are in use. */
const USED_AT = 36;
const TIERS_HEAD_BYTES = 152;
const TIER_SECTIONS = ["vectors", "warm", "cool", "cold", "archive"] as const;

/**
 * What the graph says that it has is in the file: room is made by these numbers, and addresses are reserved for far more
 * than any file holds.
 * @throws {HebbError} INDEX_CORRUPT
 */
function checkCounts({ region, meta }: Store, options: GraphOptions): void {
  const specs = sectionsOf(options);
  const held = heldBytes(meta);
  const numberOf = (name: (typeof GRAPH_SECTIONS)[number]) => GRAPH_SECTIONS.indexOf(name);
  const expect = (where: string, offset: number, count: number, name: (typeof GRAPH_SECTIONS)[number], first = 0) => {
    const { kind, stride } = specs[numberOf(name)]!;
    if (count === 0 || (count + first) * stride <= held(kind)) return;
    throw new HebbError(
      "INDEX_CORRUPT",
      `section ${where}, offset ${offset}: ${count} records of section ${name}, which has ${held(kind)} bytes and not ${(count + first) * stride}. ${REPAIR_OR_RESTORE}`,
      { section: where, offset, expected: Math.floor(held(kind) / stride), found: count },
    );
  };
  const head = view(region.read(numberOf("head"), 0, HEAD_BYTES));
  const nodes = head.getUint32(NODES_AT, true);
  expect("head", NODES_AT, nodes, "state"); // rows may be missing: those are linked anew
  expect("head", UPPER_ENTRIES_AT, head.getUint32(UPPER_ENTRIES_AT, true), "upper", 1); // entry 0 is not used
  let tiers: DataView;
  try {
    tiers = view(region.read(numberOf("codebooks"), 0, TIERS_HEAD_BYTES));
  } catch {
    return; // the graph knows what to do without it
  }
  for (const [i, name] of TIER_SECTIONS.entries()) {
    expect("codebooks", USED_AT + 4 * i, tiers.getUint32(USED_AT + 4 * i, true), name);
  }
}

const view = ({ buffer, byteOffset, length }: Uint8Array): DataView => new DataView(buffer, byteOffset, length);

/**
 * The graph's options: those the store was made with, and of the config what may change from one opening to the next.
 */
function graphOptions(
  { dimensions, metric, config: stored }: { dimensions: number; metric: Metric; config: Json },
  config: Config,
): GraphOptions {
  if (dimensions > MAX_DIMENSIONS) {
    throw new HebbError(
      "INDEX_CORRUPT",
      `index.hebb, meta slots, offset 32: ${dimensions} dimensions; expected at most ${MAX_DIMENSIONS}. Restore the store from a copy`,
      { section: "meta", offset: 32, expected: MAX_DIMENSIONS, found: dimensions },
    );
  }
  const { hnsw_m: m, hnsw_ml: ml, learning_rank: rank, graph_profile: profile, keep_originals } = checkStored(stored);
  const keepOriginals = keep_originals ?? true;
  if (profile === undefined) {
    throw new HebbError(
      "STORE_VERSION",
      "the store was made by release 0.0.1, whose graph rows this one does not read; export its entries() with that release and put them into a new store",
    );
  }
  if (profile === "compact" && dimensions > MOST_COMPACT) {
    throw new HebbError(
      "CONFIG_INVALID",
      `ruvector.graph_profile is "compact" and the dimensions are ${dimensions}; it fits at most ${MOST_COMPACT}: choose "turbo" or "small"`,
    );
  }
  const asked = config.ruvector;
  for (const [key, value, kept] of [
    ["ruvector.hnsw_m", asked.hnsw_m, m],
    ["ruvector.hnsw_ml", config.levelMultiplier, ml],
    ["learning.rank", config.learning.rank, rank],
    ["storage.keep_originals", config.storage.keep_originals, keepOriginals],
  ] as const) {
    if (config.given.has(key) && value !== kept) {
      throw new HebbError(
        "STORE_MISMATCH",
        `${key} is ${value}, but the store was made with ${kept}; leave the key out, or build a new store`,
      );
    }
  }
  return {
    dimensions,
    metric,
    m,
    ml,
    efConstruction: asked.hnsw_ef_construction,
    seed: LEVEL_SEED,
    maxNodes: asked.max_nodes,
    profile,
    keepOriginals,
    readAhead: asked.prefetch_depth,
    cacheBytes: config.tensor_compress.decompress_cache_size_mb * 2 ** 20,
    stopMargin: asked.search_stop === "adaptive" ? asked.search_stop_margin : -1,
  };
}

function layoutOf(options: GraphOptions): Layout {
  const { vector, row, upper, id, place } = graphStrides(options);
  const upperLists = 1 / (Math.exp(1 / options.ml) - 1); // of a node, on average
  return {
    profile: options.profile,
    rowBytes: row,
    bytesPerVector: Math.round(vector + row + id + place + 1 + upper * upperLists),
  };
}

/** The region's sections. A kind is for ever; docs/format.md has the contents of each. */
function sectionsOf(options: GraphOptions): SectionSpec[] {
  const stride = graphStrides(options);
  const n = options.maxNodes;
  // A node has 1 / (e^(1/m_L) - 1) upper lists on average, less than m_L + 1; the double is out of reach.
  const upperLists = Math.ceil(n * 2 * (options.ml + 1)) + 64;
  const slots = 2 * n + 1024; // those that were left are not free at once
  const sizes: Record<(typeof GRAPH_SECTIONS)[number], [kind: number, stride: number, records: number]> = {
    head: [1, 4096, 1],
    state: [2, 1, n],
    vectors: [3, stride.vector, options.keepOriginals ? n : slots],
    rows: [4, stride.row, n],
    upper: [5, stride.upper, upperLists],
    ids: [6, stride.id, n],
    projection: [9, 4096, Math.max(1, Math.ceil(stride.projection / 4096))],
    places: [10, stride.place, n],
    warm: [11, stride.warm, slots],
    cool: [12, stride.cool, slots],
    cold: [13, stride.cold, slots],
    archive: [14, stride.archive, slots],
    codebooks: [15, 4096, Math.ceil(stride.codebooks / 4096)],
  };
  const graph = GRAPH_SECTIONS.map((name) => {
    const [kind, bytes, records] = sizes[name];
    return { kind, name, stride: bytes, reserveBytes: bytes * records };
  });
  return [...graph, ...learnedSections(options.dimensions, n), ...gradientSections(options.dimensions, n)];
}

/**
 * Applies what the log has and the store has not, some thousand rows at a time. A handle that only reads stops where the
 * catalog does: its state is the one that it shows.
 * @returns records applied, and records left
 */
async function replay(store: Store, parts: Parts): Promise<{ applied: number; left: number }> {
  const end = store.readOnly ? parts.catalog.committedLsn : Number.POSITIVE_INFINITY;
  let applied = 0;
  let left = 0;
  let changes: Change[] = [];
  let rows = 0;
  let bytes = 0;
  const flush = async () => {
    await applyChanges(changes);
    changes = [];
    rows = 0;
    bytes = 0;
  };
  for await (const group of store.replay([parts.catalog.committedLsn])) {
    if (group.lsn > end) {
      left += group.records.length;
      continue;
    }
    applied += group.records.length;
    for (const { lsn, type, payload } of group.records) {
      if (type === RECORD.put) {
        const { nodes } = fromLog(lsn, () => decodePut(payload));
        if (!parts.graph.claim(nodes)) {
          // Numbers are used again only after consolidation, which is not logged.
          await flush();
          await parts.graph.consolidate();
          if (!parts.graph.claim(nodes)) {
            throw new HebbError(
              "WAL_CORRUPT",
              `log record ${lsn} puts rows at nodes that are in use. Restore the store from a copy`,
              { lsn },
            );
          }
        }
        rows += nodes.length;
      }
      changes.push(changeOf(parts, lsn, type, payload));
      bytes += payload.length;
    }
    if (rows >= REPLAY_ROWS || bytes >= REPLAY_BYTES) await flush();
  }
  await flush();
  return { applied, left };
}
