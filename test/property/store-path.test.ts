/** What `Store.open` makes of paths and of directories that are not, or not quite, a store. */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HebbError } from "../../base/errors.js";
import { open as openIndex } from "../../src/index.js";
import { Store } from "../../storage/store.js";
import { IDENTITY, SECTIONS } from "../support/store-model.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "hebb-path-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const open = (directory: string) => Store.open(directory, { create: IDENTITY, sections: SECTIONS });

async function made(name: string): Promise<string> {
  const directory = join(scratch, name);
  const store = await open(directory);
  expect(store.created).toBe(true);
  for await (const _ of store.replay());
  await store.log.append([{ type: 1, payload: new Uint8Array(3) }]);
  await store.close();
  return directory;
}

test("a path with NUL, or none, is the caller's mistake", async () => {
  await expect(open(`${scratch}/a\0b`)).rejects.toThrow(TypeError);
  await expect(open("")).rejects.toThrow(TypeError);
  expect(await readdir(scratch)).toEqual([]);
});

test("missing parents are made; nothing is made without `create`", async () => {
  const directory = join(scratch, "deep", "er", "store");
  const absent = Store.open(directory, { sections: SECTIONS });
  await expect(absent).rejects.toMatchObject({ code: "STORE_NOT_FOUND" });
  expect(await readdir(scratch)).toEqual([]);
  await (await open(directory)).close();
  expect((await readdir(directory)).sort()).toEqual(["LOCK", "index.hebb", "index.hebb-journal", "wal"]);
});

test("a file, or a directory that holds something else, is refused and left alone", async () => {
  const file = join(scratch, "file");
  await writeFile(file, "mine");
  await expect(open(file)).rejects.toMatchObject({ code: "NOT_A_STORE" });
  await expect(open(join(file, "below"))).rejects.toMatchObject({ code: "IO_ERROR" });
  expect(await readFile(file, "utf8")).toBe("mine");
  const other = join(scratch, "other");
  await mkdir(other);
  await writeFile(join(other, "notes.txt"), "mine");
  await expect(open(other)).rejects.toThrow('holds "notes.txt"');
  await expect(Store.open(other, { sections: SECTIONS })).rejects.toMatchObject({ code: "NOT_A_STORE" });
  expect(await readdir(other)).toEqual(["notes.txt"]);
});

test("an index.hebb that is none is refused and left alone", async () => {
  const directory = join(scratch, "foreign");
  await mkdir(join(directory, "wal"), { recursive: true });
  await writeFile(join(directory, "index.hebb"), "x".repeat(70_000));
  await expect(open(directory)).rejects.toMatchObject({ code: "NOT_A_STORE" });
  expect((await readFile(join(directory, "index.hebb"))).length).toBe(70_000);
});

test("no inner file may be a symbolic link", async () => {
  for (const name of ["index.hebb", "index.hebb-journal", "LOCK", "wal"]) {
    const directory = await made(`link-${name}`);
    const elsewhere = join(scratch, `elsewhere-${name}`);
    await rename(join(directory, name), elsewhere);
    await symlink(elsewhere, join(directory, name));
    await expect(open(directory)).rejects.toMatchObject({ code: "NOT_A_STORE" });
  }
  const directory = await made("link-segment");
  const [segment] = await readdir(join(directory, "wal"));
  await rename(join(directory, "wal", segment), join(scratch, "segment"));
  await symlink(join(scratch, "segment"), join(directory, "wal", segment));
  await expect(open(directory)).rejects.toMatchObject({ code: "NOT_A_STORE" });
});

test("nor may a file of the catalog, a training's progress or a compaction, whatever the link leads to", async () => {
  const names = ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "catalog.sqlite-journal"];
  for (const name of [...names, "train.progress", "index.hebb-new"]) {
    for (const target of ["a file", "nothing", "a directory"]) {
      const directory = join(scratch, `inner-${name}-${target}`);
      const index = await openIndex(directory, { dimensions: 2, metric: "l2" });
      await index.put(1, [1, 2], { text: "words" });
      await index.close();
      const elsewhere = join(scratch, `inner-target-${name}-${target}`);
      if (target === "a directory") await mkdir(elsewhere);
      if (target === "a file") await writeFile(elsewhere, "mine");
      await rm(join(directory, name), { force: true });
      await symlink(elsewhere, join(directory, name));
      const opened = await openIndex(directory).catch((error: HebbError) => error);
      if (names.includes(name)) {
        expect([name, opened]).toMatchObject([name, { code: "NOT_A_STORE" }]);
        expect((opened as HebbError).message).toContain(`${name} is no plain file`);
      } else if (!(opened instanceof Error)) {
        await opened.learn([{ query: [1, 2], chosen: [1] }]);
        await opened.train().catch((error: HebbError) => expect(error.code).toBe("NOT_A_STORE"));
        await opened.compact();
        await opened.close();
      }
      if (target === "a file") expect(await readFile(elsewhere, "utf8")).toBe("mine");
      else if (target === "a directory") expect(await readdir(elsewhere)).toEqual([]);
      else await expect(readFile(elsewhere)).rejects.toMatchObject({ code: "ENOENT" });
    }
  }
});

test("the store's own directory may be reached through a link", async () => {
  const directory = await made("target");
  await symlink(directory, join(scratch, "alias"));
  const store = await open(join(scratch, "alias"));
  expect(store.created).toBe(false);
  await store.close();
});

test("a store that lost index.hebb is not taken for an empty one", async () => {
  const directory = await made("headless");
  await rm(join(directory, "index.hebb"));
  await expect(open(directory)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
});

test("a truncated index.hebb is refused", async () => {
  const directory = await made("short");
  const store = await open(directory);
  for await (const _ of store.replay());
  store.region.write(0, 0, new Uint8Array(100_000).fill(1));
  await store.checkpoint(store.log.lastLsn);
  await store.close();
  await truncate(join(directory, "index.hebb"), 65536 * 2);
  await expect(open(directory)).rejects.toMatchObject({ code: "INDEX_CORRUPT" });
});

test("what contradicts the store is named", async () => {
  const directory = await made("mismatch");
  const other = Store.open(directory, { create: { ...IDENTITY, dimensions: 4 }, sections: SECTIONS });
  await expect(other).rejects.toThrow("holds 3 dimensions under cosine; asked for were 4 under cosine");
  const metric = Store.open(directory, { create: { ...IDENTITY, metric: "l2" }, sections: SECTIONS });
  await expect(metric).rejects.toMatchObject({ code: "STORE_MISMATCH" });
  const store = await open(directory);
  for await (const _ of store.replay());
  store.region.write(0, 0, new Uint8Array(1).fill(1));
  await store.checkpoint(store.log.lastLsn);
  await store.close();
  const [rows, head] = SECTIONS(IDENTITY);
  const stride = Store.open(directory, { create: IDENTITY, sections: () => [{ ...rows, stride: 9 }, head] });
  await expect(stride).rejects.toMatchObject({ code: "STORE_MISMATCH" });
});

test("closing twice is closing once; afterwards the store can be opened again", async () => {
  const directory = await made("twice");
  const store = await open(directory);
  for await (const _ of store.replay());
  await Promise.all([store.close(), store.close()]);
  expect(() => store.region.read(0, 0, 1)).toThrow();
  await (await open(directory)).close();
});
