/**
 * Gradients that wait for a step, and what optimizers remember, by node: two sections of the region
 * with a slot for each node that ever had a gradient, and for no other.
 *
 * Section `gradients` holds headers, of which a copy is kept here; `gradient-values` holds the sum and
 * the moments (docs/format.md has both). Records that add are not idempotent, so a slot knows the last
 * record it holds and passes over older ones. A record's rows are added a few at a time, so that
 * searches go on between them: records come one after the other, by LSN, and a sum of f32 has one value.
 */
import { bytesOf } from "../../base/bytes.js";
import { HebbError } from "../../base/errors.js";
import { inSlices } from "../../base/slices.js";
import type { Region } from "../../native/index.js";
import type { SectionSpec } from "../../storage/store.js";
import type { GradientStats } from "../types.js";
import type { GradientsRecord, SteppedRecord } from "./records.js";
import { checkNode, checkSlots, Slots } from "./slot-table.js";

/** Of section `gradients`, for ever; that of `gradient-values` follows. */
export const GRADIENTS_KIND = 17;

const HEADER_BYTES = 32;
/** Address space for values: with fewer dimensions all nodes fit. */
const VALUES_RESERVE_BYTES = 2 ** 40;

/** u32 fields of a header, and f64 fields, by their number in it. */
const KIND = 0;
const NODE = 1;
const STEPS = 2;
const WAITING = 3;
const LSN = 2;
const SQUARE = 3;
/** Of slot 0: slots ever used; rows ever added and stepped. Its LSN is where other slots have theirs. */
const SLOTS = 0;
const ACCUMULATED = 1;
const APPLIED = 3;

/** Kinds of slots. The others have so many arrays of moments, and 1. */
const FREE = 0;
const WITHOUT_MOMENTS = 1;

const strideOf = (dimensions: number): number => Math.ceil((12 * dimensions) / 64) * 64;
const slotsOf = (dimensions: number, nodes: number): number =>
  Math.min(nodes, Math.floor(VALUES_RESERVE_BYTES / strideOf(dimensions)) - 1);

/** The sections of a store of `dimensions` and at most `nodes` nodes. */
export function gradientSections(dimensions: number, nodes: number): SectionSpec[] {
  const [stride, slots] = [strideOf(dimensions), slotsOf(dimensions, nodes) + 1];
  return [
    { kind: GRADIENTS_KIND, name: "gradients", stride: HEADER_BYTES, reserveBytes: slots * HEADER_BYTES },
    { kind: GRADIENTS_KIND + 1, name: "gradient-values", stride, reserveBytes: slots * stride },
  ];
}

export class GradientSlots {
  private readonly slots = new Slots();
  private readonly stride: number;
  private readonly most: number;
  /** All headers, that of slot 0 included, with room for more. */
  private headers = new Uint8Array(16 * HEADER_BYTES);
  private words = new Uint32Array(this.headers.buffer);
  private doubles = new Float64Array(this.headers.buffer);

  /**
   * @param section the number of section `gradients` in the region; `gradient-values` follows it
   * @param nodes as the sections were made for
   * @param held bytes that the file has of section `gradients`, and how many nodes there are
   * @throws {HebbError} INDEX_CORRUPT where the section says that it has slots, or nodes, that there are not
   */
  constructor(
    private readonly region: Region,
    private readonly section: number,
    private readonly dimensions: number,
    nodes: number,
    held: { bytes: number; nodes: number },
  ) {
    this.stride = strideOf(dimensions);
    this.most = slotsOf(dimensions, nodes);
    this.load(held);
  }

  /**
   * Whether gradients of these nodes could be added.
   * @throws {HebbError} INDEX_CORRUPT, STORE_FULL
   */
  checkRoom(nodes: Uint32Array): void {
    let fresh = 0;
    for (const node of nodes) {
      const slot = this.slots.of(node);
      if (slot === undefined) fresh++;
      else this.valuesOf(slot, 0, 1);
    }
    if (this.slots.size + fresh > this.most) throw this.full();
  }

