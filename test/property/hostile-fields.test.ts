/**
 * Every length, count, id and offset of every format, one by one as docs/format.md lists them, set to 2^31, 2^32, 2^53
 * and 2^64 - 1 under checksums that are put right again. The store is refused, or does without what it cannot
 * believe; no room is made for what a number says, and nothing but a typed error comes of it.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crc32c } from "../../native/index.js";
import { decodePart, encodePart } from "../../storage/format.js";
import { ForgedIndex, ForgedLog, type ForgedRecord, seal, writeField } from "../support/forged-store.js";
import { makeFullStores, useStore } from "../support/full-store.js";
import { long } from "../support/seed.js";

const scratch = mkdtempSync(join(tmpdir(), "hebb-fields-"));
const victim = join(scratch, "victim");
let stores: { full: string; young: string };
beforeAll(async () => {
  stores = await makeFullStores(scratch);
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** What a field is set to: all of these that fit it. */
function hostile(size: number): bigint[] {
  if (size <= 2) return [2n ** BigInt(8 * size) - 1n, 2n ** BigInt(8 * size - 1)];
  const small = [2n ** 31n, 2n ** 32n - 1n];
  return size === 4 ? small : [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n];
}

/** MiB by which this process grew at most, ever: what is asked for and never touched costs nothing. */
const MOST_GROWTH = 300;
const mebibytes = (): number => process.resourceUsage().maxRSS / 1024;

/** Damages a copy of a store and uses it. `expected`: what opening it is refused with; or it may do as it can. */
async function attempt(from: string, damage: () => void, expected: string | undefined, what: string): Promise<void> {
  rmSync(victim, { recursive: true, force: true });
  cpSync(from, victim, { recursive: true });
  damage();
  const before = mebibytes();
  let refused: string[];
  try {
    refused = await useStore(victim, long); // the rest takes most of the time
  } catch (cause) {
    throw new Error(`${what}: ${(cause as Error).stack}`, { cause });
  }
  if (expected !== undefined) expect([what, refused[0]]).toEqual([what, expected]);
  expect(mebibytes() - before, what).toBeLessThan(MOST_GROWTH);
}

/** A field: what docs/format.md calls it, its place and size, and what opening is refused with. */
type Field = [name: string, at: number, size: number, expected?: string];

describe("meta slots", () => {
  const TABLE = 128; // the first section's row; its extents are behind it
  test.each<Field>([
    ["dimensions", 32, 4, "INDEX_CORRUPT"],
    ["metric", 36, 4, "INDEX_CORRUPT"],
    ["LSN", 48, 8], // the log ends before it, or it is no number
    ["number of sections", 56, 4, "INDEX_CORRUPT"],
    ["bytes of config", 60, 4, "INDEX_CORRUPT"],
    ["length of a section", TABLE + 8, 8, "INDEX_CORRUPT"],
    ["number of extents", TABLE + 16, 4, "INDEX_CORRUPT"],
    ["first block of an extent", TABLE + 48, 4, "INDEX_CORRUPT"],
    ["blocks of an extent", TABLE + 52, 4, "INDEX_CORRUPT"],
    ["kind of a section", TABLE, 4, "INDEX_CORRUPT"], // the first is that of the checksums
  ])("%s", async (name, at, size, expected) => {
    for (const value of hostile(size)) {
      const damage = () => new ForgedIndex(victim).forgeSlots((slot) => writeField(slot, at, size, value)).save();
      await attempt(stores.full, damage, expected, `${name} ${value}`);
    }
  });

  test("generation", async () => {
    for (const value of [2n ** 53n, 2n ** 64n - 1n]) {
      const damage = () => new ForgedIndex(victim).forgeSlots((slot) => writeField(slot, 40, 8, value)).save();
      await attempt(stores.full, damage, "INDEX_CORRUPT", `generation ${value}`);
    }
  });

  test.each(["hnsw_m", "hnsw_ml", "learning_rank", "graph_profile", "keep_originals"])("config: %s", async (key) => {
    for (const value of [2 ** 31, 2 ** 53, -1, "x", [], 0.5]) {
      if (key === "hnsw_ml" && value === 0.5) continue; // that is one
      const damage = () => {
        const forged = new ForgedIndex(victim);
        forged.forgeMeta((meta) => ({ ...meta, config: { ...(meta.config as object), [key]: value } })).save();
      };
      await attempt(stores.full, damage, "INDEX_CORRUPT", `${key} ${JSON.stringify(value)}`);
    }
  });
});

