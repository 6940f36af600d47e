/** index.hebb and its journal: damage of every kind ends in the right data or a typed error, never in wrong data. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HebbError } from "../../base/errors.js";
import { Prng } from "../../base/prng.js";
import { crc32c } from "../../native/index.js";
import { diskFiles } from "../../storage/files.js";
import { decodeSlot, encodeSlot, type Meta, SLOT_BYTES } from "../../storage/format.js";
import { Killed, Simulator } from "../../storage/simulator.js";
import { Store } from "../../storage/store.js";
import { long, runs } from "../support/seed.js";
import { DIRECTORY, IDENTITY, live, Model, PLACES, randomGroup, SECTIONS, Subject } from "../support/store-model.js";

const INDEX = `${DIRECTORY}/index.hebb`;
const JOURNAL = `${DIRECTORY}/index.hebb-journal`;
type Image = Map<string, Uint8Array>;

/** A closed store with several extents, and its model. */
async function closedStore(seed: number): Promise<{ image: Image; model: Model }> {
  const simulator = new Simulator(seed);
  const model = new Model();
  const subject = await live(simulator.files(), DIRECTORY, model, new Prng(seed), 60);
  const open = subject ?? (await Subject.open(simulator.files(), DIRECTORY, model));
  await open.put(
    [0, 2].map((section) => ({ section: section as 0 | 2, place: PLACES - 1, value: 1 })),
    true,
  );
  await open.checkpoint();
  await open.close();
  return { image: simulator.image(), model };
}

function zeroed(bytes: Uint8Array, from: number, to: number): undefined {
  bytes.fill(0, from, to);
}

const flipped =
  (...places: number[]) =>
  (bytes: Uint8Array): undefined => {
    for (const at of places) bytes[at] ^= 1;
  };

/** Paths whose bytes differ. */
function differences(a: Image, b: Image): string[] {
  const paths = [...new Set([...a.keys(), ...b.keys()])];
  return paths.filter((path) => !Buffer.from(a.get(path) ?? []).equals(b.get(path) ?? Buffer.from("missing")));
}

function damaged(image: Image, path: string, change: (bytes: Uint8Array) => Uint8Array | undefined): Image {
  const bytes = image.get(path)!.slice();
  return new Map(image).set(path, change(bytes) ?? bytes);
}

/** Opens and compares everything. @returns the code of a typed error, or undefined where all is right */
async function outcome(image: Image, model: Model): Promise<string | undefined> {
  try {
    const subject = await Subject.open(Simulator.from(image, 1).files(), DIRECTORY, model);
    await subject.store.close();
    return undefined;
  } catch (error) {
    const { code } = error as HebbError;
    if (code === undefined) throw error;
    return code;
  }
}

async function faultsOf(image: Image): Promise<string[]> {
  const store = await Store.open(DIRECTORY, {
    files: Simulator.from(image, 1).files(),
    sections: SECTIONS,
    readOnly: true,
  });
  const faults = await store.check();
  await store.close();
  return faults.map(({ section }) => section);
}

test("a flipped bit anywhere in the closed file: reported, and never in an answer", async () => {
  const { image, model } = await closedStore(1);
  const size = image.get(INDEX)!.length;
  const prng = new Prng(1);
  const { sections } = metaOf(image);
  // The only bytes without meaning: behind the last checksum page, and in free blocks.
  const meaning = sections.flatMap(({ kind, length, extents }) =>
    extents.map(({ fileBlock, blocks }) => ({
      from: fileBlock * 65536,
      to: fileBlock * 65536 + (kind === 0 ? length : blocks * 65536),
    })),
  );
  const padding = (at: number) => at >= 2 * SLOT_BYTES && !meaning.some(({ from, to }) => at >= from && at < to);
  const interesting = [...Array(400).keys(), ...Array.from({ length: 40 }, () => SLOT_BYTES + prng.below(400))];
  for (const at of [...interesting, ...Array.from({ length: long ? 6000 : 100 }, () => prng.below(size))]) {
    const one = damaged(image, INDEX, (bytes) => {
      bytes[at] ^= 1 << prng.below(8);
      return undefined;
    });
    const code = await outcome(one, model);
    expect([at, code === undefined || code === "INDEX_CORRUPT"]).toEqual([at, true]);
    // One slot is enough to go on with, so that damage in the other only shows in `check`.
    if (at < 2 * SLOT_BYTES) expect([at, code]).toEqual([at, undefined]);
    if (code === undefined) expect([at, (await faultsOf(one)).length]).toEqual([at, padding(at) ? 0 : 1]);
  }
});

