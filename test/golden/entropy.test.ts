/**
 * Entropy coding: the reference and the kernel write the same bytes, which stores hold. Both make their tables and
 * symbols from one sequence and compare checksums: test/kernel/entropy-test.cpp has the other half.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ENTROPY_CODERS, EntropyTable } from "../../model/entropy.js";
import { runs } from "../support/seed.js";

const CHECKSUMS = { none: 3811318023, huffman: 249035473, ans: 3257790539 };

describe.each(ENTROPY_CODERS)("coder %s", (coder) => {
  test("the kernel's bytes", () => {
    let state = 1;
    let hash = 2166136261;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 16;
    };
    const add = (byte: number) => {
      hash = Math.imul(hash ^ (byte & 255), 16777619) >>> 0;
    };
    for (let round = 0; round < 40; round++) {
      const alphabet = 1 + (next() % 256);
      const counts = new Uint32Array(alphabet).map(() => {
        const high = next();
        return high >>> (next() % 16);
      });
      const serialized = EntropyTable.fit(coder, counts);
      const table = EntropyTable.read(serialized)!;
      const symbols = new Uint8Array(next() % 1200).map(() =>
        Math.min(next() % alphabet, next() % alphabet, next() % alphabet),
      );
      const bytes = table.encode(symbols);
      expect(table.decode(bytes, symbols.length)).toEqual(symbols);
      const bits = table.bits(symbols);
      for (const byte of [...serialized, ...bytes, bits, bits >> 8]) add(byte);
    }
    expect(hash).toBe(CHECKSUMS[coder]);
  });

  test("what is encoded comes back; other bytes are refused, or are what would be encoded", () => {
    const counts = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 ** 32 - 1 })), {
      minLength: 1,
      maxLength: 256,
    });
    const flip = fc.tuple(fc.nat(), fc.nat(7));
    fc.assert(
      fc.property(counts, fc.array(fc.nat(255), { maxLength: 600 }), fc.array(flip), (numbers, raw, flips) => {
        const table = EntropyTable.read(EntropyTable.fit(coder, Uint32Array.from(numbers)))!;
        const symbols = Uint8Array.from(raw, (s) => s % table.alphabet);
        const bytes = table.encode(symbols);
        const record = new Uint8Array(bytes.length + 3);
        record.set(bytes);
        expect(table.decode(bytes, symbols.length)).toEqual(symbols);
        expect(table.decode(record, symbols.length)).toEqual(symbols);
        for (const [at, bit] of flips) record[at % record.length]! ^= 1 << bit;
        const other = table.decode(record, symbols.length);
        if (other === undefined) return;
        const again = new Uint8Array(record.length);
        again.set(table.encode(other));
        expect(again).toEqual(record);
      }),
      runs(60),
    );
  });
});

test("bytes that are no table are refused", () => {
  const noTables = [
    [],
    [2, 1, 0, 0],
    [3, 1, 0, 0],
    [0, 1, 1, 0],
    [2, 1, 0, 0, 0, 16, 0, 0],
    [2, 1, 0, 0, 0, 8, 1, 8],
    [2, 0, 0, 0, 0, 16, 0, 0],
    [1, 1, 0, 0, 1, 2, 0, 0],
    [1, 2, 0, 0, 1, 1, 1, 0],
    [1, 1, 0, 0, 1, 1, 1, 0],
  ];
  for (const bytes of noTables) expect(EntropyTable.read(Uint8Array.from(bytes))).toBeUndefined();
});
