/** What newcomers get wrong: each message names what was given, what was expected, and the next step. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkNode, OLDEST_NODE } from "../../base/node-version.js";
import { asHebbError } from "../../src/catalog/sqlite-errors.js";
import { type Index, open } from "../../src/index.js";
import { ioError } from "../../storage/files.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hebb-mistakes-"));
const at = (name: string): string => join(folder, name);
const NEW = { dimensions: 3, metric: "cosine" } as const;
let index: Index;

beforeAll(async () => {
  index = await open(at("store.hebb"), NEW);
  await index.put("a", [1, 0, 0], { price: 80 });
});
afterAll(async () => {
  await index.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a program of JavaScript that has `open`, as a user would in a process of its own. */
function program(body: string): { status: number | null; stderr: string; stdout: string } {
  const entry = JSON.stringify(join(root, "dist/src/index.js"));
  const text = `import { open } from ${entry};\n${body}`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", text], { encoding: "utf8", cwd: folder });
}

test("a vector of the wrong dimension", async () => {
  const told = /has 2 values; expected 3, the index's dimensions/;
  await expect(index.put("b", [1, 0])).rejects.toThrow(told);
  expect(() => index.search([1, 0])).toThrow(told);
});

test("a store that was made with another dimension", async () => {
  const other = await open(at("other.hebb"), NEW);
  await other.close();
  const mismatch = open(at("other.hebb"), { ...NEW, dimensions: 4 });
  await expect(mismatch).rejects.toThrow(
    /STORE_MISMATCH: .* holds 3 dimensions under cosine; asked for were 4 under cosine. Leave both out to open it/,
  );
});

test("await forgotten before open", async () => {
  const promise = open(at("unawaited.hebb"), NEW);
  const asIndex = promise as unknown as Index;
  const told = (member: string) =>
    new TypeError(`index.${member}: the index is still a promise; write "const index = await open(...)"`);
  expect(() => asIndex.search([1, 0, 0])).toThrow(told("search"));
  expect(() => asIndex.put("a", [1, 0, 0])).toThrow(told("put"));
  expect(() => asIndex.size).toThrow(told("size"));
  expect(() => asIndex.thoughts).toThrow(told("thoughts"));
  expect(Object.keys(promise)).toEqual([]);
  await (await promise).close();
});

test("await forgotten before an embedding", async () => {
  const vector = Promise.resolve([1, 0, 0]) as unknown as number[];
  await expect(index.put("b", vector)).rejects.toThrow(/vector of id "b" is a promise \(await it first\); expected/);
});

test("await forgotten before put, and the program ends: what it was given is there", () => {
  const written = program(`const index = await open("ends.hebb", { dimensions: 3, metric: "cosine" });
    index.put("a", [1, 0, 0]);`);
  expect(written).toMatchObject({ status: 0, stderr: "" });
  const read = program(`const index = await open("ends.hebb"); console.log(index.size); index.close();`);
  expect(read).toMatchObject({ status: 0, stderr: "", stdout: "1\n" });
});

test("await forgotten before put, and the process is ended: the store is whole, and a wrong vector is not silent", () => {
  const ended = program(`const index = await open("exits.hebb", { dimensions: 3, metric: "cosine" });
    await index.put("a", [1, 0, 0]);
    index.put("b", [0, 1, 0]);
    process.exit();`);
  expect(ended).toMatchObject({ status: 0, stderr: "" });
  const wrong = program(`const index = await open("exits.hebb"); index.put("c", [1, 0]);`);
  expect(wrong.status).toBe(1);
  expect(wrong.stderr).toContain('vector of id "c" has 2 values; expected 3');
  const read = program(`const index = await open("exits.hebb");
    console.log(index.has("a"), (await index.check()).ok); await index.close();`);
  expect(read).toMatchObject({ status: 0, stdout: "true true\n" });
});

test("await forgotten before close, and the store is opened again", async () => {
  const first = await open(at("closing.hebb"), NEW);
  await expect(open(at("closing.hebb"))).rejects.toThrow(
    /STORE_LOCKED: .*closing\.hebb is held by this process; close it there first and await that, or open with readOnly/,
  );
  await first.close();
});

test("a closed index", async () => {
  const closed = await open(at("closed.hebb"), NEW);
  await closed.close();
  expect(() => closed.search([1, 0, 0])).toThrow(/INDEX_CLOSED: the index at .*closed\.hebb was closed; open it again/);
  await expect(closed.put("a", [1, 0, 0])).rejects.toThrow(/INDEX_CLOSED/);
});

test("two processes that write", () => {
  const { stderr } = program(`await open(${JSON.stringify(at("store.hebb"))});`);
  expect(stderr).toMatch(
    new RegExp(`STORE_LOCKED: .* is held by process ${process.pid}; close it there first, or open with readOnly`),
  );
});

test("a path that is a file, goes through one, or holds other things", async () => {
  writeFileSync(at("file.txt"), "text");
  const another = "Give another path";
  await expect(open(at("file.txt"), NEW)).rejects.toThrow(`file.txt is no directory; a store is one. ${another}`);
  await expect(open(at("file.txt/store"), NEW)).rejects.toThrow(`a part of the path is a file. ${another}`);
  await expect(open(folder, NEW)).rejects.toThrow(/NOT_A_STORE: .* is no store, and holds ".*"; give an empty or new/);
  await expect(open(at("nothing.hebb"))).rejects.toThrow(
    /STORE_NOT_FOUND: .*; give dimensions and metric to create one/,
  );
});

