/**
 * An open store with everything around it: the one writer, the followers of the log, and what
 * reads them. `Index` checks arguments and asks here.
 */
import { setTimeout as delay } from "node:timers/promises";
import { HebbError, reasonOf } from "../../base/errors.js";
import type { Durability, Id, Metric, Tier } from "../../base/types.js";
import type { Graph, GraphOptions } from "../../native/graph.js";
import { PAGE_BYTES } from "../../native/index.js";
import { diskFiles } from "../../storage/files.js";
import type { Moment, Store } from "../../storage/store.js";
import type { Catalog } from "../catalog/catalog.js";
import { isFailedSync } from "../catalog/sqlite-errors.js";
import type { Config } from "../config.js";
import type { BackupReport, RecoveryReport } from "../types.js";
import { backupStore } from "./backup.js";
import { CatalogCommits } from "./catalog-commits.js";
import { applyChanges, type Change, type Parts } from "./changes.js";
import type { TextEncoder } from "./encoding.js";
import type { GradientSlots } from "./gradient-slots.js";
import type { Learned } from "./learned.js";
import { Linker } from "./linker.js";
import { GroupNames, type NewRows, type Operation, type Planned, putOperation } from "./planning.js";
import { recoveryWarnings } from "./recovery.js";
import type { Searcher } from "./searching.js";
import type { Layout } from "./store-layout.js";
import type { RetierReport, Tiering } from "./tiering.js";
import { show } from "./validate.js";
import { type Queued, WriteQueue } from "./write-queue.js";

/** Deleted nodes stay in the graph until they are this share of it, and at least so many. */
const DEAD_SHARE = 0.1;
const DEAD_LEAST = 1000;
/** Writers wait for a checkpoint under way once log or changed pages are so many times their limit. */
const BEHIND = 4;
/** How long a put into a store that is full but for deleted rows waits for the searches that may still look at those. */
const SEARCHES_END_MS = 10_000;
/** From here on users should know that checkpoints gather. */
const MUCH_JOURNAL_BYTES = 1 << 30;

export interface SessionParts extends Parts {
  directory: string;
  layout: Layout;
  settings: GraphOptions;
  store: Store;
  config: Config;
  durability: Durability;
  recovery: RecoveryReport;
  encoder: TextEncoder;
  searcher: Searcher;
}

/** What is logged alone need not tell others of its group. */
type Logged = Pick<Planned, "records" | "changes"> & Partial<Planned>;

export class Session {
  readonly directory: string;
  readonly layout: Layout;
  /** Of the graph. */
  readonly settings: GraphOptions;
  readonly store: Store;
  readonly graph: Graph;
  readonly catalog: Catalog;
  readonly learned: Learned;
  readonly gradients: GradientSlots;
  readonly tiering: Tiering;
  readonly config: Config;
  readonly encoder: TextEncoder;
  readonly searcher: Searcher;
  readonly durability: Durability;
  /** What opening found. */
  readonly recovery: RecoveryReport;
  private readonly linker: Linker;
  private readonly commits: CatalogCommits;

  private readonly queue: WriteQueue<Operation>;
  private readonly flights = new Set<Promise<unknown>>();
  private readonly stopSyncing: () => void;
  private closing: Promise<void> | undefined;
  /** What broke between the log and what follows it: from then on this handle only reads. */
  private broken: unknown;
  /** The last record that the followers hold. */
  private appliedLsn: number;
  /** Whether rows changed since the last look at whether all can be reached. */
  private auditDue = true; // what the log held was linked before this handle was there
  private maintenance: Promise<void> | undefined;
  private housework: Promise<unknown> = Promise.resolve();
  /** Why the last consolidation or checkpoint in the background failed, until a checkpoint succeeds. */
  private maintenanceFailure: string | undefined;
  private tieringFailure: string | undefined;

