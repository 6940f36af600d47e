/**
 * Damage to a closed store that holds everything a store can: single bits flipped, at every byte in the long run, and
 * whole blocks garbled, zeroed, swapped, misdirected or left as they were before the last checkpoint. Opening or the
 * check reports it, or it proves to be without meaning: every answer is then that of the undamaged store. What index.hebb
 * answers is never wrong, whether or not anybody ran the check.
 */
import { closeSync, cpSync, openSync, readdirSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { BLOCK_BYTES, PAGE_BYTES } from "../../native/index.js";
import { Catalog } from "../../src/catalog/catalog.js";
import { checkCatalog } from "../../src/catalog/check.js";
import { connect } from "../../src/catalog/schema.js";
import { ENCODER_SETTING, FROZEN_SETTING } from "../../src/engine/encoding.js";
import { openFrozen } from "../../src/index.js";
import { checkIndex, readChecksums } from "../../storage/check.js";
import type { StoredFile } from "../../storage/files.js";
import { decodeSlot, type Meta, SEGMENT_HEADER_BYTES, SLOT_BYTES, SLOTS } from "../../storage/format.js";
import { answersOf, changeEverything, makeEverything, openEverything } from "../support/everything.js";
import { figure } from "../support/figures.js";
import { errorOf, scratch } from "../support/rows.js";
import { long } from "../support/seed.js";
import { range } from "../support/tiers.js";

const SEED = Number(process.env.HEBB_SEED ?? Date.now() % 1e9);
const replay = `HEBB_SEED=${SEED}`;
const path = scratch();
/** What the tests damage and put right again. */
const store = path("store.hebb");
/** The same store before its last changes. */
const earlier = path("earlier.hebb");
const bundle = path("bundle");
let meta: Meta;
let truth: unknown;
/** The same with all vectors as they were put, which is what a store goes back to whose codebooks are damaged. */
let hotTruth: unknown;

const index = (directory = store) => join(directory, "index.hebb");
const catalog = join(store, "catalog.sqlite");

beforeAll(async () => {
  await makeEverything(earlier);
  cpSync(earlier, store, { recursive: true });
  await changeEverything(store);
  meta = metaIn(store);
  const whole = await openEverything(store);
  expect((await whole.check()).faults).toEqual([]);
  truth = await answersOf(whole);
  expect(await answersOf(whole)).toEqual(truth);
  cpSync(store, path("hot.hebb"), { recursive: true });
  const hot = await openEverything(path("hot.hebb"), false);
  await hot.retier({ force: "hot" });
  hotTruth = await answersOf(hot);
  await hot.close();
  await (await whole.freeze(bundle, { overlay: true })).close();
  await whole.close();
}, 120_000);

function metaIn(directory: string): Meta {
  const slot = decodeSlot(readFileSync(index(directory)).subarray(0, SLOT_BYTES));
  if (slot.state !== "valid") throw new Error(`the first meta slot is ${slot.state}`);
  return slot.meta;
}

/** Writes bytes over parts of a file while something runs, and puts back what was there. */
async function damaged<T>(file: string, parts: [at: number, bytes: Uint8Array][], run: () => Promise<T>): Promise<T> {
  const fd = openSync(file, "r+");
  const before = parts.map(([at, bytes]) => {
    const old = Buffer.alloc(bytes.length);
    readSync(fd, old, 0, old.length, at);
    return old;
  });
  try {
    for (const [at, bytes] of parts) writeSync(fd, bytes, 0, bytes.length, at);
    return await run();
  } finally {
    for (const [i, [at]] of parts.entries()) writeSync(fd, before[i], 0, before[i].length, at);
    closeSync(fd);
  }
}

const flipped = (content: Uint8Array, at: number, bit: number): [number, Uint8Array] => [
  at,
  Uint8Array.of(content[at] ^ (1 << bit)),
];

type Found = "open" | "check" | "nothing";

/** What is found out about a damaged store, and whether what it answers is right: an error with a code is. */
async function judged(): Promise<{ found: Found; wrong: boolean }> {
  const opened = await settled(() => openEverything(store));
  if (opened instanceof HebbError) return { found: "open", wrong: false };
  try {
    const answers = await settled(() => answersOf(opened));
    const faults = await settled(() => opened.check());
    const sections = faults instanceof HebbError ? [faults.code] : faults.faults.map(({ section }) => section);
    return { found: sections.length > 0 ? "check" : "nothing", wrong: !isRight(answers, sections) };
  } finally {
    await settled(() => opened.close());
  }
}

function isRight(answers: unknown, sections: readonly string[]): boolean {
  if (answers instanceof HebbError || isDeepStrictEqual(answers, truth)) return true;
  return sections.includes("codebooks") && isDeepStrictEqual(answers, hotTruth);
}

async function settled<T>(work: () => Promise<T>): Promise<T | HebbError> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HebbError) return error;
    throw error;
  }
}

