/**
 * Keeps every vector in the tier that its use asks for: counts accesses, moves vectors in the background, trains
 * codebooks. model/tiering.ts decides; the graph encodes.
 *
 * Moves are not logged: a checkpoint makes them durable, all at once, and without one they did not happen. So each
 * vector has exactly one valid place at any time, and what is lost by a crash is work, never a vector.
 */

import { reasonOf } from "../../base/errors.js";
import { breathe } from "../../base/slices.js";
import { TIERS, type Tier } from "../../base/types.js";
import { HeatClock, rebase } from "../../model/heat.js";
import { boost, TierPolicy, TierRules, WARM } from "../../model/tiering.js";
import { type Graph, type GraphOptions, graphStrides, NOT_LIVE } from "../../native/graph.js";
import type { Config } from "../config.js";
import { checkBudget, LEAST_TRAINED, trainingOptions } from "./tier-options.js";
import { type TierStats, tierStats, tierWarnings } from "./tier-stats.js";

/** Accesses that are noted before they are counted, so that a search need not look anything up. */
const NOTED = 4096;
/** Nodes that are looked at, or moved, in one turn. */
const TOGETHER = 65_536;
/** Milliseconds after which an access is counted, and may promote. */
const COUNT_AFTER_MS = 20;
const SEED = 1;
/** Of a search's results, so many have their neighbours unpacked ahead. */
const PREFETCHED = 8;

/** What the graph's eight numbers hold. */
const NOTE = { time: 0, wall: 1, base: 2, begun: 3, inserted: 4 } as const;

export interface RetierReport {
  /** Moved to a more precise tier. */
  promoted: number;
  /** Moved to a coarser tier. */
  demoted: number;
  /** Asked into a more precise tier, and stayed: `storage.keep_originals` is false, so their originals are gone. */
  refused: number;
  /** Went to tier warm instead, because there are too few vectors (below 256) to train a codebook on. */
  untrained: number;
  /** Rows in each tier now. */
  tiers: Record<Tier, number>;
}

/** What the session lends. */
export interface TieringHost {
  /** Runs a task while nothing else writes rows of the graph. */
  turn<T>(task: () => Promise<T>): Promise<T>;
  /**
   * Hears of vectors that are others now, as what their new tier holds of them is all there is:
   * `storage.keep_originals` is false.
   */
  changed(nodes: Uint32Array): void;
  /** Hears why a round in the background failed, or that one succeeded. */
  failed(reason: string | undefined): void;
}

export class Tiering {
  private readonly rules: TierRules;
  private readonly policy: TierPolicy;
  private readonly clock: HeatClock;
  private readonly perTier: readonly number[];
  private readonly raw: number;
  private readonly keepOriginals: boolean;
  private readonly dimensions: number;

  private readonly noted = new Uint32Array(NOTED);
  private notedCount = 0;
  /** Heat that hot and warm nodes gained since it was written to their places, as g. */
  private readonly gained = new Map<number, number>();
  private readonly wanted = new Set<number>();
  private readonly learnedAt = new Map<number, number>();
  private inserted = 0;
  /** Heat time of the last round. */
  private roundedAt = 0;
  private meanInDegree = 1;

  private prefetching: Promise<void> | undefined;
  private waitsForRound = false;
  /** Nothing in the region may change, so that accesses are only noted. */
  private onlyNoting = false;
  private stopped = false;
  private host: TieringHost | undefined;
  private timer: NodeJS.Timeout | undefined;
  private soon: NodeJS.Timeout | undefined;
  private rounds: Promise<unknown> = Promise.resolve();

  /** @throws {HebbError} CONFIG_INVALID as `checkBudget` */
  constructor(
    private readonly graph: Graph,
    options: GraphOptions,
    private readonly config: Config,
    private readonly readOnly: boolean,
  ) {
    checkBudget(options, config);
    const { vector, warm, cool, cold, archive } = graphStrides(options);
    this.dimensions = options.dimensions;
    this.keepOriginals = options.keepOriginals;
    this.raw = options.dimensions * Float32Array.BYTES_PER_ELEMENT;
    // Without originals a hot vector has a slot, filled up to 64 bytes.
    this.perTier = [options.keepOriginals ? this.raw : vector, warm, cool, cold, archive];
    const settings = config.tensor_compress;
    this.rules = new TierRules(settings);
    const notes = graph.notes();
    const begun = notes[NOTE.begun] === 1;
    this.inserted = notes[NOTE.inserted]!;
    // Under a budget heat goes by use: the time while the store was closed does not count.
    const wall = settings.memory_budget > 0 ? Date.now() : notes[NOTE.wall]!;
    const saved = begun ? { time: notes[NOTE.time]!, wall } : undefined;
    this.clock = new HeatClock(settings.access_decay_halflife_s * 1000, Date.now(), performance.now(), saved);
    this.policy = new TierPolicy({
      rules: this.rules,
      nodes: Math.max(graph.nodes, 1),
      seed: SEED,
      base: begun ? notes[NOTE.base]! : 0,
      ...(settings.memory_budget > 0 ? { budget: { bytes: this.budget, perTier: this.perTier } } : {}),
      ...(settings.semantic_tiering ? { boost: (node: number) => this.boostOf(node) } : {}),
    });
    this.policy.adopt(graph.tierCounts(), this.budget);
    this.setTime();
    if (!begun && graph.live > 0 && !readOnly) this.forgetHeats();
  }

