/**
 * Learned edges: what use connects, beside what the graph is built of. A directed edge u -> y says
 * that y was chosen where u stood for the question: u was an example of it, among its nearest rows,
 * or chosen for it too; or, weaker, that y was an example where u was chosen. Bounded per node;
 * strengths halve with the clock of events, and the weakest edge gives way to a new one.
 *
 * A question spreads over them as item-based recommendation does (Deshpande & Karypis 2004, with
 * shrinkage): support(y) = r_y sum_u p_u a_uy / ((asked_u + s)^.6 (chosen_y + t)^.5), where a_uy is the strength
 * of u -> y, asked_u all that u ever sent out, chosen_y how often y was chosen, and p_u the share of u
 * in the question. One step of message passing in which the rows' ids are the states.
 *
 * r_y = (lately_y + g) / (expected_y + g) is how much more often than ever y is chosen lately: what is in demand comes
 * and goes. Choices of y are taken for a Poisson process whose rate is r_y times its long-run one; r_y is the mean of its
 * posterior under a prior Gamma(g, g), whose mean is 1 and which counts as g choices. lately_y halves `LATELY_FASTER` times
 * as fast as chosen_y, and expected_y is what it would be had chosen_y come at an even pace. All choices of a new row are
 * lately.
 */

import { Places } from "./places.js";
import { nthGreatest } from "./select.js";

/** Edges that leave a node. The format's stride depends on it. */
export const EDGES_PER_NODE = 128;

/** s and t: counts below these are little evidence. */
const ASKED_SHRINKAGE = 20;
const CHOSEN_SHRINKAGE = 5;
/** What was asked for everything says less: a little above the root of a cosine (Paudel et al. 2017, RP3beta). */
const ASKED_EXPONENT = 0.6;
/** How many times as fast what was chosen lately halves. */
const LATELY_FASTER = 20;
/** g */
const STEADY = 20;
/** Seeds of less than this share of the strongest one are not asked: the question is hardly about them. */
const LEAST_SHARE = 1e-3;
/** Supports beyond the strongest of these are not worth a look. */
export const MOST_SUPPORTED = 512;

/** So many nodes a question reaches as a rule. */
const SPREAD_NODES = 1024;

/** Ages whose fading is kept once it was computed: most edges that a question meets are younger. */
const KNOWN_FADES = 65_536;

/**
 * What leaves one node, and how much it was asked and chosen. Arrays have room for `count` edges at least. Counts and
 * strengths are as of the tick beside them.
 */
export interface EdgeRecord {
  targets: Uint32Array;
  strengths: Float32Array;
  /** Ticks of the clock at which the strengths were true. */
  at: Uint32Array;
  count: number;
  asked: number;
  chosen: number;
  /** How often it was chosen lately: what `chosen` counts, fading faster. */
  lately: number;
  countedAt: number;
  /** Edges to this node from before this tick meant another row of the same number. */
  born: number;
}

/** A node's record as it changed: final values; null where it ends. `lanes`: places of edges that changed. */
export interface EdgeChange {
  node: number;
  record: EdgeRecord | null;
  lanes: Iterable<number>;
}

export interface Seed {
  node: number;
  /** > 0. */
  weight: number;
}

/** An empty record with this room for edges. */
const recordIn = (targets: Uint32Array, strengths: Float32Array, at: Uint32Array): EdgeRecord => ({
  targets,
  strengths,
  at,
  count: 0,
  asked: 0,
  chosen: 0,
  lately: 0,
  countedAt: 0,
  born: 0,
});

/** @param lanes edges that there is room for, until `widen` makes more */
export const emptyRecord = (lanes = EDGES_PER_NODE): EdgeRecord =>
  recordIn(new Uint32Array(lanes), new Float32Array(lanes), new Uint32Array(lanes));

/** Most nodes have few edges: room is made for them as they come. */
export const LEAST_LANES = 8;

/** Makes room for `lanes` edges, and for some more to come. */
export function widen(record: EdgeRecord, lanes: number): void {
  let room = Math.max(LEAST_LANES, record.targets.length);
  if (room >= lanes) return;
  while (room < lanes) room *= 2;
  const { targets, strengths, at } = emptyRecord(Math.min(room, EDGES_PER_NODE));
  targets.set(record.targets);
  strengths.set(record.strengths);
  at.set(record.at);
  Object.assign(record, { targets, strengths, at });
}

/** Records made at once: room for one at a time is slow to come by, and there are a hundred in an event. */
const ROOM_RECORDS = 32;

/** Makes empty records that share memory: for such as live as long as each other. */
export class RecordRoom {
  private buffer = new ArrayBuffer(0);
  private used = ROOM_RECORDS;

  take(): EdgeRecord {
    if (this.used === ROOM_RECORDS) {
      this.buffer = new ArrayBuffer(ROOM_RECORDS * 12 * EDGES_PER_NODE);
      this.used = 0;
    }
    const { buffer } = this;
    const at = this.used++ * 12 * EDGES_PER_NODE;
    return recordIn(
      new Uint32Array(buffer, at, EDGES_PER_NODE),
      new Float32Array(buffer, at + 4 * EDGES_PER_NODE, EDGES_PER_NODE),
      new Uint32Array(buffer, at + 8 * EDGES_PER_NODE, EDGES_PER_NODE),
    );
  }