  /** Adds a record's gradients to what waits. */
  async add(lsn: number, { nodes, gradients }: GradientsRecord): Promise<void> {
    const d = this.dimensions;
    await inSlices(nodes, (node, i) => {
      const slot = this.slotFor(node, lsn);
      if (slot === undefined) return;
      const sum = this.sumOf(slot) ?? new Float32Array(d);
      let square = 0;
      for (let x = 0, at = i * d; x < d; x++, at++) {
        sum[x] += gradients[at];
        square += sum[x] * sum[x];
      }
      this.writeValues(slot, 0, sum);
      this.words[slot * 8 + WAITING]++;
      this.doubles[slot * 4 + SQUARE] = square;
      this.doubles[slot * 4 + LSN] = lsn;
      this.writeHeader(slot);
    });
    this.count(ACCUMULATED, nodes.length, lsn);
  }

  /** Takes over what a step left; nothing waits for its nodes any more. */
  async stepped(lsn: number, { nodes, steps, moments }: SteppedRecord): Promise<void> {
    const length = moments.length / nodes.length;
    await inSlices(nodes, (node, i) => {
      const slot = this.slotFor(node, lsn);
      if (slot === undefined) return;
      this.writeValues(slot, 1, moments.subarray(i * length, (i + 1) * length));
      this.words[slot * 8 + KIND] = WITHOUT_MOMENTS + length / this.dimensions;
      this.words[slot * 8 + STEPS] = steps[i];
      this.words[slot * 8 + WAITING] = 0;
      this.doubles[slot * 4 + SQUARE] = 0;
      this.doubles[slot * 4 + LSN] = lsn;
      this.writeHeader(slot);
    });
    this.count(APPLIED, nodes.length, lsn);
  }

  /** Nodes that disappeared take along what waits for them, and what was remembered. */
  forget(nodes: Uint32Array): void {
    for (const node of nodes) {
      const slot = this.slots.free(node);
      if (slot === undefined) continue;
      this.headers.fill(0, slot * HEADER_BYTES, (slot + 1) * HEADER_BYTES);
      this.writeHeader(slot);
    }
  }

  /** The nodes that gradients wait for, ascending. */
  waiting(): Uint32Array {
    const nodes: number[] = [];
    for (const [node, slot] of this.slots.entries()) if (this.words[slot * 8 + WAITING] > 0) nodes.push(node);
    return Uint32Array.from(nodes).sort();
  }

  /**
   * The sum that waits for a node, copied, and the steps that were taken with its moments; undefined without a slot.
   */
  of(node: number): { sum: Float32Array | undefined; steps: number } | undefined {
    const slot = this.slots.of(node);
    return slot === undefined ? undefined : { sum: this.sumOf(slot), steps: this.words[slot * 8 + STEPS] };
  }

  /**
   * `arrays` arrays of moments of a node and the steps they come from: zeros and 0 where it has none, or another number
   * of them.
   */
  momentsOf(node: number, arrays: 1 | 2): { moments: Float32Array; steps: number } {
    const slot = this.slots.of(node);
    if (slot === undefined || this.words[slot * 8 + KIND] !== WITHOUT_MOMENTS + arrays) {
      return { moments: new Float32Array(arrays * this.dimensions), steps: 0 };
    }
    return { moments: this.valuesOf(slot, 1, arrays), steps: this.words[slot * 8 + STEPS] };
  }

  stats(): GradientStats {
    let square = 0;
    for (const [, slot] of this.slots.entries()) square += this.doubles[slot * 4 + SQUARE];
    const slots = this.words[SLOTS];
    return {
      rows: this.slots.size,
      bytes: slots === 0 ? 0 : (slots + 1) * (HEADER_BYTES + this.stride),
      accumulated: this.doubles[ACCUMULATED],
      applied: this.doubles[APPLIED],
      pendingNorm: Math.sqrt(square),
    };
  }