test("check names section and offset of a damaged block; memory stays right", async () => {
  const { image } = await closedStore(2);
  const meta = metaOf(image);
  for (const section of meta.sections) {
    for (const { fileBlock } of section.extents) {
      const at = fileBlock * 65536 + (section.kind === 0 ? 5 : 60_000);
      const one = damaged(image, INDEX, (bytes) => {
        bytes[at] ^= 16;
        return undefined;
      });
      if (section.kind === 0) {
        await expect(faultsOf(one)).rejects.toMatchObject({ code: "INDEX_CORRUPT", details: { section: "checksums" } });
      } else {
        expect(await faultsOf(one)).toEqual([section.name]);
      }
    }
  }
});

test("blocks zeroed, swapped or misplaced are found", async () => {
  const { image, model } = await closedStore(3);
  const { extents } = metaOf(image).sections.find(({ kind }) => kind === 1)!;
  const blocks = extents.flatMap(({ fileBlock, blocks: count }) => [...Array(count).keys()].map((i) => fileBlock + i));
  const block = (bytes: Uint8Array, number: number) => bytes.subarray(number * 65536, (number + 1) * 65536);
  const content = image.get(INDEX)!;
  for (const a of blocks) {
    for (const b of blocks) {
      const [before, after] = [Buffer.from(block(content, a)), a === b ? Buffer.alloc(65536) : block(content, b)];
      if (before.equals(after)) continue;
      const one = damaged(image, INDEX, (bytes) => {
        block(bytes, a).set(after);
        return undefined;
      });
      expect(await outcome(one, model)).toBe("INDEX_CORRUPT");
    }
  }
});

test("both meta slots bad: a typed error, and nothing is overwritten", async () => {
  const { image, model } = await closedStore(4);
  const ruin: [string, (bytes: Uint8Array) => Uint8Array | undefined][] = [
    ["INDEX_CORRUPT", flipped(40, SLOT_BYTES + 40)],
    ["NOT_A_STORE", (bytes) => zeroed(bytes, 0, 2 * SLOT_BYTES)],
    ["NOT_A_STORE", () => new Uint8Array(0)],
    ["INDEX_CORRUPT", (bytes) => bytes.slice(0, 100)],
    ["INDEX_CORRUPT", (bytes) => bytes.slice(0, bytes.length - 1)],
    ["INDEX_CORRUPT", (bytes) => bytes.slice(0, 2 * SLOT_BYTES)],
  ];
  for (const [code, change] of ruin) {
    const one = damaged(image, INDEX, change);
    const simulator = Simulator.from(one, 1);
    await expect(Subject.open(simulator.files(), DIRECTORY, model)).rejects.toMatchObject({ code });
    expect(differences(simulator.image(), one).filter((path) => path !== `${DIRECTORY}/LOCK`)).toEqual([]);
  }
});

test("one bad meta slot: the other serves, and opening writes it again", async () => {
  const { image, model } = await closedStore(5);
  for (const slot of [0, SLOT_BYTES]) {
    const one = damaged(image, INDEX, (bytes) => zeroed(bytes, slot, slot + SLOT_BYTES));
    const simulator = Simulator.from(one, 1);
    expect(await faultsOf(one)).toEqual(["meta"]);
    const subject = await Subject.open(simulator.files(), DIRECTORY, model);
    expect(subject.store.recovered).toHaveLength(1);
    expect(await subject.store.check()).toEqual([]);
    await subject.store.close();
    expect(differences(simulator.image(), image)).toEqual([]);
  }
});

