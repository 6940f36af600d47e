/**
 * A section of slots by node, of one stride: slot 0 starts with the number of slots ever used (u32); every
 * other one with 1 or 0 (u32: in use) and the node (u32), and what follows is its owner's.
 */
import type { Region } from "../../native/index.js";

export const SLOT_HEADER_BYTES = 8;

export class SlotTable {
  private readonly slots = new Map<number, number>();
  private readonly freeSlots: number[] = [];
  private count = 0;

  constructor(
    private readonly region: Region,
    private readonly section: number,
    private readonly stride: number,
  ) {}

  /** Writes `bytes` at `at` of a node's slot, which it gets if it has none; a new slot is to be written from 0. */
  write(node: number, at: number, bytes: Uint8Array): void {
    let slot = this.slots.get(node);
    if (slot === undefined) {
      slot = this.freeSlots.pop();
      if (slot === undefined) {
        slot = ++this.count;
        this.region.write(this.section, 0, bytesOf(Uint32Array.of(this.count)));
      }
      this.slots.set(node, slot);
      this.region.write(this.section, slot * this.stride, bytesOf(Uint32Array.of(1, node)));
    }
    this.region.write(this.section, slot * this.stride + SLOT_HEADER_BYTES + at, bytes);
  }

  free(node: number): void {
    const slot = this.slots.get(node);
    if (slot === undefined) return;
    this.region.write(this.section, slot * this.stride, new Uint8Array(SLOT_HEADER_BYTES));
    this.slots.delete(node);
    this.freeSlots.push(slot);
  }

  /** Reads the section once, on opening: nodes with what is behind the slot's header. */
  *load(): Generator<{ node: number; bytes: Uint8Array }> {
    [this.count] = new Uint32Array(this.region.read(this.section, 0, 4).buffer);
    for (let slot = 1; slot <= this.count; slot++) {
      const bytes = this.region.read(this.section, slot * this.stride, this.stride);
      const [used, node] = new Uint32Array(bytes.buffer, bytes.byteOffset, 2);
      if (used === 0) {
        this.freeSlots.push(slot);
        continue;
      }
      this.slots.set(node, slot);
      yield { node, bytes: bytes.subarray(SLOT_HEADER_BYTES) };
    }
  }
}

export function bytesOf(values: Uint32Array | Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