/** Sections by kind, and fields with `refused`: what opening says. The others are met by whoever reads the record. */
const CORRUPT = "INDEX_CORRUPT";
const SECTION_FIELDS: [section: string, kind: number, fields: Field[]][] = [
  [
    "head",
    1,
    [
      ["version", 4, 4, CORRUPT],
      ["dimensions", 8, 4, CORRUPT],
      ["metric", 12, 4, CORRUPT],
      ["m", 16, 4, CORRUPT],
      ["nodes", 20, 4, CORRUPT],
      ["live nodes", 24, 4, CORRUPT],
      ["dead nodes", 28, 4, CORRUPT],
      ["entry", 32, 4],
      ["the entry's level", 36, 4, CORRUPT],
      ["entries used of section upper", 56, 4, CORRUPT],
      ["path of searches", 60, 4, CORRUPT],
      ["profile", 64, 4, CORRUPT],
    ],
  ],
  ["state", 2, [["bits of node 7", 7, 1]]],
  [
    "rows",
    4,
    [
      ["in-degree", 0, 4],
      ["first entry in upper", 4, 4],
      ["degree", 8, 2],
      ["level", 10, 1],
      ["neighbour 0", 16, 4],
      ["neighbour 1", 20, 4],
    ],
  ],
  [
    "upper",
    5,
    [
      ["edges on this layer", 20, 4],
      ["node that one leads to", 24, 4],
    ],
  ],
  [
    "ids",
    6,
    [
      ["kind", 7 * 48, 1],
      ["bytes of UTF-8", 7 * 48 + 1, 1],
    ],
  ],
  [
    "overlay",
    7,
    [
      ["slots ever used", 0, 4, CORRUPT],
      ["in use", 64, 4],
      ["node", 68, 4, CORRUPT],
      ["how often it was chosen", 72, 4],
    ],
  ],
  [
    "edges",
    16,
    [
      ["slots ever used", 0, 4, CORRUPT],
      ["node", 1604, 4, CORRUPT],
      ["edges that leave it", 1608, 4],
      ["born", 1612, 4],
      ["tick of the counts", 1616, 4],
      ["node that an edge leads to", 1632, 4],
      ["tick of an edge", 1640, 4],
    ],
  ],
  [
    "gradients",
    17,
    [
      ["slots ever used", 0, 4, CORRUPT],
      ["kind", 32, 4],
      ["node", 36, 4, CORRUPT],
      ["steps", 40, 4],
      ["gradients that wait", 44, 4],
      ["LSN (f64)", 48, 8],
    ],
  ],
  [
    "places",
    10,
    [
      ["slot", 16 * 7, 4],
      ["tier", 16 * 7 + 4, 1],
      ["codebook", 16 * 7 + 5, 1],
      ["exponent", 16 * 7 + 6, 2],
    ],
  ],
  [
    "codebooks",
    15,
    [
      ["version", 4, 4, CORRUPT],
      ["codebook to encode with", 12, 4, CORRUPT],
      ["live nodes of tier warm", 20, 4, CORRUPT],
      ["live nodes of tier archive", 32, 4, CORRUPT],
      ["highest slot of tier warm", 40, 4, CORRUPT],
      ["highest slot of tier archive", 52, 4, CORRUPT],
      ["live nodes by codebook", 56, 4, CORRUPT],
      ["when it was trained", 76, 4], // by one that never was: then it cannot be read, and vectors are hot again
    ],
  ],
];

describe.each(SECTION_FIELDS)("section %s", (_, kind, fields) => {
  test.each<Field>(fields)("%s", async (name, at, size, expected) => {
    for (const value of hostile(size)) {
      const damage = () => new ForgedIndex(victim).writeField(kind, at, size, value).save();
      await attempt(stores.full, damage, expected, `${name} ${value}`);
    }
  });
});