function metaOf(image: Image): Meta {
  const slot = decodeSlot(image.get(INDEX)!.subarray(0, SLOT_BYTES));
  if (slot.state !== "valid") throw new Error("no meta");
  return slot.meta;
}

/** Both slots replaced by one whose bytes were changed under a right checksum. */
function forged(image: Image, change: (slot: Buffer) => void): Image {
  return damaged(image, INDEX, (bytes) => {
    const slot = Buffer.from(bytes.subarray(0, SLOT_BYTES));
    change(slot);
    slot.writeUInt32LE(0, 12);
    slot.writeUInt32LE(crc32c(slot), 12);
    bytes.set(slot, 0);
    bytes.set(slot, SLOT_BYTES);
    return undefined;
  });
}

test("a newer version is refused by name", async () => {
  const { image, model } = await closedStore(6);
  expect(
    await outcome(
      forged(image, (slot) => slot.writeUInt32LE(2, 8)),
      model,
    ),
  ).toBe("STORE_VERSION");
});

test("hostile counts, lengths and offsets are refused before anything is allocated", async () => {
  const { image, model } = await closedStore(7);
  const hostile = [2 ** 31, 2 ** 32 - 1, 0x7fffffff, 0xfffffff0];
  const fields32 = [36, 56, 60, 128 + 16, 128 + 48, 128 + 52]; // metric, sections, config, extents, first extent
  for (const at of fields32) {
    for (const value of hostile) {
      const code = await outcome(
        forged(image, (slot) => void slot.writeUInt32LE(value, at)),
        model,
      );
      expect([at, value, code]).toEqual([at, value, "INDEX_CORRUPT"]);
    }
  }
  for (const at of [40, 48, 128 + 8]) {
    for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      const code = await outcome(
        forged(image, (slot) => void slot.writeBigUInt64LE(value, at)),
        model,
      );
      expect([at, code]).toEqual([at, "INDEX_CORRUPT"]);
    }
  }
});

test("a name that is no text, and a config that is too long to be written again, are damage", async () => {
  const { image, model } = await closedStore(9);
  const name = forged(image, (slot) => void slot.fill(0xff, 128 + 24, 128 + 48));
  const config = forged(image, (slot) => {
    const end = slot.indexOf("}", 128) + 1;
    const begin = slot.lastIndexOf("{", end);
    slot.write(`{"m":"${"x".repeat(9000)}"}`, begin);
    slot.writeUInt32LE(9000 + 8, 60);
  });
  for (const one of [name, config]) expect(await outcome(one, model)).toBe("INDEX_CORRUPT");
});

test("any bytes under a right checksum: a typed error or a store, never a crash", async () => {
  const { image } = await closedStore(8);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(700), fc.nat(255)), { minLength: 1, maxLength: 4 }), async (changes) => {
      const one = forged(image, (slot) => {
        for (const [at, value] of changes) slot[at] = value;
      });
      try {
        const files = Simulator.from(one, 1).files();
        const store = await Store.open(DIRECTORY, { files, sections: SECTIONS, readOnly: true });
        await store.check();
        await store.close();
      } catch (error) {
        expect(error).toBeInstanceOf(HebbError);
      }
    }),
    runs(300),
  );
});

test("a slot holds what it was given, or says that it does not fit", () => {
  const extents = fc.array(fc.nat({ max: 1000 }), { maxLength: 100 });
  const section = fc.record({ stride: fc.nat(), extents, name: fc.string({ maxLength: 8 }) });
  fc.assert(
    fc.property(fc.array(section, { maxLength: 40 }), fc.jsonValue(), (sections, config) => {
      let block = 1;
      const table = [{ stride: 0, extents: [], name: "checksums" }, ...sections].map((one, kind) => ({
        kind,
        name: one.name.replaceAll("\0", ""),
        stride: one.stride,
        length: one.extents.length * 65536,
        extents: one.extents.map((blocks) => {
          block += blocks + 1;
          return { fileBlock: block - blocks - 1, blocks: blocks + 1 };
        }),
      }));
      const json = JSON.parse(JSON.stringify(config));
      const meta: Meta = {
        storeId: new Uint8Array(16).fill(3),
        dimensions: 8,
        metric: "l2",
        generation: 9,
        lsn: 2 ** 53 - 1,
        sections: table,
        config: json,
      };
      let slot: Uint8Array;
      try {
        slot = encodeSlot(meta);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        return;
      }
      expect(decodeSlot(slot)).toEqual({ state: "valid", meta });
    }),
    runs(100),
  );
});