  constructor(parts: SessionParts) {
    this.directory = parts.directory;
    this.layout = parts.layout;
    this.settings = parts.settings;
    this.store = parts.store;
    this.graph = parts.graph;
    this.catalog = parts.catalog;
    this.learned = parts.learned;
    this.gradients = parts.gradients;
    this.tiering = parts.tiering;
    this.config = parts.config;
    this.encoder = parts.encoder;
    this.searcher = parts.searcher;
    this.durability = parts.durability;
    this.recovery = parts.recovery;
    this.appliedLsn = parts.store.readOnly ? parts.catalog.committedLsn : parts.store.log.lastLsn;
    this.queue = new WriteQueue((group) => this.commit(group));
    this.commits = new CatalogCommits(this.store, this.catalog, {
      alone: (task) => this.alone(task),
      appliedLsn: () => this.appliedLsn,
      failed: (cause) => {
        this.broken ??= cause;
      },
    });
    this.linker = new Linker(this.graph, {
      linked: () => this.audit(),
      progressed: () => this.learned.rowsLinked(),
      failed: (cause) => {
        this.broken ??= cause; // rows may be half changed in memory: no checkpoint may take them
      },
    });
    this.tiering.start({
      turn: (task) => this.inFlight(() => this.linker.turn(task)),
      changed: (nodes) => this.learned.revalue(nodes),
      failed: (reason) => {
        this.tieringFailure = reason && `the last round of tiering in the background failed: ${reason}`;
      },
    });
    const syncsByInterval = this.durability === "interval" && !this.store.readOnly;
    this.stopSyncing = syncsByInterval ? this.store.log.syncEvery(this.config.ruvector.flush_interval_ms) : () => {};
    if (this.store.readOnly) return;
    this.linker.start(); // what was acknowledged and not linked when the store was closed
    // What was replayed was acknowledged long ago, and no reader sees it before it is committed.
    if (this.catalog.committedLsn < this.appliedLsn) this.commits.soon();
  }

  get dimensions(): number {
    return this.searcher.dimensions;
  }
  get metric(): Metric {
    return this.searcher.metric;
  }

  /** The last record of the log that rows, feedback and all else hold. */
  get appliedTo(): number {
    return this.appliedLsn;
  }

  /** The node that an id names now. */
  nodeOf(id: Id): number | undefined {
    return this.catalog.nodeOf(id, (node) => this.graph.isLive(node));
  }

  /** @throws {HebbError} UNKNOWN_ID */
  knownNode(id: Id): number {
    const node = this.nodeOf(id);
    if (node !== undefined) return node;
    throw new HebbError("UNKNOWN_ID", `id ${show(id)} is not in the index; put it first, or leave it out`, { id });
  }

  /** What users should know though nothing failed. */
  get warnings(): string[] {
    const warnings = this.config.notBuilt.map((key) => `${key} is set, and has no effect in this release`);
    const { graph_profile: asked } = this.config.ruvector;
    if (this.config.given.has("ruvector.graph_profile") && asked !== this.layout.profile) {
      warnings.push(
        `ruvector.graph_profile is "${asked}", but the store was made with "${this.layout.profile}" and keeps it; build a new store to change it`,
      );
    }
    warnings.push(...recoveryWarnings(this.recovery));
    if (this.store.journalBytes > MUCH_JOURNAL_BYTES) {
      warnings.push(
        `readers have had this store open for long: ${Math.round(this.store.journalBytes / 2 ** 20)} MB of checkpoints wait in index.hebb-journal until they close it`,
      );
    }
    if (this.maintenanceFailure) warnings.push(this.maintenanceFailure);
    if (this.tieringFailure) warnings.push(this.tieringFailure);
    warnings.push(...this.tiering.warnings);
    return warnings;
  }

  /** Nothing new begins once `close` was called; what began before goes on, and closing waits for it. */
  checkOpen(): void {
    if (this.closing) throw new HebbError("INDEX_CLOSED", `the index at ${this.directory} was closed; open it again`);
  }

  checkWritable(): void {
    this.checkOpen();
    this.checkSound();
  }

