/**
 * Repairing a store: what is derived is made anew from what it is derived of; what is not, and is damaged, is told, and
 * dropped only where the caller says so.
 *
 * The damaged files are read and never written. A whole store is built beside them, in the folder `repair` of the
 * store's directory, opened there as any store is, brought up to the log, linked, and checked; only when that check
 * finds nothing do its files take the places of the damaged ones (storage/repair-swap.ts). A repair that is killed
 * before that leaves the store as damaged as it was, and one that is killed after it a repaired store.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { bareMessage, checkOptions, DAMAGE_CODES, HebbError } from "../../base/errors.js";
import type { Id } from "../../base/types.js";
import { diskFiles, type Lock } from "../../storage/files.js";
import { CHECKSUMS_KIND, CLOSING_TYPE } from "../../storage/format.js";
import { CATALOG_NAME, INDEX_NAME, LOCK_NAME, LOG_NAME, REPAIR_NAME } from "../../storage/names.js";
import { SalvagedIndex, type SectionContents, writeIndex } from "../../storage/repair-index.js";
import { type SalvagedLog, salvageLog, writeLog } from "../../storage/repair-log.js";
import { finishRepair, markReady, repairIsReady } from "../../storage/repair-swap.js";
import type { BiasChange } from "../../training/state.js";
import { checkCatalog } from "../catalog/check.js";
import { SalvagedCatalog } from "../catalog/salvage.js";
import { connect } from "../catalog/schema.js";
import type { Fault, OpenOptions, RepairLoss, RepairOptions, RepairReport } from "../types.js";
import { type Checked, checkStore } from "./checking.js";
import { LEARNED_SECTIONS } from "./learned-sections.js";
import { openSession } from "./opening.js";
import { readBiases } from "./repair-biases.js";
import { advanceRows, type CatalogContents, readCatalog, writeCatalog } from "./repair-catalog.js";
import { doubtsBy, GRAPH_PARTS, NO_DOUBTS, sizeOf, TIER_PARTS } from "./repair-doubts.js";
import { type SalvagedLearning, salvageLearning } from "./repair-learned.js";
import { type KnownRow, planRows, type RowsPlan, touchedBy } from "./repair-rows.js";
import { checkPath, show } from "./validate.js";

const KNOWN_SECTIONS = ["checksums", "vectors", "ids", ...GRAPH_PARTS, ...TIER_PARTS, ...LEARNED_SECTIONS.keys()];
/** What is built is checked, and what that finds made anew; a third time would find nothing else. */
const MOST_ATTEMPTS = 3;

/**
 * Makes a damaged store whole again: graph, full text, indexes, checksums, meta slots and ids are made anew from what
 * they are derived of. Nobody may have the store open. Needs room for a second copy of it meanwhile, and the time to
 * link all rows where the graph is damaged.
 *
 * Where something is lost that is derived of nothing else, nothing is changed and the report lists it. With
 * `acceptLoss`, exactly that is dropped.
 * @param directory of the store
 * @returns what was found, what was made anew, and what is lost; `repaired` says whether anything was written
 * @throws {TypeError} on a path or an option that is none
 * @throws {HebbError} STORE_LOCKED, STORE_NOT_FOUND, NOT_A_STORE, STORE_VERSION, STORE_MISMATCH, CONFIG_INVALID, DISK_FULL,
 *   IO_ERROR; INDEX_CORRUPT or JOURNAL_CORRUPT where nothing tells any more what index.hebb holds, or what was built does
 *   not pass its check; WAL_CORRUPT where a record says what cannot be. Nothing has changed then, unless it failed while
 *   the built files took their places: the next opening for writing, or the next repair, ends that
 */