describe("section parameters, as f64", () => {
  test.each<[name: string, field: number, expected?: string]>([
    ["events learned from", 0],
    ["the clock of learned edges", 13, CORRUPT],
    ["the arm that serves", 792, CORRUPT],
    ["points of the learning curve", 857, CORRUPT],
    ["measurements that fill a point", 858],
  ])("%s", async (name, field, expected) => {
    for (const value of [2 ** 32, 2 ** 53, 2 ** 64, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      await attempt(
        stores.full,
        () => new ForgedIndex(victim).write(8, 8 * field, bytes).save(),
        expected,
        `${name} ${value}`,
      );
    }
  });
});

describe("a codebook, its checksum put right", () => {
  const BOOK = 65_536;
  test.each<[name: string, at: number, ofPart: boolean]>([
    ["bytes of all of it", 12, false],
    ["dimensions", 20, false],
    ["where tier cool's part begins", 48, false],
    ["where tier archive's part begins", 56, false],
    ["codec of a part", 0, true],
    ["bytes of a part", 4, true],
    ["factors", 8, true],
    ["count", 28, true],
    ["parts", 32, true],
  ])("%s", async (name, at, ofPart) => {
    for (const value of hostile(4)) {
      const damage = () => {
        const forged = new ForgedIndex(victim);
        const book = forged.read(15, BOOK, 32_768);
        const bytes = book.readUInt32LE(12);
        writeField(book, ofPart ? book.readUInt32LE(48) + at : at, 4, value);
        book.writeUInt32LE(crc32c(book.subarray(20, bytes)), 16);
        forged.write(15, BOOK, book.subarray(0, bytes)).save();
      };
      await attempt(stores.full, damage, undefined, `${name} ${value}`);
    }
  });
});

describe("log", () => {
  test.each<Field>([
    ["bytes of payload", 12, 4],
    ["LSN", 16, 8],
    ["synced LSN", 24, 8],
  ])("a record's %s", async (name, at, size) => {
    for (const value of hostile(size)) {
      const damage = () => {
        const log = new ForgedLog(victim);
        writeField(log.records.at(-2)!.header, at, size, value);
        log.save();
      };
      await attempt(stores.full, damage, undefined, `${name} ${value}`);
    }
  });

  test("a segment's first LSN", async () => {
    for (const value of hostile(8)) {
      const damage = () => {
        const log = new ForgedLog(victim);
        writeField(log.header, 32, 8, value);
        log.save();
      };
      await attempt(stores.full, damage, "WAL_CORRUPT", `first LSN ${value}`);
    }
  });
});

/** Fields of payloads: where they are in the first record of the type. */
const PAYLOAD_FIELDS: [record: string, type: number, fields: [name: string, at: (payload: Buffer) => number][]][] = [
  [
    "put",
    1,
    [
      ["count of nodes", () => 0],
      ["a node", () => 4],
      ["count of nodes to replace", (p) => 4 + 4 * p.readUInt32LE(0)],
      ["a node to replace", (p) => 8 + 4 * p.readUInt32LE(0)],
      ["bytes of ids", (p) => 8 + 8 * p.readUInt32LE(0)],
    ],
  ],
  [
    "remove",
    2,
    [
      ["count of nodes", () => 0],
      ["a node", () => 4],
    ],
  ],
  [
    "payload",
    3,
    [
      ["node", () => 0],
      ["bytes of JSON", () => 4],
    ],
  ],
  [
    "feedback",
    4,
    [
      ["values of the query", () => 0],
      ["bytes of JSON", (p) => 4 + 4 * p.readUInt32LE(0)],
    ],
  ],
  [
    "learned",
    5,
    [
      ["pieces", () => 0],
      ["shifts", () => 4],
      ["nodes with edges", () => 8],
      ["pieces of the network", () => 12],
      ["rows with biases", () => 16],
      ["offset of a piece, or a node", () => 20],
      ["bytes of a piece, or a count", () => 24],
    ],
  ],
  [
    "gradients",
    7,
    [
      ["count of nodes", () => 0],
      ["a node", () => 4],
      ["count of values", (p) => 4 + 4 * p.readUInt32LE(0)],
    ],
  ],
  [
    "stepped",
    8,
    [
      ["count of nodes", () => 0],
      ["a node", () => 4],
      ["count of steps", (p) => 4 + 4 * p.readUInt32LE(0)],
      ["count of values", (p) => 8 + 8 * p.readUInt32LE(0)],
    ],
  ],
];

describe.each(PAYLOAD_FIELDS)("log record %s", (_, type, fields) => {
  test.each(fields)("%s", async (name, at) => {
    for (const [i, from] of [stores.full, stores.young].entries()) {
      for (const [j, value] of hostile(4).entries()) {
        if (!long && i !== j % 2) continue; // each value in one of them
        const forge = ({ payload }: ForgedRecord) => writeField(payload, at(payload), 4, value);
        const damage = () => {
          const log = new ForgedLog(victim);
          forge(log.ofType(type));
          log.save();
        };
        const isNone = type === 1 && name === "a node to replace" && value === 2n ** 32n - 1n;
        await attempt(from, damage, isNone ? undefined : "WAL_CORRUPT", `${name} ${value}`);
      }
    }
  });
});

test("journal: generation, bytes of all entries, number of entries; an entry's offset, generation and bytes", async () => {
  const header = (at: number, value: bigint) => {
    const bytes = Buffer.alloc(4096 + 24 + 32_768);
    bytes.write("HEBBJNL\n", 0, "latin1");
    bytes.writeUInt32LE(1, 8);
    bytes.set(new ForgedIndex(victim).meta.storeId, 16);
    for (const [place, number] of [
      [32, BigInt(new ForgedIndex(victim).meta.generation)],
      [40, 24n + 32_768n],
      [48, 1n],
    ] as const) {
      writeField(bytes, place, 8, number);
    }
    bytes.writeUInt32LE(32_768, 4096 + 16);
    writeField(bytes, at, at === 4096 + 16 ? 4 : 8, value);
    const head = bytes.subarray(0, 64);
    seal(head, 12);
    writeFileSync(join(victim, "index.hebb-journal"), bytes);
  };
  for (const at of [32, 40, 48, 4096, 4096 + 8, 4096 + 16]) {
    for (const value of hostile(at === 4096 + 16 ? 4 : 8)) {
      // A journal that is not whole counts as none.
      await attempt(stores.full, () => header(at, value), undefined, `byte ${at}: ${value}`);
    }
  }
});

test("train.progress: a part longer than the file counts as none", () => {
  for (const value of hostile(4)) {
    const head = Buffer.from(encodePart(1, new Uint8Array(3)));
    writeField(head, 4, 4, value);
    head.writeUInt32LE(crc32c(head.subarray(0, 12)), 12);
    expect(decodePart(head)?.length).toBe(Number(value)); // whoever reads it holds it against the file's size first
  }
});
