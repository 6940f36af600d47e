/** A handle that only reads, after a writer was killed: it cannot bring the store up to its log, and says so. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { open } from "../../src/index.js";

const library = fileURLToPath(new URL("../../dist/src/index.js", import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hebb-killed-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs steps on a new store of `l2` in 2 dimensions, in a process that is then killed. */
function killedAfter(name: string, steps: string): string {
  const directory = join(folder, name);
  const program = `
    import { open } from ${JSON.stringify(library)};
    const index = await open(${JSON.stringify(directory)}, { dimensions: 2, metric: "l2" });
    ${steps}
    process.kill(process.pid, "SIGKILL");`;
  const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  expect({ signal, stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
  return directory;
}

/** All bytes below a directory, but SQLite's shared memory, which holds locks. */
function bytesOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith("-shm"))
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(names.map((name) => [name, readFileSync(name).toString("base64")]));
}

it.each([
  ["nothing was checkpointed", `await index.put("a", [1, 2]); await index.put("b", [1, 3]);`, 2],
  ["something was", `await index.put("a", [1, 2]); await index.checkpoint(); await index.put("b", [1, 3]);`, 1],
])("is refused where %s, and changes nothing", async (name, steps, changes) => {
  const directory = killedAfter(name, steps);
  const before = bytesOf(directory);
  for (let attempt = 0; attempt < 2; attempt++) {
    const refusal = await open(directory, { readOnly: true }).catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      code: "STORE_READ_ONLY",
      message:
        `STORE_READ_ONLY: the log of ${directory} holds ${changes} ${changes === 1 ? "change" : "changes"} that ` +
        "the catalog lacks, because the writer was killed; open it once without readOnly to recover",
      details: { changes },
    });
  }
  expect(bytesOf(directory)).toEqual(before);

  // The refusal let go of everything: a writer may come, and readers after it.
  const writer = await open(directory);
  expect(writer.size).toBe(2);
  await writer.close();
  const reader = await open(directory, { readOnly: true });
  expect(reader.search([1, 2], { k: 2 }).map((hit) => hit.id)).toEqual(["a", "b"]);
  await reader.close();
});

it("reads beside the next writer what that one found in the log, though it writes nothing", async () => {
  const directory = killedAfter("recovered", `await index.put("a", [1, 2]);`);
  const writer = await open(directory);
  await writer.delete(["nobody"]); // changes nothing, and has its turn behind the commit of what was replayed
  const reader = await open(directory, { readOnly: true });
  expect(reader.has("a")).toBe(true);
  await reader.close();
  await writer.close();
});

it("is fine where the killed writer had checkpointed all", async () => {
  const directory = killedAfter("checkpointed", `await index.put("a", [1, 2]); await index.checkpoint();`);
  const reader = await open(directory, { readOnly: true });
  expect(reader.size).toBe(1);
  await reader.close();
});

it("several read a cleanly closed store at once, beside a writer", async () => {
  const directory = join(folder, "clean");
  const writer = await open(directory, { dimensions: 2, metric: "l2" });
  await writer.put("a", [1, 2]);
  await writer.close();
  const readers = await Promise.all([1, 2, 3].map(() => open(directory, { readOnly: true })));
  for (const reader of readers) {
    expect(reader.search([1, 2], { k: 1 })).toMatchObject([{ id: "a", distance: 0 }]);
    await expect(reader.put("b", [0, 0])).rejects.toMatchObject({ code: "STORE_READ_ONLY" });
  }
  await (await open(directory)).close();
  for (const reader of readers) await reader.close();
});
