/**
 * Which tier a vector belongs in. Pure: the engine keeps a record {tier, g} a node, reports accesses and
 * moves, and asks. Tiers are numbers in the order of TIERS: 0 hot, 1 warm, 2 cool, 3 cold, 4 archive.
 *
 * Thresholds are frequencies f = h / (h + 1), h being heat. They are compared as heats h = f / (1 - f):
 * a factor on f could ask for more than 1, which no vector reaches.
 */
import { TIERS } from "../base/types.js";
import { forward, heatOf, REBASE_AFTER } from "./heat.js";
import { FrequencySketch } from "./sketch.js";

export const HOT = 0;
export const WARM = 1;
export const ARCHIVE = TIERS.length - 1;

/** The keys of [tensor_compress] that decide tiers. */
export interface TierSettings {
  hot_threshold: number;
  warm_threshold: number;
  cool_threshold: number;
  cold_threshold: number;
  promotion_threshold: number;
  demotion_threshold: number;
}

/** Thresholds as heats, by tier: to be promoted into a tier, and to be demoted out of it. */
export class TierRules {
  readonly promoteAbove: readonly number[];
  readonly demoteBelow: readonly number[];
  /** Heat of a new vector at scale 1: twice what makes a vector hot. */
  readonly initialHeat: number;
  private readonly heats: readonly number[];

  /** @throws RangeError naming the keys, where thresholds are not in falling order or a factor is out of range */
  constructor(settings: TierSettings) {
    const names = ["hot_threshold", "warm_threshold", "cool_threshold", "cold_threshold"] as const;
    let above: string | undefined;
    let limit = 1;
    for (const name of names) {
      const value = settings[name];
      if (!(value > 0 && value < limit)) {
        const than = above === undefined ? "below 1" : `below ${above} (${limit})`;
        throw new RangeError(`${name} is ${value}; expected a frequency above 0 and ${than}`);
      }
      above = name;
      limit = value;
    }
    const { promotion_threshold: up, demotion_threshold: down } = settings;
    if (!(up >= 1 && up < Number.POSITIVE_INFINITY)) {
      throw new RangeError(`promotion_threshold is ${up}; expected a factor of at least 1`);
    }
    if (!(down >= 0 && down <= 1)) {
      throw new RangeError(`demotion_threshold is ${down}; expected a factor from 0 to 1`);
    }
    const heats = [...names.map((name) => settings[name] / (1 - settings[name])), 0];
    this.promoteAbove = heats.map((heat) => heat * up);
    this.demoteBelow = heats.map((heat) => heat * down);
    this.initialHeat = 2 * heats[HOT]!;
    this.heats = heats;
  }

  /** A heat that keeps a vector in a tier: what its threshold says. */
  middleHeat(tier: number): number {
    return this.heats[tier]!;
  }
}

/** The tier for a heat, coming from `current`; both ways, several tiers at once. `scale` multiplies all thresholds. */
export function targetTier(heat: number, current: number, rules: TierRules, scale = 1): number {
  let tier = current;
  while (tier > HOT && heat > rules.promoteAbove[tier - 1]! * scale) tier--;
  if (tier < current) return tier;
  while (tier < ARCHIVE && heat < rules.demoteBelow[tier]! * scale) tier++;
  return tier;
}

/**
 * What multiplies the heat of a vector that matters beyond its accesses, from 1 to 4: up to 2 for a hub,
 * by the root of its in-degree relative to the mean, and 2 for one that was learned from lately.
 */
export function boost(relativeInDegree: number, learned: boolean): number {
  return Math.min(2, Math.max(1, Math.sqrt(relativeInDegree))) * (learned ? 2 : 1);
}

/** Heat in bins of 1/128 octave, from 2^-24 to 2^24; fine enough that few vectors share the last bin that fits. */
const PER_OCTAVE = 128;
const LOWEST = -24 * PER_OCTAVE;
const BINS = 48 * PER_OCTAVE;
const binOf = (heat: number) =>
  heat > 0 ? Math.min(BINS - 1, Math.max(0, Math.floor(Math.log2(heat) * PER_OCTAVE) - LOWEST)) : 0;