  /** What heats were relative to is lost: all are as those of new vectors. */
  private forgetHeats(): void {
    const g = this.policy.gOf(this.rules.initialHeat);
    for (const nodes of this.slices()) this.graph.setHeats(nodes, new Float32Array(nodes.length).fill(g));
  }

  private get prefetches(): boolean {
    const { prefetch_neighbors, decompress_cache_size_mb } = this.config.tensor_compress;
    return prefetch_neighbors && decompress_cache_size_mb > 0;
  }

  private get budgetIsShare(): boolean {
    const { memory_budget: given } = this.config.tensor_compress;
    return given > 0 && given <= 1;
  }

  /** Bytes, 0 without one. */
  private get budget(): number {
    const { memory_budget: given } = this.config.tensor_compress;
    return this.budgetIsShare ? given * this.graph.live * this.raw : given;
  }

  /** Begins to work in the background. */
  start(host: TieringHost): void {
    this.host = host;
    if (this.readOnly) return;
    this.timer = setInterval(() => {
      if (!this.waitsForRound) this.inBackground(() => this.round());
    }, this.config.tensor_compress.recompress_interval_s * 1000).unref();
  }

  private inBackground(work: () => Promise<unknown>): void {
    this.waitsForRound = true;
    void this.alone(work).then(
      () => this.host?.failed(undefined),
      (error: unknown) => this.failed(error),
    );
  }

  private failed(error: unknown): void {
    this.host?.failed(reasonOf(error));
  }

  /** Rounds follow one another. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.rounds.then(() => {
      this.waitsForRound = false;
      return work();
    });
    this.rounds = done.catch(() => {}); // whoever asked gets the error
    return done;
  }

  /** No round begins any more; resolves when the one under way is over. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    clearTimeout(this.soon);
    this.stopped = true; // its turns go on, for the round under way
    await this.rounds;
    await this.prefetching;
  }

  /**
   * Counts new vectors, and returns the heat that their places get. What had their numbers before them is forgotten.
   */
  enter(nodes: Uint32Array): number {
    this.countNoted();
    let g = 0;
    for (const node of nodes) {
      this.gained.delete(node);
      this.wanted.delete(node);
      this.learnedAt.delete(node);
      if (this.policy.pace > 0) this.setTime(this.policy.pace);
      g = this.policy.place();
    }
    this.inserted += nodes.length;
    return g;
  }

  /** New vectors can be seen, and moved: they may be too much for the budget. */
  entered(): void {
    if (this.budget === 0) return;
    this.policy.adopt(this.graph.tierCounts(), this.budget);
    if (this.policy.over && !this.waitsForRound && this.host && !this.stopped) this.inBackground(() => this.round());
  }

  /** Notes that these nodes were among results, or chosen. */
  access(nodes: Uint32Array, count: number): void {
    if (!this.stopped && this.prefetches && count > 0 && !this.prefetching && this.graph.compressed) {
      this.prefetching = this.graph
        .prefetch(nodes.slice(0, Math.min(count, PREFETCHED)))
        .catch(() => {}) // who reads what is damaged is told
        .finally(() => {
          this.prefetching = undefined;
        });
    }
    if (this.readOnly) return;
    for (let i = 0; i < count; i++) {
      if (this.notedCount === NOTED) this.countNoted();
      if (this.notedCount < NOTED) this.noted[this.notedCount++] = nodes[i]!;
    }
    if (count > 0) this.countSoon();
  }

  /** Notes that feedback chose these nodes: an access, and for `semantic_tiering` more than that. */
  chosen(nodes: readonly number[]): void {
    this.access(Uint32Array.from(nodes), nodes.length);
    if (!this.config.tensor_compress.semantic_tiering) return;
    for (const node of nodes) this.learnedAt.set(node, this.clock.time);
  }