  private checkSound(): void {
    if (this.store.readOnly) {
      throw new HebbError(
        "STORE_READ_ONLY",
        `the index at ${this.directory} was opened with readOnly; open it without to write`,
      );
    }
    const cause = this.broken ?? this.store.poisonedBy;
    if (cause !== undefined) {
      const reason = reasonOf(cause);
      throw new HebbError(
        "STORE_POISONED",
        `something failed earlier (${reason}), so this handle only reads; close it and open again`,
        {},
        cause,
      );
    }
  }

  /** Counts something asynchronous that is not queued, so that closing waits for it. */
  inFlight<T>(work: () => Promise<T>): Promise<T> {
    const flight = work();
    const settled = flight.then(
      () => {},
      () => {}, // whoever asked gets the error
    );
    this.flights.add(settled);
    void settled.then(() => this.flights.delete(settled));
    return flight;
  }

  /** Queues a change and resolves once it is durable and searchable. */
  write(operation: Operation, bytes: number): Promise<void> {
    return this.queue.submit(operation, bytes);
  }

  /** Runs a task with no write under way. */
  alone<T>(task: () => Promise<T>): Promise<T> {
    return this.queue.alone(task);
  }

  /** Runs a task with no write under way, and no row of the graph being written. */
  still<T>(task: () => Promise<T>): Promise<T> {
    return this.inFlight(() => this.linker.turn(() => this.alone(task)));
  }

  /**
   * Runs a checkpoint, a compaction or a check, one at a time. Comes before turns and the write queue: who has one of
   * those never waits for this.
   */
  private keepHouse<T>(task: () => Promise<T>): Promise<T> {
    return this.inFlight(() => {
      const done = this.housework.then(task);
      this.housework = done.catch(() => {}); // whoever asked gets the error
      return done;
    });
  }

  /** Runs a check or a compaction of the whole store while nothing in it changes. */
  undisturbed<T>(task: () => Promise<T>): Promise<T> {
    return this.keepHouse(() => this.still(task));
  }

  drain(): Promise<void> {
    return this.queue.drain();
  }

  /**
   * Puts rows and resolves once they are durable and searchable.
   * @param put how they are queued, which is done again where room has to be made for them; as they are by default
   */
  put(
    rows: NewRows,
    put = () => this.write(putOperation(rows, this.dimensions), rows.vectors.byteLength),
  ): Promise<void> {
    return this.inFlight(async () => {
      try {
        await put();
        // Outside of any turn, which the checkpoint may be waiting for.
        if (this.exceeds(BEHIND)) await this.maintenance;
      } catch (error) {
        if (!this.wouldFit(error, rows)) throw error;
        await this.putIntoFreed(rows, put);
      }
    });
  }

  /** Whether a put found no place only because those of deleted rows are not free, or not to be used again yet. */
  private wouldFit(error: unknown, { ids }: NewRows): boolean {
    const fits = this.graph.live + ids.length <= this.config.ruvector.max_nodes;
    return error instanceof HebbError && error.code === "STORE_FULL" && fits;
  }

  /** The places of deleted rows are freed in passing otherwise, and used again while nothing is linked or searched. */
  private async putIntoFreed(rows: NewRows, put: () => Promise<void>): Promise<void> {
    for (const until = performance.now() + SEARCHES_END_MS; ; ) {
      try {
        return await this.linker.turn(async () => {
          await this.alone(() => this.consolidate());
          await put();
        });
      } catch (error) {
        if (!this.wouldFit(error, rows) || performance.now() > until) throw error;
        await delay(2); // a search off the main thread, which began before, may still walk by these places
      }
    }
  }

  searchNodes(query: Float32Array, k: number, ef: number, nodes: Uint32Array, distances: Float32Array): number {
    this.checkOpen();
    return this.searcher.searchNodes(query, k, ef, nodes, distances);
  }

  /** Everything acknowledged is linked, every place of a deleted row free, every row reachable. */
  async settle(): Promise<void> {
    if (this.store.readOnly) return;
    await this.inFlight(async () => {
      await this.drain();
      await this.linker.settled();
      if (this.graph.dead === 0 && !this.auditDue) return;
      await this.still(async () => {
        if (this.graph.dead > 0) await this.consolidate();
        await this.audit();
      });
    });
  }