  /** Its strengths and the rest, as they are now. */
  copy(from: EdgeRecord): EdgeRecord {
    const record = this.take();
    record.targets.set(from.targets);
    record.strengths.set(from.strengths);
    record.at.set(from.at);
    record.count = from.count;
    record.asked = from.asked;
    record.chosen = from.chosen;
    record.lately = from.lately;
    record.countedAt = from.countedAt;
    record.born = from.born;
    return record;
  }
}

/** Records by node. With `under`, a draft over it: reads fall through, writes stay here and are remembered. */
export class Edges {
  private readonly records = new Map<number, EdgeRecord>();
  private readonly touched = new Map<number, number[]>();
  private readonly room = new RecordRoom();
  /** No row's number was used again after this tick: edges from since then hold without a look. */
  private newestBorn = 0;

  /** By age, those that were asked for: a question asks for thousands. */
  private readonly fades: Float64Array;

  /** @param halfLife ticks after which an edge counts half */
  constructor(
    readonly halfLife: number,
    private readonly under?: Edges,
  ) {
    if (under) this.newestBorn = under.newestBorn;
    this.fades = under?.fades ?? new Float64Array(KNOWN_FADES);
  }

  /** Nodes that edges leave. */
  get linked(): number {
    let count = 0;
    for (const record of this.records.values()) if (record.count > 0) count++;
    return count;
  }

  get isEmpty(): boolean {
    return this.records.size === 0 && (this.under?.isEmpty ?? true);
  }

  nodes(): Iterable<number> {
    return this.records.keys();
  }

  record(node: number): EdgeRecord | undefined {
    return this.records.get(node) ?? this.under?.record(node);
  }

  /** Puts a record in; it is kept, not copied. */
  set(node: number, record: EdgeRecord): void {
    this.records.set(node, record);
    this.newestBorn = Math.max(this.newestBorn, record.born);
  }

  delete(node: number): void {
    this.records.delete(node);
  }

  /** What a draft changed. */
  changes(): EdgeChange[] {
    return Array.from(this.touched, ([node, lanes]) => ({ node, record: this.records.get(node)!, lanes }));
  }

  /** Adds `strength` to the edge from -> to at tick `now`. */
  add(from: number, to: number, strength: number, now: number): void {
    if (from === to || !(strength > 0)) return;
    this.edit(to, now); // every target has a record: its `born` says which of its edges still hold
    const record = this.edit(from, now);
    record.asked += strength;
    let lane = record.targets.indexOf(to);
    if (lane < 0 || lane >= record.count) {
      lane = record.count < EDGES_PER_NODE ? record.count++ : this.weakest(record, now);
      widen(record, lane + 1);
      record.targets[lane] = to;
      record.strengths[lane] = 0;
    }
    record.strengths[lane] = this.strengthAt(record, lane, now) + strength;
    record.at[lane] = now;
    const lanes = this.touched.get(from)!;
    if (!lanes.includes(lane)) lanes.push(lane);
  }

  /** Counts that `node` was chosen. */
  choose(node: number, amount: number, now: number): void {
    const record = this.edit(node, now);
    record.chosen += amount;
    record.lately += amount;
  }

  /**
   * r_y, above 1 where a node is chosen more often lately.
   * @param share what of a steady count is of lately
   */
  private trendOf({ chosen, lately, countedAt }: EdgeRecord, now: number, share: number): number {
    const expected = chosen * this.fade(countedAt, now) * share;
    return (lately * this.fade(0, LATELY_FASTER * (now - countedAt)) + STEADY) / (expected + STEADY);
  }

  /** What of a steady count since tick 0 is of lately. */
  private latelyShare(now: number): number {
    if (now <= 0) return 1;
    return (1 - this.fade(0, LATELY_FASTER * now)) / (1 - this.fade(0, now)) / LATELY_FASTER;
  }

  /** The node's row is gone: what left it goes, and what led to it holds no more. */
  forget(node: number, now: number): void {
    if (!this.record(node)) return;
    const record = emptyRecord();
    record.born = now;
    record.countedAt = now;
    this.set(node, record);
    this.touched.set(node, []);
  }

  /**
   * Changes by which rows that got new numbers keep their edges, in both directions; as of tick `now`, so that none
   * that led to an earlier row of a number comes back. Those of the old numbers are forgotten with their rows.
   * @param names new number by old one
   */
  renamed(names: ReadonlyMap<number, number>, now: number): EdgeChange[] {
    const changes: EdgeChange[] = [];
    for (const [node, record] of this.records) {
      const own = names.get(node);
      const leads = record.targets.subarray(0, record.count).some((to) => names.has(to));
      if (own === undefined && !leads) continue;
      const fresh = emptyRecord();
      const fade = this.fade(record.countedAt, now);
      fresh.asked = record.asked * fade;
      fresh.chosen = record.chosen * fade;
      fresh.lately = record.lately * this.fade(0, LATELY_FASTER * (now - record.countedAt));
      fresh.countedAt = now;
      fresh.born = own === undefined ? record.born : now;
      for (const { to, strength } of this.from(node, now)) {
        const lane = fresh.count++;
        fresh.targets[lane] = names.get(to) ?? to;
        fresh.strengths[lane] = strength;
        fresh.at[lane] = now;
      }
      changes.push({ node: own ?? node, record: fresh, lanes: Array.from({ length: fresh.count }, (_, lane) => lane) });
    }
    return changes;
  }