export async function repair(directory: string, options: RepairOptions = {}): Promise<RepairReport> {
  checkOptions("repair", options, ["acceptLoss", "config"]);
  const { acceptLoss = false, config } = options;
  if (typeof acceptLoss !== "boolean") throw new TypeError(`acceptLoss is ${show(acceptLoss)}; expected true or false`);
  checkPath("directory", directory);
  if ((await diskFiles.kind(directory, true)) !== "directory") {
    throw new HebbError("STORE_NOT_FOUND", `there is no store at ${directory}; give the directory of one`);
  }
  // A lock is not to be left in a directory of something else.
  const parts = [INDEX_NAME, CATALOG_NAME, LOG_NAME];
  if (
    !(await Promise.all(parts.map((name) => diskFiles.kind(join(directory, name))))).some((kind) => kind !== undefined)
  ) {
    throw new HebbError("STORE_NOT_FOUND", `${directory} holds no store; give the directory of one`);
  }
  const opening: OpenOptions = config === undefined ? {} : { config };
  return underLock(directory, async (withReaders) => {
    const repairing = await Repairing.begin(directory, opening);
    try {
      return await repairing.run(acceptLoss, withReaders);
    } finally {
      await repairing.end();
    }
  });
}

/** Lets readers in for the time of a part of a task. */
type WithReaders = <T>(part: () => Promise<T>) => Promise<T>;

/**
 * Runs a task with nobody else in the store. Writers stay out all the time: what they did after the files were read would
 * be gone with these files.
 * @throws {HebbError} STORE_LOCKED
 */
async function underLock<T>(directory: string, task: (withReaders: WithReaders) => Promise<T>): Promise<T> {
  const writers = await diskFiles.lock(join(directory, LOCK_NAME), "exclusive");
  let readers: Lock | undefined;
  try {
    readers = await keepReadersOut(directory);
    return await task(async (part) => {
      await readers?.release();
      readers = undefined;
      const done = await part();
      readers = await keepReadersOut(directory);
      return done;
    });
  } finally {
    await readers?.release();
    await writers.release();
  }
}

async function keepReadersOut(directory: string): Promise<Lock> {
  const readers = await diskFiles.lockDirectory(directory, "exclusive");
  if (readers !== undefined) return readers;
  throw new HebbError("STORE_LOCKED", `${directory} is open for reading; close it there first`, { path: directory });
}

/** What lay in the files, and what is built of it. */
class Repairing {
  private readonly folder: string;
  private doubts = NO_DOUBTS;

  private constructor(
    private readonly directory: string,
    private readonly opening: OpenOptions,
    private readonly index: SalvagedIndex,
    private readonly catalog: SalvagedCatalog,
    private readonly rows: CatalogContents,
    private readonly log: SalvagedLog,
    /** Of the files, one by one. */
    private readonly faults: Fault[],
    private readonly hasDamage: boolean,
  ) {
    this.folder = join(directory, REPAIR_NAME);
  }

  static async begin(directory: string, opening: OpenOptions): Promise<Repairing> {
    if (await repairIsReady(diskFiles, directory)) await finishRepair(diskFiles, directory);
    await discard(directory);
    const index = await SalvagedIndex.open(diskFiles, directory);
    let catalog: SalvagedCatalog | undefined;
    try {
      const { storeId, lsn } = index.meta;
      const path = join(directory, CATALOG_NAME);
      catalog = SalvagedCatalog.open(path, Buffer.from(storeId).toString("hex"));
      const states = index.entry("state")?.length ?? 0;
      const read = (nodes: number, last: number) => readCatalog(catalog!, lsn, nodes, last);
      let rows = read(states, lsn);
      let log = await salvageLog(diskFiles, directory, storeId, Math.min(lsn, rows.lsn), Math.max(lsn, rows.lsn));
      if (!catalog.isThere) {
        // A log that was never cut has all that the catalog had.
        const all = await salvageLog(diskFiles, directory, storeId, 0, lsn);
        if (all.lost === undefined && !all.gone)
          [rows, log] = [{ ...rows, lsn: 0, isWhole: true, lostSettings: [] }, all];
      }
      const catalogFaults = catalog.isThere ? faultsOf(path) : [missing(path)];
      const faults = [...index.faults, ...log.faults, ...catalogFaults];
      const hasDamage = faults.length > 0 || log.lost !== undefined || log.gone || rows.isDamaged || rows.lsn < lsn;
      return new Repairing(directory, opening, index, catalog, rows, log, faults, hasDamage);
    } catch (error) {
      catalog?.close();
      await index.close();
      throw error;
    }
  }