test("a path that this process may not touch", () => {
  for (const code of ["EACCES", "EPERM", "EROFS"]) {
    const denied = Object.assign(new Error(`${code}: no`), { code });
    expect(ioError(denied, "mkdir", "/data/shop.hebb").message).toBe(
      `IO_ERROR: mkdir /data/shop.hebb: ${code}: no. This process may not: see whose it is, or give another path`,
    );
  }
});

test("a huge k", async () => {
  const told =
    /k is (1000000000|Infinity); expected an integer from 1 to 1000000\. For all rows of an index, go through entries/;
  expect(() => index.search([1, 0, 0], { k: 1e9 })).toThrow(told);
  await expect(index.query({ vector: [1, 0, 0], k: Number.POSITIVE_INFINITY })).rejects.toThrow(told);
  expect(index.search([1, 0, 0], { k: 1_000_000 })).toHaveLength(1);
  expect(() => index.search([1, 0, 0], 5 as never)).toThrow(/the options are 5; expected an object with any of k, ef/);
});

test("a text without an encoder, or where a vector belongs", async () => {
  const told =
    /NO_ENCODER: a text needs an encoder; open the index with encoder: .*, or "hashed-tfidf" when creating it/;
  await expect(index.query({ text: "raincoat" })).rejects.toThrow(told);
  await expect(index.put("b", { text: "raincoat" })).rejects.toThrow(told);
  const text = "raincoat" as unknown as number[];
  expect(() => index.search(text)).toThrow(/query is "raincoat"; expected .* Ask by text with query\(\{ text \}\)/);
});

test("a Node.js that is too old, when it is imported", () => {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { engines: { node: string } };
  expect(engines.node).toBe(`>=${OLDEST_NODE.join(".")}`);
  for (const version of ["18.20.8", "20.18.3", "9.99.0"]) {
    expect(() => checkNode(version)).toThrow(
      `NODE_UNSUPPORTED: this is Node.js ${version}; Hebb needs 20.19 or newer. Install it (https://nodejs.org)`,
    );
  }
  for (const version of ["20.19.0", "20.20.2", "22.0.0", "24.1.0"]) checkNode(version);
});

test("an old Node.js reads it before anything else goes wrong, from library and command", () => {
  const old = `data:text/javascript,Object.defineProperty(process.versions, "node", { value: "18.20.8" })`;
  // A kernel that does not exist is what fails next.
  const env = { ...process.env, HEBB_KERNEL: "none" };
  const run = (...args: string[]) => spawnSync(process.execPath, ["--import", old, ...args], { encoding: "utf8", env });
  const told = "NODE_UNSUPPORTED: this is Node.js 18.20.8; Hebb needs 20.19 or newer";
  expect(run(join(root, "dist/src/index.js")).stderr).toContain(`HebbError: ${told}`);
  const command = run(join(root, "dist/src/cli/main.js"), "--version");
  expect(command.stderr).toMatch(new RegExp(`^hebb: ${told}.*\n$`));
  expect(command.status).toBe(1);
});

test("an SQLite whose install script did not run", () => {
  const absent = new Error("Could not locate the bindings file. Tried:\n → /here\n → /there");
  const other = Object.assign(new Error("version `GLIBC_2.38' not found"), { code: "ERR_DLOPEN_FAILED" });
  for (const error of [absent, other]) {
    expect(asHebbError("open", error)).toMatchObject({ code: "KERNEL_UNAVAILABLE", cause: error });
    const { message } = asHebbError("open", error) as Error;
    expect(message).toMatch(
      /(\(Could not locate the bindings file\)|GLIBC_2\.38. not found\)).*then run "npm rebuild better-sqlite3"$/,
    );
  }
});

test("a store that is copied while it is open, and nobody writes: the copy has all that was acknowledged", async () => {
  for (let i = 0; i < 3; i++) await index.put(`row ${i}`, [1, i, 0]);
  cpSync(at("store.hebb"), at("copy.hebb"), { recursive: true });
  const copy = await open(at("copy.hebb"));
  expect(copy.size).toBe(index.size);
  expect((await copy.check()).ok).toBe(true);
  await copy.close();
});

test("a store that is copied file by file while it is written to", async () => {
  const writer = await open(at("written.hebb"), NEW);
  const copy = (names: string[]) =>
    names.forEach((name) => {
      cpSync(at(`written.hebb/${name}`), at(`torn.hebb/${name}`), { recursive: true });
    });
  await writer.put("a", [1, 0, 0]);
  await writer.checkpoint();
  copy(["catalog.sqlite", "catalog.sqlite-wal"]);
  await writer.put("b", [0, 1, 0]);
  await writer.checkpoint();
  copy(["index.hebb", "index.hebb-journal", "wal"]);
  await writer.close();
  await expect(open(at("torn.hebb"))).rejects.toThrow(
    /CATALOG_CORRUPT: .* Where this is a copy of a store that was open, make the copy with "hebb backup" instead$/,
  );
});
