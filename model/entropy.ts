/**
 * Entropy coding of small symbols, the reference for native/quantize/entropy.cpp: the same bytes, a bit at a time.
 *
 * A static table is fitted to counts, for table ANS (Duda 2013; states and spread as in Collet's FSE), canonical
 * Huffman of at most 12 bits (package-merge, Larmore & Hirschberg 1990) or fixed width. Codes are written from the
 * last symbol to the first; the reader goes backward from a marker bit.
 */
import { viewOf } from "../base/bytes.js";

export const ENTROPY_CODERS = ["none", "huffman", "ans"] as const;
export type EntropyCoder = (typeof ENTROPY_CODERS)[number];

const BITS = 12;
const SLOTS = 1 << BITS;
const STRIDE = SLOTS / 2 + SLOTS / 8 + 3;
const HEADER = 4;

const bitWidth = (x: number) => 32 - Math.clz32(x);
/** States that encode in turns. */
const lanesFor = (n: number) => (n < 256 ? 1 : n < 512 ? 2 : 4);
const bodyBytes = (coder: EntropyCoder, alphabet: number) =>
  coder === "ans" ? 2 * alphabet : coder === "huffman" ? alphabet : 0;

/** Frequencies >= 1 that add up to 4,096, by Webster's method. */
function normalize(counts: Uint32Array): Uint16Array {
  let total = counts.reduce((sum, count) => sum + count, 0);
  const given = total > 0 ? counts : new Uint32Array(counts.length).fill(1);
  if (total === 0) total = counts.length;
  const frequencies = Uint16Array.from(given, (count) => Math.max(1, Math.floor((count * SLOTS) / total)));
  let sum = frequencies.reduce((all, f) => all + f, 0);
  /** The symbol with the largest share of `sign` counts[s] / (2 f + sign), the first of several. */
  const best = (sign: 1 | -1) => {
    let found = -1;
    for (let s = 0; s < given.length; s++) {
      if (sign < 0 && frequencies[s] === 1) continue;
      const here = found < 0 ? 0 : given[s]! * (2 * frequencies[found]! + sign);
      const there = found < 0 ? 0 : given[found]! * (2 * frequencies[s]! + sign);
      if (found < 0 || sign * (here - there) > 0) found = s;
    }
    return found;
  };
  for (; sum < SLOTS; sum++) frequencies[best(1)]!++;
  for (; sum > SLOTS; sum--) frequencies[best(-1)]!--;
  return frequencies;
}

/** Lengths of 1 to 12 bits that make the shortest complete code, of two symbols or more. */
function packageMerge(counts: Uint32Array): Uint8Array {
  const symbols = Array.from(counts, (count, symbol) => ({ weight: Math.max(1, count), symbols: [symbol] }));
  symbols.sort((a, b) => a.weight - b.weight);
  let list: typeof symbols = [];
  for (let level = 0; level < BITS; level++) {
    const pairs: typeof symbols = [];
    for (let i = 0; i + 1 < list.length; i += 2) {
      const [a, b] = [list[i]!, list[i + 1]!];
      pairs.push({ weight: a.weight + b.weight, symbols: [...a.symbols, ...b.symbols] });
    }
    list = [...symbols, ...pairs].sort((a, b) => a.weight - b.weight); // stable: symbols before pairs
  }
  const lengths = new Uint8Array(counts.length);
  for (const item of list.slice(0, 2 * counts.length - 2)) for (const s of item.symbols) lengths[s]!++;
  return lengths;
}

/** Bits written to the end of a list, and taken from there. */
class Bits {
  constructor(private readonly bits: number[] = []) {}

  get left(): number {
    return this.bits.length;
  }
  put(value: number, count: number): void {
    for (let i = 0; i < count; i++) this.bits.push((value >>> i) & 1);
  }
  /** Undefined where there are fewer. */
  take(count: number): number | undefined {
    if (count > this.bits.length) return undefined;
    let value = 0;
    for (let i = 0; i < count; i++) value = 2 * value + this.bits.pop()!;
    return value;
  }
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(Math.ceil(this.bits.length / 8));
    for (const [i, bit] of this.bits.entries()) bytes[i >> 3]! |= bit << (i & 7);
    return bytes;
  }
  static fromBytes(bytes: Uint8Array): Bits {
    return new Bits(Array.from({ length: 8 * bytes.length }, (_, i) => (bytes[i >> 3]! >> (i & 7)) & 1));
  }
}

/** A symbol's code (ANS: where its states begin among all), and its length (ANS: its frequency). */
interface Entry {
  start: number;
  size: number;
}

