/**
 * What a newer release wrote: refused by name and left as it is, whichever file it is in; or, a section that this
 * release does not know, kept through all that may happen to a file. (Frozen bundles: test/spec/29.)
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { beforeAll, expect, test } from "vitest";
import { crc32c } from "../../native/index.js";
import { open } from "../../src/index.js";
import { JOURNAL_HEADER_BYTES, SEGMENT_HEADER_BYTES, SLOT_BYTES, SLOTS } from "../../storage/format.js";
import { Store } from "../../storage/store.js";
import { figure } from "../support/figures.js";
import { errorOf, randomRows, scratch } from "../support/rows.js";
import { range } from "../support/tiers.js";

const path = scratch();
const d = 8;

beforeAll(async () => {
  const index = await open(path("store"), { dimensions: d, metric: "l2" });
  await index.putMany({ ids: range(300), vectors: randomRows(300, d, 1), payloads: range(300).map((i) => ({ i })) });
  await index.learn([{ query: randomRows(1, d, 2), chosen: [1] }]);
  await index.close();
});

/** What a store holds, but for who has it open. */
const filesIn = (directory: string) =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^(LOCK|catalog.sqlite-...)$/.test(entry.name))
    .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name)).toString("base64")])
    .sort();

/** Changes a header, and makes its checksum right again. */
function forge(file: string, at: number, length: number, change: (header: Buffer) => void): void {
  const bytes = readFileSync(file);
  const header = bytes.subarray(at, at + length);
  change(header);
  header.writeUInt32LE(0, 12);
  header.writeUInt32LE(crc32c(header), 12);
  writeFileSync(file, bytes);
}
const newer = (header: Buffer) => void header.writeUInt32LE(9, 8);
const segmentIn = (directory: string) => join(directory, "wal", readdirSync(join(directory, "wal")).sort().at(-1)!);

/** A store's sections and log without an index over them, as a newer release might have written them. */
async function asNewer(directory: string, use: (store: Store) => Promise<void>): Promise<void> {
  const LATER = { kind: 77, name: "later", stride: 4, reserveBytes: 1 << 20 };
  const store = await Store.open(directory, { sections: () => [LATER] });
  for await (const _ of store.replay());
  await use(store);
  await store.close();
}

const cases: { [what: string]: (directory: string) => unknown } = {
  "both slots of index.hebb": (at) =>
    SLOTS.forEach((slot) => void forge(join(at, "index.hebb"), slot, SLOT_BYTES, newer)),
  "one slot of index.hebb": (at) => forge(join(at, "index.hebb"), SLOTS[1], SLOT_BYTES, newer),
  "the journal"(at) {
    const file = join(at, "index.hebb-journal");
    writeFileSync(file, Buffer.concat([Buffer.from("HEBBJNL\n"), Buffer.alloc(JOURNAL_HEADER_BYTES - 8 + 4096)]));
    forge(file, 0, JOURNAL_HEADER_BYTES, newer);
  },
  "the log": (at) => forge(segmentIn(at), 0, SEGMENT_HEADER_BYTES, newer),
  "the catalog"(at) {
    const db = new Database(join(at, "catalog.sqlite"));
    db.pragma("user_version = 2");
    db.close();
  },
  "a record of the log, behind ones that are known": (at) =>
    asNewer(at, async ({ log }) => {
      await log.append([{ type: 2, payload: Buffer.of(1, 0, 0, 0, 5, 0, 0, 0) }]); // removes node 5
      await log.append([{ type: 99, payload: Buffer.from("what only a newer release can read") }]);
    }),
};

test.each(Object.keys(cases))("of a newer version: %s", async (what) => {
  const directory = path(`newer-${Object.keys(cases).indexOf(what)}`);
  cpSync(path("store"), directory, { recursive: true });
  await cases[what](directory);
  const left = filesIn(directory);
  for (let times = 0; times < 2; times++) {
    const error = await errorOf(() => open(directory));
    expect(error).toMatchObject({ code: "STORE_VERSION", message: expect.stringMatching(/newer|pdate hebb/) });
    expect(filesIn(directory)).toEqual(left);
  }
  const readOnly = await errorOf(() => open(directory, { readOnly: true }));
  expect(readOnly).toMatchObject({ code: expect.stringMatching(/^STORE_(VERSION|READ_ONLY)$/) });
  expect(filesIn(directory)).toEqual(left);
  figure(23, "newer versions refused, and nothing changed", 1);
});

test("a section of an unknown kind is kept through growth, moves, checkpoints and compactions", async () => {
  const directory = path("section");
  cpSync(path("store"), directory, { recursive: true });
  const content = Buffer.from(randomRows(50_000, 1, 7).buffer);
  await asNewer(directory, async (store) => {
    store.region.write(0, 0, content);
    await store.checkpoint(store.log.lastLsn);
  });
  for (let round = 0; round < 3; round++) {
    const index = await open(directory);
    const ids = range(1500, 1000 * round);
    await index.putMany({ ids, vectors: randomRows(1500, d, round), payloads: ids.map((i) => ({ i })) });
    await index.retier({ force: (["archive", "cool", "hot"] as const)[round] });
    await index.checkpoint();
    await index.delete(range(1200, 1000 * round));
    await index.compact();
    expect((await index.check()).faults).toEqual([]);
    await index.close();
  }
  await asNewer(directory, async (store) => {
    expect(Buffer.from(store.region.read(0, 0, content.length)).equals(content)).toBe(true);
    expect(await store.check()).toEqual([]);
  });
  figure(23, "sections of an unknown kind kept through compactions", 3);
});
