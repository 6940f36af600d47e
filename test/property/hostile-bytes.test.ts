/**
 * Valid bytes of every format with some of them changed at random, checksums put right again: every parser gives a
 * typed error or what it can read, and nothing else. A store made of such bytes is opened and used.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { ByteReader } from "../../src/cli/byte-reader.js";
import { readFvecs, readNpy } from "../../src/cli/read-arrays.js";
import { readFeedback } from "../../src/cli/read-feedback.js";
import { readJsonlEntries } from "../../src/cli/read-jsonl.js";
import { readRbpx } from "../../src/engine/rbpx.js";
import * as records from "../../src/engine/records.js";
import { HashedTfidf } from "../../src/text/hashed-tfidf.js";
import {
  decodeJournalEntry,
  decodeJournalHeader,
  decodePart,
  decodeProgressHeader,
  decodeRecordHeader,
  decodeSlot,
  encodeJournalEntry,
  encodeJournalHeader,
  encodePart,
  encodeProgressHeader,
  encodeRecordHeader,
  encodeSlot,
  isSegmentHeader,
} from "../../storage/format.js";
import { parseManifest } from "../../storage/manifest.js";
import { decodeDelta, encodeDelta } from "../../training/delta-bytes.js";
import { ForgedIndex, ForgedLog, seal } from "../support/forged-store.js";
import { makeFullStores, useStore } from "../support/full-store.js";
import { runs } from "../support/seed.js";

const scratch = mkdtempSync(join(tmpdir(), "hebb-hostile-"));
afterAll(() => rmSync(scratch, { recursive: true }));

type Change = { at: number; how: number; value: number };
const ODD = [0, 1, 0x7f, 0xff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0x7fc00000, 0x7f800000, 0xff7fffff];
const change: fc.Arbitrary<Change> = fc.record({
  at: fc.oneof(fc.nat(200), fc.nat(1 << 20)),
  how: fc.nat(7),
  value: fc.oneof(fc.constantFrom(...ODD), fc.nat(0xffffffff)),
});
const changes = fc.array(change, { minLength: 1, maxLength: 4 });

/** A flipped bit, a byte, a number of 2, 4 or 8 bytes, a cut, a piece that is there twice, one that is not there. */
function mutate(given: Uint8Array, all: readonly Change[]): Buffer {
  let bytes = Buffer.from(given);
  for (const { at: place, how, value } of all) {
    if (bytes.length < 9) return bytes;
    const at = place % (bytes.length - 8);
    if (how === 0) bytes[at] ^= 1 << (value % 8);
    else if (how === 1) bytes[at] = value & 255;
    else if (how === 2) bytes.writeUInt16LE(value & 0xffff, at);
    else if (how === 3) bytes.writeUInt32LE(value, at);
    else if (how === 4) bytes.writeBigUInt64LE(BigInt(value) << BigInt(value % 33), at);
    else if (how === 5) bytes = bytes.subarray(0, at);
    else if (how === 6) bytes = Buffer.concat([bytes.subarray(0, at + 8), bytes.subarray(at)]);
    else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + (value % 8))]);
  }
  return bytes;
}

/** Parsers that are not asked by themselves, but within `fromLog`, throw plain errors. */
const onlyTyped = (parse: () => unknown): void => {
  try {
    parse();
  } catch (error) {
    expect(error).toBeInstanceOf(HebbError);
  }
};

const ID = new Uint8Array(16).fill(7);
const META = {
  storeId: ID,
  dimensions: 8,
  metric: "l2",
  generation: 3,
  lsn: 9,
  config: { m: 4 },
  sections: [
    { kind: 0, name: "checksums", stride: 4096, length: 4096, extents: [{ fileBlock: 1, blocks: 1 }] },
    { kind: 2, name: "state", stride: 1, length: 70_000, extents: [{ fileBlock: 2, blocks: 2 }] },
  ],
} as const;
const words = (...values: number[]) => Uint32Array.from(values);
const floats = (...values: number[]) => Float32Array.from(values);
const joined = (parts: Uint8Array[]) => Buffer.concat(parts);

