/** The log by itself: groups, cutting, and telling a torn tail from damage. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Files } from "../../storage/files.js";
import { encodeRecordHeader, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from "../../storage/format.js";
import { type Group, Log } from "../../storage/log.js";
import { Poison } from "../../storage/poison.js";
import { Simulator } from "../../storage/simulator.js";
import { figure } from "../support/figures.js";
import { runs } from "../support/seed.js";

const STORE_ID = new Uint8Array(16).fill(7);
const FIRST = "/wal/0000000000000001.wal";

async function fresh(seed = 1): Promise<{ simulator: Simulator; files: Files; log: Log }> {
  const simulator = new Simulator(seed);
  const files = simulator.files();
  await files.makeDirectory("/wal");
  await files.syncDirectory("/");
  await Log.create(files, "/wal", STORE_ID);
  return { simulator, files, log: await reopen(files) };
}

async function reopen(files: Files, needed = 0, known = needed, readOnly = false): Promise<Log> {
  const log = await Log.open(files, "/wal", STORE_ID, new Poison(), readOnly);
  await log.recover(needed, known);
  return log;
}

async function groupsOf(log: Log, after = 0): Promise<Group[]> {
  const groups: Group[] = [];
  for await (const group of log.read(after)) groups.push(group);
  return groups;
}

const payload = (n: number, length = 5 + (n % 40)) => new Uint8Array(length).fill(n);
const group = (...numbers: number[]) => numbers.map((n) => ({ type: 1 + (n % 255), payload: payload(n) }));

test("groups come back as they were appended, whatever their sizes and pieces", async () => {
  const piece = fc.uint8Array({ maxLength: 200 });
  const record = fc.record({
    type: fc.integer({ min: 1, max: 255 }),
    payload: fc.oneof(piece, fc.array(piece, { maxLength: 3 })),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(record, { minLength: 1, maxLength: 5 }), { maxLength: 20 }), async (groups) => {
      const { files, log } = await fresh();
      for (const one of groups) await log.append(one);
      const records = groups.flat().map(({ type, payload }, i) => {
        const bytes = Array.isArray(payload) ? Buffer.concat(payload) : Buffer.from(payload);
        return { lsn: i + 1, type, payload: bytes.toString("hex") };
      });
      await log.sync();
      expect([log.lastLsn, log.durableLsn]).toEqual([records.length, records.length]);
      const plain = (found: Group[]) =>
        found.flatMap((one) => one.records.map((r) => ({ ...r, payload: Buffer.from(r.payload).toString("hex") })));
      expect(plain(await groupsOf(log))).toEqual(records);
      await log.close();
      const again = await reopen(files);
      expect((await groupsOf(again)).map(({ records: r }) => r.length)).toEqual(groups.map((g) => g.length));
      expect(plain(await groupsOf(again, 3))).toEqual(records.filter(({ lsn }) => lsn > 3));
      await again.close();
    }),
    runs(50),
  );
});

test("cut at every byte, the log recovers the groups before it, whole", async () => {
  const { simulator, log } = await fresh();
  const ends: number[] = [];
  for (const one of [group(1), group(2, 3, 4), group(5), group(6, 7), group(8)]) {
    await log.append(one);
    ends.push(log.bytes());
  }
  await log.close();
  const whole = simulator.image().get(FIRST)!;
  const lsns = [1, 4, 5, 7, 8];
  for (let length = SEGMENT_HEADER_BYTES; length <= whole.length; length++) {
    const cut = Simulator.from(new Map([[FIRST, whole.subarray(0, length)]]), length);
    const files = cut.files();
    const recovered = await reopen(files);
    const count = ends.filter((end) => end <= length).length;
    expect([length, recovered.lastLsn]).toEqual([length, count === 0 ? 0 : lsns[count - 1]]);
    await recovered.append(group(99));
    await recovered.sync();
    await recovered.close();
    cut.powerFailure();
    const again = await reopen(cut.files());
    expect((await groupsOf(again)).length).toBe(count + 1);
    await again.close();
  }
  const cuts = whole.length - SEGMENT_HEADER_BYTES + 1;
  figure(8, "cuts of logs, one at every byte: the valid prefix is recovered, or damage is named", cuts);
});

test("of several segments, the last is cut at every byte to what is whole, and a cut in another is damage", async () => {
  const { simulator, log } = await fresh();
  for (const one of [group(1, 2), group(3), group(4, 5)]) await log.append(one);
  await log.sync();
  const first = simulator.image().get(FIRST)!;
  await log.cut(5); // a new segment, as one that is full would have; the old one's name may outlive a power failure
  const ends: number[] = [];
  const groups = [group(6, 7, 8), group(9), group(10, 11)];
  for (const one of groups) {
    await log.append(one);
    ends.push(log.bytes());
  }
  await log.close();
  const lsns = [8, 9, 11];
  const second = "/wal/0000000000000006.wal";
  const last = simulator.image().get(second)!;
  const both = (a: Uint8Array, b: Uint8Array) =>
    new Map([
      [FIRST, a],
      [second, b],
    ]);
  let cuts = 0;
  for (let length = 0; length <= last.length; length++) {
    const cut = Simulator.from(both(first, last.subarray(0, length)), length);
    const recovered = await reopen(cut.files());
    const count = ends.filter((end) => end <= length).length;
    expect([length, recovered.lastLsn]).toEqual([length, count === 0 ? 5 : lsns[count - 1]]);
    expect((await groupsOf(recovered)).length).toBe(3 + count);
    const { last: added } = await recovered.append(group(99));
    expect(added).toBe(recovered.lastLsn);
    await recovered.sync();
    await recovered.close();
    cut.powerFailure();
    const again = await reopen(cut.files());
    expect((await groupsOf(again)).length).toBe(3 + count + 1);
    await again.close();
    cuts++;
  }
  for (let length = 0; length < first.length; length++) {
    const image = both(first.subarray(0, length), last);
    const cut = Simulator.from(image, length);
    await expect(reopen(cut.files()), `byte ${length}`).rejects.toMatchObject({ code: "WAL_CORRUPT" });
    expect(cut.image()).toEqual(image);
    const needless = await reopen(Simulator.from(image, length).files(), 5); // nobody needs the first one
    expect(needless.lastLsn).toBe(11);
    await needless.close();
    cuts++;
  }
  figure(8, "cuts of logs, one at every byte: the valid prefix is recovered, or damage is named", cuts);
});

test("closed cleanly, a log has no tail in doubt: a cut or a flipped bit at any byte is damage, or takes nothing away", async () => {
  const { simulator, log } = await fresh();
  for (const one of [group(1), group(2, 3), group(4)]) await log.append(one);
  const end = log.bytes();
  await log.markClosed();
  await log.close();
  const whole = simulator.image().get(FIRST)!;
  expect(whole.length).toBe(end + RECORD_HEADER_BYTES);
  for (let at = 0; at < whole.length; at++) {
    const flipped = whole.slice();
    flipped[at] ^= 1 << (at % 8);
    const files = Simulator.from(new Map([[FIRST, flipped]]), at).files();
    if (at < end) {
      await expect(reopen(files), `byte ${at}`).rejects.toMatchObject({ code: "WAL_CORRUPT" });
    } else {
      const recovered = await reopen(files); // the closing record alone
      expect([at, recovered.lastLsn]).toEqual([at, 4]);
      await recovered.close();
    }
  }
  figure(5, "bits of a cleanly closed log flipped: found, or nothing is lost", whole.length);
});

test("a flipped bit is found: before the last synced record it is damage, behind it a torn tail", async () => {
  const { simulator, log } = await fresh();
  for (const one of [group(1), group(2, 3), group(4)]) {
    await log.append(one);
    await log.sync();
  }
  const synced = log.bytes(); // what record 5 knows to be durable
  await log.append(group(5));
  await log.close();
  const whole = simulator.image().get(FIRST)!;
  for (let at = 0; at < whole.length; at++) {
    const bytes = whole.slice();
    bytes[at] ^= 1 << (at % 8);
    const files = Simulator.from(new Map([[FIRST, bytes]]), at).files();
    if (at < synced) {
      await expect(reopen(files), `byte ${at}`).rejects.toMatchObject({ code: "WAL_CORRUPT" });
    } else {
      const recovered = await reopen(files);
      expect([at, recovered.lastLsn]).toEqual([at, 4]);
      await recovered.close();
    }
  }
});

test("damage names segment, offset and LSN; a follower's LSN is proof enough", async () => {
  const { simulator, log } = await fresh();
  await log.append(group(1));
  const offset = log.bytes();
  await log.append(group(2));
  await log.close();
  const bytes = simulator.image().get(FIRST)!;
  bytes[offset + RECORD_HEADER_BYTES] ^= 1;
  const image = new Map([[FIRST, bytes]]);
  const torn = await reopen(Simulator.from(image, 1).files(), 0, 1);
  expect(torn.lastLsn).toBe(1);
  await expect(reopen(Simulator.from(image, 1).files(), 0, 2)).rejects.toMatchObject({
    code: "WAL_CORRUPT",
    details: { segment: "0000000000000001.wal", offset, lsn: 2 },
  });
});

test("missing segments are damage, not an empty log", async () => {
  const { simulator, log } = await fresh();
  await log.append(group(1));
  await log.sync();
  await log.cut(1);
  await log.append(group(2));
  await log.close();
  const image = simulator.image();
  expect([...image.keys()]).toEqual(["/wal/0000000000000002.wal"]);
  const empty = Simulator.from(new Map([["/wal/other", new Uint8Array(0)]]), 1).files();
  await expect(reopen(empty)).rejects.toMatchObject({ code: "WAL_CORRUPT" });
  await expect(reopen(Simulator.from(image, 1).files(), 0)).rejects.toMatchObject({ code: "WAL_CORRUPT" });
  const good = await reopen(Simulator.from(image, 1).files(), 1);
  expect(good.lastLsn).toBe(2);
});

test("cutting keeps what a follower lacks, and LSNs go on", async () => {
  const { files, log } = await fresh();
  for (let n = 1; n <= 10; n++) await log.append(group(n));
  await log.cut(4); // one segment: all of it is needed
  expect((await groupsOf(log)).length).toBe(10);
  await log.cut(10);
  expect(await groupsOf(log)).toEqual([]);
  expect(log.bytes()).toBe(SEGMENT_HEADER_BYTES);
  expect(await log.append(group(11))).toEqual({ first: 11, last: 11 });
  await log.close();
  const again = await reopen(files, 10);
  expect((await groupsOf(again, 10)).map(({ lsn }) => lsn)).toEqual([11]);
  await again.close();
});

test("old records behind a cut never follow a new one, even at the right LSN", async () => {
  const { simulator, files, log } = await fresh();
  await log.append(group(1));
  const end = log.bytes();
  await log.append([1, 2].map((n) => ({ type: 1, payload: payload(n, 9) })));
  await log.close();
  const old = simulator.image().get(FIRST)!.subarray(end);
  const again = await reopen(files);
  await again.close();
  // The first of two records is replaced by a new one of the same length; the second stays behind it.
  const file = await files.open(FIRST, "write");
  await file.truncate(end);
  const third = await reopen(files);
  await third.append([{ type: 1, payload: payload(3, 9) }]);
  await third.close();
  const half = old.length / 2;
  await file.pwrite(old.subarray(half), end + half);
  const fourth = await reopen(files);
  expect(fourth.lastLsn).toBe(2);
});

test("a failed append leaves nothing behind, and the next one takes its LSN", async () => {
  const { simulator, files, log } = await fresh();
  await log.append(group(1));
  simulator.onCall = ({ operation }) => (operation === "pwrite" ? "ENOSPC" : undefined);
  await expect(log.append(group(2, 3))).rejects.toMatchObject({ code: "DISK_FULL" });
  simulator.onCall = undefined;
  expect(await log.append(group(4))).toEqual({ first: 2, last: 2 });
  await log.close();
  const again = await reopen(files);
  expect((await groupsOf(again)).map(({ lsn }) => lsn)).toEqual([1, 2]);
  await again.close();
});

test("syncs at the same time share one; appends keep their order", async () => {
  const { simulator, log } = await fresh();
  let syncs = 0;
  simulator.onCall = ({ operation }) => {
    if (operation === "sync") syncs++;
    return undefined;
  };
  const appended = await Promise.all(Array.from({ length: 50 }, (_, i) => log.append(group(i))));
  expect(appended.map(({ last }) => last)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  await Promise.all(appended.map(() => log.sync()));
  expect([syncs, log.durableLsn]).toEqual([1, 50]);
  await log.close();
});

test("a clean end is marked where there is anything to prove, and the mark is not a change", async () => {
  const { files, log } = await fresh();
  await log.markClosed();
  expect(log.lastLsn).toBe(0);
  await log.append(group(1));
  await log.markClosed();
  await log.markClosed();
  expect([log.lastLsn, log.lastChangeLsn, log.durableLsn]).toEqual([2, 1, 2]);
  await log.close();
  const again = await reopen(files);
  expect([again.lastLsn, again.lastChangeLsn]).toEqual([2, 1]);
  expect((await groupsOf(again)).map(({ lsn }) => lsn)).toEqual([1]);
  expect(await again.append(group(3))).toEqual({ first: 3, last: 3 });
  await again.close();
});

test("an interval sync makes records durable by itself", async () => {
  const { log } = await fresh();
  const stop = log.syncEvery(1);
  await log.append(group(1));
  while (log.durableLsn < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  stop();
  await log.close();
});

test("a read-only log stops at a torn tail and leaves it alone", async () => {
  const { simulator, log } = await fresh();
  await log.append(group(1));
  await log.append(group(2));
  await log.close();
  const bytes = simulator.image().get(FIRST)!;
  const image = new Map([[FIRST, bytes.subarray(0, bytes.length - 1)]]);
  const torn = Simulator.from(image, 1);
  const reader = await reopen(torn.files(), 0, 0, true);
  expect((await groupsOf(reader)).map(({ lsn }) => lsn)).toEqual([1]);
  await expect(reader.append(group(3))).rejects.toMatchObject({ code: "STORE_READ_ONLY" });
  await reader.close();
  expect(torn.image()).toEqual(image);
  expect(torn.calls).toBe(0);
});

test("garbage behind the end, with forged lengths, is cut without reading what it claims", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(0xffffffff), async (garbage, length) => {
      const { simulator, log } = await fresh();
      await log.append(group(1));
      await log.close();
      const bytes = simulator.image().get(FIRST)!;
      const header = { lsn: 2, syncedLsn: 1, type: 1, continues: false, length, payloadChecksum: 0, link: 0 };
      const forged = Buffer.concat([bytes, encodeRecordHeader(STORE_ID, header), garbage]);
      const recovered = await reopen(Simulator.from(new Map([[FIRST, forged]]), 1).files());
      expect(recovered.lastLsn).toBe(1);
      await recovered.close();
    }),
    runs(100),
  );
});

test("wrong records are refused before anything is written", async () => {
  const { simulator, log } = await fresh();
  const before = simulator.calls;
  expect(() => log.append([])).toThrow(RangeError);
  expect(() => log.append([{ type: 0, payload: payload(1) }])).toThrow("record type 0; expected 1-255");
  expect(() => log.append([{ type: 1, payload: { length: 2 ** 31 } as Uint8Array }])).toThrow(/expected at most/);
  expect(simulator.calls).toBe(before);
  await log.close();
});