/** How many vectors of each tier have which heat. */
export class Census {
  /** TIERS x BINS. */
  private readonly counts = new Float64Array(TIERS.length * BINS);
  readonly tiers = new Float64Array(TIERS.length);

  add(tier: number, heat: number): void {
    this.counts[tier * BINS + binOf(heat)]!++;
    this.tiers[tier]!++;
  }

  /** Vectors of a tier in bins below each bin: BINS + 1 sums. */
  below(tier: number): Float64Array {
    const sums = new Float64Array(BINS + 1);
    for (let bin = 0; bin < BINS; bin++) sums[bin + 1] = sums[bin]! + this.counts[tier * BINS + bin]!;
    return sums;
  }
}

/**
 * Demotions that make a store fit: thresholds are shifted by whole bins, the same for all tiers. Where
 * many vectors share a heat, one shift may be too little and the next too much; then as many as there is
 * room for, in the order asked, are treated by the smaller.
 */
export class Fit {
  constructor(
    private readonly demoteBins: readonly number[],
    private readonly perTier: readonly number[],
    private readonly shift: number,
    private spare: number,
  ) {}

  /** The factor on all thresholds. */
  get scale(): number {
    return 2 ** (this.shift / PER_OCTAVE);
  }

  /** The tier of a vector after the round: its own, or a coarser one. To be asked once a vector. */
  demoted(heat: number, tier: number): number {
    const bin = binOf(heat);
    const coarse = demotedBin(bin, tier, this.demoteBins, this.shift);
    if (coarse === tier) return tier;
    const fine = demotedBin(bin, tier, this.demoteBins, this.shift - 1);
    const cost = this.perTier[fine]! - this.perTier[coarse]!;
    if (fine === coarse || cost > this.spare) return coarse;
    this.spare -= cost;
    return fine;
  }
}

function demotedBin(bin: number, current: number, demoteBins: readonly number[], shift: number): number {
  let tier = current;
  while (tier < ARCHIVE && bin < demoteBins[tier]! + shift) tier++;
  return tier;
}

/**
 * The smallest common factor on all thresholds with which the census fits in `budget` bytes.
 *
 * @param perTier bytes of a vector by tier, falling
 * @throws RangeError where not even the archive fits (the message states the minimum), or nothing can be demoted
 */
export function fitBudget(census: Census, perTier: readonly number[], budget: number, rules: TierRules): Fit {
  const size = census.tiers.reduce((a, b) => a + b, 0);
  const least = size * perTier[ARCHIVE]!;
  if (least > budget) {
    throw new RangeError(
      `memory_budget is ${budget} bytes; expected at least ${least}, what ${size} vectors take in the archive tier`,
    );
  }
  const demoteBins = rules.demoteBelow
    .slice(0, ARCHIVE)
    .map((heat) => Math.round(Math.log2(heat) * PER_OCTAVE) - LOWEST);
  if (!demoteBins.every(Number.isFinite)) {
    throw new RangeError("demotion_threshold is 0; expected a factor above 0 where memory_budget is set");
  }
  const below = TIERS.map((_, tier) => census.below(tier));
  const bytes = (shift: number) => {
    let sum = 0;
    for (let tier = 0; tier <= ARCHIVE; tier++) {
      let left = census.tiers[tier]!; // those not yet placed; what falls out of a tier is what is below its bin
      for (let to = tier; to <= ARCHIVE; to++) {
        const fall = to === ARCHIVE ? 0 : Math.min(left, below[tier]![clampBin(demoteBins[to]! + shift)]!);
        sum += (left - fall) * perTier[to]!;
        left = fall;
      }
    }
    return sum;
  };
  let low = -demoteBins[HOT]! - 1; // here nothing is demoted
  let high = BINS - demoteBins[ARCHIVE - 1]!; // here everything is
  if (bytes(low) <= budget) return new Fit(demoteBins, perTier, low, 0);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (bytes(middle) <= budget) high = middle;
    else low = middle;
  }
  return new Fit(demoteBins, perTier, high, budget - bytes(high));
}

const clampBin = (bin: number) => Math.min(BINS, Math.max(0, bin));

/**
 * Under a budget, heat halves in this many accesses per vector that is hot or warm, or could be, whatever the clock
 * says: then one access is about what it takes to get in, and what was used often outlives what was used last. By the
 * clock, a busy store would tell old favourites from new ones badly, and a quiet one be no more than an LRU.
 */