  async end(): Promise<void> {
    this.catalog.close();
    await this.index.close();
  }

  async run(acceptLoss: boolean, withReaders: WithReaders): Promise<RepairReport> {
    let { faults } = this;
    if (!this.hasDamage) {
      const checked = await withReaders(() => this.checkInPlace());
      if (checked?.length === 0) return { ok: true, repaired: false, faults: [], rebuilt: [], lost: [] };
      faults = checked ?? [];
      this.doubt(faults);
    }
    let rebuilt: string[] = [];
    let lost: RepairLoss[] = [];
    for (let attempt = 1; ; attempt++) {
      const plan = await this.plan();
      ({ rebuilt, lost } = plan);
      if (lost.length > 0 && !acceptLoss) return { ok: false, repaired: false, faults, rebuilt, lost };
      const found = await this.build(plan).catch(async (error: unknown) => {
        await discard(this.directory).catch(() => {}); // the first error tells more
        throw error;
      });
      if (found.faults.length === 0) break;
      faults = [...faults, ...found.faults];
      if (attempt < MOST_ATTEMPTS && this.doubt(found.faults, found.vectors, found.records)) continue;
      await discard(this.directory);
      const [first] = found.faults;
      throw new HebbError(
        "INDEX_CORRUPT",
        `what a repair of ${this.directory} built does not pass its check (${first.section}: ${first.message}). ` +
          "Nothing was changed. Restore the store from a copy",
      );
    }
    if (!this.hasDamage && faults.length === 0) {
      // Its writer was killed, and nothing else is the matter: opening it brings it up to its log.
      await discard(this.directory);
      return { ok: true, repaired: false, faults, rebuilt: [], lost };
    }
    this.catalog.close(); // SQLite is not to look for files that go
    await markReady(diskFiles, this.directory);
    await finishRepair(diskFiles, this.directory);
    await discard(this.directory);
    return { ok: true, repaired: true, faults, rebuilt, lost };
  }

  /** What contradicts itself though its checksums hold; undefined where the log has to be applied first. */
  private async checkInPlace(): Promise<Fault[] | undefined> {
    const { log, rows } = this;
    if (log.records.some(({ type, lsn }) => type !== CLOSING_TYPE && lsn > rows.lsn)) return undefined;
    try {
      return (await checked(this.directory, { ...this.opening, readOnly: true })).faults;
    } catch (error) {
      if (!(error instanceof HebbError)) throw error;
      if (error.code === "STORE_READ_ONLY") return undefined;
      if (!DAMAGE_CODES.includes(error.code)) throw error;
      const { section, offset } = error.details as { section?: unknown; offset?: unknown };
      const name = typeof section === "string" ? section : "index.hebb";
      const at = typeof offset === "number" ? offset : 0;
      return [{ code: error.code, section: name, offset: at, message: bareMessage(error) }];
    }
  }

  /** @returns whether there is anything new among the doubts that these give rise to */
  private doubt(faults: readonly Fault[], vectors?: Iterable<number>, records?: Iterable<number>): boolean {
    const before = sizeOf(this.doubts);
    this.doubts = doubtsBy(this.doubts, faults, vectors, records);
    return sizeOf(this.doubts) > before;
  }