/** Bytes that are sound, how their checksum is put right, and who reads them. */
const PARSERS: [name: string, sound: Uint8Array, seal: (bytes: Buffer) => void, parse: (bytes: Buffer) => unknown][] = [
  [
    "a meta slot",
    encodeSlot({ ...META, sections: META.sections.map((s) => ({ ...s, extents: [...s.extents] })) }),
    (b) => seal(b, 12),
    decodeSlot,
  ],
  [
    "a journal's header",
    encodeJournalHeader({ storeId: ID, generation: 3, entries: 2, bodyBytes: 9000 }),
    (b) => seal(b, 12),
    (b) => decodeJournalHeader(b, 20_000),
  ],
  [
    "a journal's entry",
    encodeJournalEntry(4096, 3, new Uint8Array(4096)),
    () => {},
    (b) => b.length >= 24 && decodeJournalEntry(b, 3),
  ],
  [
    "a record's header",
    encodeRecordHeader(ID, { lsn: 5, syncedLsn: 4, type: 1, continues: true, length: 7, payloadChecksum: 1, link: 2 }),
    (b) => seal(b, 4),
    (b) => b.length >= 56 && decodeRecordHeader(b, ID),
  ],
  ["a segment's header", Buffer.alloc(64, "HEBBWAL\n"), (b) => seal(b, 12), (b) => isSegmentHeader(b, ID, 1)],
  ["a progress header", encodeProgressHeader(new Uint8Array(32)), (b) => seal(b, 12), decodeProgressHeader],
  ["a progress part", encodePart(1, new Uint8Array(40)), () => {}, decodePart],
];

/** Payloads of the log: what is wrong with them is said by `fromLog`. */
const PAYLOADS: [name: string, sound: Uint8Array, decode: (bytes: Uint8Array) => unknown][] = [
  [
    "put",
    joined(
      records.encodePut({
        nodes: words(1, 2),
        replaces: words(0, records.NO_NODE),
        ids: [7, "name"],
        payloads: ['{"text":"a"}', undefined],
        vectors: floats(1, 2, 3, 4),
      }),
    ),
    records.decodePut,
  ],
  ["remove", joined(records.encodeRemove(words(1, 2, 3))), records.decodeRemove],
  ["payload", joined(records.encodePayload(3, '{"n":1}')), records.decodePayload],
  [
    "feedback",
    joined(
      records.encodeFeedback({
        query: floats(1, 2),
        chosen: [{ id: 7, grade: 1 }],
        shown: [7, "x"],
        rejected: ["x"],
        time: 5,
        source: "someone",
        examples: [8],
        weights: [1],
      }),
    ),
    records.decodeFeedback,
  ],
  ["gradients", joined(records.encodeGradients({ nodes: words(1), gradients: floats(1, 2) })), records.decodeGradients],
  [
    "stepped",
    joined(records.encodeStepped({ nodes: words(1), steps: words(4), moments: floats(1, 2) })),
    records.decodeStepped,
  ],
  ["setting", joined(records.encodeSetting("encoder", new Uint8Array(9))), records.decodeSetting],
  [
    "learned",
    encodeDelta({
      parameters: [{ at: 8, bytes: new Uint8Array(16) }],
      overlay: [
        { node: 3, shift: floats(1, 2), choices: 2 },
        { node: 4, shift: null, choices: 0 },
      ],
      edges: [],
      network: [{ at: 0, bytes: new Uint8Array(40) }],
      biases: [{ node: 5, to: words(6, 7), values: floats(0.5, -0.5) }],
    }),
    decodeDelta,
  ],
];

describe("parsers", () => {
  test.each(PARSERS)("%s", (_, sound, reseal, parse) => {
    parse(Buffer.from(sound));
    fc.assert(
      fc.property(changes, fc.boolean(), (all, sealed) => {
        const bytes = mutate(sound, all);
        if (sealed && bytes.length >= 16) reseal(bytes);
        onlyTyped(() => parse(bytes));
      }),
      runs(300),
    );
  });

  test.each(PAYLOADS)("log record %s", (_, sound, decode) => {
    records.fromLog(1, () => decode(sound));
    fc.assert(
      fc.property(changes, (all) => onlyTyped(() => records.fromLog(1, () => decode(mutate(sound, all))))),
      runs(300),
    );
  });

  test("a manifest, and JSON of any kind", () => {
    const text = JSON.stringify({
      format: "hebb-frozen",
      version: 1,
      witness: "0".repeat(64),
      seal: "0".repeat(64),
      parameters: { a: [1, { b: 2 }] },
      generation: 3,
      lineage: "x",
      sections: [{ name: "checksums", file: "checksums.bin", bytes: 8, digest: "0".repeat(64) }],
    });
    fc.assert(
      fc.property(changes, (all) => onlyTyped(() => parseManifest(mutate(Buffer.from(text), all), "somewhere"))),
      runs(300),
    );
    for (const field of ["format", "witness", "generation", "sections"]) {
      // JSON.parse has no limit of depth, and much that one would do with the result has.
      const deep = `{"format":"hebb-frozen","version":1,"${field}":${"[".repeat(16_000)}${"]".repeat(16_000)}}`;
      expect(() => parseManifest(deep, "somewhere")).toThrow(HebbError);
    }
  });

  test("the text encoder's state", async () => {
    const fitted = new HashedTfidf(4, 1);
    await fitted.fit(["red apples", "green apples", "red plums"]);
    fc.assert(
      fc.property(changes, (all) => {
        onlyTyped(() => {
          const [vector] = new HashedTfidf(4, 1, mutate(fitted.state(), all)).encode(["red apples"]);
          expect(vector).toHaveLength(4);
        });
      }),
      runs(300),
    );
  });
});