const TURNS = 2;

/** What a round leaves free for the promotions until the next one: a share of the budget, and some vectors at least. */
const HEADROOM = 1 / 32;
const HEADROOM_VECTORS = 4;

export interface PolicyOptions {
  rules: TierRules;
  /** Nodes there may be; the sketch takes about 4 bytes each. */
  nodes: number;
  seed: number;
  /** What the g of the records are relative to, in half-lives: 0 in a new store, else what `base` was. */
  base?: number;
  /** Bytes for the vectors of all tiers together, and what one takes by tier, falling. */
  budget?: { bytes: number; perTier: readonly number[] };
  /** Multiplies a node's heat; `boost` is one. Default: 1 for all. */
  boost?: (node: number) => number;
}

/**
 * Decides, access by access and round by round. Hot and warm vectors are _resident_: their heat is
 * exact, in their record. Of the others, the record says what heat they took along when they left, and
 * the sketch what was added since. `g` is a heat in forward form, relative to the base that `setTime`
 * keeps; it is what a record holds.
 *
 * The engine: `place` as vectors come, `adopt` as others go; `access` at each access, then `wanted`, and
 * where that is another tier, `fits`, then `move` (or first a round); `round` every
 * recompress_interval_s, and when a promotion does not fit.
 */
export class TierPolicy {
  private readonly rules: TierRules;
  private readonly sketch: FrequencySketch;
  private readonly budget: PolicyOptions["budget"];
  private readonly boostOf: ((node: number) => number) | undefined;
  private age = 0;
  private zero: number;
  private factor = 1;
  private readonly counts = new Float64Array(TIERS.length);
  private used = 0;

  constructor({ rules, nodes, seed, base = 0, budget, boost }: PolicyOptions) {
    this.rules = rules;
    this.sketch = new FrequencySketch(nodes, seed);
    this.zero = base;
    this.budget = budget;
    this.boostOf = boost;
  }

  /** The factor on all thresholds: 1 without a budget; with one, what the last round found. */
  get scale(): number {
    return this.factor;
  }

  /** Bytes of all vectors by `perTier`; 0 without a budget. */
  get bytes(): number {
    return this.used;
  }

  /** Heat time that the g of the records are relative to; to be kept beside them. */
  get base(): number {
    return this.zero;
  }

  /** Whether new vectors have filled the budget: time for a round. */
  get over(): boolean {
    return this.budget !== undefined && this.used > this.budget.bytes;
  }

  /** Half-lives by which an access or a new vector lets heat time advance: 0 without a budget. */
  get pace(): number {
    if (this.budget === undefined) return 0;
    const { bytes, perTier } = this.budget;
    const all = this.counts.reduce((sum, count) => sum + count, 0);
    const room = (bytes - all * perTier[ARCHIVE]!) / (perTier[HOT]! - perTier[ARCHIVE]!); // hot ones, beside an archive
    return 1 / (TURNS * Math.max(64, this.counts[HOT]! + this.counts[WARM]!, Math.min(room, all)));
  }

  /**
   * Sets heat time and the base of all g. Returns by how many half-lives the base moved, nearly always 0;
   * otherwise every g in the records has to be moved by as much (`rebase`) before it is used again.
   */
  setTime(time: number): number {
    this.age = time - this.zero;
    if (this.age <= REBASE_AFTER) return 0;
    const by = this.age;
    this.sketch.rebase(by);
    this.zero = time;
    this.age = 0;
    return by;
  }

  /** There may be more nodes than when the policy was made. */
  expect(nodes: number): void {
    this.sketch.expect(nodes);
  }

  /** Every record was given a g that says all: what was counted beside them does not count any more. */
  forget(): void {
    this.sketch.clear();
  }

  /**
   * A new vector, in `tier`; returns its g. Under a budget it is worth one access and no more: a large
   * import of vectors as hot as can be would keep what is used out for many half-lives.
   */
  place(tier = HOT): number {
    this.count(tier, 1);
    return forward(this.budget === undefined ? this.rules.initialHeat : 1, this.age);
  }