/** The section of each block of index.hebb; nothing for block 0 and free ones. */
function owners(): ReadonlyMap<number, Meta["sections"][0]> {
  const of = new Map<number, Meta["sections"][0]>();
  for (const section of meta.sections) {
    for (const { fileBlock, blocks } of section.extents) for (const i of range(blocks)) of.set(fileBlock + i, section);
  }
  return of;
}

describe("a flipped bit", () => {
  test("in index.hebb, one at every byte: the check names its section, unless it is behind the last checksum", async () => {
    const content = Uint8Array.from(readFileSync(index()));
    const memory = { pread: async (length: number, at: number) => content.subarray(at, at + length) };
    const file = memory as unknown as StoredFile; // the check reads, and does nothing else
    const table = await readChecksums(file, meta);
    const ownerOf = owners();
    const prng = new Prng(SEED);
    let harmless = 0;
    const flip = async (at: number, sections: Meta["sections"]) => {
      const bit = 1 << prng.below(8);
      content[at] ^= bit;
      const found = (await checkIndex(file, { ...meta, sections }, table)).map(({ section }) => section);
      content[at] ^= bit;
      const owner = ownerOf.get(Math.floor(at / BLOCK_BYTES));
      const expected = at < 2 * SLOT_BYTES ? "meta" : owner?.name;
      const isPadding = owner?.kind === 0 && at % BLOCK_BYTES >= owner.length;
      if (isPadding) harmless++;
      if (isPadding ? found.length > 0 : found.length !== 1 || found[0] !== expected) {
        expect.fail(`${replay}: byte ${at} of section ${expected}: found ${JSON.stringify(found)}`);
      }
    };
    const sample = range(long ? 20_000 : 1000).map(() => prng.below(content.length));
    for (const at of sample) await flip(at, meta.sections);
    // The check looks at one section after the other: of those without the bit nothing can be found.
    const all = long ? range(content.length) : [];
    for (const at of all) {
      const owner = ownerOf.get(Math.floor(at / BLOCK_BYTES));
      await flip(at, owner === undefined ? [] : [owner]);
    }
    const places = sample.length + all.length;
    figure(5, "bits of index.hebb flipped, one at a byte: named by the check", places - harmless);
    figure(5, "bits of index.hebb flipped behind the last checksum: without meaning", harmless);
  });

  test("in index.hebb, and the store opened: found, and no answer is wrong", async () => {
    const content = readFileSync(index());
    const prng = new Prng(SEED);
    const counts = { open: 0, check: 0, nothing: 0 };
    const flips = long ? 3000 : 40;
    for (let n = 0; n < flips; n++) {
      // A half anywhere; the others where there is more than zeros, at the start of a block or slot.
      const start = n % 4 < 2 ? 0 : prng.below(content.length / SLOT_BYTES) * SLOT_BYTES;
      const at = n % 4 < 2 ? prng.below(content.length) : start + prng.below(n % 4 < 3 ? 256 : PAGE_BYTES);
      const { found, wrong } = await damaged(index(), [flipped(content, at, prng.below(8))], judged);
      expect([at, wrong], replay).toEqual([at, false]);
      if (found === "nothing") expect([at, owners().get(Math.floor(at / BLOCK_BYTES))?.kind], replay).toEqual([at, 0]);
      counts[found]++;
    }
    figure(5, "bits of index.hebb flipped before opening: found, and 0 wrong answers", flips);
  });

  test("in catalog.sqlite, at every byte: found by opening or by the check, or no answer is another", async () => {
    const content = readFileSync(catalog);
    const whole = await Catalog.open(catalog, { storeId: meta.storeId, readOnly: true });
    const tables = await catalogAnswers(whole);
    await whole.close();
    const prng = new Prng(SEED);
    const counts = { open: 0, check: 0, nothing: 0 };
    const places = long ? range(content.length) : range(150).map(() => prng.below(content.length));
    for (const at of places) {
      const bit = prng.below(8);
      const found = await damaged(catalog, [flipped(content, at, bit)], () => catalogJudged(at, tables));
      counts[found]++;
    }
    figure(5, "bits of catalog.sqlite flipped, one at a byte: found", counts.open + counts.check);
    figure(5, "bits of catalog.sqlite flipped: without meaning, every answer is the same", counts.nothing);
  });

  /** The catalog's part of opening, of the check and of answers; where nothing is found, at times all of the store. */
  async function catalogJudged(at: number, tables: unknown): Promise<Found> {
    const opened = await settled(() => Catalog.open(catalog, { storeId: meta.storeId, readOnly: true }));
    if (opened instanceof HebbError) return "open";
    try {
      if (catalogFaults() > 0) return "check";
      const answers = await catalogAnswers(opened);
      if (!isDeepStrictEqual(answers, tables)) expect([at, answers], replay).toEqual([at, tables]);
    } finally {
      await settled(() => opened.close());
    }
    if (at % 50 > 0) return "nothing";
    const { found, wrong } = await judged();
    expect([at, wrong], replay).toEqual([at, false]);
    return found;
  }

  /** As the check's thread counts them. */
  function catalogFaults(): number {
    const db = connect(catalog, "read", 0);
    try {
      return checkCatalog(db).length;
    } finally {
      db.close();
    }
  }

  async function catalogAnswers(of: Catalog): Promise<unknown> {
    const rows = [...of.entries()];
    return [
      ...[rows, rows.map(({ id }) => of.nodeOf(id, () => true)), [...of.feedback()]],
      ...["en", "de"].map((lang) => [...of.bitmap({ lang }).bits]),
      ...range(7).map((i) => of.fullText(`row ${i} words${i} text`, 40)),
      ...[of.setting(ENCODER_SETTING), of.setting(FROZEN_SETTING), of.lsn],
    ];
  }

  test("in the log, which a close has cut: found, or nothing is lost", async () => {
    const [name] = readdirSync(join(store, "wal"));
    const file = join(store, "wal", name);
    const content = readFileSync(file);
    expect(content.length).toBeGreaterThan(0);
    const places = range(content.length).filter((at) => long || at % 4 === SEED % 4);
    for (const at of places) {
      const { found, wrong } = await damaged(file, [flipped(content, at, at % 8)], judged);
      // Behind the header there is at most the mark that the store was closed, which nothing needs.
      expect([at, found, wrong], replay).toEqual([at, at < SEGMENT_HEADER_BYTES ? "open" : "nothing", false]);
    }
    figure(5, "bits of a closed store's log flipped: found or harmless", places.length);
  });

  test("in a frozen bundle: opening eagerly refuses it", async () => {
    const files = readdirSync(bundle).map((name) => join(bundle, name));
    const prng = new Prng(SEED);
    const flips = long ? 20_000 : 150;
    const codes = new Set<string>();
    for (let n = 0; n < flips; n++) {
      const file = files[prng.below(files.length)];
      const content = readFileSync(file);
      const at = prng.below(content.length);
      const error = await damaged(file, [flipped(content, at, prng.below(8))], () =>
        errorOf(async () => (await openFrozen(bundle, { verify: "eager" })).close()),
      );
      codes.add(error.code ?? `${replay}: ${file}, byte ${at}: ${error.message}`);
    }
    for (const code of codes)
      expect(["BUNDLE_CORRUPT", "WITNESS_MISMATCH", "NOT_A_BUNDLE", "BUNDLE_VERSION"]).toContain(code);
    figure(5, "bits of a frozen bundle flipped: refused", flips);
  });
});