  private boostOf(node: number): number {
    const learned = this.clock.time - (this.learnedAt.get(node) ?? Number.NEGATIVE_INFINITY) <= 1;
    return boost(this.graph.inDegree(node) / this.meanInDegree, learned);
  }

  /** Counts what was noted, and queues what deserves a more precise tier. */
  private countNoted(): void {
    if (this.onlyNoting || this.notedCount === 0) return;
    const nodes = this.noted.slice(0, this.notedCount);
    this.notedCount = 0;
    const { tiers, heats } = this.graph.places(nodes);
    this.policy.expect(this.graph.nodes);
    if (this.policy.pace === 0) this.observe();
    for (let i = 0; i < nodes.length; i++) {
      const [node, tier] = [nodes[i]!, tiers[i]!];
      if (tier === NOT_LIVE) continue;
      if (this.policy.pace > 0 && this.setTime(this.policy.pace) > 0) heats.set(this.graph.places(nodes).heats);
      const g = heats[i]! + (this.gained.get(node) ?? 0);
      const after = this.policy.access(node, tier, g);
      if (tier <= WARM) this.gained.set(node, after - heats[i]!);
      if (this.graph.keepsOriginals && this.policy.wanted(node, tier, after) < tier) this.wanted.add(node);
    }
  }

  /**
   * Counts what was noted in a while, and promotes. Under a budget heat goes by use, so that rounds have to as well:
   * they set the thresholds anew once a half-life.
   */
  private countSoon(): void {
    if (this.soon || !this.host || this.stopped) return;
    this.soon = setTimeout(() => {
      this.soon = undefined;
      try {
        this.countNoted();
        if (this.waitsForRound) return;
        if (this.budget > 0 && this.clock.time - this.roundedAt >= 1) this.inBackground(() => this.round());
        else if (this.wanted.size > 0) this.inBackground(() => this.promoteSoon());
      } catch (error) {
        this.failed(error); // nobody called this: who reads what is damaged is told
      }
    }, COUNT_AFTER_MS).unref();
  }

  private observe(): void {
    this.clock.observe(performance.now());
    this.setTime();
  }

  /** Brings the policy to heat time, and all heats to its base. Returns by how much the base moved. */
  private setTime(advance = 0): number {
    if (advance > 0) this.clock.advance(advance);
    const by = this.policy.setTime(this.clock.time);
    if (by === 0) return 0;
    this.flush();
    for (const nodes of this.slices()) {
      const { heats } = this.graph.places(nodes);
      rebase(heats, by);
      this.graph.setHeats(nodes, heats);
    }
    return by;
  }

  /** Writes what hot and warm nodes gained to their places, for the next checkpoint. */
  flush(): void {
    if (this.readOnly) return;
    const nodes = Uint32Array.from(this.gained.keys()).filter((node) => node < this.graph.nodes);
    if (nodes.length > 0) {
      const { heats } = this.graph.places(nodes);
      this.graph.setHeats(
        nodes,
        heats.map((heat, i) => heat + this.gained.get(nodes[i]!)!),
      );
      this.gained.clear();
    }
  }

  /** Before a checkpoint: what is kept in memory goes where it is written from. */
  prepareCheckpoint(): void {
    if (this.readOnly) return;
    this.countNoted();
    this.flush();
    const { time, wall } = this.clock.saved;
    const notes = this.graph.notes();
    const before = Float64Array.from(notes);
    notes[NOTE.time] = time;
    notes[NOTE.wall] = wall;
    notes[NOTE.base] = this.policy.base;
    notes[NOTE.begun] = 1;
    notes[NOTE.inserted] = this.inserted;
    // Time alone is no change worth a checkpoint.
    const changed = [NOTE.base, NOTE.begun, NOTE.inserted].some((at) => before[at] !== notes[at]);
    if (changed || this.policy.pace > 0 || this.graph.live > 0) this.graph.setNotes(notes);
  }

  /** Runs a task meanwhile searches change nothing in the region. */
  async withoutCounting(task: () => Promise<void>): Promise<void> {
    this.onlyNoting = true;
    try {
      await task();
    } finally {
      this.onlyNoting = false;
    }
  }

  private *slices(): Generator<Uint32Array> {
    for (let from = 0; from < this.graph.nodes; from += TOGETHER) {
      const count = Math.min(TOGETHER, this.graph.nodes - from);
      yield Uint32Array.from({ length: count }, (_, i) => from + i);
    }
  }