  /** Sets the vectors that each tier has, and what they may take: what the store says, where others change it too. */
  adopt(counts: ArrayLike<number>, budget: number): void {
    this.counts.set(counts);
    if (this.budget === undefined) return;
    this.budget.bytes = budget;
    this.used = this.counts.reduce((sum, count, tier) => sum + count * this.budget!.perTier[tier]!, 0);
  }

  /** The g of a heat now. */
  gOf(heat: number): number {
    return forward(heat, this.age);
  }

  /** Counts an access; returns the g that the record gets. */
  access(node: number, tier: number, g: number): number {
    const one = forward(1, this.age);
    if (tier <= WARM) return g + one;
    this.sketch.add(node, one);
    return g;
  }

  /** Heat now, with its boost. */
  heat(node: number, tier: number, g: number): number {
    const sum = tier <= WARM ? g : g + this.sketch.estimate(node);
    return heatOf(sum, this.age) * (this.boostOf?.(node) ?? 1);
  }

  /**
   * The tier that a vector is to be promoted to; its own where it stays. Under a budget only hot and warm
   * are promoted to: one access would be enough for cool, so that every access to the archive made a move
   * and took bytes from what is used more.
   */
  wanted(node: number, tier: number, g: number): number {
    if (tier === HOT) return tier;
    const to = Math.min(tier, targetTier(this.heat(node, tier, g), tier, this.rules, this.factor));
    return this.budget !== undefined && to > WARM ? tier : to;
  }

  /** Whether a move keeps within the budget. */
  fits(from: number, to: number): boolean {
    if (this.budget === undefined) return true;
    const { bytes, perTier } = this.budget;
    return this.used + perTier[to]! - perTier[from]! <= bytes;
  }

  /** Takes bytes of the budget for a move that is to come, until the next `adopt`. */
  reserve(from: number, to: number): void {
    if (this.budget !== undefined) this.used += this.budget.perTier[to]! - this.budget.perTier[from]!;
  }

  /** Accounts for a move; returns the g that the record gets, so that the heat stays what it was. */
  move(node: number, from: number, to: number, g: number): number {
    this.count(from, -1);
    this.count(to, 1);
    if (from <= WARM === to <= WARM) return g;
    const sketched = this.sketch.estimate(node);
    return to <= WARM ? g + sketched : Math.max(0, g - sketched);
  }

  /** Begins a round: `survey` every vector, then `decide`, then ask for each. */
  round(): Round {
    return new Round(this, this.rules, this.budget, (fit) => {
      this.factor = fit.scale;
    });
  }

  private count(tier: number, by: number): void {
    this.counts[tier]! += by;
    if (this.budget !== undefined) this.used += by * this.budget.perTier[tier]!;
  }
}

/** Demotions of all vectors at one time. Without a budget there is nothing to survey. */
export class Round {
  private readonly census = new Census();
  private fit: Fit | undefined;

  constructor(
    private readonly policy: TierPolicy,
    private readonly rules: TierRules,
    private readonly budget: PolicyOptions["budget"],
    private readonly settle: (fit: Fit) => void,
  ) {}

  /** Counts a vector. What is in the archive cannot get colder: its heat is not looked at. */
  survey(node: number, tier: number, g: number): void {
    if (this.budget !== undefined) this.census.add(tier, tier === ARCHIVE ? 0 : this.policy.heat(node, tier, g));
  }

  /** Sets the policy's thresholds. @throws RangeError where not even the archive fits */
  decide(): void {
    if (this.budget === undefined) return;
    const { bytes, perTier } = this.budget;
    const least = this.census.tiers.reduce((a, b) => a + b, 0) * perTier[ARCHIVE]!;
    const free = Math.max(bytes * HEADROOM, HEADROOM_VECTORS * perTier[HOT]!);
    const target = Math.min(bytes, Math.max(least, bytes - free));
    this.fit = fitBudget(this.census, perTier, target, this.rules);
    this.settle(this.fit);
  }

  /** The tier of a vector after the round: its own or a coarser one. To be asked once a vector. */
  demoted(node: number, tier: number, g: number): number {
    if (tier === ARCHIVE) return tier;
    const heat = this.policy.heat(node, tier, g);
    return this.fit?.demoted(heat, tier) ?? Math.max(tier, targetTier(heat, tier, this.rules));
  }
}
