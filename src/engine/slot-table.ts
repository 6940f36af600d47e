/**
 * Slots by node: which node has which, and a section that keeps them (of gradients, gradient-slots.ts keeps two).
 * The section has one stride: slot 0 starts with the number of slots ever used (u32); every
 * other one with 1 or 0 (u32: in use) and the node (u32), and what follows is its owner's.
 */
import { bytesOf } from "../../base/bytes.js";
import { HebbError, REPAIR_OR_RESTORE } from "../../base/errors.js";
import type { Region } from "../../native/index.js";

export const SLOT_HEADER_BYTES = 8;

/** Whether a section that the file has `held` bytes of can hold so many slots. @throws {HebbError} INDEX_CORRUPT */
export function checkSlots(name: string, count: number, stride: number, held: number): void {
  // The last one may end behind the last page that was written.
  if (count === 0 || count * stride + SLOT_HEADER_BYTES <= held) return;
  throw new HebbError(
    "INDEX_CORRUPT",
    `section ${name}, offset 0: ${count} slots of ${stride} bytes, and the section has ${held} bytes. ${REPAIR_OR_RESTORE}`,
    { section: name, offset: 0, expected: Math.floor(held / stride), found: count },
  );
}

/** @param offset of the number in the section @throws {HebbError} INDEX_CORRUPT for a node that is not below `nodes` */
export function checkNode(name: string, offset: number, node: number, nodes: number): void {
  if (node < nodes) return;
  throw new HebbError(
    "INDEX_CORRUPT",
    `section ${name}, offset ${offset}: node ${node}, and there are ${nodes}. ${REPAIR_OR_RESTORE}`,
    { section: name, offset, expected: nodes, found: node },
  );
}

/** Slots from 1 on, each of one node or free. */
export class Slots {
  private readonly byNode = new Map<number, number>();
  private readonly left: number[] = [];
  /** Slots ever used. */
  private used = 0;

  get count(): number {
    return this.used;
  }

  /** Nodes with a slot. */
  get size(): number {
    return this.byNode.size;
  }

  of(node: number): number | undefined {
    return this.byNode.get(node);
  }

  /** Nodes with their slots. */
  entries(): Iterable<[node: number, slot: number]> {
    return this.byNode;
  }

  /** A slot for a node that has none: one that was left, or a new one behind all others. */
  take(node: number): number {
    const slot = this.left.pop() ?? ++this.used;
    this.byNode.set(node, slot);
    return slot;
  }

  /** Takes a node's slot away; undefined where it has none. */
  free(node: number): number | undefined {
    const slot = this.byNode.get(node);
    if (slot === undefined) return undefined;
    this.byNode.delete(node);
    this.left.push(slot);
    return slot;
  }

  /** The next slot as it is found on opening: of a node, or free. */
  restore(node: number | undefined): void {
    const slot = ++this.used;
    if (node === undefined) this.left.push(slot);
    else this.byNode.set(node, slot);
  }
}

export class SlotTable {
  private readonly slots = new Slots();

  constructor(
    private readonly region: Region,
    private readonly section: number,
    private readonly stride: number,
  ) {}

  /**
   * Writes `bytes` at `at` of a node's slot, which it gets if it has none; a new slot is to be written from the end of
   * its header on.
   */
  write(node: number, at: number, bytes: Uint8Array): void {
    let slot = this.slots.of(node);
    if (slot === undefined) {
      const { count } = this.slots;
      slot = this.slots.take(node);
      if (slot > count) this.region.write(this.section, 0, bytesOf(Uint32Array.of(slot)));
      this.region.write(this.section, slot * this.stride, bytesOf(Uint32Array.of(1, node)));
    }
    this.region.write(this.section, slot * this.stride + at, bytes);
  }

  free(node: number): void {
    const slot = this.slots.free(node);
    if (slot !== undefined) this.region.write(this.section, slot * this.stride, new Uint8Array(SLOT_HEADER_BYTES));
  }

  /**
   * Reads the section once, on opening: nodes with their slots.
   * @param name the section's, for messages
   * @param held bytes that the file has of it
   * @param nodes all nodes are below
   * @throws {HebbError} INDEX_CORRUPT where it says that it has slots, or nodes, that there are not
   */
  *load(name: string, held: number, nodes: number): Generator<{ node: number; bytes: Uint8Array }> {
    const [count] = new Uint32Array(this.region.read(this.section, 0, 4).buffer);
    checkSlots(name, count, this.stride, held);
    for (let slot = 1; slot <= count; slot++) {
      const bytes = this.region.read(this.section, slot * this.stride, this.stride);
      const [used, node] = new Uint32Array(bytes.buffer, bytes.byteOffset, 2);
      if (used !== 0) checkNode(name, slot * this.stride + 4, node, nodes);
      this.slots.restore(used === 0 ? undefined : node);
      if (used !== 0) yield { node, bytes };
    }
  }
}