  /**
   * Runs a task with no write under way, while the graph stands still and has no deleted rows; with `linked` also no
   * rows that wait to be linked, of those acknowledged before the call.
   * @throws {HebbError} STORE_READ_ONLY where that would take writing
   */
  async whole<T>(linked: boolean, task: () => Promise<T>): Promise<T> {
    if (this.store.readOnly && (this.graph.dead > 0 || (linked && this.graph.backlog > 0))) {
      throw new HebbError(
        "STORE_READ_ONLY",
        `the index at ${this.directory} has rows that are deleted or not linked, which only a writer can see to; open it without readOnly`,
        { deleted: this.graph.dead, backlog: this.graph.backlog },
      );
    }
    if (linked) await this.settle(); // with writes going on; what comes in meanwhile is little
    return this.still(async () => {
      if (!this.store.readOnly) {
        if (linked && this.graph.backlog > 0) await this.linkNow();
        if (this.graph.dead > 0) await this.consolidate();
        await this.audit();
      }
      return task();
    });
  }

  /** Links the whole backlog, within a turn. */
  private async linkNow(): Promise<void> {
    await this.changingRows(() => this.graph.link(this.graph.backlog));
    this.learned.rowsLinked();
  }

  private async consolidate(): Promise<void> {
    await this.changingRows(() => this.graph.consolidate());
    this.auditDue = true;
  }

  /** Every row can be reached. */
  private async audit(): Promise<void> {
    if (!this.auditDue) return;
    this.auditDue = false;
    await this.changingRows(() => this.graph.reconnect());
    this.learned.rowsChanged(); // no count of rows tells of it
  }

  /** What fails half-way leaves rows in memory that no checkpoint may take. */
  private async changingRows(work: () => Promise<unknown>): Promise<void> {
    this.checkSound();
    try {
      await work();
    } catch (error) {
      this.broken ??= error;
      throw error;
    }
  }

  checkpoint(): Promise<void> {
    return this.keepHouse(() => this.checkpointNow());
  }

  /** Copies the store as it is after all that waits. */
  backup(target: string): Promise<BackupReport> {
    return this.inFlight(async () => {
      if (!this.store.readOnly) await this.alone(() => this.commits.now());
      return backupStore(diskFiles, this.directory, target);
    });
  }

  retier(options: { now?: number; force?: Tier }): Promise<RetierReport> {
    return this.inFlight(async () => {
      await this.drain();
      return this.tiering.retier(options);
    });
  }

  /** Logs, applies and publishes what `plan` plans while nothing else runs. */
  logAlone(plan: (names: GroupNames) => Promise<Logged | undefined>): Promise<void> {
    return this.alone(async () => {
      this.checkSound();
      const names = new GroupNames(this);
      const planned = await plan(names);
      if (!planned || planned.records.length === 0) return;
      const { first, last } = await this.store.log.append(planned.records).catch((error: unknown) => {
        planned.abandon?.();
        throw error;
      });
      planned.remember?.(names);
      if (this.durability === "sync") await this.store.log.sync();
      await this.apply(planned.changes(first, last), last);
      this.maintain();
    });
  }

  /** As `logAlone`, for changes of rows of the graph. */
  logStill(plan: (names: GroupNames) => Promise<Logged | undefined>): Promise<void> {
    return this.inFlight(() => this.linker.turn(() => this.logAlone(plan)));
  }

  close(): Promise<void> {
    this.closing ??= this.closeNow();
    return this.closing;
  }

  private async closeNow(): Promise<void> {
    this.stopSyncing();
    this.commits.stop();
    await this.tiering.stop();
    const linked = this.linker.stop();
    while (this.queue.busy || this.flights.size > 0) {
      await this.queue.drain();
      await Promise.all(this.flights);
    }
    await linked;
    const failures: unknown[] = [];
    const attempt = async (step: () => Promise<unknown> | undefined) => {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    };
    const sound = this.broken === undefined && this.store.poisonedBy === undefined;
    if (!this.store.readOnly && sound) await attempt(() => this.checkpointNow());
    this.graph.close();
    await attempt(() => this.catalog.close());
    await attempt(() => this.store.close({ mark: this.durability !== "sync" }));
    if (failures.length > 0) throw failures[0];
  }

