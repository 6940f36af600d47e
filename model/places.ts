/**
 * Numbers nodes densely in the order in which they come: a hash table with open addressing (linear probing) over typed
 * arrays, for sets that are made, asked thousands of times and dropped within one event. A Map keeps a box for each
 * entry and hashes by calls; this takes a multiplication and, as a rule, one look.
 */

/** 2^32 over the golden ratio: consecutive numbers land far apart (Knuth 1973, section 6.4). */
const GOLDEN = 0x9e3779b1;
const LEAST_BITS = 5;

export class Places {
  /** Nodes by place. Grows by `add` alone. */
  readonly nodes: number[] = [];
  /** Place + 1 of the node that hashes there; 0 where there is none. At most half of it is taken. */
  private table: Int32Array;
  private bits: number;

  /** @param expected how many nodes there may be; more make it grow */
  constructor(expected = 0) {
    this.bits = LEAST_BITS;
    while (2 ** (this.bits - 1) < expected) this.bits++;
    this.table = new Int32Array(2 ** this.bits);
  }

  /** The node's place, or -1. */
  get(node: number): number {
    return this.table[this.find(node)]! - 1;
  }

  /** The node's place, the next one where it has none yet. */
  add(node: number): number {
    const at = this.find(node);
    const place = this.table[at]! - 1;
    if (place >= 0) return place;
    const next = this.nodes.push(node) - 1;
    this.table[at] = next + 1;
    if (2 * this.nodes.length > this.table.length) this.grow();
    return next;
  }

  /** Where in the table the node is, or would be. */
  private find(node: number): number {
    const { table, nodes } = this;
    const mask = table.length - 1;
    let at = Math.imul(node, GOLDEN) >>> (32 - this.bits);
    for (let entry = table[at]!; entry !== 0 && nodes[entry - 1] !== node; entry = table[at]!) at = (at + 1) & mask;
    return at;
  }

  private grow(): void {
    this.bits++;
    this.table = new Int32Array(2 ** this.bits);
    for (const [place, node] of this.nodes.entries()) this.table[this.find(node)] = place + 1;
  }
}