test("sections of a kind that is not known survive checkpoints and compactions untouched", async () => {
  const simulator = new Simulator(9);
  const options = { files: simulator.files(), create: IDENTITY };
  const more = () => [...SECTIONS(IDENTITY), { kind: 9, name: "later", stride: 4, reserveBytes: 1 << 18 }];
  const started = async (sections: typeof SECTIONS) => {
    const store = await Store.open(DIRECTORY, { ...options, sections });
    for await (const _ of store.replay());
    return store;
  };
  const newer = await started(more);
  const content = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);
  const LATER = SECTIONS(IDENTITY).length;
  newer.region.write(LATER, 0, content);
  await newer.checkpoint(0);
  await newer.close();
  const older = await started(SECTIONS);
  for (let round = 0; round < 5; round++) {
    older.region.write(0, round * 60_000, new Uint8Array(60_000).fill(round + 1));
    await older.checkpoint(0);
  }
  older.region.discard(0, 65536);
  await older.compact(0);
  expect(await older.check()).toEqual([]);
  await older.close();
  const again = await started(more);
  expect(Buffer.from(again.region.read(LATER, 0, content.length)).equals(content)).toBe(true);
  await again.close();
});

/** The disk at every moment between the commit point of a checkpoint and its end. */
async function midCheckpoint(seed: number): Promise<{ images: Image[]; model: Model }> {
  const { image, model } = await closedStore(seed);
  const images: Image[] = [];
  const acknowledged = model.acknowledged;
  for (let n = 0; ; n++) {
    model.acknowledged = acknowledged;
    const simulator = Simulator.from(image, seed);
    const subject = await Subject.open(simulator.files(), DIRECTORY, model);
    await subject.put(randomGroup(new Prng(seed), 1), true);
    let after = -1;
    simulator.onCall = ({ operation, path }) => {
      if (operation === "sync" && path === JOURNAL && after < 0) after = 0;
      else if (after >= 0) after++;
      return after > n ? "kill" : undefined;
    };
    try {
      await subject.checkpoint();
      return { images, model };
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
    if (simulator.image().get(JOURNAL)!.length > 0) images.push(simulator.image());
  }
}

test("a journal damaged after its commit point: the old checkpoint, or a typed error, never a mixture", async () => {
  const { images, model } = await midCheckpoint(10);
  expect(images.length).toBeGreaterThan(5);
  const codes = new Set<string | undefined>();
  const prng = new Prng(10);
  for (const image of images) {
    expect(await outcome(image, model)).toBe(undefined);
    const length = image.get(JOURNAL)!.length;
    for (let i = 0; i < 60; i++) {
      const at = i < 20 ? prng.below(64) : 4096 + prng.below(length - 4096);
      const one = damaged(image, JOURNAL, (bytes) => {
        bytes[at] ^= 1 << prng.below(8);
        return undefined;
      });
      codes.add(await outcome(one, model));
    }
    codes.add(
      await outcome(
        damaged(image, JOURNAL, (bytes) => bytes.slice(0, prng.below(length))),
        model,
      ),
    );
  }
  expect([...codes].sort()).toEqual(["JOURNAL_CORRUPT", undefined]);
});

test("a read-only handle sees a committed checkpoint that is not in place, and changes nothing", async () => {
  const { images, model } = await midCheckpoint(11);
  for (const image of images) {
    const simulator = Simulator.from(image, 1);
    const store = await Store.open(DIRECTORY, { files: simulator.files(), sections: SECTIONS, readOnly: true });
    const groups = [];
    for await (const group of store.replay()) groups.push(group);
    expect(groups).toEqual([]); // the checkpoint has everything
    const { contents } = model.expected(store.meta.lsn);
    for (const section of [0, 2] as const) {
      const rows = contents[section];
      expect(Buffer.from(store.region.read(section, 0, rows.length)).equals(rows)).toBe(true);
    }
    expect(await store.check()).toEqual([]);
    await store.close();
    expect(differences(simulator.image(), image)).toEqual([]);
  }
});

test("a journal of another store is refused", async () => {
  const { images } = await midCheckpoint(12);
  const { image, model } = await closedStore(13);
  const one = new Map(image).set(JOURNAL, images[0].get(JOURNAL)!);
  expect(await outcome(one, model)).toBe("JOURNAL_CORRUPT");
});

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hebb-index-file-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const BLOCK = 65536;
/** Of each section below. */
const RESERVE = 40 * BLOCK;

type Step =
  | { do: "write"; section: number; at: number; length: number; value: number }
  | { do: "discard"; section: number; block: number }
  | { do: "checkpoint" | "compact" | "reopen" };

const section = fc.nat(2);
const blocks = fc.oneof({ weight: 3, arbitrary: fc.nat(12) }, { weight: 1, arbitrary: fc.nat(39) });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("write" as const),
        section,
        at: fc.tuple(blocks, fc.nat(BLOCK - 1)).map(([block, byte]) => block * BLOCK + byte),
        length: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 6 * BLOCK })),
        value: fc.integer({ min: 1, max: 255 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("discard" as const), section, block: blocks }) },
    { weight: 5, arbitrary: fc.constant<Step>({ do: "checkpoint" }) },
    { weight: 1, arbitrary: fc.constant<Step>({ do: "compact" }) },
    { weight: 2, arbitrary: fc.constant<Step>({ do: "reopen" }) },
  ),
  { minLength: 1, maxLength: 60, size: "max" },
);