describe("files that are read", () => {
  const path = (name: string) => join(scratch, name);
  const drain = async (entries: AsyncIterable<unknown>) => {
    for await (const _ of entries);
  };
  const header = (text: string) =>
    Buffer.concat([Buffer.from("\x93NUMPY\x01\0", "latin1"), Buffer.from([118, 0]), Buffer.from(text.padEnd(118))]);
  const rbpx = Buffer.concat([
    Buffer.from("rbpx0001"),
    Buffer.from(words(1, 2, 0, 0, 4, 2).buffer),
    Buffer.alloc(2 * 12, 1),
  ]);
  const KINDS: [string, Buffer, (file: string) => Promise<unknown>][] = [
    [
      "a.npy",
      Buffer.concat([header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"), Buffer.alloc(24)]),
      async (file) => drain((await readNpy(await ByteReader.open(file))).entries),
    ],
    [
      "a.fvecs",
      Buffer.concat([0, 1].map(() => Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.alloc(8, 1)]))),
      async (file) => drain((await readFvecs(await ByteReader.open(file))).entries),
    ],
    [
      "a.jsonl",
      Buffer.from('{"id":1,"vector":[1,2]}\n{"id":"x","text":"words","payload":{"n":[1]}}\n'),
      async (file) => drain(readJsonlEntries(await ByteReader.open(file))),
    ],
    [
      "f.jsonl",
      Buffer.from('{"query":"words","chosen":[1],"shown":[1,2],"time":3}\n'),
      async (file) => drain(readFeedback(await ByteReader.open(file))),
    ],
    ["a.rbpx", rbpx, readRbpx],
  ];
  test.each(KINDS)("%s", async (name, sound, read) => {
    writeFileSync(path(name), sound);
    await read(path(name));
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        writeFileSync(path(name), mutate(sound, all));
        await read(path(name)).catch((error: unknown) => expect(error).toBeInstanceOf(HebbError));
      }),
      runs(100),
    );
  });

  test("a line of JSON that is nested without end, and one that never ends", async () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    for (const line of [deep, `{"id":${deep},"vector":[1]}`, `{"id":1,"vector":${deep}}`]) {
      writeFileSync(path("deep.jsonl"), line);
      const read = drain(readJsonlEntries(await ByteReader.open(path("deep.jsonl"))));
      await expect(read).rejects.toMatchObject({ code: "FILE_UNSUPPORTED" });
    }
    writeFileSync(path("long.jsonl"), Buffer.alloc(66 << 20, " "));
    const read = drain(readJsonlEntries(await ByteReader.open(path("long.jsonl"))));
    await expect(read).rejects.toThrow(/line 1: longer than 67108864 characters/);
  });
});

describe("a store", () => {
  let stores: { full: string; young: string };
  beforeAll(async () => {
    stores = await makeFullStores(scratch);
  });
  const victim = join(scratch, "victim");
  const take = (from: string) => {
    rmSync(victim, { recursive: true, force: true });
    cpSync(from, victim, { recursive: true });
  };

  test("whose sections hold anything", async () => {
    const kinds = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    const edit = fc.record({ kind: fc.constantFrom(...kinds), change });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 5 }), fc.boolean(), async (edits, thorough) => {
        take(stores.full);
        const index = new ForgedIndex(victim);
        for (const { kind, change: one } of edits) {
          const length = index.lengthOf(kind);
          if (length < 16) continue;
          const at = one.at % (length - 8);
          // In place: a section's length is the meta's.
          const piece = mutate(index.read(kind, at, 17), [{ ...one, at: 0, how: one.how % 5 }]);
          // A row that seems to be written is waited for, for seconds.
          const { stride } = index.meta.sections.find((section) => section.kind === kind)!;
          for (let i = 0; kind === 4 && i < 8; i++) if ((at + i) % stride === 12) piece[i] &= 0xfe;
          index.write(kind, at, piece.subarray(0, 8));
        }
        index.save();
        await useStore(victim, thorough);
      }),
      runs(20),
    );
  });

  test("whose meta slots say anything", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        take(stores.full);
        const near = all.map((one) => ({ ...one, how: one.how % 5, at: one.at % 1600 }));
        new ForgedIndex(victim).forgeSlots((slot) => slot.set(mutate(slot, near))).save();
        await useStore(victim, false);
      }),
      runs(15),
    );
  });

  test("whose log says anything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), changes, fc.boolean(), async (number, all, young) => {
        take(young ? stores.young : stores.full);
        const log = new ForgedLog(victim);
        const record = log.records[number % log.records.length];
        ForgedLog.setPayload(record, mutate(record.payload, all));
        log.save();
        await useStore(victim, number % 4 === 0);
      }),
      runs(20),
    );
  });
});