describe("blocks of index.hebb", () => {
  let now: Buffer;
  let before: Buffer;
  /** Those that hold something, and have a checksum. */
  let blocks: number[];
  beforeAll(() => {
    now = readFileSync(index());
    before = readFileSync(index(earlier));
    const ownerOf = owners();
    blocks = range(now.length / BLOCK_BYTES).filter((block) => (ownerOf.get(block)?.kind ?? 0) !== 0);
  });
  const contentOf = (content: Buffer, block: number) =>
    content.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  const at = (block: number, bytes: Uint8Array): [number, Uint8Array] => [block * BLOCK_BYTES, bytes];

  /** Ways to damage them; nothing where the bytes would be those that are there. */
  const ways: { [way: string]: (prng: Prng) => [number, Uint8Array][] } = {
    garbled(prng) {
      const block = blocks[prng.below(blocks.length)];
      const bytes = Buffer.from(contentOf(now, block));
      const from = prng.below(BLOCK_BYTES / 512) * 512;
      const to = from + 512 * (1 + prng.below((BLOCK_BYTES - from) / 512));
      for (let i = from; i < to; i++) bytes[i] = prng.below(256);
      return [at(block, bytes)];
    },
    zeroed: (prng) => [at(blocks[prng.below(blocks.length)], new Uint8Array(BLOCK_BYTES))],
    swapped(prng) {
      const [a, b] = [blocks[prng.below(blocks.length)], blocks[prng.below(blocks.length)]];
      return [at(a, contentOf(now, b)), at(b, contentOf(now, a))];
    },
    misdirected(prng) {
      // Somewhere else, whatever that is, slots and checksums too; its own place keeps what was there before.
      const [a, b] = [blocks[prng.below(blocks.length)], prng.below(now.length / BLOCK_BYTES)];
      return [at(a, contentOf(before, a)), at(b, contentOf(now, a))];
    },
    lost(prng) {
      const block = prng.below(Math.min(now.length, before.length) / BLOCK_BYTES);
      return [at(block, contentOf(before, block))];
    },
    "lost in part"(prng) {
      const page = prng.below(Math.min(now.length, before.length) / PAGE_BYTES) * PAGE_BYTES;
      return [[page, before.subarray(page, page + PAGE_BYTES)]];
    },
  };

  test.each(Object.keys(ways))("%s: found, and no answer is wrong", async (way) => {
    const prng = new Prng(SEED);
    const times = long ? 1700 : 15;
    const ends = meta.sections[0].length;
    let done = 0;
    for (let tries = 0; done < times && tries < 20 * times; tries++) {
      const parts = ways[way](prng).filter(([from, bytes]) => !now.subarray(from, from + bytes.length).equals(bytes));
      const where = parts.map(([from]) => from);
      const owned = parts.some(([from, bytes]) => hasMeaning(from, bytes.length, ends));
      if (!owned) continue;
      const { found, wrong } = await damaged(index(), parts, judged);
      expect([where, found === "nothing", wrong], `${replay}, tries ${tries}`).toEqual([where, false, false]);
      done++;
    }
    expect(done).toBe(times);
    figure(6, `blocks of index.hebb ${way}: found, and 0 wrong answers`, done);
  });

  /** Whether any of these bytes counts: a slot, a block with a checksum, a checksum page. */
  function hasMeaning(from: number, length: number, checksumBytes: number): boolean {
    if (from < 2 * SLOT_BYTES) return true;
    const owner = owners().get(Math.floor(from / BLOCK_BYTES));
    if (owner?.kind !== 0) return owner !== undefined;
    return from % BLOCK_BYTES < checksumBytes && length > 0;
  }
});