  /**
   * Moves vectors now.
   * @param now ms since 1970: heat cools as if this was the time; one in the past changes nothing
   * @param force every vector goes to this tier, and from there on as any other
   */
  retier({ now, force }: { now?: number; force?: Tier }): Promise<RetierReport> {
    return this.alone(async () => {
      if (now !== undefined) {
        await this.turn(async () => {
          this.clock.goTo(now);
          this.setTime();
        });
      }
      const moves = force === undefined ? await this.round() : await this.force(TIERS.indexOf(force));
      const counts = this.graph.tierCounts();
      const tiers = Object.fromEntries(TIERS.map((tier, i) => [tier, counts[i]])) as Record<Tier, number>;
      this.host?.failed(undefined);
      return { ...moves, tiers };
    });
  }

  private async force(tier: number): Promise<Done> {
    const done = NO_MOVES();
    await this.turn(async () => this.countNoted()); // what was used before does not count after
    await this.train(tier);
    const heat = tier === 0 ? this.rules.initialHeat : tier === TIERS.length - 1 ? 0 : this.rules.middleHeat(tier);
    for (const nodes of this.slices()) {
      await this.move(nodes, tier, done);
      await this.turn(async () => {
        this.graph.setHeats(nodes, new Float32Array(nodes.length).fill(this.policy.gOf(heat)));
      });
    }
    this.gained.clear();
    this.wanted.clear();
    this.policy.forget();
    await this.finish();
    return done;
  }

  /** Demotes what cooled, promotes what was asked for, encodes again what an older codebook encoded. */
  private async round(): Promise<Done> {
    const { graph, policy } = this;
    const done = NO_MOVES();
    await this.turn(async () => {
      this.countNoted();
      if (policy.pace === 0) this.observe();
      this.flush();
    });
    this.roundedAt = this.clock.time;
    policy.adopt(graph.tierCounts(), this.budget);
    if (this.config.tensor_compress.semantic_tiering) this.surveyDegrees();
    const round = policy.round();
    if (this.budget > 0) {
      for (const nodes of this.slices()) {
        const { tiers, heats } = graph.places(nodes);
        nodes.forEach((node, i) => {
          if (tiers[i] !== NOT_LIVE) round.survey(node, tiers[i]!, heats[i]!);
        });
        await breathe();
      }
      round.decide();
    }
    let coarsest = 0;
    const stale: Uint32Array[] = [];
    for (const nodes of this.slices()) {
      const { tiers, heats, stale: old } = graph.places(nodes);
      const leaving: number[][] = TIERS.map(() => []);
      nodes.forEach((node, i) => {
        const tier = tiers[i]!;
        if (tier === NOT_LIVE) return;
        const to = round.demoted(node, tier, heats[i]!);
        if (to > tier) leaving[to]!.push(node);
      });
      for (const [tier, leave] of leaving.entries()) {
        if (leave.length === 0) continue;
        if (tier > coarsest) await this.train(tier);
        coarsest = Math.max(coarsest, tier);
        await this.move(Uint32Array.from(leave), tier, done);
      }
      if (graph.keepsOriginals && old.includes(1)) stale.push(nodes.filter((_, i) => old[i] === 1));
      await breathe();
    }
    if (coarsest === 0) await this.train(TIERS.length); // only where a refresh is due
    for (const nodes of stale) await this.encodeAgain(nodes);
    await this.promote(done);
    await this.finish();
    return done;
  }

  private surveyDegrees(): void {
    let [sum, count] = [0, 0];
    for (let node = 0; node < this.graph.nodes; node += 1 + Math.floor(this.graph.nodes / 1000)) {
      sum += this.graph.inDegree(node);
      count++;
    }
    this.meanInDegree = Math.max(1, sum / Math.max(1, count));
  }

  /** What finds no room now is asked for again by a round, which makes some. */
  private async promoteSoon(): Promise<void> {
    const left = await this.promote(NO_MOVES());
    if (left.length === 0 || !this.host || this.stopped) return;
    for (const node of left) this.wanted.add(node);
    if (!this.waitsForRound) this.inBackground(() => this.round());
  }

  /** Promotes what was asked for; returns those for which there was no room. */
  private async promote(done: Done): Promise<number[]> {
    const { graph, policy } = this;
    if (this.wanted.size === 0) return [];
    const nodes = Uint32Array.from(this.wanted).filter((node) => node < graph.nodes);
    this.wanted.clear();
    policy.adopt(graph.tierCounts(), this.budget);
    const { tiers, heats } = graph.places(nodes);
    const rising: number[][] = TIERS.map(() => []);
    const left: number[] = [];
    nodes.forEach((node, i) => {
      const tier = tiers[i]!;
      if (tier === NOT_LIVE) return;
      const to = policy.wanted(node, tier, heats[i]! + (this.gained.get(node) ?? 0));
      if (to >= tier) return;
      if (left.length === 0 && policy.fits(tier, to)) {
        policy.reserve(tier, to);
        rising[to]!.push(node);
      } else {
        left.push(node);
      }
    });
    for (const [tier, rise] of rising.entries()) {
      if (rise.length > 0) await this.move(Uint32Array.from(rise), tier, done);
    }
    return left;
  }