  private async plan() {
    const { index, log, rows, catalog } = this;
    const { lsn, dimensions, metric } = index.meta;
    const ids = new Map(rows.rows);
    advanceRows(ids, log.records, rows.lsn, lsn);
    const isBehind = rows.lsn < lsn && log.lost !== undefined && log.lost.first <= lsn;
    const last = Math.max(lsn, rows.lsn, log.lost?.last ?? 0, log.records.at(-1)?.lsn ?? 0);
    const plan = await planRows({
      index,
      rows: ids,
      rowsAreWhole: rows.isWhole && !isBehind,
      rowsAreAhead: log.lost !== undefined && rows.lsn >= log.lost.first && rows.lsn > lsn,
      touched: touchedBy(log.records, lsn),
      doubts: this.doubts,
    });
    const world = { dimensions, metric, nodes: plan.nodes, isLive: plan.isLive };
    const learning = await salvageLearning(index, world, last);
    const biases = plan.relinks
      ? await readBiases(index, learning.biased.filter(plan.isLive), plan.nodes)
      : { rows: learning.losesNetwork ? withoutBiases(plan) : [], lost: [] };
    const rebuilt = [...plan.rebuilt];
    if (index.slotDamaged) rebuilt.push("the meta slot, from the other one");
    if (this.faults.some(({ section }) => section === "checksums")) rebuilt.push("the checksums of blocks");
    if (rows.isDamaged || this.faults.some(({ section }) => section === "catalog")) {
      rebuilt.push(`the catalog, with ${catalog.indexes.length} indexes and full text, from its rows`);
    }
    if (log.faults.length > 0 || log.gone || log.lost !== undefined) rebuilt.push("the log, from its records");
    return { rows: plan, ids, learning, biases: biases.rows, rebuilt, lost: this.losses(plan, learning, biases.lost) };
  }

  private losses(plan: RowsPlan, { lost: learning }: SalvagedLearning, lostBiases: readonly number[]): RepairLoss[] {
    const { rows, log, index } = this;
    const losses: RepairLoss[] = [];
    const ofRows = (what: RepairLoss["what"], some: readonly KnownRow[], message: string) => {
      if (some.length === 0) return;
      const ids = some.flatMap(({ id }) => (id === undefined ? [] : [id]));
      const nameless = some.length - ids.length;
      const rest = nameless > 0 ? `; of ${nameless} the id is lost, too` : "";
      losses.push({ what, count: some.length, message: message + rest, ids });
    };
    const named = (nodes: readonly number[]): Id[] => nodes.flatMap((node) => rows.rows.get(node) ?? []);
    ofRows("rows", plan.lost, "their vectors cannot be read, or there is nothing else of them");
    ofRows("payloads", plan.lostPayloads, "their rows in the catalog cannot be read; they go on without a payload");
    ofRows(
      "proof",
      plan.unproven,
      "nothing proves any more that their vectors are as they were written; they are kept as they are",
    );
    const { lsns, count } = rows.lostFeedback;
    if (count > 0) losses.push({ what: "feedback", count, message: "events that were kept to train with", lsns });
    if (!this.catalog.isThere && rows.lsn > 0) {
      losses.push({
        what: "feedback",
        count: 0,
        message: "all events that were kept to train with, if there were any",
      });
    }
    for (const name of rows.lostSettings) losses.push({ what: "settings", count: 1, message: `setting ${name}` });
    if (log.lost !== undefined) {
      const { first, last } = log.lost;
      const lost = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      losses.push({
        what: "log",
        count: lost.length,
        message: `records ${first} to ${last}, which were durable`,
        lsns: lost,
      });
    } else if (log.gone) {
      losses.push({
        what: "log",
        count: 0,
        message: "the log is gone: what was acknowledged after the last checkpoint, if anything",
      });
    }
    for (const { section, nodes, message } of learning) {
      const what = section === "gradients" ? "gradients" : "learned";
      losses.push({ what, count: nodes?.length ?? 0, message, ids: named(nodes ?? []) });
    }
    if (lostBiases.length > 0) {
      const message = "what the attention network learned of the edges that leave them";
      losses.push({ what: "learned", count: lostBiases.length, message, ids: named(lostBiases) });
    }
    for (const entry of index.meta.sections) {
      if (KNOWN_SECTIONS.includes(entry.name) || index.proofOfAll(entry) === "sound") continue;
      losses.push({ what: "section", count: 1, message: `section ${entry.name}, which this release does not know` });
    }
    return losses;
  }

