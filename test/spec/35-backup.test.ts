/** Copying a store while it is in use, and what opening says about how the last writer ended. */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test, vi } from "vitest";
import { type Index, open } from "../../src/index.js";
import { hebb } from "../support/cli.js";
import { errorOf, randomRows, rowOf, scratch } from "../support/rows.js";

const path = scratch();
const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
const d = 12;

const contents = (index: Index) => ({
  rows: [...index.entries()].sort((a, b) => Number(a.id) - Number(b.id)),
  events: index.stats().learning.events,
  found: index.search(new Float32Array(d).fill(0.3), { k: 20 }),
  lsn: index.stats().lsn,
});

/** A writer that goes on: what was acknowledged before a call is `rows` rows, each put twice, some deleted. */
async function busy(directory: string, count: number): Promise<Index> {
  const index = await open(directory, { dimensions: d, metric: "l2" });
  const rows = randomRows(count, d, 5);
  for (const op of [1, 2]) {
    await index.putMany(
      Array.from({ length: count }, (_, id) => ({ id, vector: rowOf(rows, (id * op) % count, d), payload: { op } })),
    );
    await index.checkpoint();
  }
  await index.delete([3, 4, 5]);
  await index.learn([{ query: rowOf(rows, 1, d), chosen: [1] }]);
  return index;
}

describe("a backup", () => {
  test("holds all that was acknowledged before it, while puts and checkpoints go on", async () => {
    const index = await busy(path("a.hebb"), 2000);
    const before = contents(index);
    let puts = 0;
    let over = false;
    const writing = (async () => {
      for (; !over; puts++) {
        await index.put(10_000 + puts, new Float32Array(d).fill(5), { op: 3 });
        if (puts % 20 === 19) await index.checkpoint();
      }
    })();
    const { lsn } = await index.backup(path("copy/of/a.hebb"));
    over = true;
    await writing;
    expect(lsn).toBeGreaterThanOrEqual(before.lsn);
    const copy = await open(path("copy/of/a.hebb"));
    expect((await copy.check()).faults).toEqual([]);
    const { rows, events, found } = contents(copy);
    expect(rows.filter(({ id }) => Number(id) < 10_000)).toEqual(before.rows);
    expect(rows.length - before.rows.length).toBeLessThanOrEqual(puts);
    expect({ events, found }).toEqual({ events: before.events, found: before.found });
    await copy.put("more", new Float32Array(d));
    await copy.close();
    await index.close();
  });

  test("is a store as one whose writer ended: read, written and copied again", async () => {
    const index = await busy(path("b.hebb"), 300);
    const before = contents(index);
    await index.backup(path("b1.hebb"));
    await index.close();
    const reader = await open(path("b1.hebb"), { readOnly: true });
    expect(contents(reader)).toEqual(before);
    await reader.backup(path("b2.hebb"));
    await reader.close();
    const again = await open(path("b2.hebb"));
    expect(contents(again).rows).toEqual(before.rows);
    await again.close();
  });

  test("by the command, beside the writer", async () => {
    const index = await busy(path("c.hebb"), 50);
    await index.checkpoint();
    const { code, out } = await hebb("backup", path("c.hebb"), path("c1.hebb"), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ directory: path("c1.hebb"), lsn: index.stats().lsn });
    const copy = await open(path("c1.hebb"));
    expect(contents(copy).rows).toEqual(contents(index).rows);
    await copy.close();
    await index.close();
  });

  test("has what leaves no row in the catalog, as a reader has half a second later", async () => {
    const index = await busy(path("f.hebb"), 30);
    await index.backup(path("f1.hebb"));
    await index.gradients.accumulate([{ id: 1, gradient: new Float32Array(d).fill(1) }]);
    const added = index.gradients.stats();
    await index.backup(path("f2.hebb"));
    const copy = await open(path("f2.hebb"));
    expect(copy.gradients.stats()).toEqual(added);
    await copy.close();
    await index.gradients.accumulate([{ id: 2, gradient: new Float32Array(d).fill(2) }]);
    await vi.waitFor(
      async () => {
        const reader = await open(path("f.hebb"), { readOnly: true });
        const seen = reader.gradients.stats();
        await reader.close();
        expect(seen).toEqual(index.gradients.stats());
      },
      { timeout: 60_000, interval: 100 },
    );
    await index.close();
  });

  test("of two into one directory, one is made, and whole", async () => {
    const index = await busy(path("g.hebb"), 300);
    for (let round = 0; round < 5; round++) {
      const target = path(`g${round}.hebb`);
      const results = await Promise.allSettled([index.backup(target), index.backup(target)]);
      const failed = results.flatMap((one) => (one.status === "rejected" ? [one.reason.code] : []));
      expect(failed).toHaveLength(1);
      expect(["STORE_LOCKED", "STORE_EXISTS"]).toContain(failed[0]);
      const copy = await open(target);
      expect((await copy.check()).faults).toEqual([]);
      expect(contents(copy).rows).toEqual(contents(index).rows);
      await copy.close();
    }
    await index.close();
  });

  test("does not go where something is, nor copy damage", async () => {
    const index = await busy(path("d.hebb"), 2000);
    mkdirSync(path("full"));
    writeFileSync(path("full/notes.txt"), "mine");
    writeFileSync(path("file"), "mine");
    for (const [target, message] of [
      [path("full"), /full is there already and not empty; back up into a new or empty directory$/],
      [path("file"), /file is a file/],
      [path("d.hebb"), /not empty/],
    ] as const) {
      const error = await errorOf(() => index.backup(target));
      expect(error).toMatchObject({ code: "STORE_EXISTS", message: expect.stringMatching(message) });
    }
    for (const target of ["", "a\0b", 5 as unknown as string]) {
      expect(await errorOf(() => index.backup(target))).toBeInstanceOf(TypeError);
    }
    expect(readdirSync(path("full"))).toEqual(["notes.txt"]);
    await index.close();
    cpSync(path("d.hebb"), path("e.hebb"), { recursive: true });
    const bytes = readFileSync(path("e.hebb/index.hebb"));
    bytes[3 * 65_536 + 500]! ^= 1; // vectors, which opening does not read
    writeFileSync(path("e.hebb/index.hebb"), bytes);
    const damaged = await open(path("e.hebb"), { readOnly: true });
    expect((await damaged.check()).ok).toBe(false);
    expect(await errorOf(() => damaged.backup(path("e1.hebb")))).toMatchObject({ code: "INDEX_CORRUPT" });
    expect(existsSync(path("e1.hebb/index.hebb"))).toBe(false);
    await damaged.close();
  });
});