export class EntropyTable {
  /** By symbol. */
  private readonly entries: Entry[] = [];
  /** Huffman: what 12 bits begin with. ANS: the symbol of a state, less 4,096. */
  private readonly symbolAt = new Uint8Array(SLOTS);
  /** ANS: the next state, by entry.start + x - entry.size for what is left of a state, x; and back to x. */
  private readonly states = new Uint16Array(SLOTS);
  private readonly remains = new Uint16Array(SLOTS);

  private constructor(
    readonly coder: EntropyCoder,
    /** Symbols are below it; 1-256. */
    readonly alphabet: number,
  ) {}

  /**
   * The serialized table for counts by symbol: u8 coder, u8 alphabet - 1, two zeros, then u16 frequencies or u8
   * lengths, padded to 4 bytes.
   * @throws RangeError for an alphabet that is not 1-256
   */
  static fit(coder: EntropyCoder, counts: Uint32Array): Uint8Array {
    const alphabet = counts.length;
    if (alphabet < 1 || alphabet > 256) {
      throw new RangeError(`counts has ${alphabet} symbols; expected 1-256: merge the rare ones`);
    }
    const out = new Uint8Array(HEADER + 4 * Math.ceil(bodyBytes(coder, alphabet) / 4));
    out.set([ENTROPY_CODERS.indexOf(coder), alphabet - 1]);
    if (alphabet === 1) return out;
    if (coder === "huffman") out.set(packageMerge(counts), HEADER);
    if (coder === "ans") {
      const view = new DataView(out.buffer);
      for (const [s, f] of normalize(counts).entries()) view.setUint16(HEADER + 2 * s, f, true);
    }
    return out;
  }

  /** Undefined where the bytes are no table; what lies behind it is ignored. */
  static read(bytes: Uint8Array): EntropyTable | undefined {
    const coder = ENTROPY_CODERS[bytes[0] ?? ENTROPY_CODERS.length];
    if (bytes.length < HEADER || coder === undefined || bytes[2] !== 0 || bytes[3] !== 0) return undefined;
    const table = new EntropyTable(coder, bytes[1]! + 1);
    const used = bodyBytes(coder, table.alphabet);
    const body = bytes.subarray(HEADER, HEADER + 4 * Math.ceil(used / 4));
    if (body.length < used || body.length % 4 !== 0) return undefined;
    if (body.subarray(table.alphabet === 1 ? 0 : used).some((b) => b !== 0)) return undefined;
    if (table.alphabet === 1) return table;
    const valid = coder === "ans" ? table.readAns(body) : coder === "huffman" ? table.readHuffman(body) : true;
    const width = bitWidth(table.alphabet - 1);
    if (coder === "none") for (let s = 0; s < table.alphabet; s++) table.entries.push({ start: s, size: width });
    return valid ? table : undefined;
  }

  private readAns(body: Uint8Array): boolean {
    const view = viewOf(body);
    let sum = 0;
    for (let s = 0; s < this.alphabet; s++) {
      const size = view.getUint16(2 * s, true);
      if (size === 0) return false;
      this.entries.push({ start: sum, size });
      sum += size;
    }
    if (sum !== SLOTS) return false;
    let at = 0;
    for (const [s, { size }] of this.entries.entries()) {
      for (let i = 0; i < size; i++, at = (at + STRIDE) % SLOTS) this.symbolAt[at] = s;
    }
    const next = this.entries.map(({ size }) => size);
    for (at = 0; at < SLOTS; at++) {
      const s = this.symbolAt[at]!;
      const { start, size } = this.entries[s]!;
      const x = next[s]!++;
      this.states[start + x - size] = SLOTS + at;
      this.remains[at] = x;
    }
    return true;
  }

  private readHuffman(lengths: Uint8Array): boolean {
    let at = 0;
    for (let length = 1; length <= BITS; length++) {
      for (let s = 0; s < this.alphabet; s++) {
        if (lengths[s] !== length) continue;
        this.entries[s] = { start: at >> (BITS - length), size: length };
        this.symbolAt.fill(s, at, at + (SLOTS >> length));
        at += SLOTS >> length;
      }
    }
    return at === SLOTS && lengths.subarray(0, this.alphabet).every((length) => length >= 1 && length <= BITS);
  }

