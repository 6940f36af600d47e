/** Opening a store: settings, files, catalog, graph, and whatever the log has that they have not. */
import { join } from "node:path";
import { checkInteger, checkOneOf, checkOptions, HebbError } from "../../base/errors.js";
import { DURABILITIES, type Json, METRICS, type Metric } from "../../base/types.js";
import {
  createGraph,
  GRAPH_SECTIONS,
  type Graph,
  type GraphOptions,
  type GraphProfile,
  graphStrides,
} from "../../native/graph.js";
import { type SectionSpec, Store } from "../../storage/store.js";
import { Catalog } from "../catalog/catalog.js";
import { checkIndexes } from "../catalog/schema.js";
import { type Config, loadConfig } from "../config.js";
import type { OpenOptions } from "../types.js";
import { applyChanges, type Change, changeOf, type Parts } from "./changes.js";
import { checkEncoder, ENCODER_SETTING, FROZEN_SETTING, TextEncoder } from "./encoding.js";
import { GRADIENTS_KIND, GradientSlots, gradientSections } from "./gradient-slots.js";
import { Index } from "./hebb-index.js";
import { Learned, learnedSections } from "./learned.js";
import { Querier } from "./querying.js";
import { decodePut, encodeSetting, RECORD } from "./records.js";
import { Searcher } from "./searching.js";
import { type Layout, Session } from "./session.js";
import { checkBudget, Tiering } from "./tiering.js";
import { Trainer } from "./trainer.js";
import { show } from "./validate.js";

const OPTIONS = ["dimensions", "metric", "config", "indexes", "readOnly", "durability", "encoder"];
const MAX_DIMENSIONS = 65536;
/** Principal directions take memory by the square of the dimensions. */
const MOST_COMPACT = 4096;
/** Of the hash that gives nodes their levels. */
const LEVEL_SEED = 1;
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
 * Opens the index in a directory, or creates it. One handle writes at a time; `readOnly` handles
 * share the store among themselves.
 * @param directory created when missing; its parent too
 * @throws {TypeError | RangeError} on an option that is none, or out of range
 * @throws {HebbError} STORE_LOCKED, STORE_NOT_FOUND, NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, CONFIG_INVALID,
 *   INDEX_CORRUPT, JOURNAL_CORRUPT, WAL_CORRUPT, CATALOG_CORRUPT, DISK_FULL, IO_ERROR, KERNEL_UNAVAILABLE; with
 *   `readOnly` also STORE_READ_ONLY, where a writer was killed and only writing can bring the store up to its log
 */
export async function open(directory: string, options: OpenOptions = {}): Promise<Index> {
  return new Index(await openSession(directory, options));
}

/** What `open` does, for those who need more than an index shows. */
export async function openSession(directory: string, options: OpenOptions): Promise<Session> {
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
  const store = await Store.open(directory, {
    readOnly,
    create: dimensions === undefined || metric === undefined ? undefined : { dimensions, metric, config: { ...fresh } },
    sections: (identity) => sectionsOf(graphOptions(identity, config)),
  });
  let catalog: Catalog | undefined;
  let graph: Graph | undefined;
  try {
    config.checkAgainst({ dimensions: store.meta.dimensions });
    const settings = graphOptions(store.meta, config);
    graph = createGraph(store.region, settings);
    catalog = await Catalog.open(join(directory, "catalog.sqlite"), {
      storeId: store.meta.storeId,
      readOnly,
      indexes,
      create: !readOnly && store.meta.lsn === 0, // until the first checkpoint, the log can make it anew
    });
    if (catalog.committedLsn < store.meta.lsn) {
      throw new HebbError(
        "CATALOG_CORRUPT",
        `catalog.sqlite holds the log up to ${catalog.committedLsn}, index.hebb up to ${store.meta.lsn}; restore both from one copy`,
      );
    }
    const { metric: stored, dimensions: d } = store.meta;
    const tiering = new Tiering(graph, settings, config, readOnly);
    const searcher = new Searcher(graph, catalog, tiering, d, stored, config.ruvector.hnsw_ef_search);
    const { learning_rank: rank } = store.meta.config as unknown as StoredConfig;
    const learned = new Learned(store.region, GRAPH_SECTIONS.length, searcher, config, rank);
    const at = sectionsOf(settings).findIndex(({ kind }) => kind === GRADIENTS_KIND);
    const gradients = new GradientSlots(store.region, at, d, settings.maxNodes);
    const parts: Parts = { graph, catalog, learned, gradients, tiering };
    if (readOnly) await checkNothingToReplay(directory, store, catalog);
    else await replay(store, parts);
    const [fit, frozen] = [catalog.setting(ENCODER_SETTING), catalog.setting(FROZEN_SETTING)];
    const encoder = TextEncoder.of(d, stored === "cosine", options.encoder, fit, frozen !== undefined);
    if (encoder.fit && fit === undefined && graph.live === 0 && !readOnly) await rememberEncoder(store, parts);
    return new Session(
      {
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
        encoder,
        searcher,
      },
      { querier: (s) => new Querier(s), trainer: (s) => new Trainer(s) },
    );
  } catch (error) {
    // The first error tells more than one from closing.
    graph?.close();
    await catalog?.close().catch(() => {});
    await store.close().catch(() => {});
    throw error;
  }
}

/**
 * The graph's options: those the store was made with, and of the config what may change from one opening to the next.
 */
function graphOptions(
  { dimensions, metric, config: stored }: { dimensions: number; metric: Metric; config: Json },
  config: Config,
): GraphOptions {
  const { hnsw_m: m, hnsw_ml: ml, learning_rank: rank, graph_profile: profile } = stored as unknown as StoredConfig;
  const { keep_originals: keepOriginals = true } = stored as unknown as Partial<StoredConfig>;
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
  return [...graph, ...learnedSections(options.dimensions, n, 7), ...gradientSections(options.dimensions, n)];
}

/** The next opening of an empty store need not name the built-in encoder. */
async function rememberEncoder(store: Store, parts: Parts): Promise<void> {
  const payload = encodeSetting(ENCODER_SETTING, new Uint8Array(0));
  const { last } = await store.log.append([{ type: RECORD.setting, payload }]);
  await store.log.sync();
  await applyChanges([changeOf(parts, last, RECORD.setting, Buffer.concat(payload))]);
}

/** A handle that only reads cannot bring the followers up to the log. */
async function checkNothingToReplay(directory: string, store: Store, catalog: Catalog): Promise<void> {
  let changes = 0;
  for await (const { records } of store.replay([catalog.committedLsn])) changes += records.length;
  if (changes === 0) return;
  throw new HebbError(
    "STORE_READ_ONLY",
    `the log of ${directory} holds ${changes} ${changes === 1 ? "change" : "changes"} that index.hebb and the catalog lack, because the writer was ` +
      "killed; open it once without readOnly to recover",
    { changes },
  );
}

/** Applies what the log has and the store has not, some thousand rows at a time. */
async function replay(store: Store, parts: Parts): Promise<void> {
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
    for (const { lsn, type, payload } of group.records) {
      if (type === RECORD.put) {
        const { nodes } = decodePut(payload);
        if (!parts.graph.claim(nodes)) {
          // Numbers are used again only after consolidation, which is not logged.
          await flush();
          await parts.graph.consolidate();
          if (!parts.graph.claim(nodes)) {
            throw new HebbError("WAL_CORRUPT", `log record ${lsn} puts rows at nodes that are in use`, { lsn });
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
}