  /** Writes a whole store into the folder, and opens it as any: that brings it up to the log, links all rows, and looks for faults. */
  private async build(plan: Awaited<ReturnType<Repairing["plan"]>>): Promise<BuiltStore> {
    await this.write(plan);
    return checked(this.folder, this.opening, plan.biases);
  }

  private async write({ rows: plan, ids, learning }: Awaited<ReturnType<Repairing["plan"]>>): Promise<void> {
    const { index, log, rows, catalog, folder, directory } = this;
    const { meta } = index;
    await discard(directory);
    await diskFiles.makeDirectory(folder);
    const contents = new Map<number, SectionContents>();
    for (const entry of meta.sections) {
      if (entry.kind === CHECKSUMS_KIND) continue;
      const made = plan.contents.get(entry.name) ?? learning.contents.get(entry.name);
      const isLost = !KNOWN_SECTIONS.includes(entry.name) && index.proofOfAll(entry) !== "sound";
      const kept = {
        length: isLost ? 0 : entry.length,
        read: (at: number, length: number) => index.read(entry, at, length),
      };
      contents.set(entry.kind, made ?? kept);
    }
    await writeIndex(diskFiles, join(folder, INDEX_NAME), meta, contents);
    const lsn = Math.max(meta.lsn, rows.lsn);
    const late = touchedBy(log.records, meta.lsn).put;
    await writeCatalog(join(folder, CATALOG_NAME), meta.storeId, catalog, {
      keeps: (node) => plan.isLive(node) || late.has(node),
      bare: plan.lostPayloads,
      records: log.records.filter((record) => record.lsn > rows.lsn && record.lsn <= meta.lsn),
      lsn,
      nodes: [...late, ...ids.keys()].reduce((end, node) => Math.max(end, node + 1), plan.nodes),
    });
    const records = log.records.filter((record) => record.lsn > meta.lsn);
    const end = Math.max(log.lost?.last ?? 0, lsn);
    const first = meta.lsn + records.length + 1;
    await writeLog(diskFiles, folder, meta.storeId, meta.lsn, {
      records,
      lost: first <= end ? { first, last: end } : undefined,
    });
    await diskFiles.syncDirectory(folder);
  }
}

/** What a check of what was built found, and nodes whose vector, or whose record in a tier, is none. */
type BuiltStore = Checked & { vectors: Uint32Array; records: Uint32Array };

/** All rows, whose edges lose their biases. */
function withoutBiases({ nodes, isLive }: RowsPlan): BiasChange[] {
  const live = Array.from({ length: nodes }, (_, node) => node).filter(isLive);
  return live.map((node) => ({ node, to: new Uint32Array(0), values: new Float32Array(0) }));
}

async function checked(
  directory: string,
  opening: OpenOptions,
  biases: readonly BiasChange[] = [],
): Promise<BuiltStore> {
  const session = await openSession(directory, opening);
  try {
    await session.settle();
    if (biases.length > 0) await session.still(async () => session.learned.setBiases(biases));
    const found = await session.still(async () => {
      const result = await checkStore(session);
      if (result.faults.length === 0) return { ...result, lost: new Uint32Array(0), unreadable: new Uint32Array(0) };
      return { ...result, ...(await session.graph.check()), faults: result.faults };
    });
    return { faults: found.faults, notes: found.notes, vectors: found.lost, records: found.unreadable };
  } finally {
    await session.close();
  }
}

function faultsOf(path: string): Fault[] {
  try {
    const db = connect(path, "read", 0);
    try {
      return checkCatalog(db);
    } finally {
      db.close();
    }
  } catch (error) {
    if (!(error instanceof HebbError && error.code === "CATALOG_CORRUPT")) throw error;
    return [{ code: error.code, section: "catalog", offset: 0, message: bareMessage(error) }];
  }
}

const missing = (path: string): Fault => ({
  code: "CATALOG_CORRUPT",
  section: "catalog",
  offset: 0,
  message: `${path} is missing, or no database any more`,
});

/** What a repair that came to nothing leaves. */
async function discard(directory: string): Promise<void> {
  await rm(join(directory, REPAIR_NAME), { recursive: true, force: true });
}