describe("recovery", () => {
  /** A writer that is killed after it put `rows` rows one by one. */
  function killed(name: string, durability: string, rows: number): string {
    const directory = path(name);
    const program = `
      import { open } from ${JSON.stringify(library)};
      const index = await open(${JSON.stringify(directory)}, { dimensions: 2, metric: "l2", durability: ${JSON.stringify(durability)} });
      for (let id = 0; id < ${rows}; id++) await index.put(id, [id, 1]);
      process.kill(process.pid, "SIGKILL");`;
    const { signal } = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
    expect(signal).toBe("SIGKILL");
    return directory;
  }

  test("says what a power failure may have taken under interval and off, and nothing under sync", async () => {
    for (const [durability, windowMs, warning] of [
      ["sync", 0, undefined],
      ["interval", 1000, /synced the log every 1000 ms .* in the 1000 ms before may be missing$/],
      ["off", null, /whenever the system liked .* since the last checkpoint, may be missing$/],
    ] as const) {
      const index = await open(killed(`${durability}.hebb`, durability, 5));
      const { recovery, warnings } = index.stats();
      expect(recovery).toMatchObject({ torn: 0, windowMs });
      expect(recovery.replayed).toBeGreaterThanOrEqual(5);
      expect(warnings.filter((one) => one.includes("may be missing"))).toEqual(
        warning === undefined ? [] : [expect.stringMatching(warning)],
      );
      await index.close();
      const again = await open(path(`${durability}.hebb`));
      expect(again.stats()).toMatchObject({ recovery: { replayed: 0, torn: 0, windowMs: 0 }, warnings: [] });
      await again.close();
    }
  });

  test("counts the records of a torn end", async () => {
    const directory = killed("torn.hebb", "off", 6);
    const [segment] = readdirSync(join(directory, "wal")).sort().slice(-1);
    const file = join(directory, "wal", segment!);
    const bytes = readFileSync(file);
    const starts: number[] = [];
    for (let at = bytes.indexOf("HEBR"); at >= 0; at = bytes.indexOf("HEBR", at + 1)) starts.push(at);
    bytes.fill(0, starts.at(-3)! + 60, starts.at(-3)! + 64); // of the fourth put, which never was synced
    writeFileSync(file, bytes);
    const index = await open(directory);
    expect(index.size).toBe(3);
    expect(index.stats().recovery).toMatchObject({ torn: 3, notes: [expect.stringContaining("log cut at record")] });
    expect(index.stats().warnings.join()).toContain("at least 3 changes");
    await index.close();
  });

  test("a store closed without a change since its checkpoint is known to be closed", async () => {
    const index = await open(path("quiet.hebb"), { dimensions: 2, metric: "l2", durability: "interval" });
    await index.put(1, [1, 1]);
    await index.checkpoint();
    await index.close();
    const again = await open(path("quiet.hebb"), { durability: "interval" });
    expect(again.stats().recovery.windowMs).toBe(0);
    await again.close();
  });
});