  /** A group on its way: planned and logged one by one, made durable and applied together. */
  private async commit(group: readonly Queued<Operation>[]): Promise<void> {
    this.checkSound();
    const names = new GroupNames(this);
    const changes: Change[] = [];
    let lastLsn = 0;
    for (const queued of group) {
      try {
        const planned = await queued.item.plan(this, names);
        if (!planned) continue;
        try {
          const { first, last } = await this.store.log.append(planned.records);
          planned.remember(names);
          changes.push(...planned.changes(first, last));
          lastLsn = last;
        } catch (error) {
          planned.abandon();
          throw error;
        }
      } catch (error) {
        queued.fail(error);
      }
    }
    if (changes.length === 0) return;
    if (this.durability === "sync") await this.store.log.sync();
    await this.apply(changes, lastLsn);
    this.maintain();
  }

  private async apply(changes: readonly Change[], lsn: number): Promise<void> {
    try {
      await applyChanges(changes);
      this.appliedLsn = lsn;
      if (changes.some((change) => change.nodes)) this.auditDue = true;
      this.commits.applied();
    } catch (error) {
      // The log has it and the followers do not: only opening again brings them together.
      this.broken ??= error;
      throw error;
    }
  }

  /** Work that the store asks for by itself, queued behind what waits already. */
  private maintain(): void {
    this.linker.start();
    if (this.maintenance) return;
    const { graph } = this;
    const full = this.exceeds(1);
    const stale = graph.dead > Math.max(DEAD_LEAST, graph.live * DEAD_SHARE);
    if (!full && !stale) return;
    this.maintenance = this.keepHouse(async () => {
      let what = "consolidation";
      try {
        if (stale) await this.still(() => this.consolidate());
        what = "checkpoint";
        if (full) await this.checkpointNow();
      } catch (error) {
        const reason = reasonOf(error);
        this.maintenanceFailure = `the last ${what} in the background failed: ${reason}`;
      }
    }).finally(() => {
      this.maintenance = undefined;
    });
  }

  /** Whether the log, or what a checkpoint would write, is so many times the limit of the settings. */
  private exceeds(times: number): boolean {
    const { checkpoint_wal_mb: log, checkpoint_dirty_mb: dirty } = this.config.storage;
    return (
      this.store.log.bytes() > times * log * 2 ** 20 ||
      this.store.region.dirtyCount() * PAGE_BYTES > times * dirty * 2 ** 20
    );
  }

  /** Gives back to the disk what deleted rows and moved vectors left behind in index.hebb. */
  compact(): Promise<void> {
    return this.undisturbed(() =>
      this.tiering.withoutCounting(async () => {
        if (this.graph.dead > 0) await this.consolidate();
        await this.tiering.squeeze();
        await this.store.compact(() => this.moment());
      }),
    );
  }

  private async checkpointNow(): Promise<void> {
    await this.store.checkpoint(() => this.moment(), { still: (task) => this.still(task) });
    this.maintenanceFailure = undefined;
  }

  /** Brings all that a checkpoint takes to one LSN, while nothing else writes. */
  private async moment(): Promise<Moment> {
    this.checkSound();
    // The log, which tells what waits for rows to be linked, ends here.
    while (this.learned.awaitsRows) await this.linkNow();
    this.tiering.prepareCheckpoint();
    const lsn = this.appliedLsn;
    try {
      this.catalog.commit(lsn);
      return { lsn, followers: this.catalog.checkpoint().catch((error: unknown) => this.failCheckpoint(error)) };
    } catch (error) {
      return this.failCheckpoint(error);
    }
  }

  /** After a sync that failed nobody knows what is on disk. */
  private failCheckpoint(error: unknown): never {
    if (isFailedSync(error)) this.broken ??= error;
    throw error;
  }
}