test("both meta slots damaged, or of the checkpoint before: an error with a code, and nothing is overwritten", async () => {
  const old = readFileSync(index(earlier));
  const now = readFileSync(index());
  const files = () =>
    readdirSync(store, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !/^(LOCK|catalog.sqlite-...)$/.test(entry.name))
      .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name)).toString("base64")])
      .sort();
  const ruins: [string, (slot: number) => Uint8Array][] = [
    ["INDEX_CORRUPT", (slot) => flipped(now, slot + 40, 0)[1]],
    ["NOT_A_STORE", () => new Uint8Array(SLOT_BYTES)],
    ["_CORRUPT", (slot) => old.subarray(slot, slot + SLOT_BYTES)],
  ];
  for (const [code, bytes] of ruins) {
    const parts = SLOTS.map((slot): [number, Uint8Array] => [code === "INDEX_CORRUPT" ? slot + 40 : slot, bytes(slot)]);
    await damaged(index(), parts, async () => {
      const left = files();
      for (const readOnly of [true, false]) {
        expect(await errorOf(async () => (await openEverything(store, readOnly)).close())).toMatchObject({
          code: expect.stringContaining(code),
        });
        expect(files()).toEqual(left);
      }
    });
  }
});

afterAll(async () => {
  // The tests put everything right again.
  const whole = await openEverything(store);
  expect(await answersOf(whole)).toEqual(truth);
  await whole.close();
});