/** Sections that grow and shrink, beside plain memory that says what they hold. */
class Shrinking {
  readonly memory = [0, 1, 2].map(() => Buffer.alloc(RESERVE));

  private constructor(
    private readonly directory: string,
    private readonly files: typeof diskFiles,
    public store: Store,
  ) {}

  static async open(directory: string, files: typeof diskFiles): Promise<Shrinking> {
    return new Shrinking(directory, files, await Shrinking.store(directory, files));
  }

  private static async store(directory: string, files: typeof diskFiles): Promise<Store> {
    const sections = ["a", "b", "c"].map((name, i) => ({ kind: i + 1, name, stride: 8, reserveBytes: RESERVE }));
    const store = await Store.open(directory, { files, create: IDENTITY, sections: () => sections });
    for await (const _ of store.replay());
    return store;
  }

  async step(step: Step): Promise<void> {
    const { region } = this.store;
    if (step.do === "write") {
      const bytes = Buffer.alloc(Math.min(step.length, RESERVE - step.at), step.value);
      region.write(step.section, step.at, bytes);
      this.memory[step.section].set(bytes, step.at);
    } else if (step.do === "discard") {
      region.discard(step.section, step.block * BLOCK);
      this.memory[step.section].fill(0, step.block * BLOCK);
    } else if (step.do === "checkpoint") {
      await this.store.checkpoint(0);
      await this.sound();
    } else if (step.do === "compact") {
      await this.store.compact(0);
      await this.sound();
      // What the sections use, and one block of checksums; nothing at all where they are empty.
      const used = this.store.meta.sections.map(({ kind, length }) => (kind === 0 ? 0 : Math.ceil(length / BLOCK)));
      const sum = used.reduce((a, b) => a + b, 0);
      expect(await this.fileBlocks()).toBe(sum === 0 ? 1 : sum + 2);
    } else {
      await this.store.checkpoint(0);
      await this.store.close();
      this.store = await Shrinking.store(this.directory, this.files);
    }
    this.compare();
  }