  /** Bits that encoding takes: exact, but for ANS, where it is an estimate. */
  bits(symbols: Uint8Array): number {
    if (symbols.length === 0 || this.alphabet === 1) return 0;
    const sizeOf = (s: number) => this.entries[s]!.size;
    if (this.coder !== "ans") return symbols.reduce((sum, s) => sum + sizeOf(s), this.coder === "none" ? 0 : 1);
    const lanes = lanesFor(symbols.length);
    const cost = (s: number) => Math.round(65536 * (BITS - Math.log2(sizeOf(s))));
    const sum = symbols.subarray(0, symbols.length - lanes).reduce((all, s) => all + cost(s), 0);
    return Math.ceil(sum / 65536) + BITS * lanes + 1;
  }

  /**
   * As few bytes as symbols[0, n), each below the alphabet, take.
   * @throws RangeError for a symbol that is not below the alphabet
   */
  encode(symbols: Uint8Array): Uint8Array {
    const wrong = symbols.find((s) => s >= this.alphabet);
    if (wrong !== undefined) throw new RangeError(`symbols has ${wrong}; expected symbols below ${this.alphabet}`);
    const n = symbols.length;
    if (n === 0 || this.alphabet === 1) return new Uint8Array(0);
    const out = new Bits();
    if (this.coder === "ans") {
      const lanes = lanesFor(n);
      const x = new Uint16Array(lanes);
      for (let i = n - 1; i >= 0; i--) {
        const { start, size } = this.entries[symbols[i]!]!;
        const state = x[i % lanes]!;
        if (state === 0) {
          x[i % lanes] = this.states[start]!; // a lane's last symbol: its first state
          continue;
        }
        let count = 0;
        while (state >> count >= 2 * size) count++;
        out.put(state, count);
        x[i % lanes] = this.states[start + (state >> count) - size]!;
      }
      for (let lane = lanes - 1; lane >= 0; lane--) out.put(x[lane]! - SLOTS, BITS);
    } else {
      for (let i = n - 1; i >= 0; i--) {
        const { start, size } = this.entries[symbols[i]!]!;
        out.put(start, size);
      }
    }
    if (this.coder !== "none") out.put(1, 1);
    return out.toBytes();
  }

  /** n symbols from what encode() gave, zeros behind it or not; undefined where these bytes are not that. */
  decode(bytes: Uint8Array, n: number): Uint8Array | undefined {
    const symbols = new Uint8Array(n);
    const fixed = this.coder === "none" ? n * bitWidth(this.alphabet - 1) : 0;
    const input = Bits.fromBytes(bytes);
    if (n === 0 || this.alphabet === 1) return bytes.some((b) => b !== 0) ? undefined : symbols;
    if (this.coder === "none") {
      if (input.left < fixed) return undefined;
      while (input.left > fixed) if (input.take(1) !== 0) return undefined;
    } else {
      let marker = input.take(1);
      while (marker === 0) marker = input.take(1);
      if (marker === undefined) return undefined;
    }
    const whole = this.coder === "ans" ? this.decodeAns(input, symbols) : this.decodeCodes(input, symbols);
    return whole && input.left === 0 ? symbols : undefined;
  }

  private decodeAns(input: Bits, symbols: Uint8Array): boolean {
    const lanes = lanesFor(symbols.length);
    const x: number[] = [];
    for (let lane = 0; lane < lanes; lane++) {
      const state = input.take(BITS);
      if (state === undefined) return false;
      x.push(state);
    }
    for (let i = 0; i < symbols.length; i++) {
      const state = x[i % lanes]!;
      const s = this.symbolAt[state]!;
      symbols[i] = s;
      if (i + lanes >= symbols.length) {
        if (state + SLOTS !== this.states[this.entries[s]!.start]) return false;
        continue;
      }
      const count = BITS + 1 - bitWidth(this.remains[state]!);
      const low = input.take(count);
      if (low === undefined) return false;
      x[i % lanes] = (this.remains[state]! << count) + low - SLOTS;
    }
    return true;
  }

  private decodeCodes(input: Bits, symbols: Uint8Array): boolean {
    const width = bitWidth(this.alphabet - 1);
    for (let i = 0; i < symbols.length; i++) {
      if (this.coder === "none") {
        const s = input.take(width);
        if (s === undefined || s >= this.alphabet) return false;
        symbols[i] = s;
        continue;
      }
      let [code, length] = [0, 0];
      for (;;) {
        const bit = input.take(1);
        if (bit === undefined) return false;
        code = 2 * code + bit;
        length++;
        const s = this.symbolAt[code << (BITS - length)]!;
        if (this.entries[s]!.size !== length) continue;
        symbols[i] = s;
        break;
      }
    }
    return true;
  }
}