  /** Strength of a lane as it has faded by tick `now`; 0 where its target's row is another one by now. */
  strengthAt(record: EdgeRecord, lane: number, now: number): number {
    const at = record.at[lane]!;
    if (at < this.newestBorn && at < (this.record(record.targets[lane]!)?.born ?? 0)) return 0;
    return record.strengths[lane]! * this.fade(at, now);
  }

  /** Edges that leave `node` and still hold, by falling strength. */
  from(node: number, now: number): { to: number; strength: number }[] {
    const record = this.record(node);
    if (!record) return [];
    const all = Array.from({ length: record.count }, (_, lane) => ({
      to: record.targets[lane]!,
      strength: this.strengthAt(record, lane, now),
    }));
    return all.filter(({ strength }) => strength > 0).sort((a, b) => b.strength - a.strength || a.to - b.to);
  }

  /**
   * Support of nodes by a question's seeds, the strongest first, scaled so that the first has 1.
   * @param accept which nodes may get any
   */
  spread(seeds: readonly Seed[], now: number, accept: (node: number) => boolean): Map<number, number> {
    const least = LEAST_SHARE * seeds.reduce((most, { weight }) => Math.max(most, weight), 0);
    const { fades, newestBorn } = this;
    const places = new Places(SPREAD_NODES);
    const { nodes } = places;
    const sums: number[] = []; // numbers in an array need no box
    for (const { node, weight } of seeds) {
      const record = weight < least ? undefined : this.record(node);
      if (!record) continue;
      const asked = record.asked * this.fade(record.countedAt, now);
      const share = weight / (asked + ASKED_SHRINKAGE) ** ASKED_EXPONENT;
      const { targets, strengths, at, count } = record;
      for (let lane = 0; lane < count; lane++) {
        const tick = at[lane]!;
        const faded = strengths[lane]! * (fades[now - tick] || this.fade(tick, now));
        const strength = tick < newestBorn ? this.strengthAt(record, lane, now) : faded;
        if (strength === 0) continue;
        const place = places.add(targets[lane]!);
        if (place === sums.length) sums.push(share * strength);
        else sums[place] = sums[place]! + share * strength;
      }
    }
    const supports = new Float64Array(nodes.length);
    const latelyShare = this.latelyShare(now);
    let accepted: number[] = [];
    for (let place = 0; place < nodes.length; place++) {
      const node = nodes[place]!;
      if (!accept(node)) continue;
      const record = this.record(node)!;
      const chosen = record.chosen * this.fade(record.countedAt, now);
      supports[place] = (sums[place]! * this.trendOf(record, now, latelyShare)) / Math.sqrt(chosen + CHOSEN_SHRINKAGE);
      accepted.push(place);
    }
    if (accepted.length > MOST_SUPPORTED) {
      const least = nthGreatest(supports.slice(), MOST_SUPPORTED); // those not accepted have 0
      accepted = accepted.filter((place) => supports[place]! >= least);
    }
    accepted.sort((a, b) => supports[b]! - supports[a]! || nodes[a]! - nodes[b]!).splice(MOST_SUPPORTED);
    const most = accepted.length > 0 ? supports[accepted[0]!]! : 1;
    const out = new Map<number, number>();
    for (const place of accepted) out.set(nodes[place]!, supports[place]! / most);
    return out;
  }

  /** A record that may be written, its counts brought to tick `now`. */
  private edit(node: number, now: number): EdgeRecord {
    let record = this.records.get(node);
    if (!record) {
      const below = this.under?.record(node);
      record = below ? this.room.copy(below) : this.room.take();
      this.records.set(node, record);
    }
    if (!this.touched.has(node)) this.touched.set(node, []);
    const fade = this.fade(record.countedAt, now);
    record.asked *= fade;
    record.chosen *= fade;
    record.lately *= this.fade(0, LATELY_FASTER * (now - record.countedAt));
    record.countedAt = now;
    return record;
  }

  /** What is left by tick `now` of what was true at tick `at`. */
  private fade(at: number, now: number): number {
    const age = now - at;
    let left = this.fades[age];
    if (!left) {
      left = fadeAfter(age, this.halfLife);
      this.fades[age] = left; // is lost where the array ends
    }
    return left;
  }

  private weakest(record: EdgeRecord, now: number): number {
    let weakest = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let lane = 0; lane < record.count; lane++) {
      const strength = this.strengthAt(record, lane, now);
      if (strength < least) [weakest, least] = [lane, strength];
    }
    return weakest;
  }
}

const fadeAfter = (age: number, halfLife: number): number => Math.exp((-Math.LN2 * age) / halfLife);
