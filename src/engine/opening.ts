/** Opening a store: settings, files, catalog, graph, and whatever the log has that they have not. */
import { join } from "node:path";
import {
  bareMessage,
  checkInteger,
  checkOneOf,
  checkOptions,
  DAMAGE_CODES,
  HebbError,
  REPAIR_OR_RESTORE,
} from "../../base/errors.js";
import { DURABILITIES, type Durability, type Json, METRICS, type Metric } from "../../base/types.js";
import { createGraph, type Graph, type GraphOptions } from "../../native/graph.js";
import { diskFiles, type Files, rewrite } from "../../storage/files.js";
import { CATALOG_NAME } from "../../storage/names.js";
import { Store } from "../../storage/store.js";
import { Catalog } from "../catalog/catalog.js";
import { checkIndexes } from "../catalog/schema.js";
import { type Config, loadConfig } from "../config.js";
import type { OpenOptions } from "../types.js";
import type { Parts } from "./changes.js";
import { checkEncoder, ENCODER_SETTING, FROZEN_SETTING, TextEncoder } from "./encoding.js";
import { GRADIENTS_KIND, GradientSlots } from "./gradient-slots.js";
import { Index } from "./hebb-index.js";
import { Learned } from "./learned.js";
import { LEARNED_SECTIONS } from "./learned-sections.js";
import { logSetting } from "./log-setting.js";
import { checkNothingMissing, readingSteadily } from "./reading.js";
import { recoveryReport, rememberDurability } from "./recovery.js";
import { replay } from "./replaying.js";
import { Searcher } from "./searching.js";
import { Session } from "./session.js";
import { checkCounts, heldBytes, layoutOf, sectionsOf } from "./store-layout.js";
import { graphOptions, MAX_DIMENSIONS, type StoredConfig, storedConfig } from "./stored-config.js";
import { checkBudget } from "./tier-options.js";
import { Tiering } from "./tiering.js";
import { tellingUnawaited } from "./unawaited.js";
import { show } from "./validate.js";

const OPTIONS = ["dimensions", "metric", "config", "indexes", "readOnly", "durability", "encoder"];

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
  return tellingUnawaited(openWith(diskFiles, directory, options).catch(rethrowWithOrigin));
}

/** Adds to the error for a damaged store how people come by one most easily. */
function rethrowWithOrigin(error: unknown): never {
  if (!(error instanceof HebbError) || !DAMAGE_CODES.includes(error.code)) throw error;
  const origin = 'Where this is a copy of a store that was open, make the copy with "hebb backup" instead';
  throw new HebbError(error.code, `${bareMessage(error)}. ${origin}`, error.details, error.cause);
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
  const opening = checkedOpening(files, directory, options);
  return options.readOnly ? readingSteadily(files, directory, () => openOnce(opening)) : openOnce(opening);
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

/** What is wrong with arguments and settings alone is told here, before anything is made or opened. */
function checkedOpening(files: Files, directory: string, options: OpenOptions): Opening {
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

  const opening: Opening = { files, directory, options, config, durability };
  if (dimensions !== undefined && metric !== undefined) {
    opening.create = { dimensions, metric, config: { ...storedConfig(config) } };
    checkBudget(graphOptions(opening.create, config), config);
  }
  return opening;
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
    const { parts, searcher } = partsOf(store, graph, catalog, settings, config, readOnly);
    const { applied, left } = await replay(store, parts);
    await checkNothingMissing(files, directory, left);
    const recovery = recoveryReport(store, catalog, applied);
    if (!readOnly) await rememberDurability(store, parts, durability, config.ruvector.flush_interval_ms);
    const encoder = await encoderOf(store, parts, options);
    const layout = layoutOf(settings);
    return new Session({
      directory,
      layout,
      settings,
      store,
      ...parts,
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

/** What changes act on, and what searches it, as the files have it: the log is not replayed yet. */
function partsOf(
  store: Store,
  graph: Graph,
  catalog: Catalog,
  settings: GraphOptions,
  config: Config,
  readOnly: boolean,
): { parts: Parts; searcher: Searcher } {
  const { metric, dimensions, config: kept } = store.meta;
  const tiering = new Tiering(graph, settings, config, readOnly);
  const searcher = new Searcher(graph, catalog, tiering, dimensions, metric, config.ruvector.hnsw_ef_search);
  const { learning_rank: rank } = kept as unknown as StoredConfig;
  const held = heldBytes(store.meta);
  const learned = new Learned(store.region, searcher, config, rank, held);
  const slots = { bytes: held(GRADIENTS_KIND), nodes: graph.nodes };
  const at = LEARNED_SECTIONS.get("gradients")!;
  const gradients = new GradientSlots(store.region, at, dimensions, settings.maxNodes, slots);
  return { parts: { graph, catalog, learned, gradients, tiering }, searcher };
}

/** The encoder that is given, or that the store remembers. */
async function encoderOf(store: Store, parts: Parts, { encoder: given }: OpenOptions): Promise<TextEncoder> {
  const { graph, catalog } = parts;
  const { dimensions, metric } = store.meta;
  const [fit, frozen] = [catalog.setting(ENCODER_SETTING), catalog.setting(FROZEN_SETTING)];
  const encoder = TextEncoder.of(dimensions, metric === "cosine", given, fit, frozen !== undefined);
  // The next opening of an empty store need not name the built-in encoder.
  if (encoder.fit && fit === undefined && graph.live === 0 && !store.readOnly) {
    await logSetting(store, parts, ENCODER_SETTING, new Uint8Array(0));
  }
  return encoder;
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