  /** What contradicts itself, or the graph: slot by slot, in words. */
  *faults(isLive: (node: number) => boolean): Generator<{ slot: number; message: string }> {
    for (let slot = 1; slot <= this.words[SLOTS]; slot++) {
      const [kind, node] = [this.words[slot * 8 + KIND], this.words[slot * 8 + NODE]];
      if (kind === FREE) continue;
      if (kind > WITHOUT_MOMENTS + 2)
        yield { slot, message: `gradient slot ${slot} is of kind ${kind}, which is none` };
      if (this.slots.of(node) !== slot) yield { slot, message: `node ${node} has two gradient slots` };
      if (!isLive(node)) yield { slot, message: `gradient slot ${slot} is of node ${node}, which is not live` };
    }
  }

  /** The node's slot, a new one where it has none; undefined where the slot holds record `lsn` already. */
  private slotFor(node: number, lsn: number): number | undefined {
    const known = this.slots.of(node);
    if (known !== undefined) return this.doubles[known * 4 + LSN] < lsn ? known : undefined;
    const slot = this.newSlot(node);
    this.words[slot * 8 + KIND] = WITHOUT_MOMENTS;
    this.words[slot * 8 + NODE] = node;
    return slot;
  }

  private newSlot(node: number): number {
    if (this.slots.size === this.most) throw this.full();
    const slot = this.slots.take(node);
    if (slot > this.words[SLOTS]) {
      this.makeRoom(slot + 1);
      this.words[SLOTS] = slot;
      this.writeHeader(0);
    }
    return slot;
  }

  private full(): HebbError {
    return new HebbError(
      "STORE_FULL",
      `gradients of ${this.slots.size} rows are kept, and of ${this.most} there can be; accumulate gradients of fewer rows`,
    );
  }

  private makeRoom(slots: number): void {
    if (slots * HEADER_BYTES <= this.headers.length) return;
    const headers = new Uint8Array(Math.max(slots * HEADER_BYTES, 2 * this.headers.length));
    headers.set(this.headers);
    this.headers = headers;
    this.words = new Uint32Array(headers.buffer);
    this.doubles = new Float64Array(headers.buffer);
  }

  private count(field: number, rows: number, lsn: number): void {
    if (this.doubles[LSN] >= lsn) return;
    this.doubles[field] += rows;
    this.doubles[LSN] = lsn;
    this.writeHeader(0);
  }

  private sumOf(slot: number): Float32Array | undefined {
    return this.words[slot * 8 + WAITING] === 0 ? undefined : this.valuesOf(slot, 0, 1);
  }

  /** Arrays of `dimensions` values: 0 the sum, 1 and 2 the moments. A copy. */
  private valuesOf(slot: number, first: number, arrays: number): Float32Array {
    const bytes = 4 * this.dimensions;
    const read = this.region.read(this.section + 1, slot * this.stride + first * bytes, arrays * bytes);
    return new Float32Array(read.buffer, read.byteOffset, arrays * this.dimensions);
  }

  private writeValues(slot: number, first: number, values: Float32Array): void {
    const at = slot * this.stride + first * 4 * this.dimensions;
    this.region.write(this.section + 1, at, bytesOf(values));
  }

  private writeHeader(slot: number): void {
    const at = slot * HEADER_BYTES;
    this.region.write(this.section, at, this.headers.subarray(at, at + HEADER_BYTES));
  }

  /** Headers alone: 32 bytes for each slot. */
  private load(held: { bytes: number; nodes: number }): void {
    const [slots] = new Uint32Array(this.region.read(this.section, 0, HEADER_BYTES).buffer);
    if (slots === 0) return;
    if (slots > this.most) {
      const message = `section gradients says that it has ${slots} slots, and there is room for ${this.most}`;
      throw new HebbError("INDEX_CORRUPT", `${message}; open with the max_nodes that it had, or restore the store`);
    }
    checkSlots("gradients", slots, HEADER_BYTES, held.bytes);
    this.makeRoom(slots + 1);
    this.headers.set(this.region.read(this.section, 0, (slots + 1) * HEADER_BYTES));
    for (let slot = 1; slot <= slots; slot++) {
      const [kind, node] = [this.words[slot * 8 + KIND], this.words[slot * 8 + NODE]];
      if (kind !== FREE) checkNode("gradients", slot * HEADER_BYTES + 4 * NODE, node, held.nodes);
      this.slots.restore(kind === FREE ? undefined : node);
    }
  }
}