  compare(): void {
    for (const [i, expected] of this.memory.entries()) {
      if (expected.equals(this.store.region.read(i, 0, RESERVE))) continue;
      const found = this.store.region.read(i, 0, RESERVE);
      const at = found.findIndex((byte, j) => byte !== expected[j]);
      throw new Error(`section ${i}, block ${at / BLOCK}: ${found[at]} instead of ${expected[at]}`);
    }
  }

  /** The file is without fault and not longer than its extents; each section ends where what it holds does, or before its discard. */
  private async sound(): Promise<void> {
    expect(await this.store.check()).toEqual([]);
    const { sections } = this.store.meta;
    const extents = sections.flatMap((one) => one.extents);
    const end = extents.reduce((most, one) => Math.max(most, one.fileBlock + one.blocks), 1);
    expect(await this.fileBlocks()).toBe(end);
    for (const { kind, length } of sections) {
      if (kind > 0) expect(this.memory[kind - 1].subarray(length).equals(Buffer.alloc(RESERVE - length))).toBe(true);
    }
  }

  async fileBlocks(): Promise<number> {
    const file = await this.files.open(join(this.directory, "index.hebb"), "read");
    const size = await file.size();
    await file.close();
    return size / BLOCK;
  }
}

let directories = 0;
for (const disk of ["simulated", "real"]) {
  test(`sections grow, shrink, are compacted and opened again as memory says (${disk} disk)`, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const directory = disk === "real" ? join(scratch, `${directories++}`) : DIRECTORY;
        const subject = await Shrinking.open(directory, disk === "real" ? diskFiles : new Simulator(1).files());
        for (const step of all) await subject.step(step);
        await subject.step({ do: "reopen" });
        await subject.step({ do: "compact" });
        await subject.store.close();
      }),
      runs(8),
    );
  });
}

test("growing and shrinking for ever: file and section table stay small", async () => {
  const directory = join(scratch, "for-ever");
  const subject = await Shrinking.open(directory, diskFiles);
  const prng = new Prng(1);
  let largest = 0;
  for (let round = 0; round < (long ? 2000 : 160); round++) {
    const [i, block] = [prng.below(3), prng.below(40)];
    if (prng.below(2) === 0) await subject.step({ do: "discard", section: i, block });
    else await subject.step({ do: "write", section: i, at: block * BLOCK, length: 9, value: 1 + prng.below(255) });
    await subject.store.checkpoint(0);
    largest = Math.max(largest, await subject.fileBlocks());
    for (const { extents } of subject.store.meta.sections) {
      // Each but the last is a quarter or more of what comes before it.
      let before = 0;
      for (const one of extents.slice(0, -1)) {
        expect(one.blocks).toBeGreaterThanOrEqual(before / 4);
        before += one.blocks;
      }
    }
  }
  expect(await subject.store.check()).toEqual([]);
  await subject.store.close();
  // Three sections of 40 blocks, each of which may be in two places during a checkpoint.
  expect(largest).toBeLessThanOrEqual(2 * 3 * 40 + 2);
});

test("a damaged block stops a compaction, which changes nothing", async () => {
  const { image } = await closedStore(14);
  const rows = metaOf(image).sections.find(({ kind }) => kind === 1)!;
  const at = rows.extents[0].fileBlock * 65536 + 77;
  const simulator = Simulator.from(damaged(image, INDEX, flipped(at)), 1);
  const store = await Store.open(DIRECTORY, { files: simulator.files(), create: IDENTITY, sections: SECTIONS });
  for await (const _ of store.replay());
  store.region.discard(2, 0);
  await store.checkpoint(store.log.lastLsn);
  expect(store.spareBytes).toBeGreaterThan(0);
  const before = simulator.image();
  await expect(store.compact(store.log.lastLsn)).rejects.toMatchObject({
    code: "INDEX_CORRUPT",
    details: { section: "rows", block: 0 },
  });
  expect(differences(simulator.image(), before)).toEqual([]);
  expect(await store.check()).toHaveLength(1);
  expect(store.poisonedBy).toBe(undefined);
  await store.close();
});