  /** Moves nodes to a tier, with the heat that they have. */
  private move(nodes: Uint32Array, tier: number, done: Done): Promise<void> {
    const { graph, policy } = this;
    return this.turn(async () => {
      const before = graph.places(nodes);
      const moves = await graph.retier(nodes, tier);
      const after = graph.places(nodes);
      const moved = nodes.filter((node, i) => {
        const [from, to] = [before.tiers[i]!, after.tiers[i]!];
        if (from === to || from === NOT_LIVE || to === NOT_LIVE) return false;
        const g = after.heats[i]! + (this.gained.get(node) ?? 0);
        this.gained.delete(node);
        after.heats[i] = policy.move(node, from, to, g);
        if (to < from) done.promoted++;
        else done.demoted++;
        return true;
      });
      const heats = after.heats.filter(
        (_, i) => before.tiers[i] !== after.tiers[i] && before.tiers[i] !== NOT_LIVE && after.tiers[i] !== NOT_LIVE,
      );
      graph.setHeats(moved, heats);
      if (!this.keepOriginals) this.host?.changed(moved);
      done.refused += moves.lossy;
      // Of those asked for, some may not be live.
      if (moves.untrained > 0) done.untrained += after.tiers.filter((at) => at === WARM).length;
    });
  }

  private async encodeAgain(nodes: Uint32Array): Promise<void> {
    const { tiers, stale } = this.graph.places(nodes);
    for (let tier = 0; tier < TIERS.length; tier++) {
      const old = nodes.filter((_, i) => stale[i] === 1 && tiers[i] === tier);
      if (old.length === 0) continue;
      await this.turn(() => this.graph.retier(old, tier));
      if (!this.keepOriginals) this.host?.changed(old);
    }
  }

  /** Trains a codebook where `tier` needs the first one, or where enough vectors came since the last. */
  private async train(tier: number): Promise<void> {
    const { graph } = this;
    const { tensor_compress: settings } = this.config;
    const has = graph.codecs()[2] !== null;
    const due = has && this.inserted >= settings.codebook_update_freq;
    const first = !has && tier > WARM && tier < TIERS.length;
    if (graph.live < LEAST_TRAINED || !(due || first)) return;
    const trained = await this.turn(() => graph.train(trainingOptions(this.config)));
    if (trained) this.inserted = 0;
  }

  /** Gives back what moves left behind. */
  private async finish(): Promise<void> {
    await this.turn(async () => {
      this.graph.rest();
      await this.graph.squeeze(false);
      this.graph.rest();
    });
  }

  /** Gives back all that moves left behind, in a turn of the caller's. */
  async squeeze(): Promise<void> {
    this.graph.rest();
    await this.graph.squeeze(true);
    this.graph.rest();
  }

  private turn<T>(task: () => Promise<T>): Promise<T> {
    return this.host ? this.host.turn(task) : task();
  }

  tierOf(node: number): Tier {
    return TIERS[this.graph.tierOf(node)]!;
  }

  /** Heat of a live node now: what moves go by. Accesses of the last moments may not be counted yet. */
  heatOf(node: number): number {
    const { tiers, heats } = this.graph.places(Uint32Array.of(node));
    return this.policy.heat(node, tiers[0]!, heats[0]! + (this.gained.get(node) ?? 0));
  }

  /** @param residentBytes of a section of the graph, by its name */
  stats(residentBytes: (section: string) => number): Record<Tier, TierStats> {
    return tierStats(this.graph, this.perTier, this.raw, residentBytes);
  }

  /** Of vectors of tier cool, which are unpacked to be compared. */
  get cache(): { hits: number; misses: number; hitRate: number } {
    const { hits, misses } = this.graph.cache();
    return { hits, misses, hitRate: hits + misses === 0 ? 0 : hits / (hits + misses) };
  }

  get warnings(): string[] {
    return tierWarnings(this.graph, this.dimensions, this.config);
  }
}

type Done = Omit<RetierReport, "tiers">;

const NO_MOVES = (): Done => ({ promoted: 0, demoted: 0, refused: 0, untrained: 0 });
